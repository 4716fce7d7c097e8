//! Directories for what a command needs while it runs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

use crate::context::Context;
use crate::error::CommandError;

/// A directory that is removed when this goes; after a crash, by `gc` and the next command that makes one.
///
/// ```text
/// ROOT/contexts/lock       held while directories are made and swept
/// ROOT/contexts/XXXXXX/    locked by whoever uses it
/// ```
#[derive(Debug)]
pub(crate) struct ScratchDir {
    dir: TempDir,
    /// The lock on it, which the kernel gives up with the process.
    _lock: fs::File,
}

impl ScratchDir {
    /// Makes a directory, and removes those whose process is gone.
    pub(crate) fn new(ctx: &Context) -> Result<Self, CommandError> {
        let parent = parent(ctx);
        Self::below(&parent).map_err(|error| {
            CommandError::doing(
                format!("cannot make a directory in `{}`", parent.display()),
                error,
            )
        })
    }

    fn below(parent: &Path) -> io::Result<Self> {
        fs::create_dir_all(parent)?;
        let _making = sweep(parent)?;
        let dir = TempDir::with_prefix_in("", parent)?;
        let lock = fs::File::open(dir.path())?;
        flock(&lock, FlockOperation::LockExclusive)?;
        Ok(Self { dir, _lock: lock })
    }

    /// Returns where it is.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }
}

fn parent(ctx: &Context) -> PathBuf {
    ctx.root().join("contexts")
}

/// Removes the directories of processes that are gone.
pub(crate) fn remove_abandoned(ctx: &Context) -> Result<(), CommandError> {
    let parent = parent(ctx);
    match sweep(&parent) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(CommandError::doing(
            format!("cannot look through `{}`", parent.display()),
            error,
        )),
        _ => Ok(()),
    }
}

/// Removes directories whose process is gone; nobody makes one while what this returns is there.
fn sweep(parent: &Path) -> io::Result<fs::File> {
    let making = fs::File::create(parent.join("lock"))?;
    flock(&making, FlockOperation::LockExclusive)?;
    for entry in fs::read_dir(parent)? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() {
            continue;
        }
        let Ok(left) = fs::File::open(entry.path()) else {
            continue;
        };
        if flock(&left, FlockOperation::NonBlockingLockExclusive).is_ok() {
            // What cannot be removed, another user's perhaps, is in nobody's way.
            fs::remove_dir_all(entry.path()).ok();
        }
    }
    Ok(making)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_crash_left_is_swept_and_what_is_in_use_stays() {
        let root = tempfile::tempdir().unwrap();
        let left = root.path().join("left");
        fs::create_dir_all(left.join("a/b")).unwrap();
        let first = ScratchDir::below(root.path()).unwrap();
        assert!(!left.exists());
        fs::create_dir(first.path().join("a")).unwrap();
        let second = ScratchDir::below(root.path()).unwrap();
        assert!(first.path().join("a").is_dir());
        drop((first, second));
        let names: Vec<_> = fs::read_dir(root.path()).unwrap().collect();
        assert_eq!(names.len(), 1, "{names:?}");
    }
}
