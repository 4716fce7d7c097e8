//! `corten manifest`

mod diff;
mod put;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use corten_content::read;
use corten_spec::{Descriptor, DocumentLimits, Platform};

use crate::context::Context;
use crate::error::CommandError;
use crate::places::Place;
use crate::registry::{RegistryArgs, show_warnings};
use crate::transfer::Part;

/// Read, write and compare manifests and indexes as they are
#[derive(Debug, Args)]
pub(crate) struct ManifestArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Print a manifest or index, byte for byte
    Get(GetArgs),
    /// Put a manifest or index into a registry, byte for byte
    Put(put::PutArgs),
    /// Show where two manifests or indexes differ
    Diff(diff::DiffArgs),
}

/// Which manifest.
#[derive(Debug, Args)]
struct GetArgs {
    /// Where it is
    #[arg(value_name = "PLACE")]
    place: Place,
    /// Of an image for several platforms, this one's
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,
    /// Print digest, type and size instead
    #[arg(long)]
    descriptor: bool,
    #[command(flatten)]
    registry: RegistryArgs,
}

pub(crate) fn run(args: &ManifestArgs, ctx: &Context) -> Result<ExitCode, CommandError> {
    match &args.verb {
        Verb::Get(args) => get(args, ctx)?,
        Verb::Put(args) => put::run(args, ctx)?,
        Verb::Diff(args) => return diff::run(args, ctx),
    }
    Ok(ExitCode::SUCCESS)
}

fn get(args: &GetArgs, ctx: &Context) -> Result<(), CommandError> {
    let (content, bytes) = manifest(
        ctx,
        &args.registry,
        &args.place,
        args.platform.as_ref(),
        !args.descriptor,
    )?;
    if args.descriptor {
        return ctx.output.json(&content);
    }
    ctx.output.bytes(&bytes)
}

/// Finds the manifest or index of `place`, and reads it if `is_read`.
fn manifest(
    ctx: &Context,
    registry: &RegistryArgs,
    place: &Place,
    platform: Option<&Platform>,
    is_read: bool,
) -> Result<(Descriptor, Vec<u8>), CommandError> {
    let doing = format!("cannot read the manifest of `{place}`");
    let find = || {
        let opened = place.open(ctx, registry)?;
        let chosen = Part::named(platform).choose(&*opened.source, &opened.name);
        let limit = DocumentLimits::installed().either();
        let found = chosen.and_then(|chosen| {
            let content = chosen.root.clone();
            let bytes = if is_read {
                read(&*opened.source, &content, limit)?
            } else {
                Vec::new()
            };
            Ok((content, bytes))
        });
        let clients = opened.client.iter();
        clients.for_each(|client| show_warnings(ctx, client));
        found.map_err(CommandError::caused)
    };
    find().map_err(|error: CommandError| error.while_doing(doing))
}
