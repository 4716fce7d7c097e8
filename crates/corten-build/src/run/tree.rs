//! Directories that hold all of a stage's files, for commands that run where nothing can be mounted. One is
//! used from step to step, and brought up to date by what the steps between made.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use corten_layer::beneath::Root;
use corten_layer::bytes::TreeContents;
use corten_layer::diff::diff;
use corten_layer::directory::{
    Devices, DirectoryOptions, Owners, Written, write_overlay, write_tree,
};
use corten_layer::{File, Tree};
use corten_sandbox::{Cancel, Held};
use corten_snapshot::Bytes;
use corten_snapshot::snapshots::remove;
use corten_spec::DiffId;

use crate::build::Builder;
use crate::event::Event;
use crate::packing::packed;
use crate::run::merge::{Attic, merge};
use crate::run::owners;
use crate::stage::Stage;
use crate::{Error, Result};

/// All files of some layers in a directory. Dropping it removes them.
#[derive(Debug)]
pub(crate) struct WorkTree {
    place: PathBuf,
    /// What it holds.
    layers: Vec<DiffId>,
    /// Released after the directory is gone, wherever the tree is when everything is to end.
    _held: Held,
}

/// Trees that no command uses right now.
#[derive(Debug, Default)]
pub(crate) struct Trees(Arc<Mutex<Vec<WorkTree>>>);

/// How many threads write files; the directories of layers are written so, too.
const THREADS: usize = 2;

impl WorkTree {
    /// Returns the directory of the files.
    pub(crate) fn files(&self) -> PathBuf {
        self.place.join("files")
    }

    /// Returns the directory of all that belongs to it, on the file system of its files.
    pub(crate) fn place(&self) -> &Path {
        &self.place
    }

    /// Returns a directory of the same file system for what is in the way.
    pub(crate) fn attic(&self) -> Result<Attic> {
        Attic::new(&self.place.join("attic"))
    }

    /// Says that the files are those of `layers` now.
    pub(crate) fn holds(&mut self, layers: Vec<DiffId>) -> Result<()> {
        self.layers = layers;
        Ok(remove(&self.place.join("attic"))?)
    }
}

impl Drop for WorkTree {
    fn drop(&mut self) {
        // What is left is unfinished, and gc takes it.
        remove(&self.place).ok();
    }
}

impl Trees {
    /// Has the trees removed when everything is to end.
    pub(crate) fn remove_on(&self, cancel: &Cancel) {
        // The build that ends by itself drops them.
        let trees = Arc::downgrade(&self.0);
        cancel.on_cancel(move || {
            if let Some(trees) = trees.upgrade() {
                Self(trees).lock().clear();
            }
        });
    }

    /// Keeps a tree for who may need it.
    pub(crate) fn put(&self, tree: WorkTree) {
        self.lock().push(tree);
    }

    /// Returns the tree that holds most of `layers` and nothing else.
    fn take(&self, layers: &[DiffId]) -> Option<WorkTree> {
        let mut trees = self.lock();
        let usable = trees
            .iter()
            .enumerate()
            .filter(|(_, tree)| layers.starts_with(&tree.layers));
        let (idx, _) = usable.max_by_key(|(_, tree)| tree.layers.len())?;
        Some(trees.swap_remove(idx))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<WorkTree>> {
        // A tree is in it or not.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Builder<'_> {
    /// Returns a directory with all files of `stage`.
    pub(crate) fn work_tree(&self, stage: &mut Stage) -> Result<WorkTree> {
        let layers = stage.diff_ids();
        match self.trees.take(&layers) {
            Some(tree) if tree.layers == layers => Ok(tree),
            Some(tree) => self.brought_up(tree, stage, layers),
            None => self.unpacked(stage, layers),
        }
    }

    fn unpacked(&self, stage: &mut Stage, layers: Vec<DiffId>) -> Result<WorkTree> {
        let place = self.snapshots.temporary()?;
        let work = WorkTree {
            place,
            layers,
            _held: self.hold_end()?,
        };
        make_private(&work.place)?;
        let files = work.files();
        std::fs::create_dir(&files).map_err(Error::system("create", &files))?;
        let tree = stage.tree(&self.snapshots)?;
        let bytes = stage.bytes(&self.snapshots);
        let contents = TreeContents {
            tree: &tree,
            bytes: &bytes,
        };
        let root = Root::open(&files)?;
        let written = write_tree(&tree, &contents, &root, &options())?;
        owners::open_up(&root)?;
        self.warn_of_refused(&written);
        Ok(work)
    }

    fn brought_up(
        &self,
        mut work: WorkTree,
        stage: &mut Stage,
        layers: Vec<DiffId>,
    ) -> Result<WorkTree> {
        let before = stage.layers.get(..work.layers.len()).unwrap_or_default();
        let before = self.snapshots.tree(&packed(before)?)?;
        let tree = stage.tree(&self.snapshots)?;
        let bytes = stage.bytes(&self.snapshots);
        let upper = work.place.join("upper");
        std::fs::create_dir(&upper).map_err(Error::system("create", &upper))?;
        self.warn_of_refused(&write_changes(&before, &tree, &bytes, &upper)?);
        let (from, to) = (Root::open(&upper)?, Root::open(&work.files())?);
        owners::open_up(&from)?;
        merge(&from, &to, &work.attic()?)?;
        remove(&upper)?;
        work.holds(layers)?;
        Ok(work)
    }

    /// Tells what a command misses. The image keeps it.
    fn warn_of_refused(&self, written: &Written) {
        // What is recorded is not missed.
        if owners::of_written() == Owners::Record {
            return;
        }
        if let Some(first) = written.xattrs_refused.first() {
            (self.listener)(Event::Warning(&format!(
                "commands do not see {} extended attributes that cannot be set here, such as `{first}`",
                written.xattrs_refused.len()
            )));
        }
    }
}

fn write_changes(before: &Tree, tree: &Tree, bytes: &Bytes<'_>, upper: &Path) -> Result<Written> {
    let same_place = |old: &File, new: &File| Ok(old.data == new.data);
    let changes = diff(before, tree, &same_place)?;
    let contents = TreeContents { tree, bytes };
    let root = Root::open(upper)?;
    Ok(write_overlay(
        before,
        &changes,
        &contents,
        &root,
        &options(),
    )?)
}

/// Device nodes would be live: there is no mount that says `nodev`. None is missed before a command, so
/// that none is found to be removed after it.
fn options() -> DirectoryOptions {
    DirectoryOptions {
        owners: owners::of_written(),
        devices: Devices::Skip,
        threads: THREADS,
    }
}

/// Files of an image may be set-user-ID, and nobody but root is to reach them.
fn make_private(place: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    let made = std::fs::DirBuilder::new().mode(0o700).create(place);
    made.map_err(Error::system("create", place))
}
