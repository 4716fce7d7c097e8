//! Bringing a directory that holds all of a tree up to a later one.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use corten_layer::Meta;
use corten_layer::beneath::Root;
use corten_layer::path;
use corten_layer::scan::{Descend, Found, FoundKind, Xattrs, inspect, inspect_root, scan};
use rustix::fs::{AtFlags, FileType, Gid, Mode, Uid, XattrFlags};
use rustix::io::Errno;

use crate::run::times::set_time;
use crate::{Error, Result};

/// Moves what is in `upper`, written as overlayfs has it, into `root`. What was there before goes to
/// `attic`, a directory of the same file system.
///
/// Nothing may run in `root` meanwhile.
pub(crate) fn merge(upper: &Root, root: &Root, attic: &Attic) -> Result<()> {
    let mut directories = vec![(Vec::new(), inspect_root(upper, Xattrs::Read)?.meta)];
    let mut failed = None;
    scan(
        upper,
        b"",
        Xattrs::Read,
        &mut |path, found| match place(upper, root, attic, path, &found) {
            Ok(Placed::Whole) => Ok(Descend::Past),
            Ok(Placed::Directory) => {
                directories.push((path.to_vec(), found.meta));
                Ok(Descend::Into)
            }
            Err(error) => {
                failed.get_or_insert(error);
                Ok(Descend::Past)
            }
        },
    )?;
    if let Some(error) = failed {
        return Err(error);
    }
    // Whatever is put into a directory changes its time.
    for (path, meta) in directories.iter().rev() {
        set_attributes(root, path, meta)?;
    }
    Ok(())
}

enum Placed {
    Whole,
    /// It was there already: what is in it has to be placed, and its attributes set.
    Directory,
}

fn place(upper: &Root, root: &Root, attic: &Attic, path: &[u8], found: &Found) -> Result<Placed> {
    let (directory, name) = path::split(path);
    let parent = root.directory(directory)?;
    let there = inspect(parent.as_fd(), name, Xattrs::Leave)
        .map_err(|error| Error::system("examine", root.shown(path))(error.into()))?;
    let is_directory = |found: &Found| found.kind == FoundKind::Directory;
    if is_directory(found) && there.as_ref().is_some_and(is_directory) {
        return Ok(Placed::Directory);
    }
    if there.is_some() {
        attic.take(&parent, name, &root.shown(path))?;
    }
    let deletion = FoundKind::Device {
        block: false,
        major: 0,
        minor: 0,
    };
    if found.kind != deletion {
        let from = upper.directory(directory)?;
        rustix::fs::renameat(&from, name, &parent, name)
            .map_err(|error| Error::system("move", upper.shown(path))(error.into()))?;
    }
    Ok(Placed::Whole)
}

fn set_attributes(root: &Root, path: &[u8], meta: &Meta) -> Result<()> {
    let handle = root.directory(path)?;
    let set = || {
        let (uid, gid) = (Uid::from_raw(meta.uid), Gid::from_raw(meta.gid));
        rustix::fs::fchown(&handle, Some(uid), Some(gid))?;
        set_xattrs(&handle, meta)?;
        rustix::fs::fchmod(&handle, Mode::from_raw_mode(meta.mode))
    };
    set()
        .map_err(|error| Error::system("set the attributes of", root.shown(path))(error.into()))?;
    set_time(root, path, meta.mtime)
}

fn set_xattrs(handle: &OwnedFd, meta: &Meta) -> rustix::io::Result<()> {
    let there = inspect(handle.as_fd(), b".", Xattrs::Read)?;
    let there = there.as_ref().map_or(&[][..], |found| found.meta.xattrs());
    let is_kept = |name: &[u8]| meta.xattrs().iter().any(|(kept, _)| kept == name);
    for (name, _) in there.iter().filter(|(name, _)| !is_kept(name)) {
        match rustix::fs::fremovexattr(handle, name.as_slice()) {
            Err(Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP | Errno::NODATA) => {}
            removed => removed?,
        }
    }
    for (name, value) in meta.xattrs().iter().filter(|set| !there.contains(set)) {
        rustix::fs::fsetxattr(handle, name.as_slice(), value, XattrFlags::empty())?;
    }
    Ok(())
}

/// A directory for what is not wanted any more. Moving something there takes no time and follows no
/// link.
#[derive(Debug)]
pub(crate) struct Attic {
    root: Root,
    n_taken: std::cell::Cell<usize>,
}

impl Attic {
    /// Makes one at `path`.
    pub(crate) fn new(path: &Path) -> Result<Self> {
        std::fs::create_dir_all(path).map_err(Error::system("create", path))?;
        Ok(Self {
            root: Root::open(path)?,
            n_taken: std::cell::Cell::default(),
        })
    }

    /// Takes `name` out of `directory`, and returns what it is called here; `None` if there was
    /// nothing. `shown` is for messages.
    pub(crate) fn take(
        &self,
        directory: &OwnedFd,
        name: &[u8],
        shown: &Path,
    ) -> Result<Option<String>> {
        let number = self.n_taken.get();
        self.n_taken.set(number + 1);
        let here = number.to_string();
        match rustix::fs::renameat(directory, name, &self.root, &here) {
            Ok(()) => Ok(Some(here)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(Error::system("move", shown)(error.into())),
        }
    }

    /// Puts what was taken as `here` back.
    pub(crate) fn give_back(
        &self,
        here: &str,
        directory: &OwnedFd,
        name: &[u8],
        shown: &Path,
    ) -> Result<()> {
        rustix::fs::renameat(&self.root, here, directory, name)
            .map_err(|error| Error::system("put back", shown)(error.into()))
    }

    /// Tells whether what was taken as `here` is a directory.
    pub(crate) fn is_directory(&self, here: &str) -> bool {
        rustix::fs::statat(&self.root, here, AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
    }
}
