//! Sockets that a RUN left: no layer holds them, so the next step must not see them either.

use std::path::Path;

use corten_layer::beneath::Root;
use corten_layer::{Tree, path};
use corten_tar::Timestamp;
use rustix::fs::{AtFlags, FileType, Mode};

use crate::run::times::set_time;
use crate::{Error, Result};

/// Removes `sockets` from `files`, a directory of all files. The times of their directories stay what they
/// are.
pub(crate) fn remove(files: &Path, sockets: &[Vec<u8>]) -> Result<()> {
    withdraw(&Tree::new(), files, sockets)
}

/// Removes `sockets` from the upper directory; one that took the place of something in `lower` leaves
/// the deletion that the layer has. The times of their directories stay what they are.
pub(crate) fn withdraw(lower: &Tree, upper: &Path, sockets: &[Vec<u8>]) -> Result<()> {
    let root = Root::open(upper)?;
    for socket in sockets {
        let (directory, name) = path::split(socket);
        let parent = root.directory(directory)?;
        let failed =
            |error: rustix::io::Errno| Error::system("remove", root.shown(socket))(error.into());
        let before = rustix::fs::fstat(&parent).map_err(failed)?;
        rustix::fs::unlinkat(&parent, name, AtFlags::empty()).map_err(failed)?;
        if lower.exact(socket).is_some() {
            let whiteout = rustix::fs::makedev(0, 0);
            rustix::fs::mknodat(
                &parent,
                name,
                FileType::CharacterDevice,
                Mode::empty(),
                whiteout,
            )
            .map_err(failed)?;
        }
        let mtime = Timestamp {
            seconds: before.st_mtime,
            nanoseconds: u32::try_from(before.st_mtime_nsec).unwrap_or_default(),
        };
        set_time(&root, directory, mtime)?;
    }
    Ok(())
}
