//! `corten mount`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use corten_layer::directory::Devices;
use corten_sandbox::in_user_namespace;
use corten_snapshot::{Access, Error, MountRequest, layers_of};
use corten_spec::Platform;
use serde::Serialize;

use crate::context::Context;
use crate::error::CommandError;
use crate::images::{Pull, find};
use crate::output::Format;
use crate::places::Place;
use crate::registry::RegistryArgs;
use crate::roots::{self, Kind};
use crate::wanted::Wanted;

/// Mount the files of an image on a directory, until `corten umount`
///
/// It cannot be written to, and set-id programs and device nodes have no effect in it.
#[derive(Debug, Args)]
pub(crate) struct MountArgs {
    /// Where the image is
    #[arg(value_name = "PLACE")]
    place: Place,
    /// The directory to mount it on
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Let it be written to; what is written is gone when it is unmounted
    #[arg(long)]
    writable: bool,
    /// How it is mounted
    #[arg(long, value_enum, default_value_t)]
    kind: Kind,
    /// Of an image for several platforms, mount this one
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,
    /// How to print what was mounted
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// What `--format json` prints.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    /// The directory, as it was given.
    directory: PathBuf,
    /// `erofs`, `overlay` or `plain`.
    kind: &'static str,
    /// Whether it can be written to.
    writable: bool,
    /// The manifest of the image.
    digest: String,
    /// Why better kinds were not used.
    passed_over: Vec<String>,
}

pub(crate) fn run(args: &MountArgs, ctx: &Context) -> Result<ExitCode, CommandError> {
    let (place, directory) = (&args.place, args.directory.display());
    require_root(place)?;
    mount(args, ctx)
        .map_err(|error| error.while_doing(format!("cannot mount `{place}` on `{directory}`")))?;
    Ok(ExitCode::SUCCESS)
}

/// Whoever is made root of a user namespace for one command would lose its mounts with that.
fn require_root(place: &Place) -> Result<(), CommandError> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(
        CommandError::failed("mounting an image takes root").hint(format!(
            "run it as root, or write the files out with `corten unpack --rootless {place} BUNDLE`"
        )),
    )
}

fn mount(args: &MountArgs, ctx: &Context) -> Result<(), CommandError> {
    let store = ctx.store()?;
    let wanted = Wanted::asked(args.platform.as_ref());
    let (registry, place) = (&args.registry, &args.place);
    let image = find(ctx, &store, registry, place, &wanted, Pull::Missing.into())?;
    let access = if args.writable {
        Access::Write
    } else {
        Access::ReadOnly
    };
    let is_rootless = in_user_namespace();
    let request = MountRequest {
        layers: &layers_of(&image.documents).map_err(CommandError::caused)?,
        kinds: args.kind.allowed(),
        access,
        devices: if is_rootless {
            Devices::Skip
        } else {
            Devices::Make
        },
        userxattr: is_rootless,
    };
    let mounted = ctx
        .snapshots(&store)
        .mount(&request, &args.directory)
        .map_err(explain)?;
    match args.format {
        Format::Text => {
            roots::tell(ctx, mounted.kind, &mounted.passed_over);
            Ok(())
        }
        Format::Json => ctx.output.json(&Report {
            directory: args.directory.clone(),
            kind: mounted.kind.name(),
            writable: args.writable,
            digest: image.content.digest.to_string(),
            passed_over: mounted.passed_over.iter().map(roots::explained).collect(),
        }),
    }
}

fn explain(error: Error) -> CommandError {
    let hint = match &error {
        Error::Mounted { path } => Some(format!(
            "unmount it with `corten umount {}`",
            path.display()
        )),
        Error::KindUnusable { .. } => Some("`corten doctor` says which kinds work here".to_owned()),
        _ => None,
    };
    let error = CommandError::caused(error);
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}
