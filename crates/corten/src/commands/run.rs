//! `corten run`

use std::fs;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use corten_bundle::RunRequest;
use corten_bundle::config::RootAccess;
use corten_bundle::process::Overrides;
use corten_bundle::volume::VolumeMount;
use corten_sandbox::{Init, Signals, Stdio};
use corten_spec::Platform;

use crate::context::Context;
use crate::env;
use crate::error::CommandError;
use crate::images::{Pull, find};
use crate::namespace::exit_code;
use crate::places::Place;
use crate::registry::RegistryArgs;
use crate::roots;
use crate::wanted::Wanted;

/// Run a program of an image, with the host's network, and end as it ends
///
/// What the program changes is gone when it ends.
#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "they are the flags of a command line"
)]
pub(crate) struct RunArgs {
    /// Where the image is; then what to run instead of its command, or the arguments of its entrypoint
    ///
    /// Everything after the image is the program's, flags included.
    #[arg(
        value_names = ["PLACE", "COMMAND"],
        required = true,
        num_args = 1..,
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    words: Vec<String>,
    /// Does nothing: every run removes what it leaves
    #[arg(long)]
    rm: bool,
    /// Let the program read standard input
    #[arg(long, short)]
    interactive: bool,
    /// Give the program a terminal
    #[arg(long, short)]
    tty: bool,
    /// Set a variable; without a value, to what it is here
    #[arg(long, short, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Set the variables in this file, one a line
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// Mount a file or directory of the host
    #[arg(long, short, value_name = "SOURCE:DESTINATION[:ro]")]
    volume: Vec<String>,
    /// Run in this directory
    #[arg(long, short, value_name = "DIR")]
    workdir: Option<String>,
    /// Run as this user
    #[arg(long, short, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// Run this instead of the image's entrypoint; empty for none
    #[arg(long, value_name = "PROGRAM")]
    entrypoint: Option<String>,
    /// Let the program change nothing but its volumes
    #[arg(long)]
    read_only: bool,
    /// Have a small process 1 that collects orphans
    #[arg(long)]
    init: bool,
    /// When to ask the registry for the image
    #[arg(long, value_enum, default_value_t)]
    pull: Pull,
    /// Of an image for several platforms, run this one
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,
    /// Not possible: the network is the host's
    #[arg(long, short, value_name = "PORT", hide = true)]
    publish: Vec<String>,
    #[command(flatten)]
    registry: RegistryArgs,
}

pub(crate) fn run(args: &RunArgs, ctx: &Context) -> Result<ExitCode, CommandError> {
    if !args.publish.is_empty() {
        return Err(
            CommandError::usage("ports cannot be published: the network is the host's")
                .hint("leave `-p` out; the program's ports are the host's already"),
        );
    }
    if args.tty && !std::io::stdin().is_terminal() && args.interactive {
        return Err(CommandError::usage("standard input is no terminal").hint("leave `-t` out"));
    }
    let (place, command) = words(args)?;
    let code = start(args, &place, command, ctx)
        .map_err(|error| error.while_doing(format!("cannot run `{place}`")))?;
    Ok(exit_code(code))
}

/// Splits the image from what is run in it.
fn words(args: &RunArgs) -> Result<(Place, &[String]), CommandError> {
    let (place, command) = args
        .words
        .split_first()
        .expect("clap asks for one word or more");
    if place.starts_with('-') {
        return Err(CommandError::usage(format!("there is no flag `{place}`"))
            .hint("`corten run --help` lists them; those of the program come after the image"));
    }
    let place = place.parse().map_err(|error: String| {
        CommandError::usage(format!("`{place}` names no image: {error}"))
    })?;
    Ok((place, command))
}

/// Runs the program, and returns its exit code as a shell would show it.
fn start(
    args: &RunArgs,
    place: &Place,
    command: &[String],
    ctx: &Context,
) -> Result<i32, CommandError> {
    let store = ctx.store()?;
    let wanted = Wanted::asked(args.platform.as_ref());
    let image = find(
        ctx,
        &store,
        &args.registry,
        place,
        &wanted,
        args.pull.into(),
    )?;
    let snapshots = ctx.snapshots(&store);
    let prepared =
        corten_bundle::run_files(&snapshots, &image.documents).map_err(CommandError::caused)?;
    roots::tell(ctx, prepared.files.kind(), &prepared.passed_over);
    let files = prepared.files;
    let mut request = RunRequest {
        overrides: overrides(args, command)?,
        user: args.user.clone(),
        volumes: volumes(args)?,
        root: if args.read_only {
            RootAccess::ReadOnly
        } else {
            RootAccess::Write
        },
        init: if args.init {
            Init::Reaper
        } else {
            Init::Process
        },
        signals: Signals::Forward,
        files: Some(files.clone()),
        ..RunRequest::new(&image.documents)
    };
    if !args.interactive {
        close_input()?;
    }
    let stdio = || {
        if args.tty {
            Stdio::Terminal
        } else {
            Stdio::Inherit
        }
    };
    let ended = match corten_bundle::run(&snapshots, &request, stdio()) {
        Err(error) if corten_bundle::is_unmountable(&error, &files) => {
            let error = CommandError::caused(error);
            ctx.output.detail(&format!(
                "the index cannot be mounted, so directories are used\n{error}"
            ));
            let prepared = corten_bundle::run_directories(&snapshots, &image.documents)
                .map_err(CommandError::caused)?;
            roots::tell(ctx, prepared.files.kind(), &prepared.passed_over);
            request.files = Some(prepared.files);
            corten_bundle::run(&snapshots, &request, stdio())
        }
        ended => ended,
    };
    Ok(ended.map_err(CommandError::caused)?.code())
}

fn overrides(args: &RunArgs, command: &[String]) -> Result<Overrides, CommandError> {
    let entrypoint = args.entrypoint.as_ref();
    Ok(Overrides {
        entrypoint: entrypoint.map(|word| {
            Some(word.clone())
                .filter(|word| !word.is_empty())
                .into_iter()
                .collect()
        }),
        command: (!command.is_empty()).then(|| command.to_vec()),
        env: environment(args)?,
        working_dir: args.workdir.clone(),
    })
}

/// Returns the variables that were asked for; those given one by one win over those of files.
fn environment(args: &RunArgs) -> Result<Vec<String>, CommandError> {
    let mut entries = Vec::new();
    for path in &args.env_file {
        let text = fs::read_to_string(path).map_err(|error| {
            CommandError::doing(format!("cannot read `{}`", path.display()), error)
        })?;
        let lines = text.lines().map(str::trim_start);
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        entries.extend(lines.map(str::to_owned));
    }
    entries.extend(args.env.iter().cloned());
    entries
        .into_iter()
        .filter_map(|entry| with_value(&entry).transpose())
        .collect()
}

/// A name alone stands for the variable of the caller; one that the caller does not have is left out.
fn with_value(entry: &str) -> Result<Option<String>, CommandError> {
    match entry.split_once('=') {
        Some(("", _)) => Err(CommandError::usage(format!(
            "`{entry}` has no name before the `=`"
        ))),
        Some(_) => Ok(Some(entry.to_owned())),
        None => Ok(env::lookup(entry).map(|value| format!("{entry}={value}"))),
    }
}

fn volumes(args: &RunArgs) -> Result<Vec<VolumeMount>, CommandError> {
    let here = std::path::absolute(".")
        .map_err(|error| CommandError::doing("cannot find the working directory", error))?;
    let volumes = args
        .volume
        .iter()
        .map(|text| VolumeMount::parse(text, &here));
    volumes
        .map(|volume| volume.map_err(|error| CommandError::usage(error.to_string())))
        .collect()
}

/// Has the program find the end of its input at once, as without `-i` elsewhere.
fn close_input() -> Result<(), CommandError> {
    let failed = |error: std::io::Error| CommandError::doing("cannot use `/dev/null`", error);
    let null = fs::File::open("/dev/null").map_err(failed)?;
    rustix::stdio::dup2_stdin(&null).map_err(|errno| failed(errno.into()))
}
