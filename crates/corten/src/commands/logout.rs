//! `corten logout`

use std::process::ExitCode;

use clap::Args;

use crate::commands::login::host;
use crate::context::Context;
use crate::error::CommandError;
use crate::registry::credential_files;

/// Forget the credentials for a registry
#[derive(Debug, Args)]
pub(crate) struct LogoutArgs {
    /// The registry's host
    #[arg(value_name = "HOST", default_value = "docker.io")]
    host: String,
}

pub(crate) fn run(args: &LogoutArgs, ctx: &Context) -> Result<ExitCode, CommandError> {
    let host = host(&args.host)?;
    let changed = credential_files(&ctx.env).erase(host).map_err(|error| {
        CommandError::doing(format!("cannot forget the credentials for `{host}`"), error)
    })?;
    if changed.is_empty() {
        ctx.output
            .note(&format!("there were no credentials for `{host}`"));
    }
    for path in changed {
        ctx.output.note(&format!(
            "removed the credentials for `{host}` from `{}`",
            path.display()
        ));
    }
    Ok(ExitCode::SUCCESS)
}
