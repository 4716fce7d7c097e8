//! From the last stage to an image: config, manifest, names.

use std::io::Write;

use corten_content::{IngestPlan, Sink, Store};
use corten_spec::{Descriptor, ImageId, Manifest, annotations, document, media_type};

use crate::stage::Stage;
use crate::{BuildRequest, Built, Result};

/// Stores the documents of the image that `stage` is.
pub(crate) fn finish(
    store: &Store,
    request: &BuildRequest,
    stage: &Stage,
    created: &str,
) -> Result<Built> {
    let mut config = stage.config.clone();
    config.created = Some(created.to_owned());
    config.rootfs.diff_ids = stage.diff_ids();
    config.config.labels.extend(request.labels.clone());
    let config = put(store, media_type::OCI_CONFIG, &document::to_bytes(&config))?;

    let layers = stage.layers.iter().map(|layer| oci(&layer.blob)).collect();
    let mut manifest = Manifest::oci(config.clone(), layers);
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
    let mut manifest = put(
        store,
        media_type::OCI_MANIFEST,
        &document::to_bytes(&manifest),
    )?;
    manifest.platform = Some(stage.config.platform());
    Ok(Built {
        manifest,
        image_id: ImageId(config.digest),
    })
}

fn put(store: &Store, media_type: &str, bytes: &[u8]) -> Result<Descriptor> {
    let content = Descriptor::of(media_type, bytes);
    if !store.contains(&content)? {
        let mut ingest = store.ingest(&IngestPlan::of(&content)?)?;
        ingest.write_all(bytes).map_err(|error| {
            corten_content::Error::stream(format!("store `{}`", content.digest), error)
        })?;
        ingest.commit(Some(&content))?;
    }
    Ok(content)
}

/// Returns the descriptor of a layer as an OCI manifest names it: Docker's types become the OCI
/// types of the same bytes (MT-07).
fn oci(blob: &Descriptor) -> Descriptor {
    let media_type = match blob.media_type.as_str() {
        media_type::DOCKER_LAYER => media_type::OCI_LAYER,
        media_type::DOCKER_LAYER_GZIP => media_type::OCI_LAYER_GZIP,
        media_type::DOCKER_LAYER_ZSTD => media_type::OCI_LAYER_ZSTD,
        media_type::DOCKER_LAYER_FOREIGN => media_type::OCI_LAYER_FOREIGN_GZIP,
        other => other,
    };
    Descriptor {
        media_type: media_type.to_owned(),
        ..blob.clone()
    }
}
