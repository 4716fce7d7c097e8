//! What can go wrong while content is moved.

use std::io;
use std::path::PathBuf;

use corten_spec::{Digest, Platform};

/// The result of moving content.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong while content was read, written or looked up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A tag, a digest or a name is not there.
    #[error("`{name}` is not in {place}")]
    NotFound {
        /// What was looked for.
        name: String,
        /// Where.
        place: String,
    },
    /// Several things have the name, and nothing tells them apart.
    #[error("`{name}` is ambiguous in {place}: {}", .candidates.join(", "))]
    Ambiguous {
        /// What was looked for.
        name: String,
        /// Where.
        place: String,
        /// What was found.
        candidates: Vec<String>,
    },
    /// No manifest of an index fits the platform.
    #[error("no image for {wanted} in `{name}`; {}", offer(.offered))]
    NoPlatform {
        /// What was looked for.
        wanted: Box<Platform>,
        /// The index.
        name: String,
        /// The platforms that it has.
        offered: Vec<String>,
    },
    /// Content is not what its descriptor says.
    #[error("content from {place} did not verify")]
    Corrupt {
        /// Where it came from, such as a path or a URL.
        place: String,
        /// What differs.
        source: Box<corten_spec::Error>,
    },
    /// A document breaks its specification, or a digest cannot be computed.
    #[error("{what} cannot be used")]
    Invalid {
        /// What was being read, such as `manifest sha256:…`.
        what: String,
        /// What is wrong with it.
        source: Box<corten_spec::Error>,
    },
    /// A place's own rules are broken, such as an image layout without an `index.json`.
    #[error("{place} is not usable: {reason}")]
    Unusable {
        /// The place.
        place: String,
        /// What is wrong with it.
        reason: String,
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
    /// Reading or writing a stream failed.
    #[error("cannot {action}")]
    Stream {
        /// What was being done, such as `copy sha256:…`.
        action: String,
        /// Why it failed.
        source: io::Error,
    },
    /// A place refused for a reason of its own, such as a registry's.
    #[error("{place} failed")]
    Place {
        /// The place.
        place: String,
        /// What it said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A blob that a document refers to is not there.
    #[error("`{digest}`, which {parent} refers to, is not in {place}")]
    Missing {
        /// The blob.
        digest: Digest,
        /// What refers to it.
        parent: String,
        /// Where it should be.
        place: String,
    },
    /// The work was cancelled.
    #[error("cancelled")]
    Cancelled,
}

fn offer(platforms: &[String]) -> String {
    if platforms.is_empty() {
        return "it names no platforms".to_owned();
    }
    format!("there is: {}", platforms.join(", "))
}

impl Error {
    /// Returns an error of a stream; one of ours that travelled through [`io::Read`] is taken out
    /// again, so that a wrong digest is never reported as a failure to read.
    pub fn stream(action: impl Into<String>, source: io::Error) -> Self {
        source.downcast().unwrap_or_else(|source| Self::Stream {
            action: action.into(),
            source,
        })
    }

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

    /// Tells whether what was looked for is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. } | Self::Missing { .. })
    }

    /// Tells whether there was no room on a disk, or none that the user may take.
    pub fn is_disk_full(&self) -> bool {
        let (Self::System { source, .. } | Self::Stream { source, .. }) = self else {
            return false;
        };
        matches!(
            source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        )
    }

    /// Tells whether content did not verify, which is exit code 3.
    pub fn is_corrupt(&self) -> bool {
        matches!(self, Self::Corrupt { .. })
    }
}

impl From<corten_spec::Error> for Error {
    fn from(source: corten_spec::Error) -> Self {
        let source = Box::new(source);
        if source.is_mismatch() {
            Self::Corrupt {
                place: "memory".into(),
                source,
            }
        } else {
            Self::Invalid {
                what: "a document".into(),
                source,
            }
        }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        Self::other(error)
    }
}
