//! Opening paths beneath a directory, whatever the directory holds (rule 5).

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::{Error, Result};

/// A directory that is worked in by its handle: nothing outside it can be reached by a path in it.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
    path: PathBuf,
}

/// How links on the way are treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// Any link is an error: the path is known to be real.
    Refuse,
    /// Links are followed as in a chroot into the root.
    FollowInside,
}

impl Root {
    /// Opens the directory `path`; links on the way to it are the caller's business.
    pub fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(CWD, path, flags, Mode::empty())
            .map_err(|error| Error::system("open", path)(error.into()))?;
        Ok(Self {
            fd,
            path: path.to_path_buf(),
        })
    }

    /// Returns the path that the root was opened by, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns what messages call `path` in this root.
    pub fn shown(&self, path: &[u8]) -> PathBuf {
        use std::os::unix::ffi::OsStrExt as _;
        if path.is_empty() {
            return self.path.clone();
        }
        self.path.join(std::ffi::OsStr::from_bytes(path))
    }

    /// Opens `path`, which is relative to the root; the empty path is the root.
    pub fn open_at(&self, path: &[u8], flags: OFlags, links: Links) -> rustix::io::Result<OwnedFd> {
        let resolve = ResolveFlags::NO_MAGICLINKS
            | match links {
                Links::Refuse => ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
                Links::FollowInside => ResolveFlags::IN_ROOT,
            };
        if links == Links::FollowInside {
            return open2(self.fd.as_fd(), path, flags, resolve);
        }
        // The kernel takes no path of 4096 bytes; without links it can be walked in parts.
        let (mut here, mut rest) = (None::<OwnedFd>, path);
        while let Some((part, after)) = split_long(rest) {
            let from = here.as_ref().map_or(self.fd.as_fd(), AsFd::as_fd);
            here = Some(open2(
                from,
                part,
                OFlags::PATH | OFlags::DIRECTORY,
                resolve,
            )?);
            rest = after;
        }
        let from = here.as_ref().map_or(self.fd.as_fd(), AsFd::as_fd);
        open2(from, rest, flags, resolve)
    }

    /// Opens the directory `path` without following any link.
    pub fn directory(&self, path: &[u8]) -> Result<OwnedFd> {
        self.open_at(path, OFlags::RDONLY | OFlags::DIRECTORY, Links::Refuse)
            .map_err(|error| Error::system("open", self.shown(path))(error.into()))
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The longest path that is opened in one call.
const PART_MAX: usize = 4000;

/// Splits a path that is too long for one call at a slash.
fn split_long(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let start = path.get(..PART_MAX).filter(|_| path.len() > PART_MAX)?;
    let slash = start.iter().rposition(|&byte| byte == b'/')?;
    let (part, rest) = path.split_at(slash);
    Some((part, rest.get(1..)?))
}

fn open2(
    directory: BorrowedFd<'_>,
    path: &[u8],
    flags: OFlags,
    resolve: ResolveFlags,
) -> rustix::io::Result<OwnedFd> {
    let path = if path.is_empty() { b"." } else { path };
    let flags = flags | OFlags::CLOEXEC;
    loop {
        // The kernel asks to try again when something on the way was renamed meanwhile.
        match rustix::fs::openat2(directory, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            result => return result,
        }
    }
}

/// Returns a path by which calls that take no handle reach `name` in `directory`, as `xattr` calls
/// on anything but regular files and directories must.
pub(crate) fn proc_path(directory: BorrowedFd<'_>, name: &[u8]) -> Vec<u8> {
    let mut path = format!("/proc/self/fd/{}/", directory.as_raw_fd()).into_bytes();
    path.extend_from_slice(name);
    path
}
