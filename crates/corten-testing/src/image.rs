//! Images made in memory.

use corten_content::Memory;
use corten_spec::{
    Descriptor, DiffId, Digest, ImageConfig, Index, Manifest, Platform, document, media_type,
};

/// An image in memory, with its documents.
///
/// ```
/// use corten_testing::Image;
///
/// let image = Image::builder().layer(b"a tar").build();
/// assert_eq!(image.value.layers.len(), 1);
/// assert_eq!(image.config.rootfs.diff_ids.len(), 1);
/// ```
#[derive(Debug)]
pub struct Image {
    /// Where the blobs are.
    pub content: Memory,
    /// The descriptor of the manifest, with the platform.
    pub manifest: Descriptor,
    /// The manifest.
    pub value: Manifest,
    /// The config.
    pub config: ImageConfig,
}

/// What an image is to be made of.
#[derive(Debug)]
pub struct ImageBuilder {
    config: ImageConfig,
    layers: Vec<(Vec<u8>, Digest, &'static str)>,
}

impl Image {
    /// Starts an image for linux/amd64 that has no layers.
    pub fn builder() -> ImageBuilder {
        ImageBuilder {
            config: ImageConfig::scratch(&Platform::new("linux", "amd64")),
            layers: Vec::new(),
        }
    }
}

impl ImageBuilder {
    /// Adds a layer that is stored as the tar that it is.
    #[must_use]
    pub fn layer(self, tar: &[u8]) -> Self {
        self.stored_layer(media_type::OCI_LAYER, tar, tar)
    }

    /// Adds a layer that is stored as `blob`, of type `media_type`, and is `tar` within.
    #[must_use]
    pub fn stored_layer(mut self, media_type: &'static str, blob: &[u8], tar: &[u8]) -> Self {
        self.layers
            .push((blob.to_vec(), Digest::sha256(tar), media_type));
        self
    }

    /// Sets the platform.
    #[must_use]
    pub fn platform(mut self, platform: &Platform) -> Self {
        self.config.os.clone_from(&platform.os);
        self.config.architecture.clone_from(&platform.architecture);
        self.config.variant.clone_from(&platform.variant);
        self
    }

    /// Changes the config in any way.
    #[must_use]
    pub fn configure(mut self, change: impl FnOnce(&mut ImageConfig)) -> Self {
        change(&mut self.config);
        self
    }

    /// Makes the image in a memory of its own.
    pub fn build(self) -> Image {
        let content = Memory::new();
        let (manifest, value, config) = self.build_parts(&content);
        Image {
            content,
            manifest,
            value,
            config,
        }
    }

    /// Makes the image in `content` and returns the descriptor of its manifest.
    pub fn build_in(self, content: &Memory) -> Descriptor {
        self.build_parts(content).0
    }

    fn build_parts(mut self, content: &Memory) -> (Descriptor, Manifest, ImageConfig) {
        let mut layers = Vec::new();
        for (blob, diff_id, media_type) in self.layers {
            layers.push(content.add(media_type, &blob));
            self.config.rootfs.diff_ids.push(DiffId(diff_id));
        }
        let config = document::to_bytes(&self.config);
        let config = content.add(media_type::OCI_CONFIG, &config);
        let value = Manifest::oci(config, layers);
        let mut manifest = content.add(media_type::OCI_MANIFEST, &document::to_bytes(&value));
        manifest.platform = Some(self.config.platform());
        (manifest, value, self.config)
    }
}

/// Adds an index of `manifests` to `content` and returns its descriptor.
pub fn index(content: &Memory, manifests: Vec<Descriptor>) -> Descriptor {
    let bytes = document::to_bytes(&Index::oci(manifests));
    content.add(media_type::OCI_INDEX, &bytes)
}
