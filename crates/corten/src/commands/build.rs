//! `corten build`

mod agents;
mod annotations;
mod args;
mod attesting;
mod caches;
mod caching;
mod check;
mod compat;
mod isolation;
mod metadata;
mod outcome;
mod outputs;
mod print_plan;
pub(crate) mod refused;
mod reproducible;
mod request;
mod secrets;
mod several;
mod sourcing;
mod surroundings;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Mutex;

use clap::Args;
use corten_build::BuildRequest;
use corten_content::Store;
use corten_spec::{Digest, Platform};
use serde_json::Value;

use crate::bases::StoreBases;
use crate::compression::CompressionArgs;
use crate::context::Context;
use crate::error::CommandError;
use crate::lazy::{Bringing, LazyImages};
use crate::progress::{BuildView, Style};
use crate::registry::RegistryArgs;
use crate::remotes::Fetcher;

use outcome::{Image, Outcome};
pub(crate) use request::ids;
use several::Wanted;

/// Build an image from a Dockerfile
///
/// The image goes to the local store under the names given. Prints its digest.
#[derive(Debug, Args)]
pub(crate) struct BuildArgs {
    #[command(flatten)]
    pub(crate) sources: args::SourceArgs,
    #[command(flatten)]
    pub(crate) image: args::ImageArgs,
    #[command(flatten)]
    pub(crate) steps: args::StepArgs,
    #[command(flatten)]
    pub(crate) compression: CompressionArgs,
    #[command(flatten)]
    pub(crate) outputs: outputs::OutputArgs,
    #[command(flatten)]
    pub(crate) check: check::CheckArgs,
    #[command(flatten)]
    pub(crate) isolation: isolation::IsolationArgs,
    /// How to show what happens
    #[arg(long, value_enum, default_value_t)]
    pub(crate) progress: Style,
    #[command(flatten)]
    pub(crate) run: secrets::RunArgs,
    #[command(flatten)]
    pub(crate) surroundings: surroundings::SurroundingArgs,
    #[command(flatten)]
    pub(crate) caching: caching::CachingArgs,
    #[command(flatten)]
    pub(crate) print_plan: print_plan::PrintPlanArgs,
    #[command(flatten)]
    pub(crate) attesting: attesting::AttestingArgs,
    #[command(flatten)]
    pub(crate) reproducible: reproducible::ReproducibleArgs,
    #[command(flatten)]
    pub(crate) sourcing: sourcing::SourcingArgs,
    #[command(flatten)]
    pub(crate) registry: RegistryArgs,
    #[command(flatten)]
    pub(crate) compat: compat::CompatArgs,
}

pub(crate) fn run(args: &BuildArgs, ctx: &Context) -> Result<ExitCode, CommandError> {
    match execute(args, ctx)? {
        Executed::Ended(code) => Ok(code),
        Executed::Built(outcomes, _) => {
            outputs::report(args, ctx, &outcomes)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// One target that was built.
#[derive(Debug)]
pub(crate) struct One {
    pub(crate) digest: Digest,
    /// What `--metadata-file` would have.
    pub(crate) metadata: Value,
    /// Keeps what was built from `gc` while it is open, with a name or without.
    pub(crate) store: Store,
}

/// Builds the one target of `args` for a command that reports it itself.
pub(crate) fn one(args: &BuildArgs, ctx: &Context) -> Result<One, CommandError> {
    let nothing = || CommandError::failed("nothing was built");
    let detail = metadata::provenance(ctx)?;
    let Executed::Built(outcomes, store) = execute(args, ctx)? else {
        return Err(nothing());
    };
    let root = outcomes.first().ok_or_else(nothing)?;
    Ok(One {
        digest: root.root.digest.clone(),
        metadata: metadata::of(&outcomes, detail),
        store,
    })
}

/// Refuses arguments that cannot go together, before anything is read.
pub(crate) fn check(args: &BuildArgs) -> Result<(), CommandError> {
    args.compat.check()?;
    args.attesting.check(args)?;
    args.outputs.check()?;
    several::check(args, &several::wanted(args)?, &args.image.platforms())
}

/// What came of the arguments.
enum Executed {
    /// Something else than a build was asked for, and is done.
    Ended(ExitCode),
    /// With the store, which protects what was built while it is open.
    Built(Vec<Outcome>, Store),
}

fn execute(args: &BuildArgs, ctx: &Context) -> Result<Executed, CommandError> {
    check(args)?;
    if args.outputs.metadata_file.is_some() {
        metadata::provenance(ctx)?;
    }
    let wanted = several::wanted(args)?;
    let first = args.image.platforms().into_iter().next();
    let first = first.unwrap_or_else(Platform::host);
    let prepared = request::request(args, ctx, &wanted, &first)?;
    if args.print_plan.is_asked() {
        return print_plan::run(&args.print_plan, &prepared.request, ctx).map(Executed::Ended);
    }
    let store = ctx.store()?;
    let contexts: BTreeMap<_, _> = args.sources.build_context.iter().cloned().collect();
    let rules = args.sourcing.rules(args, ctx)?;
    let lazy = LazyImages::default();
    let bringing = Bringing {
        ctx,
        images: &lazy,
        jobs: prepared.registry.jobs,
    };
    let bases = StoreBases {
        ctx,
        store: &store,
        contexts: &contexts,
        pull: args.steps.pull,
        lazily: (!args.reproducible.is_asked()).then_some(&bringing),
        registry: &prepared.registry,
        fetched: Mutex::default(),
        found: Mutex::default(),
        rules: &rules,
        fetcher: Fetcher::new(ctx, &prepared.registry, &rules),
    };
    if args.check.is_asked() {
        let platforms = args.image.platforms();
        let code = check::run(&args.check, &prepared.request, &platforms, &bases, ctx);
        return code.map(Executed::Ended);
    }
    if args.reproducible.is_asked() {
        let place = (&store, ctx);
        let request = &prepared.request;
        return reproducible::run(args, request, &bases, place).map(Executed::Ended);
    }
    let outcomes = build(args, ctx, (&store, &bases), &prepared.request, wanted)?;
    lazy.name_whole(ctx, &store, prepared.registry.jobs)
        .map_err(|error| CommandError::doing("cannot name the base images", error))?;
    let images = outcomes.iter().flat_map(|outcome| &outcome.images);
    let materials: Vec<_> = images.flat_map(|image| &image.built.materials).collect();
    args.sourcing.write(args, &materials, &rules, ctx)?;
    for outcome in &outcomes {
        name(ctx, &store, outcome)?;
        outputs::write(args, ctx, (&store, &lazy), outcome)?;
    }
    caches::write(args, ctx, &outcomes)?;
    drop(bases);
    Ok(Executed::Built(outcomes, store))
}

/// Builds for one platform after the other, so that what is for the build's own is built once. What one of
/// them cannot be built for is refused before anything is.
fn build(
    args: &BuildArgs,
    ctx: &Context,
    (store, bases): (&Store, &StoreBases<'_>),
    request: &BuildRequest,
    wanted: Vec<Wanted>,
) -> Result<Vec<Outcome>, CommandError> {
    let platforms = args.image.platforms();
    let mut images: Vec<Vec<_>> = wanted.iter().map(|_| Vec::new()).collect();
    let mut requests = Vec::new();
    for platform in &platforms {
        let mut request = BuildRequest {
            platform: platform.clone(),
            annotations: request::annotations(args, platform),
            ..request.clone()
        };
        caches::open(args, ctx, &mut request)?;
        requests.push(request);
    }
    if requests.len() > 1 {
        let mut requests = requests.iter();
        requests
            .try_for_each(|request| corten_build::preflight(store, request, bases))
            .map_err(CommandError::caused)?;
    }
    for request in requests {
        if platforms.len() > 1 {
            ctx.output
                .note(&format!("building for {}", request.platform));
        }
        let view = BuildView::new(ctx.output, args.surroundings.style(args.progress));
        let built = corten_build::build_all(store, &request, bases, &|event| view.show(event));
        view.finish();
        for (images, built) in images.iter_mut().zip(built.map_err(CommandError::caused)?) {
            let mut image = Image {
                request: request.clone(),
                built,
            };
            if args.image.squash {
                image.squash(store)?;
            }
            images.push(image);
        }
    }
    let outcomes = wanted.into_iter().zip(images);
    outcomes
        .map(|(wanted, images)| Outcome::new(args, store, wanted, images))
        .collect()
}

/// Gives the result its names in the store, if it is there whole.
fn name(ctx: &Context, store: &Store, outcome: &Outcome) -> Result<(), CommandError> {
    let mut images = outcome.images.iter();
    if !images.all(|image| caches::is_whole(store, image)) {
        ctx.output.note(
            "the image has no name in the local store, as layers that no step needed stayed where \
             they are; without `--cache-from` it gets one",
        );
        return Ok(());
    }
    let mut names = outcome.wanted.names.iter();
    names.try_for_each(|name| outputs::call(store, name, &outcome.root))
}
