//! Removing directories of any depth.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// Removes a file or a directory with all that is in it. Nothing else may change it meanwhile.
pub fn remove(path: &Path) -> Result<()> {
    let result = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => remove_directory(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    if_there(result).map_err(Error::system("remove", path))?;
    Ok(())
}

/// A directory that is not empty is moved up before it is looked into: an image or a RUN may nest more
/// of them than a process may have open files, than its stack takes, and than fit into one path.
fn remove_directory(root: &Path) -> io::Result<()> {
    let mut todo = Vec::new();
    let mut next_number = 0;
    // What is moved up appears here, so the names are collected before.
    let names: Vec<PathBuf> = fs::read_dir(root)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<_>>()?;
    for path in names {
        if fs::symlink_metadata(&path)?.is_dir() {
            todo.push(path);
        } else {
            fs::remove_file(&path)?;
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
                fs::remove_file(&path)?;
            } else if fs::remove_dir(&path).is_err() {
                todo.push(move_up(&path, root, &mut next_number)?);
            }
        }
        if_there(fs::remove_dir(&directory))?;
    }
    fs::remove_dir(root)
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
