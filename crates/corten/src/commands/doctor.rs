//! `corten doctor`

use std::process::ExitCode;

use clap::Args;
use corten_sandbox::probe;

use crate::context::Context;
use crate::error::CommandError;
use crate::namespace::describe;

/// Say what this machine allows, and what would help
///
/// Fails if RUN and `corten run` cannot work here.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {}

pub(crate) fn run(_: &DoctorArgs, ctx: &Context) -> Result<ExitCode, CommandError> {
    let found = probe();
    let how = found
        .tier
        .as_ref()
        .map_or("not at all".to_owned(), describe);
    ctx.output
        .data(&format!("store: {}", ctx.root().display()))?;
    ctx.output.data(&format!("processes are isolated: {how}"))?;
    ctx.output.data(&found.to_string())?;
    Ok(if found.tier.is_some() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
