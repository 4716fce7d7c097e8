//! Why an image cannot be turned into something that runs.

use std::io;
use std::path::PathBuf;

use corten_layer::Shown;
use corten_spec::Digest;

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
    /// Only the image's own system could say which ids a user has.
    #[error(
        "the user `{user}` of an image for `{os}` cannot be looked up; only those of linux can"
    )]
    UnresolvableUser {
        /// The user.
        user: String,
        /// What the image is for.
        os: String,
    },
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
    /// A range of ids makes no sense.
    #[error("`{text}` is not a map of ids: {reason}")]
    InvalidIdMap {
        /// The range, as `CONTAINER:HOST:SIZE`.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The owner of a file has no counterpart on the other side of the container.
    #[error("`{path}` belongs to the {kind} {id} {side}, which has no mapping")]
    UnmappedFile {
        /// The file, in the image.
        path: Shown,
        /// `user id` or `group id`.
        kind: &'static str,
        /// The id.
        id: u32,
        /// `of the image` or `of the host`.
        side: &'static str,
    },
    /// Whoever an access control list names has no counterpart on the other side of the container.
    #[error(
        "the access control list of `{path}` names the {kind} {id} {side}, which has no mapping"
    )]
    UnmappedAccess {
        /// The file, in the image.
        path: Shown,
        /// `user id` or `group id`.
        kind: &'static str,
        /// The id.
        id: u32,
        /// `of the image` or `of the host`.
        side: &'static str,
    },
    /// There is nothing to tell what was changed in a bundle.
    #[error(
        "`{}` is no bundle of ours: it has no file `corten-record`, which `corten unpack` writes", .bundle.display()
    )]
    NoRecord {
        /// The bundle.
        bundle: PathBuf,
    },
    /// What was unpacked cannot be read any more.
    #[error("`{}` is damaged, so what was changed cannot be told", .path.display())]
    DamagedRecord {
        /// The record.
        path: PathBuf,
    },
    /// A bundle was made from another image.
    #[error("the bundle was made from another image\n  expected {expected}\n  received {received}")]
    OtherImage {
        /// The manifest that the bundle was made from.
        expected: Digest,
        /// The manifest that was given.
        received: Digest,
    },
    /// A path that is to be left out of a layer.
    #[error("`{path}` cannot be masked: it is not an absolute path below the root")]
    InvalidMask {
        /// The path.
        path: String,
    },
    /// A bundle changed between being looked at and being packed.
    #[error("`{}` changed while the bundle was packed; nothing was stored under a name", .path.display())]
    ChangedMeanwhile {
        /// What changed first, in the order of paths.
        path: PathBuf,
    },
    /// An image could not be stored.
    #[error("the image cannot be stored")]
    Image {
        /// Why.
        #[from]
        source: corten_image::Error,
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
        match self {
            Self::Snapshot { source } => source.is_corrupt(),
            Self::DamagedRecord { .. } => true,
            _ => false,
        }
    }
}
