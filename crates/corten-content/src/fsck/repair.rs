//! Moving what is damaged out of everybody's way.

use corten_spec::{Descriptor, Digest, DocumentType, Index, Layout as Header, document};

use super::survey::{BlobState, Survey, hash};
use super::{Damage, Finding};
use crate::gc::GcGuard;
use crate::layout::index;
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
    /// How many entries a new `index.json` has, if it was written anew.
    pub recovered: Option<usize>,
}

/// What a damaged index is kept as.
const OLD_INDEX: &str = "index.json.damaged";

impl GcGuard<'_> {
    /// Puts right what `survey` found, as far as that needs nothing from elsewhere.
    ///
    /// Damaged blobs are moved to `ingest/.damaged-…`, where nothing reads them. The next `gc` takes
    /// them, but for documents that a name leads to: these hold it back until they are here again.
    /// What a running process relies on stays, since it may be about to name what needs it, and so does
    /// what cannot be read at all. Wrong sizes in the index are corrected. An index that cannot be read is kept
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

/// Writes a new index of what is known, and returns how many entries it has.
fn recover_index(store: &Store, survey: &Survey) -> Result<usize> {
    let dir = store.dir();
    let _lock = dir.lock_index()?;
    let path = store.root().join(Header::INDEX_FILE);
    let old = std::fs::read(&path).unwrap_or_default();
    let mut entries = index::salvage(&old);
    entries.extend(unlisted_images(store, survey, &entries));
    let bytes = document::to_bytes(&Index::oci(entries.clone()));
    if !old.is_empty() {
        atomic::replace(dir.files(), &store.root().join(OLD_INDEX), &old)?;
    }
    atomic::replace(dir.files(), &path, &bytes)?;
    Ok(entries.len())
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
        if *size > Index::LIMIT {
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
