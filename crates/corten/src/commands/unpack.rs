//! `corten unpack`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use corten_bundle::{ConfigOptions, UnpackOptions};
use corten_layer::directory::{Devices, Owners};
use corten_sandbox::{IdMap, in_user_namespace};
use corten_snapshot::encoding::misnamed;
use corten_snapshot::{Snapshots, layers_of};
use corten_spec::Platform;

use crate::context::Context;
use crate::error::CommandError;
use crate::images::{Pull, find};
use crate::places::Place;
use crate::registry::RegistryArgs;

/// Turn an image into a bundle for runc or crun: a root file system and its `config.json`
#[derive(Debug, Args)]
pub(crate) struct UnpackArgs {
    /// Where the image is
    #[arg(value_name = "PLACE")]
    place: Place,
    /// The directory to make
    #[arg(value_name = "BUNDLE")]
    bundle: PathBuf,
    /// What the bundle runs instead of the image's own command; an image without one needs it
    #[arg(value_name = "COMMAND", last = true)]
    command: Vec<String>,
    /// Of an image for several platforms, unpack this one
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,
    /// Give everything to the caller, so that no privilege is needed; the bundle runs as root inside
    /// alone
    ///
    /// Owners, device nodes and whatever else the caller may not set are recorded in
    /// BUNDLE/owners.mtree. An ordinary user without subordinate ids unpacks like this anyway.
    #[arg(long)]
    rootless: bool,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// Tells whether owners are to be set and may be, which takes root, of the machine or of a user
/// namespace with the ids that subuid(5) gives this user.
pub(crate) fn needs_root(args: &UnpackArgs) -> bool {
    !is_rootless(args)
}

fn is_rootless(args: &UnpackArgs) -> bool {
    args.rootless || (!rustix::process::geteuid().is_root() && IdMap::for_this_user().is_err())
}

pub(crate) fn run(args: &UnpackArgs, ctx: &Context) -> Result<ExitCode, CommandError> {
    let doing = format!(
        "cannot unpack `{}` to `{}`",
        args.place,
        args.bundle.display()
    );
    unpack(args, ctx).map_err(|error| error.while_doing(doing))?;
    Ok(ExitCode::SUCCESS)
}

fn unpack(args: &UnpackArgs, ctx: &Context) -> Result<(), CommandError> {
    let store = ctx.store()?;
    let platform = args.platform.clone().unwrap_or_else(Platform::host);
    let image = find(
        ctx,
        &store,
        &args.registry,
        &args.place,
        &platform,
        Pull::Missing,
    )?;
    let unpacked = corten_bundle::unpack(
        &Snapshots::new(&store),
        &image.documents,
        &args.bundle,
        &options(args),
    )
    .map_err(CommandError::caused)?;
    let (skipped, refused) = (
        &unpacked.written.devices_skipped,
        &unpacked.written.xattrs_refused,
    );
    if !skipped.is_empty() {
        ctx.output.warn(&format!(
            "{} device nodes were left out, such as `{}`",
            skipped.len(),
            skipped[0]
        ));
    }
    if !refused.is_empty() && !is_rootless(args) {
        ctx.output.warn(&format!(
            "{} extended attributes were refused, such as `{}`",
            refused.len(),
            refused[0]
        ));
    }
    let layers = layers_of(&image.documents).map_err(CommandError::caused)?;
    for layer in misnamed(&store, &layers).map_err(CommandError::caused)? {
        ctx.output.warn(&layer.to_string());
    }
    for note in &unpacked.notes {
        ctx.output.warn(&note.to_string());
    }
    let n_recorded = unpacked.written.recorded.iter().count();
    if n_recorded > 0 {
        ctx.output.detail(&format!(
            "what could not be set of {n_recorded} paths is in `{}`",
            args.bundle.join(corten_layer::owners::FILE_NAME).display()
        ));
    }
    ctx.output.detail(&format!(
        "{} paths in `{}`",
        unpacked.n_paths,
        args.bundle.display()
    ));
    Ok(())
}

fn options(args: &UnpackArgs) -> UnpackOptions {
    let (uid, gid) = (
        rustix::process::geteuid().as_raw(),
        rustix::process::getegid().as_raw(),
    );
    let is_rootless = is_rootless(args);
    let mut config = if is_rootless {
        ConfigOptions::rootless(uid, gid)
    } else {
        ConfigOptions::default()
    };
    if !args.command.is_empty() {
        config.overrides.command = Some(args.command.clone());
    }
    UnpackOptions {
        owners: if is_rootless {
            Owners::Record
        } else {
            Owners::Set
        },
        devices: if is_rootless {
            Devices::Record
        } else if in_user_namespace() {
            Devices::Skip
        } else {
            Devices::Make
        },
        user: None,
        config,
    }
}
