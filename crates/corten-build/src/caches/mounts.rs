//! What `RUN --mount=type=cache` keeps, in caches elsewhere: a machine that has nothing begins with what
//! another one left.
//!
//! It is an image manifest of its own beside that of the steps, under the tag of the cache with
//! `-mounts` behind it. Each layer is a directory as a tar, with the owners that commands see.

mod carry;
mod export;
mod format;
mod import;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use corten_spec::Digest;

pub use crate::run::caches::Put;
pub use export::{ExportedMounts, export_mounts};
pub use format::{CONFIG_TYPE, MANIFEST_TYPE};
pub use import::{ImportedMount, import_mounts};

use crate::caches::{CacheSource, Caches};

/// What follows the tag of a cache of steps in that of its mounts.
pub const TAG_SUFFIX: &str = "-mounts";

/// What of mounts has to do with one build.
#[derive(Debug, Default)]
pub(crate) struct Mounts {
    sources: Vec<CacheSource>,
    /// By the names of caches of RUN; of several sources, the first that has it.
    known: BTreeMap<Digest, (usize, format::KnownMount)>,
    /// The names of those that a command of this build used.
    used: Mutex<BTreeSet<Digest>>,
}

impl Mounts {
    /// Notes that a command used the cache `name`.
    pub(crate) fn note(&self, name: &Digest) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.insert(name.clone());
    }
}

impl Caches {
    /// Returns the names of the caches of RUN that commands of the build used.
    pub fn used_mounts(&self) -> BTreeSet<Digest> {
        let used = self.mounts.used.lock();
        used.unwrap_or_else(PoisonError::into_inner).clone()
    }
}
