//! `corten export`

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use corten_spec::Platform;
use corten_tar::Compression;

use crate::compression::Chosen;
use crate::context::Context;
use crate::error::CommandError;
use crate::images::find_to_read;
use crate::places::Place;
use crate::registry::RegistryArgs;
use crate::rootfs::{self, TarOptions};
use crate::wanted::Wanted;

/// Write the files of an image as one tar
///
/// Each file is in it once, with its owner, mode, times, links and extended attributes; the same image
/// gives the same bytes.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// Where the image is
    #[arg(value_name = "PLACE")]
    place: Place,
    /// What to write; symbolic links in the path are followed in the image [default: everything]
    #[arg(value_name = "PATH")]
    path: Option<OsString>,
    /// The file to write; `-` for standard output
    #[arg(long, short, value_name = "FILE", default_value = "-")]
    output: PathBuf,
    /// How to compress the tar: gzip (levels 0 to 12), zstd (1 to 22) or none
    #[arg(long, value_name = "KIND[:LEVEL]", default_value_t = Chosen { kind: Compression::None, level: None })]
    compression: Chosen,
    /// Of an image for several platforms, write the files of this one
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,
    #[command(flatten)]
    registry: RegistryArgs,
}

pub(crate) fn run(args: &ExportArgs, ctx: &Context) -> Result<ExitCode, CommandError> {
    let export = || {
        rootfs::refuse_terminal(&args.output)?;
        let store = ctx.store()?;
        let wanted = Wanted::asked(args.platform.as_ref());
        let image = find_to_read(ctx, &store, &args.registry, &args.place, &wanted)?;
        let options = TarOptions {
            compression: args.compression,
            path: args.path.as_ref().map(|path| path.as_bytes()),
        };
        let snapshots = ctx.snapshots(&store);
        rootfs::write_tar(&snapshots, &image.documents, &args.output, &options)
    };
    let doing = format!("cannot export `{}`", args.place);
    export().map_err(|error| error.while_doing(doing))?;
    Ok(ExitCode::SUCCESS)
}
