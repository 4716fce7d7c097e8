//! Directories that `--mount=type=cache` keeps from one build to the next.
//!
//! ```text
//! run-caches/sha256-…/     one cache, by its id and what it holds at first
//!   id                     its id, for people
//!   lock                   locked while a directory is chosen, made or removed
//!   0/ 1/ …                its directories: more than one where one was in use and not to be shared
//!   0.lock 1.lock …        locked while a command uses the directory; its time is that of the last use
//! ```
//!
//! Locks are those of flock(2): other processes respect them, and they end with the process. What a
//! power failure leaves in a cache is for the command to judge, as it is everywhere else.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use corten_content::{Store, atomic};
use corten_dockerfile::Sharing;
use corten_sandbox::Cancel;
use corten_snapshot::snapshots::remove;
use corten_spec::Digest;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::{Error, Result};

/// A directory of a cache, in use until this is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) directory: PathBuf,
    _lock: File,
}

/// Which cache is wanted.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// Its name: a digest of its id and of what it holds at first.
    pub(crate) name: Digest,
    pub(crate) id: String,
    pub(crate) sharing: Sharing,
}

/// How long to wait before looking again whether a cache is free.
const PAUSE: Duration = Duration::from_millis(20);

/// Takes a cache into use. `fill` makes what it holds at first, at a path that is not there.
pub(crate) fn hold(
    store: &Store,
    wanted: &Wanted,
    cancel: &Cancel,
    fill: &dyn Fn(&Path) -> Result<()>,
) -> Result<Held> {
    let (algorithm, encoded) = (wanted.name.algorithm_name(), wanted.name.encoded());
    let cache = root(store).join(format!("{algorithm}-{encoded}"));
    loop {
        if cancel.is_cancelled() {
            return Err(Error::Stopped);
        }
        let guard = guard(&cache)?;
        if let Some(held) = choose(&cache, wanted, fill)? {
            return Ok(held);
        }
        drop(guard);
        std::thread::sleep(PAUSE);
    }
}

/// Returns a directory that may be used; `None` if one must be waited for. The cache is guarded.
fn choose(
    cache: &Path,
    wanted: &Wanted,
    fill: &dyn Fn(&Path) -> Result<()>,
) -> Result<Option<Held>> {
    let operation = match wanted.sharing {
        Sharing::Shared => FlockOperation::NonBlockingLockShared,
        Sharing::Private | Sharing::Locked => FlockOperation::NonBlockingLockExclusive,
    };
    for number in 0.. {
        let directory = cache.join(number.to_string());
        let is_new = !directory.exists();
        // Any of its directories will do, and a further one is not made.
        if is_new && number > 0 && wanted.sharing == Sharing::Locked {
            return Ok(None);
        }
        let path = lock_path(cache, number);
        let Some(lock) = try_lock(&path, operation)? else {
            continue;
        };
        if is_new {
            make(cache, &directory, &wanted.id, fill)?;
        }
        lock.set_modified(SystemTime::now())
            .map_err(Error::system("set the time of", &path))?;
        return Ok(Some(Held {
            directory,
            _lock: lock,
        }));
    }
    Ok(None)
}

fn make(
    cache: &Path,
    directory: &Path,
    id: &str,
    fill: &dyn Fn(&Path) -> Result<()>,
) -> Result<()> {
    atomic::write_unsynced(&cache.join("id"), id.as_bytes())?;
    let unfinished = directory.with_extension("new");
    // Left behind by one that was killed.
    if unfinished.exists() {
        remove(&unfinished)?;
    }
    fill(&unfinished)?;
    fs::rename(&unfinished, directory).map_err(Error::system("create", directory))
}

/// Keeps others from choosing, making and removing directories of a cache, which comes to be, until
/// what is returned is dropped.
fn guard(cache: &Path) -> Result<File> {
    let path = cache.join("lock");
    let above = cache.parent().unwrap_or(cache);
    loop {
        // What a command keeps, such as set-user-ID files, is nobody else's to reach.
        make_private(above)?;
        make_private(cache)?;
        let file = match open(&path) {
            // The whole cache has just been removed, as it may be below.
            Err(Error::System { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                continue;
            }
            file => file?,
        };
        flock(&file, FlockOperation::LockExclusive)
            .map_err(|error| Error::system("lock", &path)(error.into()))?;
        if is_same(&file, &path) {
            return Ok(file);
        }
    }
}

/// Makes a directory unless it is there, and lets nobody else into it in any case.
fn make_private(directory: &Path) -> Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made.map_err(Error::system("create", directory))?,
    }
    match fs::metadata(directory) {
        Ok(metadata) if metadata.mode() & 0o077 != 0 => {
            let mode = fs::Permissions::from_mode(0o700);
            fs::set_permissions(directory, mode)
                .map_err(Error::system("set the mode of", directory))
        }
        // It has just been removed, which shows when it is used.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        metadata => metadata
            .map(drop)
            .map_err(Error::system("examine", directory)),
    }
}

fn root(store: &Store) -> PathBuf {
    store.root().join("run-caches")
}

fn lock_path(cache: &Path, number: u32) -> PathBuf {
    cache.join(format!("{number}.lock"))
}

fn open(path: &Path) -> Result<File> {
    let mut options = File::options();
    let file = options.create(true).append(true).open(path);
    file.map_err(Error::system("open", path))
}

/// Returns `None` if another one has the lock.
fn try_lock(path: &Path, operation: FlockOperation) -> Result<Option<File>> {
    let file = open(path)?;
    match flock(&file, operation) {
        Ok(()) => Ok(Some(file)),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(Error::system("lock", path)(error.into())),
    }
}

fn is_same(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

/// A directory that `--mount=type=cache` keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunCache {
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

/// Returns all directories that `--mount=type=cache` keeps.
pub fn run_caches(store: &Store) -> Result<Vec<RunCache>> {
    let mut found = Vec::new();
    for cache in list(&root(store))? {
        let _guard = guard(&cache)?;
        found.extend(directories(&cache)?.into_iter().map(|(cache, _)| cache));
    }
    Ok(found)
}

/// Removes the caches that no command has used for longer than `max_age`, and returns what they were.
/// Those in use stay.
pub fn prune_run_caches(store: &Store, max_age: Duration) -> Result<Vec<RunCache>> {
    let now = SystemTime::now();
    let mut removed = Vec::new();
    for cache in list(&root(store))? {
        let _guard = guard(&cache)?;
        for (directory, lock) in directories(&cache)? {
            // One from the future is as good as new.
            let age = now.duration_since(directory.used).unwrap_or_default();
            if lock.is_some() && (max_age.is_zero() || age > max_age) {
                remove(&directory.path)?;
                remove(&directory.path.with_extension("lock"))?;
                removed.push(directory);
            }
        }
        if numbers(&cache)?.is_empty() {
            // The guard itself goes, too: who waits for it looks again.
            remove(&cache)?;
        }
    }
    Ok(removed)
}

/// Returns the directories of a cache that is guarded, each with its lock unless it is in use.
fn directories(cache: &Path) -> Result<Vec<(RunCache, Option<File>)>> {
    let id = fs::read(cache.join("id")).unwrap_or_default();
    let id = String::from_utf8_lossy(&id).into_owned();
    let mut found = Vec::new();
    for number in numbers(cache)? {
        let path = cache.join(number.to_string());
        let lock = lock_path(cache, number);
        let used = fs::metadata(&lock).and_then(|metadata| metadata.modified());
        let exclusive = FlockOperation::NonBlockingLockExclusive;
        let lock = try_lock(&lock, exclusive)?;
        let cache = RunCache {
            id: id.clone(),
            disk_bytes: disk_bytes(&path)?,
            used: used.unwrap_or(SystemTime::UNIX_EPOCH),
            in_use: lock.is_none(),
            path,
        };
        found.push((cache, lock));
    }
    Ok(found)
}

fn numbers(cache: &Path) -> Result<Vec<u32>> {
    let names = list(cache)?;
    let mut numbers: Vec<u32> = names
        .iter()
        .filter_map(|path| path.file_name()?.to_str()?.parse().ok())
        .collect();
    numbers.sort_unstable();
    Ok(numbers)
}

fn list(directory: &Path) -> Result<Vec<PathBuf>> {
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

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    struct Place {
        _dir: tempfile::TempDir,
        store: Store,
        cancel: Cancel,
    }

    fn place() -> Place {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        Place {
            _dir: dir,
            store,
            cancel: Cancel::new().unwrap(),
        }
    }

    impl Place {
        fn hold(&self, id: &str, sharing: Sharing) -> Result<Held> {
            let wanted = Wanted {
                name: Digest::sha256(id.as_bytes()),
                id: id.to_owned(),
                sharing,
            };
            hold(&self.store, &wanted, &self.cancel, &|path| {
                fs::create_dir(path).map_err(Error::system("create", path))
            })
        }

        fn number(&self, id: &str, sharing: Sharing) -> (Held, String) {
            let held = self.hold(id, sharing).unwrap();
            let name = held.directory.file_name().unwrap().to_str().unwrap();
            let name = name.to_owned();
            (held, name)
        }
    }

    #[test]
    fn who_gets_which_directory() {
        let place = place();
        let (_a, first) = place.number("x", Sharing::Shared);
        let (_b, second) = place.number("x", Sharing::Shared);
        assert_eq!((first.as_str(), second.as_str()), ("0", "0"));
        let (c, third) = place.number("x", Sharing::Private);
        assert_eq!(third, "1");
        let (_d, fourth) = place.number("x", Sharing::Private);
        assert_eq!(fourth, "2");
        drop(c);
        let (_e, again) = place.number("x", Sharing::Locked);
        assert_eq!(again, "1");
        let (_f, other) = place.number("y", Sharing::Private);
        assert_eq!(other, "0");
    }

    #[test]
    fn nobody_else_gets_into_a_cache() {
        let place = place();
        let above = root(&place.store);
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        let check = |held: Held| {
            assert_eq!(mode(&above), 0o700);
            assert_eq!(mode(held.directory.parent().unwrap()), 0o700);
        };
        check(place.hold("x", Sharing::Shared).unwrap());
        // As an earlier version left it.
        for open in list(&above).unwrap().iter().chain([&above]) {
            fs::set_permissions(open, fs::Permissions::from_mode(0o755)).unwrap();
        }
        check(place.hold("x", Sharing::Shared).unwrap());
    }

    #[test]
    fn a_locked_cache_is_waited_for() {
        let place = place();
        let (held, _) = place.number("x", Sharing::Locked);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| place.number("x", Sharing::Locked).1);
            drop(held);
            assert_eq!(waiting.join().unwrap(), "0");
        });
        let (_held, _) = place.number("x", Sharing::Locked);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| place.hold("x", Sharing::Locked).map(drop));
            place.cancel.request();
            assert!(matches!(waiting.join().unwrap(), Err(Error::Stopped)));
        });
    }

    #[test]
    fn caches_that_nobody_uses_expire() {
        let place = place();
        for id in ["old", "new", "held"] {
            let held = place.hold(id, Sharing::Shared).unwrap();
            atomic::write(&held.directory.join("f"), &[1; 5000]).unwrap();
        }
        let _held = place.hold("held", Sharing::Shared).unwrap();
        let caches = run_caches(&place.store).unwrap();
        let mut ids: Vec<_> = caches
            .iter()
            .map(|one| (one.id.as_str(), one.in_use))
            .collect();
        ids.sort_unstable();
        assert_eq!(ids, [("held", true), ("new", false), ("old", false)]);
        for cache in &caches {
            assert!(cache.disk_bytes >= 8192, "{cache:?}");
            if cache.id != "new" {
                let lock = File::options()
                    .append(true)
                    .open(cache.path.with_extension("lock"))
                    .unwrap();
                lock.set_modified(SystemTime::now() - DAY * 40).unwrap();
            }
        }
        let ids = |caches: Vec<RunCache>| caches.into_iter().map(|one| one.id).collect::<Vec<_>>();
        assert_eq!(
            ids(prune_run_caches(&place.store, DAY * 41).unwrap()),
            [""; 0]
        );
        assert_eq!(
            ids(prune_run_caches(&place.store, DAY * 30).unwrap()),
            ["old"]
        );
        assert_eq!(
            ids(prune_run_caches(&place.store, Duration::ZERO).unwrap()),
            ["new"]
        );
        assert_eq!(list(&root(&place.store)).unwrap().len(), 1);
        // It begins anew.
        let held = place.hold("old", Sharing::Locked).unwrap();
        assert!(!held.directory.join("f").exists());
    }
}
