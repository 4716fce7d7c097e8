//! `corten copy`

use std::process::ExitCode;

use clap::Args;
use corten_spec::Platform;

use crate::context::Context;
use crate::conversion::ConversionArgs;
use crate::error::CommandError;
use crate::places::{Destination, Place};
use crate::registry::RegistryArgs;
use crate::transfer::{Part, transfer_as};

/// Copy an image from any place to any other
///
/// Of an image for several platforms, the one for this machine is copied, unless `--platform` or
/// `--all` says otherwise. Bytes are never changed on the way, unless `--format` asks for other documents. Prints the
/// digest.
#[derive(Debug, Args)]
pub(crate) struct CopyArgs {
    /// Where the image is
    #[arg(value_name = "SOURCE")]
    source: Place,
    /// Where it goes
    #[arg(value_name = "DESTINATION")]
    destination: Place,
    /// Copy the image for this platform
    #[arg(long, value_name = "OS/ARCH", conflicts_with = "all")]
    platform: Option<Platform>,
    /// Copy the images for all platforms
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    conversion: ConversionArgs,
    #[command(flatten)]
    registry: RegistryArgs,
}

pub(crate) fn run(args: &CopyArgs, ctx: &Context) -> Result<ExitCode, CommandError> {
    if args.all && Destination::has_one_platform(&args.destination) {
        return Err(
            CommandError::usage("an image in a `docker-archive:` has one platform")
                .hint("choose one with `--platform`, or use `oci-archive:`"),
        );
    }
    let copy = || {
        let opened = args.source.open(ctx, &args.registry)?;
        let part = Part::chosen(args.all, args.platform.as_ref());
        let destination = args.destination.create(ctx, &args.registry)?;
        transfer_as(
            ctx,
            &opened,
            destination,
            &part,
            args.registry.jobs,
            args.conversion.options(),
        )
    };
    let doing = format!("cannot copy `{}` to `{}`", args.source, args.destination);
    let content = copy().map_err(|error| error.while_doing(doing))?;
    ctx.output
        .digest(&content.digest, args.destination.is_stdout())?;
    Ok(ExitCode::SUCCESS)
}
