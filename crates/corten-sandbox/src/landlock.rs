//! A fence of the kernel's around what a process may reach by path, which holds even where root could
//! leave its root directory.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{FileType, fstat};
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

/// What of these a file that is no directory can have.
const OF_FILES: u64 = 0b111 | TRUNCATE | IOCTL_DEV;

/// Keeps this thread, and what it becomes and starts, within `root`: no path beyond it can be opened or
/// changed, and, from Linux 6.12 on, no process outside be sent a signal, nor an abstract socket of one be
/// connected to.
///
/// It takes `no_new_privs` or `CAP_SYS_ADMIN`. The standard streams, which are files beyond it when the
/// caller has redirected them, can be opened again as `/dev/stdout` and the like.
pub(crate) fn fence(root: BorrowedFd<'_>) -> io::Result<()> {
    let attr = attr(version()?).ok_or(Errno::NOSYS)?;
    let ruleset = create_ruleset(attr)?;
    allow_beneath(ruleset.as_fd(), root, attr.handled_access_fs)?;
    for stream in [stdin(), stdout(), stderr()] {
        let is_directory = fstat(stream)
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory);
        if !is_directory {
            // Of a pipe or a socket, which no path leads to, there is no rule, and none is needed.
            allow_beneath(ruleset.as_fd(), stream, attr.handled_access_fs & OF_FILES).ok();
        }
    }
    restrict_self(ruleset.as_fd())
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
