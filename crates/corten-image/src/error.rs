//! Why something could not be done with an image.

use std::io;
use std::path::PathBuf;

use corten_layer::Shown;

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
    /// The layer could not be stored.
    #[error("the layer cannot be stored")]
    Snapshot {
        /// Why.
        #[from]
        source: corten_snapshot::Error,
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

    pub(crate) fn archive(source: impl Into<corten_layer::Error>) -> Self {
        Self::Archive {
            source: source.into(),
        }
    }
}
