//! Removing directories of any depth.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::directories::forget;
use crate::snapshots::{SweepReport, make_directory};
use crate::{Error, Result};

/// Removes a file or a directory with all that is in it. Nobody may add anything to it meanwhile;
/// others may be removing it, too.
pub fn remove(path: &Path) -> Result<()> {
    let result = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => remove_directory(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    if_there(result).map_err(Error::system("remove", path))?;
    Ok(())
}

/// What nobody finds any more, and what is to be removed when there is time for it.
///
/// If that never comes, because the process is killed, the next gc finds it among what is
/// unfinished.
#[derive(Debug, Default)]
pub struct Retired {
    paths: Vec<PathBuf>,
    n_removed: usize,
}

impl Retired {
    /// Removes it. Another process may be removing the same.
    pub fn remove(self) -> Result<SweepReport> {
        for path in &self.paths {
            remove(path)?;
        }
        Ok(SweepReport {
            n_removed: self.n_removed,
        })
    }

    /// Takes `path` out of everybody's sight. A file is removed at once; a directory is moved into
    /// `attic`, since removing an unpacked image takes seconds.
    pub(crate) fn take(&mut self, path: &Path, attic: &Path) -> Result<()> {
        self.n_removed += 1;
        if !fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir()) {
            return remove(path);
        }
        let gone = attic.join(format!("gone-{}", unique_name(path)));
        // On a full disk there may be no room for another name: then it stays where it is.
        let is_moved = !path.starts_with(attic)
            && make_directory(attic).is_ok()
            && fs::rename(path, &gone).is_ok();
        if !is_moved {
            forget(path)?;
        }
        self.paths
            .push(if is_moved { gone } else { path.to_owned() });
        Ok(())
    }
}

fn unique_name(path: &Path) -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    format!("{}-{number}-{name}", std::process::id())
}

/// A directory that is not empty is moved up before it is looked into: an image or a RUN may nest more
/// of them than a process may have open files, than its stack takes, and than fit into one path.
fn remove_directory(root: &Path) -> io::Result<()> {
    for _ in 1..MAX_ROUNDS {
        match empty_directory(root).and_then(|()| fs::remove_dir(root)) {
            // Whoever removes it beside us has moved something up since we looked.
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
            result => return result,
        }
    }
    fs::remove_dir(root)
}

/// How often a directory is emptied that others empty, too; more would not help against who fills it.
const MAX_ROUNDS: usize = 32;

fn empty_directory(root: &Path) -> io::Result<()> {
    let mut todo = Vec::new();
    let mut next_number = 0;
    // What is moved up appears here, so the names are collected before.
    let names: Vec<PathBuf> = fs::read_dir(root)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<_>>()?;
    for path in names {
        match if_there(fs::symlink_metadata(&path))? {
            Some(metadata) if metadata.is_dir() => todo.push(path),
            Some(_) => drop(if_there(fs::remove_file(&path))?),
            None => {}
        }
    }
    while let Some(directory) = todo.pop() {
        // It may have been empty and given its name to another.
        let Some(entries) = if_there(fs::read_dir(&directory))? else {
            continue;
        };
        for entry in entries {
            let entry = entry?;
            let path = entry.path();
            if !entry.file_type()?.is_dir() {
                if_there(fs::remove_file(&path))?;
            } else if fs::remove_dir(&path).is_err() {
                todo.extend(if_there(move_up(&path, root, &mut next_number))?);
            }
        }
        if_there(fs::remove_dir(&directory))?;
    }
    Ok(())
}

/// Moves `path` into `root` and returns where it is now.
fn move_up(path: &Path, root: &Path, next_number: &mut u64) -> io::Result<PathBuf> {
    loop {
        let moved = root.join(next_number.to_string());
        *next_number += 1;
        match fs::rename(path, &moved) {
            // The directory may have had the name from the start.
            Err(error)
                if moved.symlink_metadata().is_ok() && error.kind() != io::ErrorKind::NotFound => {}
            result => return result.map(|()| moved),
        }
    }
}

fn if_there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}
