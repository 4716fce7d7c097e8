//! Paths of `/proc` and `/sys` that a step must not read or not write: the field's default lists.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, makedev, openat2};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use crate::devices::check_device;
use crate::error::{Doing, Failure};
use crate::mounts;

/// What `/proc` shows as empty.
const MASKED_IN_PROC: [&str; 10] = [
    "acpi",
    "asound",
    "interrupts",
    "kcore",
    "keys",
    "latency_stats",
    "sched_debug",
    "scsi",
    "timer_list",
    "timer_stats",
];
/// What `/sys` shows as empty.
const MASKED_IN_SYS: [&str; 2] = ["firmware", "devices/virtual/powercap"];
/// What of `/proc` cannot be changed.
const READ_ONLY_IN_PROC: [&str; 5] = ["bus", "fs", "irq", "sys", "sysrq-trigger"];

/// Masks and restricts paths of the two mounts, which were just made.
///
/// Everything is named relative to those mounts and resolved without following a link or crossing a
/// mount, and no process of the sandbox runs yet: there is nothing to race with (CVE-2025-31133,
/// CVE-2025-52881).
pub(crate) fn mask(proc: BorrowedFd<'_>, sys: BorrowedFd<'_>) -> Result<(), Failure> {
    let cover = Cover::new().doing("preparing to mask", Path::new("/proc"))?;
    for name in MASKED_IN_PROC {
        cover
            .over(proc, name)
            .doing("masking", &Path::new("/proc").join(name))?;
    }
    for name in MASKED_IN_SYS {
        cover
            .over(sys, name)
            .doing("masking", &Path::new("/sys").join(name))?;
    }
    for name in READ_ONLY_IN_PROC {
        make_readonly(proc, name).doing("making read-only", &Path::new("/proc").join(name))?;
    }
    Ok(())
}

/// What masked paths are covered with: files with `/dev/null`, directories with an empty file system.
struct Cover {
    null: OwnedFd,
}

impl Cover {
    /// Takes the host's null device and makes sure that it is one (CVE-2025-31133).
    fn new() -> Result<Self, Errno> {
        let null = rustix::fs::open("/dev/null", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        check_device(null.as_fd(), makedev(1, 3))?;
        Ok(Self { null })
    }

    fn over(&self, mount: BorrowedFd<'_>, name: &str) -> Result<(), Errno> {
        let Some(target) = beneath(mount, name)? else {
            return Ok(());
        };
        let cover = match FileType::from_raw_mode(fstat(&target)?.st_mode) {
            FileType::Directory => {
                let attributes =
                    MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NOEXEC;
                mounts::new("tmpfs", &[("nr_inodes", "1"), ("mode", "755")], attributes)?
            }
            _ => mounts::copy(self.null.as_fd(), Path::new(""))?,
        };
        mounts::attach(cover.as_fd(), target.as_fd())
    }
}

fn beneath(mount: BorrowedFd<'_>, name: &str) -> Result<Option<OwnedFd>, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    match openat2(mount, name, flags, Mode::empty(), resolve) {
        Err(Errno::NOENT) => Ok(None),
        opened => opened.map(Some),
    }
}

fn make_readonly(mount: BorrowedFd<'_>, name: &str) -> Result<(), Errno> {
    let Some(target) = beneath(mount, name)? else {
        return Ok(());
    };
    let copy = mounts::copy(target.as_fd(), Path::new(""))?;
    mounts::restrict(copy.as_fd(), MountAttrFlags::MOUNT_ATTR_RDONLY)?;
    mounts::attach(copy.as_fd(), target.as_fd())
}
