//! `corten repack`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use corten_bundle::{Origin, Refresh, RepackOptions, Repacked, VolumeMasks};
use corten_content::{ImageDocuments, Sink as _, Store, load_image};
use corten_spec::Platform;
use corten_tar::Timestamp;
use serde::Serialize;

use crate::context::Context;
use crate::error::CommandError;
use crate::images::{Pull, find};
use crate::output::Format;
use crate::places::{Name, Place, store_name};
use crate::registry::RegistryArgs;
use crate::timestamp::Seconds;
use crate::wanted::Wanted;

/// Make what was changed in a bundle a new layer on its image
///
/// The bundle is one that `corten unpack` made. Prints the digest of the image; if nothing was changed,
/// that of the image it was made from, which then has the name, too. `/dev`, `/proc`, `/sys` and the
/// image's volumes are left as the image has them.
#[derive(Debug, Args)]
pub(crate) struct RepackArgs {
    /// The bundle
    #[arg(value_name = "BUNDLE")]
    bundle: PathBuf,
    /// What the image is to be called
    #[arg(value_name = "NAME", value_parser = store_name)]
    name: Name,
    /// Where the image that the bundle was made from is, if it is not in the local store any more
    #[arg(long, value_name = "PLACE")]
    from: Option<Place>,
    /// Leave this path as the image has it, with all in it; may be given several times
    #[arg(long, value_name = "PATH")]
    mask_path: Vec<String>,
    /// Pack the image's volumes like everything else
    #[arg(long)]
    no_mask_volumes: bool,
    /// Make the bundle one of the new image, so that the next layer holds only what changes from now on
    #[arg(long)]
    refresh_bundle: bool,
    /// What the history is to say about the layer
    #[arg(long, value_name = "TEXT", default_value = "corten repack")]
    created_by: String,
    /// When the image was made, and the latest time of a file in the layer, in seconds since 1970 or as
    /// in RFC 3339 [default: `$SOURCE_DATE_EPOCH`, else the newest time of a changed file]
    #[arg(long, value_name = "TIME")]
    timestamp: Option<Seconds>,
    /// How to print what was done
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// What `--format json` prints.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    /// The digest of the image's manifest.
    digest: &'a str,
    /// The name that it has now.
    name: String,
    /// The digest of the new layer, unless nothing was changed.
    layer: Option<&'a str>,
    /// The digest of its uncompressed tar.
    diff_id: Option<&'a str>,
    /// How many paths it changes or deletes.
    changes: usize,
}

/// Tells whether the bundle's files belong to others, which takes root.
pub(crate) fn needs_root(args: &RepackArgs) -> bool {
    // Without an origin the command fails, which it can do as anybody.
    Origin::of(&args.bundle).is_ok_and(|origin| !origin.rootless)
}

pub(crate) fn run(args: &RepackArgs, ctx: &Context) -> Result<ExitCode, CommandError> {
    let Name::Reference(name) = &args.name else {
        return Err(CommandError::usage(format!(
            "`{}` is a digest, and a name is needed",
            args.name
        )));
    };
    let created = match args.timestamp {
        Some(created) => Some(created),
        None => Seconds::from_environment(ctx)?,
    };
    let options = RepackOptions {
        masks: args.mask_path.clone(),
        volumes: if args.no_mask_volumes {
            VolumeMasks::Leave
        } else {
            VolumeMasks::Mask
        },
        created: created.map(|seconds| Timestamp::from_seconds(seconds.0)),
        created_by: args.created_by.clone(),
        refresh: if args.refresh_bundle {
            Refresh::Yes
        } else {
            Refresh::No
        },
        ..RepackOptions::default()
    };
    let repack = || {
        let store = ctx.store()?;
        let image = base(args, ctx, &store)?;
        let snapshots = ctx.snapshots(&store);
        let mut repacked = corten_bundle::repack(&snapshots, &image, &args.bundle, &options)
            .map_err(CommandError::caused)?;
        store
            .tag(&name.to_string(), &repacked.manifest)
            .map_err(CommandError::caused)?;
        // Not before the image has a name, by which it is kept.
        if let Some(refreshed) = repacked.refreshed.take() {
            refreshed.commit().map_err(CommandError::caused)?;
        }
        Ok(repacked)
    };
    let repacked = repack().map_err(|error: CommandError| {
        error.while_doing(format!("cannot repack `{}`", args.bundle.display()))
    })?;
    warn(&repacked, ctx);
    show(args.format, &repacked, name.to_string(), ctx)?;
    Ok(ExitCode::SUCCESS)
}

/// Finds the image that the bundle was made from.
fn base(args: &RepackArgs, ctx: &Context, store: &Store) -> Result<ImageDocuments, CommandError> {
    let origin = Origin::of(&args.bundle).map_err(CommandError::caused)?;
    let platform = origin.image.platform.clone();
    let platform = platform.unwrap_or_else(Platform::host);
    if let Some(place) = &args.from {
        let wanted = Wanted::preferred(&platform);
        let found = find(
            ctx,
            store,
            &args.registry,
            place,
            &wanted,
            Pull::Missing.into(),
        )?;
        return Ok(found.documents);
    }
    load_image(store, &origin.image, &platform).map_err(|error| {
        let is_gone = error.is_not_found();
        let error = CommandError::doing("cannot read the image it was made from", error);
        if is_gone {
            error.hint("say where it is with `--from PLACE`")
        } else {
            error
        }
    })
}

fn warn(repacked: &Repacked, ctx: &Context) {
    if let Some(first) = repacked.sockets.first() {
        let n_sockets = repacked.sockets.len();
        ctx.output.warn(&format!(
            "{n_sockets} sockets were left out, such as `{first}`: no layer can hold one"
        ));
    }
    if let Some(first) = repacked.unreadable.first() {
        let n_directories = repacked.unreadable.len();
        ctx.output.warn(&format!(
            "{n_directories} directories cannot be listed and are as in the old image, such as `{first}`"
        ));
    }
}

fn show(
    format: Format,
    repacked: &Repacked,
    name: String,
    ctx: &Context,
) -> Result<(), CommandError> {
    let digest = repacked.manifest.digest.as_str();
    match format {
        Format::Json => ctx.output.json(&Shown {
            digest,
            name,
            layer: repacked
                .layer
                .as_ref()
                .map(|layer| layer.blob.digest.as_str()),
            diff_id: repacked
                .layer
                .as_ref()
                .map(|layer| layer.diff_id.0.as_str()),
            changes: repacked.n_changes,
        }),
        Format::Text => {
            if repacked.layer.is_none() {
                ctx.output
                    .note("nothing was changed; the image is the one that was unpacked");
            }
            ctx.output.data(digest)
        }
    }
}
