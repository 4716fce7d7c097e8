//! `corten cat`

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::process::ExitCode;

use clap::Args;
use corten_image::{Files, Found, Links};
use corten_snapshot::layers_of;
use corten_spec::Platform;

use crate::context::Context;
use crate::error::CommandError;
use crate::images::find_to_read;
use crate::places::Place;
use crate::registry::RegistryArgs;
use crate::wanted::Wanted;

/// Print files of an image, without unpacking it
///
/// A path starts at the image's root, and symbolic links in it are followed there. Nothing is printed
/// unless all of the files are there.
#[derive(Debug, Args)]
pub(crate) struct CatArgs {
    /// Where the image is
    #[arg(value_name = "PLACE")]
    place: Place,
    /// What to print, one after the other
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<OsString>,
    /// Of an image for several platforms, print files of this one
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,
    #[command(flatten)]
    registry: RegistryArgs,
}

pub(crate) fn run(args: &CatArgs, ctx: &Context) -> Result<ExitCode, CommandError> {
    let doing = format!("cannot read files of `{}`", args.place);
    cat(args, ctx).map_err(|error| error.while_doing(doing))?;
    Ok(ExitCode::SUCCESS)
}

fn cat(args: &CatArgs, ctx: &Context) -> Result<(), CommandError> {
    let store = ctx.store()?;
    let wanted = Wanted::asked(args.platform.as_ref());
    let image = find_to_read(ctx, &store, &args.registry, &args.place, &wanted)?;
    let layers = layers_of(&image.documents).map_err(CommandError::caused)?;
    let files = Files::open(&ctx.snapshots(&store), &layers).map_err(CommandError::caused)?;
    let found = args.paths.iter().map(|path| find(&files, path));
    let found: Vec<Found> = found.collect::<Result<_, _>>()?;
    for file in &found {
        let mut content = files.read(file).map_err(CommandError::caused)?;
        ctx.output.copy(&mut content)?;
    }
    let (read, inflated) = files.cost();
    ctx.output.detail(&format!(
        "{read} bytes of the table of files were read, {inflated} bytes of layers were inflated"
    ));
    Ok(())
}

fn find(files: &Files<'_>, path: &OsString) -> Result<Found, CommandError> {
    let found = files
        .find(path.as_bytes(), Links::Follow)
        .map_err(CommandError::caused)?;
    match files.file(&found) {
        Ok(_) => Ok(found),
        Err(
            error @ corten_image::Error::NotFile {
                kind: "directory", ..
            },
        ) => Err(CommandError::caused(error).hint("`corten ls` shows what is in a directory")),
        Err(error) => Err(CommandError::caused(error)),
    }
}
