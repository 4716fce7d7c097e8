//! Leases: what running processes rely on, so that `gc` beside them spares it.
//!
//! ```text
//! locks/
//!   gc                shared while something is protected and looked at; exclusive during a gc
//!   leases/
//!     4711-0-9f…      locked by its process for as long as that lives; one key a line
//! ```
//!
//! A key is written down *before* its owner looks whether the thing is there, and both happen under
//! the shared lock. So either gc comes later and reads the key, or it is over and the owner sees
//! what it left. The kernel unlocks the lease of a process that dies, even by `kill -9`, and a lease
//! that nobody locks counts for nothing.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use corten_spec::Digest;

use crate::lock::{Lock, try_lock};
use crate::{Error, Result, atomic};

/// The lease of one open store. Its file appears with the first key.
#[derive(Debug)]
pub(crate) struct Lease {
    locks: PathBuf,
    state: Mutex<Option<Held>>,
}

#[derive(Debug)]
struct Held {
    path: PathBuf,
    file: File,
    keys: HashSet<String>,
}

/// What all leases say, read under the exclusive lock.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    pub(crate) keys: BTreeSet<String>,
    pub(crate) n_live: usize,
    pub(crate) n_removed: usize,
}

/// Returns the key that protects content, and everything that it refers to.
pub(crate) fn content_key(digest: &Digest) -> String {
    format!("content:{digest}")
}

/// Returns the digest of a key that [`content_key`] made.
pub(crate) fn content_of(key: &str) -> Option<Digest> {
    key.strip_prefix("content:")?.parse().ok()
}

impl Lease {
    pub(crate) fn new(locks: &Path) -> Self {
        Self {
            locks: locks.to_owned(),
            state: Mutex::new(None),
        }
    }

    /// Protects `key` and then does `act`; no gc happens between the two or during `act`.
    pub(crate) fn hold<T>(&self, key: &str, act: impl FnOnce() -> Result<T>) -> Result<T> {
        let _no_gc = self.protect(key)?;
        act()
    }

    /// Does what [`hold`](Self::hold) does; a store that cannot be written to is read unprotected.
    pub(crate) fn hold_for_reading<T>(
        &self,
        key: &str,
        act: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        match self.protect(key) {
            Err(Error::System { source, .. }) if is_read_only(&source) => act(),
            other => other.and_then(|_no_gc| act()),
        }
    }

    /// Finds something and protects it; no gc happens between the two. A store that cannot be
    /// written to is searched unprotected.
    pub(crate) fn find<T>(
        &self,
        find: impl FnOnce() -> Result<T>,
        key: impl FnOnce(&T) -> String,
    ) -> Result<T> {
        let _no_gc = match Lock::shared(&gc_lock(&self.locks)) {
            Err(Error::System { source, .. }) if is_read_only(&source) => return find(),
            other => other?,
        };
        let found = find()?;
        self.add(&key(&found))?;
        Ok(found)
    }

    fn protect(&self, key: &str) -> Result<Lock> {
        let no_gc = Lock::shared(&gc_lock(&self.locks))?;
        self.add(key)?;
        Ok(no_gc)
    }

    /// Writes `key` down. The caller holds the lock.
    fn add(&self, key: &str) -> Result<()> {
        if key.contains('\n') {
            return Err(Error::Unusable {
                place: format!("the key {key:?}"),
                reason: "a line break would end it".into(),
            });
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // gc removes only leases that it can lock, so ours stays until we are gone.
        let held = match &mut *state {
            Some(held) => held,
            None => state.insert(Held::create(&leases_dir(&self.locks))?),
        };
        held.add(key)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = state.take() {
            // A lease that stays is dead as soon as its file is closed, and gc removes it.
            fs::remove_file(held.path).ok();
        }
    }
}

impl Held {
    fn create(dir: &Path) -> Result<Self> {
        let path = dir.join(atomic::unique());
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .open(&path)
            .map_err(Error::system("create", &path))?;
        // gc cannot have come between: the caller shares its lock.
        file.lock().map_err(Error::system("lock", &path))?;
        Ok(Self {
            path,
            file,
            keys: HashSet::new(),
        })
    }

    fn add(&mut self, key: &str) -> Result<()> {
        if self.keys.contains(key) {
            return Ok(());
        }
        // The line break before it ends a key that a full disk cut off.
        self.file
            .write_all(format!("\n{key}\n").as_bytes())
            .map_err(Error::system("write", &self.path))?;
        self.keys.insert(key.to_owned());
        Ok(())
    }
}

/// Reads the leases of living processes and removes the others. The caller holds the exclusive
/// lock.
pub(crate) fn read_all(locks: &Path) -> Result<Leases> {
    let dir = leases_dir(locks);
    let mut leases = Leases::default();
    for entry in fs::read_dir(&dir).map_err(Error::system("list", &dir))? {
        let path = entry.map_err(Error::system("list", &dir))?.path();
        let mut file = match File::open(&path) {
            // Its owner just removed it.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            other => other.map_err(Error::system("open", &path))?,
        };
        if try_lock(&file).map_err(Error::system("lock", &path))? {
            fs::remove_file(&path).ok();
            leases.n_removed += 1;
            continue;
        }
        let mut text = String::new();
        file.read_to_string(&mut text)
            .map_err(Error::system("read", &path))?;
        let keys = text.lines().filter(|key| !key.is_empty());
        leases.keys.extend(keys.map(str::to_owned));
        leases.n_live += 1;
    }
    Ok(leases)
}

/// Returns the path of the lock that gc holds exclusively.
pub(crate) fn gc_lock(locks: &Path) -> PathBuf {
    locks.join("gc")
}

/// Returns the directory of the leases.
pub(crate) fn leases_dir(locks: &Path) -> PathBuf {
    locks.join("leases")
}

fn is_read_only(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem
    )
}
