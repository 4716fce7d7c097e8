//! The predefined annotation keys (annotations.md) and those that other tools gave a meaning.

/// Annotations of a descriptor, manifest or index: names to values, in a fixed order.
pub type Annotations = std::collections::BTreeMap<String, String>;

/// The tag of a manifest, on descriptors of an `index.json`.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The full reference of a manifest, on descriptors of an `index.json`, as containerd writes it.
pub const IMAGE_NAME: &str = "io.containerd.image.name";
/// The reference of the image that this one is based on.
pub const BASE_NAME: &str = "org.opencontainers.image.base.name";
/// The digest of the manifest of the image that this one is based on.
pub const BASE_DIGEST: &str = "org.opencontainers.image.base.digest";
/// When the image was made, RFC 3339.
pub const CREATED: &str = "org.opencontainers.image.created";
