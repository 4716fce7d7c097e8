//! `corten squash`

use std::process::ExitCode;

use clap::Args;
use corten_content::{ImageDocuments, Store};
use corten_image::squash::layers_of_base;
use corten_image::{SquashOptions, squash};

use crate::context::Context;
use crate::error::CommandError;
use crate::images::find_to_read;
use crate::places::Place;
use crate::rewrite::{RewriteArgs, rewrite};
use crate::wanted::Wanted;

/// Make one layer of an image's topmost layers
///
/// The layers below stay as they are, so that they are still shared. Files do not change, nor does the
/// config; the history has one entry for the layer. Prints the digest.
#[derive(Debug, Args)]
pub(crate) struct SquashArgs {
    #[command(flatten)]
    rewrite: RewriteArgs,
    #[command(flatten)]
    which: Which,
}

/// Which layers become one.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// Those on top of the layers of this image, which it was made from
    #[arg(long, value_name = "BASE")]
    from: Option<Place>,
    /// The N topmost ones
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    layers: Option<u32>,
}

pub(crate) fn run(args: &SquashArgs, ctx: &Context) -> Result<ExitCode, CommandError> {
    let doing = format!("cannot squash `{}`", args.rewrite.place);
    rewrite(&args.rewrite, ctx, &mut |store, image| {
        let options = SquashOptions {
            n_kept: n_kept(args, ctx, store, image)?,
            created_by: "corten squash".to_owned(),
            pack: args.rewrite.compression.pack(),
        };
        squash(store, image, &options).map_err(CommandError::caused)
    })
    .map_err(|error| error.while_doing(doing))?;
    Ok(ExitCode::SUCCESS)
}

fn n_kept(
    args: &SquashArgs,
    ctx: &Context,
    store: &Store,
    image: &ImageDocuments,
) -> Result<usize, CommandError> {
    let Some(base) = &args.which.from else {
        let n_layers = image.config.value.rootfs.diff_ids.len();
        let n_squashed = args.which.layers.unwrap_or_default();
        let n_kept = usize::try_from(n_squashed)
            .ok()
            .and_then(|n| n_layers.checked_sub(n));
        return n_kept.ok_or_else(|| {
            CommandError::usage(format!(
                "the image has {n_layers} layers, so the topmost {n_squashed} cannot be squashed"
            ))
        });
    };
    let wanted = Wanted::preferred(&image.config.value.platform());
    let found = find_to_read(ctx, store, &args.rewrite.registry, base, &wanted)?;
    layers_of_base(image, &found.documents)
        .map_err(|error| CommandError::doing(format!("cannot use the base `{base}`"), error))
}
