//! `corten cache export` and `import`: what `RUN --mount=type=cache` keeps, from machine to machine.

use clap::Args;
use corten_build::RunCache;
use corten_build::caches::mounts::{ExportedMounts, Put, export_mounts, import_mounts};
use corten_content::{CopyOptions, Store};
use corten_snapshot::PackOptions;
use corten_spec::Digest;
use serde::Serialize;

use crate::cache_places::{CacheAt, MountsAt};
use crate::compression::CompressionArgs;
use crate::context::Context;
use crate::error::CommandError;
use crate::output::{self, Format};
use crate::progress::Transfers;
use crate::registry::RegistryArgs;

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// Ids or keys of mounts [default: all]
    #[arg(value_name = "KEY|ID")]
    mounts: Vec<String>,
    /// Where to: `type=registry,ref=NAME`, `type=local,dest=DIR`, or NAME alone. They get the tag of the
    /// cache with `-mounts` behind it, and those of others that are there stay
    #[arg(long, value_name = "PLACE")]
    to: MountsAt,
    #[command(flatten)]
    compression: CompressionArgs,
    /// How to print what was written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    registry: RegistryArgs,
}

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// Ids or keys of mounts [default: all that are there]
    #[arg(value_name = "KEY|ID")]
    mounts: Vec<String>,
    /// Where from: `type=registry,ref=NAME`, `type=local,src=DIR`, or NAME alone. It is to be trusted
    /// like a base image
    #[arg(long, value_name = "PLACE")]
    from: MountsAt,
    /// Replace mounts that are here already
    #[arg(long)]
    replace: bool,
    /// How to print what was done
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// What `export --format json` prints.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Exported<'a> {
    /// The manifest, unless there was nothing to write.
    manifest: Option<&'a Digest>,
    /// The ids of the mounts that were written.
    mounts: &'a [String],
    /// How many blobs were sent.
    sent: usize,
    /// How many bytes those were.
    sent_bytes: u64,
    /// The mounts that were left out.
    left_out: Vec<LeftOut<'a>>,
}

#[derive(Debug, Serialize)]
struct LeftOut<'a> {
    id: &'a str,
    reason: &'a str,
}

/// What `import --format json` prints.
#[derive(Debug, Serialize)]
struct Imported {
    mounts: Vec<ImportedMount>,
}

#[derive(Debug, Serialize)]
struct ImportedMount {
    /// The id, behind the namespace and a slash.
    id: String,
    /// `made`, `replaced`, `kept` or `inUse`.
    done: &'static str,
}

/// Writes those mounts that are `wanted` to `at`.
pub(crate) fn send(
    ctx: &Context,
    at: &CacheAt,
    wanted: &dyn Fn(&RunCache) -> bool,
    pack: &PackOptions,
    registry: &RegistryArgs,
) -> Result<ExportedMounts, CommandError> {
    let store = ctx.store()?;
    let target = at.open(registry, ctx)?;
    let lock = at.lock()?;
    let progress = Transfers::new(ctx.output);
    let options = CopyOptions {
        jobs: registry.jobs,
        progress: &progress,
        ..CopyOptions::default()
    };
    let done = export_mounts(&store, wanted, &target, pack, &options);
    progress.finish();
    drop(lock);
    done.map_err(CommandError::caused)
}

/// Tells what was written, and what was not.
pub(crate) fn report(ctx: &Context, at: &CacheAt, done: &ExportedMounts) {
    for (id, reason) in &done.left_out {
        ctx.output
            .warn(&format!("the mount `{id}` was left out: {reason}"));
    }
    if let Some(exported) = &done.exported {
        ctx.output.note(&format!(
            "{at} has {} mounts; {} blobs ({}) were sent",
            exported.n_records,
            exported.sent,
            output::size(exported.bytes)
        ));
    }
}

pub(super) fn export(args: &ExportArgs, ctx: &Context, store: &Store) -> Result<(), CommandError> {
    let mounts = corten_build::run_caches(store).map_err(CommandError::caused)?;
    let missing = args.mounts.iter().find(|wanted| {
        let mut mounts = mounts.iter();
        !mounts.any(|mount| is_named(wanted, &mount.name, &mount.id))
    });
    if let Some(missing) = missing {
        return Err(unknown(missing));
    }
    let pack = PackOptions {
        max_bytes: ctx.layer_limits().archive.total_bytes,
        ..args.compression.pack()
    };
    let wanted = |mount: &RunCache| is_wanted(&args.mounts, &mount.name, &mount.id);
    let at = &args.to.0;
    let done = send(ctx, at, &wanted, &pack, &args.registry)
        .map_err(|error| error.while_doing(format!("cannot write the mounts to `{at}`")))?;
    report(ctx, at, &done);
    print(args.format, ctx, &done)?;
    if done.left_out.is_empty() {
        return Ok(());
    }
    Err(CommandError::failed(format!(
        "{} of {} mounts were left out",
        done.left_out.len(),
        done.left_out.len() + done.ids.len()
    )))
}

fn print(format: Format, ctx: &Context, done: &ExportedMounts) -> Result<(), CommandError> {
    let manifest = done.exported.as_ref().map(|done| &done.manifest.digest);
    if format == Format::Text {
        return match manifest {
            Some(manifest) => ctx.output.data(manifest.as_str()),
            None => Ok(()),
        };
    }
    let left_out = done.left_out.iter();
    ctx.output.json(&Exported {
        manifest,
        mounts: &done.ids,
        sent: done.exported.as_ref().map_or(0, |done| done.sent),
        sent_bytes: done.exported.as_ref().map_or(0, |done| done.bytes),
        left_out: left_out
            .map(|(id, reason)| LeftOut { id, reason })
            .collect(),
    })
}

pub(super) fn import(args: &ImportArgs, ctx: &Context, store: &Store) -> Result<(), CommandError> {
    let at = &args.from.0;
    if let CacheAt::Local(path, _) = at
        && !path.join("oci-layout").exists()
    {
        let path = path.display();
        return Err(CommandError::failed(format!(
            "there is no cache in `{path}`"
        )));
    }
    let source = at.open(&args.registry, ctx)?;
    let wanted = |name: &Digest, id: &str| is_wanted(&args.mounts, name, id);
    let limits = ctx.layer_limits();
    let done = import_mounts(store, &source, &wanted, args.replace, &limits)
        .map_err(CommandError::caused)
        .map_err(|error| error.while_doing(format!("cannot take mounts from `{at}`")))?;
    let missing = args.mounts.iter().find(|wanted| {
        let mut done = done.iter();
        !done.any(|one| is_named(wanted, &one.name, &one.id))
    });
    if let Some(missing) = missing {
        return Err(unknown(missing));
    }
    let done = done.into_iter().map(|one| ImportedMount {
        id: one.id,
        done: match one.put {
            Put::Made => "made",
            Put::Replaced => "replaced",
            Put::Kept => "kept",
            Put::InUse => "inUse",
        },
    });
    let mounts: Vec<_> = done.collect();
    if args.format == Format::Json {
        return ctx.output.json(&Imported { mounts });
    }
    for mount in &mounts {
        let id = mount.id.strip_prefix('/').unwrap_or(&mount.id);
        let done = match mount.done {
            "kept" => "is there already; `--replace` replaces it",
            "inUse" => "is there already, and a command uses it",
            done => done,
        };
        ctx.output.data(&format!("{id}: {done}"))?;
    }
    Ok(())
}

fn unknown(wanted: &str) -> CommandError {
    CommandError::failed(format!("there is no mount `{wanted}`"))
        .hint("`corten cache ls --kind mount` lists what is here")
}

fn is_wanted(wanted: &[String], name: &Digest, id: &str) -> bool {
    wanted.is_empty() || wanted.iter().any(|one| is_named(one, name, id))
}

/// Tells whether `wanted` is an id, with or without a namespace, or begins a key: what is shown of one
/// is enough.
fn is_named(wanted: &str, name: &Digest, id: &str) -> bool {
    let start = wanted.strip_prefix("sha256:").unwrap_or(wanted);
    let is_key = start.len() >= 16 && name.encoded().starts_with(start);
    is_key || id == wanted || id.strip_prefix('/') == Some(wanted)
}
