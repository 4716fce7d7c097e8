//! How an ordinary user's command becomes root: the program again, in a user namespace.

use std::path::Path;
use std::process::ExitCode;

use corten_sandbox::{
    IdMap, Isolation, Tier, choose, probe, probe_one_id, reexec_in_user_namespace,
};

use crate::context::Context;
use crate::error::CommandError;

/// Which ids a command needs to be root of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ids {
    /// The user's own and its subordinate ones.
    Many,
    /// The user's own alone.
    One,
    /// As many as there are.
    Any,
}

/// Runs this command again as root of a user namespace, and returns what it ended with; `None` if
/// this is root already.
pub(crate) fn enter(ids: Ids, ctx: &Context) -> Result<Option<ExitCode>, CommandError> {
    if rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    ctx.output.detail("running again in a user namespace");
    let many = || IdMap::for_this_user().and_then(|map| reexec_in_user_namespace(&map));
    let one = || reexec_in_user_namespace(&IdMap::only_this_user());
    let ended = match ids {
        Ids::Many => many(),
        Ids::One => one(),
        Ids::Any => match many() {
            // Nothing has run. If this fails too, the advice is about the other.
            Err(error) if error.is_unavailable() => one().map_err(|_| error),
            ended => ended,
        },
    };
    match ended {
        Ok(status) => Ok(Some(exit_code(status.code()))),
        // A build can do without one.
        Err(error) if ids == Ids::Any && can_supervise() => {
            let detail = format!("no user namespace can be had: {error}");
            ctx.output.detail(&detail);
            Ok(None)
        }
        // The probe tells more than the first call that failed, and has advice.
        Err(error) => {
            let probe = if ids == Ids::One {
                probe_one_id()
            } else {
                probe()
            };
            Err(CommandError::caused(probe.require().err().unwrap_or(error)))
        }
    }
}

/// Tells whether commands can be run without being root of anything.
fn can_supervise() -> bool {
    choose(Some(Isolation::Traced), Path::new("/")).is_ok()
}

/// Says how processes are isolated, in a few words.
pub(crate) fn describe(tier: &Tier) -> String {
    match tier {
        Tier::Root { userxattr: false } => "as root".to_owned(),
        Tier::Root { userxattr: true } => "as root of a user namespace".to_owned(),
        Tier::Chroot => "by chroot alone".to_owned(),
        Tier::Traced => "by a supervisor alone".to_owned(),
        Tier::UserNamespace(map) => {
            let n_ids: u64 = map.uids.iter().map(|range| u64::from(range.count)).sum();
            format!("in a user namespace of {n_ids} ids")
        }
    }
}

/// Returns the exit code of a process as that of this one.
pub(crate) fn exit_code(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code).unwrap_or(255))
}
