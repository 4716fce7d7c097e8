//! `corten convert`

use std::process::ExitCode;

use clap::Args;
use corten_spec::Platform;

use crate::context::Context;
use crate::conversion::{self, DocumentFormat};
use crate::error::CommandError;
use crate::places::{Destination, Place};
use crate::registry::RegistryArgs;
use crate::transfer::{Part, transfer_as};

/// Convert an image between Docker's format and OCI's
///
/// Manifests and indexes are written anew, which gives them other digests, so that signatures no
/// longer fit. Layers and configs keep every byte, and the image its id. Converted back, the image
/// has its old digests, unless something was left out. Prints the digest.
#[derive(Debug, Args)]
pub(crate) struct ConvertArgs {
    /// Where the image is
    #[arg(value_name = "SOURCE")]
    source: Place,
    /// Where the converted image goes
    #[arg(value_name = "DESTINATION")]
    destination: Place,
    /// The format to convert to
    #[arg(long, value_enum)]
    format: DocumentFormat,
    /// Leave out what the format has no place for, and say what that was
    #[arg(long)]
    lossy: bool,
    /// Convert the image for this platform alone
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,
    #[command(flatten)]
    registry: RegistryArgs,
}

pub(crate) fn run(args: &ConvertArgs, ctx: &Context) -> Result<ExitCode, CommandError> {
    let doing = format!("cannot convert `{}` to `{}`", args.source, args.destination);
    let is_whole = args.platform.is_none() && !Destination::has_one_platform(&args.destination);
    let part = Part::chosen(is_whole, args.platform.as_ref());
    let convert = || {
        let opened = args.source.open(ctx, &args.registry)?;
        let destination = args.destination.create(ctx, &args.registry)?;
        let options = conversion::options(args.format, args.lossy);
        let jobs = args.registry.jobs;
        transfer_as(ctx, &opened, destination, &part, jobs, Some(options))
    };
    let content = convert().map_err(|error| error.while_doing(doing))?;
    ctx.output
        .digest(&content.digest, args.destination.is_stdout())?;
    Ok(ExitCode::SUCCESS)
}
