//! What is kept beside the blobs, and where.
//!
//! ```text
//! layers/
//!   tar/sha256-…      the exact uncompressed tar of a layer, by DiffID, mode 0444
//!   tar/sha256-….boot the boot that it was made or last hashed in
//!   index/sha256-…    the header index of a layer, by DiffID
//!   seek/sha256-…     where in the blob of a layer inflating can start, by DiffID
//!   files/sha256-…    the files of a stack of layers in a sorted table, by ChainID and rules
//!   dir/sha256-…/     a directory for overlayfs to stack, by ChainID, rules, and whether devices are made
//!     fs/             what the layer changes on top of those beneath it
//!     boot            the boot that it was made in
//!   erofs/sha256-…    an EROFS index over the tars of an image's layers, by all their DiffIDs and rules
//!   erofs/sha256-….boot
//!   tmp/…             unfinished
//! ```
//!
//! All of it is written under `tmp/` and renamed, so that it is whole once it has its name. It is
//! not synced: that would double the cost of unpacking. A power failure could therefore leave a
//! name whose content is gone, which is why tars and directories carry the boot they were made in,
//! and are made again in a later one.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use corten_content::{ImageDocuments, Sink, Store};
use corten_layer::Tree;
use corten_layer::directory::Owners;
use corten_spec::{Descriptor, DiffId, Digest, Kind};
use corten_tar::{LayerLimits, Located};

use crate::derive::{self, Keep};
pub use crate::removal::{Retired, remove};
use crate::unfinished::Unfinished;
use crate::{Error, Result, directories, erofs, files};

/// A layer of an image: its blob and the digest of its tar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerRef {
    /// The stored, usually compressed, content.
    pub blob: Descriptor,
    /// The digest of its uncompressed tar.
    pub diff_id: DiffId,
}

/// What is derived from the layers in a store.
#[derive(Debug, Clone)]
pub struct Snapshots<'a> {
    store: &'a Store,
    limits: LayerLimits,
    elsewhere: Option<&'a dyn LayerSource>,
    pub(crate) owners: Owners,
}

/// Has layers that are not in the store yet.
pub trait LayerSource: fmt::Debug + Sync {
    /// Copies `blob` into `store`; what nobody has is left to whoever looks for it there.
    fn bring(&self, store: &Store, blob: &Descriptor) -> corten_content::Result<()>;
}

/// What [`Snapshots::sweep`] removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SweepReport {
    /// How many tars, indexes and directories.
    pub n_removed: usize,
}

/// Returns the layers of an image, base first.
///
/// # Errors
/// Fails if manifest and config disagree on their number, or a layer is of an unknown type.
pub fn layers_of(image: &ImageDocuments) -> Result<Vec<LayerRef>> {
    let blobs = &image.manifest.value.layers;
    let diff_ids = &image.config.value.rootfs.diff_ids;
    if blobs.len() != diff_ids.len() {
        return Err(Error::LayerCount {
            n_layers: blobs.len(),
            n_diff_ids: diff_ids.len(),
        });
    }
    let layers = blobs
        .iter()
        .zip(diff_ids)
        .map(|(blob, diff_id)| match blob.kind() {
            Kind::Layer { .. } => Ok(LayerRef {
                blob: blob.clone(),
                diff_id: diff_id.clone(),
            }),
            Kind::Index | Kind::Manifest | Kind::Config | Kind::Schema1 | Kind::Other => {
                Err(Error::UnknownLayer {
                    media_type: blob.media_type.clone(),
                })
            }
        });
    layers.collect()
}

/// The kinds of things under `layers/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shelf {
    Tar,
    Index,
    Seek,
    Files,
    Directory,
    Erofs,
}

impl Shelf {
    pub(crate) const ALL: [Self; 6] = [
        Self::Tar,
        Self::Index,
        Self::Seek,
        Self::Files,
        Self::Directory,
        Self::Erofs,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tar => "tar",
            Self::Index => "index",
            Self::Seek => "seek",
            Self::Files => "files",
            Self::Directory => "dir",
            Self::Erofs => "erofs",
        }
    }

    fn key(self, digest: &Digest) -> String {
        format!("layers/{}/{}", self.name(), file_name(digest))
    }
}

pub(crate) fn file_name(digest: &Digest) -> String {
    format!("{}-{}", digest.algorithm_name(), digest.encoded())
}

impl<'a> Snapshots<'a> {
    /// Returns the snapshots of `store`.
    pub fn new(store: &'a Store) -> Self {
        Self {
            store,
            limits: LayerLimits::default(),
            elsewhere: None,
            owners: Owners::Set,
        }
    }

    /// Returns the same, which unpacks directories with `owners`: [`Owners::Mark`] in a user namespace of
    /// one id.
    #[must_use]
    pub fn with_owners(self, owners: Owners) -> Self {
        Self { owners, ..self }
    }

    /// Returns the same, which brings a layer from `elsewhere` once it is to be read and is not in the
    /// store.
    #[must_use]
    pub fn with_layers_of(self, elsewhere: &'a dyn LayerSource) -> Self {
        Self {
            elsewhere: Some(elsewhere),
            ..self
        }
    }

    /// Makes sure that the blob of `layer` is in the store, if it is to be had, and tells whether it was
    /// brought just now: what is derived from it may have come with it.
    pub(crate) fn bring(&self, layer: &LayerRef) -> Result<bool> {
        match self.elsewhere {
            Some(elsewhere) if !self.store.contains(&layer.blob)? => {
                elsewhere.bring(self.store, &layer.blob)?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Returns the same with other bounds on what a layer may ask for while it is read. What was derived
    /// before counts, whatever its bounds were.
    #[must_use]
    pub fn with_limits(self, limits: LayerLimits) -> Self {
        Self { limits, ..self }
    }

    /// Returns the bounds on what a layer may ask for.
    pub fn limits(&self) -> &LayerLimits {
        &self.limits
    }

    /// Returns the store.
    pub fn store(&self) -> &'a Store {
        self.store
    }

    /// Returns the tree that `layers` amount to. Nothing is unpacked; a layer that was never looked
    /// at is read once.
    pub fn tree(&self, layers: &[LayerRef]) -> Result<Tree> {
        self.extend(Tree::new(), layers)
    }

    /// Returns `tree` with `layers` on top of it.
    pub fn extend(&self, tree: Tree, layers: &[LayerRef]) -> Result<Tree> {
        let mut tree = tree;
        for (layer_idx, layer) in layers.iter().enumerate() {
            let applied = self
                .entries(layer)
                .and_then(|entries| Ok(tree.apply(&layer.diff_id, &entries)?));
            tree = applied
                .map_err(|source| of_image(layers, layer_idx, source))?
                .0;
        }
        Ok(tree)
    }

    /// Returns the entries of a layer, from its header index if there is one.
    pub fn entries(&self, layer: &LayerRef) -> Result<Vec<Located>> {
        if let Some(entries) = self.stored_entries(&layer.diff_id)? {
            return Ok(entries);
        }
        if self.bring(layer)?
            && let Some(entries) = self.stored_entries(&layer.diff_id)?
        {
            return Ok(entries);
        }
        let entries = derive::derive(self, layer, Keep::Index)?;
        self.put_entries(&layer.diff_id, &entries)?;
        Ok(entries)
    }

    /// Stores the header index of a layer that was just made.
    pub fn put_entries(&self, diff_id: &DiffId, entries: &[Located]) -> Result<()> {
        let path = self.place(Shelf::Index, &diff_id.0)?;
        let temporary = self.unfinished()?;
        #[expect(
            clippy::disallowed_methods,
            reason = "a temporary name, renamed when it is whole"
        )]
        fs::write(&*temporary, corten_layer::index::encode(entries))
            .map_err(Error::system("write", &*temporary))?;
        temporary.rename(&path)
    }

    fn stored_entries(&self, diff_id: &DiffId) -> Result<Option<Vec<Located>>> {
        let path = self.place(Shelf::Index, &diff_id.0)?;
        match fs::read(&path) {
            // A damaged index, such as one cut short by a power failure, is made again.
            Ok(bytes) => Ok(corten_layer::index::decode(&bytes).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::system("read", path)(error)),
        }
    }

    /// Removes what no image, no build record, no mount and no running process needs, and what was
    /// left unfinished.
    ///
    /// `kept` are stacks of layers that stay, such as those of all named images and build records;
    /// `is_protected` is what running processes hold, see
    /// [`GcGuard::is_protected`](corten_content::gc::GcGuard::is_protected).
    pub fn sweep(
        &self,
        kept: &[Vec<DiffId>],
        is_protected: &dyn Fn(&str) -> bool,
    ) -> Result<SweepReport> {
        self.retire(kept, is_protected)?.remove()
    }

    /// Does what [`sweep`](Self::sweep) does up to the point where nobody finds any of it: what
    /// takes long, removing it, needs no lock.
    pub fn retire(
        &self,
        kept: &[Vec<DiffId>],
        is_protected: &dyn Fn(&str) -> bool,
    ) -> Result<Retired> {
        let mut retired = Retired::default();
        let unneeded = self.unneeded(kept, is_protected)?;
        crate::mount_records::remove_dead(self.store, is_protected)?;
        for path in unneeded {
            retired.take(&path, &self.store.layers_dir().join(TEMPORARY))?;
        }
        Ok(retired)
    }

    /// Lists what [`sweep`](Self::sweep) would remove, but for the records of mounts that are gone.
    pub fn unneeded(
        &self,
        kept: &[Vec<DiffId>],
        is_protected: &dyn Fn(&str) -> bool,
    ) -> Result<Vec<PathBuf>> {
        let mut keys = crate::mount_records::live_keys(self.store, is_protected)?;
        for stack in kept {
            for (layer_idx, diff_id) in stack.iter().enumerate() {
                keys.insert(Shelf::Tar.key(&diff_id.0));
                keys.insert(Shelf::Index.key(&diff_id.0));
                keys.insert(Shelf::Seek.key(&diff_id.0));
                let chain = stack.get(..=layer_idx).unwrap_or_default();
                keys.insert(Shelf::Files.key(&files::name_of(chain)));
                let of_directory = |(devices, owners)| {
                    Shelf::Directory.key(&directories::name_of(chain, devices, owners))
                };
                keys.extend(directories::WAYS.map(of_directory));
            }
            keys.insert(Shelf::Erofs.key(&erofs::name_of(stack)));
        }
        let mut unneeded = Vec::new();
        let root = self.store.layers_dir();
        for name in Shelf::ALL.map(Shelf::name).into_iter().chain([TEMPORARY]) {
            for entry in list(&root.join(name))? {
                let file_name = entry.file_name().to_string_lossy().into_owned();
                let of = file_name.strip_suffix(BOOT_SUFFIX).unwrap_or(&file_name);
                let key = format!("layers/{name}/{of}");
                if !keys.contains(&key) && !is_protected(&key) {
                    unneeded.push(entry.path());
                }
            }
        }
        Ok(unneeded)
    }

    /// Returns the path of something derived, which `gc` spares from now on.
    pub(crate) fn place(&self, shelf: Shelf, digest: &Digest) -> Result<PathBuf> {
        self.store.protect(&shelf.key(digest))?;
        let directory = self.store.layers_dir().join(shelf.name());
        make_directory(&directory)?;
        Ok(directory.join(file_name(digest)))
    }

    /// Returns a path that nobody uses, which `gc` spares from now on.
    pub fn temporary(&self) -> Result<PathBuf> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{}-{number}", std::process::id(), start_of_process());
        self.store.protect(&format!("layers/{TEMPORARY}/{name}"))?;
        let directory = self.store.layers_dir().join(TEMPORARY);
        make_directory(&directory)?;
        Ok(directory.join(name))
    }

    /// Returns the same as something to be made there.
    pub(crate) fn unfinished(&self) -> Result<Unfinished> {
        self.temporary().map(Unfinished::new)
    }
}

pub(crate) const TEMPORARY: &str = "tmp";

/// What the name of a tar gets for the file that tells the boot it was made in.
pub(crate) const BOOT_SUFFIX: &str = ".boot";

pub(crate) fn of_image(layers: &[LayerRef], layer_idx: usize, source: Error) -> Error {
    let Some(layer) = layers.get(layer_idx) else {
        return source;
    };
    Error::OfImage {
        number: layer_idx + 1,
        n_layers: layers.len(),
        blob: layer.blob.digest.clone(),
        source: Box::new(source),
    }
}

/// Returns what tells this process from an earlier one of the same number, even across machines
/// that share the directory.
fn start_of_process() -> u128 {
    static START: std::sync::OnceLock<u128> = std::sync::OnceLock::new();
    *START.get_or_init(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.unwrap_or_default().as_nanos()
    })
}

pub(crate) fn make_directory(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    // Layers hold set-id programs of other people: only the store's owner gets at them, at any time.
    let mut builder = fs::DirBuilder::new();
    builder
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(Error::system("create", path))
}

pub(crate) fn list(directory: &Path) -> Result<Vec<fs::DirEntry>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(Error::system("list", directory))?,
    };
    entries
        .map(|entry| entry.map_err(Error::system("list", directory)))
        .collect()
}

/// Returns what identifies the current boot of the machine.
pub(crate) fn boot() -> Vec<u8> {
    static BOOT: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    BOOT.get_or_init(|| fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default())
        .clone()
}
