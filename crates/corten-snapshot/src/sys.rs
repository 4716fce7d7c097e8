//! What has no safe wrapper.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;
use rustix::mount::MountAttrFlags;
use rustix::thread::UnshareFlags;

/// Gives this thread a copy of the mount namespace, and a working directory of its own.
pub(crate) fn own_mounts() -> rustix::io::Result<()> {
    // SAFETY: unsharing the table of files is what makes this unsafe, and that is not asked for: other
    // threads keep their namespace and their working directory.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS | UnshareFlags::FS) }
}

/// Gives this thread a root and a working directory of its own.
pub(crate) fn own_directory() -> rustix::io::Result<()> {
    // SAFETY: as above.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::FS) }
}

/// Adds `attributes` to those of a mount, beneath which nothing is mounted.
pub(crate) fn add_attributes(
    mount: BorrowedFd<'_>,
    attributes: MountAttrFlags,
) -> rustix::io::Result<()> {
    let attr = libc::mount_attr {
        attr_set: u64::from(attributes.bits()),
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: the path is a constant, `attr` is valid for its size.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attr,
            size_of_val(&attr),
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL)),
    }
}
