//! Removing what nothing reaches, beside running commands of other processes.
//!
//! Marking starts from the names in `index.json`, from what the caller names, and from the leases.
//! Leases are read first: whoever tags content holds a lease on it until after the tag is written,
//! so one of the two is always seen.

pub(crate) mod mark;

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use corten_spec::{Descriptor, Digest};

use crate::files::open_own;
use crate::gc::mark::Marker;
use crate::layout::names;
use crate::lease::{self, Leases};
use crate::lock::{Lock, is_at, try_lock};
use crate::store::{blob_name, list_dir};
use crate::{Error, Result, Store, atomic};

/// What the caller wants kept beside names and leases, such as what build records refer to.
#[derive(Debug, Clone, Default)]
pub struct GcRoots {
    /// Content that is kept, with everything that it refers to.
    pub descriptors: Vec<Descriptor>,
}

/// What a gc did.
#[derive(Debug, Default)]
pub struct GcReport {
    /// How many blobs were removed.
    pub removed_blobs: usize,
    /// How many bytes they had.
    pub removed_bytes: u64,
    /// How many blobs were kept.
    pub kept_blobs: usize,
    /// How many bytes they have.
    pub kept_bytes: u64,
    /// How many unfinished writes were removed.
    pub removed_ingests: usize,
    /// How many leases of processes that are gone were removed.
    pub removed_leases: usize,
    /// How many leases are alive.
    pub live_leases: usize,
    /// What could not be read or was not there.
    pub problems: Vec<GcProblem>,
    /// Whether no blob was removed, because a document could not be read, was set aside as damaged, or
    /// is gone though the index of the store names it: nobody knows what it refers to.
    pub held_back: bool,
}

/// A document that is not there or cannot be read.
#[derive(Debug)]
pub struct GcProblem {
    /// The document.
    pub content: Digest,
    /// What is wrong with it.
    pub error: Error,
}

/// A gc in progress: while it lives, nobody else looks at or adds to the store.
///
/// Hold it while `layers/` and `cache/` are swept too, and not longer.
#[derive(Debug)]
pub struct GcGuard<'a> {
    store: &'a Store,
    leases: Leases,
    marked: HashSet<Digest>,
    _lock: Lock,
}

impl Store {
    /// Removes every blob that no name, no lease of a running process and none of `roots` reaches.
    pub fn gc(&self, roots: &GcRoots) -> Result<GcReport> {
        self.begin_gc()?.sweep(roots)
    }

    /// Waits until nobody is looking at the store, and keeps it so.
    ///
    /// A thread that holds the guard must not use a [`Store`] of the same root for anything but
    /// [`list`](Self::list): it would wait for itself.
    pub fn begin_gc(&self) -> Result<GcGuard<'_>> {
        let locks = self.locks_dir();
        let lock = Lock::exclusive(&lease::gc_lock(&locks))?;
        Ok(GcGuard {
            store: self,
            leases: lease::read_all(&locks)?,
            marked: HashSet::new(),
            _lock: lock,
        })
    }
}

impl<'a> GcGuard<'a> {
    pub(crate) fn store(&self) -> &'a Store {
        self.store
    }

    /// Tells whether a running process protects `key`, see [`Store::protect`].
    pub fn is_protected(&self, key: &str) -> bool {
        self.leases.keys.contains(key)
    }

    /// Returns everything that running processes protect.
    pub fn protected(&self) -> &BTreeSet<String> {
        &self.leases.keys
    }

    /// Tells whether the last [`sweep`](Self::sweep) reached `digest` from anything.
    pub fn is_reached(&self, digest: &Digest) -> bool {
        self.marked.contains(digest)
    }

    /// Finds what [`sweep`](Self::sweep) would spare, and removes nothing.
    ///
    /// `None` if a document could not be read, so that all would be spared.
    pub fn reached(&self, roots: &GcRoots) -> Result<Option<HashSet<Digest>>> {
        let mut marker = self.marker(roots);
        marker.mark_entries(&self.store.dir().entries()?);
        Ok((!marker.is_blind()).then(|| marker.marked()))
    }

    fn marker(&self, roots: &GcRoots) -> Marker<'a> {
        let mut marker = Marker::new(self.store.dir());
        roots.descriptors.iter().for_each(|root| marker.mark(root));
        self.leases
            .keys
            .iter()
            .filter_map(|key| lease::content_of(key))
            .for_each(|digest| marker.mark_unknown(&digest));
        marker
    }

    /// Removes what nothing reaches.
    ///
    /// A document that is not there, as in a sparse index, is reported. One that is there and
    /// cannot be read, that `repair` set aside, or that a name stands for, is reported too, and then
    /// no blob is removed at all.
    pub fn sweep(&mut self, roots: &GcRoots) -> Result<GcReport> {
        let mut report = GcReport {
            removed_leases: self.leases.n_removed,
            live_leases: self.leases.n_live,
            ..GcReport::default()
        };
        let mut marker = self.marker(roots);
        let dropped = marker.mark_entries(&self.store.dir().entries()?);
        report.held_back = marker.is_blind();
        self.marked = marker.marked();
        // Unfinished writes and what was never listed go first: on a full disk, only what they give
        // back makes room for an index without the rest.
        self.sweep_ingests(&marker, &mut report)?;
        if !report.held_back && !dropped.is_empty() {
            for entry in &dropped {
                marker.mark(entry);
            }
            report.held_back = marker.is_blind();
        }
        let listed = marker.marked();
        report.problems = marker.into_problems();
        if !report.held_back {
            self.sweep_blobs(&listed, &mut report)?;
            match self.unlist(&dropped) {
                // The referrers stay, and so does what they refer to, until there is room.
                Err(error) if error.is_disk_full() => {
                    let content = dropped.into_iter().next().map(|entry| entry.digest);
                    let problem = content.map(|content| GcProblem { content, error });
                    report.problems.extend(problem);
                    return Ok(report);
                }
                other => other?,
            }
            if listed.len() > self.marked.len() {
                (report.kept_blobs, report.kept_bytes) = (0, 0);
                self.sweep_blobs(&self.marked, &mut report)?;
            }
        }
        Ok(report)
    }

    /// Takes referrers whose subject is gone out of the index.
    fn unlist(&self, dropped: &[Descriptor]) -> Result<()> {
        let dir = self.store.dir();
        let dropped: HashSet<&Digest> = dropped.iter().map(|entry| &entry.digest).collect();
        dir.update(|index| {
            if !dropped.is_empty() {
                index.remove(
                    |_| true,
                    &dir.index_name(),
                    |entry| names::name_of(entry).is_none() && dropped.contains(&entry.digest),
                )?;
            }
            // Under this lock nobody is replacing the index, so these belong to crashed writers.
            for path in list_dir(dir.root())? {
                if is_temporary(&path) {
                    dir.files()
                        .remove(&path)
                        .map_err(Error::system("remove", &path))?;
                }
            }
            Ok(())
        })
    }

    fn sweep_blobs(&self, kept: &HashSet<Digest>, report: &mut GcReport) -> Result<()> {
        for path in self.store.blobs()? {
            // What is not named as a blob is not ours to remove.
            let Some(digest) = blob_name(&path) else {
                continue;
            };
            let len = match fs::symlink_metadata(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                other => other.map_err(Error::system("read", &path))?.len(),
            };
            if kept.contains(&digest) {
                report.kept_blobs += 1;
                report.kept_bytes += len;
                continue;
            }
            self.remove(&path)?;
            report.removed_blobs += 1;
            report.removed_bytes += len;
        }
        Ok(())
    }

    /// Removes the files of writers that are gone.
    fn sweep_ingests(&self, marker: &Marker<'_>, report: &mut GcReport) -> Result<()> {
        let dir = self.store.dir().ingest_dir();
        if !dir.is_dir() {
            return Ok(());
        }
        for path in list_dir(&dir)? {
            // Without its file, the next gc would take the document for one that never was here.
            if marker.is_awaited(&path) {
                continue;
            }
            let file = match open_own(&path) {
                // What is no file was not made by us.
                Err(error)
                    if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidInput) =>
                {
                    continue;
                }
                other => other.map_err(Error::system("open", &path))?,
            };
            let is_dead = try_lock(&file).map_err(Error::system("lock", &path))?;
            // A writer beside us may have renamed it into place, or started it anew.
            if is_dead && is_at(&file, &path) {
                self.remove(&path)?;
                report.removed_ingests += 1;
            }
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> Result<()> {
        match self.store.dir().files().remove(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(Error::system("remove", path)(error))
            }
            _ => Ok(()),
        }
    }
}

fn is_temporary(path: &Path) -> bool {
    path.file_name()
        .and_then(|name| name.to_str())
        .is_some_and(|name| name.starts_with(atomic::TEMPORARY))
}
