//! Caches elsewhere: records of other builders, whose layers come when they are needed.

mod export;
mod format;
mod import;
pub mod mounts;
mod source;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use corten_content::{CopyOptions, Sink, Source, Store, copy};
use corten_snapshot::{LayerRef, LayerSource};
use corten_spec::{Descriptor, Digest};

pub use export::{Exported, Mode, export};
pub use format::{CONFIG_TYPE, INLINE_KEY, MANIFEST_TYPE};
pub(crate) use import::chain;
pub use source::WithCaches;

use crate::Result;
use crate::cache::{self, Outcome};
use crate::memo::Memo;

/// A place that holds a cache: a repository, an image layout.
pub trait CachePlace: Source + Sink {
    /// Returns the place to read from.
    fn as_source(&self) -> &dyn Source;
    /// Returns the place to write to.
    fn as_sink(&self) -> &dyn Sink;
}

impl<T: Source + Sink> CachePlace for T {
    fn as_source(&self) -> &dyn Source {
        self
    }

    fn as_sink(&self) -> &dyn Sink {
        self
    }
}

/// A cache elsewhere.
pub struct CacheSource {
    /// What messages call it.
    pub name: String,
    /// Where it is.
    pub place: Box<dyn CachePlace>,
    /// Its tag there.
    pub tag: String,
}

impl fmt::Debug for CacheSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheSource")
            .field("name", &self.name)
            .field("tag", &self.tag)
            .finish_non_exhaustive()
    }
}

/// What one build takes from caches elsewhere, and what it could give to them.
///
/// What a cache says is believed: a cache is to be trusted like a base image. A record says what a
/// step makes, and nobody can tell without executing the step; the bytes of its layer are verified.
#[derive(Debug, Default)]
pub struct Caches {
    sources: Vec<CacheSource>,
    /// By key, in the order in which the caches were given.
    records: HashMap<Digest, Vec<(usize, Outcome)>>,
    /// By layer.
    holders: HashMap<Digest, Vec<usize>>,
    /// What the steps of this build made or found.
    used: Mutex<BTreeMap<Digest, Outcome>>,
    pub(crate) mounts: mounts::Mounts,
    brought: Memo<Digest, ()>,
    /// Layers that could not be brought, and those of them that nobody was told about yet.
    lost: Mutex<Lost>,
}

#[derive(Debug, Default)]
struct Lost {
    all: HashSet<Digest>,
    news: Vec<String>,
}

impl Caches {
    /// Returns how many records there are to find.
    pub fn n_records(&self) -> usize {
        self.records.len()
    }

    /// Returns what `key` makes, if a cache knows and the layer is to be had.
    pub(crate) fn look_up(&self, store: &Store, key: &Digest) -> Option<Outcome> {
        let found = self.records.get(key)?.iter();
        let mut here = found.filter(|(source_idx, outcome)| match &outcome.layer {
            None => true,
            Some(layer) if self.lost().all.contains(&layer.blob.digest) => false,
            Some(layer) => {
                store.contains(&layer.blob).unwrap_or_default()
                    || self.sources.get(*source_idx).is_some_and(|source| {
                        // A cache that cannot be asked is as good as one without the layer.
                        source.place.contains(&layer.blob).unwrap_or_default()
                    })
            }
        });
        here.next().map(|(_, outcome)| outcome.clone())
    }

    /// Notes what the step of `key` made.
    pub(crate) fn note(&self, key: &Digest, outcome: &Outcome) {
        self.used().insert(key.clone(), outcome.clone());
    }

    /// Returns what the steps of the build made or found, by key.
    pub(crate) fn used(&self) -> MutexGuard<'_, BTreeMap<Digest, Outcome>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records in the store what is whole there now, so that the next build need not ask.
    pub(crate) fn settle(&self, store: &Store) -> Result<()> {
        for (key, outcome) in self.used().iter() {
            let is_here = match &outcome.layer {
                None => true,
                Some(layer) => store.contains(&layer.blob)?,
            };
            if is_here && self.records.contains_key(key) && !cache::is_recorded(store, key) {
                cache::record(store, key, outcome, &[])?;
            }
        }
        Ok(())
    }

    /// Returns what the config of an image of `layers` says about them.
    pub(crate) fn inline(&self, layers: &[LayerRef]) -> Option<serde_json::Value> {
        serde_json::to_value(format::inline(&self.used(), layers)).ok()
    }

    /// Returns warnings about layers that could not be brought since the last call. A build that failed
    /// for that is to begin again: what needs them is no hit any more.
    pub(crate) fn take_losses(&self) -> Vec<String> {
        std::mem::take(&mut self.lost().news)
    }

    fn lost(&self) -> MutexGuard<'_, Lost> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the caches that may have `layer`.
    fn holders(&self, layer: &Digest) -> impl Iterator<Item = &CacheSource> {
        let holders = self.holders.get(layer).into_iter().flatten();
        holders.filter_map(|&source_idx| self.sources.get(source_idx))
    }
}

impl LayerSource for Caches {
    /// Of several threads that want a layer, one brings it.
    fn bring(&self, store: &Store, blob: &Descriptor) -> corten_content::Result<()> {
        self.brought.get(blob.digest.clone(), || {
            let options = CopyOptions {
                jobs: 1,
                ..CopyOptions::default()
            };
            let mut result = Ok(());
            for holder in self.holders(&blob.digest) {
                let copied = copy(holder.place.as_source(), store, blob, &options);
                result = copied.map(drop);
                if result.is_ok() {
                    break;
                }
            }
            if let Err(error) = &result {
                let mut lost = self.lost();
                lost.all.insert(blob.digest.clone());
                let reason = chain(error);
                lost.news
                    .push(format!("a layer of a cache cannot be used: {reason}"));
            }
            result
        })
    }
}
