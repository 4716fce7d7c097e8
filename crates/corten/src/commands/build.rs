//! `corten build`

mod args;
mod attesting;
mod caches;
mod caching;
mod check;
mod compat;
mod isolation;
mod metadata;
mod outputs;
mod print_plan;
pub(crate) mod refused;
mod reproducible;
mod request;
mod secrets;
mod sourcing;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Mutex;

use clap::Args;

use crate::bases::StoreBases;
use crate::compression::CompressionArgs;
use crate::context::Context;
use crate::error::CommandError;
use crate::progress::{BuildView, Style};
use crate::registry::RegistryArgs;
use crate::remotes::Fetcher;

pub(crate) use request::needs_root;

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
    args.compat.check()?;
    args.attesting.check(args)?;
    let names = args.image.names()?;
    let mut prepared = request::request(args, ctx)?;
    if args.print_plan.is_asked() {
        return print_plan::run(&args.print_plan, &prepared.request, ctx);
    }
    caches::open(args, ctx, &mut prepared.request)?;
    let request = &prepared.request;
    let store = ctx.store()?;
    let contexts: BTreeMap<_, _> = args.sources.build_context.iter().cloned().collect();
    let rules = args.sourcing.rules(args, ctx)?;
    let bases = StoreBases {
        ctx,
        store: &store,
        contexts: &contexts,
        pull: args.steps.pull,
        registry: &args.registry,
        fetched: Mutex::default(),
        rules: &rules,
        fetcher: Fetcher::new(ctx, &args.registry, &rules),
    };
    if args.check.is_asked() {
        return check::run(&args.check, &prepared.request, &bases, ctx);
    }
    if args.reproducible.is_asked() {
        let place = (&store, ctx);
        return reproducible::run(&args.reproducible, request, &bases, args.progress, place);
    }
    let view = BuildView::new(ctx.output, args.progress);
    let built = corten_build::build(&store, request, &bases, &|event| view.show(event));
    view.finish();
    let built = built.map_err(CommandError::caused)?;
    let built = args.attesting.attest(&store, request, built, &names)?;
    args.sourcing.write(args, &built, &rules, ctx)?;
    let is_whole = caches::is_whole(&store, request, &built);
    if !is_whole {
        ctx.output.note(
            "the image has no name in the local store, as layers that no step needed stayed in the \
             cache; without `--cache-from` it gets one",
        );
    }
    for name in names.iter().filter(|_| is_whole) {
        outputs::call(&store, name, &built)?;
    }
    outputs::write(args, ctx, &store, (request, &built), &names)?;
    caches::write(args, ctx, request, &built)?;
    outputs::report(args, ctx, &store, &built, &names)?;
    Ok(ExitCode::SUCCESS)
}
