//! The bytes of layers, from their exact tars.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex};

use corten_layer::LayerBytes;
use corten_spec::DiffId;

use crate::{Error, LayerRef, Result, Snapshots};

/// Layers that may not be packed yet, by their DiffIDs.
pub trait ComingLayers: std::fmt::Debug + Send + Sync {
    /// Waits until the blob of a layer is there, and returns the layer; `None` if it is none of these, or
    /// does not come.
    fn layer(&self, diff_id: &DiffId) -> Option<LayerRef>;
}

/// The layers of an image by their DiffIDs.
#[derive(Debug, Clone)]
pub(crate) enum Layers {
    Known(HashMap<DiffId, LayerRef>),
    Coming(Arc<dyn ComingLayers>),
}

impl Layers {
    pub(crate) fn new(layers: &[LayerRef]) -> Self {
        let layers = layers.iter();
        Self::Known(
            layers
                .map(|layer| (layer.diff_id.clone(), layer.clone()))
                .collect(),
        )
    }

    pub(crate) fn get(&self, diff_id: &DiffId) -> Result<LayerRef> {
        let layer = match self {
            Self::Known(layers) => layers.get(diff_id).cloned(),
            Self::Coming(layers) => layers.layer(diff_id),
        };
        layer.ok_or_else(|| {
            let diff_id = diff_id.clone();
            corten_layer::Error::NoBytes { diff_id }.into()
        })
    }
}

/// Reads the layers of an image at any offset; a tar is made when it is first needed.
#[derive(Debug)]
pub struct Bytes<'a> {
    snapshots: Snapshots<'a>,
    layers: Layers,
    open: Mutex<HashMap<DiffId, Arc<File>>>,
}

impl<'a> Bytes<'a> {
    /// Returns a reader of `layers`.
    pub fn new(snapshots: Snapshots<'a>, layers: &[LayerRef]) -> Self {
        Self {
            snapshots,
            layers: Layers::new(layers),
            open: Mutex::default(),
        }
    }

    /// Returns a reader of `layers`, which waits for those that it needs.
    pub fn of_coming(snapshots: Snapshots<'a>, layers: Arc<dyn ComingLayers>) -> Self {
        Self {
            snapshots,
            layers: Layers::Coming(layers),
            open: Mutex::default(),
        }
    }

    fn file(&self, diff_id: &DiffId) -> Result<Arc<File>> {
        // Held while a tar is made, so that two threads do not make it twice.
        let mut open = self.open.lock().expect("no panic holds it");
        if let Some(file) = open.get(diff_id) {
            return Ok(Arc::clone(file));
        }
        let layer = self.layers.get(diff_id)?;
        let path = self.snapshots.tar(&layer)?;
        let file = Arc::new(File::open(&path).map_err(Error::system("open", &path))?);
        open.insert(diff_id.clone(), Arc::clone(&file));
        Ok(file)
    }
}

impl LayerBytes for Bytes<'_> {
    fn read_at(&self, layer: &DiffId, offset: u64, buf: &mut [u8]) -> corten_layer::Result<()> {
        let failed = |source| corten_layer::Error::Content {
            path: layer.0.as_str().as_bytes().into(),
            source,
        };
        let file = self
            .file(layer)
            .map_err(|error| failed(std::io::Error::other(error)))?;
        file.read_exact_at(buf, offset).map_err(failed)
    }
}
