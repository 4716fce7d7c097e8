//! `corten pull`

use std::process::ExitCode;

use clap::Args;
use corten_spec::Platform;

use crate::context::Context;
use crate::error::CommandError;
use crate::places::{Name, Place};
use crate::registry::RegistryArgs;
use crate::transfer::{self, Part, Purpose};

/// Copy an image from its registry into the local store
///
/// Of an image for several platforms, the one for this machine is pulled. Prints the digest.
#[derive(Debug, Args)]
pub(crate) struct PullArgs {
    /// What to pull, such as `debian:12` or `docker://ghcr.io/acme/app@sha256:…`
    #[arg(value_name = "NAME")]
    name: Place,
    /// Pull the image for this platform
    #[arg(long, value_name = "OS/ARCH", conflicts_with = "all")]
    platform: Option<Platform>,
    /// Pull the images for all platforms
    #[arg(long)]
    all: bool,
    /// Hash what is in the store already, and replace what is damaged
    #[arg(long)]
    verify: bool,
    #[command(flatten)]
    registry: RegistryArgs,
}

pub(crate) fn run(args: &PullArgs, ctx: &Context) -> Result<ExitCode, CommandError> {
    let name = match &args.name {
        Place::Store(name) => name.clone(),
        Place::Registry(reference) => Name::Reference(reference.clone()),
        Place::Layout(..) | Place::Archive(..) => {
            return Err(
                CommandError::usage(format!("`{}` is not in a registry", args.name))
                    .hint("`corten copy` takes images from anywhere"),
            );
        }
    };
    let part = Part::chosen(args.all, args.platform.as_ref());
    let purpose = if args.verify {
        Purpose::Replace
    } else {
        Purpose::Keep
    };
    let content = transfer::pull(ctx, &args.registry, &name, &part, purpose)
        .map_err(|error| error.while_doing(format!("cannot pull `{name}`")))?;
    ctx.output.data(content.digest.as_str())?;
    Ok(ExitCode::SUCCESS)
}
