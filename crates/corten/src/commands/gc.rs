//! `corten gc`

use std::process::ExitCode;

use clap::Args;
use corten_content::{GcRoots, Layout, Source, Store, children, load};
use corten_snapshot::Snapshots;
use corten_spec::{Descriptor, DiffId, ImageConfig, Kind, Manifest};
use serde::Serialize;

use crate::context::Context;
use crate::error::CommandError;
use crate::output::{self, Format};

/// Remove what no name, no build record and no running process needs
#[derive(Debug, Args)]
pub(crate) struct GcArgs {
    /// Forget what builds recorded first
    #[arg(long)]
    cache: bool,
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
    /// What could not be read; then nothing that it might refer to was removed.
    problems: Vec<String>,
}

pub(crate) fn run(args: &GcArgs, ctx: &Context) -> Result<ExitCode, CommandError> {
    let store = ctx.store()?;
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
    // While it lives nobody adds anything, and this thread must not use the store itself.
    let mut guard = store.begin_gc().map_err(CommandError::caused)?;
    let removed_records = if args.cache {
        corten_build::prune_cache(store).map_err(CommandError::caused)?
    } else {
        0
    };
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
    let layout = Layout::open(store.root()).map_err(CommandError::caused)?;
    let mut kept: Vec<Vec<DiffId>> = cached.into_iter().map(|(_, stack)| stack).collect();
    for entry in layout.entries().map_err(CommandError::caused)? {
        collect_stacks(&layout, &entry, &mut kept, 0);
    }
    let derived = Snapshots::new(store)
        .sweep(&kept, &|key| guard.is_protected(key))
        .map_err(CommandError::caused)?;
    report.removed_derived = derived.n_removed;
    Ok(report)
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
