//! `corten import`

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use corten_content::Sink as _;
use corten_image::{Archive, ImportOptions};
use corten_spec::Platform;
use corten_tar::Timestamp;

use crate::compression::CompressionArgs;
use crate::context::Context;
use crate::error::CommandError;
use crate::places::{Name, store_name};
use crate::timestamp::Seconds;

/// Make an image of one layer from the tar of a root file system
///
/// The tar may be compressed. Prints the digest.
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// The tar; `-` for standard input
    #[arg(value_name = "ROOTFS.tar")]
    tar: PathBuf,
    /// What the image is to be called
    #[arg(long, short, value_name = "NAME", value_parser = store_name)]
    tag: Name,
    /// What the image runs on
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,
    #[command(flatten)]
    compression: CompressionArgs,
    /// When the image was made, in seconds since 1970 or as in RFC 3339 [default: `$SOURCE_DATE_EPOCH`,
    /// else the newest time in the tar]
    #[arg(long, value_name = "TIME")]
    timestamp: Option<Seconds>,
}

pub(crate) fn run(args: &ImportArgs, ctx: &Context) -> Result<ExitCode, CommandError> {
    let Name::Reference(name) = &args.tag else {
        return Err(CommandError::usage(format!(
            "`{}` is a digest, and a name is needed",
            args.tag
        )));
    };
    let created = match args.timestamp {
        Some(created) => Some(created),
        None => Seconds::from_environment(ctx)?,
    };
    let platform = args.platform.clone().unwrap_or_else(Platform::host);
    let options = ImportOptions {
        created: created.map(|seconds| Timestamp::from_seconds(seconds.0)),
        pack: args.compression.pack(),
        limits: ctx.layer_limits(),
        ..ImportOptions::new(platform)
    };
    let import = || {
        let store = ctx.store()?;
        let manifest = corten_image::import(&store, open(&args.tar)?, &options)
            .map_err(CommandError::caused)?;
        store
            .tag(&name.to_string(), &manifest)
            .map_err(CommandError::caused)?;
        Ok(manifest)
    };
    let doing = format!("cannot import `{}`", args.tar.display());
    let manifest = import().map_err(|error: CommandError| error.while_doing(doing))?;
    ctx.output.data(manifest.digest.as_str())?;
    Ok(ExitCode::SUCCESS)
}

/// Opens the tar; what can be read again needs no copy.
fn open(tar: &Path) -> Result<Archive, CommandError> {
    if tar == Path::new("-") {
        return Ok(Archive::Stream(Box::new(std::io::stdin())));
    }
    let file = File::open(tar)
        .map_err(|error| CommandError::doing(format!("cannot open `{}`", tar.display()), error))?;
    let is_file = file.metadata().is_ok_and(|metadata| metadata.is_file());
    Ok(if is_file {
        Archive::File(file)
    } else {
        Archive::Stream(Box::new(file))
    })
}
