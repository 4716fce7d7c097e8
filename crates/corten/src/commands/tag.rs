//! `corten tag`

use std::process::ExitCode;

use clap::Args;
use corten_content::{Sink, Source};

use crate::context::Context;
use crate::error::CommandError;
use crate::places::{Name, store_name};

/// Give an image of the local store another name
#[derive(Debug, Args)]
pub(crate) struct TagArgs {
    /// What the image is called, or its digest
    #[arg(value_name = "OLD", value_parser = store_name)]
    old: Name,
    /// What it is to be called, too; an image that has the name now loses it
    #[arg(value_name = "NEW", value_parser = store_name)]
    new: Name,
}

pub(crate) fn run(args: &TagArgs, ctx: &Context) -> Result<ExitCode, CommandError> {
    let Name::Reference(new) = &args.new else {
        return Err(CommandError::usage(format!(
            "`{}` is a digest, and a name is needed",
            args.new
        )));
    };
    let store = ctx.store()?;
    let tag = || store.tag(&new.to_string(), &store.resolve(&args.old.to_string())?);
    tag().map_err(|error| {
        CommandError::doing(format!("cannot call `{}` `{new}`", args.old), error)
    })?;
    Ok(ExitCode::SUCCESS)
}
