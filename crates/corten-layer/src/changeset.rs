//! What one layer changes, before it is written as a tar or a directory.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use corten_tar::Timestamp;

use crate::path;
use crate::tree::{File, Kind, Meta, Node};
use crate::{Error, Result};

/// The changes that a layer makes: canonical paths, sorted by component.
///
/// ```
/// use corten_layer::{Changeset, Meta, Put, Tree, bytes, emit};
/// use corten_tar::Timestamp;
///
/// let mut changes = Changeset::default();
/// let owned = |uid| Put::directory(Meta::new(0o700, uid, uid, Timestamp::default()));
/// changes.put(b"srv", owned(0))?;
/// changes.put(b"srv/data", owned(1000))?;
/// assert!(changes.put(b"srv/.wh.data", owned(0)).is_err(), "that would be a deletion");
///
/// let lower = Tree::new();
/// let layers = bytes::MemoryLayers::default();
/// let contents = bytes::TreeContents { tree: &lower, bytes: &layers };
/// let mut tar = Vec::new();
/// let entries = emit::write_changeset(&lower, &changes, &contents, &mut tar)?;
/// assert_eq!(entries[1].entry.path, b"srv/data/");
/// # Ok::<(), corten_layer::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changeset {
    changes: BTreeMap<Path, Change>,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The path becomes this. A directory over a directory keeps what is in it.
    Put(Put),
    /// The path, which is in the tree below, is deleted with everything in it.
    Remove,
}

/// What a path becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put {
    /// What it is.
    pub item: Item,
    /// Its attributes.
    pub meta: Meta,
    /// Equal for names that are hard links of one another; `None` for files with one name.
    pub group: Option<u64>,
}

/// The type of what a path becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A regular file.
    File(File),
    /// A directory.
    Directory,
    /// A symbolic link and its target.
    Symlink(Box<[u8]>),
    /// A device node.
    Device {
        /// Whether it is a block device.
        block: bool,
        /// Its major number.
        major: u32,
        /// Its minor number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Path(Vec<u8>);

impl Ord for Path {
    fn cmp(&self, other: &Self) -> Ordering {
        path::compare(&self.0, &other.0)
    }
}

impl PartialOrd for Path {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Put {
    /// Returns a directory with `meta`.
    pub fn directory(meta: Meta) -> Self {
        Self {
            item: Item::Directory,
            meta,
            group: None,
        }
    }

    /// Returns what `node` is; `group` names its inode if it has several names.
    pub fn of_node(node: &Node, group: u64) -> Self {
        let item = match &node.kind {
            Kind::File(file) => Item::File(file.clone()),
            Kind::Directory(_) => Item::Directory,
            Kind::Symlink(target) => Item::Symlink(target.clone()),
            &Kind::Device {
                block,
                major,
                minor,
            } => Item::Device {
                block,
                major,
                minor,
            },
            Kind::Fifo => Item::Fifo,
        };
        Self {
            item,
            meta: node.meta.clone(),
            group: (node.n_links > 1).then_some(group),
        }
    }
}

impl Changeset {
    /// Records that `path` becomes `put`; a change recorded for the path before is replaced.
    ///
    /// # Errors
    /// Fails if no layer can hold the path: a name that begins with `.wh.` would be a whiteout
    /// (rule 90).
    pub fn put(&mut self, path: &[u8], put: Put) -> Result<()> {
        check_names(path)?;
        if path.is_empty() && put.item != Item::Directory {
            return Err(unrepresentable(path, "the root can only be a directory"));
        }
        self.changes.insert(Path(path.to_vec()), Change::Put(put));
        Ok(())
    }

    /// Records that `path` is deleted.
    pub fn remove(&mut self, path: &[u8]) -> Result<()> {
        check_names(path)?;
        if path.is_empty() {
            return Err(unrepresentable(path, "the root cannot be deleted"));
        }
        self.changes.insert(Path(path.to_vec()), Change::Remove);
        Ok(())
    }

    /// Returns the change recorded for `path`.
    pub fn get(&self, path: &[u8]) -> Option<&Change> {
        self.changes.get(&Path(path.to_vec()))
    }

    /// Tells whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Returns how many paths change.
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Returns the changes, sorted by component, a directory before what is in it.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &Change)> {
        self.changes
            .iter()
            .map(|(path, change)| (path.0.as_slice(), change))
    }

    /// Makes no time later than `latest` (rule 93).
    pub fn clamp(&mut self, latest: Timestamp) {
        for change in self.changes.values_mut() {
            if let Change::Put(put) = change {
                put.meta.mtime = put.meta.mtime.min(latest);
            }
        }
    }
}

/// Checks that every component of `path` can be a name in a layer.
pub fn check_names(path: &[u8]) -> Result<()> {
    let refused = |reason| Err(unrepresentable(path, reason));
    if path.is_empty() {
        return Ok(());
    }
    for name in path.split(|&byte| byte == b'/') {
        match name {
            b"" | b"." | b".." => return refused("the path is not canonical"),
            name if name.len() > path::NAME_MAX => {
                return refused("a component is longer than 255 bytes");
            }
            name if name.contains(&0) => return refused("a name holds a NUL byte"),
            name if name.starts_with(path::WHITEOUT_PREFIX) => {
                return refused("a name that begins with `.wh.` means a deletion in every layer");
            }
            _ => {}
        }
    }
    Ok(())
}

fn unrepresentable(path: &[u8], reason: &'static str) -> Error {
    Error::Unrepresentable {
        path: path.into(),
        reason,
    }
}
