//! Where base images and named contexts come from: the caller knows, the builder does not.

use std::path::PathBuf;

use corten_content::ImageDocuments;
use corten_dockerfile::Ignore;
use corten_snapshot::LayerSource;
use corten_spec::{Digest, Platform};

use crate::remote::{NoRemotes, Remotes};

/// Finds what names in a Dockerfile stand for.
///
/// Several stages may ask at the same time.
pub trait Bases: Sync {
    /// Returns what `name` stands for in `FROM` or `--from`.
    ///
    /// An image must be in the store, whole, when this returns, unless [`layers`](Self::layers) brings
    /// what is missing of its layers.
    fn find(
        &self,
        name: &str,
        platform: &Platform,
    ) -> Result<Named, Box<dyn std::error::Error + Send + Sync>>;

    /// Returns what has the layers of the images found that are not in the store.
    fn layers(&self) -> Option<&dyn LayerSource> {
        None
    }

    /// Returns what fetches the addresses of `ADD`; nothing is fetched unless this is overridden.
    fn remotes(&self) -> &dyn Remotes {
        &NoRemotes
    }
}

/// What a name stands for.
#[derive(Debug, Clone)]
pub enum Named {
    /// An image.
    Image(Box<BaseImage>),
    /// Nothing: `docker-image://scratch`.
    Scratch,
    /// A directory or an uncompressed tar: where FROM names it, it is all files of the image.
    Directory {
        /// Where it is.
        path: PathBuf,
        /// What is left out of a directory.
        ignore: Ignore,
    },
}

/// An image, whose layers are in the store or come there when they are needed.
#[derive(Debug, Clone)]
pub struct BaseImage {
    /// Its manifest and config.
    pub documents: ImageDocuments,
    /// Its reference, normalised, if it is one of a registry (ANN-14).
    pub reference: Option<String>,
    /// What the name resolved to: the digest of the index, where there is one.
    pub digest: Digest,
}

/// Knows no image: for Dockerfiles that begin from scratch.
#[derive(Debug, Clone, Copy)]
pub struct NoBases;

impl Bases for NoBases {
    fn find(
        &self,
        name: &str,
        _platform: &Platform,
    ) -> Result<Named, Box<dyn std::error::Error + Send + Sync>> {
        Err(format!("`{name}` is not known here").into())
    }
}
