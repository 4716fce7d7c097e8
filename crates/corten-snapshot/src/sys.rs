//! What has no safe wrapper.

use rustix::thread::UnshareFlags;

/// Gives this thread a copy of the mount namespace, and a working directory of its own.
pub(crate) fn own_mounts() -> rustix::io::Result<()> {
    // SAFETY: unsharing the table of files is what makes this unsafe, and that is not asked for: other
    // threads keep their namespace and their working directory.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS | UnshareFlags::FS) }
}
