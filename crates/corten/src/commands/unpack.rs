//! `corten unpack`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use corten_bundle::config::Network;
use corten_bundle::spec::IdMapping;
use corten_bundle::unpack::{config_json, write_config};
use corten_bundle::{ConfigOptions, IdMaps, Note, UnpackOptions};
use corten_layer::directory::{Devices, Owners};
use corten_sandbox::{IdMap, entered, in_user_namespace};
use corten_snapshot::encoding::misnamed;
use corten_snapshot::layers_of;
use corten_spec::Platform;

use crate::context::Context;
use crate::error::CommandError;
use crate::images::{Pull, find};
use crate::places::Place;
use crate::registry::RegistryArgs;
use crate::wanted::Wanted;

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
    #[arg(long, conflicts_with_all = ["uid_map", "gid_map"])]
    rootless: bool,
    /// Give the files of these users of the image to those of the host, and let the bundle run in a
    /// user namespace with this map; may be given several times
    #[arg(long, value_name = "CONTAINER:HOST:SIZE", requires = "gid_map")]
    uid_map: Vec<IdMapping>,
    /// Likewise of groups
    #[arg(long, value_name = "CONTAINER:HOST:SIZE", requires = "uid_map")]
    gid_map: Vec<IdMapping>,
    /// Make `config.json` alone, without the files; of images for other systems than Linux it holds what
    /// the image says verbatim
    #[arg(long)]
    config_only: bool,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// Tells whether owners are to be set and may be, which takes root, of the machine or of a user
/// namespace with the ids that subuid(5) gives this user.
pub(crate) fn needs_root(args: &UnpackArgs) -> bool {
    !is_rootless(args) && !args.config_only
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
    let wanted = Wanted::asked(args.platform.as_ref());
    let image = find(
        ctx,
        &store,
        &args.registry,
        &args.place,
        &wanted,
        Pull::Missing.into(),
    )?;
    let snapshots = ctx.snapshots(&store);
    let options = options(args)?;
    if args.config_only {
        let (json, notes) =
            config_json(&snapshots, &image.documents, &options).map_err(CommandError::caused)?;
        write_config(&args.bundle, &json).map_err(CommandError::caused)?;
        warn(&notes, ctx);
        return Ok(());
    }
    let unpacked = corten_bundle::unpack(&snapshots, &image.documents, &args.bundle, &options)
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
    warn(&unpacked.notes, ctx);
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

fn warn(notes: &[Note], ctx: &Context) {
    for note in notes {
        ctx.output.warn(&note.to_string());
    }
}

fn options(args: &UnpackArgs) -> Result<UnpackOptions, CommandError> {
    // Whoever has no privilege cannot give a network to a container.
    let is_ordinary_user = is_rootless(args) || entered().is_some();
    let mut config = ConfigOptions {
        ids: maps(args)?.into(),
        ..ConfigOptions::default()
    };
    if is_ordinary_user {
        config.network = Network::Host;
    }
    if !args.command.is_empty() {
        config.overrides.command = Some(args.command.clone());
    }
    Ok(UnpackOptions {
        owners: if is_rootless(args) {
            Owners::Record
        } else {
            Owners::Set
        },
        devices: if is_rootless(args) {
            Devices::Record
        } else if in_user_namespace() {
            Devices::Skip
        } else {
            Devices::Make
        },
        user: None,
        config,
    })
}

/// Returns which ids of the host are those of the container.
fn maps(args: &UnpackArgs) -> Result<IdMaps, CommandError> {
    if !args.uid_map.is_empty() {
        if is_rootless(args) {
            return Err(CommandError::usage(
                "without subordinate ids, files cannot be given to the users of `--uid-map`",
            )
            .hint("`corten doctor` says what this machine allows"));
        }
        return IdMaps::new(args.uid_map.clone(), args.gid_map.clone())
            .map_err(|error| CommandError::usage(error.to_string()));
    }
    if is_rootless(args) {
        let uid = rustix::process::geteuid().as_raw();
        let gid = rustix::process::getegid().as_raw();
        return Ok(IdMaps::single(uid, gid));
    }
    if entered().is_some() {
        // The files are its user's and their subordinate ids', so the container must be, too.
        return IdMaps::of_this_process().map_err(CommandError::caused);
    }
    Ok(IdMaps::default())
}
