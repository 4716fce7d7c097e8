//! Images mounted by each kind, the same tree by all of them.

mod records;

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::slice;

use corten_layer::bytes::TreeContents;
use corten_layer::directory::Devices;
use corten_snapshot::{
    Access, Bytes, Error, LayerRef, MountRequest, Mounted, Packer, RootKind, Snapshots,
};
use corten_tar::Compression;
use tempfile::TempDir;

use crate::random::{Piece, tar_of};
use crate::snapshot::{assert_same, of_directory, of_tree};
use crate::{Place, options};

/// A store and a directory to mount on; what is mounted there goes with it.
struct Stage {
    place: Place,
    at: TempDir,
}

impl Stage {
    fn new() -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "mounting is tested as root"
        );
        Self {
            place: Place::new(),
            at: TempDir::new().unwrap(),
        }
    }

    fn snapshots(&self) -> Snapshots<'_> {
        Snapshots::new(&self.place.store)
    }

    fn layer(&self, tar: &[u8]) -> LayerRef {
        let mut packer = Packer::new(&self.place.store, &options(Compression::Gzip)).unwrap();
        packer.write_all(tar).unwrap();
        packer.finish().unwrap()
    }

    fn mount(
        &self,
        layers: &[LayerRef],
        kinds: &[RootKind],
        access: Access,
    ) -> corten_snapshot::Result<Mounted> {
        self.mount_on(self.at.path(), layers, kinds, access)
    }

    fn mount_on(
        &self,
        at: &Path,
        layers: &[LayerRef],
        kinds: &[RootKind],
        access: Access,
    ) -> corten_snapshot::Result<Mounted> {
        let request = MountRequest {
            layers,
            kinds,
            access,
            devices: Devices::Make,
            userxattr: false,
        };
        self.snapshots().mount(&request, at)
    }

    /// Returns the type of the file system that is mounted, and its options.
    fn mounted(&self) -> Option<(String, String)> {
        let text = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let at = self.at.path().display().to_string();
        let line = text
            .lines()
            .rfind(|line| line.split(' ').nth(4) == Some(&at))?;
        let kind = line.split(" - ").nth(1)?.split(' ').next()?;
        Some((kind.to_owned(), line.split(' ').nth(5)?.to_owned()))
    }

    /// Asserts that `kind` is what shows the image, and not another.
    #[track_caller]
    fn assert_kind(&self, kind: RootKind, access: Access) {
        let (found, options) = self.mounted().expect("it is mounted");
        match (kind, access) {
            (RootKind::Erofs, Access::ReadOnly) => assert_eq!(found, "erofs"),
            (RootKind::Erofs | RootKind::Overlay, _) => assert_eq!(found, "overlay"),
            (RootKind::Plain, _) => assert!(!matches!(&*found, "erofs" | "overlay"), "{found}"),
        }
        let is_writable = options.split(',').any(|option| option == "rw");
        assert_eq!(is_writable, access == Access::Write, "{options}");
        assert!(
            options.contains("nosuid") && options.contains("nodev"),
            "{options}"
        );
        let unpacked =
            fs::read_dir(self.place.root.path().join("layers/dir")).map_or(0, Iterator::count);
        assert_eq!(
            unpacked > 0,
            kind == RootKind::Overlay,
            "{unpacked} directories"
        );
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if self.mounted().is_some() {
            let flags = rustix::mount::UnmountFlags::DETACH;
            rustix::mount::unmount(self.at.path(), flags).ok();
        }
    }
}

fn pieces(texts: &[&str]) -> Vec<Piece> {
    texts.iter().map(|text| Piece::of(text)).collect()
}

/// Layers with everything that others get wrong.
fn adversarial() -> Vec<Vec<u8>> {
    let mut base = pieces(&[
        "d . mode=0711 owner=3:4 mtime=-5",
        "d usr/lib mode=2755 mtime=77",
        "l lib -> usr/lib owner=7:8",
        "l loop -> loop",
        "f etc/passwd mode=0600 owner=1000:70000 mtime=-1",
        "f etc/shadow mode=0",
        "f old/a",
        "f old/deep/b",
        "f gone/c",
        "d home mode=0700 owner=5:5 mtime=9",
        "f home/x",
        "c dev/null mode=0666",
        "p run/fifo mode=0640",
        "f bin/su mode=4755 xattr=trusted.t",
        "h bin/sg -> bin/su",
        "f dir-to-file/x",
        "f file-to-dir",
    ]);
    base[11].entry.device = (1, 3);
    base[4].entry.mtime.nanoseconds = 999_999_999;
    base[13].entry.xattrs = vec![
        (
            b"security.capability".to_vec(),
            [&[1, 0, 0, 2][..], &[0; 16]].concat(),
        ),
        (b"user.k".to_vec(), vec![b'v'; 300]),
    ];
    let long = format!("f {}/{}", "d".repeat(255), "n".repeat(255));
    base.extend(pieces(&[&long]));
    let mut sparse = Piece::of("f sparse");
    sparse.content = vec![7; 5000];
    sparse.sparse = true;
    base.push(sparse);
    let big = Piece {
        content: (0..300_000_u32)
            .map(|at| (at % 253).to_le_bytes()[0])
            .collect(),
        ..Piece::of("f big")
    };
    base.push(big);
    let middle = pieces(&[
        "f lib/new",
        "f old/kept",
        "f old/.wh..wh..opq",
        "f .wh.gone",
        "h etc/link -> etc/passwd",
        "f etc/passwd mode=0644",
        "f home/y",
        "f dir-to-file",
        "f file-to-dir/z",
        "f absent/.wh.nothing",
        "d xattrs xattr=user.overlay.opaque",
        "f again",
    ]);
    let top = pieces(&[
        "f .wh.again",
        "d again mode=1777",
        "f again/inner",
        "f usr/lib/.wh.new",
        "h big2 -> big",
        "f .wh.big",
    ]);
    let mut layers = vec![tar_of(&base), tar_of(&middle), tar_of(&top)];
    // A tar may go on behind its end marker, in the middle of a block.
    layers[1].extend_from_slice(b"trailing");
    layers
}

#[test]
fn every_kind_shows_the_same_tree() {
    for access in [Access::ReadOnly, Access::Write] {
        for kind in RootKind::ALL {
            let stage = Stage::new();
            let layers: Vec<LayerRef> = adversarial().iter().map(|tar| stage.layer(tar)).collect();
            for stack in [&layers[..], &layers[..1], &[]] {
                let mounted = stage.mount(stack, slice::from_ref(&kind), access).unwrap();
                assert_eq!(mounted.kind, kind);
                if !stack.is_empty() {
                    stage.assert_kind(kind, access);
                }
                let tree = stage.snapshots().tree(stack).unwrap();
                let bytes = Bytes::new(stage.snapshots(), stack);
                let contents = TreeContents {
                    tree: &tree,
                    bytes: &bytes,
                };
                let expected = of_tree(&tree, &contents);
                assert_same(
                    &expected,
                    &of_directory(stage.at.path()),
                    &format!("{kind} {access:?}"),
                );
                if access == Access::Write {
                    fs::write(stage.at.path().join("written"), "x").unwrap();
                } else {
                    assert!(fs::write(stage.at.path().join("written"), "x").is_err());
                }
                assert_eq!(stage.snapshots().unmount(stage.at.path()).unwrap(), kind);
                assert!(stage.mounted().is_none());
                assert_eq!(stage.place.derived("tmp").len(), 0, "nothing is left");
            }
        }
    }
}

#[test]
fn the_first_kind_that_can_is_used() {
    let stage = Stage::new();
    let usual = [stage.layer(&tar_of(&pieces(&["f a"])))];
    let mounted = stage.mount(&usual, &RootKind::ALL, Access::Write).unwrap();
    assert_eq!(mounted.kind, RootKind::Erofs);
    assert!(mounted.passed_over.is_empty());
    stage.snapshots().unmount(stage.at.path()).unwrap();
    // Overlayfs would take this device for a deletion, so it is in neither's lower.
    let odd = [stage.layer(&tar_of(&pieces(&["c dev/none", "f a"])))];
    let mounted = stage.mount(&odd, &RootKind::ALL, Access::ReadOnly).unwrap();
    assert_eq!(mounted.kind, RootKind::Plain);
    let reasons: Vec<String> = mounted
        .passed_over
        .iter()
        .map(|error| std::error::Error::source(error).unwrap().to_string())
        .collect();
    assert_eq!(reasons.len(), 2);
    assert!(reasons[0].contains("`dev/none`"), "{reasons:?}");
    assert_eq!(
        fs::symlink_metadata(stage.at.path().join("dev/none"))
            .unwrap()
            .rdev(),
        0
    );
    stage.snapshots().unmount(stage.at.path()).unwrap();
    let error = stage
        .mount(&odd, &[RootKind::Erofs], Access::ReadOnly)
        .unwrap_err();
    assert!(
        matches!(
            error,
            Error::KindUnusable {
                kind: RootKind::Erofs,
                ..
            }
        ),
        "{error:?}"
    );
}

fn paths(root: &Path) -> Vec<String> {
    let mut paths = Vec::new();
    for shelf in [
        "layers/tar",
        "layers/erofs",
        "layers/dir",
        "layers/tmp",
        "locks/mounts",
    ] {
        for entry in fs::read_dir(root.join(shelf)).into_iter().flatten() {
            paths.push(format!("{shelf}/{}", entry.unwrap().file_name().display()));
        }
    }
    paths.sort();
    paths
}

#[test]
fn mistakes_are_told() {
    let stage = Stage::new();
    let layers = [stage.layer(&tar_of(&pieces(&["f a"])))];
    let at = stage.at.path();
    assert!(matches!(
        stage.snapshots().unmount(at).unwrap_err(),
        Error::NotMounted { .. }
    ));
    assert!(matches!(
        stage.snapshots().unmount(Path::new("/proc")).unwrap_err(),
        Error::NotOurs { .. }
    ));
    stage
        .mount(&layers, &RootKind::ALL, Access::ReadOnly)
        .unwrap();
    let again = stage.mount(&layers, &RootKind::ALL, Access::ReadOnly);
    assert!(matches!(again.unwrap_err(), Error::Mounted { .. }));
    let open = fs::File::open(at.join("a")).unwrap();
    assert!(matches!(
        stage.snapshots().unmount(at).unwrap_err(),
        Error::Busy { .. }
    ));
    drop(open);
    stage.snapshots().unmount(at).unwrap();
    let missing = Path::new("/nonexistent/directory");
    assert!(matches!(
        stage.snapshots().unmount(missing).unwrap_err(),
        Error::System { .. }
    ));
}

#[test]
fn an_index_is_made_again_when_it_is_not_to_be_trusted() {
    let stage = Stage::new();
    let layers = [stage.layer(&tar_of(&pieces(&["f a mode=0711"])))];
    let made = stage.snapshots().erofs(&layers).unwrap();
    let inode = |path: &Path| fs::metadata(path).unwrap().ino();
    let first = inode(&made.index);
    assert_eq!(
        inode(&stage.snapshots().erofs(&layers).unwrap().index),
        first,
        "it is kept"
    );
    // Another boot.
    fs::write(made.index.with_extension("boot"), "another").unwrap();
    assert_ne!(
        inode(&stage.snapshots().erofs(&layers).unwrap().index),
        first
    );
    // A tar that is not the one it was made for: it is shorter.
    let tar = &made.devices[0];
    let bytes = fs::read(tar).unwrap();
    fs::remove_file(tar).unwrap();
    fs::write(tar, &bytes[..1024]).unwrap();
    fs::remove_file(tar.with_extension("boot")).unwrap();
    let again = stage.snapshots().erofs(&layers).unwrap();
    assert_eq!(fs::read(&again.devices[0]).unwrap(), bytes);
}

/// Mounts a tmpfs of its own on `at`.
#[track_caller]
fn mount_tmpfs(at: &Path) {
    let flags = rustix::mount::MountFlags::empty();
    rustix::mount::mount("foreign", at, "tmpfs", flags, None).unwrap();
}

#[test]
fn a_mount_that_fails_leaves_those_of_others_alone() {
    let stage = Stage::new();
    let layers = [stage.layer(&tar_of(&pieces(&["f a"])))];
    // Nothing can be mounted in another mount namespace, and what its directory is called there is
    // another directory here.
    let mut other = Command::new("unshare")
        .args(["-m", "sh", "-c", "echo; exec cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    other.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
    for _ in 0..3 {
        mount_tmpfs(stage.at.path());
    }
    let there = Path::new("/proc").join(other.id().to_string()).join("root");
    let there = there.join(stage.at.path().strip_prefix("/").unwrap());
    let error = stage
        .mount_on(&there, &layers, &RootKind::ALL, Access::ReadOnly)
        .unwrap_err();
    assert!(matches!(error, Error::System { .. }), "{error:?}");
    drop(other.stdin.take());
    other.wait().unwrap();
    for _ in 0..3 {
        let flags = rustix::mount::UnmountFlags::DETACH;
        rustix::mount::unmount(stage.at.path(), flags).unwrap();
    }
    let left = paths(stage.place.root.path());
    let is_of_mount = |path: &&String| path.contains("layers/tmp") || path.contains("locks/");
    assert_eq!(left.iter().find(is_of_mount), None, "{left:?}");
}
