//! A fence of the kernel's around what a process may reach by path, which holds even where root could
//! leave its root directory.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{FileType, OFlags, fcntl_getfl, fstat};
use rustix::io::Errno;
use rustix::stdio::{stderr, stdin, stdout};

use crate::sys::landlock::{RulesetAttr, allow_beneath, create_ruleset, restrict_self, version};

/// What version 1 of the interface knows: 13 rights, `LANDLOCK_ACCESS_FS_EXECUTE` to `..._MAKE_SYM`.
const FIRST_RIGHTS: u64 = (1 << 13) - 1;
/// `LANDLOCK_ACCESS_FS_REFER`, of version 2. Without it no file can be moved or linked to another
/// directory, so that a fence of version 1 is none that a build can live in.
const REFER: u64 = 1 << 13;
/// `LANDLOCK_ACCESS_FS_TRUNCATE`, of version 3.
const TRUNCATE: u64 = 1 << 14;
/// `LANDLOCK_ACCESS_FS_IOCTL_DEV`, of version 5.
const IOCTL_DEV: u64 = 1 << 15;
/// `LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET` and `LANDLOCK_SCOPE_SIGNAL`, of version 6.
const SCOPES: u64 = 0b11;

/// `LANDLOCK_ACCESS_FS_WRITE_FILE` and `LANDLOCK_ACCESS_FS_READ_FILE`.
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;

/// What became of a fence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fence {
    /// It stands.
    Stands,
    /// There is none to be had here, for this reason.
    Missing(Errno),
}

/// Keeps this thread, and what it becomes and starts, within `root`: no path beyond it can be opened or
/// changed, and, from Linux 6.12 on, no process outside be sent a signal, nor an abstract socket of one be
/// connected to.
///
/// It takes `no_new_privs` or `CAP_SYS_ADMIN`. The standard streams, which are files beyond it when the
/// caller has redirected them, can be opened again as `/dev/stdout` and the like, for what they are open
/// for; where a `terminal` is to be all three of them, that can be.
///
/// # Errors
/// Whatever else than that the kernel has no Landlock, or no room for one more fence: a command must not go
/// without for a reason that nobody thought of.
pub(crate) fn fence(
    root: BorrowedFd<'_>,
    terminal: Option<BorrowedFd<'_>>,
) -> Result<Fence, Errno> {
    let attr = match version() {
        Ok(version) => attr(version),
        // Filters of containers that do not know the call refuse it so.
        Err(errno @ (Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM)) => {
            return Ok(Fence::Missing(errno));
        }
        Err(errno) => return Err(errno),
    };
    let Some(attr) = attr else {
        return Ok(Fence::Missing(Errno::NOSYS));
    };
    let ruleset = create_ruleset(attr)?;
    allow_beneath(ruleset.as_fd(), root, attr.handled_access_fs)?;
    let streams = match terminal {
        Some(terminal) => vec![terminal],
        None => vec![stdin(), stdout(), stderr()],
    };
    for stream in streams {
        let rights = rights_of(stream)? & attr.handled_access_fs;
        match if rights == 0 {
            Ok(())
        } else {
            allow_beneath(ruleset.as_fd(), stream, rights)
        } {
            // Of a pipe or a socket, which no path leads to, there is no rule, and none is needed.
            Ok(()) | Err(Errno::BADFD) => {}
            Err(errno) => return Err(errno),
        }
    }
    match restrict_self(ruleset.as_fd()) {
        Ok(()) => Ok(Fence::Stands),
        // There are 16 fences around each other already, which are what this one would be.
        Err(Errno::TOOBIG) => Ok(Fence::Missing(Errno::TOOBIG)),
        Err(errno) => Err(errno),
    }
}

/// Returns what a stream is open for: nobody gets more by opening it again than it was given. What leads
/// to other files is for nothing, and neither is a stream that is closed.
fn rights_of(stream: BorrowedFd<'_>) -> Result<u64, Errno> {
    let (flags, stat) = match (fcntl_getfl(stream), fstat(stream)) {
        (Err(Errno::BADF), _) | (_, Err(Errno::BADF)) => return Ok(0),
        (flags, stat) => (flags?, stat?),
    };
    let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    if is_directory || flags.contains(OFlags::PATH) {
        return Ok(0);
    }
    Ok(IOCTL_DEV
        | match flags & OFlags::RWMODE {
            OFlags::WRONLY => WRITE_FILE | TRUNCATE,
            OFlags::RDWR => READ_FILE | WRITE_FILE | TRUNCATE,
            _ => READ_FILE,
        })
}

/// Rights by their bits (`LANDLOCK_ACCESS_FS_*`).
#[cfg(target_arch = "x86_64")]
pub(crate) struct Right;

#[cfg(target_arch = "x86_64")]
impl Right {
    pub(crate) const EXECUTE: u64 = 1;
    pub(crate) const WRITE_FILE: u64 = 1 << 1;
    pub(crate) const READ_FILE: u64 = 1 << 2;
    pub(crate) const READ_DIR: u64 = 1 << 3;
    pub(crate) const TRUNCATE: u64 = TRUNCATE;
    pub(crate) const IOCTL_DEV: u64 = IOCTL_DEV;
    pub(crate) const ALL: u64 = u64::MAX;
}

/// Whether signals to processes outside, and their abstract sockets, are refused where that is known.
#[cfg(target_arch = "x86_64")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signals {
    /// They are.
    Keep,
    /// They are not.
    Leave,
}

/// Allows this thread, and what it becomes and starts, beneath each place what is said there, of what the
/// kernel can refuse. Returns whether it can refuse signals.
#[cfg(target_arch = "x86_64")]
pub(crate) fn fence_with(rules: &[(BorrowedFd<'_>, u64)], signals: Signals) -> Result<bool, Errno> {
    let attr = attr(version()?).ok_or(Errno::NOSYS)?;
    let can_keep = attr.scoped != 0;
    let attr = match signals {
        Signals::Keep => attr,
        Signals::Leave => RulesetAttr { scoped: 0, ..attr },
    };
    let ruleset = create_ruleset(attr)?;
    for (place, rights) in rules {
        let rights = rights & attr.handled_access_fs;
        if rights != 0 {
            allow_beneath(ruleset.as_fd(), place, rights)?;
        }
    }
    restrict_self(ruleset.as_fd())?;
    Ok(can_keep)
}

/// Returns what a kernel with this version of the interface is asked to refuse; `None` if that would
/// refuse too much.
fn attr(version: u32) -> Option<RulesetAttr> {
    let since = |first: u32, rights: u64| if version >= first { rights } else { 0 };
    (version >= 2).then(|| RulesetAttr {
        handled_access_fs: FIRST_RIGHTS | REFER | since(3, TRUNCATE) | since(5, IOCTL_DEV),
        handled_access_net: 0,
        scoped: since(6, SCOPES),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_opened_again_for_what_they_are_open_for() {
        #[track_caller]
        fn check(path: &str, flags: OFlags, expected: u64) {
            let stream = rustix::fs::open(path, flags, rustix::fs::Mode::empty()).unwrap();
            let found = rights_of(stream.as_fd()).unwrap();
            assert_eq!(found, expected, "{path} {flags:?}");
        }
        check("/dev/null", OFlags::RDONLY, IOCTL_DEV | READ_FILE);
        check(
            "/dev/null",
            OFlags::WRONLY | OFlags::APPEND,
            IOCTL_DEV | WRITE_FILE | TRUNCATE,
        );
        check(
            "/dev/null",
            OFlags::RDWR,
            IOCTL_DEV | READ_FILE | WRITE_FILE | TRUNCATE,
        );
        check("/dev/null", OFlags::PATH, 0);
        check("/", OFlags::RDONLY, 0);
    }

    #[test]
    fn only_what_a_kernel_knows_is_asked_for() {
        #[track_caller]
        fn check(version: u32, expected: Option<(u64, u64)>) {
            let found = attr(version).map(|attr| (attr.handled_access_fs, attr.scoped));
            assert_eq!(found, expected, "version {version}");
        }
        check(1, None);
        check(2, Some((0x3fff, 0)));
        check(3, Some((0x7fff, 0)));
        check(5, Some((0xffff, 0)));
        check(7, Some((0xffff, 3)));
    }
}
