//! The three system calls of Landlock, which neither `rustix` nor `libc` wraps.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use rustix::io::Errno;

use super::checked;

/// `struct landlock_ruleset_attr` (linux/landlock.h). An older kernel takes the larger structure as long
/// as what it does not know is zero.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct RulesetAttr {
    pub(crate) handled_access_fs: u64,
    pub(crate) handled_access_net: u64,
    pub(crate) scoped: u64,
}

/// `struct landlock_path_beneath_attr`, which is packed.
#[repr(C, packed)]
struct PathBeneathAttr {
    allowed_access: u64,
    parent_fd: RawFd,
}

/// Returns the version of Landlock's interface.
pub(crate) fn version() -> Result<u32, Errno> {
    const LANDLOCK_CREATE_RULESET_VERSION: u32 = 1;
    // SAFETY: with this flag the kernel reads no structure.
    let version = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            ptr::null::<RulesetAttr>(),
            0_usize,
            LANDLOCK_CREATE_RULESET_VERSION,
        )
    };
    checked(version).map(i32::unsigned_abs)
}

/// Makes a ruleset that refuses what `attr` names, unless a rule allows it.
pub(crate) fn create_ruleset(attr: RulesetAttr) -> Result<OwnedFd, Errno> {
    // SAFETY: the kernel reads one structure of the size it is told.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            &raw const attr,
            size_of_val(&attr),
            0,
        )
    };
    let fd = checked(fd)?;
    // SAFETY: the kernel has returned a fresh descriptor that nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Allows `access` to what lies beneath `path`.
pub(crate) fn allow_beneath(
    ruleset: BorrowedFd<'_>,
    path: impl AsFd,
    access: u64,
) -> Result<(), Errno> {
    const LANDLOCK_RULE_PATH_BENEATH: u32 = 1;
    let rule = PathBeneathAttr {
        allowed_access: access,
        parent_fd: path.as_fd().as_raw_fd(),
    };
    // SAFETY: the kernel reads one structure of the type that the constant names.
    let result = unsafe {
        libc::syscall(
            libc::SYS_landlock_add_rule,
            ruleset.as_raw_fd(),
            LANDLOCK_RULE_PATH_BENEATH,
            &raw const rule,
            0,
        )
    };
    checked(result).map(drop)
}

/// Puts this thread, and what it starts, under `ruleset` for good.
pub(crate) fn restrict_self(ruleset: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: the call takes a descriptor and touches no memory.
    let result = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0) };
    checked(result).map(drop)
}
