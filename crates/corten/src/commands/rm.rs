//! `corten rm`

use std::process::ExitCode;

use clap::Args;

use crate::context::Context;
use crate::error::CommandError;
use crate::places::{Name, store_name};

/// Remove names from the local store
///
/// What no other name needs is removed by the next `corten gc`.
#[derive(Debug, Args)]
pub(crate) struct RmArgs {
    /// What to remove; a digest removes what was kept without a name
    #[arg(value_name = "NAME", required = true, value_parser = store_name)]
    names: Vec<Name>,
}

pub(crate) fn run(args: &RmArgs, ctx: &Context) -> Result<ExitCode, CommandError> {
    let store = ctx.store()?;
    for name in &args.names {
        store
            .untag(&name.to_string())
            .map_err(|error| CommandError::doing(format!("cannot remove `{name}`"), error))?;
    }
    Ok(ExitCode::SUCCESS)
}
