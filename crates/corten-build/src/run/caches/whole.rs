//! Directories of caches as a whole: for who carries them from machine to machine.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use corten_content::Store;
use corten_spec::Digest;
use rustix::fs::FlockOperation;

use super::kept::{numbers, retire};
use super::{Held, guard, lock_path, make, path_of, reader_path, try_lock};
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
pub(crate) fn is_there(store: &Store, name: &Digest) -> Result<bool> {
    Ok(!numbers(&path_of(store, name))?.is_empty())
}

/// Takes the directory of the cache `name` that commands find first, unless it is in use. Commands wait
/// until what is returned is dropped. When it was used stays as it is.
pub(crate) fn hold_idle(store: &Store, name: &Digest) -> Result<Option<Held>> {
    let cache = path_of(store, name);
    if !cache.is_dir() {
        return Ok(None);
    }
    let _guard = guard(&cache)?;
    let Some(number) = numbers(&cache)?.first().copied() else {
        return Ok(None);
    };
    let exclusive = FlockOperation::NonBlockingLockExclusive;
    let reader = try_lock(&reader_path(&cache), exclusive)?;
    let lock = try_lock(&lock_path(&cache, number), exclusive)?;
    let (Some(reader), Some(lock)) = (reader, lock) else {
        return Ok(None);
    };
    let id = fs::read(cache.join("id")).unwrap_or_default();
    Ok(Some(Held {
        directory: cache.join(number.to_string()),
        id: String::from_utf8_lossy(&id).into_owned(),
        _locks: vec![lock, reader],
    }))
}

/// Puts a directory that `fill` makes at a path that is not there where commands find the cache `name`.
/// If it has one already and is to `replace` it, that is the one they find first.
pub(crate) fn put(
    store: &Store,
    name: &Digest,
    id: &str,
    replace: bool,
    fill: &dyn Fn(&Path) -> Result<()>,
) -> Result<Put> {
    let cache = path_of(store, name);
    let _guard = guard(&cache)?;
    let existing = numbers(&cache)?;
    if !existing.is_empty() && !replace {
        return Ok(Put::Kept);
    }
    let number = existing.first().copied().unwrap_or_default();
    let path = lock_path(&cache, number);
    let Some(lock) = try_lock(&path, FlockOperation::NonBlockingLockExclusive)? else {
        return Ok(Put::InUse);
    };
    make(&cache, number, id, fill).inspect_err(|_| {
        if existing.is_empty() {
            // A cache of nothing is of no use, and the error is what matters.
            retire(&cache).ok();
        }
    })?;
    lock.set_modified(SystemTime::now())
        .map_err(Error::system("set the time of", &path))?;
    Ok(if existing.is_empty() {
        Put::Made
    } else {
        Put::Replaced
    })
}
