//! `corten ls`

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::process::ExitCode;

use clap::Args;
use corten_image::files::name_of;
use corten_image::{Files, Found, Links};
use corten_layer::{Kind, Shown};
use corten_snapshot::layers_of;
use corten_spec::{DiffId, Platform};
use jiff::Timestamp;
use serde::Serialize;

use crate::context::Context;
use crate::error::CommandError;
use crate::images::find_to_read;
use crate::output::Format;
use crate::places::Place;
use crate::registry::RegistryArgs;
use crate::wanted::Wanted;

/// List files of an image, without unpacking it
///
/// A path starts at the image's root, and symbolic links in it are followed there. Names are sorted by
/// their bytes; control characters and bytes that are not UTF-8 are escaped.
#[derive(Debug, Args)]
pub(crate) struct LsArgs {
    /// Where the image is
    #[arg(value_name = "PLACE")]
    place: Place,
    /// What to list
    #[arg(value_name = "PATH", default_value = "/")]
    path: OsString,
    /// Show type and mode, names of the inode, owner, group, size, time and target, too
    #[arg(short, long)]
    long: bool,
    /// List what is in directories, too
    #[arg(short = 'R', long)]
    recursive: bool,
    /// Of an image for several platforms, list this one
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,
    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// A file in what `--format json` prints.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed<'a> {
    /// The path in the image, escaped as in listings.
    path: String,
    /// What it is.
    kind: &'static str,
    /// Permissions, set-id and sticky bits, octal.
    mode: String,
    uid: u32,
    gid: u32,
    /// Bytes of a file, holes counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    /// Seconds since 1970.
    mtime: i64,
    /// What is to be added to `mtime`.
    mtime_nanoseconds: u32,
    /// How many names the inode has.
    links: u32,
    /// The target of a symbolic link, escaped as in listings.
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    /// Major and minor number of a device.
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<(u32, u32)>,
    /// Names of extended attributes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    xattrs: Vec<String>,
    /// The layer that wrote it, counted from 1, and its DiffID.
    #[serde(skip_serializing_if = "Option::is_none")]
    layer: Option<(u32, &'a DiffId)>,
}

pub(crate) fn run(args: &LsArgs, ctx: &Context) -> Result<ExitCode, CommandError> {
    let doing = format!("cannot list `{}` of `{}`", args.path.display(), args.place);
    list(args, ctx).map_err(|error| error.while_doing(doing))?;
    Ok(ExitCode::SUCCESS)
}

fn list(args: &LsArgs, ctx: &Context) -> Result<(), CommandError> {
    let store = ctx.store()?;
    let wanted = Wanted::asked(args.platform.as_ref());
    let image = find_to_read(ctx, &store, &args.registry, &args.place, &wanted)?;
    let layers = layers_of(&image.documents).map_err(CommandError::caused)?;
    let files = Files::open(&ctx.snapshots(&store), &layers).map_err(CommandError::caused)?;
    let listed = of_path(args, &files).map_err(CommandError::caused)?;
    let (read, _) = files.cost();
    ctx.output
        .detail(&format!("{read} bytes of the table of files were read"));
    match args.format {
        Format::Json => {
            let diff_ids = &image.documents.config.value.rootfs.diff_ids;
            let listed: Vec<_> = listed
                .iter()
                .map(|found| as_json(found, diff_ids))
                .collect();
            ctx.output.json(&listed)
        }
        Format::Text if listed.is_empty() => Ok(()),
        Format::Text if args.long => ctx.output.data(&long(&listed, args)),
        Format::Text => {
            let names: Vec<String> = listed.iter().map(|found| shown(found, args)).collect();
            ctx.output.data(&names.join("\n"))
        }
    }
}

fn of_path(args: &LsArgs, files: &Files<'_>) -> corten_image::Result<Vec<Found>> {
    let at_end = files.find(args.path.as_bytes(), Links::Keep)?;
    // As for `ls`, a link to a directory is the directory, unless details of the link are wanted.
    let found = match at_end.node.kind {
        Kind::Symlink(_) if !args.long || args.path.as_bytes().ends_with(b"/") => {
            files.find(args.path.as_bytes(), Links::Follow)?
        }
        _ => at_end,
    };
    if !matches!(found.node.kind, Kind::Directory(_)) {
        return Ok(vec![found]);
    }
    if !args.recursive {
        return files.list(&found);
    }
    let mut all = Vec::new();
    files.walk(&found, &mut |found| {
        all.push(found.clone());
        Ok::<(), corten_image::Error>(())
    })?;
    Ok(all)
}

/// A whole path where directories are mixed, else the name alone.
fn shown(found: &Found, args: &LsArgs) -> String {
    let name = if args.recursive {
        &found.path
    } else {
        corten_layer::path::split(&found.path).1
    };
    Shown::from(name).to_string()
}

fn long(listed: &[Found], args: &LsArgs) -> String {
    let cells = |found: &Found| {
        let meta = &found.node.meta;
        let size = match &found.node.kind {
            Kind::File(file) => file.size.to_string(),
            Kind::Device { major, minor, .. } => format!("{major},{minor}"),
            Kind::Directory(_) | Kind::Symlink(_) | Kind::Fifo => "-".to_owned(),
        };
        let target = match &found.node.kind {
            Kind::Symlink(target) => format!(" -> {}", Shown::from(&**target)),
            _ => String::new(),
        };
        [
            mode(found),
            found.node.n_links.to_string(),
            meta.uid.to_string(),
            meta.gid.to_string(),
            size,
            time(meta.mtime.seconds),
            shown(found, args) + &target,
        ]
    };
    let rows: Vec<[String; 7]> = listed.iter().map(cells).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths = [1, 2, 3, 4].map(width);
    let line = |[mode, links, uid, gid, size, time, name]: &[String; 7]| {
        let [links_width, uid_width, gid_width, size_width] = widths;
        format!(
            "{mode} {links:>links_width$} {uid:>uid_width$} {gid:>gid_width$} {size:>size_width$} {time} {name}"
        )
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// The type and the mode as `ls -l` writes them.
fn mode(found: &Found) -> String {
    let kind = match &found.node.kind {
        Kind::File(_) => '-',
        Kind::Directory(_) => 'd',
        Kind::Symlink(_) => 'l',
        Kind::Device { block: true, .. } => 'b',
        Kind::Device { block: false, .. } => 'c',
        Kind::Fifo => 'p',
    };
    let mode = found.node.meta.mode;
    let mut text = String::from(kind);
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = mode >> shift;
        text.push(if bits & 4 == 0 { '-' } else { 'r' });
        text.push(if bits & 2 == 0 { '-' } else { 'w' });
        text.push(match (mode & special != 0, bits & 1 != 0) {
            (false, false) => '-',
            (false, true) => 'x',
            (true, true) => letter,
            (true, false) => letter.to_ascii_uppercase(),
        });
    }
    text
}

/// The time in UTC: an image has no time zone.
fn time(seconds: i64) -> String {
    match Timestamp::from_second(seconds) {
        Ok(time) => time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        Err(_) => format!("@{seconds}"),
    }
}

fn as_json<'a>(found: &Found, diff_ids: &'a [DiffId]) -> Listed<'a> {
    let meta = &found.node.meta;
    let (mut size, mut target, mut device) = (None, None, None);
    match &found.node.kind {
        Kind::File(file) => size = Some(file.size),
        Kind::Symlink(link) => target = Some(Shown::from(&**link).to_string()),
        Kind::Device { major, minor, .. } => device = Some((*major, *minor)),
        Kind::Directory(_) | Kind::Fifo => {}
    }
    let xattrs = meta.xattrs().iter();
    let layer_idx = usize::try_from(found.node.layer)
        .ok()
        .and_then(|layer| layer.checked_sub(1));
    let diff_id = layer_idx.and_then(|layer_idx| diff_ids.get(layer_idx));
    Listed {
        path: Shown::from(found.path.as_slice()).to_string(),
        kind: name_of(&found.node.kind),
        mode: format!("{:04o}", meta.mode),
        uid: meta.uid,
        gid: meta.gid,
        size,
        mtime: meta.mtime.seconds,
        mtime_nanoseconds: meta.mtime.nanoseconds,
        links: found.node.n_links,
        target,
        device,
        xattrs: xattrs
            .map(|(name, _)| Shown::from(name.as_slice()).to_string())
            .collect(),
        layer: diff_id.map(|diff_id| (found.node.layer, diff_id)),
    }
}
