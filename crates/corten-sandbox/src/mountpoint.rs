//! Mount points inside the root, resolved so that no link of the image leads out of it.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    CWD, Mode, OFlags, PROC_SUPER_MAGIC, ResolveFlags, fstatfs, mkdirat, openat, openat2,
    readlinkat,
};
use rustix::io::Errno;

use crate::error::{Doing, Failure};

/// What a mount point must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Directory,
    File,
}

/// A root in which mount points are opened, and made where they are missing.
#[derive(Debug)]
pub(crate) struct InRoot<'a> {
    root: BorrowedFd<'a>,
    /// The absolute paths inside the root of what was made.
    pub(crate) created: Vec<String>,
}

impl<'a> InRoot<'a> {
    pub(crate) fn new(root: BorrowedFd<'a>) -> Self {
        Self {
            root,
            created: Vec::new(),
        }
    }

    /// Opens directory `name` of the root itself. A link is refused: an image with `/proc` as a link
    /// would have it elsewhere than where paths are masked (CVE-2019-19921).
    pub(crate) fn system_directory(&mut self, name: &str) -> Result<OwnedFd, Failure> {
        let path = Path::new("/").join(name);
        let open = || {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            openat(self.root, name, flags, Mode::empty())
        };
        match open() {
            Err(Errno::NOENT) => {}
            found => return found.doing("opening the mount point", &path),
        }
        mkdirat(self.root, name, Mode::from_raw_mode(0o755)).doing("making mount point", &path)?;
        self.created.push(path.to_string_lossy().into_owned());
        open().doing("opening the mount point", &path)
    }

    /// Opens `destination`, making what is missing of it.
    pub(crate) fn open(&mut self, destination: &Path, kind: Kind) -> Result<OwnedFd, Failure> {
        self.walk(destination, kind)
            .doing("making mount point", destination)
    }

    fn walk(&mut self, destination: &Path, kind: Kind) -> Result<OwnedFd, Errno> {
        let mut names = destination
            .components()
            .filter(|c| *c != Component::RootDir)
            .peekable();
        let mut so_far = PathBuf::new();
        let mut at = self.root.try_clone_to_owned().map_err(|_| Errno::MFILE)?;
        while let Some(component) = names.next() {
            let Component::Normal(name) = component else {
                return Err(Errno::INVAL);
            };
            so_far.push(name);
            let kind = if names.peek().is_some() {
                Kind::Directory
            } else {
                kind
            };
            at = match self.existing(&so_far) {
                Err(Errno::NOENT) => self.create(at.as_fd(), Path::new(name), kind)?,
                found => found?,
            };
        }
        // Nothing of an image may stand in the way of what masks /proc.
        if so_far.as_os_str().is_empty() || fstatfs(&at)?.f_type == PROC_SUPER_MAGIC {
            return Err(Errno::PERM);
        }
        Ok(at)
    }

    fn existing(&self, path: &Path) -> Result<OwnedFd, Errno> {
        find(self.root, path)
    }

    fn create(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &Path,
        kind: Kind,
    ) -> Result<OwnedFd, Errno> {
        match kind {
            Kind::Directory => mkdirat(parent, name, Mode::from_raw_mode(0o755))?,
            Kind::File => {
                let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
                drop(openat(parent, name, flags, Mode::from_raw_mode(0o644))?);
            }
        }
        let parent_path = readlinkat(CWD, format!("/proc/self/fd/{}", parent.as_raw_fd()), [])?;
        let parent_path = PathBuf::from(parent_path.to_string_lossy().into_owned());
        self.created
            .push(parent_path.join(name).to_string_lossy().into_owned());
        openat(
            parent,
            name,
            OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )
    }
}

/// Opens what is at `path` in `root`: no link leads out of it.
pub(crate) fn find(root: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    loop {
        match openat2(root, path, flags, Mode::empty(), resolve) {
            // Something was renamed meanwhile, and the kernel cannot tell whether it matters.
            Err(Errno::AGAIN | Errno::INTR) => {}
            opened => return opened,
        }
    }
}
