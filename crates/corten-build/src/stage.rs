//! A stage as it is built: its layers, its config, and the tree they amount to.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use corten_dockerfile::StageState;
use corten_layer::Tree;
use corten_snapshot::{Bytes, LayerRef, Snapshots};
use corten_spec::{ChainId, DiffId, ImageConfig};
use corten_tar::Located;

use crate::Result;
use crate::explain::Ledger;
use crate::packing::{Layer, Layers, packed};
use crate::request::CacheUse;

/// A stage, or an image that files are copied from.
#[derive(Debug, Clone)]
pub(crate) struct Stage {
    pub(crate) layers: Vec<Layer>,
    pub(crate) config: ImageConfig,
    pub(crate) base: Option<Origin>,
    /// When the latest of its own steps was made that did anything to files, or the image it is based
    /// on; RFC 3339.
    pub(crate) created: Option<String>,
    /// How many of the layers are those of the image it is based on.
    pub(crate) n_base: usize,
    /// Whether results of its steps are looked up.
    pub(crate) cache: CacheUse,
    /// What went into the keys of the step that is being executed.
    pub(crate) ledger: Ledger,
    /// The tree of the first so many layers; nothing is read before it is needed.
    tree: Option<(usize, Arc<Tree>)>,
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
    pub(crate) stage: Shared,
    pub(crate) state: StageState,
}

/// A stage that does not change any more, or an image: several stages may copy from it at once.
#[derive(Debug)]
pub(crate) struct Shared(Mutex<Stage>);

impl Shared {
    pub(crate) fn new(stage: Stage) -> Self {
        Self(Mutex::new(stage))
    }

    /// Returns a stage that begins where this one ended.
    pub(crate) fn begin_on(&self) -> Stage {
        Stage {
            // Stages are built side by side, and each has its own steps.
            ledger: Ledger::default(),
            ..self.lock().clone()
        }
    }

    pub(crate) fn layers(&self) -> Vec<Layer> {
        self.lock().layers.clone()
    }

    /// See [`Stage::bytes`].
    pub(crate) fn bytes<'a>(&self, snapshots: &Snapshots<'a>) -> Bytes<'a> {
        self.lock().bytes(snapshots)
    }

    pub(crate) fn chain(&self) -> String {
        self.lock().chain()
    }

    /// See [`Stage::tree`]: it is computed once for all.
    pub(crate) fn tree(&self, snapshots: &Snapshots<'_>) -> Result<Arc<Tree>> {
        self.lock().tree(snapshots)
    }

    fn lock(&self) -> MutexGuard<'_, Stage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stage {
    pub(crate) fn new(layers: Vec<LayerRef>, config: ImageConfig, base: Option<Origin>) -> Self {
        let created = config.created.clone();
        Self {
            n_base: layers.len(),
            cache: CacheUse::Use,
            layers: layers.into_iter().map(Layer::from).collect(),
            config,
            base,
            created,
            ledger: Ledger::default(),
            tree: None,
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

    /// Returns what reads its files; who reads one of a layer that is being packed waits for that.
    pub(crate) fn bytes<'a>(&self, snapshots: &Snapshots<'a>) -> Bytes<'a> {
        let layers = Arc::new(Layers(self.layers.clone()));
        Bytes::of_coming(snapshots.clone(), layers)
    }

    /// Computes the tree, if it is not there yet, and returns it.
    pub(crate) fn tree(&mut self, snapshots: &Snapshots<'_>) -> Result<Arc<Tree>> {
        let (n_applied, tree) = self.tree.take().unwrap_or_default();
        let missing = self.layers.get(n_applied..).unwrap_or_default();
        let tree = if missing.is_empty() {
            tree
        } else {
            Arc::new(snapshots.extend(Arc::unwrap_or_clone(tree), &packed(missing)?)?)
        };
        self.tree = Some((self.layers.len(), Arc::clone(&tree)));
        Ok(tree)
    }

    /// Adds a layer; its entries, where they are known, spare reading it.
    pub(crate) fn push(&mut self, layer: Layer, entries: Option<&[Located]>) -> Result<()> {
        if let Some(entries) = entries
            && let Some((n_applied, tree)) = self.tree.take()
        {
            if n_applied == self.layers.len() {
                let (tree, _) = Arc::unwrap_or_clone(tree).apply(&layer.diff_id, entries)?;
                self.tree = Some((n_applied + 1, Arc::new(tree)));
            } else {
                self.tree = Some((n_applied, tree));
            }
        }
        self.layers.push(layer);
        Ok(())
    }
}
