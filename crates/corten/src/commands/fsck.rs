//! `corten fsck`

mod report;

use std::collections::HashSet;
use std::process::ExitCode;

use clap::Args;
use corten_build::CacheReport;
use corten_content::fsck::{Finding, Repaired, Survey, refetch};
use corten_content::{CopyOptions, Source, Store};
use corten_snapshot::{Derived, DerivedState, Snapshots};
use corten_spec::{Digest, Reference};

use crate::context::Context;
use crate::error::CommandError;
use crate::output::Format;
use crate::places::Place;
use crate::progress::Transfers;
use crate::registry::RegistryArgs;
use report::{Changes, Report};

/// Check everything in the local store again, and repair it
///
/// Every blob is hashed; names, documents, build records and what is derived from layers are checked.
/// Prints what is lost, and which images need it. Ends with 3 if content is damaged or missing, and
/// is not back at the end.
#[derive(Debug, Args)]
pub(crate) struct FsckArgs {
    /// Move damaged blobs out of the way, drop what is damaged and can be made again, and correct the
    /// index
    #[arg(long)]
    repair: bool,
    /// Take what is lost from the registries that the images' names point to
    #[arg(long, requires = "repair", conflicts_with = "from")]
    refetch: bool,
    /// Take what is lost from this place
    #[arg(long, value_name = "PLACE", requires = "repair")]
    from: Option<Place>,
    /// How to print what is found
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// What the program ends with when content is damaged.
const DAMAGED: u8 = 3;

pub(crate) fn run(args: &FsckArgs, ctx: &Context) -> Result<ExitCode, CommandError> {
    let doing = format!("cannot check the store `{}`", ctx.root().display());
    let report = check(args, ctx).map_err(|error| error.while_doing(doing))?;
    match args.format {
        Format::Json => ctx.output.json(&report)?,
        Format::Text => {
            let lines = report.lines();
            if !lines.is_empty() {
                ctx.output.data(&lines.join("\n"))?;
            }
            ctx.output.note(&report.summary());
        }
    }
    if report.is_sound {
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(advice) = report.advice() {
        ctx.output.note(&format!("hint: {advice}"));
    }
    Ok(ExitCode::from(DAMAGED))
}

fn check(args: &FsckArgs, ctx: &Context) -> Result<Report, CommandError> {
    let store = Store::open_damaged(ctx.root()).map_err(CommandError::caused)?;
    let snapshots = Snapshots::new(&store);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let cache = corten_build::check_cache(&store).map_err(CommandError::caused)?;
    let mut survey =
        Survey::take(&store, cache.layers.clone(), threads).map_err(CommandError::caused)?;
    let mut derived = snapshots.check(threads).map_err(CommandError::caused)?;
    let mut changes = Changes::default();
    if args.repair {
        if args.refetch || args.from.is_some() {
            changes.refetched = refetch_lost(args, ctx, &store, &mut survey)?;
        }
        repair(&store, &mut survey, &derived, &cache, &mut changes)?;
        derived.retain(|derived| {
            !matches!(derived.state, DerivedState::Damaged { .. }) || derived.path.exists()
        });
    }
    Ok(Report::new(&survey, &derived, &cache, changes))
}

/// Puts right what needs nothing from elsewhere.
fn repair(
    store: &Store,
    survey: &mut Survey,
    derived: &[Derived],
    cache: &CacheReport,
    changes: &mut Changes,
) -> Result<(), CommandError> {
    // While it lives nobody adds anything, and this thread must not use the store itself.
    let guard = store.begin_gc().map_err(CommandError::caused)?;
    let repaired: Repaired = guard.repair(survey).map_err(CommandError::caused)?;
    changes.dropped = Snapshots::new(store)
        .drop_damaged(derived, &|key| guard.is_protected(key))
        .map_err(CommandError::caused)?;
    corten_build::remove_records(&cache.useless).map_err(CommandError::caused)?;
    drop(guard);
    changes.forgotten = cache.useless.len();
    survey
        .update(store, &repaired.set_aside)
        .map_err(CommandError::caused)?;
    changes.repaired = repaired;
    Ok(())
}

/// Takes what is lost from elsewhere, and returns what came back. What a lost document refers to is
/// known only when that is back, so this goes on for as long as anything comes.
fn refetch_lost(
    args: &FsckArgs,
    ctx: &Context,
    store: &Store,
    survey: &mut Survey,
) -> Result<Vec<Digest>, CommandError> {
    let mut refetched = Vec::new();
    let mut tried = HashSet::new();
    loop {
        let mut came = Vec::new();
        for name in damaged_images(survey) {
            let source = match open(args, ctx, name.as_deref()) {
                Ok(Some(source)) => source,
                Ok(None) => continue,
                Err(error) => {
                    ctx.output.warn(&format!("{error}"));
                    continue;
                }
            };
            let progress = Transfers::new(ctx.output);
            let options = CopyOptions {
                jobs: args.registry.jobs,
                progress: &progress,
                ..CopyOptions::default()
            };
            for content in survey.lost_by(name.as_deref()) {
                if came.contains(&content.digest)
                    || !tried.insert((name.clone(), content.digest.clone()))
                {
                    continue;
                }
                match refetch(&*source, store, &content, &options) {
                    Ok(()) => came.push(content.digest),
                    Err(error) => {
                        let doing = format!("cannot refetch `{}`", content.digest);
                        ctx.output
                            .warn(&CommandError::doing(doing, error).to_string());
                    }
                }
            }
            progress.finish();
        }
        if came.is_empty() {
            return Ok(refetched);
        }
        survey.update(store, &came).map_err(CommandError::caused)?;
        refetched.extend(came);
    }
}

/// Returns the names of the images that lack something, each once.
fn damaged_images(survey: &Survey) -> Vec<Option<String>> {
    let mut names = Vec::new();
    for finding in survey.findings() {
        let Finding::Blob(lost) = finding else {
            continue;
        };
        for need in lost.needed_by {
            if !names.contains(&need.name) {
                names.push(need.name);
            }
        }
    }
    names
}

/// Opens the place that the image `name` is taken from; `None` if that is not known.
fn open(
    args: &FsckArgs,
    ctx: &Context,
    name: Option<&str>,
) -> Result<Option<Box<dyn Source>>, CommandError> {
    if let Some(from) = &args.from {
        return Ok(Some(from.open(ctx, &args.registry)?.source));
    }
    let Some(Ok(reference)) = name.map(str::parse::<Reference>) else {
        return Ok(None);
    };
    let source = Place::Registry(reference).open(ctx, &args.registry)?.source;
    Ok(Some(source))
}
