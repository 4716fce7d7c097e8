//! What the arguments of `corten build` ask the builder for.

use std::collections::BTreeMap;

use corten_build::request::CacheUse;
use corten_build::{BuildRequest, Clamp};
use corten_snapshot::PackOptions;

use super::BuildArgs;
use crate::context::Context;
use crate::dockerfile::{self, Sources};
use crate::error::CommandError;
use crate::timestamp::Seconds;

/// Tells whether something will be run. What cannot be understood is for [`request`] to report.
pub(crate) fn needs_root(args: &BuildArgs) -> bool {
    let Ok(sources) = Sources::read(&args.sources.context, args.sources.file.as_deref()) else {
        return false;
    };
    let build_args = args.steps.build_args(&BTreeMap::new());
    dockerfile::plan(
        &sources.text,
        args.image.target.as_deref(),
        &build_args,
        &args.image.platform(),
    )
    .is_some_and(|plan| dockerfile::has_run(&plan))
}

/// Returns what is to be built.
pub(super) fn request(args: &BuildArgs, ctx: &Context) -> Result<BuildRequest, CommandError> {
    let sources = Sources::read(&args.sources.context, args.sources.file.as_deref())?;
    let environment = Seconds::from_environment(ctx)?;
    let inherited = environment.map(|epoch| (EPOCH.to_owned(), epoch.0.to_string()));
    let build_args = args.steps.build_args(&inherited.into_iter().collect());
    let clamp = match args.image.timestamp {
        Some(timestamp) => Some(timestamp),
        None => dockerfile::plan(
            &sources.text,
            args.image.target.as_deref(),
            &build_args,
            &args.image.platform(),
        )
        .and_then(|plan| plan.source_date_epoch)
        .map(|text| {
            text.parse()
                .map_err(|reason| CommandError::usage(format!("`{EPOCH}` is `{text}`: {reason}")))
        })
        .transpose()?,
    };
    let label = |text: &String| {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        (key.to_owned(), value.to_owned())
    };
    let limits = ctx.layer_limits();
    Ok(BuildRequest {
        ignore: sources.ignore,
        ignore_file: sources.ignore_file,
        target: args.image.target.clone(),
        build_args,
        platform: args.image.platform(),
        labels: args.image.label.iter().map(label).collect(),
        cache: if args.caching.no_cache {
            CacheUse::Ignore
        } else {
            CacheUse::Use
        },
        explain: args.caching.explain,
        clamp: clamp.map(|seconds| Clamp(seconds.0)),
        pack: PackOptions {
            max_bytes: limits.archive.total_bytes,
            ..args.compression.pack()
        },
        limits,
        ..BuildRequest::new(&sources.file_name, &sources.text, &args.sources.context)
    })
}

/// The build argument, and the variable, for the time of what is built.
const EPOCH: &str = "SOURCE_DATE_EPOCH";
