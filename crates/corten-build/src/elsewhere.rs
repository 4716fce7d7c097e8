//! Layers that are not in the store: those of base images that nobody needed yet, and those of caches.

use corten_content::{Sink as _, Store};
use corten_snapshot::{LayerRef, LayerSource};
use corten_spec::Descriptor;

use crate::base::Bases;
use crate::caches::Caches;
use crate::{BuildRequest, Error, Result};

/// All places that one build takes layers from.
#[derive(Debug)]
pub(crate) struct Elsewhere<'a> {
    bases: Option<&'a dyn LayerSource>,
    caches: Option<&'a Caches>,
}

impl<'a> Elsewhere<'a> {
    pub(crate) fn new(request: &'a BuildRequest, bases: &'a dyn Bases) -> Self {
        Self {
            bases: bases.layers(),
            caches: request.caches.as_deref(),
        }
    }

    /// Brings those of `layers` that are not in the store.
    ///
    /// # Errors
    /// [`Error::LayerMissing`] if one of them is nowhere: nothing may name an image without it.
    pub(crate) fn bring_all(&self, store: &Store, layers: &[LayerRef]) -> Result<()> {
        for layer in layers {
            if store.contains(&layer.blob)? {
                continue;
            }
            self.bring(store, &layer.blob)?;
            // Who does not have it brings nothing and says nothing, and foreign layers are left out.
            if !store.contains(&layer.blob)? {
                return Err(Error::LayerMissing {
                    blob: layer.blob.digest.clone(),
                });
            }
        }
        Ok(())
    }
}

impl LayerSource for Elsewhere<'_> {
    fn bring(&self, store: &Store, blob: &Descriptor) -> corten_content::Result<()> {
        let refused = match self.bases.map(|bases| bases.bring(store, blob)) {
            Some(Ok(())) if store.contains(blob)? => return Ok(()),
            // A cache may have it, though the registry of a base is out of reach.
            Some(Err(error)) => Some(error),
            Some(Ok(())) | None => None,
        };
        if let Some(caches) = self.caches {
            caches.bring(store, blob)?;
        }
        match refused {
            Some(error) if !store.contains(blob)? => Err(error),
            _ => Ok(()),
        }
    }
}
