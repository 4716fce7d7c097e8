//! `corten load`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use corten_content::layout::names;
use corten_content::{Sink, Source, Store};
use corten_spec::{Descriptor, Reference};
use corten_transport::Format;

use crate::context::Context;
use crate::error::CommandError;
use crate::places::{Name, open_archive, store_name};
use crate::transfer::fetch;

/// Read the images of an archive into the local store
///
/// Archives of both kinds are read, compressed or not. Prints the name, or the digest, of each image.
#[derive(Debug, Args)]
pub(crate) struct LoadArgs {
    /// The archive; `-` for standard input
    #[arg(long, short, value_name = "FILE", default_value = "-")]
    input: PathBuf,
    /// What the only image is to be called, instead of what the archive says
    #[arg(long, short, value_name = "NAME", value_parser = store_name)]
    tag: Option<Name>,
}

pub(crate) fn run(args: &LoadArgs, ctx: &Context) -> Result<ExitCode, CommandError> {
    if args.input == Path::new("-") && std::io::IsTerminal::is_terminal(&std::io::stdin()) {
        return Err(
            CommandError::usage("standard input is a terminal, not an archive")
                .hint("name a file with `--input`"),
        );
    }
    let doing = format!("cannot load `{}`", args.input.display());
    let loaded = load(args, ctx).map_err(|error| error.while_doing(doing))?;
    ctx.output.data(&loaded.join("\n"))?;
    Ok(ExitCode::SUCCESS)
}

fn load(args: &LoadArgs, ctx: &Context) -> Result<Vec<String>, CommandError> {
    let store = ctx.store()?;
    // Read as Docker's, an archive without Docker's own documents is an image layout.
    let archive = open_archive(ctx, &args.input, Format::Docker)?;
    let entries = archive.entries();
    if entries.is_empty() {
        return Err(CommandError::failed("there is no image in the archive"));
    }
    if let Some(name) = &args.tag {
        let content = archive.resolve("").map_err(CommandError::caused)?;
        return Ok(vec![add(ctx, &archive, &store, &content, Some(name))?]);
    }
    entries
        .iter()
        .map(|entry| add(ctx, &archive, &store, entry, full_name(entry).as_ref()))
        .collect()
}

fn add(
    ctx: &Context,
    archive: &dyn Source,
    store: &Store,
    content: &Descriptor,
    name: Option<&Name>,
) -> Result<String, CommandError> {
    const JOBS: usize = 2;
    fetch(ctx, archive, store, content, JOBS).map_err(CommandError::caused)?;
    match name {
        Some(Name::Reference(reference)) => {
            store
                .tag(&reference.to_string(), content)
                .map_err(CommandError::caused)?;
            Ok(reference.to_string())
        }
        Some(Name::Digest(_)) => Err(CommandError::usage("a digest cannot be given as a name")),
        None => {
            store.add(content).map_err(CommandError::caused)?;
            Ok(content.digest.to_string())
        }
    }
}

/// Returns the reference that an entry is called by. A tag alone, as many tools write it, is none.
fn full_name(entry: &Descriptor) -> Option<Name> {
    let reference: Reference = names::name_of(entry)?.parse().ok()?;
    let has_tag = reference.tag().is_some() || reference.digest().is_some();
    has_tag.then_some(Name::Reference(reference))
}
