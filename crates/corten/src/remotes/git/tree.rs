//! The files of a checkout.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};

use crate::error::CommandError;

/// Returns the directory `subdir` of `tree`; no link leads to it.
pub(super) fn subdirectory(tree: &Path, subdir: &str) -> Result<PathBuf, CommandError> {
    let mut path = tree.to_owned();
    for name in subdir.split('/').filter(|name| !name.is_empty()) {
        path.push(name);
        if !path.symlink_metadata().is_ok_and(|found| found.is_dir()) {
            return Err(CommandError::failed(format!(
                "`{subdir}` is not a directory of the repository"
            )));
        }
    }
    Ok(path)
}

/// Removes the `.git` of submodules, which name directories of this machine. Git tracks no file of
/// that name.
pub(super) fn remove_git_files(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        match (entry.file_name() == ".git", entry.file_type()?.is_dir()) {
            (true, true) => fs::remove_dir_all(entry.path())?,
            (true, false) => fs::remove_file(entry.path())?,
            // No path that git could write is long enough to exhaust the stack.
            (false, true) => remove_git_files(&entry.path())?,
            (false, false) => {}
        }
    }
    Ok(())
}

pub(super) fn subdirectories(path: &Path) -> Result<Vec<PathBuf>, CommandError> {
    let list = || -> io::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                found.push(entry.path());
            }
        }
        Ok(found)
    };
    list().map_err(CommandError::caused)
}

pub(super) fn remove_if_there(path: &Path) -> Result<(), CommandError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(CommandError::doing(
            format!("cannot remove `{}`", path.display()),
            error,
        )),
        _ => Ok(()),
    }
}

pub(super) fn set_times(path: &Path, seconds: i64) -> io::Result<()> {
    if path.symlink_metadata()?.is_dir() {
        for entry in fs::read_dir(path)? {
            set_times(&entry?.path(), seconds)?;
        }
    }
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: 0,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    Ok(utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}
