//! Reading directories of the host: what they hold, in a fixed order, without following links.

use std::os::fd::{AsFd, BorrowedFd};

use corten_tar::Timestamp;
use rustix::fs::{AtFlags, Dir, FileType, Stat, major, minor};
use rustix::io::Errno;

use crate::beneath::{Root, proc_path};
use crate::{Error, Meta, Result, path};

/// What was found at a path.
#[derive(Debug, Clone)]
pub struct Found {
    /// Its type.
    pub kind: FoundKind,
    /// Its attributes; extended ones only where they were asked for.
    pub meta: Meta,
    /// The names of extended attributes that it has and whose values may not be read, sorted.
    pub unreadable_xattrs: Vec<Vec<u8>>,
    /// Its length in bytes.
    pub size: u64,
    /// The device and inode that it is, equal for hard links.
    pub inode: (u64, u64),
    /// How many names it has.
    pub n_links: u64,
    /// When anything about it last changed: seconds and nanoseconds since 1970.
    pub ctime: (i64, u32),
}

/// The type of what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FoundKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link and its target.
    Symlink(Box<[u8]>),
    /// A device node.
    Device {
        /// Whether it is a block device.
        block: bool,
        /// Its major number.
        major: u32,
        /// Its minor number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
    /// A socket, which no layer can hold (rule 65).
    Socket,
}

/// Whether to look into a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Descend {
    /// What is in it is visited too.
    Into,
    /// It is left alone.
    Past,
}

/// Whether extended attributes are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Xattrs {
    /// They are, at the cost of a call or more for each path.
    Read,
    /// They are not.
    Leave,
}

/// Calls `visit` for everything below `start`, a directory beneath `root`. Paths are relative to
/// `root`.
///
/// What one directory holds is visited together, sorted by name; then each directory in it. The
/// order is therefore fixed, and parents come first.
pub fn scan(
    root: &Root,
    start: &[u8],
    xattrs: Xattrs,
    visit: &mut dyn FnMut(&[u8], Found) -> Result<Descend>,
) -> Result<()> {
    scan_choosing(root, start, &|_| xattrs, visit)
}

/// Does what [`scan`] does; whether extended attributes are read is asked for each path, once the rest
/// is known.
pub fn scan_choosing(
    root: &Root,
    start: &[u8],
    xattrs: &dyn Fn(&Found) -> Xattrs,
    visit: &mut dyn FnMut(&[u8], Found) -> Result<Descend>,
) -> Result<()> {
    let mut todo = vec![start.to_vec()];
    while let Some(next) = todo.pop() {
        let mut waiting = Vec::new();
        let directory = root.directory(&next)?;
        for name in names(&directory)
            .map_err(|error| Error::system("list", root.shown(&next))(error.into()))?
        {
            let path = path::join(&next, &name);
            let found = inspect_choosing(directory.as_fd(), &name, xattrs)
                .map_err(|error| Error::system("examine", root.shown(&path))(error.into()))?;
            let Some(found) = found else { continue };
            let is_directory = found.kind == FoundKind::Directory;
            if visit(&path, found)? == Descend::Into && is_directory {
                waiting.push(path);
            }
        }
        todo.extend(waiting.into_iter().rev());
    }
    Ok(())
}

/// Returns the names in a directory, sorted, without `.` and `..`.
pub fn names(directory: impl AsFd) -> rustix::io::Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(name.to_vec());
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Examines `name` in `directory` without following it; `None` if it is gone.
pub fn inspect(
    directory: BorrowedFd<'_>,
    name: &[u8],
    xattrs: Xattrs,
) -> rustix::io::Result<Option<Found>> {
    inspect_choosing(directory, name, &|_| xattrs)
}

fn inspect_choosing(
    directory: BorrowedFd<'_>,
    name: &[u8],
    xattrs: &dyn Fn(&Found) -> Xattrs,
) -> rustix::io::Result<Option<Found>> {
    let stat = match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(None),
        result => result?,
    };
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => FoundKind::Directory,
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(directory, name, Vec::new())?;
            FoundKind::Symlink(target.into_bytes().into())
        }
        FileType::Fifo => FoundKind::Fifo,
        FileType::Socket => FoundKind::Socket,
        kind @ (FileType::CharacterDevice | FileType::BlockDevice) => FoundKind::Device {
            block: kind == FileType::BlockDevice,
            major: major(stat.st_rdev),
            minor: minor(stat.st_rdev),
        },
        FileType::RegularFile | FileType::Unknown => FoundKind::File,
    };
    let mut found = Found {
        size: if kind == FoundKind::File {
            stat.st_size.cast_unsigned()
        } else {
            0
        },
        kind,
        meta: meta_of(&stat),
        unreadable_xattrs: Vec::new(),
        ctime: ctime_of(&stat),
        inode: (stat.st_dev, stat.st_ino),
        #[expect(
            clippy::useless_conversion,
            reason = "the field's type differs between architectures"
        )]
        n_links: u64::from(stat.st_nlink),
    };
    if xattrs(&found) == Xattrs::Read {
        let read = read_xattrs(&proc_path(directory, name))?;
        found.meta = found.meta.with_extended(read.values, Vec::new());
        found.unreadable_xattrs = read.unreadable;
    }
    Ok(Some(found))
}

/// Returns the attributes of the root of a scan, which [`scan`] itself does not visit.
pub fn inspect_root(root: &Root, xattrs: Xattrs) -> Result<Found> {
    let failed = |error: Errno| Error::system("examine", root.path())(error.into());
    let found = inspect(root.as_fd(), b".", xattrs).map_err(failed)?;
    found.ok_or_else(|| failed(Errno::NOENT))
}

/// Returns when anything about a file last changed: seconds and nanoseconds since 1970.
#[expect(
    clippy::unnecessary_cast,
    reason = "the field's type differs between architectures"
)]
pub fn ctime_of(stat: &Stat) -> (i64, u32) {
    (
        stat.st_ctime as i64,
        u32::try_from(stat.st_ctime_nsec).unwrap_or_default(),
    )
}

fn meta_of(stat: &Stat) -> Meta {
    #[expect(
        clippy::unnecessary_cast,
        reason = "the fields' types differ between architectures"
    )]
    let mtime = Timestamp {
        seconds: stat.st_mtime as i64,
        nanoseconds: u32::try_from(stat.st_mtime_nsec).unwrap_or_default(),
    };
    Meta::new(stat.st_mode, stat.st_uid, stat.st_gid, mtime)
}

/// The extended attributes of a file, sorted by name.
#[derive(Default)]
struct ReadXattrs {
    values: Vec<(Vec<u8>, Vec<u8>)>,
    /// The names of those that may not be read.
    unreadable: Vec<Vec<u8>>,
}

/// Returns every extended attribute; none where there is no support for them.
fn read_xattrs(path: &[u8]) -> rustix::io::Result<ReadXattrs> {
    let mut read = ReadXattrs::default();
    let list = match grow(|buf| rustix::fs::llistxattr(path, buf)) {
        Err(Errno::OPNOTSUPP | Errno::PERM | Errno::ACCESS) => return Ok(read),
        list => list?,
    };
    for name in list
        .split(|&byte| byte == 0)
        .filter(|name| !name.is_empty())
    {
        match grow(|buf| rustix::fs::lgetxattr(path, name, buf)) {
            Ok(value) => read.values.push((name.to_vec(), value)),
            // Some namespaces are for root; values of `user.` are for whoever may read the file.
            Err(Errno::PERM | Errno::ACCESS) => read.unreadable.push(name.to_vec()),
            // It was removed meanwhile.
            Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error),
        }
    }
    read.values.sort_unstable();
    read.unreadable.sort_unstable();
    Ok(read)
}

/// The kernel's limit for the list of names and for each value.
const XATTR_MAX: usize = 64 << 10;

fn grow(read: impl Fn(&mut [u8]) -> rustix::io::Result<usize>) -> rustix::io::Result<Vec<u8>> {
    let mut buf = vec![0; 256];
    let len = match read(&mut buf) {
        Err(Errno::RANGE) => {
            buf.resize(XATTR_MAX, 0);
            read(&mut buf)?
        }
        len => len?,
    };
    buf.truncate(len);
    Ok(buf)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, chown};

    use rustix::fs::XattrFlags;
    use rustix::thread::set_thread_res_uid;

    use super::*;

    /// Needs root, to become somebody else in one thread.
    #[test]
    fn attributes_that_may_not_be_read() {
        let dir = tempfile::tempdir().unwrap();
        let uid = rustix::fs::Uid::from_raw(65534);
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        let path = dir.path().join("file");
        fs::File::create(&path).unwrap();
        for name in ["user.b", "user.a"] {
            rustix::fs::setxattr(&path, name, b"1", XattrFlags::empty()).unwrap();
        }
        chown(&path, Some(uid.as_raw()), None).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o000)).unwrap();
        let directory = fs::File::open(dir.path()).unwrap();
        let seen = || inspect(directory.as_fd(), b"file", Xattrs::Read);
        let seen = std::thread::scope(|scope| {
            let somebody = scope.spawn(|| {
                set_thread_res_uid(uid, uid, uid).unwrap();
                seen().unwrap().unwrap()
            });
            somebody.join().unwrap()
        });
        assert_eq!(seen.meta.xattrs(), []);
        let names: [&[u8]; 2] = [b"user.a", b"user.b"];
        assert_eq!(seen.unreadable_xattrs, names);
    }
}
