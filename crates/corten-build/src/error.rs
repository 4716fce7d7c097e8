//! Why a build stopped.

use std::io;
use std::path::PathBuf;

use corten_dockerfile::Diagnostic;
use corten_spec::Digest;

/// The result of building.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a build stopped. What was built before stays in the cache.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The Dockerfile cannot be built; nothing was run.
    #[error("{}", .rendered.join("\n"))]
    Dockerfile {
        /// What is wrong where, drawn with the lines in question.
        rendered: Vec<String>,
    },
    /// The request names a stage that is not there, and whose steps were not to be looked up; nothing was run.
    #[error("there is no stage `{name}` whose cache could be ignored")]
    UncachedStage {
        /// How the request names it.
        name: String,
    },
    /// An ignore file cannot be read.
    #[error("cannot use the ignore file `{}`", .path.display())]
    Ignore {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: corten_dockerfile::Error,
    },
    /// A base image is not to be had.
    #[error("cannot get the image `{name}`")]
    Base {
        /// Its name in the Dockerfile.
        name: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A command failed.
    #[error("`{command}` ended with {status}\n{tail}")]
    Run {
        /// The command as history shows it.
        command: String,
        /// How it ended.
        status: String,
        /// The last lines that it wrote.
        tail: String,
        /// Whether no space was left for what it wrote when it ended.
        is_disk_full: bool,
    },
    /// A command could not be started.
    #[error("cannot run `{command}`")]
    Sandbox {
        /// The command as history shows it.
        command: String,
        /// Why.
        source: corten_sandbox::Error,
    },
    /// Commands cannot be isolated here as they are to be; nothing was run.
    #[error("cannot isolate the commands of RUN")]
    Isolation {
        /// Why.
        source: corten_sandbox::Error,
    },
    /// A stage that runs commands is for a system or a processor whose programs do not run here. Nothing was
    /// run, unless a cache could have had what they make.
    #[error(
        "there is a RUN for {platform}, which does not run on this machine, {machine}: {reason}\n  {advice}"
    )]
    Foreign {
        /// What the stage is for.
        platform: String,
        /// What this machine is.
        machine: String,
        /// Why its programs do not run.
        reason: &'static str,
        /// What would make them run.
        advice: String,
    },
    /// There is a RUN, and nothing may be run.
    #[error("there is a RUN, and nothing may be run (isolation `none`)")]
    RunRefused,
    /// A command is to run as somebody whom a user namespace of one id does not have.
    #[error("there is no user `{user}` where commands are isolated by `userns-one`: only root")]
    UserRefused {
        /// Whom USER names.
        user: String,
    },
    /// A directory was to be mounted where nothing can be.
    #[error("nothing can be mounted at `{}` where commands are isolated by chroot alone", .destination.display())]
    MountRefused {
        /// The mount point.
        destination: PathBuf,
    },
    /// The build was told to stop, or another stage failed; the commands that ran were killed.
    #[error("the build was stopped")]
    Stopped,
    /// An archive that ADD unpacks is damaged.
    #[error("cannot unpack the archive `{path}`")]
    Archive {
        /// The archive.
        path: corten_layer::Shown,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What `ADD` names by an address is not to be had.
    #[error("cannot fetch `{address}`")]
    Fetch {
        /// The address, without any password.
        address: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The repository has another commit than the one that was asked for.
    #[error("`{address}` has another commit\n  expected {expected}\n  received {received}")]
    WrongCommit {
        /// The address, without any password.
        address: String,
        /// The start of the commit that `--checksum` or the address has.
        expected: String,
        /// The commit that was found.
        received: String,
    },
    /// A source policy cannot be used.
    #[error("cannot use the source policy: {reason}")]
    Policy {
        /// What is wrong with it.
        reason: String,
    },
    /// A source policy forbids it.
    #[error("the source policy denies `{source_name}`")]
    Denied {
        /// What it is, as policies name it.
        source_name: String,
    },
    /// A lock file does not have it.
    #[error("the lock file does not have `{source_name}`")]
    Unlocked {
        /// What it is.
        source_name: String,
    },
    /// A lock file cannot be read.
    #[error("cannot use the lock file: {reason}")]
    Lock {
        /// What is wrong with it.
        reason: String,
    },
    /// A step failed, at a place in the Dockerfile.
    #[error("{location}")]
    At {
        /// The place, drawn.
        location: String,
        /// What failed.
        source: Box<Self>,
    },
    /// A private key of SSH cannot be used.
    #[error("cannot use the key: {reason}")]
    SshKey {
        /// Why.
        reason: &'static str,
    },
    /// The image has a layer that is not to be had; it was not stored.
    #[error(
        "the image has the layer {blob}, which is neither in the store nor where its bases and caches \
         are from\n  pull the base image again"
    )]
    LayerMissing {
        /// The blob, as manifests name it.
        blob: Digest,
    },
    /// Content could not be read or stored.
    #[error(transparent)]
    Content(#[from] corten_content::Error),
    /// A layer could not be written or read.
    #[error(transparent)]
    Layer(#[from] corten_layer::Error),
    /// Something derived from layers could not be made.
    #[error(transparent)]
    Snapshot(#[from] corten_snapshot::Error),
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
}

/// What goes wrong in a step: a message about the Dockerfile, or something beneath it.
#[derive(Debug)]
pub(crate) enum StepError {
    /// The instruction asks for something that is not there.
    Diagnostic(Diagnostic),
    /// Something failed.
    Failed(Error),
}

impl<E: Into<Error>> From<E> for StepError {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl StepError {
    pub(crate) fn at(span: corten_dockerfile::Span, message: impl Into<String>) -> Self {
        Self::Diagnostic(Diagnostic::new(message, span))
    }
}

pub(crate) type StepResult<T> = std::result::Result<T, StepError>;
