//! Moving what is damaged out of everybody's way.

use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use corten_spec::{
    Descriptor, Digest, DocumentLimits, DocumentType, Index, Layout as Header, document,
};

use super::survey::{BlobState, Survey, hash};
use super::{Damage, Finding};
use crate::files::{Files, open_regular};
use crate::gc::GcGuard;
use crate::layout::names;
use crate::layout::salvage::{Salvaged, salvage};
use crate::lease::content_key;
use crate::{Error, Result, Store, atomic, graph};

/// What [`GcGuard::repair`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Repaired {
    /// The damaged blobs that nobody finds any more.
    pub set_aside: Vec<Digest>,
    /// The damaged blobs that a running process relies on: they stay for now.
    pub in_use: Vec<Digest>,
    /// How many entries of `index.json` have the right size now.
    pub resized: usize,
    /// Whether `oci-layout` was written anew.
    pub header: bool,
    /// What a new `index.json` has, if it was written anew.
    pub recovered: Option<Recovered>,
}

/// What became of an `index.json` that could not be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovered {
    /// How many entries the new one has: those that could be read, and images that nothing lists.
    pub entries: usize,
    /// How many of these have a name.
    pub names: usize,
    /// At how many places the old one could not be read. What was named there has lost its name.
    pub gaps: usize,
    /// Where the old one is, if there was any.
    pub old: Option<PathBuf>,
}

/// What the name of a damaged index that is kept begins with.
pub(super) const OLD_INDEX: &str = "index.json.damaged";

impl GcGuard<'_> {
    /// Puts right what `survey` found, as far as that needs nothing from elsewhere.
    ///
    /// Damaged blobs are moved to `ingest/.damaged-…`, where nothing reads them. The next `gc` takes
    /// them, but for documents that a name leads to: these hold it back until they are here again.
    /// What a running process relies on stays, since it may be about to name what needs it, and so does
    /// what cannot be read at all. Wrong sizes in the index are corrected. A damaged index is kept
    /// beside a new one, which has the entries that can be read, and, without names, the images that
    /// nothing else lists.
    pub fn repair(&self, survey: &Survey) -> Result<Repaired> {
        let mut repaired = Repaired::default();
        let mut sizes = Vec::new();
        for finding in survey.findings() {
            match finding {
                // What cannot be read now may be read on another day, or from another cable.
                Finding::Blob(lost) if matches!(lost.damage, Damage::WrongBytes { .. }) => {
                    self.set_aside(lost.content.digest, &mut repaired)?;
                }
                Finding::EntrySize { content, size, .. } => sizes.push((content, size)),
                _ => {}
            }
        }
        let (store, dir) = (self.store(), self.store().dir());
        if survey.header.is_some() {
            // In place, since this file is the lock of the index: nobody must hold an old one.
            let header = document::to_bytes(&Header::current());
            let path = store.root().join(Header::FILE);
            atomic::overwrite(dir.files(), &path, &header)?;
            repaired.header = true;
        }
        if survey.index.is_err() {
            repaired.recovered = Some(recover_index(store, survey)?);
        } else if !sizes.is_empty() {
            repaired.resized = resize(store, &sizes)?;
        }
        Ok(repaired)
    }

    fn set_aside(&self, digest: Digest, repaired: &mut Repaired) -> Result<()> {
        let dir = self.store().dir();
        let path = dir.blob_path(&digest);
        // Somebody may have replaced or removed it since.
        let state = hash(&digest, &path);
        if !matches!(state, Some(BlobState::Damaged(Damage::WrongBytes { .. }))) {
            return Ok(());
        }
        if self.is_protected(&content_key(&digest)) {
            repaired.in_use.push(digest);
            return Ok(());
        }
        atomic::make_dirs(dir.files(), &dir.ingest_dir())?;
        dir.files()
            .rename(&path, &dir.damaged_path(&digest))
            .map_err(Error::system("move", &path))?;
        let folder = dir.blob_dir(&digest);
        dir.files()
            .sync_dir(&folder)
            .map_err(Error::system("sync", folder))?;
        repaired.set_aside.push(digest);
        Ok(())
    }
}

/// Gives the entries of `sizes` their right sizes, and returns how many there were.
fn resize(store: &Store, sizes: &[(Digest, u64)]) -> Result<usize> {
    let dir = store.dir();
    let size_of = |digest: &Digest| sizes.iter().find(|(found, _)| found == digest);
    dir.update(|index| {
        let mut entries = dir.entries()?;
        entries.retain(|entry| size_of(&entry.digest).is_some_and(|(_, size)| *size != entry.size));
        for entry in &mut entries {
            index.remove(
                |text| text.contains(entry.digest.as_str()),
                &dir.index_name(),
                |found| found == entry,
            )?;
            entry.size = size_of(&entry.digest).map_or(entry.size, |(_, size)| *size);
            index.push(entry);
        }
        Ok(entries.len())
    })
}

/// Writes a new index of what is known, beside the old one.
///
/// # Errors
/// Nothing is changed where the old one cannot be read at all, as on a bad disk: it may hold all names.
fn recover_index(store: &Store, survey: &Survey) -> Result<Recovered> {
    let dir = store.dir();
    let _lock = dir.lock_index()?;
    let path = store.root().join(Header::INDEX_FILE);
    let old = read_old(&path)?;
    let Salvaged { mut entries, gaps } = salvage(old.as_deref().unwrap_or_default());
    entries.extend(unlisted_images(store, survey, &entries));
    let recovered = Recovered {
        entries: entries.len(),
        names: entries.iter().filter_map(names::name_of).count(),
        gaps,
        old: old.map(|_| keep(dir.files(), &path)).transpose()?,
    };
    let bytes = document::to_bytes(&Index::oci(entries));
    atomic::replace(dir.files(), &path, &bytes)?;
    Ok(recovered)
}

/// Reads a damaged index, up to several times the size that one may have; `None` if there is none.
fn read_old(path: &Path) -> Result<Option<Vec<u8>>> {
    let file = match open_regular(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(Error::system("open", path))?.0,
    };
    let mut bytes = Vec::new();
    file.take(Index::limit().bytes.saturating_mul(4))
        .read_to_end(&mut bytes)
        .map_err(Error::system("read", path))?;
    Ok(Some(bytes))
}

/// Gives the file at `path` another name that nothing has, and returns it. It is the same file, so that
/// this needs no room on the disk, and it has one of the names at any time.
fn keep(files: &dyn Files, path: &Path) -> Result<PathBuf> {
    let mut kept = path.with_file_name(OLD_INDEX);
    let mut number = 1_u32;
    loop {
        match files.link(path, &kept) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                number += 1;
                kept = path.with_file_name(format!("{OLD_INDEX}-{number}"));
            }
            linked => {
                linked.map_err(Error::system("keep", path))?;
                return Ok(kept);
            }
        }
    }
}

/// Finds the whole manifests and indexes that nothing refers to.
fn unlisted_images(store: &Store, survey: &Survey, listed: &[Descriptor]) -> Vec<Descriptor> {
    let mut found = Vec::new();
    let mut children: std::collections::HashSet<Digest> =
        listed.iter().map(|entry| entry.digest.clone()).collect();
    for (digest, state) in &survey.blobs {
        let BlobState::Whole { size } = state else {
            continue;
        };
        if *size > DocumentLimits::installed().either().bytes {
            continue;
        }
        let Ok(bytes) = std::fs::read(store.blob_path(digest)) else {
            continue;
        };
        let Ok(content) = graph::describe(digest, &bytes, "the store") else {
            continue;
        };
        let source = crate::gc::mark::Unprotected(store.dir());
        let Ok(referred) = graph::children(&source, &content) else {
            continue;
        };
        children.extend(referred.into_iter().map(|child| child.digest));
        found.push(content);
    }
    found.retain(|content| !children.contains(&content.digest));
    found
}
