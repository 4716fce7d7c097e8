//! How commands are kept apart from this machine: `--isolation`, and their end on Ctrl-C.

use std::time::Duration;

use clap::{Args, ValueEnum};
use corten_build::request::Isolations;
use corten_sandbox::{Cancel, before_ending};

use crate::error::CommandError;

#[derive(Debug, Args)]
pub(crate) struct IsolationArgs {
    /// How to isolate the commands of RUN; what this machine does not allow is an error before anything
    /// runs
    #[arg(long, value_enum, default_value_t, value_name = "HOW")]
    isolation: Isolation,
}

/// What may be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Isolation {
    /// The first of those below that works
    #[default]
    Auto,
    /// As root, with namespaces and an overlay
    Root,
    /// The same in a user namespace, as an ordinary user
    Userns,
    /// As root in a directory, without mounts and namespaces: in a default container
    Chroot,
    /// Nothing may be run
    None,
}

impl IsolationArgs {
    /// Tells whether an ordinary user's program is to become root of a user namespace.
    pub(crate) fn may_enter_user_namespace(&self) -> bool {
        matches!(self.isolation, Isolation::Auto | Isolation::Userns)
    }

    /// Returns what the build may use.
    pub(crate) fn isolations(&self) -> Isolations {
        match self.isolation {
            Isolation::Auto => Isolations::Any,
            Isolation::Root => Isolations::Only(corten_sandbox::Isolation::Root),
            Isolation::Userns => Isolations::Only(corten_sandbox::Isolation::UserNamespace),
            Isolation::Chroot => Isolations::Only(corten_sandbox::Isolation::Chroot),
            Isolation::None => Isolations::None,
        }
    }
}

/// How long it may take to remove what commands leave, who have ended at once: a directory of all files of
/// a stage is more than some. What is still there then is left to `gc`. A second signal waits for nothing.
const PATIENCE: Duration = Duration::from_secs(10);

/// Returns what ends the commands of the build when a signal ends this program.
pub(crate) fn cancelled_by_signals() -> Result<Cancel, CommandError> {
    let cancel = Cancel::new().map_err(CommandError::caused)?;
    let heeded = cancel.clone();
    before_ending(move || heeded.cancel(PATIENCE)).map_err(CommandError::caused)?;
    Ok(cancel)
}
