//! Files that appear whole or not at all.

use std::collections::hash_map::RandomState;
use std::fs::File;
use std::hash::{BuildHasher, Hasher};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::files::{Durability, Files, RealFiles};
use crate::{Error, Result};

/// What the names of unfinished files start with; whoever finds one that nobody locks may remove
/// it.
pub(crate) const TEMPORARY: &str = ".tmp-";

/// Replaces the file at `path` by one that holds `bytes`.
///
/// Whoever reads `path` sees the old content or the new one, also after a power failure. Blocks
/// until the bytes are on stable storage. On failure the old file is unchanged.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    replace(&RealFiles(Durability::Full), path, bytes)
}

/// Replaces the file at `path` by one that holds `bytes`, without waiting for stable storage.
///
/// For what can be made again: whoever reads `path` sees the old content or the new one, but after a
/// power failure possibly neither, so the reader must tell a damaged file from a whole one.
pub fn write_unsynced(path: &Path, bytes: &[u8]) -> Result<()> {
    replace(&RealFiles(Durability::None), path, bytes)
}

/// Does what [`write`] does, through `files`.
pub(crate) fn replace(files: &dyn Files, path: &Path, bytes: &[u8]) -> Result<()> {
    publish(files, path, bytes, |temporary| {
        files.rename(temporary, path)
    })
}

/// Creates the file at `path`, which appears whole; an existing one is left as it is.
pub(crate) fn create_new(files: &dyn Files, path: &Path, bytes: &[u8]) -> Result<()> {
    if path.exists() {
        return Ok(());
    }
    publish(files, path, bytes, |temporary| {
        let linked = match files.link(temporary, path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            other => other,
        };
        linked.and(files.remove(temporary))
    })
}

/// Writes `bytes` over the file at `path`, which stays the same file: a crash may leave half of
/// them.
pub(crate) fn overwrite(files: &dyn Files, path: &Path, bytes: &[u8]) -> Result<()> {
    let file = files.create(path).map_err(Error::system("open", path))?;
    let shorter = file.set_len(bytes.len() as u64);
    shorter.map_err(Error::system("truncate", path))?;
    write_all(files, &file, path, bytes)
}

fn publish(
    files: &dyn Files,
    path: &Path,
    bytes: &[u8],
    appear: impl FnOnce(&Path) -> io::Result<()>,
) -> Result<()> {
    let dir = parent(path);
    let temporary = dir.join(format!("{TEMPORARY}{}", unique()));
    let written = write_synced(files, &temporary, bytes)
        .and_then(|()| appear(&temporary).map_err(Error::system("replace", path)));
    if let Err(error) = written {
        // The first failure is what the caller must know; what is left behind, `gc` removes.
        files.remove(&temporary).ok();
        return Err(error);
    }
    files.sync_dir(&dir).map_err(Error::system("sync", dir))
}

fn write_synced(files: &dyn Files, path: &Path, bytes: &[u8]) -> Result<()> {
    let file = files.create(path).map_err(Error::system("create", path))?;
    write_all(files, &file, path, bytes)
}

fn write_all(files: &dyn Files, file: &File, path: &Path, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        let n_written = match files.write(file, path, bytes) {
            Ok(0) => Err(ErrorKind::WriteZero.into()),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(0),
            other => other,
        };
        let n_written = n_written.map_err(Error::system("write", path))?;
        bytes = bytes.get(n_written..).unwrap_or_default();
    }
    files.sync(file, path).map_err(Error::system("sync", path))
}

/// Creates the directory `path` and those above it.
pub(crate) fn make_dirs(files: &dyn Files, path: &Path) -> Result<()> {
    make_dirs_below(files, Path::new(""), path)
}

/// Creates the directory `path` and those above it, but not `top`: what was removed stays removed.
pub(crate) fn make_dirs_below(files: &dyn Files, top: &Path, path: &Path) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let above = parent(path);
    match files.make_dir(path) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => {}
        Err(error) if error.kind() == ErrorKind::NotFound && above != path && above != top => {
            make_dirs_below(files, top, &above)?;
            match files.make_dir(path) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                    return Err(Error::system("create", path)(error));
                }
                _ => {}
            }
        }
        Err(error) => return Err(Error::system("create", path)(error)),
    }
    files.sync_dir(&above).map_err(Error::system("sync", above))
}

/// Returns a name that no other process and no other call uses.
pub(crate) fn unique() -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u64(count);
    format!("{}-{count}-{:016x}", std::process::id(), hasher.finish())
}

fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        Some(_) => PathBuf::from("."),
        None => path.to_owned(),
    }
}
