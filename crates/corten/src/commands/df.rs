//! `corten df`

use std::collections::HashSet;
use std::process::ExitCode;

use clap::Args;
use corten_build::RunCache;
use corten_content::usage::{ImageUsage, Space};
use corten_content::{GcRoots, Store};
use corten_snapshot::{DerivedUsage, Snapshots};
use corten_spec::Digest;
use serde::Serialize;

use crate::commands::gc;
use crate::context::Context;
use crate::error::CommandError;
use crate::output::{self, Format, Verbosity};

/// Tell what takes space in the local store
///
/// Sizes are blocks of the disk, each file once. RECLAIMABLE is what `corten gc` would give back;
/// `--verbose` lists the images, with what they share and what would go with each, and the caches of
/// RUN.
#[derive(Debug, Args)]
pub(crate) struct DfArgs {
    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// What `--format json` prints; sizes are bytes of the disk.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    /// What each kind of thing takes.
    kinds: Vec<Row>,
    /// What each image takes.
    images: Vec<Image>,
    /// What everything takes.
    size: u64,
    /// What `corten gc` would give back.
    reclaimable: u64,
    /// The directories that `RUN --mount=type=cache` keeps.
    run_caches: Vec<Cache>,
    /// What `corten gc --cache` would give back beyond that.
    reclaimable_cache: u64,
    /// What `corten gc --derived` would give back beyond `corten gc`.
    reclaimable_derived: u64,
    /// What is free on the file system, for this user.
    free: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    /// `blobs`, `layers/tar`, `build records`, …
    kind: String,
    count: usize,
    size: u64,
    reclaimable: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Cache {
    /// Its namespace, a slash, and its id.
    id: String,
    size: u64,
    /// When a command last began to use it, RFC 3339.
    used: String,
    in_use: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Image {
    names: Vec<String>,
    digest: Digest,
    /// How many blobs.
    blobs: usize,
    size: u64,
    shared: u64,
    unique: u64,
}

pub(crate) fn run(args: &DfArgs, ctx: &Context) -> Result<ExitCode, CommandError> {
    let store = ctx.store()?;
    let report = measure(&store).map_err(|error| {
        error.while_doing(format!(
            "cannot measure the store `{}`",
            ctx.root().display()
        ))
    })?;
    if args.format == Format::Json {
        ctx.output.json(&report)?;
        return Ok(ExitCode::SUCCESS);
    }
    ctx.output.data(&output::table(&kinds_table(&report)))?;
    if ctx.output.verbosity >= Verbosity::Verbose {
        ctx.output.data("")?;
        ctx.output.data(&output::table(&images_table(&report)))?;
        if !report.run_caches.is_empty() {
            ctx.output.data("")?;
            ctx.output.data(&output::table(&caches_table(&report)))?;
        }
    }
    ctx.output.note(&format!(
        "`corten gc` gives back {}, `--cache` {} more, `--derived` {} more; {} are free",
        output::size(report.reclaimable),
        output::size(report.reclaimable_cache),
        output::size(report.reclaimable_derived),
        output::size(report.free)
    ));
    Ok(ExitCode::SUCCESS)
}

fn measure(store: &Store) -> Result<Report, CommandError> {
    // Before the guard is taken: who fills one of them waits for that while others wait for who fills it.
    let run_caches = corten_build::run_caches(store).map_err(CommandError::caused)?;
    // While it lives nothing changes, and this thread must not use the store itself.
    let guard = store.begin_gc().map_err(CommandError::caused)?;
    let cached = corten_build::cached_layers(store).map_err(CommandError::caused)?;
    let records = corten_build::check_cache(store).map_err(CommandError::caused)?;
    let run_cache_bytes = run_caches.iter().map(|cache| cache.disk_bytes).sum();
    let idle_cache_bytes: u64 = run_caches
        .iter()
        .filter(|cache| !cache.in_use)
        .map(|cache| cache.disk_bytes)
        .sum();
    let roots = GcRoots {
        descriptors: cached.iter().map(|(layer, _)| layer.clone()).collect(),
    };
    let usage = guard.usage(&roots).map_err(CommandError::caused)?;
    let is_protected = |key: &str| guard.is_protected(key);
    let snapshots = Snapshots::new(store);
    let unneeded = snapshots
        .unneeded(&gc::kept_stacks(store, cached)?, &is_protected)
        .map_err(CommandError::caused)?;
    let unneeded: HashSet<_> = unneeded.into_iter().collect();
    let derived = snapshots
        .usage(&|path| !unneeded.contains(path), &is_protected)
        .map_err(CommandError::caused)?;
    drop(guard);

    let mut kinds = vec![
        Row::new("blobs", usage.blobs, usage.unneeded.disk_bytes),
        Row::new(
            "unfinished writes",
            sum(usage.leftovers, usage.writing),
            usage.leftovers.disk_bytes,
        ),
        Row::new(
            "build records",
            Space {
                count: records.n_records,
                disk_bytes: records.disk_bytes,
            },
            0,
        ),
        Row::new(
            "caches of RUN",
            Space {
                count: run_caches.len(),
                disk_bytes: run_cache_bytes,
            },
            0,
        ),
    ];
    let droppable = |usage: &DerivedUsage| {
        usage.droppable_bytes - usage.reclaimable_bytes.min(usage.droppable_bytes)
    };
    let reclaimable_derived = derived.iter().map(droppable).sum();
    kinds.extend(derived.into_iter().map(|usage| Row {
        kind: format!("layers/{}", usage.kind),
        count: usage.count,
        size: usage.disk_bytes,
        reclaimable: usage.reclaimable_bytes,
    }));
    let free = rustix::fs::statvfs(store.root()).map_or(0, |free| free.f_bavail * free.f_frsize);
    Ok(Report {
        images: usage.images.into_iter().map(Image::of).collect(),
        size: kinds.iter().map(|row| row.size).sum(),
        reclaimable: kinds.iter().map(|row| row.reclaimable).sum(),
        reclaimable_cache: usage.cached.disk_bytes + records.disk_bytes + idle_cache_bytes,
        run_caches: run_caches.into_iter().map(Cache::of).collect(),
        reclaimable_derived,
        free,
        kinds,
    })
}

fn sum(one: Space, other: Space) -> Space {
    Space {
        count: one.count + other.count,
        disk_bytes: one.disk_bytes + other.disk_bytes,
    }
}

impl Row {
    fn new(kind: &str, space: Space, reclaimable: u64) -> Self {
        Self {
            kind: kind.to_owned(),
            count: space.count,
            size: space.disk_bytes,
            reclaimable,
        }
    }
}

impl Cache {
    fn of(cache: RunCache) -> Self {
        Self {
            id: cache.id,
            size: cache.disk_bytes,
            used: jiff::Timestamp::try_from(cache.used)
                .unwrap_or_default()
                .round(jiff::Unit::Second)
                .unwrap_or_default()
                .to_string(),
            in_use: cache.in_use,
        }
    }
}

impl Image {
    fn of(usage: ImageUsage) -> Self {
        Self {
            names: usage.names,
            digest: usage.content.digest,
            blobs: usage.total.count,
            size: usage.total.disk_bytes,
            shared: usage.shared.disk_bytes,
            unique: usage.unique.disk_bytes,
        }
    }
}

fn kinds_table(report: &Report) -> Vec<Vec<String>> {
    let heading = ["KIND", "COUNT", "SIZE", "RECLAIMABLE"].map(str::to_owned);
    let row = |row: &Row| {
        vec![
            row.kind.clone(),
            row.count.to_string(),
            output::size(row.size),
            output::size(row.reclaimable),
        ]
    };
    let total = vec![
        "total".to_owned(),
        String::new(),
        output::size(report.size),
        output::size(report.reclaimable),
    ];
    let rows = report.kinds.iter().map(row);
    [heading.to_vec()]
        .into_iter()
        .chain(rows)
        .chain([total])
        .collect()
}

fn caches_table(report: &Report) -> Vec<Vec<String>> {
    let heading = ["CACHE OF RUN", "SIZE", "USED"].map(str::to_owned);
    let row = |cache: &Cache| {
        let used = if cache.in_use { "now" } else { &cache.used };
        // Most are in no namespace.
        let id = cache.id.strip_prefix('/').unwrap_or(&cache.id);
        vec![id.to_owned(), output::size(cache.size), used.to_owned()]
    };
    let rows = report.run_caches.iter().map(row);
    [heading.to_vec()].into_iter().chain(rows).collect()
}

fn images_table(report: &Report) -> Vec<Vec<String>> {
    let heading = ["NAME", "SIZE", "SHARED", "UNIQUE"].map(str::to_owned);
    let rows = report.images.iter().map(|image| {
        let name = match image.names.as_slice() {
            [] => image.digest.to_string(),
            [name] => name.clone(),
            [name, others @ ..] => format!("{name} (and {} more)", others.len()),
        };
        vec![
            name,
            output::size(image.size),
            output::size(image.shared),
            output::size(image.unique),
        ]
    });
    [heading.to_vec()].into_iter().chain(rows).collect()
}
