//! Directories of caches as a whole: for who carries them from machine to machine.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use corten_content::Store;
use corten_snapshot::snapshots::remove;
use corten_spec::Digest;
use rustix::fs::{CWD, FlockOperation, RenameFlags, renameat_with};

use super::kept::directories;
use super::{Held, guard, lock_path, make, path_of, try_lock};
use crate::{Error, Result};

/// What became of a directory that was to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// There was none, and there is now.
    Made,
    /// It took the place of another.
    Replaced,
    /// There was one, which stays.
    Kept,
    /// There was one that a command uses, which stays.
    InUse,
}

/// Tells whether commands find a directory of the cache `name`.
pub(crate) fn is_there(store: &Store, name: &Digest) -> bool {
    path_of(store, name).join("0").exists()
}

/// Takes the directory of the cache `name` that was used last and is not in use, so that no command can
/// use it meanwhile. When it was used stays as it is.
pub(crate) fn hold_idle(store: &Store, name: &Digest) -> Result<Option<Held>> {
    let cache = path_of(store, name);
    if !cache.is_dir() {
        return Ok(None);
    }
    let _guard = guard(&cache)?;
    let all = directories(name, &cache)?.into_iter();
    let idle = all.filter_map(|(directory, lock)| Some((directory, lock?)));
    let last = idle.max_by_key(|(directory, _)| directory.used);
    Ok(last.map(|(directory, lock)| Held {
        directory: directory.path,
        id: directory.id,
        _lock: lock,
    }))
}

/// Puts a directory that `fill` makes at a path that is not there where commands find the cache `name`.
/// If it has one already and is to `replace` it, that is the first that is not in use.
pub(crate) fn put(
    store: &Store,
    name: &Digest,
    id: &str,
    replace: bool,
    fill: &dyn Fn(&Path) -> Result<()>,
) -> Result<Put> {
    let cache = path_of(store, name);
    let _guard = guard(&cache)?;
    let all = directories(name, &cache)?;
    if !all.is_empty() && !replace {
        return Ok(Put::Kept);
    }
    if all.is_empty() {
        let path = lock_path(&cache, 0);
        let Some(lock) = try_lock(&path, FlockOperation::NonBlockingLockExclusive)? else {
            return Ok(Put::InUse);
        };
        make(&cache, &cache.join("0"), id, fill)?;
        lock.set_modified(SystemTime::now())
            .map_err(Error::system("set the time of", &path))?;
        return Ok(Put::Made);
    }
    let mut idle = all
        .into_iter()
        .filter_map(|(directory, lock)| Some((directory.path, lock?)));
    let Some((directory, lock)) = idle.next() else {
        return Ok(Put::InUse);
    };
    exchange(&directory, fill)?;
    lock.set_modified(SystemTime::now()).map_err(Error::system(
        "set the time of",
        directory.with_extension("lock"),
    ))?;
    Ok(Put::Replaced)
}

/// Makes `directory` anew; it is the old one until the new one is whole.
fn exchange(directory: &PathBuf, fill: &dyn Fn(&Path) -> Result<()>) -> Result<()> {
    let unfinished = directory.with_extension("new");
    if unfinished.exists() {
        remove(&unfinished)?;
    }
    fill(&unfinished).inspect_err(|_| {
        // What was written of it is of no use, and the error is what matters.
        remove(&unfinished).ok();
    })?;
    renameat_with(CWD, &unfinished, CWD, directory, RenameFlags::EXCHANGE)
        .map_err(|error| Error::system("replace", directory)(error.into()))?;
    Ok(remove(&unfinished)?)
}
