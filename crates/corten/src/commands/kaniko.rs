//! `corten kaniko`

mod args;
mod duration;
mod flags;
mod place;
mod report;
mod translate;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Parser as _;

use self::place::Place;
use self::translate::{Surroundings, Translation, translate};
use crate::build_context::is_http;
use crate::cli::{Cli, Command};
use crate::commands::build;
use crate::context::Context;
use crate::env;
use crate::error::CommandError;
use crate::remotes::git;
use crate::scratch::ScratchDir;
use crate::signals;

pub(crate) use args::KanikoArgs;

/// Where kaniko's images have credentials.
const DOCKER_CONFIG: &str = "/kaniko/.docker";

/// Tells whether an ordinary user's program is to become root of a user namespace: only whoever may do so
/// can run anything.
pub(crate) fn needs_root() -> bool {
    !rustix::process::geteuid().is_root()
        && (corten_sandbox::probe().require().is_ok()
            || corten_sandbox::probe_one_id().require().is_ok())
}

pub(crate) fn run(args: &KanikoArgs, ctx: &Context) -> Result<ExitCode, CommandError> {
    let idle = args.check()?;
    let place = Place::of(args, &ctx.env.kaniko)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let translation = translate(
        args,
        &Surroundings {
            env: &ctx.env.kaniko,
            lookup: &env::lookup,
            now: now.unwrap_or_default().as_secs(),
        },
    )?;
    let ctx = &surroundings(args, &place, &translation, ctx);
    for (flag, reason) in idle {
        ctx.output
            .note(&format!("`{flag}` is without effect: {reason}"));
    }
    let scratch = ScratchDir::new(ctx)?;
    let digest_file = scratch.path().join("digest");
    let line = command_line(args, ctx, place, &translation, &scratch)?;
    let mut cli = Cli::try_parse_from(
        line.into_iter()
            .chain(["--digest-file".into(), digest_file.clone().into_os_string()]),
    )
    .map_err(|error| usage(&error))?;
    let Command::Build(build) = &mut cli.command else {
        return Err(CommandError::usage("only builds are done by this command"));
    };
    build.registry.reach = translation.reach.clone();
    let code = build::run(build, ctx)?;
    report::write(args, ctx, &translation, &digest_file)?;
    Ok(code)
}

/// Returns the context in which the build runs.
fn surroundings(
    args: &KanikoArgs,
    place: &Place,
    translation: &Translation,
    ctx: &Context,
) -> Context {
    let mut env = ctx.env.clone();
    // kaniko takes the key for that of the account in the URL, which alone names one there.
    if let Place::Http(url) = place
        && let Ok(Some(object)) = corten_objects::Place::parse(url)
    {
        env.objects = env.objects.for_account_of(&object);
    }
    let directory = args.last("kaniko-dir").or(ctx.env.kaniko.dir.as_deref());
    let directory = directory.filter(|directory| *directory != "/kaniko");
    let own = directory.map(|directory| Path::new(directory).join(".docker"));
    let given = own
        .filter(|path| path.is_dir())
        .or(env.docker_config.take());
    let usual = || Some(PathBuf::from(DOCKER_CONFIG)).filter(|path| path.is_dir());
    env.docker_config = given.or_else(usual);
    let root = directory.map(|directory| Path::new(directory).join("corten"));
    ctx.changed(env, root, translation.verbosity)
}

/// Returns the command line of the build.
fn command_line(
    args: &KanikoArgs,
    ctx: &Context,
    place: Place,
    translation: &Translation,
    scratch: &ScratchDir,
) -> Result<Vec<std::ffi::OsString>, CommandError> {
    let mut line = vec!["corten".into(), "build".into()];
    line.extend(translation.build.iter().map(Into::into));
    let (context, directory): (PathBuf, _) = match place {
        Place::Directory(path) => (absolute(&path)?, Some(path)),
        Place::Tar(path) => (absolute(&path)?, None),
        Place::Stdin => ("-".into(), None),
        Place::Http(url) => (url.into(), None),
        Place::Git(url) => {
            let into = scratch.path().join("context");
            std::fs::create_dir(&into).map_err(CommandError::caused)?;
            // Its files are those of a directory here: an ignore file among them counts.
            let cancel = signals::cancelled_by_signals()?;
            let access = git::Access {
                ctx,
                registry: None,
                cancel: &cancel,
            };
            let checkout = git::checkout(&url, &into, &access)?;
            ctx.output
                .detail(&format!("the context is commit {}", checkout.commit));
            (checkout.path.clone(), Some(checkout.path))
        }
    };
    let file = args.last("dockerfile").unwrap_or("Dockerfile");
    let file = match directory {
        _ if is_http(file) => PathBuf::from(file),
        _ if Path::new(file).exists() => absolute(Path::new(file))?,
        Some(directory) => absolute(&directory.join(file))?,
        None => file.into(),
    };
    line.extend(["--file".into(), file.into_os_string()]);
    line.push(context.into_os_string());
    Ok(line)
}

/// Makes a path one that cannot be taken for anything else.
fn absolute(path: &Path) -> Result<PathBuf, CommandError> {
    std::path::absolute(path).map_err(|error| {
        CommandError::doing(format!("cannot use the path `{}`", path.display()), error)
    })
}

/// Says of the build's own arguments what is wrong with them.
fn usage(error: &clap::Error) -> CommandError {
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    CommandError::usage(first.trim_start_matches("error: "))
}
