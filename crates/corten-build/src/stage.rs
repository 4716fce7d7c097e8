//! A stage as it is built: its layers, its config, and the tree they amount to.

use corten_dockerfile::StageState;
use corten_layer::Tree;
use corten_snapshot::{LayerRef, Snapshots};
use corten_spec::{ChainId, DiffId, ImageConfig};
use corten_tar::Located;

use crate::Result;

/// A stage, or an image that files are copied from.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) layers: Vec<LayerRef>,
    pub(crate) config: ImageConfig,
    pub(crate) base: Option<Origin>,
    /// When the latest of its own steps was made that did anything to files, or the image it is based
    /// on; RFC 3339.
    pub(crate) created: Option<String>,
    /// The tree of the first so many layers; nothing is read before it is needed.
    tree: Option<(usize, Tree)>,
}

/// The image that a stage is based on.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    pub(crate) reference: Option<String>,
    pub(crate) digest: corten_spec::Digest,
}

/// A stage that is finished, with the state that stages based on it begin in.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) stage: Stage,
    pub(crate) state: StageState,
}

impl Stage {
    pub(crate) fn new(layers: Vec<LayerRef>, config: ImageConfig, base: Option<Origin>) -> Self {
        let created = config.created.clone();
        Self {
            layers,
            config,
            base,
            created,
            tree: None,
        }
    }

    /// Returns a stage that begins where this one ended.
    pub(crate) fn begin_on(&self) -> Self {
        Self {
            layers: self.layers.clone(),
            config: self.config.clone(),
            base: self.base.clone(),
            created: self.created.clone(),
            tree: self.tree.clone(),
        }
    }

    pub(crate) fn diff_ids(&self) -> Vec<DiffId> {
        self.layers
            .iter()
            .map(|layer| layer.diff_id.clone())
            .collect()
    }

    /// Returns the name of all layers, or the empty text if there are none.
    pub(crate) fn chain(&self) -> String {
        ChainId::of(&self.diff_ids()).map_or_else(String::new, |chain| chain.to_string())
    }

    /// Computes the tree, if it is not there yet, and returns it.
    pub(crate) fn tree(&mut self, snapshots: &Snapshots<'_>) -> Result<&Tree> {
        let (n_applied, tree) = self.tree.take().unwrap_or_default();
        let missing = self.layers.get(n_applied..).unwrap_or_default();
        let tree = snapshots.extend(tree, missing)?;
        Ok(&self.tree.insert((self.layers.len(), tree)).1)
    }

    /// Returns the tree if [`tree`](Self::tree) computed it and no layer was added since.
    pub(crate) fn computed_tree(&self) -> Option<&Tree> {
        let (n_applied, tree) = self.tree.as_ref()?;
        (*n_applied == self.layers.len()).then_some(tree)
    }

    /// Adds a layer; its entries, where they are known, spare reading it.
    pub(crate) fn push(&mut self, layer: LayerRef, entries: Option<&[Located]>) -> Result<()> {
        if let Some(entries) = entries
            && let Some((n_applied, tree)) = self.tree.take()
        {
            if n_applied == self.layers.len() {
                let (tree, _) = tree.apply(&layer.diff_id, entries)?;
                self.tree = Some((n_applied + 1, tree));
            } else {
                self.tree = Some((n_applied, tree));
            }
        }
        self.layers.push(layer);
        Ok(())
    }
}
