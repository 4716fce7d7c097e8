//! `corten cache`

use std::process::ExitCode;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};
use corten_build::CacheEntry;
use corten_content::Store;
use corten_spec::Digest;
use serde::Serialize;

use crate::commands::gc::Age;
use crate::context::Context;
use crate::error::CommandError;
use crate::limits;
use crate::output::{self, Format};

/// List and forget what builds recorded
///
/// A build record says which layer a step made; while there is one, `gc` keeps the layer.
#[derive(Debug, Args)]
pub(crate) struct CacheArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List the build records, the one used last first
    Ls(LsArgs),
    /// Forget build records
    Rm(RmArgs),
    /// Forget the build records that were used longest ago
    Prune(PruneArgs),
}

#[derive(Debug, Args)]
struct LsArgs {
    /// How to print them
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, Args)]
struct RmArgs {
    /// Keys, or what only one key begins with
    #[arg(value_name = "KEY", required = true)]
    keys: Vec<String>,
    /// How to print what was forgotten
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, Args)]
#[group(id = "budget", required = true, multiple = true)]
struct PruneArgs {
    /// Keep so many bytes of layers, such as `20GiB`
    #[arg(long, value_name = "SIZE", group = "budget")]
    keep_storage: Option<Bytes>,
    /// Keep what was used within this time, such as `12h`, `30d` or `4w`
    #[arg(long, visible_alias = "until", value_name = "AGE", group = "budget")]
    keep_duration: Option<Age>,
    /// Keep nothing
    #[arg(long, group = "budget", conflicts_with_all = ["keep_storage", "keep_duration"])]
    all: bool,
    /// How to print what was forgotten
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// A number of bytes, as in `512MiB`.
#[derive(Debug, Clone, Copy)]
struct Bytes(u64);

impl FromStr for Bytes {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        limits::number(text)
            .map(Self)
            .ok_or("expected a number such as 4000000, 512MiB or 64GiB, with 1 MiB = 2^20")
    }
}

/// What `ls --format json` prints an array of, in the member `records`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Record<'a> {
    key: &'a Digest,
    /// The layer that the step made, if it changed a file.
    layer: Option<&'a Digest>,
    /// The bytes of that layer as it is stored.
    size: u64,
    /// RFC 3339.
    created: &'a str,
    /// RFC 3339, up to about an hour.
    used: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Records<'a> {
    records: Vec<Record<'a>>,
}

/// What `rm` and `prune` print with `--format json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Forgotten {
    /// How many records were forgotten.
    records: usize,
}

pub(crate) fn run(args: &CacheArgs, ctx: &Context) -> Result<ExitCode, CommandError> {
    let store = ctx.store()?;
    match &args.verb {
        Verb::Ls(args) => list(args, ctx, &store)?,
        Verb::Rm(args) => {
            let forgotten = remove(args, &store)?;
            report(ctx, args.format, forgotten)?;
        }
        Verb::Prune(args) => {
            let forgotten = prune(args, &store)?;
            report(ctx, args.format, forgotten)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn list(args: &LsArgs, ctx: &Context, store: &Store) -> Result<(), CommandError> {
    let entries = corten_build::list_cache(store).map_err(CommandError::caused)?;
    if args.format == Format::Json {
        let records = entries.iter().map(Record::of).collect();
        return ctx.output.json(&Records { records });
    }
    let heading = ["KEY", "SIZE", "USED", "CREATED"]
        .map(str::to_owned)
        .to_vec();
    let now = SystemTime::now();
    let row = |entry: &CacheEntry| {
        let size = entry.layer.as_ref().map_or(0, |layer| layer.size);
        let age = now.duration_since(entry.used).unwrap_or_default();
        vec![
            short(&entry.key),
            output::size(size),
            ago(age),
            entry.created.clone(),
        ]
    };
    let rows: Vec<_> = [heading]
        .into_iter()
        .chain(entries.iter().map(row))
        .collect();
    ctx.output.data(&output::table(&rows))
}

fn remove(args: &RmArgs, store: &Store) -> Result<usize, CommandError> {
    let entries = corten_build::list_cache(store).map_err(CommandError::caused)?;
    let mut keys = Vec::new();
    for wanted in &args.keys {
        let start = wanted.strip_prefix("sha256:").unwrap_or(wanted);
        let fits = |entry: &&CacheEntry| entry.key.encoded().starts_with(start);
        let mut found = entries.iter().filter(fits);
        match (found.next(), found.next()) {
            (Some(entry), None) => keys.push(entry.key.clone()),
            (None, _) => {
                return Err(CommandError::failed(format!(
                    "no build record has a key that begins with `{wanted}`; nothing was forgotten"
                ))
                .hint("`corten cache ls` lists them"));
            }
            (Some(_), Some(_)) => {
                return Err(CommandError::failed(format!(
                    "the keys of several build records begin with `{wanted}`; nothing was forgotten"
                )));
            }
        }
    }
    keys.sort();
    keys.dedup();
    forget(store, &keys)
}

fn prune(args: &PruneArgs, store: &Store) -> Result<usize, CommandError> {
    if args.all {
        return corten_build::prune_cache(store, Duration::ZERO).map_err(CommandError::caused);
    }
    let mut forgotten = 0;
    if let Some(age) = &args.keep_duration {
        forgotten += corten_build::prune_cache(store, age.0).map_err(CommandError::caused)?;
    }
    if let Some(budget) = &args.keep_storage {
        let entries = corten_build::list_cache(store).map_err(CommandError::caused)?;
        forgotten += forget(store, &corten_build::over_budget(&entries, budget.0))?;
    }
    Ok(forgotten)
}

fn forget(store: &Store, keys: &[Digest]) -> Result<usize, CommandError> {
    corten_build::forget(store, keys).map_err(CommandError::caused)?;
    Ok(keys.len())
}

fn report(ctx: &Context, format: Format, records: usize) -> Result<(), CommandError> {
    if format == Format::Json {
        return ctx.output.json(&Forgotten { records });
    }
    ctx.output
        .data(&format!("forgot {records} build records"))?;
    ctx.output
        .note("`corten gc` gives back what only they needed");
    Ok(())
}

impl<'a> Record<'a> {
    fn of(entry: &'a CacheEntry) -> Self {
        let used = jiff::Timestamp::try_from(entry.used).unwrap_or_default();
        Self {
            key: &entry.key,
            layer: entry.layer.as_ref().map(|layer| &layer.digest),
            size: entry.layer.as_ref().map_or(0, |layer| layer.size),
            created: &entry.created,
            used: used.to_string(),
        }
    }
}

fn short(key: &Digest) -> String {
    key.encoded().chars().take(16).collect()
}

fn ago(age: Duration) -> String {
    let minutes = age.as_secs() / 60;
    match (minutes / (24 * 60), minutes / 60) {
        (0, 0) => format!("{minutes} min ago"),
        (0, hours) => format!("{hours} h ago"),
        (days, _) => format!("{days} d ago"),
    }
}
