//! `corten catalog`

use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use crate::commands::login::host;
use crate::context::Context;
use crate::error::CommandError;
use crate::output::Format;
use crate::registry::{ListArgs, RegistryArgs, show_warnings};

/// List the repositories of a registry
///
/// The list is no part of the specification of registries: the large public ones have none, and
/// others show it to some users only.
#[derive(Debug, Args)]
pub(crate) struct CatalogArgs {
    /// The registry's host, such as `registry.example:5000`
    #[arg(value_name = "HOST")]
    host: String,
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
struct Catalog<'a> {
    /// The registry.
    registry: &'a str,
    /// Its repositories, in its order.
    repositories: Vec<String>,
}

pub(crate) fn run(args: &CatalogArgs, ctx: &Context) -> Result<ExitCode, CommandError> {
    let registry = host(&args.host)?;
    let client = args.registry.client(ctx, registry)?;
    let repositories = client.catalog(registry, &args.part.part());
    show_warnings(ctx, &client);
    let repositories = repositories.map_err(|error| {
        CommandError::doing(
            format!("cannot list the repositories of `{registry}`"),
            error,
        )
    })?;
    match args.format {
        Format::Json => ctx.output.json(&Catalog {
            registry,
            repositories,
        })?,
        Format::Text => repositories
            .iter()
            .try_for_each(|name| ctx.output.data(name))?,
    }
    Ok(ExitCode::SUCCESS)
}
