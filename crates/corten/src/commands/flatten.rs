//! `corten flatten`

use std::process::ExitCode;

use clap::Args;
use corten_image::{SquashOptions, squash};

use crate::context::Context;
use crate::error::CommandError;
use crate::rewrite::{RewriteArgs, rewrite};

/// Make an image of one layer that has the same files
///
/// The config stays as it is; the history has one entry for the layer. Prints the digest.
#[derive(Debug, Args)]
pub(crate) struct FlattenArgs {
    #[command(flatten)]
    rewrite: RewriteArgs,
}

pub(crate) fn run(args: &FlattenArgs, ctx: &Context) -> Result<ExitCode, CommandError> {
    let options = SquashOptions {
        n_kept: 0,
        created_by: "corten flatten".to_owned(),
        pack: args.rewrite.compression.pack(),
    };
    let doing = format!("cannot flatten `{}`", args.rewrite.place);
    rewrite(&args.rewrite, ctx, &mut |store, image| {
        squash(store, image, &options).map_err(CommandError::caused)
    })
    .map_err(|error| error.while_doing(doing))?;
    Ok(ExitCode::SUCCESS)
}
