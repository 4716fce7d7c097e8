//! What can go wrong, and how the child tells its parent.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::isolation::{Verdict, reasons};
use crate::probe::Probe;

/// Why a process could not be run, or a user namespace not be entered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// This machine lets this user make no sandbox; the probe says why and what would help.
    #[error("this machine does not let this user isolate a process\n{probe}")]
    Unavailable {
        /// Everything that was tried.
        probe: Box<Probe>,
    },
    /// The way of isolation that was asked for, or any at all, cannot be had here.
    #[error(
        "this machine does not let a command be isolated\n{}",
        reasons(verdicts)
    )]
    IsolationUnavailable {
        /// What keeps from each way that would have done.
        verdicts: Vec<Verdict>,
    },
    /// Everything was asked to end.
    #[error("interrupted")]
    Cancelled,
    /// Limits were asked for that cannot be set here.
    #[error("memory, processors and processes cannot be limited: {reason}")]
    Limits {
        /// What keeps from it.
        reason: String,
    },
    /// A limit of a process was asked for that is above this process' own.
    #[error("`{limit}` cannot be set: this process itself is held to {own}")]
    ResourceLimit {
        /// The limit, as in `nofile=1024:2048`.
        limit: String,
        /// The highest value that there can be.
        own: u64,
    },
    /// The sandbox could not be set up.
    #[error("failed {doing} `{}`", path.display())]
    SetUp {
        /// What was being done, as in `mounting`.
        doing: String,
        /// To what: a path, or the name of the thing.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// No directory of the `PATH` has the executable.
    #[error("executable `{executable}` not found in $PATH of the image (`{path}`)")]
    ExecutableNotFound {
        /// What was asked for.
        executable: String,
        /// The value of `PATH`.
        path: String,
    },
    /// The executable is there, or was given by path, and did not start.
    #[error("cannot execute `{executable}`{}", exec_hint(source))]
    Exec {
        /// The path that was tried.
        executable: String,
        /// The system's answer.
        source: io::Error,
    },
    /// The working directory is missing, no directory, or outside the root.
    #[error("cannot use `{}` as the working directory", path.display())]
    WorkingDirectory {
        /// The directory, inside the root.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A value of the sandbox can be no process' value.
    #[error("{field} of the sandbox is not valid: `{value}`")]
    Invalid {
        /// The field.
        field: &'static str,
        /// What it holds.
        value: String,
    },
    /// The child could not be started, or talking with it failed.
    #[error("failed {doing}")]
    Child {
        /// What was being done.
        doing: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// This executable does not call [`init_if_child`](crate::init_if_child) first thing in `main`.
    #[error("the child did not set up the sandbox: `main` does not begin with `init_if_child`")]
    NotAChild,
    /// `/etc/subuid` or `/etc/subgid` gives the user no ids.
    #[error("`{file}` has no range for user {user}", file = file.display())]
    NoSubordinateIds {
        /// The file.
        file: PathBuf,
        /// The user's name or number.
        user: String,
    },
    /// `newuidmap` or `newgidmap` is missing or refused.
    #[error("`{tool}` did not map the ids: {reason}")]
    IdMap {
        /// The tool.
        tool: &'static str,
        /// Its message, or why it did not run.
        reason: String,
    },
}

impl Error {
    /// Returns whether the machine, not the sandbox, is at fault.
    pub fn is_unavailable(&self) -> bool {
        matches!(
            self,
            Self::Unavailable { .. }
                | Self::IsolationUnavailable { .. }
                | Self::Limits { .. }
                | Self::ResourceLimit { .. }
                | Self::NoSubordinateIds { .. }
                | Self::IdMap { .. }
        )
    }
}

/// Says what the bare answer of execve(2) hides.
fn exec_hint(source: &io::Error) -> &'static str {
    match source.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOENT) => ": it, its interpreter or its dynamic loader is missing in the image",
        Some(Errno::NOEXEC) => ": it is for another architecture, or a script without `#!`",
        _ => "",
    }
}

/// What a child sends when it cannot go on; [`Error`] is what its parent makes of it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Failure {
    SetUp {
        doing: String,
        path: String,
        errno: i32,
    },
    ExecutableNotFound {
        executable: String,
        path: String,
    },
    Exec {
        executable: String,
        errno: i32,
    },
    WorkingDirectory {
        path: String,
        errno: i32,
    },
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::SetUp { doing, path, errno } => Self::SetUp {
                doing,
                path: path.into(),
                source: io::Error::from_raw_os_error(errno),
            },
            Failure::ExecutableNotFound { executable, path } => {
                Self::ExecutableNotFound { executable, path }
            }
            Failure::Exec { executable, errno } => Self::Exec {
                executable,
                source: io::Error::from_raw_os_error(errno),
            },
            Failure::WorkingDirectory { path, errno } => Self::WorkingDirectory {
                path: path.into(),
                source: io::Error::from_raw_os_error(errno),
            },
        }
    }
}

/// Says what was being done to what when a system call failed.
pub(crate) trait Doing<T> {
    /// Wraps the error for the child's report.
    fn doing(self, doing: &str, path: &Path) -> Result<T, Failure>;
}

impl<T> Doing<T> for Result<T, Errno> {
    fn doing(self, doing: &str, path: &Path) -> Result<T, Failure> {
        self.map_err(|errno| Failure::SetUp {
            doing: doing.to_owned(),
            path: path.to_string_lossy().into_owned(),
            errno: errno.raw_os_error(),
        })
    }
}

/// Says what the parent was doing when a system call failed.
pub(crate) trait Talking<T> {
    /// Wraps the error as [`Error::Child`].
    fn talking(self, doing: &'static str) -> Result<T, Error>;
}

impl<T, E: Into<io::Error>> Talking<T> for Result<T, E> {
    fn talking(self, doing: &'static str) -> Result<T, Error> {
        self.map_err(|source| Error::Child {
            doing,
            source: source.into(),
        })
    }
}
