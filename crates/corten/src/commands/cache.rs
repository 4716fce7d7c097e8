//! `corten cache`

pub(crate) mod carry;
mod list;
mod remove;

use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};

use crate::context::Context;
use crate::error::CommandError;

/// List and forget what builds keep
///
/// A build record says which layer a step made; while there is one, `gc` keeps the layer. A mount is a
/// directory that `RUN --mount=type=cache` keeps.
#[derive(Debug, Args)]
pub(crate) struct CacheArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List build records and mounts, the one used last first
    Ls(list::LsArgs),
    /// Forget build records, and remove mounts
    Rm(remove::RmArgs),
    /// Forget or remove what was used longest ago
    Prune(remove::PruneArgs),
    /// Write mounts to a registry or a directory, for other machines to begin with
    Export(carry::ExportArgs),
    /// Take mounts from a registry or a directory
    Import(carry::ImportArgs),
}

/// What a cache has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Build records
    Step,
    /// Directories of `RUN --mount=type=cache`
    Mount,
}

/// Tells whether `args` read or remove files of other users.
pub(crate) fn needs_root(args: &CacheArgs, ctx: &Context) -> bool {
    match args.verb {
        Verb::Import(_) => true,
        Verb::Ls(_) | Verb::Rm(_) | Verb::Prune(_) | Verb::Export(_) => {
            ctx.root().join("run-caches").is_dir()
        }
    }
}

pub(crate) fn run(args: &CacheArgs, ctx: &Context) -> Result<ExitCode, CommandError> {
    let store = ctx.store()?;
    match &args.verb {
        Verb::Ls(args) => list::run(args, ctx, &store)?,
        Verb::Rm(args) => remove::run(args, ctx, &store)?,
        Verb::Prune(args) => remove::prune(args, ctx, &store)?,
        Verb::Export(args) => carry::export(args, ctx, &store)?,
        Verb::Import(args) => carry::import(args, ctx, &store)?,
    }
    Ok(ExitCode::SUCCESS)
}
