//! `corten save`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use corten_content::{Sink, Store};
use corten_spec::Platform;
use corten_transport::{ArchiveWriter, Format};

use crate::context::Context;
use crate::error::CommandError;
use crate::places::{Name, archive_writer, store_name};
use crate::transfer::{Part, fetch};

/// Write images of the local store to an archive
#[derive(Debug, Args)]
pub(crate) struct SaveArgs {
    /// What to save
    #[arg(value_name = "NAME", required = true, value_parser = store_name)]
    names: Vec<Name>,
    /// The file to write; `-` for standard output
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// The kind of archive
    #[arg(long, value_enum, default_value_t)]
    format: Kind,
    /// Save the image for this platform alone; a docker-archive holds no more than one
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,
}

/// A kind of archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Kind {
    /// An image layout in a tar
    #[default]
    OciArchive,
    /// What `docker load` reads, whichever version
    DockerArchive,
}

pub(crate) fn run(args: &SaveArgs, ctx: &Context) -> Result<ExitCode, CommandError> {
    let doing = format!("cannot save to `{}`", args.output.display());
    save(args, ctx).map_err(|error| error.while_doing(doing))?;
    Ok(ExitCode::SUCCESS)
}

fn save(args: &SaveArgs, ctx: &Context) -> Result<(), CommandError> {
    let store = ctx.store()?;
    let format = match args.format {
        Kind::OciArchive => Format::Oci,
        Kind::DockerArchive => Format::Docker,
    };
    let writer = archive_writer(ctx, &args.output, format).map_err(CommandError::caused)?;
    let part = match (&args.platform, format) {
        (None, Format::Oci) => Part::All,
        (platform, _) => Part::chosen(false, platform.as_ref()),
    };
    for name in &args.names {
        add(ctx, &store, &writer, name, &part)
            .map_err(|error| CommandError::doing(format!("cannot use `{name}`"), error))?;
    }
    writer.finish().map_err(CommandError::caused)
}

fn add(
    ctx: &Context,
    store: &Store,
    writer: &ArchiveWriter,
    name: &Name,
    part: &Part,
) -> Result<(), corten_content::Error> {
    /// A disk is not faster when it is asked for many things at once.
    const JOBS: usize = 2;
    let content = part.choose(store, &name.to_string())?.root;
    fetch(ctx, store, writer, &content, JOBS)?;
    match name {
        Name::Reference(reference) => writer.tag(&reference.to_string(), &content),
        Name::Digest(_) => writer.add(&content),
    }
}
