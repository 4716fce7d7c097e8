//! `corten doctor`

use std::process::ExitCode;

use clap::Args;
use corten_sandbox::{Probe, probe};
use corten_snapshot::erofs::try_erofs;

use crate::context::Context;
use crate::error::CommandError;
use crate::namespace::describe;
use crate::roots::explained;

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
    ctx.output.data(&roots(&found, ctx))?;
    Ok(if found.tier.is_some() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Says which kinds of roots can be made: a line for each.
fn roots(found: &Probe, ctx: &Context) -> String {
    let scratch = ctx
        .scratch()
        .join(format!("corten-doctor-{}", std::process::id()));
    let erofs = match try_erofs(&scratch) {
        Ok(()) => "ok".to_owned(),
        Err(error) => explained(&error),
    };
    let check = found.checks.iter().find(|check| check.what == "overlay");
    let overlay = match check.map(|check| check.problem.as_deref()) {
        Some(None) => "ok",
        Some(Some(problem)) => problem,
        None => "not tried",
    };
    format!("files of images are had by:\n  erofs: {erofs}\n  overlay: {overlay}\n  plain: ok")
}
