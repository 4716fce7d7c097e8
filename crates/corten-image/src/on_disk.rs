//! Where Docker and containerd keep the parts of an image, by default.
//!
//! Docker without containerd's store keeps no manifest and no compressed layer: it finds a config by
//! the image's id and a layer by its ChainID (docker-image-spec, DKR-16). containerd keeps every blob
//! by its digest, and a layer's files under a number that only its database knows.

use corten_spec::{ChainId, Digest};

use crate::outline::{Node, Role};

/// Docker's `data-root` for images, with its usual storage driver.
const DOCKER: &str = "/var/lib/docker/image/overlay2";
/// containerd's content store.
const CONTAINERD: &str = "/var/lib/containerd/io.containerd.content.v1.content/blobs";

/// Where one blob would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnDisk {
    /// The file or directory in Docker's store; `None` for what Docker does not keep.
    pub docker: Option<String>,
    /// The file with the name of the directory, in `/var/lib/docker/overlay2`, whose `diff` has the
    /// layer's files.
    pub docker_cache_id: Option<String>,
    /// The blob in containerd's store.
    pub containerd: String,
    /// The key of the layer's snapshot in containerd's database, in each namespace.
    pub containerd_snapshot: Option<String>,
}

/// Returns where Docker and containerd would keep what `node` is.
pub fn on_disk(node: &Node) -> OnDisk {
    let digest = &node.content.digest;
    let layer = match &node.role {
        Role::Layer {
            ids: Some((_, chain_id)),
            ..
        } => Some(chain_id),
        _ => None,
    };
    let layer_directory = layer.map(|chain_id| path(&format!("{DOCKER}/layerdb"), &chain_id.0));
    let docker = match &node.role {
        Role::Config {
            image_id: Some(image_id),
        } => Some(path(&format!("{DOCKER}/imagedb/content"), &image_id.0)),
        _ => layer_directory.clone(),
    };
    OnDisk {
        docker,
        docker_cache_id: layer_directory.map(|directory| format!("{directory}/cache-id")),
        containerd: path(CONTAINERD, digest),
        containerd_snapshot: layer.map(ChainId::to_string),
    }
}

fn path(directory: &str, digest: &Digest) -> String {
    format!(
        "{directory}/{}/{}",
        digest.algorithm_name(),
        digest.encoded()
    )
}
