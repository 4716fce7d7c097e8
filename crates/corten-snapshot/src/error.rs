//! What can go wrong while something is derived from layers.

use std::io;
use std::path::PathBuf;

use corten_spec::{DiffId, Digest};

use crate::RootKind;

/// The result of deriving something from layers.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong with what is derived from layers.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Content could not be read or stored.
    #[error(transparent)]
    Content(#[from] corten_content::Error),
    /// A layer was refused, or a tree could not be written.
    #[error(transparent)]
    Layer(#[from] corten_layer::Error),
    /// The layer of an image could not be used.
    #[error("layer {number} of {n_layers} (`{blob}`) cannot be used")]
    OfImage {
        /// Which layer, counted from 1.
        number: usize,
        /// How many there are.
        n_layers: usize,
        /// Its blob.
        blob: Digest,
        /// Why.
        source: Box<Self>,
    },
    /// The uncompressed bytes of a layer are not those that the config names (rule 79).
    #[error("the layer does not match its DiffID\n  expected {expected}\n  received {received}")]
    DiffIdMismatch {
        /// What the config says.
        expected: DiffId,
        /// What the bytes hash to.
        received: DiffId,
    },
    /// A stored blob is not what it was when it was verified.
    #[error("the blob {digest} is damaged in the store")]
    DamagedBlob {
        /// The digest that its bytes do not have any more.
        digest: Digest,
        /// How that was noticed.
        source: Box<Self>,
    },
    /// Manifest and config disagree on how many layers there are (rule 80).
    #[error("the manifest has {n_layers} layers, but the config names {n_diff_ids} DiffIDs")]
    LayerCount {
        /// Layers of the manifest.
        n_layers: usize,
        /// DiffIDs of the config.
        n_diff_ids: usize,
    },
    /// A layer is of a type that we do not know how to read.
    #[error("a layer of the type `{media_type}` cannot be unpacked: {}", crate::encoding::unknown(.media_type))]
    UnknownLayer {
        /// Its media type.
        media_type: String,
    },
    /// A layer is compressed with what only other archives are compressed with.
    #[error(
        "the layer is compressed with {found}, which no layer may be: known are plain tars, gzip and zstd"
    )]
    ForeignCompression {
        /// What it is.
        found: corten_tar::Encoding,
    },
    /// A table of files is not what was written; it was removed.
    #[error("the table `{}` was damaged and has been removed; it is made again when it is next needed", .path.display())]
    DamagedTable {
        /// Where it was.
        path: PathBuf,
    },
    /// Compressing failed.
    #[error("the layer cannot be compressed")]
    Compress {
        /// Why.
        source: corten_tar::Error,
    },
    /// A kind of root cannot be had for an image, or on this machine.
    #[error("the image cannot be shown by the kind `{kind}`")]
    KindUnusable {
        /// The kind.
        kind: RootKind,
        /// Why not.
        source: Box<Self>,
    },
    /// Something is mounted there already, by us.
    #[error("an image is mounted on `{}` already", .path.display())]
    Mounted {
        /// The directory.
        path: PathBuf,
    },
    /// Nothing is mounted there.
    #[error("nothing is mounted on `{}`", .path.display())]
    NotMounted {
        /// The directory.
        path: PathBuf,
    },
    /// What is mounted there was not mounted by us.
    #[error("what is mounted on `{}` is no image of this store", .path.display())]
    NotOurs {
        /// The directory.
        path: PathBuf,
    },
    /// Processes use what is mounted there.
    #[error("`{}` is in use: it is the working directory of a process, or a process has a file of it open", .path.display())]
    Busy {
        /// The directory.
        path: PathBuf,
    },
    /// A system call failed.
    #[error("cannot {action} `{}`", .path.display())]
    System {
        /// What was being done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

impl Error {
    /// Returns a function that turns a failed system call on `path` into an error.
    pub fn system(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::System {
            action,
            path,
            source,
        }
    }

    /// Tells whether content did not verify, which is exit code 3.
    pub fn is_corrupt(&self) -> bool {
        match self {
            Self::Content(error) => error.is_corrupt(),
            Self::OfImage { source, .. } | Self::KindUnusable { source, .. } => source.is_corrupt(),
            Self::DiffIdMismatch { .. } | Self::LayerCount { .. } | Self::DamagedBlob { .. } => {
                true
            }
            Self::Layer(_)
            | Self::UnknownLayer { .. }
            | Self::ForeignCompression { .. }
            | Self::DamagedTable { .. }
            | Self::Compress { .. }
            | Self::Mounted { .. }
            | Self::NotMounted { .. }
            | Self::NotOurs { .. }
            | Self::Busy { .. }
            | Self::System { .. } => false,
        }
    }
}
