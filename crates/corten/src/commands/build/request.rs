//! What the arguments of `corten build` ask the builder for.

use std::collections::BTreeMap;

use corten_build::request::CacheUse;
use corten_build::{BuildRequest, Clamp};
use corten_snapshot::PackOptions;
use corten_spec::Platform;

use super::BuildArgs;
use super::annotations::{self, Annotated};
use super::several::Wanted;
use crate::build_context::{ContextPlace, GitDefaults, OpenContext};
use crate::context::Context;
use crate::dockerfile::{self, Sources};
use crate::error::CommandError;
use crate::namespace::Ids;
use crate::registry::RegistryArgs;
use crate::remotes::authorization::ServerSecrets;
use crate::signals;
use crate::timestamp::Seconds;

/// Returns the ids that an ordinary user's build needs, if something will be run. What cannot be
/// understood is for [`request`] to report.
///
/// What has to be fetched is not known yet: that is done where something could be run.
pub(crate) fn ids(args: &BuildArgs, ctx: &Context) -> Option<Ids> {
    let is_built = !args.check.is_asked() && !args.print_plan.is_asked();
    let is_user = is_built && !rustix::process::geteuid().is_root();
    let ids = args.isolation.ids().filter(|_| is_user)?;
    needs_root(args, ctx).then_some(ids)
}

fn needs_root(args: &BuildArgs, ctx: &Context) -> bool {
    let Ok(place) = ContextPlace::of(&args.sources.context) else {
        return false;
    };
    let build_args = args.steps.build_args(&BTreeMap::new());
    if place.is_remote() || args.sources.has_remote_file() {
        return corten_sandbox::probe().require().is_ok()
            || corten_sandbox::probe_one_id().require().is_ok();
    }
    let Ok(sources) = sources(args, &place, &build_args, (ctx, &args.registry)) else {
        return false;
    };
    let targets = stages(args);
    let contexts = args.sources.context_names();
    args.image.platforms().iter().any(|platform| {
        let plan = dockerfile::plan(&sources.text, &targets, &build_args, platform, &contexts);
        plan.is_some_and(|plan| dockerfile::has_run(&plan))
    })
}

fn sources(
    args: &BuildArgs,
    place: &ContextPlace,
    build_args: &BTreeMap<String, String>,
    (ctx, registry): (&Context, &RegistryArgs),
) -> Result<Sources, CommandError> {
    let file = args.sources.file.as_deref();
    if *place == ContextPlace::Stdin && file == Some("-".as_ref()) {
        return Err(CommandError::usage(
            "standard input cannot be both the context and the Dockerfile",
        ));
    }
    let keeps_git = build_args.get("BUILDKIT_CONTEXT_KEEP_GIT_DIR");
    let git = GitDefaults {
        keep_git_dir: keeps_git.is_some_and(|text| text == "1" || text == "true"),
        times_of_commit: build_args.contains_key(EPOCH),
    };
    let context = place.open(ctx, registry, git)?;
    let mut sources = Sources::read(context, file, ctx, registry)?;
    if let Some(path) = &args.sources.ignorefile {
        sources.use_ignore_file(path)?;
    }
    Ok(sources)
}

/// Returns what the manifest for `platform` is annotated with, whichever flag says so.
pub(super) fn annotations(args: &BuildArgs, platform: &Platform) -> BTreeMap<String, String> {
    let of_outputs = args
        .outputs
        .output
        .iter()
        .flat_map(|spec| &spec.annotations);
    let asked = &args.image.annotation;
    let mut all = annotations::of(asked, Annotated::Manifest, Some(platform));
    all.extend(of_outputs.cloned());
    all
}

/// What is to be built, and what must stay until it is.
pub(super) struct Prepared {
    pub(super) request: BuildRequest,
    /// How registries, and servers of files and repositories, are reached.
    pub(super) registry: RegistryArgs,
    /// Keeps what was fetched.
    _context: OpenContext,
}

fn stages(args: &BuildArgs) -> Vec<&str> {
    let targets = args.image.target.iter();
    targets.map(|target| target.stage.as_str()).collect()
}

/// Returns what is to be built for `platform`.
pub(super) fn request(
    args: &BuildArgs,
    ctx: &Context,
    wanted: &[Wanted],
    platform: &Platform,
) -> Result<Prepared, CommandError> {
    let environment = Seconds::from_environment(ctx)?;
    let inherited = environment.map(|epoch| (EPOCH.to_owned(), epoch.0.to_string()));
    let build_args = args.steps.build_args(&inherited.into_iter().collect());
    let contexts = args.sources.context_names();
    let place = ContextPlace::of(&args.sources.context)?;
    let run = args.run.options()?;
    let registry = RegistryArgs {
        server_secrets: ServerSecrets::of(&run.secrets),
        ..args.registry.clone()
    };
    let sources = sources(args, &place, &build_args, (ctx, &registry))?;
    let targets = stages(args);
    let clamp = match args.image.timestamp {
        Some(timestamp) => Some(timestamp),
        None => dockerfile::plan(&sources.text, &targets, &build_args, platform, &contexts)
            .and_then(|plan| plan.source_date_epoch)
            .map(|text| {
                text.parse().map_err(|reason| {
                    CommandError::usage(format!("`{EPOCH}` is `{text}`: {reason}"))
                })
            })
            .transpose()?,
    };
    let label = |text: &String| {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        (key.to_owned(), value.to_owned())
    };
    let limits = ctx.layer_limits();
    let mut targets = wanted.iter().filter_map(|one| one.stage.clone());
    let request = BuildRequest {
        ignore: sources.ignore,
        ignore_file: sources.ignore_file,
        target: targets.next(),
        more_targets: targets.collect(),
        build_args,
        contexts,
        platform: platform.clone(),
        annotations: annotations(args, platform),
        labels: args.image.label.iter().map(label).collect(),
        cache: if args.caching.no_cache {
            CacheUse::Ignore
        } else {
            CacheUse::Use
        },
        uncached_stages: args.caching.no_cache_filter.clone(),
        check: args.check.options(),
        explain: args.caching.explain,
        isolation: args.isolation.isolations(),
        run_limits: args.isolation.limits(),
        cancel: Some(signals::cancelled_by_signals()?),
        clamp: clamp.map(|seconds| Clamp(seconds.0)),
        pack: PackOptions {
            max_bytes: limits.archive.total_bytes,
            ..args.compression.pack()
        },
        run: args.surroundings.add_to(run)?,
        limits,
        ..BuildRequest::new(&sources.file_name, &sources.text, &sources.context.path)
    };
    Ok(Prepared {
        request,
        registry,
        _context: sources.context,
    })
}

/// The build argument, and the variable, for the time of what is built.
const EPOCH: &str = "SOURCE_DATE_EPOCH";
