//! Media types of the OCI and Docker formats, and what they say about content.

use crate::{Error, Result};

/// An OCI image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// An OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// An OCI image config.
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// The content of `oci-layout`.
pub const OCI_LAYOUT: &str = "application/vnd.oci.layout.header.v1+json";
/// The empty JSON object, `{}`.
pub const OCI_EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// An uncompressed layer.
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// A layer compressed with gzip.
pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// A layer compressed with zstd.
pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// An uncompressed layer that is not to be uploaded (deprecated).
pub const OCI_LAYER_FOREIGN: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar";
/// A gzip layer that is not to be uploaded (deprecated).
pub const OCI_LAYER_FOREIGN_GZIP: &str =
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
/// A zstd layer that is not to be uploaded (deprecated).
pub const OCI_LAYER_FOREIGN_ZSTD: &str =
    "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd";
/// Docker's manifest list.
pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker's manifest, schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker's image config.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// Docker's uncompressed layer.
pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
/// Docker's gzip layer.
pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
/// Docker's zstd layer, written by a few tools although never specified.
pub const DOCKER_LAYER_ZSTD: &str = "application/vnd.docker.image.rootfs.diff.tar.zstd";
/// Docker's foreign layer without compression, written by a few tools although never specified.
pub const DOCKER_LAYER_FOREIGN_PLAIN: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar";
/// Docker's foreign layer.
pub const DOCKER_LAYER_FOREIGN: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
/// Docker's manifest, schema 1.
pub const DOCKER_SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+json";
/// Docker's manifest, schema 1, with signatures.
pub const DOCKER_SCHEMA1_SIGNED: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";

/// What a descriptor's media type says that the content is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An index or a manifest list.
    Index,
    /// An image manifest of either family.
    Manifest,
    /// An image config of either family.
    Config,
    /// A layer's tar, compressed or not.
    Layer {
        /// The compression that the type names.
        compression: LayerCompression,
        /// Whether the type asks not to upload it.
        foreign: bool,
    },
    /// Docker's manifest schema 1, which is refused by name.
    Schema1,
    /// Anything else: bytes to keep and copy (MAN-17, IDX-16).
    Other,
}

/// The compression that a layer's media type names. It is a hint: the bytes decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerCompression {
    /// A plain tar.
    None,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

impl Kind {
    /// Returns what `media_type` stands for; parameters after `;` are ignored.
    pub fn of(media_type: &str) -> Self {
        use LayerCompression::{Gzip, None, Zstd};
        let layer = |compression, foreign| Self::Layer {
            compression,
            foreign,
        };
        match without_parameters(media_type) {
            OCI_INDEX | DOCKER_INDEX => Self::Index,
            OCI_MANIFEST | DOCKER_MANIFEST => Self::Manifest,
            OCI_CONFIG | DOCKER_CONFIG => Self::Config,
            OCI_LAYER | DOCKER_LAYER => layer(None, false),
            OCI_LAYER_GZIP | DOCKER_LAYER_GZIP => layer(Gzip, false),
            OCI_LAYER_ZSTD | DOCKER_LAYER_ZSTD => layer(Zstd, false),
            OCI_LAYER_FOREIGN | DOCKER_LAYER_FOREIGN_PLAIN => layer(None, true),
            OCI_LAYER_FOREIGN_GZIP | DOCKER_LAYER_FOREIGN => layer(Gzip, true),
            OCI_LAYER_FOREIGN_ZSTD => layer(Zstd, true),
            DOCKER_SCHEMA1 | DOCKER_SCHEMA1_SIGNED => Self::Schema1,
            _ => Self::Other,
        }
    }

    /// Tells whether the content is a document that refers to other content.
    pub fn has_children(self) -> bool {
        matches!(self, Self::Index | Self::Manifest)
    }
}

/// Returns `media_type` without parameters such as `; charset=utf-8`.
pub fn without_parameters(media_type: &str) -> &str {
    media_type.split(';').next().unwrap_or(media_type).trim()
}

/// Checks `text` against RFC 6838 section 4.2: `type/subtype`, each of 1 to 127 characters.
pub fn check(text: &str) -> Result<()> {
    let valid = text
        .split_once('/')
        .is_some_and(|(kind, subtype)| is_name(kind) && is_name(subtype));
    if valid {
        Ok(())
    } else {
        Err(Error::InvalidMediaType {
            text: crate::digest::shorten(text),
        })
    }
}

fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    text.len() <= 127
        && bytes
            .next()
            .is_some_and(|first| first.is_ascii_alphanumeric())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_rfc_6838() {
        #[track_caller]
        fn expect(text: &str, valid: bool) {
            assert_eq!(check(text).is_ok(), valid, "{text:?}");
        }
        for known in [OCI_INDEX, OCI_MANIFEST, OCI_LAYER_ZSTD, DOCKER_LAYER_GZIP] {
            expect(known, true);
        }
        expect("application/vnd.a+b+c", true);
        expect("invalid", false);
        expect("a/b/c", false);
        expect("a/", false);
        expect("/b", false);
        expect("a/ b", false);
        expect("a/+b", false);
        expect(&format!("a/{}", "b".repeat(127)), true);
        expect(&format!("a/{}", "b".repeat(128)), false);
    }

    /// MT-01, V2S2-01.
    #[test]
    fn what_each_type_stands_for() {
        use LayerCompression::{Gzip, None, Zstd};
        #[track_caller]
        fn expect(media_type: &str, expected: Kind) {
            assert_eq!(Kind::of(media_type), expected, "{media_type}");
            check(media_type).unwrap();
        }
        let layer = |compression, foreign| Kind::Layer {
            compression,
            foreign,
        };
        expect(OCI_INDEX, Kind::Index);
        expect(OCI_MANIFEST, Kind::Manifest);
        expect(OCI_CONFIG, Kind::Config);
        expect(OCI_LAYER, layer(None, false));
        expect(OCI_LAYER_GZIP, layer(Gzip, false));
        expect(OCI_LAYER_ZSTD, layer(Zstd, false));
        expect(OCI_LAYER_FOREIGN, layer(None, true));
        expect(OCI_LAYER_FOREIGN_GZIP, layer(Gzip, true));
        expect(OCI_LAYER_FOREIGN_ZSTD, layer(Zstd, true));
        expect(OCI_EMPTY, Kind::Other);
        expect(OCI_LAYOUT, Kind::Other);
        expect("application/vnd.oci.descriptor.v1+json", Kind::Other);
        expect(DOCKER_INDEX, Kind::Index);
        expect(DOCKER_MANIFEST, Kind::Manifest);
        expect(DOCKER_CONFIG, Kind::Config);
        expect(DOCKER_LAYER, layer(None, false));
        expect(DOCKER_LAYER_GZIP, layer(Gzip, false));
        expect(DOCKER_LAYER_ZSTD, layer(Zstd, false));
        expect(DOCKER_LAYER_FOREIGN_PLAIN, layer(None, true));
        expect(DOCKER_LAYER_FOREIGN, layer(Gzip, true));
        expect(DOCKER_SCHEMA1, Kind::Schema1);
        expect(DOCKER_SCHEMA1_SIGNED, Kind::Schema1);
        expect("application/vnd.docker.plugin.v1+json", Kind::Other);
        // The specification's names are in lower case, and names are compared as they are.
        expect("application/vnd.OCI.image.index.v1+json", Kind::Other);
        expect("application/vnd.oci.image.layer.v1.tar+lz4", Kind::Other);
    }

    #[test]
    fn parameters_do_not_change_the_kind() {
        assert_eq!(
            Kind::of("application/vnd.oci.image.index.v1+json; charset=utf-8"),
            Kind::Index
        );
        assert_eq!(Kind::of("application/xml"), Kind::Other);
        assert_eq!(Kind::of(DOCKER_SCHEMA1_SIGNED), Kind::Schema1);
    }
}
