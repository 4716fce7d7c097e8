//! What a command finds in a cache that nobody has used here: what another machine left of it.

use std::path::Path;

use corten_snapshot::snapshots::remove;
use corten_spec::Digest;

use crate::build::Builder;
use crate::caches::chain;
use crate::event::Event;

impl Builder<'_> {
    /// Notes that a command uses the cache `name`, and brings what another machine left of it, if there
    /// is none here. Others can choose from the cache meanwhile.
    pub(crate) fn bring_mount(&self, name: &Digest) {
        let Some(caches) = &self.request.caches else {
            return;
        };
        caches.mounts.note(name);
        if !super::is_there(self.store, name).unwrap_or_default()
            && let Some(Err(error)) = caches.bring_mount(self.store, name)
        {
            self.warn_of_mount(&error);
        }
    }

    /// Fills a new cache with what another machine left; false if there is nothing, or what there is
    /// cannot be used, for then the cache begins as if nobody had left anything.
    pub(crate) fn fill_from_elsewhere(&self, path: &Path, name: &Digest) -> bool {
        let caches = self.request.caches.as_ref();
        let unpacked = caches
            .and_then(|caches| caches.unpack_mount(self.store, name, path, &self.request.limits));
        match unpacked {
            None => false,
            Some(Ok(())) => true,
            Some(Err(error)) => {
                self.warn_of_mount(&error);
                remove(path).ok();
                false
            }
        }
    }

    fn warn_of_mount(&self, error: &dyn std::error::Error) {
        let reason = chain(error);
        (self.listener)(Event::Warning(&format!(
            "a mount of a cache cannot be used: {reason}"
        )));
    }
}
