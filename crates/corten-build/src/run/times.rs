//! Times in the upper directory of a RUN.

use std::os::fd::OwnedFd;
use std::path::Path;

use corten_layer::beneath::Root;
use corten_layer::changeset::Change;
use corten_layer::{Changeset, path};
use corten_tar::Timestamp;
use rustix::fs::{AtFlags, Timespec, Timestamps};

use crate::{Error, Result};

/// Gives what `changes` put later than `latest` that time, so that the next step sees the times that
/// the layer has (rule 93).
pub(crate) fn clamp(upper: &Path, changes: &Changeset, latest: Timestamp) -> Result<()> {
    let root = Root::open(upper)?;
    for (path, change) in changes.iter() {
        if let Change::Put(put) = change
            && put.meta.mtime > latest
        {
            set_time(&root, path, latest)?;
        }
    }
    Ok(())
}

/// Sets the time of `path`, which is not followed.
pub(crate) fn set_time(root: &Root, path: &[u8], mtime: Timestamp) -> Result<()> {
    let times = timestamps(mtime);
    let result = if path.is_empty() {
        rustix::fs::futimens(root, &times)
    } else {
        let (directory, name) = path::split(path);
        let directory = root.directory(directory)?;
        rustix::fs::utimensat(&directory, name, &times, AtFlags::SYMLINK_NOFOLLOW)
    };
    result.map_err(|error| Error::system("set the time of", root.shown(path))(error.into()))
}

/// Sets the time of an open directory.
pub(crate) fn set_time_of(directory: &OwnedFd, mtime: Timestamp) -> rustix::io::Result<()> {
    rustix::fs::futimens(directory, &timestamps(mtime))
}

fn timestamps(mtime: Timestamp) -> Timestamps {
    let time = Timespec {
        tv_sec: mtime.seconds,
        tv_nsec: mtime.nanoseconds.into(),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}
