//! Locks between processes. The kernel releases them when their holder dies, however it dies.
//!
//! A lock belongs to an open file, not to a thread: every holder opens the file anew.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::{Error, Result};

/// A lock that is held until it is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Waits for the lock that others may share.
    pub(crate) fn shared(path: &Path) -> Result<Self> {
        Self::acquire(path, File::lock_shared)
    }

    /// Waits for the lock that nobody shares.
    pub(crate) fn exclusive(path: &Path) -> Result<Self> {
        Self::acquire(path, File::lock)
    }

    fn acquire(path: &Path, lock: impl Fn(&File) -> io::Result<()>) -> Result<Self> {
        loop {
            // Network file systems grant exclusive locks only on files open for writing.
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(path)
                .map_err(Error::system("open", path))?;
            match lock(&file) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                other => other.map_err(Error::system("lock", path))?,
            }
            if is_at(&file, path) {
                return Ok(Self { _file: file });
            }
        }
    }
}

/// Locks `file`, unless someone else holds it.
pub(crate) fn try_lock(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Tells whether `path` still names `file`: it may have been removed or replaced before the lock
/// was granted.
pub(crate) fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(opened), Ok(named)) = (file.metadata(), fs::metadata(path)) else {
        return false;
    };
    (opened.dev(), opened.ino()) == (named.dev(), named.ino())
}
