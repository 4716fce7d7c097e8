//! `corten push`

use std::process::ExitCode;

use clap::Args;
use corten_spec::Platform;

use crate::context::Context;
use crate::conversion::ConversionArgs;
use crate::error::CommandError;
use crate::places::{Name, Place, store_name};
use crate::registry::RegistryArgs;
use crate::transfer::{Part, transfer_as};

/// Copy an image from the local store to a registry
///
/// All that the name stands for is pushed. Prints the digest.
#[derive(Debug, Args)]
pub(crate) struct PushArgs {
    /// What to push
    #[arg(value_name = "NAME", value_parser = store_name)]
    name: Name,
    /// Where to push it, as in `docker://HOST/REPOSITORY:TAG` [default: what NAME says]
    #[arg(value_name = "DESTINATION")]
    destination: Option<Place>,
    /// Push the image for this platform alone
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,
    #[command(flatten)]
    conversion: ConversionArgs,
    #[command(flatten)]
    registry: RegistryArgs,
}

pub(crate) fn run(args: &PushArgs, ctx: &Context) -> Result<ExitCode, CommandError> {
    let destination = match (&args.destination, &args.name) {
        // A bare reference is a registry's where something is pushed to.
        (Some(Place::Registry(reference) | Place::Store(Name::Reference(reference))), _)
        | (None, Name::Reference(reference)) => reference.clone(),
        (None, Name::Digest(_)) => {
            return Err(CommandError::usage("a digest does not say where to push")
                .hint("name the destination too, as in `docker://HOST/REPOSITORY:TAG`"));
        }
        (Some(other), _) => {
            return Err(
                CommandError::usage(format!("`{other}` is not in a registry"))
                    .hint("`corten copy` takes images anywhere"),
            );
        }
    };
    let doing = format!("cannot push `{destination}`");
    let push = || {
        let opened = Place::Store(args.name.clone()).open(ctx, &args.registry)?;
        let destination = Place::Registry(destination).create(ctx, &args.registry)?;
        let part = Part::named(args.platform.as_ref());
        transfer_as(
            ctx,
            &opened,
            destination,
            &part,
            args.registry.jobs,
            args.conversion.options(),
        )
    };
    let content = push().map_err(|error| error.while_doing(doing))?;
    ctx.output.data(content.digest.as_str())?;
    Ok(ExitCode::SUCCESS)
}
