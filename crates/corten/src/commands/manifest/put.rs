//! `corten manifest put`

use std::io::{Read as _, Write as _};
use std::path::PathBuf;

use clap::Args;
use corten_content::{IngestPlan, Sink as _};
use corten_spec::manifest::detect_media_type;
use corten_spec::{Descriptor, DocumentLimits, Reference};

use crate::commands::blob::open_input;
use crate::context::Context;
use crate::error::CommandError;
use crate::output::Format;
use crate::registry::{RegistryArgs, in_registry, show_warnings};

/// What goes where. Prints the digest.
#[derive(Debug, Args)]
pub(super) struct PutArgs {
    /// Where it goes: NAME:TAG, or NAME@DIGEST to put it there without a tag
    #[arg(value_name = "NAME", value_parser = in_registry)]
    name: Reference,
    /// The file, or `-` for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// What it is, if it does not say so itself
    #[arg(long, value_name = "TYPE")]
    media_type: Option<String>,
    /// Check everything, and put nothing
    #[arg(long)]
    dry_run: bool,
    /// How to print what was put
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    registry: RegistryArgs,
}

pub(super) fn run(args: &PutArgs, ctx: &Context) -> Result<(), CommandError> {
    let doing = format!("cannot put a manifest to `{}`", args.name);
    let content = put_manifest(args, ctx).map_err(|error| error.while_doing(doing))?;
    match args.format {
        Format::Json => ctx.output.json(&content),
        Format::Text => ctx.output.data(content.digest.as_str()),
    }
}

fn put_manifest(args: &PutArgs, ctx: &Context) -> Result<Descriptor, CommandError> {
    let limit = DocumentLimits::installed().either();
    let mut bytes = Vec::new();
    let input = open_input(&args.file)?;
    input
        .take(limit.bytes.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(CommandError::caused)?;
    if bytes.len() as u64 > limit.bytes {
        let reason = format!("it is longer than {limit} bytes");
        return Err(CommandError::failed(reason));
    }
    let media_type =
        detect_media_type(&bytes, args.media_type.as_deref()).map_err(CommandError::caused)?;
    let mut content = Descriptor::of(&media_type, &bytes);
    if let Some(digest) = args.name.digest() {
        digest.verify(&bytes).map_err(CommandError::caused)?;
        content.digest = digest.clone();
    }
    if args.dry_run {
        return Ok(content);
    }
    let (repository, client) = args.registry.repository(ctx, &args.name)?;
    let put = || {
        let mut ingest = repository.ingest(&IngestPlan::of(&content)?)?;
        ingest
            .write_all(&bytes)
            .map_err(|error| corten_content::Error::stream("send the manifest", error))?;
        ingest.commit(Some(&content))?;
        let tag = args.name.tag();
        tag.map_or(Ok(()), |tag| repository.tag(tag, &content))
    };
    let done = put();
    show_warnings(ctx, &client);
    done.map_err(CommandError::caused)?;
    Ok(content)
}
