//! Writing mounts to a cache elsewhere: those of others that are there stay.

use std::collections::BTreeMap;

use corten_content::{CopyOptions, Source, Store};
use corten_snapshot::{LayerRef, PackOptions};
use corten_spec::{Digest, document};

use super::format::{self, CONFIG_TYPE, KnownMount, MANIFEST_TYPE};
use super::{carry, import};
use crate::caches::export::{Documents, publish};
use crate::caches::import::chain;
use crate::caches::{CacheSource, Exported};
use crate::{Result, RunCache, run_caches};

/// What an export did.
#[derive(Debug)]
pub struct ExportedMounts {
    /// What was written; the records are the mounts that the cache has now. `None` if there was nothing
    /// to write.
    pub exported: Option<Exported>,
    /// The ids of the mounts that were sent, or were there as they are.
    pub ids: Vec<String>,
    /// The ids of those that were left out, and why.
    pub left_out: Vec<(String, String)>,
}

/// Writes those mounts of `store` that are `wanted` to `target`, in place of what it has of the same.
///
/// Nobody uses a mount while it is read: one that is in use is left out, and so is one with a file that
/// no layer can hold. Of several directories of one cache, it is the one that commands find first.
pub fn export_mounts(
    store: &Store,
    wanted: &dyn Fn(&RunCache) -> bool,
    target: &CacheSource,
    pack: &PackOptions,
    options: &CopyOptions<'_>,
) -> Result<ExportedMounts> {
    let mut chosen: BTreeMap<Digest, String> = BTreeMap::new();
    for mount in run_caches(store)?.iter().filter(|mount| wanted(mount)) {
        chosen.insert(mount.name.clone(), mount.shown_id().to_owned());
    }
    let mut mine = BTreeMap::new();
    let (mut ids, mut left_out) = (Vec::new(), Vec::new());
    for (name, id) in chosen {
        if mine.len() == format::MOST_MOUNTS {
            let most = format::MOST_MOUNTS;
            left_out.push((id, format!("{most} mounts are all that a cache takes")));
            continue;
        }
        match carry::pack(store, &name, pack) {
            Ok(Some((raw_id, layer))) => {
                ids.push(id);
                mine.insert(name, known(raw_id, layer));
            }
            Ok(None) => left_out.push((id, "a command uses it".to_owned())),
            Err(error) => left_out.push((id, chain(&error))),
        }
    }
    let exported = if mine.is_empty() {
        None
    } else {
        let documents = || {
            let theirs = import::find(target)?.unwrap_or_default();
            Ok(documents(store, mine.clone(), theirs))
        };
        Some(publish(target, options, &documents)?)
    };
    Ok(ExportedMounts {
        exported,
        ids,
        left_out,
    })
}

fn known(id: String, layer: LayerRef) -> KnownMount {
    let used = format::today();
    KnownMount { id, layer, used }
}

fn documents(
    source: &dyn Source,
    mine: BTreeMap<Digest, KnownMount>,
    theirs: BTreeMap<Digest, KnownMount>,
) -> Documents<'_> {
    let there = theirs.values();
    let there = there.map(|mount| mount.layer.blob.digest.clone()).collect();
    let merged = format::merge(mine, theirs);
    let (layers, config) = format::write(&merged);
    let config = document::to_bytes(&config);
    let mut documents = Documents::new(source, MANIFEST_TYPE, (CONFIG_TYPE, &config), layers);
    documents.n_records = merged.len();
    documents.there = there;
    documents
}
