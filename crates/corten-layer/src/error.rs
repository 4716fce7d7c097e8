//! Why a layer is refused, or a tree cannot be read or written.

use std::io;
use std::path::PathBuf;

use corten_spec::DiffId;

use crate::path::Shown;
use crate::users::UserProblem;

/// The result of working with layers and trees.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong with a layer or a tree.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The layer is not a tar that we accept.
    #[error("the layer is not a valid tar")]
    Tar {
        /// What is wrong with it.
        #[from]
        source: corten_tar::Error,
    },
    /// An entry breaks a rule, so the layer is refused whole.
    #[error("the entry `{path}` is refused: {reason}")]
    Refused {
        /// The entry, as the layer writes it.
        path: Shown,
        /// Which rule it breaks.
        reason: &'static str,
    },
    /// A path is not in the tree.
    #[error("`{path}` is not in the image")]
    NotFound {
        /// The path.
        path: Shown,
    },
    /// A path is in the tree but is not of the kind that is needed.
    #[error("`{path}` is not {expected}")]
    WrongKind {
        /// The path.
        path: Shown,
        /// What is needed, such as `a directory`.
        expected: &'static str,
    },
    /// Too many symbolic links on one path.
    #[error("`{path}` leads through more than 40 symbolic links")]
    Loop {
        /// The path.
        path: Shown,
    },
    /// Something cannot be represented in a layer.
    #[error("`{path}` cannot be put into a layer: {reason}")]
    Unrepresentable {
        /// The path.
        path: Shown,
        /// Why.
        reason: &'static str,
    },
    /// Nobody can tell who owns something, where a user namespace has one id.
    #[error("the owner of `{path}` is not known: {reason}")]
    OwnerUnknown {
        /// The path.
        path: Shown,
        /// Why.
        reason: &'static str,
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
    /// The bytes of a file could not be read.
    #[error("cannot read the content of `{path}`")]
    Content {
        /// The file.
        path: Shown,
        /// Why.
        source: io::Error,
    },
    /// A file changed between being looked at and being read.
    #[error("`{path}` changed while it was read: it was {expected} bytes long")]
    Changed {
        /// The file.
        path: Shown,
        /// Its length when it was looked at.
        expected: u64,
    },
    /// Writing the result failed.
    #[error("cannot write the layer")]
    Output {
        /// Why.
        source: io::Error,
    },
    /// The bytes of a layer are not to be had.
    #[error("the bytes of layer {diff_id} are not here")]
    NoBytes {
        /// The layer.
        diff_id: DiffId,
    },
    /// A user or a group cannot be found in the image's tables.
    #[error("the user `{text}` cannot be used: {problem}")]
    User {
        /// What was asked for.
        text: String,
        /// Why it is none.
        problem: UserProblem,
    },
    /// A record of owners beside a root is not one that we wrote.
    #[error("the record of owners is damaged at line {line}")]
    DamagedRecord {
        /// The line, counted from 1.
        line: usize,
    },
    /// Something cannot be represented in an EROFS index.
    #[error("`{path}` cannot be put into an EROFS index: {reason}")]
    Unindexable {
        /// The path.
        path: Shown,
        /// Why.
        reason: &'static str,
    },
    /// A tree is too large for an EROFS index.
    #[error("the image does not fit into an EROFS index: it has more than {maximum} {what}")]
    IndexLimit {
        /// What it has too much of.
        what: &'static str,
        /// How much there may be.
        maximum: u64,
    },
    /// An EROFS index could not be written.
    #[error("cannot write the EROFS index")]
    IndexOutput {
        /// Why.
        source: io::Error,
    },
    /// A stored header or EROFS index cannot be read; it is derived and can be made again.
    #[error("the index is damaged")]
    DamagedIndex,
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

    pub(crate) fn refused(path: &[u8], reason: &'static str) -> Self {
        Self::Refused {
            path: path.into(),
            reason,
        }
    }
}
