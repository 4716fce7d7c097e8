//! Bundles: an image's files and its runtime config in a directory.
//!
//! ```text
//! BUNDLE/
//!   config.json     the runtime specification's
//!   corten-record   what was written, to tell later what was changed
//!   rootfs/         what the layers amount to
//!   owners.mtree    what the layers say where the caller could not write it so, see
//!                   [`corten_layer::owners`]
//! ```

use std::fs::{self, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use corten_content::ImageDocuments;
use corten_content::unfinished::Unfinished;
use corten_layer::Tree;
use corten_layer::beneath::Root;
use corten_layer::bytes::TreeContents;
use corten_layer::directory::{Devices, DirectoryOptions, Owners, Written, write_tree};
use corten_layer::owners;
use corten_layer::users::resolve_user;
use corten_snapshot::snapshots::remove;
use corten_snapshot::{Bytes, Snapshots, layers_of};
use corten_spec::Descriptor;

use crate::clock::Clock;
use crate::config::{ConfigOptions, Converted, Note, ROOTFS, check_os, runtime_config};
use crate::ids::DiskIds;
use crate::record::Origin;
use crate::survey::survey;
use crate::verbatim::verbatim_config;
use crate::{Error, Result};

/// How an image is unpacked.
#[derive(Debug, Clone)]
pub struct UnpackOptions {
    /// What becomes of owners: [`Owners::Record`] for users who may not give files away.
    pub owners: Owners,
    /// What becomes of device nodes: [`Devices::Record`] for users who may not make any.
    pub devices: Devices,
    /// Whom the process runs as, instead of the image's `User`.
    pub user: Option<String>,
    /// What goes into `config.json`.
    pub config: ConfigOptions,
}

/// What was unpacked.
#[derive(Debug)]
pub struct Unpacked {
    /// How many paths the root has.
    pub n_paths: usize,
    /// What could not be written as the image has it.
    pub written: Written,
    /// What of the image its config does not have.
    pub notes: Vec<Note>,
}

/// Unpacks `image`, whose layers are in the store of `snapshots`, as a bundle in the directory
/// `bundle`, which must be empty or not there.
///
/// The bundle appears whole or not at all: it is made beside, as `.NAME.corten-tmp-…`, and renamed. On
/// failure nothing stays, and while it is made it is [`Unfinished`]. The
/// bundle can be entered by its owner alone, since it may hold set-user-ID programs (CVE-2021-41091),
/// and by the group of the container's root where that is another's: the runtime goes there as that.
pub fn unpack(
    snapshots: &Snapshots<'_>,
    image: &ImageDocuments,
    bundle: &Path,
    options: &UnpackOptions,
) -> Result<Unpacked> {
    check_os(&image.config.value)?;
    check_vacant(bundle)?;
    let temporary = temporary_beside(bundle)?;
    let create = || {
        fs::DirBuilder::new().mode(0o700).create(&temporary)?;
        Ok((temporary.clone(), ()))
    };
    let (_unfinished, ()) =
        Unfinished::create(create).map_err(Error::system("create", &temporary))?;
    let result = write_bundle(snapshots, image, &temporary, options).and_then(|unpacked| {
        fs::rename(&temporary, bundle).map_err(|error| match error.kind() {
            ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists | ErrorKind::NotADirectory => {
                exists(bundle)
            }
            _ => Error::system("create", bundle)(error),
        })?;
        Ok(unpacked)
    });
    if result.is_err() {
        // The first failure is the one to tell.
        remove(&temporary).ok();
    }
    result
}

fn write_bundle(
    snapshots: &Snapshots<'_>,
    image: &ImageDocuments,
    directory: &Path,
    options: &UnpackOptions,
) -> Result<Unpacked> {
    let layers = layers_of(image)?;
    for (layer_idx, layer) in layers.iter().enumerate() {
        // The tar first: its headers come with it, so that each blob is read once.
        snapshots
            .tar(layer)
            .map_err(|source| corten_snapshot::Error::OfImage {
                number: layer_idx + 1,
                n_layers: layers.len(),
                blob: layer.blob.digest.clone(),
                source: Box::new(source),
            })?;
    }
    let tree = snapshots.tree(&layers)?;
    let bytes = Bytes::new(snapshots.clone(), &layers);
    let contents = TreeContents {
        tree: &tree,
        bytes: &bytes,
    };
    let converted = convert(image, &contents, options)?;
    let origin = Origin {
        image: Descriptor {
            platform: Some(image.config.value.platform()),
            ..image.manifest.descriptor.clone()
        },
        ids: options.config.ids.maps(),
        rootless: options.owners != Owners::Set,
    };
    let owned = match options.owners {
        Owners::Set => {
            let ids = DiskIds::new(&origin.ids)?;
            open_to_root(directory, &ids)?;
            owned_on_disk(&tree, &ids)?
        }
        Owners::Record | Owners::Leave | Owners::Mark => None,
    };
    let rootfs = directory.join(ROOTFS);
    fs::create_dir(&rootfs).map_err(Error::system("create", &rootfs))?;
    let how = DirectoryOptions {
        owners: options.owners,
        devices: options.devices,
        threads: 2,
    };
    let root = Root::open(&rootfs)?;
    let written = write_tree(owned.as_ref().unwrap_or(&tree), &contents, &root, &how)?;
    if options.owners == Owners::Record {
        let path = directory.join(owners::FILE_NAME);
        write_new(&path, &written.recorded.encode())?;
    }
    write_new(&directory.join(CONFIG), &json(&converted.config))?;
    let clock = Clock::start(directory)?;
    clock
        .record(origin, survey(&root, &|_| false)?.found)?
        .commit()?;
    Ok(Unpacked {
        n_paths: tree.n_paths(),
        written,
        notes: converted.notes,
    })
}

/// The name of the runtime's config in a bundle.
const CONFIG: &str = "config.json";

/// Returns the `config.json` of a container of `image`, of which only the users' tables are read.
///
/// For systems other than Linux it holds what the image says verbatim, see
/// [`verbatim_config`].
pub fn config_json(
    snapshots: &Snapshots<'_>,
    image: &ImageDocuments,
    options: &UnpackOptions,
) -> Result<(Vec<u8>, Vec<Note>)> {
    let config = &image.config.value;
    if config.os != "linux" {
        let (config, notes) = verbatim_config(config, &options.config.overrides)?;
        return Ok((json(&config), notes));
    }
    let layers = layers_of(image)?;
    let tree = snapshots.tree(&layers)?;
    let bytes = Bytes::new(snapshots.clone(), &layers);
    let contents = TreeContents {
        tree: &tree,
        bytes: &bytes,
    };
    let Converted { config, notes } = convert(image, &contents, options)?;
    Ok((json(&config), notes))
}

/// Writes a `config.json` into the directory `bundle`, which is made if it is not there.
///
/// # Errors
/// Fails if there is one already.
pub fn write_config(bundle: &Path, json: &[u8]) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(bundle)
        .map_err(Error::system("create", bundle))?;
    write_new(&bundle.join(CONFIG), json)
}

fn convert(
    image: &ImageDocuments,
    contents: &TreeContents<'_>,
    options: &UnpackOptions,
) -> Result<Converted> {
    let config = &image.config.value;
    let user = options.user.as_ref().unwrap_or(&config.config.user);
    let user = resolve_user(contents.tree, contents, user)?;
    runtime_config(config, &user, &options.config)
}

/// Lets the container's root search `directory`, if it is somebody else than its owner.
///
/// Others may not, unlike in what umoci makes: there, programs that set their user id are within reach
/// of everybody.
fn open_to_root(directory: &Path, ids: &DiskIds) -> Result<()> {
    // A container without a root goes nowhere by itself.
    let Some(gid) = ids.group_of_root().filter(|_| !ids.are_identity()) else {
        return Ok(());
    };
    chown(directory, None, Some(gid))
        .and_then(|()| fs::set_permissions(directory, Permissions::from_mode(0o710)))
        .map_err(Error::system("open to the container's root", directory))
}

/// Returns `tree` with the owners that its files have on the disk, if they are others.
fn owned_on_disk(tree: &Tree, ids: &DiskIds) -> Result<Option<Tree>> {
    if ids.are_identity() {
        return Ok(None);
    }
    let mut owned = tree.clone();
    owned.change_meta(|path, meta| ids.to_disk(path, meta))?;
    Ok(Some(owned))
}

fn json(config: &impl serde::Serialize) -> Vec<u8> {
    let mut json = serde_json::to_vec_pretty(config)
        .expect("the config has string keys and no failing serializer");
    json.push(b'\n');
    json
}

/// Writes a file that is not there yet.
fn write_new(path: &Path, bytes: &[u8]) -> Result<()> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(path)
        .and_then(|mut file| file.write_all(bytes))
        .map_err(Error::system("write", path))
}

fn check_vacant(bundle: &Path) -> Result<()> {
    match fs::read_dir(bundle) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(exists(bundle)),
        },
        // A link would be replaced rather than followed, which nobody wants.
        Err(error) if error.kind() == ErrorKind::NotFound => match bundle.symlink_metadata() {
            Ok(_) => Err(exists(bundle)),
            Err(_) => Ok(()),
        },
        Err(error) if error.kind() == ErrorKind::NotADirectory => Err(exists(bundle)),
        Err(error) => Err(Error::system("list", bundle)(error)),
    }
}

fn exists(bundle: &Path) -> Error {
    Error::Exists {
        path: bundle.to_owned(),
    }
}

/// Returns a path beside `bundle`, hence on the same file system, that nobody uses.
fn temporary_beside(bundle: &Path) -> Result<PathBuf> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let Some(name) = bundle.file_name() else {
        return Err(Error::InvalidPlace {
            path: bundle.to_owned(),
        });
    };
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.unwrap_or_default().as_nanos();
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".corten-tmp-{}-{now}-{number}", std::process::id()));
    Ok(bundle.with_file_name(hidden))
}
