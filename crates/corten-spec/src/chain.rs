//! The identities of layers and images (config.md#layer-diffid, #layer-chainid, #imageid).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Digest;

/// The digest of a layer's tar before compression: every byte, also those after the end marker.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DiffId(pub Digest);

/// The name of a layer on top of those beneath it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChainId(pub Digest);

/// The digest of an image's config, as its bytes are stored.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ImageId(pub Digest);

impl ChainId {
    /// Returns the name of `layer` alone.
    pub fn base(layer: &DiffId) -> Self {
        Self(layer.0.clone())
    }

    /// Returns the name of `layer` on top of what `self` names.
    #[must_use]
    pub fn then(&self, layer: &DiffId) -> Self {
        Self(Digest::sha256(format!("{} {}", self.0, layer.0).as_bytes()))
    }

    /// Returns the name of a whole stack, or `None` for an empty one.
    pub fn of(layers: &[DiffId]) -> Option<Self> {
        let (first, rest) = layers.split_first()?;
        Some(
            rest.iter()
                .fold(Self::base(first), |chain, layer| chain.then(layer)),
        )
    }
}

macro_rules! shown_as_its_digest {
    ($($name:ident)*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }
    )*};
}

shown_as_its_digest!(DiffId ChainId ImageId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chain_of_layers() {
        let layer = |text: &str| DiffId(Digest::sha256(text.as_bytes()));
        let (a, b, c) = (layer("a"), layer("b"), layer("c"));
        let expected_ab = Digest::sha256(format!("{a} {b}").as_bytes());
        let expected_abc = Digest::sha256(format!("{expected_ab} {c}").as_bytes());

        assert_eq!(ChainId::of(&[]), None);
        assert_eq!(
            ChainId::of(std::slice::from_ref(&a)),
            Some(ChainId(a.0.clone()))
        );
        assert_eq!(
            ChainId::of(&[a.clone(), b.clone()]),
            Some(ChainId(expected_ab))
        );
        assert_eq!(ChainId::of(&[a, b, c]), Some(ChainId(expected_abc)));
    }
}
