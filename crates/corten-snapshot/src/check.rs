//! What is derived from layers, looked at as a whole: is it what it should be, and what it takes.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use corten_spec::{DiffId, Digest};

use crate::derive::read_layer;
use crate::directories;
use crate::snapshots::{BOOT_SUFFIX, Shelf, TEMPORARY, boot, list, remove};
use crate::table::Table;
use crate::{Error, Result, Snapshots, mount_records};

/// Something derived from a layer, or the beginning of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Derived {
    /// Where it is.
    pub path: PathBuf,
    /// The directory under `layers/` that it is in, such as `tar`.
    pub kind: String,
    /// What it is.
    pub state: DerivedState,
}

/// What something derived is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DerivedState {
    /// All of it was read, and it is what its name promises.
    Whole,
    /// It was made in this boot, and its files were not compared with the layer.
    Complete,
    /// It was made in an earlier boot: it is made again before it is used.
    Stale,
    /// It is not what its name promises.
    Damaged {
        /// What is wrong with it.
        reason: String,
    },
    /// It is not finished, and `gc` takes it if nobody is at it.
    Unfinished,
    /// Nobody here knows how to check it.
    Unknown,
}

/// What things of one kind take.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DerivedUsage {
    /// The directory under `layers/` that they are in, such as `tar`.
    pub kind: String,
    /// How many there are.
    pub count: usize,
    /// How many bytes of the disk they take.
    pub disk_bytes: u64,
    /// How many of these `gc` would give back.
    pub reclaimable_bytes: u64,
    /// How many of these would come back if all that no process and no mount uses right now were dropped.
    pub droppable_bytes: u64,
}

impl Snapshots<'_> {
    /// Checks everything that is derived, on `threads` threads at once.
    ///
    /// Tars are hashed and compared with their names; header indexes are compared with their
    /// checksums, and with the headers of the tar where that is there; tables with their checksums. Of
    /// directories and EROFS indexes, only their
    /// marks are looked at: the files in them are written by whoever runs an image as its root, and
    /// may differ in owners and times for good reasons.
    pub fn check(&self, threads: usize) -> Result<Vec<Derived>> {
        let found = self.all()?;
        let next = AtomicUsize::new(0);
        let checked = Mutex::new(Vec::with_capacity(found.len()));
        let work = || {
            while let Some((kind, path)) = found.get(next.fetch_add(1, Ordering::Relaxed)) {
                if let Some(state) = self.state(kind, path) {
                    let (kind, path) = (kind.clone(), path.clone());
                    let mut checked = checked.lock().unwrap_or_else(PoisonError::into_inner);
                    checked.push(Derived { path, kind, state });
                }
            }
        };
        thread::scope(|scope| {
            for _ in 1..threads {
                scope.spawn(work);
            }
            work();
        });
        let mut checked = checked.into_inner().unwrap_or_else(PoisonError::into_inner);
        checked.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(checked)
    }

    /// Removes what is damaged in `checked`, but for what is mounted and what `is_protected` says that
    /// running processes use, and returns how much that is. Nobody may be adding anything meanwhile.
    pub fn drop_damaged(
        &self,
        checked: &[Derived],
        is_protected: &dyn Fn(&str) -> bool,
    ) -> Result<usize> {
        let mounted = mount_records::live_keys(self.store(), is_protected)?;
        let is_used = |key: &str| mounted.contains(key) || is_protected(key);
        let mut n_dropped = 0;
        for derived in checked {
            if !matches!(derived.state, DerivedState::Damaged { .. })
                || is_used(&key(&derived.kind, &derived.path))
            {
                continue;
            }
            remove(&marker(&derived.path))?;
            remove(&derived.path)?;
            n_dropped += 1;
        }
        Ok(n_dropped)
    }

    /// Returns what everything derived takes. `is_needed` says of each path whether `gc` would keep
    /// it, `is_protected` of each key whether a running process protects it.
    ///
    /// What is there under several names counts once.
    pub fn usage(
        &self,
        is_needed: &dyn Fn(&Path) -> bool,
        is_protected: &dyn Fn(&str) -> bool,
    ) -> Result<Vec<DerivedUsage>> {
        let mounted = mount_records::live_keys(self.store(), is_protected)?;
        let is_used = |key: &str| mounted.contains(key) || is_protected(key);
        let mut kinds: Vec<DerivedUsage> = Vec::new();
        let mut seen = HashSet::new();
        for (kind, path) in self.all()? {
            let disk_bytes = disk_bytes(&path, &mut seen)?;
            let usage = match kinds.iter_mut().find(|usage| usage.kind == kind) {
                Some(usage) => usage,
                None => kinds.push_mut(DerivedUsage {
                    kind: kind.clone(),
                    ..DerivedUsage::default()
                }),
            };
            usage.count += usize::from(!is_marker(&path));
            usage.disk_bytes += disk_bytes;
            if !is_needed(&path) {
                usage.reclaimable_bytes += disk_bytes;
            }
            if !is_used(&key(&kind, &path)) {
                usage.droppable_bytes += disk_bytes;
            }
        }
        Ok(kinds)
    }

    /// Lists everything under `layers/`, with its kind.
    fn all(&self) -> Result<Vec<(String, PathBuf)>> {
        let mut found = Vec::new();
        for kind in list(&self.store().layers_dir())? {
            let name = kind.file_name().to_string_lossy().into_owned();
            let is_dir = kind.file_type().is_ok_and(|file_type| file_type.is_dir());
            let entries = if is_dir {
                list(&kind.path())?
            } else {
                Vec::new()
            };
            found.extend(entries.iter().map(|entry| (name.clone(), entry.path())));
        }
        found.sort();
        Ok(found)
    }

    /// Tells what is at `path`; `None` for what belongs to something else, and for what is gone.
    fn state(&self, kind: &str, path: &Path) -> Option<DerivedState> {
        let damaged = |reason: String| Some(DerivedState::Damaged { reason });
        if !path.exists() || is_marker(path) {
            return None;
        }
        if kind == TEMPORARY {
            return Some(DerivedState::Unfinished);
        }
        let Some(shelf) = Shelf::ALL.into_iter().find(|shelf| shelf.name() == kind) else {
            return Some(DerivedState::Unknown);
        };
        let Some(digest) = digest_of(path) else {
            return Some(DerivedState::Unknown);
        };
        let checked = match shelf {
            Shelf::Tar => check_tar(path, &DiffId(digest)),
            Shelf::Index => self.check_index(path, &digest),
            Shelf::Seek | Shelf::Files => check_table(path),
            Shelf::Directory if directories::is_whole_directory(path) => {
                return Some(DerivedState::Complete);
            }
            Shelf::Erofs if is_of_this_boot(path) => return Some(DerivedState::Complete),
            Shelf::Directory | Shelf::Erofs => return Some(DerivedState::Stale),
        };
        match checked {
            Ok(()) => Some(DerivedState::Whole),
            // Somebody removed it meanwhile.
            Err(_) if !path.exists() => None,
            Err(error) => damaged(error),
        }
    }

    /// Checks a header index: against its checksum always, against the tar if that is there.
    fn check_index(&self, path: &Path, digest: &Digest) -> std::result::Result<(), String> {
        let bytes = fs::read(path).map_err(|error| error.to_string())?;
        let entries = corten_layer::index::decode(&bytes).map_err(|error| error.to_string())?;
        let tar = self.store().layers_dir().join(Shelf::Tar.name());
        let Some(tar) = path.file_name().map(|name| tar.join(name)) else {
            return Ok(());
        };
        let (Ok(tar), Ok(hasher)) = (File::open(tar), digest.hasher()) else {
            return Ok(());
        };
        match read_layer(Box::new(tar), None, hasher, self.limits()) {
            // A damaged tar is a finding of its own.
            Ok(found) if found.diff_id.0 == *digest && found.entries != entries => {
                Err("it is not the index of its tar".to_owned())
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

fn is_of_this_boot(path: &Path) -> bool {
    fs::read(marker(path)).is_ok_and(|made| made == boot())
}

/// Reads a table to its end, against its checksums.
fn check_table(path: &Path) -> std::result::Result<(), String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let read = Table::open(file).and_then(|table| table.scan(b"", &mut |_, _| Ok(())));
    read.map_err(|error| error.to_string())
}

fn check_tar(path: &Path, diff_id: &DiffId) -> std::result::Result<(), String> {
    let hash = || {
        let mut hasher = diff_id.0.hasher().map_err(io::Error::other)?;
        let mut file = File::open(path)?;
        let mut buf = vec![0; 256 << 10];
        loop {
            match file.read(&mut buf)? {
                0 => return Ok(hasher.finish()),
                n_read => hasher.update(buf.get(..n_read).unwrap_or_default()),
            }
        }
    };
    match hash() {
        Ok(received) if received == diff_id.0 => Ok(()),
        Ok(received) => Err(format!("its bytes hash to {received}")),
        Err(error) => Err(io::Error::to_string(&error)),
    }
}

/// Returns the bytes of the disk that `path` takes with all that is in it. Files that are in `seen`
/// count nothing, and what has several names gets into it.
fn disk_bytes(path: &Path, seen: &mut HashSet<(u64, u64)>) -> Result<u64> {
    let mut total = 0;
    let mut pending = vec![path.to_owned()];
    while let Some(path) = pending.pop() {
        let metadata = match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other.map_err(Error::system("read", &path))?,
        };
        let is_counted = metadata.is_dir() || metadata.nlink() < 2;
        if is_counted || seen.insert((metadata.dev(), metadata.ino())) {
            // The unit of `st_blocks`, whatever the blocks of the file system are.
            total += metadata.blocks() * 512;
        }
        if metadata.is_dir() {
            pending.extend(list(&path)?.iter().map(fs::DirEntry::path));
        }
    }
    Ok(total)
}

fn digest_of(path: &Path) -> Option<Digest> {
    let (algorithm, encoded) = path.file_name()?.to_str()?.split_once('-')?;
    format!("{algorithm}:{encoded}").parse().ok()
}

fn is_marker(path: &Path) -> bool {
    path.to_string_lossy().ends_with(BOOT_SUFFIX)
}

fn marker(path: &Path) -> PathBuf {
    path.with_extension(BOOT_SUFFIX.trim_start_matches('.'))
}

fn key(kind: &str, path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name = name.strip_suffix(BOOT_SUFFIX).unwrap_or(&name);
    format!("layers/{kind}/{name}")
}
