//! Directories that overlayfs stacks to show an image.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use corten_layer::beneath::Root;
use corten_layer::bytes::TreeContents;
use corten_layer::diff::diff;
use corten_layer::directory::{Devices, DirectoryOptions, Owners, write_overlay};
use corten_layer::tree::File;
use corten_layer::{RULES, Tree};
use corten_spec::{ChainId, DiffId, Digest};

use crate::bytes::Bytes;
use crate::snapshots::{Shelf, boot, of_image, remove};
use crate::{Error, LayerRef, Result, Snapshots};

/// The directory inside each snapshot that holds the files.
const FILES: &str = "fs";
const BOOT: &str = "boot";
/// The version of how a layer's changes are written to its directory.
const VERSION: u32 = 1;

/// What becomes of device nodes and owners in directories.
pub(crate) const WAYS: [(Devices, Owners); 4] = [
    (Devices::Make, Owners::Set),
    (Devices::Skip, Owners::Set),
    (Devices::Record, Owners::Set),
    (Devices::Skip, Owners::Mark),
];

impl Snapshots<'_> {
    /// Returns the directories that overlayfs stacks to show `layers`, the topmost first.
    ///
    /// What is missing is unpacked: each directory holds what its layer changes, computed on the
    /// tree, so that the stack shows exactly the tree whatever the layers are made of. `devices` says
    /// what becomes of device nodes, which no user namespace may make.
    pub fn directories(&self, layers: &[LayerRef], devices: Devices) -> Result<Vec<PathBuf>> {
        let diff_ids: Vec<DiffId> = layers.iter().map(|layer| layer.diff_id.clone()).collect();
        let mut paths = Vec::with_capacity(layers.len());
        let mut tree: Option<Tree> = None;
        for (layer_idx, layer) in layers.iter().enumerate() {
            let stack = diff_ids.get(..=layer_idx).unwrap_or_default();
            let path = self.place(Shelf::Directory, &name_of(stack, devices, self.owners))?;
            if is_whole_directory(&path) {
                tree = None;
            } else {
                let below = layers.get(..layer_idx).unwrap_or_default();
                let lower = tree.take().map_or_else(|| self.tree(below), Ok)?;
                let upper = self.unpack(&path, &lower, layers, layer_idx, devices);
                tree = Some(upper.map_err(|source| of_image(layers, layer_idx, source))?);
            }
            paths.push(path.join(FILES));
            debug_assert_eq!(
                layer.diff_id, diff_ids[layer_idx],
                "layers and DiffIDs go together"
            );
        }
        paths.reverse();
        Ok(paths)
    }

    /// Returns what [`directories`](Self::directories) does for the layers of these DiffIDs if all of it
    /// is there.
    pub fn standing_directories(
        &self,
        diff_ids: &[DiffId],
        devices: Devices,
    ) -> Result<Option<Vec<PathBuf>>> {
        let mut paths = Vec::with_capacity(diff_ids.len());
        for layer_idx in 0..diff_ids.len() {
            let stack = diff_ids.get(..=layer_idx).unwrap_or_default();
            let path = self.place(Shelf::Directory, &name_of(stack, devices, self.owners))?;
            if !is_whole_directory(&path) {
                return Ok(None);
            }
            paths.push(path.join(FILES));
        }
        paths.reverse();
        Ok(Some(paths))
    }

    fn unpack(
        &self,
        path: &Path,
        lower: &Tree,
        layers: &[LayerRef],
        layer_idx: usize,
        devices: Devices,
    ) -> Result<Tree> {
        let Some((layer, below)) = layers.get(..=layer_idx).and_then(<[_]>::split_last) else {
            return Ok(lower.clone());
        };
        // The tar first: its headers come with it, and nearly every byte of it is needed.
        self.tar(layer)?;
        let upper = self.extend(lower.clone(), std::slice::from_ref(layer))?;
        let same_place = |old: &File, new: &File| Ok(old.data == new.data);
        let changes = diff(lower, &upper, &same_place)?;
        let bytes = Bytes::new(self.clone(), layers.get(..=layer_idx).unwrap_or(below));
        let temporary = self.unfinished()?;
        let files = temporary.join(FILES);
        fs::create_dir_all(&files).map_err(Error::system("create", &files))?;
        let options = DirectoryOptions {
            owners: self.owners,
            devices,
            threads: 2,
        };
        let contents = TreeContents {
            tree: &upper,
            bytes: &bytes,
        };
        let root = Root::open(&files)?;
        write_overlay(lower, &changes, &contents, &root, &options)?;
        finish(&temporary, path)?;
        Ok(upper)
    }

    /// Makes `upper`, the upper directory of an overlay over `below`, the directory of `layer` on top
    /// of them, without copying anything: it holds what the layer's tar says. `devices` says what became
    /// of device nodes in those.
    pub fn adopt(
        &self,
        upper: &Path,
        below: &[DiffId],
        layer: &DiffId,
        devices: Devices,
    ) -> Result<()> {
        let stack: Vec<DiffId> = below.iter().chain([layer]).cloned().collect();
        let path = self.place(Shelf::Directory, &name_of(&stack, devices, self.owners))?;
        let temporary = self.unfinished()?;
        fs::create_dir_all(&*temporary).map_err(Error::system("create", &*temporary))?;
        fs::rename(upper, temporary.join(FILES)).map_err(Error::system("move", upper))?;
        finish(&temporary, &path)
    }
}

/// Returns what the directory of the last layer of a stack is called: the ChainID counts, by which rules
/// layers are applied, and what becomes of device nodes and owners, since one store may be used with and
/// without the right to make and give them.
pub(crate) fn name_of(stack: &[DiffId], devices: Devices, owners: Owners) -> Digest {
    let chain = ChainId::of(stack).map_or_else(String::new, |chain| chain.to_string());
    let devices = match devices {
        Devices::Make => "made",
        Devices::Skip => "skipped",
        Devices::Record => "recorded",
    };
    let owners = match owners {
        Owners::Set => "",
        Owners::Leave => " left",
        Owners::Record => " recorded",
        Owners::Mark => " marked with all modes",
    };
    Digest::sha256(format!("dir {RULES} {VERSION} {devices}{owners}\n{chain}\n").as_bytes())
}

/// A directory of an earlier boot may have lost files in a power failure.
pub(crate) fn is_whole_directory(path: &Path) -> bool {
    fs::read(path.join(BOOT)).is_ok_and(|made| made == boot())
}

/// Makes a directory one that is not whole: who removes it may be stopped halfway.
pub(crate) fn forget(path: &Path) -> Result<()> {
    remove(&path.join(BOOT))
}

fn finish(temporary: &Path, path: &Path) -> Result<()> {
    let marker = temporary.join(BOOT);
    #[expect(
        clippy::disallowed_methods,
        reason = "it gets its name with the directory it is in"
    )]
    fs::write(&marker, boot()).map_err(Error::system("write", &marker))?;
    let private = fs::Permissions::from_mode(0o700);
    fs::set_permissions(temporary, private).map_err(Error::system("set the mode of", temporary))?;
    match fs::rename(temporary, path) {
        Err(error) if is_taken(&error) && is_whole_directory(path) => remove(temporary),
        Err(error) if is_taken(&error) => {
            forget(path)?;
            remove(path)?;
            fs::rename(temporary, path).map_err(Error::system("write", path))
        }
        result => result.map_err(Error::system("write", path)),
    }
}

fn is_taken(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists
    )
}
