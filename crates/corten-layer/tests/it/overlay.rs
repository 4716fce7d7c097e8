//! Layers written for overlayfs, seen through the kernel.

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use corten_layer::Result;
use corten_layer::beneath::Root;
use corten_layer::diff::diff;
use corten_layer::directory::write_overlay;
use proptest::prelude::*;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use tempfile::TempDir;

use crate::host::{OPTIONS, is_root};
use crate::random::{Chain, For, layers};
use crate::roundtrip::config;
use crate::snapshot::{assert_same, of_directory, of_tree};

/// How overlayfs keeps its own attributes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Attributes {
    Trusted,
    User,
}

/// A chain of trees as directories that overlayfs takes, base first.
pub(crate) struct Directories {
    scratch: TempDir,
    lower: Vec<PathBuf>,
}

/// A mounted overlay, until it is dropped.
pub(crate) struct Overlay {
    pub(crate) path: PathBuf,
}

impl Directories {
    pub(crate) fn write(chain: &Chain) -> Result<Self> {
        let scratch = tempfile::tempdir().unwrap();
        let mut lower = Vec::new();
        for (number, pair) in chain.trees.windows(2).enumerate() {
            let (below, tree) = (&pair[0], &pair[1]);
            let changes = diff(below, tree, &chain.same(below, tree)).unwrap();
            let path = scratch.path().join(number.to_string());
            fs::create_dir(&path).unwrap();
            let root = Root::open(&path).unwrap();
            write_overlay(below, &changes, &chain.contents(tree), &root, &OPTIONS)?;
            lower.push(path);
        }
        Ok(Self { scratch, lower })
    }

    /// Mounts all, read-only if there is no `upper`.
    pub(crate) fn mount(&self, attributes: Attributes, upper: Option<&Path>) -> Overlay {
        let path = self.scratch.path().join("merged");
        fs::create_dir_all(&path).unwrap();
        // Without an upper directory the kernel wants two lower ones.
        let empty = self.scratch.path().join("empty");
        fs::create_dir_all(&empty).unwrap();
        let lower: Vec<String> = self
            .lower
            .iter()
            .rev()
            .chain([&empty])
            .map(|path| path.display().to_string())
            .collect();
        let mut options = format!("lowerdir={},index=off,metacopy=off", lower.join(":"));
        options += match attributes {
            Attributes::Trusted => ",redirect_dir=off",
            Attributes::User => ",userxattr",
        };
        if let Some(upper) = upper {
            let work = self.scratch.path().join("work");
            fs::create_dir_all(&work).unwrap();
            options += &format!(",upperdir={},workdir={}", upper.display(), work.display());
        }
        let flags = match upper {
            Some(_) => MountFlags::empty(),
            None => MountFlags::RDONLY,
        };
        let options = CString::new(options).unwrap();
        mount(
            "overlay",
            path.as_os_str().as_bytes(),
            "overlay",
            flags,
            options.as_c_str(),
        )
        .unwrap_or_else(|error| panic!("mount {options:?}: {error}"));
        Overlay { path }
    }

    pub(crate) fn upper(&self) -> PathBuf {
        let path = self.scratch.path().join("upper");
        fs::create_dir_all(&path).unwrap();
        path
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        // Another test that is about to start a program may hold a file of it for a moment.
        unmount(&self.path, UnmountFlags::DETACH).unwrap();
    }
}

proptest! {
    #![proptest_config(config(60))]

    #[test]
    fn the_kernel_shows_the_tree(layers in layers(For::Disks, 4)) {
        if !is_root("the_kernel_shows_the_tree") {
            return Ok(());
        }
        let chain = Chain::new(&layers);
        let directories = Directories::write(&chain).unwrap();
        let tree = chain.last();
        let expected = of_tree(tree, &chain.contents(tree));
        for attributes in [Attributes::Trusted, Attributes::User] {
            let overlay = directories.mount(attributes, None);
            let found = of_directory(&overlay.path);
            assert_same(&expected, &found, &format!("{attributes:?}"));
        }
    }
}
