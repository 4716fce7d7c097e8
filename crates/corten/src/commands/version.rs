//! `corten version`

use std::process::ExitCode;

use clap::Args;
use corten_spec::Platform;
use serde::Serialize;

use crate::context::Context;
use crate::error::CommandError;
use crate::output::Format;

/// Print the version
#[derive(Debug, Args)]
pub(crate) struct VersionArgs {
    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// What `--format json` prints.
#[derive(Debug, Serialize)]
struct Version {
    /// The version of Corten.
    version: &'static str,
    /// The platform it was compiled for, and builds for by default.
    platform: String,
}

pub(crate) fn run(args: &VersionArgs, ctx: &Context) -> Result<ExitCode, CommandError> {
    let version = Version {
        version: env!("CARGO_PKG_VERSION"),
        platform: Platform::host().to_string(),
    };
    match args.format {
        Format::Text => ctx.output.data(&format!(
            "corten {} ({})",
            version.version, version.platform
        ))?,
        Format::Json => ctx.output.json(&version)?,
    }
    Ok(ExitCode::SUCCESS)
}
