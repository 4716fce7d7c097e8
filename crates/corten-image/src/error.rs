//! Why something could not be done with an image.

use std::io;
use std::path::PathBuf;

use corten_layer::Shown;
use corten_spec::{Digest, Family};

use crate::convert::Loss;

/// The result of working with images.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong with an image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The archive to be imported is no root file system.
    #[error("the archive cannot be imported")]
    Archive {
        /// Why.
        source: corten_layer::Error,
    },
    /// A name in the archive would delete something if it were in a layer (LYR-31).
    #[error(
        "the archive cannot be imported: no layer can hold the name of `{path}`, since `.wh.` means a deletion"
    )]
    Whiteout {
        /// The entry.
        path: Shown,
    },
    /// There is nothing at a path.
    #[error("`{path}` is not in the image{}", suggestion(.directory, .near))]
    NoFile {
        /// What is not there: the path as far as it leads and one name more.
        path: Shown,
        /// The directory in which the name is missing.
        directory: Shown,
        /// Names of that directory that may have been meant.
        near: Vec<Shown>,
    },
    /// A path, or the middle of one, is no directory.
    #[error("`{path}` is not a directory")]
    NotDirectory {
        /// What is none.
        path: Shown,
    },
    /// Something without content was to be read.
    #[error("`{path}` is a {kind}, not a file")]
    NotFile {
        /// What it is called.
        path: Shown,
        /// What it is.
        kind: &'static str,
    },
    /// More layers are to stay than there are.
    #[error("the image has {n_layers} layers, so {n_kept} of them cannot stay")]
    TooFewLayers {
        /// How many there are.
        n_layers: usize,
        /// How many are to stay.
        n_kept: usize,
    },
    /// An image was not made from what is said to be its base.
    #[error(
        "the image was not made from that base: of its {n_base} layers, {n_common} are the image's first ones"
    )]
    NotItsBase {
        /// How many layers the base has.
        n_base: usize,
        /// How many of them are the first ones of the image.
        n_common: usize,
    },
    /// Indexes are nested deeper than anybody does.
    #[error("the index `{digest}` is nested too deep")]
    NestedIndexes {
        /// The index.
        digest: Digest,
    },
    /// A layer asks for more than the limits allow, so that it was not checked to its end.
    #[error("the layer `{layer}` cannot be checked to its end")]
    Unchecked {
        /// The blob.
        layer: Digest,
        /// The limit.
        source: corten_tar::Error,
    },
    /// The files could not be written as a tar.
    #[error("the files cannot be written")]
    Export {
        /// Why.
        source: corten_layer::Error,
    },
    /// The layer could not be written.
    #[error("the layer cannot be written")]
    Write {
        /// Why.
        source: corten_layer::Error,
    },
    /// Content could not be read or stored.
    #[error("the store cannot be used")]
    Content {
        /// Why.
        #[from]
        source: corten_content::Error,
    },
    /// Layers could not be read or stored.
    #[error("the layers cannot be used")]
    Snapshot {
        /// Why.
        #[from]
        source: corten_snapshot::Error,
    },
    /// What is to be converted is no image.
    #[error(
        "`{digest}` is no image but an artifact, `{kind}`, and cannot be converted to {family}'s format"
    )]
    Artifact {
        /// The manifest.
        digest: Digest,
        /// What it calls itself.
        kind: String,
        /// The family that it was to be of.
        family: Family,
    },
    /// A family of formats has no name for what content is.
    #[error(
        "`{digest}` is of the type `{media_type}`, which {family}'s format has no counterpart of"
    )]
    NoCounterpart {
        /// The content.
        digest: Digest,
        /// Its type.
        media_type: String,
        /// The family that it was to be of.
        family: Family,
    },
    /// Some of what documents say would be lost by a conversion.
    #[error("{family}'s format has no place for {}", list(.losses))]
    Unplaced {
        /// The family that they were to be of.
        family: Family,
        /// What would be lost.
        losses: Vec<Loss>,
    },
    /// The documents of an image are larger than those of any real one.
    #[error("its documents are larger than {limit} bytes in all")]
    Documents {
        /// The limit in bytes.
        limit: usize,
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

/// Lists what would be lost, the first few in full.
fn list(losses: &[Loss]) -> String {
    const SHOWN: usize = 5;
    let shown: Vec<String> = losses.iter().take(SHOWN).map(Loss::to_string).collect();
    match losses.len().checked_sub(SHOWN) {
        None | Some(0) => shown.join(", "),
        Some(n_more) => format!("{} and {n_more} more", shown.join(", ")),
    }
}

/// Says what is in the directory that may have been meant.
fn suggestion(directory: &Shown, near: &[Shown]) -> String {
    if near.is_empty() {
        return format!("; the path leads as far as the directory `{directory}`");
    }
    let names: Vec<String> = near.iter().map(|name| format!("`{name}`")).collect();
    format!("; the directory `{directory}` has {}", names.join(", "))
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

    pub(crate) fn archive(source: impl Into<corten_layer::Error>) -> Self {
        Self::Archive {
            source: source.into(),
        }
    }
}
