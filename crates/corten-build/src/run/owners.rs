//! Owners of what is made for a command. An ordinary user can give nothing away, and a command that is
//! traced is told of owners instead.

use std::os::fd::AsFd;
use std::path::Path;

use corten_layer::beneath::Root;
use corten_layer::directory::Owners;
use corten_layer::path;
use corten_layer::scan::names;
use rustix::fs::{AtFlags, FileType, Gid, Mode, Uid, chmodat, fchown, statat};
use rustix::io::Errno;

use crate::{Error, Result};

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Returns what is done about owners of what is written for a command.
pub(crate) fn of_written() -> Owners {
    if is_root() {
        super::owners()
    } else {
        Owners::Record
    }
}

/// Gives `path` away, if this is root.
pub(crate) fn give(path: &Path, uid: u32, gid: u32) -> std::io::Result<()> {
    if is_root() {
        std::os::unix::fs::chown(path, Some(uid), Some(gid))
    } else {
        Ok(())
    }
}

/// Gives an open file away, if this is root.
pub(crate) fn give_open(file: impl AsFd, uid: u32, gid: u32) -> rustix::io::Result<()> {
    if is_root() {
        fchown(file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
    } else {
        Ok(())
    }
}

/// Lets the owner read and write everything in `root`, unless this is root, who may anyway.
pub(crate) fn open_up(root: &Root) -> Result<()> {
    if is_root() {
        return Ok(());
    }
    open_up_one(root, b"", b".")?;
    let mut todo = vec![Vec::new()];
    while let Some(next) = todo.pop() {
        let directory = root.directory(&next)?;
        let found = names(&directory);
        let found =
            found.map_err(|errno| Error::system("list", root.shown(&next))(errno.into()))?;
        for name in found {
            if open_up_one(root, &next, &name)? == FileType::Directory {
                todo.push(path::join(&next, &name));
            }
        }
    }
    Ok(())
}

fn open_up_one(root: &Root, directory: &[u8], name: &[u8]) -> Result<FileType> {
    let parent = root.directory(directory)?;
    let open = || -> std::result::Result<FileType, Errno> {
        let stat = statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        let mode = stat.st_mode & 0o7777;
        if let Some(needed) = on_disk(kind, mode).filter(|needed| *needed != mode) {
            chmodat(&parent, name, Mode::from_raw_mode(needed), AtFlags::empty())?;
        }
        Ok(kind)
    };
    let shown = || root.shown(&path::join(directory, name));
    open().map_err(|errno| Error::system("set the mode of", shown())(errno.into()))
}

/// Returns the mode that a file gets where it is said to have another one, if it has one on the disk.
pub(crate) fn on_disk(kind: FileType, mode: u32) -> Option<u32> {
    match kind {
        FileType::Directory => Some(mode & 0o777 | 0o700),
        FileType::RegularFile | FileType::Fifo => Some(mode & 0o777 | 0o600),
        _ => None,
    }
}
