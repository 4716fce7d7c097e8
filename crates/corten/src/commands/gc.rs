//! `corten gc`

use std::collections::HashSet;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use corten_content::{GcRoots, Layout, Source, Store, children, load};
use corten_snapshot::Snapshots;
use corten_spec::{Descriptor, DiffId, ImageConfig, Kind, Manifest};
use serde::Serialize;

use crate::context::Context;
use crate::error::CommandError;
use crate::output::{self, Format};
use crate::scratch;

/// Remove what no name, no build record and no running process needs
#[derive(Debug, Args)]
pub(crate) struct GcArgs {
    /// Forget what builds recorded first, and remove the caches of RUN
    #[arg(long)]
    cache: bool,
    /// Forget what no build has used for so long, such as `12h`, `30d` or `4w`, caches of RUN included
    #[arg(
        long,
        value_name = "AGE",
        default_value = "30d",
        conflicts_with = "cache"
    )]
    cache_max_age: Age,
    /// Remove everything derived from layers that no running process uses; it is made again when it is
    /// needed
    #[arg(long)]
    derived: bool,
    /// How to print what was removed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// What `--format json` prints.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    /// How many blobs were removed.
    removed_blobs: usize,
    /// How many bytes they had.
    removed_bytes: u64,
    /// How many blobs were kept.
    kept_blobs: usize,
    /// How many bytes they have.
    kept_bytes: u64,
    /// How many unfinished writes were removed.
    removed_ingests: usize,
    /// How many things derived from layers were removed.
    removed_derived: usize,
    /// How many build records were forgotten.
    removed_records: usize,
    /// How many directories that `RUN --mount=type=cache` kept were removed.
    removed_run_caches: usize,
    /// How many bytes of the disk they took.
    removed_run_cache_bytes: u64,
    /// What could not be read; then nothing that it might refer to was removed.
    problems: Vec<String>,
}

pub(crate) fn run(args: &GcArgs, ctx: &Context) -> Result<ExitCode, CommandError> {
    let store = ctx.store()?;
    scratch::remove_abandoned(ctx)?;
    let report = gc(args, &store).map_err(|error| error.while_doing("cannot collect garbage"))?;
    for problem in &report.problems {
        ctx.output.warn(problem);
    }
    match args.format {
        Format::Json => ctx.output.json(&report)?,
        Format::Text => ctx.output.data(&format!(
            "removed {} blobs ({}), kept {} ({})",
            report.removed_blobs,
            output::size(report.removed_bytes),
            report.kept_blobs,
            output::size(report.kept_bytes)
        ))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn gc(args: &GcArgs, store: &Store) -> Result<Report, CommandError> {
    let max_age = if args.cache {
        Duration::ZERO
    } else {
        args.cache_max_age.0
    };
    // Before the guard is taken: who fills one of them waits for that while others wait for who fills it.
    let run_caches =
        corten_build::prune_run_caches(store, max_age).map_err(CommandError::caused)?;
    // While it lives nobody adds anything, and this thread must not use the store itself.
    let mut guard = store.begin_gc().map_err(CommandError::caused)?;
    let removed_records =
        corten_build::prune_cache(store, max_age).map_err(CommandError::caused)?;
    let cached = corten_build::cached_layers(store).map_err(CommandError::caused)?;
    let roots = GcRoots {
        descriptors: cached.iter().map(|(layer, _)| layer.clone()).collect(),
    };
    let swept = guard.sweep(&roots).map_err(CommandError::caused)?;
    let mut report = Report {
        removed_blobs: swept.removed_blobs,
        removed_bytes: swept.removed_bytes,
        kept_blobs: swept.kept_blobs,
        kept_bytes: swept.kept_bytes,
        removed_ingests: swept.removed_ingests,
        removed_records,
        removed_run_caches: run_caches.len(),
        removed_run_cache_bytes: run_caches.iter().map(|cache| cache.disk_bytes).sum(),
        problems: swept
            .problems
            .iter()
            .map(|problem| format!("{}: {}", problem.content, problem.error))
            .collect(),
        ..Report::default()
    };
    if swept.held_back {
        return Ok(report);
    }
    let kept = if args.derived {
        Vec::new()
    } else {
        kept_stacks(store, cached)?
    };
    let retired = Snapshots::new(store)
        .retire(&kept, &|key| guard.is_protected(key))
        .map_err(CommandError::caused)?;
    // Unpacked images take seconds to remove, and nobody has to wait for that.
    drop(guard);
    report.removed_derived = retired.remove().map_err(CommandError::caused)?.n_removed;
    Ok(report)
}

/// Returns the stacks of layers whose derived data stays: those of images and of build records.
pub(crate) fn kept_stacks(
    store: &Store,
    cached: Vec<(Descriptor, Vec<DiffId>)>,
) -> Result<Vec<Vec<DiffId>>, CommandError> {
    // The store's own way of reading takes a lease, which waits for the gc.
    let layout = Layout::open(store.root()).map_err(CommandError::caused)?;
    let mut kept: Vec<Vec<DiffId>> = cached.into_iter().map(|(_, stack)| stack).collect();
    let mut seen = HashSet::new();
    for entry in layout.entries().map_err(CommandError::caused)? {
        if seen.insert(entry.digest.clone()) {
            collect_stacks(&layout, &entry, &mut kept, 0);
        }
    }
    Ok(kept)
}

/// How old something may get, as in `30d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Age(pub(crate) Duration);

impl FromStr for Age {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        const EXPECTED: &str = "expected a number and a unit, `s`, `m`, `h`, `d` or `w`";
        let digits = text.trim_end_matches(char::is_alphabetic);
        let seconds: u64 = match text.strip_prefix(digits) {
            Some("s") => 1,
            Some("m") => 60,
            Some("h") => 60 * 60,
            Some("d") => 24 * 60 * 60,
            Some("w") => 7 * 24 * 60 * 60,
            _ => return Err(EXPECTED),
        };
        let count: u64 = digits.parse().map_err(|_| EXPECTED)?;
        let total = count.checked_mul(seconds).ok_or(EXPECTED)?;
        Ok(Self(Duration::from_secs(total)))
    }
}

/// Adds the stacks of layers of all images below `content`. What is not there or no image has none,
/// and what is derived from layers can be derived again.
fn collect_stacks(
    source: &dyn Source,
    content: &Descriptor,
    stacks: &mut Vec<Vec<DiffId>>,
    depth: usize,
) {
    match content.kind() {
        Kind::Index if depth < corten_content::graph::MAX_DEPTH => {
            for child in children(source, content).unwrap_or_default() {
                collect_stacks(source, &child, stacks, depth + 1);
            }
        }
        Kind::Manifest => {
            let config = load::<Manifest>(source, content).map(|manifest| manifest.value.config);
            let config = config.and_then(|config| load::<ImageConfig>(source, &config));
            stacks.extend(config.map(|config| config.value.rootfs.diff_ids));
        }
        Kind::Index | Kind::Config | Kind::Layer { .. } | Kind::Schema1 | Kind::Other => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages() {
        #[track_caller]
        fn check(text: &str, expected: Option<u64>) {
            let age = text.parse::<Age>().ok().map(|age| age.0.as_secs());
            assert_eq!(age, expected, "{text:?}");
        }
        check("0s", Some(0));
        check("90m", Some(5400));
        check("2h", Some(7200));
        check("30d", Some(2_592_000));
        check("1w", Some(604_800));
        check("30", None);
        check("d", None);
        check("-1d", None);
        check("1.5d", None);
        check("99999999999999999999d", None);
        check("9999999999999999w", None);
    }
}
