//! `corten cache rm` and `prune`

use std::collections::HashSet;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use clap::Args;
use corten_build::budget::over_budget;
use corten_build::{CacheEntry, RunCache};
use corten_content::Store;
use corten_spec::Digest;
use serde::Serialize;

use super::Kind;
use crate::commands::gc::Age;
use crate::context::Context;
use crate::error::CommandError;
use crate::limits;
use crate::output::{self, Format};

#[derive(Debug, Args)]
pub(super) struct RmArgs {
    /// Keys, or what only one key begins with; ids of mounts
    #[arg(value_name = "KEY|ID", required = true)]
    keys: Vec<String>,
    /// How to print what was forgotten
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, Args)]
#[group(id = "budget", required = true, multiple = true)]
pub(super) struct PruneArgs {
    /// Keep so many bytes of layers and mounts, such as `20GiB`; with `--keep-duration`, what was used
    /// within that time is kept even if it is more
    #[arg(long, value_name = "SIZE", group = "budget")]
    keep_storage: Option<Bytes>,
    /// Keep what was used within this time, such as `12h`, `30d` or `4w`
    #[arg(
        long,
        visible_aliases = ["older-than", "until"],
        value_name = "AGE",
        group = "budget"
    )]
    keep_duration: Option<Age>,
    /// Keep nothing but what is in use
    #[arg(long, group = "budget", conflicts_with_all = ["keep_storage", "keep_duration"])]
    all: bool,
    /// Leave everything else as it is
    #[arg(long, value_enum)]
    kind: Option<Kind>,
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

/// What both print with `--format json`.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Forgotten {
    /// How many records were forgotten.
    records: usize,
    /// How many mounts were removed.
    mounts: usize,
    /// How many bytes of the disk these took.
    mount_bytes: u64,
}

pub(super) fn run(args: &RmArgs, ctx: &Context, store: &Store) -> Result<(), CommandError> {
    let entries = corten_build::list_cache(store).map_err(CommandError::caused)?;
    let mounts = corten_build::run_caches(store).map_err(CommandError::caused)?;
    let mut keys = HashSet::new();
    let mut names = HashSet::new();
    for wanted in &args.keys {
        match find(wanted, &entries, &mounts)? {
            Found::Record(key) => drop(keys.insert(key)),
            Found::Mounts(found) => names.extend(found),
        }
    }
    if let Some(used) = mounts
        .iter()
        .find(|one| one.in_use && names.contains(&one.name))
    {
        return Err(CommandError::failed(format!(
            "a command uses the mount `{}`; nothing was removed",
            used.shown_id()
        )));
    }
    let mut forgotten = Forgotten::default();
    forgotten.forget(store, &keys.into_iter().collect::<Vec<_>>())?;
    forgotten.remove(store, &|mount| names.contains(&mount.name))?;
    forgotten.report(ctx, args.format)
}

enum Found {
    Record(Digest),
    /// The names of all caches of an id.
    Mounts(Vec<Digest>),
}

/// Finds what `wanted` stands for: the id of mounts, or the start of one key.
fn find(wanted: &str, entries: &[CacheEntry], mounts: &[RunCache]) -> Result<Found, CommandError> {
    let of_id = mounts
        .iter()
        .filter(|mount| mount.shown_id() == wanted || mount.id == wanted);
    let of_id: Vec<_> = of_id.map(|mount| mount.name.clone()).collect();
    if !of_id.is_empty() {
        return Ok(Found::Mounts(of_id));
    }
    let start = wanted.strip_prefix("sha256:").unwrap_or(wanted);
    let records = entries.iter().map(|entry| (&entry.key, Kind::Step));
    let mounts = mounts.iter().map(|mount| (&mount.name, Kind::Mount));
    let all = records.chain(mounts);
    let mut keys: Vec<_> = all
        .filter(|(key, _)| key.encoded().starts_with(start))
        .collect();
    // A cache of several directories is one.
    keys.dedup();
    match keys[..] {
        [(key, Kind::Step)] => Ok(Found::Record(key.clone())),
        [(name, Kind::Mount)] => Ok(Found::Mounts(vec![name.clone()])),
        [] => Err(CommandError::failed(format!(
            "nothing has the id `{wanted}` or a key that begins with it; nothing was forgotten"
        ))
        .hint("`corten cache ls` lists what there is")),
        _ => Err(CommandError::failed(format!(
            "several keys begin with `{wanted}`; nothing was forgotten"
        ))),
    }
}

pub(super) fn prune(args: &PruneArgs, ctx: &Context, store: &Store) -> Result<(), CommandError> {
    let mut forgotten = Forgotten::default();
    let age = if args.all {
        Some(Duration::ZERO)
    } else {
        args.keep_duration.map(|age| age.0)
    };
    if let (Some(age), None) = (age, &args.keep_storage) {
        if args.kind != Some(Kind::Mount) {
            forgotten.records +=
                corten_build::prune_cache(store, age).map_err(CommandError::caused)?;
        }
        if args.kind != Some(Kind::Step) {
            let removed = corten_build::prune_run_caches(store, age);
            forgotten.add(&removed.map_err(CommandError::caused)?);
        }
    }
    if let Some(budget) = &args.keep_storage {
        let entries = match args.kind {
            Some(Kind::Mount) => Vec::new(),
            _ => corten_build::list_cache(store).map_err(CommandError::caused)?,
        };
        let mounts = match args.kind {
            Some(Kind::Step) => Vec::new(),
            _ => corten_build::run_caches(store).map_err(CommandError::caused)?,
        };
        let mut over = over_budget(&entries, &mounts, budget.0);
        // What is young stays, however much there is.
        let is_young = |used| age.is_some_and(|age| is_within(used, age));
        let young = entries.iter().filter(|entry| is_young(entry.used));
        let young: HashSet<_> = young.map(|entry| &entry.key).collect();
        over.keys.retain(|key| !young.contains(key));
        let paths: HashSet<PathBuf> = over.run_caches.into_iter().collect();
        forgotten.forget(store, &over.keys)?;
        forgotten.remove(store, &|mount| {
            paths.contains(&mount.path) && !is_young(mount.used)
        })?;
    }
    forgotten.report(ctx, args.format)
}

/// Tells whether something was `used` less than `age` ago; one from the future is as good as new.
fn is_within(used: SystemTime, age: Duration) -> bool {
    let since = SystemTime::now().duration_since(used);
    !age.is_zero() && since.unwrap_or_default() <= age
}

impl Forgotten {
    fn forget(&mut self, store: &Store, keys: &[Digest]) -> Result<(), CommandError> {
        corten_build::forget(store, keys).map_err(CommandError::caused)?;
        self.records += keys.len();
        Ok(())
    }

    fn remove(
        &mut self,
        store: &Store,
        unwanted: &dyn Fn(&RunCache) -> bool,
    ) -> Result<(), CommandError> {
        let removed = corten_build::remove_run_caches(store, unwanted);
        self.add(&removed.map_err(CommandError::caused)?);
        Ok(())
    }

    fn add(&mut self, removed: &[RunCache]) {
        self.mounts += removed.len();
        self.mount_bytes += removed.iter().map(|mount| mount.disk_bytes).sum::<u64>();
    }

    fn report(&self, ctx: &Context, format: Format) -> Result<(), CommandError> {
        if format == Format::Json {
            return ctx.output.json(self);
        }
        ctx.output.data(&format!(
            "forgot {} build records, removed {} mounts ({})",
            self.records,
            self.mounts,
            output::size(self.mount_bytes)
        ))?;
        ctx.output
            .note("`corten gc` gives back what only build records needed");
        Ok(())
    }
}
