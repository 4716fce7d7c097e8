//! Why an image cannot be turned into something that runs.

use std::io;
use std::path::PathBuf;

/// The result of working with bundles.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong with a bundle or with a process of an image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The image is for another operating system.
    #[error("the image is for `{os}`; only images for linux can be run or unpacked")]
    UnsupportedOs {
        /// What the image is for.
        os: String,
    },
    /// Neither the image nor the caller says what to run (CNV-10).
    #[error(
        "the image names no command: it has neither `Entrypoint` nor `Cmd`, so give one (`unpack … -- COMMAND`, `run … COMMAND`)"
    )]
    NoCommand,
    /// A volume of the image cannot be mounted.
    #[error("the volume `{path}` of the image cannot be mounted: {reason}")]
    InvalidVolume {
        /// The volume's path.
        path: String,
        /// Why not.
        reason: &'static str,
    },
    /// An id of the process has no counterpart outside its user namespace.
    #[error("the process is to run with the {kind} {id}, which has no mapping")]
    Unmapped {
        /// `user id` or `group id`.
        kind: &'static str,
        /// The id inside.
        id: u32,
    },
    /// The place for a bundle is taken.
    #[error("`{}` is there already and is not an empty directory", .path.display())]
    Exists {
        /// The place.
        path: PathBuf,
    },
    /// A path has no last name, so nothing can be made under it.
    #[error("`{}` cannot be the name of a bundle", .path.display())]
    InvalidPlace {
        /// The path.
        path: PathBuf,
    },
    /// A mount of the caller's cannot be made.
    #[error("`{text}` is not a mount: {reason}")]
    InvalidMount {
        /// What was given.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The image's layers cannot be used.
    #[error("the layers of the image cannot be used")]
    Snapshot {
        /// Why.
        #[from]
        source: corten_snapshot::Error,
    },
    /// The image's tree cannot be read or written.
    #[error("the files of the image cannot be used")]
    Layer {
        /// Why.
        #[from]
        source: corten_layer::Error,
    },
    /// The process could not be started.
    #[error("cannot run `{command}`")]
    Sandbox {
        /// The executable.
        command: String,
        /// Why.
        source: corten_sandbox::Error,
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
        matches!(self, Self::Snapshot { source } if source.is_corrupt())
    }
}
