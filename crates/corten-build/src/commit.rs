//! What a step made: looked up, or written as a layer and recorded.

use corten_layer::bytes::TreeContents;
use corten_layer::{Changeset, Contents, Tree};
use corten_snapshot::{Bytes, LayerRef, Packer};
use corten_spec::Digest;
use corten_tar::Located;

use crate::Result;
use crate::build::Builder;
use crate::cache::{self, Outcome};
use crate::error::StepResult;
use crate::event::Event;
use crate::key::Key;
use crate::request::CacheUse;
use crate::stage::Stage;

/// What a step left, with the layer's entries if it was made just now.
pub(crate) struct Made {
    pub(crate) outcome: Outcome,
    pub(crate) entries: Option<Vec<Located>>,
}

impl Builder<'_> {
    /// Starts a key with what every step depends on.
    pub(crate) fn key(&self, kind: &str, stage: &Stage) -> Key {
        let mut key = Key::new(kind);
        key.text(&stage.chain());
        key.optional(self.clamp.map(|clamp| clamp.seconds.to_string()).as_deref());
        let pack = &self.request.pack;
        key.text(&format!("{:?} {:?}", pack.compression, pack.level));
        key.list(&[corten_tar::GZIP_NAME, corten_tar::ZSTD_NAME]);
        key
    }

    /// Returns what an earlier build recorded for `key`.
    pub(crate) fn cached(&self, key: &Digest) -> Result<Option<Made>> {
        if self.request.cache == CacheUse::Ignore {
            return Ok(None);
        }
        let Some(outcome) = cache::look_up(self.store, key)? else {
            return Ok(None);
        };
        (self.listener)(Event::Cached);
        Ok(Some(Made {
            outcome,
            entries: None,
        }))
    }

    /// Writes `changes` to `stage`, whose tree was computed, as a layer, and records it under every one
    /// of `keys`.
    pub(crate) fn commit(
        &self,
        stage: &Stage,
        keys: &[Digest],
        mut changes: Changeset,
        contents: &dyn Contents,
    ) -> StepResult<Made> {
        if let Some(clamp) = self.clamp {
            changes.clamp(clamp);
        }
        let (layer, entries) = if changes.is_empty() {
            (None, None)
        } else {
            let lower = stage.computed_tree().expect("a step begins with the tree");
            let (layer, entries) = self.pack(lower, &changes, contents)?;
            (Some(layer), Some(entries))
        };
        let created = self.created.clone();
        let made = Made {
            outcome: Outcome { layer, created },
            entries,
        };
        for key in keys {
            cache::record(self.store, key, &made.outcome, &stage.layers)?;
        }
        Ok(made)
    }

    fn pack(
        &self,
        lower: &Tree,
        changes: &Changeset,
        contents: &dyn Contents,
    ) -> Result<(LayerRef, Vec<Located>)> {
        let mut packer = Packer::new(self.store, &self.request.pack)?;
        let entries = corten_layer::emit::write_changeset(lower, changes, contents, &mut packer)?;
        let layer = packer.finish()?;
        self.snapshots.put_entries(&layer.diff_id, &entries)?;
        Ok((layer, entries))
    }

    /// Calls `read` with the tree of `stage` and the contents of its files.
    pub(crate) fn with_contents<T>(
        &self,
        stage: &mut Stage,
        read: impl FnOnce(&Tree, &dyn Contents) -> corten_layer::Result<T>,
    ) -> Result<T> {
        let bytes = Bytes::new(self.snapshots.clone(), &stage.layers);
        let tree = stage.tree(&self.snapshots)?;
        Ok(read(
            tree,
            &TreeContents {
                tree,
                bytes: &bytes,
            },
        )?)
    }
}
