//! The directories that `--mount=type=cache` keeps, for who lists and removes them.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use corten_content::Store;
use corten_snapshot::snapshots::remove;
use corten_spec::Digest;
use rustix::fs::FlockOperation;

use super::{guard, lock_path, root, try_lock};
use crate::{Error, Result};

/// What a directory that is being removed has beside it, after its name.
const GONE: &str = "gone";

/// A directory that `--mount=type=cache` keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunCache {
    /// What names its cache: a digest of the id and of what it holds at first. A cache has further
    /// directories where one was in use and not to be shared.
    pub name: Digest,
    /// The id of its cache, behind the namespace and a slash.
    pub id: String,
    /// Where it is.
    pub path: PathBuf,
    /// How many bytes of the disk it takes.
    pub disk_bytes: u64,
    /// When a command last began to use it.
    pub used: SystemTime,
    /// Whether a command uses it now.
    pub in_use: bool,
}

impl RunCache {
    /// Returns the id as a Dockerfile has it, unless it is in a namespace.
    pub fn shown_id(&self) -> &str {
        self.id.strip_prefix('/').unwrap_or(&self.id)
    }
}

/// Returns all directories that `--mount=type=cache` keeps.
pub fn run_caches(store: &Store) -> Result<Vec<RunCache>> {
    let mut found = Vec::new();
    for (name, cache) in caches(store)? {
        let _guard = guard(&cache)?;
        let directories = directories(&name, &cache)?.into_iter();
        found.extend(directories.map(|(directory, _)| directory));
    }
    Ok(found)
}

/// Removes the caches that no command has used for longer than `max_age`, and returns what they were.
/// Those in use stay.
pub fn prune_run_caches(store: &Store, max_age: Duration) -> Result<Vec<RunCache>> {
    let now = SystemTime::now();
    remove_run_caches(store, &|directory| {
        // One from the future is as good as new.
        let age = now.duration_since(directory.used).unwrap_or_default();
        max_age.is_zero() || age > max_age
    })
}

/// Removes the directories that are `unwanted`, and returns what they were. Those in use stay.
pub fn remove_run_caches(
    store: &Store,
    unwanted: &dyn Fn(&RunCache) -> bool,
) -> Result<Vec<RunCache>> {
    let mut removed = Vec::new();
    for (name, cache) in caches(store)? {
        let _guard = guard(&cache)?;
        discard_halves(&cache)?;
        for (directory, lock) in directories(&name, &cache)? {
            if lock.is_some() && unwanted(&directory) {
                discard(&directory.path)?;
                remove(&directory.path.with_extension("lock"))?;
                removed.push(directory);
            }
        }
        if numbers(&cache)?.is_empty() {
            retire(&cache)?;
        }
    }
    Ok(removed)
}

/// Removes a directory of a cache that is guarded. Whoever is killed meanwhile leaves none that a command
/// would take for whole.
///
/// It is not renamed: what a lower layer of an overlay has cannot be.
pub(super) fn discard(directory: &Path) -> Result<()> {
    let mark = directory.with_extension(GONE);
    if directory.exists() {
        super::open(&mark)?;
    }
    remove(directory)?;
    Ok(remove(&mark)?)
}

/// Removes what others left who were killed while they removed directories of a cache that is guarded.
fn discard_halves(cache: &Path) -> Result<()> {
    for mark in list(cache)? {
        if mark.extension().is_some_and(|extension| extension == GONE) {
            discard(&mark.with_extension(""))?;
        }
    }
    Ok(())
}

/// Removes a cache that is guarded and has no directories.
///
/// The guard goes, too: who waits for it looks again. It is the last to go, and the cache itself stays
/// if others have come to it since.
pub(super) fn retire(cache: &Path) -> Result<()> {
    discard_halves(cache)?;
    let guard = cache.join("lock");
    for path in list(cache)? {
        if path != guard {
            remove(&path)?;
        }
    }
    remove(&guard)?;
    match fs::remove_dir(cache) {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty
            ) =>
        {
            Ok(())
        }
        removed => removed.map_err(Error::system("remove", cache)),
    }
}

/// Returns all caches by their names.
fn caches(store: &Store) -> Result<Vec<(Digest, PathBuf)>> {
    let paths = list(&root(store))?.into_iter();
    let named = paths.filter_map(|path| {
        let name = path.file_name()?.to_str()?.replacen('-', ":", 1);
        Some((Digest::known(&name)?, path))
    });
    Ok(named.collect())
}

/// Returns the directories of a cache that is guarded, each with its lock unless it is in use.
pub(super) fn directories(name: &Digest, cache: &Path) -> Result<Vec<(RunCache, Option<File>)>> {
    let id = fs::read(cache.join("id")).unwrap_or_default();
    let id = String::from_utf8_lossy(&id).into_owned();
    let mut found = Vec::new();
    for number in numbers(cache)? {
        let path = cache.join(number.to_string());
        let lock = lock_path(cache, number);
        let used = fs::metadata(&lock).and_then(|metadata| metadata.modified());
        let exclusive = FlockOperation::NonBlockingLockExclusive;
        let lock = try_lock(&lock, exclusive)?;
        let directory = RunCache {
            name: name.clone(),
            id: id.clone(),
            disk_bytes: disk_bytes(&path)?,
            used: used.unwrap_or(SystemTime::UNIX_EPOCH),
            in_use: lock.is_none(),
            path,
        };
        found.push((directory, lock));
    }
    Ok(found)
}

/// Returns the numbers of the directories of a cache, but for those that are being removed.
pub(super) fn numbers(cache: &Path) -> Result<Vec<u32>> {
    let paths = list(cache)?;
    let mut numbers: Vec<u32> = paths
        .iter()
        .filter(|path| !paths.contains(&path.with_extension(GONE)))
        .filter_map(|path| path.file_name()?.to_str()?.parse().ok())
        .collect();
    numbers.sort_unstable();
    Ok(numbers)
}

pub(super) fn list(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(Error::system("list", directory))?,
    };
    let path = |entry: io::Result<fs::DirEntry>| {
        Ok(entry.map_err(Error::system("list", directory))?.path())
    };
    entries.map(path).collect()
}

/// Returns how many bytes of the disk a directory takes, each file once; what goes away meanwhile
/// takes none.
fn disk_bytes(directory: &Path) -> Result<u64> {
    let mut todo = vec![directory.to_path_buf()];
    let mut seen = HashSet::new();
    let mut total = 0;
    while let Some(path) = todo.pop() {
        let Ok(metadata) = fs::symlink_metadata(&path) else {
            continue;
        };
        if metadata.nlink() > 1 && !metadata.is_dir() && !seen.insert(metadata.ino()) {
            continue;
        }
        // The unit of `st_blocks`, whatever the blocks of the file system are.
        total += metadata.blocks() * 512;
        if metadata.is_dir() {
            todo.extend(list(&path)?);
        }
    }
    Ok(total)
}
