//! The caches of one build: opened before, written after.

use std::collections::BTreeSet;
use std::sync::Arc;

use corten_build::caches::{Caches, Exported, Mode, WithCaches, export};
use corten_build::request::LayersOf;
use corten_build::{BuildRequest, RunCache};
use corten_content::{CopyOptions, MountSource, Sink as _, Source as _, Store, load_image};
use corten_spec::{Descriptor, Reference};
use corten_tar::Compression;

use super::BuildArgs;
use super::caching::CacheTo;
use super::outcome::{Image, Outcome};
use crate::cache_places::CacheAt;
use crate::commands::cache::carry;
use crate::context::Context;
use crate::error::CommandError;
use crate::lazy::LazyImages;
use crate::output;
use crate::outputs::BuildOutput;
use crate::places::{Name, Opened, Place};
use crate::progress::Transfers;

/// Opens the caches that steps are taken from, and has the build note what others could use.
pub(super) fn open(
    args: &BuildArgs,
    ctx: &Context,
    request: &mut BuildRequest,
) -> Result<(), CommandError> {
    check_compression(args, request)?;
    if args.caching.cache_from.is_empty() && args.caching.cache_to.is_empty() {
        return Ok(());
    }
    let (mut sources, mut mounts) = (Vec::new(), Vec::new());
    for from in &args.caching.cache_from {
        match &from.at {
            CacheAt::Local(path, _) if !path.join("oci-layout").exists() => {
                let path = path.display();
                ctx.output
                    .warn(&format!("there is no cache in `{path}` yet"));
            }
            at @ (CacheAt::Local(..) | CacheAt::Registry(_)) => {
                sources.push(at.open(&args.registry, ctx)?);
                if from.mounts {
                    let at = at.of_mounts().map_err(CommandError::usage)?;
                    mounts.push(at.open(&args.registry, ctx)?);
                }
            }
        }
    }
    let has_sources = !sources.is_empty();
    // An index, another image that needs the same layers, and what is squashed are read from the store.
    let is_several = args.image.platforms().len() > 1 || !request.more_targets.is_empty();
    let needs_layers = is_several || args.image.squash;
    let (caches, warnings) = Caches::read(sources, &request.platform);
    let (caches, of_mounts) = caches.with_mounts(mounts);
    for warning in warnings.iter().chain(&of_mounts) {
        ctx.output.warn(warning);
    }
    let n_records = caches.n_records();
    ctx.output
        .detail(&format!("the caches know {n_records} steps"));
    request.caches = Some(Arc::new(caches));
    request.inline_cache = args.caching.cache_to.iter().any(|to| to.at.is_none());
    if request.inline_cache && args.image.squash {
        let text = "a squashed image has none of the layers that a cache within it is about";
        return Err(CommandError::usage(text).hint("write the cache elsewhere with `--cache-to`"));
    }
    if has_sources && !needs_layers && is_only_pushed(args) {
        request.layers = LayersOf::Anywhere;
    }
    Ok(())
}

/// Tells whether the image goes to registries and nowhere else: its layers need not come here then.
fn is_only_pushed(args: &BuildArgs) -> bool {
    let outputs = &args.outputs;
    let is_pushed = outputs.push
        || outputs
            .output
            .iter()
            .any(|output| output.to == BuildOutput::Registry);
    let mut outputs = outputs.output.iter();
    is_pushed && outputs.all(|output| output.to == BuildOutput::Registry)
}

fn check_compression(args: &BuildArgs, request: &BuildRequest) -> Result<(), CommandError> {
    let used = match request.pack.compression {
        Compression::Gzip => "gzip",
        Compression::Zstd => "zstd",
        Compression::None => "uncompressed",
    };
    let mut wanted = args
        .caching
        .cache_to
        .iter()
        .filter_map(|to| to.compression.as_deref());
    match wanted.find(|wanted| *wanted != used) {
        Some(wanted) => Err(CommandError::usage(format!(
            "a cache is to have layers of `{wanted}`, and the image has `{used}`"
        ))
        .hint("the layers are the same; choose with `--compression`")),
        None => Ok(()),
    }
}

/// Tells whether all layers of the image are in the store, so that it may have a name there.
pub(super) fn is_whole(store: &Store, Image { request, built }: &Image) -> bool {
    let whole = || {
        let image = load_image(store, &built.manifest, &request.platform).ok()?;
        let mut layers = image.manifest.value.layers.iter();
        Some(layers.all(|layer| store.contains(layer).unwrap_or_default()))
    };
    request.layers == LayersOf::Store || whole().unwrap_or_default()
}

/// Opens the image that was built, wherever its layers are.
pub(super) fn open_built(
    (args, ctx): (&BuildArgs, &Context),
    request: &BuildRequest,
    images: &LazyImages,
    root: &Descriptor,
) -> Result<Opened, CommandError> {
    let digest = root.digest.clone();
    match &request.caches {
        None => Place::Store(Name::Digest(digest)).open(ctx, &args.registry),
        Some(caches) => Ok(Opened {
            source: images.beside(WithCaches {
                store: ctx.store()?,
                caches: Arc::clone(caches),
                pushed_to: None,
            }),
            name: digest.to_string(),
            client: None,
        }),
    }
}

/// Writes what the build made or found to the caches that want it.
pub(super) fn write(
    args: &BuildArgs,
    ctx: &Context,
    outcomes: &[Outcome],
) -> Result<(), CommandError> {
    for outcome in outcomes {
        for image in &outcome.images {
            write_image(args, ctx, image, &outcome.wanted.names)?;
        }
    }
    let images = outcomes.iter().flat_map(|outcome| &outcome.images);
    let requests: Vec<_> = images.map(|image| &image.request).collect();
    for to in args.caching.cache_to.iter().filter(|to| to.mounts) {
        if let Some(at) = &to.at {
            tolerate(ctx, to, at, write_mounts(args, ctx, &requests, at))?;
        }
    }
    Ok(())
}

/// Makes a warning of an error that may be.
fn tolerate(
    ctx: &Context,
    to: &CacheTo,
    at: &CacheAt,
    written: Result<(), CommandError>,
) -> Result<(), CommandError> {
    match written.map_err(|error| error.while_doing(format!("cannot write the cache `{at}`"))) {
        Err(error) if to.may_fail => ctx.output.warn(&error.to_string()),
        written => written?,
    }
    Ok(())
}

/// Writes what the build for one platform made or found; `names` are those of the image.
fn write_image(
    args: &BuildArgs,
    ctx: &Context,
    image: &Image,
    names: &[Reference],
) -> Result<(), CommandError> {
    let pushed_to = pushed_to(args, ctx, names)?;
    for to in &args.caching.cache_to {
        let Some(at) = &to.at else { continue };
        let write = || -> Result<(), CommandError> {
            let done = write_to(args, ctx, image, pushed_to.clone(), (to, at))?;
            ctx.output.note(&format!(
                "the cache {at} has {} steps; {} blobs ({}) were sent",
                done.n_records,
                done.sent,
                output::size(done.bytes)
            ));
            Ok(())
        };
        tolerate(ctx, to, at, write())?;
    }
    Ok(())
}

fn write_to(
    args: &BuildArgs,
    ctx: &Context,
    Image { request, built }: &Image,
    pushed_to: Option<MountSource>,
    (to, at): (&CacheTo, &CacheAt),
) -> Result<Exported, CommandError> {
    let Some(caches) = &request.caches else {
        return Err(CommandError::failed("nothing was noted for caches"));
    };
    let store = ctx.store()?;
    let mode = if to.is_max {
        Mode::Max
    } else {
        Mode::Min(built.layers.clone())
    };
    let target = at.open(&args.registry, ctx)?;
    let from = WithCaches {
        store,
        caches: Arc::clone(caches),
        pushed_to,
    };
    let lock = at.lock()?;
    let progress = Transfers::new(ctx.output);
    let options = CopyOptions {
        jobs: args.registry.jobs,
        progress: &progress,
        ..CopyOptions::default()
    };
    let done = export(caches, &mode, &from, &target, &options);
    progress.finish();
    drop(lock);
    done.map_err(CommandError::caused)
}

/// Writes the caches of RUN that commands of all builds used, each once.
fn write_mounts(
    args: &BuildArgs,
    ctx: &Context,
    requests: &[&BuildRequest],
    at: &CacheAt,
) -> Result<(), CommandError> {
    let caches = requests
        .iter()
        .filter_map(|request| request.caches.as_ref());
    let used: BTreeSet<_> = caches.flat_map(|caches| caches.used_mounts()).collect();
    let Some(first) = requests.first().filter(|_| !used.is_empty()) else {
        return Ok(());
    };
    let at = at.of_mounts().map_err(CommandError::usage)?;
    let wanted = |mount: &RunCache| used.contains(&mount.name);
    let done = carry::send(ctx, &at, &wanted, &first.pack, &args.registry)?;
    carry::report(ctx, &at, &done);
    Ok(())
}

/// Returns a repository that has the image's layers by now.
fn pushed_to(
    args: &BuildArgs,
    ctx: &Context,
    names: &[Reference],
) -> Result<Option<MountSource>, CommandError> {
    let is_pushed = args.outputs.push
        || args
            .outputs
            .output
            .iter()
            .any(|output| output.to == BuildOutput::Registry);
    match names.first().filter(|_| is_pushed) {
        Some(name) => Ok(args.registry.repository(ctx, name)?.0.mountable()),
        None => Ok(None),
    }
}
