//! `corten cache ls`

use std::time::{Duration, SystemTime};

use clap::Args;
use corten_build::{CacheEntry, RunCache};
use corten_content::Store;
use corten_spec::Digest;
use serde::Serialize;

use super::Kind;
use crate::context::Context;
use crate::error::CommandError;
use crate::output::{self, Format};

#[derive(Debug, Args)]
pub(super) struct LsArgs {
    /// List nothing else
    #[arg(long, value_enum)]
    kind: Option<Kind>,
    /// How to print them
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// What `--format json` prints.
#[derive(Debug, Serialize)]
struct Listed<'a> {
    records: Vec<Record<'a>>,
    mounts: Vec<Mount<'a>>,
}

/// A build record.
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

/// A directory of `RUN --mount=type=cache`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Mount<'a> {
    /// Names the cache: a digest of its id and of what it holds at first.
    key: &'a Digest,
    /// The id, behind the namespace and a slash.
    id: &'a str,
    /// The bytes of the disk that it takes.
    size: u64,
    /// RFC 3339: when a command last began to use it.
    used: String,
    /// Whether a command uses it now.
    in_use: bool,
}

pub(super) fn run(args: &LsArgs, ctx: &Context, store: &Store) -> Result<(), CommandError> {
    let mut entries = Vec::new();
    if args.kind != Some(Kind::Mount) {
        entries = corten_build::list_cache(store).map_err(CommandError::caused)?;
    }
    let mut mounts = Vec::new();
    if args.kind != Some(Kind::Step) {
        mounts = corten_build::run_caches(store).map_err(CommandError::caused)?;
        mounts.sort_by_key(|mount| std::cmp::Reverse(mount.used));
    }
    if args.format == Format::Json {
        return ctx.output.json(&Listed {
            records: entries.iter().map(Record::of).collect(),
            mounts: mounts.iter().map(Mount::of).collect(),
        });
    }
    ctx.output.data(&output::table(&table(&entries, &mounts)))
}

fn table(entries: &[CacheEntry], mounts: &[RunCache]) -> Vec<Vec<String>> {
    let heading = ["KEY", "KIND", "SIZE", "USED", "IN USE", "ID"].map(str::to_owned);
    let now = SystemTime::now();
    let ago = |used| ago(now.duration_since(used).unwrap_or_default());
    let records = entries.iter().map(|entry| {
        let size = entry.layer.as_ref().map_or(0, |layer| layer.size);
        let row = [short(&entry.key), "step".to_owned(), output::size(size)];
        (entry.used, [&row[..], &[ago(entry.used)]].concat())
    });
    let mounts = mounts.iter().map(|mount| {
        let size = output::size(mount.disk_bytes);
        let in_use = if mount.in_use { "yes" } else { "no" };
        let row = [short(&mount.name), "mount".to_owned(), size];
        let rest = [
            ago(mount.used),
            in_use.to_owned(),
            mount.shown_id().to_owned(),
        ];
        (mount.used, [&row[..], &rest].concat())
    });
    let mut rows: Vec<_> = records.chain(mounts).collect();
    rows.sort_by_key(|(used, _)| std::cmp::Reverse(*used));
    let rows = rows.into_iter().map(|(_, row)| row);
    [heading.to_vec()].into_iter().chain(rows).collect()
}

impl<'a> Record<'a> {
    fn of(entry: &'a CacheEntry) -> Self {
        Self {
            key: &entry.key,
            layer: entry.layer.as_ref().map(|layer| &layer.digest),
            size: entry.layer.as_ref().map_or(0, |layer| layer.size),
            created: &entry.created,
            used: written(entry.used),
        }
    }
}

impl<'a> Mount<'a> {
    fn of(cache: &'a RunCache) -> Self {
        Self {
            key: &cache.name,
            id: &cache.id,
            size: cache.disk_bytes,
            used: written(cache.used),
            in_use: cache.in_use,
        }
    }
}

fn written(time: SystemTime) -> String {
    let time = jiff::Timestamp::try_from(time).unwrap_or_default();
    time.to_string()
}

/// What is shown of a key, and is enough to tell it from others.
pub(super) fn short(key: &Digest) -> String {
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
