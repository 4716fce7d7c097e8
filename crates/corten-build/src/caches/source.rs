//! The store and the caches as one place, for images whose layers are not all in the store.

use std::io::Read;
use std::sync::Arc;

use corten_content::{MountSource, Result, Sink, Source, Store};
use corten_spec::{Descriptor, Digest, Platform};

use crate::caches::Caches;

/// The store, with the layers of caches beside it.
#[derive(Debug)]
pub struct WithCaches {
    /// The store, which has all documents.
    pub store: Store,
    /// The caches.
    pub caches: Arc<Caches>,
    /// A repository that has layers of the store, if there is one that was just pushed to.
    pub pushed_to: Option<MountSource>,
}

impl Source for WithCaches {
    fn place(&self) -> String {
        Source::place(&self.store)
    }

    fn resolve(&self, name: &str) -> Result<Descriptor> {
        self.store.resolve(name)
    }

    fn resolve_for(&self, name: &str, platform: &Platform) -> Result<Descriptor> {
        self.store.resolve_for(name, platform)
    }

    fn fetch(&self, content: &Descriptor, offset: u64) -> Result<Box<dyn Read + Send + '_>> {
        let mut missing = match self.store.fetch(content, offset) {
            Err(error) if error.is_not_found() => error,
            found => return found,
        };
        for holder in self.caches.holders(&content.digest) {
            match holder.place.fetch(content, offset) {
                Err(error) if error.is_not_found() => {}
                Err(error) => missing = error,
                found => return found,
            }
        }
        Err(missing)
    }

    fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>> {
        self.store.referrers(subject)
    }

    fn mountable_for(&self, content: &Descriptor) -> Option<MountSource> {
        if self.store.contains(content).unwrap_or_default() {
            return self.pushed_to.clone();
        }
        let mut holders = self.caches.holders(&content.digest);
        holders.find_map(|holder| holder.place.mountable())
    }
}
