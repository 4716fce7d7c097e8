//! What can go wrong with an archive.

use std::io;
use std::path::PathBuf;

use corten_spec::Digest;

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an archive could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The tar, or its compression, is damaged or larger than is allowed.
    #[error("cannot read {place}")]
    Read {
        /// The archive.
        place: String,
        /// What is wrong with it.
        source: corten_tar::Error,
    },
    /// The tar could not be written.
    #[error("cannot write {place}")]
    Write {
        /// The archive.
        place: String,
        /// Why not.
        source: corten_tar::Error,
    },
    /// A member that the archive must have, or that its documents name, is not there.
    ///
    /// So is a member whose links lead out of the archive or nowhere.
    #[error("{place} has no member `{member}`")]
    Missing {
        /// The archive.
        place: String,
        /// The member's name.
        member: String,
    },
    /// A document of the archive breaks its format.
    #[error("`{member}` of {place} cannot be used")]
    Document {
        /// The archive.
        place: String,
        /// The document's name in it.
        member: String,
        /// What is wrong with it.
        source: Box<corten_spec::Error>,
    },
    /// A document occurs twice in the archive, so that tools differ in which of them they read.
    #[error("`{member}` occurs more than once in {place}")]
    Repeated {
        /// The archive.
        place: String,
        /// The document's name in it.
        member: &'static str,
    },
    /// A layer is compressed in a way that no layer may be.
    #[error("the layer `{member}` of {place} is compressed with {encoding}")]
    Compression {
        /// The archive.
        place: String,
        /// The layer's name in it.
        member: String,
        /// The compression.
        encoding: corten_tar::Encoding,
    },
    /// An index was to be written to an archive of Docker's, where an image has one platform.
    #[error("`{digest}` is an index, and {place} can only hold images for one platform each")]
    Index {
        /// The index.
        digest: Digest,
        /// The archive.
        place: String,
    },
    /// Content on its way into the archive, or out of it, could not be used.
    #[error("cannot use the content of {place}")]
    Content {
        /// The archive.
        place: String,
        /// Why not.
        source: Box<corten_content::Error>,
    },
    /// What is to be replaced by the archive is no file, such as a pipe or a directory.
    #[error("`{}` is not a regular file, so no archive can take its place", .path.display())]
    NotAFile {
        /// What is there.
        path: PathBuf,
    },
    /// A system call failed.
    #[error("cannot {action} `{}`", .path.display())]
    System {
        /// What was being done, such as `create`.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

impl Error {
    /// Returns a function that turns a failed system call on `path` into an error.
    pub(crate) fn system(
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

    /// Returns a function that says that content of `place` is the reason.
    pub(crate) fn content(place: &str) -> impl Fn(corten_content::Error) -> Self {
        move |source| Self::Content {
            place: place.to_owned(),
            source: Box::new(source),
        }
    }
}

impl From<Error> for corten_content::Error {
    fn from(error: Error) -> Self {
        let place = match error {
            Error::Content { source, .. } => return *source,
            Error::System {
                action,
                path,
                source,
            } => {
                return Self::System {
                    action,
                    path,
                    source,
                };
            }
            Error::Read { ref place, .. }
            | Error::Write { ref place, .. }
            | Error::Missing { ref place, .. }
            | Error::Document { ref place, .. }
            | Error::Repeated { ref place, .. }
            | Error::Compression { ref place, .. }
            | Error::Index { ref place, .. } => place.clone(),
            Error::NotAFile { ref path } => path.display().to_string(),
        };
        Self::Place {
            place,
            source: Box::new(error),
        }
    }
}
