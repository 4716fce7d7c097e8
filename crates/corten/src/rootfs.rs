//! The files of an image, written out: what `--output type=local` and `type=tar` ask for.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufWriter, IsTerminal as _, Write};
use std::path::Path;

use corten_content::ImageDocuments;
use corten_content::unfinished::Unfinished;
use corten_image::{Files, Links, export};
use corten_layer::beneath::Root;
use corten_layer::bytes::TreeContents;
use corten_layer::directory::{Devices, DirectoryOptions, Owners, write_tree};
use corten_snapshot::snapshots::remove;
use corten_snapshot::{Bytes, PackOptions, Snapshots, layers_of};
use corten_tar::{Compression, Encoder};

use crate::compression::Chosen;
use crate::error::CommandError;

/// Writes the files of `image` into the directory `path`, which must be empty or not there. All of it
/// belongs to whoever runs this.
///
/// A directory that is not there appears whole: it is made beside, as a tar is. One that is there is written
/// into, since something may be mounted on it.
pub(crate) fn write_directory(
    snapshots: &Snapshots<'_>,
    image: &ImageDocuments,
    path: &Path,
) -> Result<(), CommandError> {
    let doing = || format!("cannot write to `{}`", path.display());
    let is_there = fs::symlink_metadata(path).is_ok();
    let written = match path.file_name() {
        Some(name) if !is_there => write_new_directory(snapshots, image, path, name),
        _ => write_into(snapshots, image, path),
    };
    written.map_err(|error| error.while_doing(doing()))
}

fn write_new_directory(
    snapshots: &Snapshots<'_>,
    image: &ImageDocuments,
    path: &Path,
    name: &OsStr,
) -> Result<(), CommandError> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(CommandError::caused)?;
    }
    let mut beside = name.to_owned();
    beside.push(format!(".corten-tmp-{}", std::process::id()));
    let temporary = path.with_file_name(beside);
    let create = || fs::create_dir(&temporary).map(|()| (temporary.clone(), ()));
    let (_unfinished, ()) = Unfinished::create(create).map_err(CommandError::caused)?;
    let written = write_into(snapshots, image, &temporary)
        .and_then(|()| fs::rename(&temporary, path).map_err(CommandError::caused));
    if written.is_err() {
        // The first failure is the one to tell.
        remove(&temporary).ok();
    }
    written
}

fn write_into(
    snapshots: &Snapshots<'_>,
    image: &ImageDocuments,
    path: &Path,
) -> Result<(), CommandError> {
    fs::create_dir_all(path).map_err(CommandError::caused)?;
    let mut entries = fs::read_dir(path).map_err(CommandError::caused)?;
    if entries.next().is_some() {
        return Err(CommandError::failed(format!(
            "`{}` is not empty",
            path.display()
        )));
    }
    let options = DirectoryOptions {
        owners: Owners::Leave,
        devices: Devices::Skip,
        threads: 2,
    };
    with_contents(snapshots, image, |contents| {
        let root = Root::open(path)?;
        write_tree(contents.tree, contents, &root, &options).map(drop)
    })
}

/// How a tar is written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TarOptions<'a> {
    /// How it is compressed.
    pub(crate) compression: Chosen,
    /// What of the image it holds; everything if `None`.
    pub(crate) path: Option<&'a [u8]>,
}

impl TarOptions<'_> {
    /// Everything, not compressed.
    pub(crate) const PLAIN: Self = Self {
        compression: Chosen {
            kind: Compression::None,
            level: None,
        },
        path: None,
    };
}

/// Tells whether a tar written to `path` goes to standard output.
pub(crate) fn is_stdout(path: &Path) -> bool {
    path == Path::new("-")
}

/// Refuses to show somebody a tar.
pub(crate) fn refuse_terminal(path: &Path) -> Result<(), CommandError> {
    if is_stdout(path) && std::io::stdout().is_terminal() {
        return Err(
            CommandError::usage("a tar is nothing to look at on a terminal")
                .hint("name a file to write, or pipe it to another program"),
        );
    }
    Ok(())
}

/// Writes the files of `image` as a tar to `path`; `-` is standard output. A file appears whole; a
/// device, a pipe or what a link leads to is written into.
pub(crate) fn write_tar(
    snapshots: &Snapshots<'_>,
    image: &ImageDocuments,
    path: &Path,
    options: &TarOptions<'_>,
) -> Result<(), CommandError> {
    let doing = || format!("cannot write `{}`", path.display());
    if is_stdout(path) {
        return write(snapshots, image, &mut std::io::stdout().lock(), options)
            .map_err(|error| error.while_doing(doing()));
    }
    // A rename would put a file in the place of the node: as root, of `/dev/null` itself.
    if fs::symlink_metadata(path).is_ok_and(|found| !found.is_file()) {
        return fs::File::create(path)
            .map_err(CommandError::caused)
            .and_then(|mut node| write(snapshots, image, &mut node, options))
            .map_err(|error| error.while_doing(doing()));
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".corten-tmp-{}", std::process::id()));
    let temporary = path.with_file_name(name);
    let create = || {
        let file = fs::File::create_new(&temporary)
            .map_err(|error| CommandError::doing(doing(), error))?;
        Ok::<_, CommandError>((temporary.clone(), file))
    };
    let (_unfinished, mut file) = Unfinished::create(create)?;
    let written = write(snapshots, image, &mut file, options)
        .and_then(|()| file.sync_data().map_err(CommandError::caused))
        .and_then(|()| fs::rename(&temporary, path).map_err(CommandError::caused));
    written.map_err(|error| {
        // The first failure is the one to tell.
        fs::remove_file(&temporary).ok();
        error.while_doing(doing())
    })
}

fn write(
    snapshots: &Snapshots<'_>,
    image: &ImageDocuments,
    out: &mut dyn Write,
    options: &TarOptions<'_>,
) -> Result<(), CommandError> {
    let layers = layers_of(image).map_err(CommandError::caused)?;
    let find = |path| Files::open(snapshots, &layers)?.find(path, Links::Follow);
    let part = options
        .path
        .map(find)
        .transpose()
        .map_err(CommandError::caused)?;
    let Chosen { kind, level } = options.compression;
    let out = BufWriter::with_capacity(256 << 10, out);
    let threads = PackOptions::default().threads;
    let mut encoder = Encoder::new(out, kind, level, threads).map_err(CommandError::caused)?;
    export(snapshots, &layers, part.as_ref(), &mut encoder).map_err(CommandError::caused)?;
    encoder
        .finish()
        .and_then(|mut out| out.flush())
        .map_err(CommandError::caused)
}

fn with_contents(
    snapshots: &Snapshots<'_>,
    image: &ImageDocuments,
    use_it: impl FnOnce(&TreeContents<'_>) -> corten_layer::Result<()>,
) -> Result<(), CommandError> {
    let layers = layers_of(image).map_err(CommandError::caused)?;
    let tree = snapshots.tree(&layers).map_err(CommandError::caused)?;
    let bytes = Bytes::new(snapshots.clone(), &layers);
    use_it(&TreeContents {
        tree: &tree,
        bytes: &bytes,
    })
    .map_err(CommandError::caused)
}
