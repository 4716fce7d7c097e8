//! What is being made, and goes if it is not finished.

use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use crate::snapshots::remove;
use crate::{Error, Result};

/// A file or directory under `layers/tmp` that is removed with its owner, unless it was given its name:
/// what fails, such as on a full disk, must not leave a whole tar behind.
#[derive(Debug)]
pub(crate) struct Unfinished(PathBuf);

impl Unfinished {
    /// Takes a path that nobody uses; nothing need be there yet.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Gives it its name, in place of a file that has it.
    pub(crate) fn rename(&self, name: &Path) -> Result<()> {
        fs::rename(&self.0, name).map_err(Error::system("write", name))
    }
}

impl Deref for Unfinished {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Nothing is there once it has its name, for no path is given out twice. What cannot be removed
        // is left to `gc`.
        remove(&self.0).ok();
    }
}
