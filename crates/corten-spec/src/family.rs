//! The two families of media types, OCI's and Docker's, and what stands for what in them
//! (media-types.md#compatibility-matrix).

use std::fmt;

use crate::Descriptor;
use crate::media_type::{
    DOCKER_CONFIG, DOCKER_INDEX, DOCKER_LAYER, DOCKER_LAYER_FOREIGN, DOCKER_LAYER_FOREIGN_PLAIN,
    DOCKER_LAYER_GZIP, DOCKER_LAYER_ZSTD, DOCKER_MANIFEST, OCI_CONFIG, OCI_INDEX, OCI_LAYER,
    OCI_LAYER_FOREIGN, OCI_LAYER_FOREIGN_GZIP, OCI_LAYER_FOREIGN_ZSTD, OCI_LAYER_GZIP,
    OCI_LAYER_ZSTD, OCI_MANIFEST,
};

/// A family of media types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// The image specification's.
    Oci,
    /// Docker's schema 2 and manifest list.
    Docker,
}

/// What is the same but for its name: `(OCI's, Docker's)`.
const PAIRS: [(&str, &str); 7] = [
    (OCI_INDEX, DOCKER_INDEX),
    (OCI_MANIFEST, DOCKER_MANIFEST),
    (OCI_CONFIG, DOCKER_CONFIG),
    (OCI_LAYER, DOCKER_LAYER),
    (OCI_LAYER_GZIP, DOCKER_LAYER_GZIP),
    (OCI_LAYER_FOREIGN, DOCKER_LAYER_FOREIGN_PLAIN),
    (OCI_LAYER_FOREIGN_GZIP, DOCKER_LAYER_FOREIGN),
];

impl Family {
    /// Returns what content of `media_type` is called in this family; `None` if it has no name for it.
    ///
    /// Docker's has none for zstd: a few tools write a type of their own, which is read, but which
    /// most readers of schema 2 refuse.
    pub fn name_for(self, media_type: &str) -> Option<&'static str> {
        match (self, media_type) {
            (Self::Oci, OCI_LAYER_ZSTD | DOCKER_LAYER_ZSTD) => Some(OCI_LAYER_ZSTD),
            (Self::Oci, OCI_LAYER_FOREIGN_ZSTD) => Some(OCI_LAYER_FOREIGN_ZSTD),
            (Self::Docker, DOCKER_LAYER_ZSTD) => Some(DOCKER_LAYER_ZSTD),
            _ => {
                let is_meant = |pair: &&(&str, &str)| pair.0 == media_type || pair.1 == media_type;
                let (oci, docker) = PAIRS.iter().find(is_meant)?;
                Some(match self {
                    Self::Oci => oci,
                    Self::Docker => docker,
                })
            }
        }
    }

    /// Returns the descriptor of the same content as a document of this family names it. A type that
    /// the family has no name for stays (MT-07).
    #[must_use]
    pub fn describe(self, content: &Descriptor) -> Descriptor {
        let media_type = self.name_for(&content.media_type);
        Descriptor {
            media_type: media_type.unwrap_or(&content.media_type).to_owned(),
            ..content.clone()
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Oci => "OCI",
            Self::Docker => "Docker",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;
    use crate::media_type::{DOCKER_SCHEMA1, OCI_EMPTY};

    #[test]
    fn names_in_both_families() {
        #[track_caller]
        fn check(media_type: &str, oci: Option<&str>, docker: Option<&str>) {
            assert_eq!(Family::Oci.name_for(media_type), oci, "{media_type}");
            assert_eq!(Family::Docker.name_for(media_type), docker, "{media_type}");
            for name in [oci, docker].into_iter().flatten() {
                assert_eq!(Kind::of(name), Kind::of(media_type), "{media_type} {name}");
            }
        }
        for (oci, docker) in PAIRS {
            check(oci, Some(oci), Some(docker));
            check(docker, Some(oci), Some(docker));
        }
        check(OCI_LAYER_ZSTD, Some(OCI_LAYER_ZSTD), None);
        check(
            DOCKER_LAYER_ZSTD,
            Some(OCI_LAYER_ZSTD),
            Some(DOCKER_LAYER_ZSTD),
        );
        check(OCI_LAYER_FOREIGN_ZSTD, Some(OCI_LAYER_FOREIGN_ZSTD), None);
        check(OCI_EMPTY, None, None);
        check(DOCKER_SCHEMA1, None, None);
        check("application/xml", None, None);
    }
}
