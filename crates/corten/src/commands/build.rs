//! `corten build`

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use corten_build::request::CacheUse;
use corten_build::{BuildRequest, Built, Clamp};
use corten_content::{Sink, Store, atomic, load_image};
use corten_snapshot::PackOptions;
use corten_spec::{Platform, Reference};
use corten_transport::Format;

use crate::bases::{NamedContext, StoreBases, parse_context};
use crate::compression::CompressionArgs;
use crate::context::Context;
use crate::dockerfile::{self, Sources};
use crate::env;
use crate::error::CommandError;
use crate::images::Pull;
use crate::outputs::BuildOutput;
use crate::places::{Name, Place};
use crate::progress::{BuildView, Style};
use crate::registry::RegistryArgs;
use crate::rootfs::{self, TarOptions};
use crate::timestamp::Seconds;
use crate::transfer::{Part, transfer};

/// Build an image from a Dockerfile
///
/// The image goes to the local store under the names given. Prints its digest.
#[derive(Debug, Args)]
pub(crate) struct BuildArgs {
    /// The directory that COPY and ADD take files from
    #[arg(value_name = "CONTEXT")]
    context: PathBuf,
    /// What the image is to be called; may be repeated
    #[arg(long, short, value_name = "NAME")]
    tag: Vec<Name>,
    /// The Dockerfile; `-` for standard input [default: CONTEXT/Dockerfile]
    #[arg(long, short, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Set a variable that ARG declares; without a value, to what it is here
    #[arg(long, value_name = "NAME[=VALUE]")]
    build_arg: Vec<String>,
    /// Build this stage [default: the last one]
    #[arg(long, value_name = "STAGE")]
    target: Option<String>,
    /// Build for this platform [default: this machine's]
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,
    /// Add a label to the image
    #[arg(long, value_name = "KEY=VALUE")]
    label: Vec<String>,
    #[command(flatten)]
    compression: CompressionArgs,
    /// Run every step, also those whose result is known
    #[arg(long)]
    no_cache: bool,
    /// When to ask registries for base images
    #[arg(long, value_enum, default_value_t)]
    pull: Pull,
    /// Say what a name in the Dockerfile stands for: a directory, or an image such as `oci:DIR` or
    /// `docker-image://NAME`
    #[arg(long, value_name = "NAME=PLACE", value_parser = parse_context)]
    build_context: Vec<(String, NamedContext)>,
    /// The latest time that anything in the image may have, in seconds since 1970 or as in RFC 3339
    /// [default: `$SOURCE_DATE_EPOCH`]
    #[arg(long, value_name = "TIME")]
    timestamp: Option<Seconds>,
    /// Write the result elsewhere, too: `type=oci|docker|oci-layout|local|tar,dest=PATH`, or
    /// `type=registry`
    #[arg(long, short, value_name = "KIND,dest=PATH")]
    output: Vec<BuildOutput>,
    /// Push the image to the registries of its names
    #[arg(long)]
    push: bool,
    /// Write the image id, the digest of the config, to this file
    #[arg(long, value_name = "FILE")]
    iidfile: Option<PathBuf>,
    /// Write the digest of the manifest to this file
    #[arg(long, value_name = "FILE")]
    digest_file: Option<PathBuf>,
    /// How to show what happens
    #[arg(long, value_enum, default_value_t)]
    progress: Style,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// Tells whether something will be run. What cannot be understood is for [`run`] to report.
pub(crate) fn needs_root(args: &BuildArgs) -> bool {
    let Ok(sources) = Sources::read(&args.context, args.file.as_deref()) else {
        return false;
    };
    let build_args = build_args(args, &BTreeMap::new());
    dockerfile::plan(
        &sources.text,
        args.target.as_deref(),
        &build_args,
        &platform(args),
    )
    .is_some_and(|plan| dockerfile::has_run(&plan))
}

pub(crate) fn run(args: &BuildArgs, ctx: &Context) -> Result<ExitCode, CommandError> {
    let names = names(args)?;
    let request = request(args, ctx)?;
    let store = ctx.store()?;
    let contexts: BTreeMap<_, _> = args.build_context.iter().cloned().collect();
    let bases = StoreBases {
        ctx,
        store: &store,
        contexts: &contexts,
        pull: args.pull,
        registry: &args.registry,
    };
    let view = BuildView::new(ctx.output, args.progress);
    let built = corten_build::build(&store, &request, &bases, &|event| view.show(event));
    view.finish();
    let built = built.map_err(CommandError::caused)?;
    for name in &names {
        store
            .tag(&name.to_string(), &built.manifest)
            .map_err(|error| {
                CommandError::doing(format!("cannot call the image `{name}`"), error)
            })?;
    }
    for output in &args.output {
        write_output(args, ctx, &store, &built, &names, output)?;
    }
    if args.push {
        write_output(args, ctx, &store, &built, &names, &BuildOutput::Registry)?;
    }
    report(args, ctx, &built)?;
    Ok(ExitCode::SUCCESS)
}

fn names(args: &BuildArgs) -> Result<Vec<Reference>, CommandError> {
    let names = args.tag.iter().map(|name| match name {
        Name::Reference(reference) if reference.digest().is_none() => Ok(reference.clone()),
        Name::Reference(_) | Name::Digest(_) => Err(CommandError::usage(format!(
            "`{name}` has a digest, and the image's own is not known yet"
        ))),
    });
    names.collect()
}

fn request(args: &BuildArgs, ctx: &Context) -> Result<BuildRequest, CommandError> {
    let sources = Sources::read(&args.context, args.file.as_deref())?;
    let environment = Seconds::from_environment(ctx)?;
    let inherited = environment.map(|epoch| (EPOCH.to_owned(), epoch.0.to_string()));
    let build_args = build_args(args, &inherited.into_iter().collect());
    let clamp = match args.timestamp {
        Some(timestamp) => Some(timestamp),
        None => dockerfile::plan(
            &sources.text,
            args.target.as_deref(),
            &build_args,
            &platform(args),
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
        target: args.target.clone(),
        build_args,
        platform: platform(args),
        labels: args.label.iter().map(label).collect(),
        cache: if args.no_cache {
            CacheUse::Ignore
        } else {
            CacheUse::Use
        },
        clamp: clamp.map(|seconds| Clamp(seconds.0)),
        pack: PackOptions {
            max_bytes: limits.archive.total_bytes,
            ..args.compression.pack()
        },
        limits,
        ..BuildRequest::new(&sources.file_name, &sources.text, &args.context)
    })
}

/// The build argument, and the variable, for the time of what is built.
const EPOCH: &str = "SOURCE_DATE_EPOCH";

fn platform(args: &BuildArgs) -> Platform {
    args.platform.clone().unwrap_or_else(Platform::host)
}

/// Returns the arguments that were given, on top of those `inherited` from the environment.
fn build_args(args: &BuildArgs, inherited: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let given = args
        .build_arg
        .iter()
        .filter_map(|text| match text.split_once('=') {
            Some((name, value)) => Some((name.to_owned(), value.to_owned())),
            None => Some((text.clone(), env::lookup(text)?)),
        });
    inherited.clone().into_iter().chain(given).collect()
}

fn write_output(
    args: &BuildArgs,
    ctx: &Context,
    store: &Store,
    built: &Built,
    names: &[Reference],
    output: &BuildOutput,
) -> Result<(), CommandError> {
    let name = names.first().map(ToString::to_string).unwrap_or_default();
    let load = || load_image(store, &built.manifest, &platform(args)).map_err(CommandError::caused);
    match output {
        BuildOutput::Store => Ok(()),
        BuildOutput::Registry if names.is_empty() => Err(CommandError::usage(
            "an image without a name cannot be pushed",
        )
        .hint("name it with `--tag`")),
        BuildOutput::Registry => names
            .iter()
            .try_for_each(|name| send(args, ctx, built, &Place::Registry(name.clone()))),
        BuildOutput::OciArchive(path) => send(
            args,
            ctx,
            built,
            &Place::Archive(Format::Oci, path.clone(), name),
        ),
        BuildOutput::DockerArchive(path) => send(
            args,
            ctx,
            built,
            &Place::Archive(Format::Docker, path.clone(), name),
        ),
        BuildOutput::Layout(path) => send(args, ctx, built, &Place::Layout(path.clone(), name)),
        BuildOutput::Directory(path) => {
            rootfs::write_directory(&ctx.snapshots(store), &load()?, path)
        }
        BuildOutput::Tar(path) => {
            rootfs::write_tar(&ctx.snapshots(store), &load()?, path, &TarOptions::PLAIN)
        }
    }
}

fn send(args: &BuildArgs, ctx: &Context, built: &Built, place: &Place) -> Result<(), CommandError> {
    let send = || {
        let built =
            Place::Store(Name::Digest(built.manifest.digest.clone())).open(ctx, &args.registry)?;
        let destination = place.create(ctx, &args.registry)?;
        transfer(ctx, &built, destination, &Part::All, args.registry.jobs)
    };
    let sent = send().map(drop);
    sent.map_err(|error| error.while_doing(format!("cannot write the image to `{place}`")))
}

fn report(args: &BuildArgs, ctx: &Context, built: &Built) -> Result<(), CommandError> {
    let files = [
        (&args.iidfile, built.image_id.to_string()),
        (&args.digest_file, built.manifest.digest.to_string()),
    ];
    for (path, digest) in files {
        if let Some(path) = path {
            // Without a line break, as other builders write it.
            atomic::write(path, digest.as_bytes()).map_err(CommandError::caused)?;
        }
    }
    ctx.output.data(built.manifest.digest.as_str())
}
