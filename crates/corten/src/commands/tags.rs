//! `corten tags`

use std::process::ExitCode;

use clap::Args;
use corten_spec::Reference;
use serde::Serialize;

use crate::context::Context;
use crate::error::CommandError;
use crate::output::Format;
use crate::registry::{ListArgs, RegistryArgs, in_registry, show_warnings};

/// List the tags of a repository
#[derive(Debug, Args)]
pub(crate) struct TagsArgs {
    /// The repository, such as `ghcr.io/acme/app`
    #[arg(value_name = "NAME", value_parser = in_registry)]
    repository: Reference,
    #[command(flatten)]
    part: ListArgs,
    /// How to print them
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// What `--format json` prints.
#[derive(Debug, Serialize)]
struct Tags {
    /// The repository, with its registry.
    repository: String,
    /// Its tags, in the registry's order.
    tags: Vec<String>,
}

pub(crate) fn run(args: &TagsArgs, ctx: &Context) -> Result<ExitCode, CommandError> {
    let name = args.repository.name();
    let (repository, client) = args.registry.repository(ctx, &args.repository)?;
    let tags = repository.tags_of(&args.part.part());
    show_warnings(ctx, &client);
    let tags = tags
        .map_err(|error| CommandError::doing(format!("cannot list the tags of `{name}`"), error))?;
    match args.format {
        Format::Json => ctx.output.json(&Tags {
            repository: name,
            tags,
        })?,
        Format::Text => tags.iter().try_for_each(|tag| ctx.output.data(tag))?,
    }
    Ok(ExitCode::SUCCESS)
}
