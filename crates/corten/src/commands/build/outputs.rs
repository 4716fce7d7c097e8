//! Where the result of `corten build` goes.

use std::path::PathBuf;

use clap::Args;
use corten_build::Built;
use corten_content::{Store, atomic, load_image};
use corten_spec::Reference;
use corten_transport::Format;

use super::BuildArgs;
use crate::context::Context;
use crate::error::CommandError;
use crate::outputs::BuildOutput;
use crate::places::{Name, Place};
use crate::rootfs::{self, TarOptions};
use crate::transfer::{Part, transfer};

/// Where the result goes.
#[derive(Debug, Args)]
pub(crate) struct OutputArgs {
    /// Write the result elsewhere, too: `type=oci|docker|oci-layout|local|tar,dest=PATH`, or
    /// `type=registry`
    #[arg(long, short, value_name = "KIND,dest=PATH")]
    pub(crate) output: Vec<BuildOutput>,
    /// Push the image to the registries of its names
    #[arg(long)]
    pub(crate) push: bool,
    /// Write the image id, the digest of the config, to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) iidfile: Option<PathBuf>,
    /// Write the digest of the manifest to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) digest_file: Option<PathBuf>,
}

/// Writes what was built wherever it is to be, and prints its digest.
pub(super) fn write(
    args: &BuildArgs,
    ctx: &Context,
    store: &Store,
    built: &Built,
    names: &[Reference],
) -> Result<(), CommandError> {
    for output in &args.outputs.output {
        write_output(args, ctx, store, built, names, output)?;
    }
    if args.outputs.push {
        write_output(args, ctx, store, built, names, &BuildOutput::Registry)?;
    }
    report(args, ctx, built)
}

fn write_output(
    args: &BuildArgs,
    ctx: &Context,
    store: &Store,
    built: &Built,
    names: &[Reference],
    output: &BuildOutput,
) -> Result<(), CommandError> {
    let name = names.first().map(ToString::to_string).unwrap_or_default();
    let load =
        || load_image(store, &built.manifest, &args.image.platform()).map_err(CommandError::caused);
    match output {
        BuildOutput::Store => Ok(()),
        BuildOutput::Registry if names.is_empty() => Err(CommandError::usage(
            "an image without a name cannot be pushed",
        )
        .hint("name it with `--tag`")),
        BuildOutput::Registry => names
            .iter()
            .try_for_each(|name| send(args, ctx, built, &Place::Registry(name.clone()))),
        BuildOutput::OciArchive(path) => send(
            args,
            ctx,
            built,
            &Place::Archive(Format::Oci, path.clone(), name),
        ),
        BuildOutput::DockerArchive(path) => send(
            args,
            ctx,
            built,
            &Place::Archive(Format::Docker, path.clone(), name),
        ),
        BuildOutput::Layout(path) => send(args, ctx, built, &Place::Layout(path.clone(), name)),
        BuildOutput::Directory(path) => {
            rootfs::write_directory(&ctx.snapshots(store), &load()?, path)
        }
        BuildOutput::Tar(path) => {
            rootfs::write_tar(&ctx.snapshots(store), &load()?, path, &TarOptions::PLAIN)
        }
    }
}

fn send(args: &BuildArgs, ctx: &Context, built: &Built, place: &Place) -> Result<(), CommandError> {
    let send = || {
        let built =
            Place::Store(Name::Digest(built.manifest.digest.clone())).open(ctx, &args.registry)?;
        let destination = place.create(ctx, &args.registry)?;
        transfer(ctx, &built, destination, &Part::All, args.registry.jobs)
    };
    let sent = send().map(drop);
    sent.map_err(|error| error.while_doing(format!("cannot write the image to `{place}`")))
}

fn report(args: &BuildArgs, ctx: &Context, built: &Built) -> Result<(), CommandError> {
    let files = [
        (&args.outputs.iidfile, built.image_id.to_string()),
        (&args.outputs.digest_file, built.manifest.digest.to_string()),
    ];
    for (path, digest) in files {
        if let Some(path) = path {
            // Without a line break, as other builders write it.
            atomic::write(path, digest.as_bytes()).map_err(CommandError::caused)?;
        }
    }
    ctx.output.data(built.manifest.digest.as_str())
}
