//! What this process has on disk under names that nobody will ever look for: files and directories in
//! the making, beside where they will be.
//!
//! The store needs none of this, since `gc` takes what is left there. Elsewhere nobody would: a program
//! that is told to end asks for all of it and removes it first.
//!
//! ```
//! use corten_content::unfinished::Unfinished;
//!
//! let dir = tempfile::tempdir()?;
//! let path = dir.path().join(".tmp-1");
//! let create = || Ok::<_, std::io::Error>((path.clone(), std::fs::File::create(&path)?));
//! let (unfinished, file) = Unfinished::create(create)?;
//! // … the file is written …
//! std::fs::rename(&path, dir.path().join("whole"))?;
//! drop(unfinished);
//! # drop(file);
//! # Ok::<(), std::io::Error>(())
//! ```

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

static PATHS: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

fn paths() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    PATHS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A file or directory that is to go if the process is told to end while this value lives.
///
/// Dropping it removes nothing: who made the path renames or removes it first. While [`remove_all`]
/// is at work no value can be made or dropped, so that its thread goes on to nothing else.
#[derive(Debug)]
#[must_use = "the path is as good as finished as soon as this is dropped"]
pub struct Unfinished(PathBuf);

impl Unfinished {
    /// Calls `make`, which creates something new and returns its path, and knows that path from the
    /// first instant on.
    pub fn create<T, E>(make: impl FnOnce() -> Result<(PathBuf, T), E>) -> Result<(Self, T), E> {
        let mut paths = paths();
        let (path, made) = make()?;
        // The directory of the process may change.
        let path = std::path::absolute(&path).unwrap_or(path);
        paths.insert(path.clone());
        Ok((Self(path), made))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        paths().remove(&self.0);
    }
}

/// Removes everything that is unfinished, by `remove`, before the process ends.
///
/// From now on no [`Unfinished`] can be made or dropped: threads that come to that wait for the end.
/// Others may still be adding to a directory that is being removed, hence the repetitions. What
/// cannot be removed stays.
pub fn remove_all(remove: &dyn Fn(&Path) -> bool) {
    /// Far more than a thread needs to notice that its directory is gone.
    const MOST: usize = 1000;
    let paths = paths();
    for path in paths.iter() {
        let is_left = |_: &usize| !remove(path) || path.symlink_metadata().is_ok();
        (0..MOST).take_while(is_left).for_each(drop);
    }
    std::mem::forget(paths);
}

#[cfg(test)]
mod tests {
    use std::{fs, io};

    use super::*;

    #[test]
    fn what_is_unfinished_is_known_until_it_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let make = || Ok::<_, io::Error>((path.clone(), fs::File::create_new(&path)?));
        let (first, _file) = Unfinished::create(make).unwrap();
        assert!(paths().contains(&path));
        let taken = Unfinished::create(make).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AlreadyExists);
        assert!(paths().contains(&path), "it is the first one's");
        drop(first);
        assert!(!paths().contains(&path));
        assert!(path.exists(), "it is for its owner to remove");
    }
}
