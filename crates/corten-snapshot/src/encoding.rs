//! What a layer's type says of its compression, and what its first bytes say.
//!
//! Layers whose bytes are of another compression than their type are common: plain tars under the name
//! of gzip, above all. The specification does not say which of the two counts; the DiffID tells whether
//! the reading was right. So the bytes decide, as they do for Docker and containerd, and the difference
//! is worth a warning (LYR-01).

use std::fmt;
use std::io::Read;

use corten_content::Source;
use corten_spec::Kind;
use corten_spec::media_type::LayerCompression;
use corten_tar::{Encoding, sniff};

use crate::{Error, LayerRef, Result};

/// A layer whose bytes are not what its type says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misnamed {
    /// Which layer, counted from 1.
    pub number: usize,
    /// Its type.
    pub media_type: String,
    /// What its bytes are.
    pub found: Encoding,
}

impl fmt::Display for Misnamed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "layer {} is of the type `{}`, but its bytes are {}; it was read as what it is",
            self.number, self.media_type, self.found
        )
    }
}

/// Returns those of `layers`, an image's layers in their order, that are not what their types say.
///
/// Reads the first bytes of each from `source`, unchecked.
pub fn misnamed(source: &dyn Source, layers: &[LayerRef]) -> Result<Vec<Misnamed>> {
    let mut found = Vec::new();
    for (layer_idx, layer) in layers.iter().enumerate() {
        let Kind::Layer { compression, .. } = layer.blob.kind() else {
            continue;
        };
        let mut prefix = Vec::new();
        source
            .fetch(&layer.blob, 0)?
            .take(10)
            .read_to_end(&mut prefix)
            .map_err(|error| {
                corten_content::Error::stream(format!("read `{}`", layer.blob.digest), error)
            })?;
        let encoding = sniff(&prefix);
        if encoding != named(compression) {
            found.push(Misnamed {
                number: layer_idx + 1,
                media_type: layer.blob.media_type.clone(),
                found: encoding,
            });
        }
    }
    Ok(found)
}

/// Refuses what no layer is compressed with: other programs would take such a layer for damaged.
pub(crate) fn check(found: Encoding) -> Result<()> {
    match found {
        Encoding::Identity | Encoding::Gzip | Encoding::Zstd => Ok(()),
        Encoding::Xz | Encoding::Bzip2 => Err(Error::ForeignCompression { found }),
    }
}

fn named(compression: LayerCompression) -> Encoding {
    match compression {
        LayerCompression::None => Encoding::Identity,
        LayerCompression::Gzip => Encoding::Gzip,
        LayerCompression::Zstd => Encoding::Zstd,
    }
}

/// Returns why a layer of `media_type`, which is not known, cannot be read.
pub(crate) fn unknown(media_type: &str) -> String {
    let known = "known are plain tars, gzip and zstd";
    let suffix = media_type
        .strip_prefix("application/vnd.oci.image.layer.v1.tar+")
        .or_else(|| media_type.strip_prefix("application/vnd.docker.image.rootfs.diff.tar."));
    match suffix {
        Some(suffix) if suffix.ends_with("encrypted") => {
            "it is encrypted, and keys are not supported".to_owned()
        }
        Some(suffix) => format!("its compression `{suffix}` is not supported; {known}"),
        None => known.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_that_are_not_known() {
        #[track_caller]
        fn check(media_type: &str, part: &str) {
            let text = Error::UnknownLayer {
                media_type: media_type.to_owned(),
            }
            .to_string();
            assert!(text.contains(media_type) && text.contains(part), "{text}");
        }
        check(
            "application/vnd.oci.image.layer.v1.tar+lz4",
            "its compression `lz4` is not supported",
        );
        check(
            "application/vnd.docker.image.rootfs.diff.tar.xz",
            "its compression `xz` is not supported",
        );
        check(
            "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
            "it is encrypted",
        );
        check("application/vnd.in-toto+json", "known are plain tars");
    }
}
