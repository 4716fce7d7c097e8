//! Directories that `--mount=type=cache` keeps from one build to the next.
//!
//! ```text
//! run-caches/sha256-…/     one cache, by its id and what it holds at first
//!   id                     its id, for people
//!   lock                   locked while a directory is chosen, made or removed
//!   reader                 locked while a directory is packed for other machines
//!   0/ 1/ …                its directories: more than one where one was in use and not to be shared
//!   0.lock 1.lock …        locked while a command uses the directory; its time is that of the last use
//!   0.gone 1.gone …        there while the directory is removed: what is left of it is no cache
//! ```
//!
//! Locks are those of flock(2): other processes respect them, and they end with the process. What a
//! power failure leaves in a cache is for the command to judge, as it is everywhere else.

mod elsewhere;
mod kept;
mod whole;

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

pub use kept::{RunCache, prune_run_caches, remove_run_caches, run_caches};
pub use whole::Put;
pub(crate) use whole::{hold_idle, is_there, put};

use crate::{Error, Result};

/// A directory of a cache, in use until this is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) directory: PathBuf,
    pub(crate) id: String,
    _locks: Vec<File>,
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
    let cache = path_of(store, &wanted.name);
    loop {
        if cancel.is_cancelled() {
            return Err(Error::Stopped);
        }
        let guard = guard_unless(&cache, &|| cancel.is_cancelled())?;
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
    let existing = kept::numbers(cache)?;
    let further = (0..).filter(|number| !existing.contains(number));
    for number in existing.iter().copied().chain(further) {
        let directory = cache.join(number.to_string());
        let is_new = !existing.contains(&number);
        // Any of its directories will do, and a further one is not made.
        if is_new && !existing.is_empty() && wanted.sharing == Sharing::Locked {
            return Ok(None);
        }
        let path = lock_path(cache, number);
        let Some(lock) = try_lock(&path, operation)? else {
            // A further directory would be empty, and nobody would find what is written there when
            // the reader has finished.
            if is_read(cache)? {
                return Ok(None);
            }
            continue;
        };
        if is_new {
            make(cache, number, &wanted.id, fill)?;
        }
        lock.set_modified(SystemTime::now())
            .map_err(Error::system("set the time of", &path))?;
        return Ok(Some(Held {
            directory,
            id: wanted.id.clone(),
            _locks: vec![lock],
        }));
    }
    Ok(None)
}

/// Makes a directory of a cache that is guarded, in the place of another if there is one. That one stays
/// until the new one is whole.
fn make(cache: &Path, number: u32, id: &str, fill: &dyn Fn(&Path) -> Result<()>) -> Result<()> {
    atomic::write_unsynced(&cache.join("id"), id.as_bytes())?;
    let directory = cache.join(number.to_string());
    let unfinished = directory.with_extension("new");
    // Left behind by one that was killed.
    remove(&unfinished)?;
    fill(&unfinished).inspect_err(|_| {
        // What was written of it is of no use, and the error is what matters.
        remove(&unfinished).ok();
    })?;
    kept::discard(&directory)?;
    fs::rename(&unfinished, &directory).map_err(Error::system("create", directory))
}

/// Keeps others from choosing, making and removing directories of a cache, which comes to be, until
/// what is returned is dropped.
fn guard(cache: &Path) -> Result<File> {
    guard_unless(cache, &|| false)
}

/// Does what [`guard`] does, and ends with [`Error::Stopped`] when it `is_stopped` while another one has
/// the guard, who may be filling a directory of gigabytes.
fn guard_unless(cache: &Path, is_stopped: &dyn Fn() -> bool) -> Result<File> {
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
        while !try_flock(&file, &path, FlockOperation::NonBlockingLockExclusive)? {
            if is_stopped() {
                return Err(Error::Stopped);
            }
            std::thread::sleep(PAUSE);
        }
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

fn path_of(store: &Store, name: &Digest) -> PathBuf {
    let (algorithm, encoded) = (name.algorithm_name(), name.encoded());
    root(store).join(format!("{algorithm}-{encoded}"))
}

fn lock_path(cache: &Path, number: u32) -> PathBuf {
    cache.join(format!("{number}.lock"))
}

/// Locked by who reads a directory of the cache and uses none of it.
fn reader_path(cache: &Path) -> PathBuf {
    cache.join("reader")
}

/// Tells whether somebody reads a directory of a cache that is guarded.
fn is_read(cache: &Path) -> Result<bool> {
    let path = reader_path(cache);
    Ok(path.exists() && try_lock(&path, FlockOperation::NonBlockingLockExclusive)?.is_none())
}

fn open(path: &Path) -> Result<File> {
    let mut options = File::options();
    let file = options.create(true).append(true).open(path);
    file.map_err(Error::system("open", path))
}

/// Returns `None` if another one has the lock.
fn try_lock(path: &Path, operation: FlockOperation) -> Result<Option<File>> {
    let file = open(path)?;
    Ok(try_flock(&file, path, operation)?.then_some(file))
}

fn try_flock(file: &File, path: &Path, operation: FlockOperation) -> Result<bool> {
    match flock(file, operation) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(Error::system("lock", path)(error.into())),
    }
}

fn is_same(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::kept::list;
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
    fn a_reader_is_waited_for() {
        let place = place();
        for sharing in [Sharing::Shared, Sharing::Private, Sharing::Locked] {
            let id = format!("{sharing:?}");
            drop(place.hold(&id, sharing).unwrap());
            let name = Digest::sha256(id.as_bytes());
            let read = hold_idle(&place.store, &name).unwrap().unwrap();
            let cache = path_of(&place.store, &name);
            let wanted = Wanted { name, id, sharing };
            let fill = |_: &Path| panic!("another directory is made");
            assert!(choose(&cache, &wanted, &fill).unwrap().is_none());
            drop(read);
            assert!(choose(&cache, &wanted, &fill).unwrap().is_some());
        }
    }

    #[test]
    fn who_reads_gets_what_commands_find_first() {
        let place = place();
        let name = Digest::sha256(b"x");
        let (first, _) = place.number("x", Sharing::Shared);
        let (second, _) = place.number("x", Sharing::Private);
        drop(second);
        assert!(hold_idle(&place.store, &name).unwrap().is_none());
        let directory = first.directory.clone();
        drop(first);
        let read = hold_idle(&place.store, &name).unwrap().unwrap();
        assert_eq!(read.directory, directory);
    }

    #[test]
    fn a_directory_that_is_left_is_used() {
        for sharing in [Sharing::Shared, Sharing::Private, Sharing::Locked] {
            let place = place();
            let (first, _) = place.number("x", Sharing::Shared);
            let (second, _) = place.number("x", Sharing::Private);
            remove(&first.directory).unwrap();
            drop((first, second));
            assert!(is_there(&place.store, &Digest::sha256(b"x")).unwrap());
            assert_eq!(place.number("x", sharing).1, "1");
        }
    }

    #[test]
    fn what_comes_to_be_while_a_cache_is_removed_stays() {
        let place = place();
        let ended = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !ended.load(std::sync::atomic::Ordering::Relaxed) {
                    prune_run_caches(&place.store, Duration::ZERO).unwrap();
                }
            });
            for _ in 0..200 {
                let held = place.hold("x", Sharing::Locked);
                let kept = held.map(|held| {
                    let lock = held.directory.with_extension("lock");
                    held.directory.exists() && lock.exists()
                });
                ended.store(
                    !matches!(kept, Ok(true)),
                    std::sync::atomic::Ordering::Relaxed,
                );
                assert!(kept.unwrap());
            }
            ended.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        prune_run_caches(&place.store, Duration::ZERO).unwrap();
        assert_eq!(
            list(&root(&place.store)).unwrap(),
            [""; 0].map(PathBuf::from)
        );
    }

    /// As one leaves it who is killed while it removes the directory.
    fn remove_half(directory: &Path) {
        open(&directory.with_extension("gone")).unwrap();
    }

    #[test]
    fn what_is_left_of_a_directory_is_no_cache() {
        for sharing in [Sharing::Shared, Sharing::Private, Sharing::Locked] {
            let place = place();
            let held = place.hold("x", sharing).unwrap();
            let left = held.directory.join("left");
            atomic::write(&left, b"").unwrap();
            drop(held);
            remove_half(left.parent().unwrap());
            assert!(!is_there(&place.store, &Digest::sha256(b"x")).unwrap());
            assert_eq!(run_caches(&place.store).unwrap(), []);
            let held = place.hold("x", sharing).unwrap();
            assert_eq!(Some(&*held.directory), left.parent());
            assert!(!left.exists(), "{sharing:?}");
            assert_eq!(run_caches(&place.store).unwrap().len(), 1);
        }
    }

    #[test]
    fn what_is_left_of_a_directory_is_removed() {
        let place = place();
        let (first, _) = place.number("x", Sharing::Private);
        let (second, _) = place.number("x", Sharing::Private);
        remove_half(&second.directory);
        let (left, cache) = (
            second.directory.clone(),
            path_of(&place.store, &Digest::sha256(b"x")),
        );
        drop(second);
        assert_eq!(prune_run_caches(&place.store, Duration::ZERO).unwrap(), []);
        assert!(!left.exists() && first.directory.exists());
        remove_half(&first.directory);
        drop(first);
        assert_eq!(prune_run_caches(&place.store, Duration::ZERO).unwrap(), []);
        assert!(!cache.exists());
    }

    #[test]
    fn who_waits_for_a_guard_can_be_stopped() {
        let place = place();
        let cache = path_of(&place.store, &Digest::sha256(b"x"));
        let guard = guard(&cache).unwrap();
        place.cancel.request();
        let (cancel, (told, hears)) = (place.cancel.clone(), std::sync::mpsc::channel());
        // Nobody joins it: whoever waits for ever must fail the test, and not hold it up.
        std::thread::spawn(move || {
            let waited = guard_unless(&cache, &|| cancel.is_cancelled()).map(drop);
            told.send(waited).ok();
        });
        let waited = hears.recv_timeout(Duration::from_mins(1));
        assert!(matches!(waited, Ok(Err(Error::Stopped))), "{waited:?}");
        drop(guard);
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
