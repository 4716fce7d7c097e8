//! `corten umount`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use corten_snapshot::{Error, Snapshots};
use serde::Serialize;

use crate::context::Context;
use crate::error::CommandError;
use crate::output::Format;

/// Unmount what `corten mount` mounted, and remove what was written to it
#[derive(Debug, Args)]
pub(crate) struct UmountArgs {
    /// The directory that it is mounted on
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// How to print what was unmounted
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// What `--format json` prints.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    /// The directory, as it was given.
    directory: PathBuf,
    /// How it was mounted.
    kind: &'static str,
}

pub(crate) fn run(args: &UmountArgs, ctx: &Context) -> Result<ExitCode, CommandError> {
    let directory = &args.directory;
    let doing = format!("cannot unmount `{}`", directory.display());
    if !rustix::process::geteuid().is_root() {
        return Err(CommandError::failed("unmounting an image takes root").while_doing(doing));
    }
    let store = ctx.store()?;
    let kind = Snapshots::new(&store)
        .unmount(directory)
        .map_err(|error| explain(error, ctx).while_doing(doing))?;
    match args.format {
        Format::Text => ctx.output.detail(&format!("root: {kind}")),
        Format::Json => ctx.output.json(&Report {
            directory: directory.clone(),
            kind: kind.name(),
        })?,
    }
    Ok(ExitCode::SUCCESS)
}

fn explain(error: Error, ctx: &Context) -> CommandError {
    let hint = match &error {
        Error::Busy { path } => Some(format!(
            "`fuser -vm {}` names the processes that use it",
            path.display()
        )),
        Error::NotOurs { .. } => Some(format!(
            "the store is `{}`; name the one it was mounted from with `--root`",
            ctx.root().display()
        )),
        _ => None,
    };
    let error = CommandError::caused(error);
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}
