//! A command that fails where the store's disk is full may say nothing of it.

use std::path::Path;

use rustix::fs::{StatVfs, statvfs};

use crate::Error;

/// Bytes that are too few for anything: a command may leave some, when what it wrote last did not fit.
const FEW: u64 = 1 << 20;

/// Adds to the failure of a command that no space is left on the file system of `store`, where it wrote.
pub(super) fn explained(error: Error, store: &Path) -> Error {
    match error {
        Error::Run {
            command,
            status,
            tail,
            ..
        } if statvfs(store).is_ok_and(|disk| is_full(&disk, has_reserve())) => Error::Run {
            command,
            status: format!(
                "{status}; no space was left on the disk of `{}`",
                store.display()
            ),
            tail,
            is_disk_full: true,
        },
        other => other,
    }
}

/// Root alone may write what ordinary users may not fill; root of a user namespace is one of them.
fn has_reserve() -> bool {
    rustix::process::geteuid().is_root() && !corten_sandbox::in_user_namespace()
}

fn is_full(disk: &StatVfs, has_reserve: bool) -> bool {
    let blocks = if has_reserve {
        disk.f_bfree
    } else {
        disk.f_bavail
    };
    // Where files are not counted, as on btrfs, there are none at all.
    blocks.saturating_mul(disk.f_frsize) < FEW || (disk.f_files > 0 && disk.f_ffree == 0)
}
