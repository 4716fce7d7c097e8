//! Commands that make another image of one: what flatten and squash have in common.

use clap::Args;
use corten_content::{ImageDocuments, Sink as _, Store};
use corten_image::squash::for_each_platform;
use corten_spec::{Descriptor, Platform};

use crate::compression::CompressionArgs;
use crate::context::Context;
use crate::error::CommandError;
use crate::images::{bring_all, find_to_read};
use crate::places::{Name, Place, store_name};
use crate::registry::RegistryArgs;
use crate::wanted::Wanted;

/// Which image, and what becomes of it.
#[derive(Debug, Args)]
pub(crate) struct RewriteArgs {
    /// Where the image is
    #[arg(value_name = "PLACE")]
    pub(crate) place: Place,
    /// What the result is to be called in the local store
    #[arg(value_name = "NAME", value_parser = store_name)]
    name: Name,
    /// Of an image for several platforms, use this one [default: this machine's]
    #[arg(long, value_name = "OS/ARCH", conflicts_with = "all")]
    platform: Option<Platform>,
    /// Use the images for all platforms, and make an index of the results
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    pub(crate) compression: CompressionArgs,
    #[command(flatten)]
    pub(crate) registry: RegistryArgs,
}

/// Makes of each image what `change` does, names the result, and prints its digest.
pub(crate) fn rewrite(
    args: &RewriteArgs,
    ctx: &Context,
    change: &mut dyn FnMut(&Store, &ImageDocuments) -> Result<Descriptor, CommandError>,
) -> Result<(), CommandError> {
    let Name::Reference(name) = &args.name else {
        return Err(CommandError::usage(format!(
            "`{}` is a digest, and a name is needed",
            args.name
        )));
    };
    let store = ctx.store()?;
    let made = if args.all {
        rewrite_all(args, ctx, &store, change)?
    } else {
        let wanted = Wanted::asked(args.platform.as_ref());
        let image = find_to_read(ctx, &store, &args.registry, &args.place, &wanted)?;
        change(&store, &image.documents)?
    };
    store
        .tag(&name.to_string(), &made)
        .map_err(CommandError::caused)?;
    ctx.output.data(made.digest.as_str())
}

fn rewrite_all(
    args: &RewriteArgs,
    ctx: &Context,
    store: &Store,
    change: &mut dyn FnMut(&Store, &ImageDocuments) -> Result<Descriptor, CommandError>,
) -> Result<Descriptor, CommandError> {
    let content = bring_all(ctx, store, &args.registry, &args.place)?;
    let mut n_left_out = 0;
    let made = for_each_platform(
        store,
        &content,
        &mut |image| change(store, image),
        &mut |_| n_left_out += 1,
    )?;
    if n_left_out > 0 {
        ctx.output.warn(&format!(
            "{n_left_out} entries of the index are no images, such as attestations of what it was, and were left out"
        ));
    }
    Ok(made)
}
