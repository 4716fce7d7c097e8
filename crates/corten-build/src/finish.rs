//! From the last stage to an image: config, manifest, names.

use corten_content::{Store, put};
use corten_snapshot::LayerRef;
use corten_spec::{Family, ImageId, Manifest, annotations, document, media_type};

use crate::caches::INLINE_KEY;
use crate::stage::Stage;
use crate::{BuildRequest, Built, Result};

/// Stores the documents of the image that `stage`, whose layers are `layers`, is.
pub(crate) fn finish(
    store: &Store,
    request: &BuildRequest,
    stage: &Stage,
    layers: Vec<LayerRef>,
    created: &str,
) -> Result<Built> {
    let mut config = stage.config.clone();
    config.created = Some(created.to_owned());
    config.rootfs.diff_ids = stage.diff_ids();
    config.config.labels.extend(request.labels.clone());
    // Those of a base image are about steps of its own build.
    config.extra.remove(INLINE_KEY);
    if request.inline_cache
        && let Some(caches) = &request.caches
        && let Some(records) = caches.inline(&layers)
    {
        config.extra.insert(INLINE_KEY.to_owned(), records);
    }
    let config = put(store, media_type::OCI_CONFIG, &document::to_bytes(&config))?;

    let blobs = layers.iter();
    let blobs = blobs.map(|layer| Family::Oci.describe(&layer.blob));
    let mut manifest = Manifest::oci(config.clone(), blobs.collect());
    if let Some(base) = &stage.base {
        // Both or neither: a digest says nothing without the name that it was found under (ANN-13,
        // ANN-14).
        if let Some(name) = &base.reference {
            manifest
                .annotations
                .insert(annotations::BASE_NAME.into(), name.clone());
            manifest
                .annotations
                .insert(annotations::BASE_DIGEST.into(), base.digest.to_string());
        }
    }
    manifest.annotations.extend(request.annotations.clone());
    let mut manifest = put(
        store,
        media_type::OCI_MANIFEST,
        &document::to_bytes(&manifest),
    )?;
    manifest.platform = Some(stage.config.platform());
    Ok(Built {
        manifest,
        image_id: ImageId(config.digest),
        layers,
        n_base_layers: stage.n_base,
        is_squashed: false,
        steps: Vec::new(),
        materials: Vec::new(),
    })
}
