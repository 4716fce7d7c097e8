//! The tree of an image: what its layers amount to, without unpacking any of them.

use std::collections::BTreeMap;

use corten_spec::DiffId;
use corten_tar::{Segment, Timestamp};

use crate::path;
use crate::{Error, Result};

/// Every path of an image, what it is, and where its bytes lie.
///
/// Nodes are inodes: names that are hard links of one another share one. The tree of the layers
/// below is not changed by applying another: clone it first where both are needed.
///
/// ```
/// use corten_layer::{Kind, Tree};
/// use corten_spec::{DiffId, Digest};
/// use corten_tar::{Entry, EntryKind, Located};
///
/// let mut link = Entry::new(EntryKind::Symlink, "bin");
/// link.link = b"usr/bin".to_vec();
/// let entries = [link, Entry::new(EntryKind::File, "usr/bin/sh")]
///     .map(|entry| Located { entry, offset: 512, stored_size: 0 });
/// let (tree, _) = Tree::new().apply(&DiffId(Digest::sha256(b"layer")), &entries)?;
///
/// let shell = tree.follow(b"/bin/sh")?.expect("it is in /usr/bin");
/// assert!(matches!(tree.node(shell).kind, Kind::File(_)));
/// assert_eq!(tree.real_path(b"bin/../lib")?.as_deref(), Some(&b"usr/lib"[..]));
/// let paths: Vec<_> = tree.walk().map(|(path, _)| path).collect();
/// assert_eq!(paths, [&b"bin"[..], b"usr", b"usr/bin", b"usr/bin/sh"]);
/// # Ok::<(), corten_layer::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Tree {
    pub(crate) nodes: Vec<Node>,
    pub(crate) layers: Vec<DiffId>,
}

/// Names a node of one tree; clones of the tree and trees made by applying layers keep it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub(crate) u32);

/// An inode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// Its attributes.
    pub meta: Meta,
    /// How many names it has; directories have one.
    pub n_links: u32,
    /// The layer that wrote it, counted from 1; 0 is the root that no layer mentions.
    pub layer: u32,
}

/// The type of an inode, with what only that type has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File(File),
    /// A directory.
    Directory(Directory),
    /// A symbolic link and its target, verbatim.
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

/// A regular file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its length in bytes, holes counted.
    pub size: u64,
    /// Where its bytes are.
    pub data: Data,
    /// Where its data is if it has holes; the stored bytes are these runs one after the other.
    pub sparse: Option<Box<[Segment]>>,
}

/// Where the bytes of a file are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Data {
    /// In the tar of a layer of the tree.
    Layer {
        /// The layer, counted from 1.
        layer: u32,
        /// The offset in its uncompressed tar.
        offset: u64,
    },
    /// Somewhere that whoever made the tree knows by this number.
    External(u64),
}

/// The names in a directory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Directory {
    pub(crate) entries: BTreeMap<Box<[u8]>, Name>,
}

/// What a name in a directory stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) node: NodeId,
    /// The layer that made or replaced the name.
    pub(crate) layer: u32,
    /// Whether that layer has an entry for it; directories also come to be as parents.
    pub(crate) explicit: bool,
}

/// The attributes of an inode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// Permissions, set-id and sticky bits.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// When the content last changed.
    pub mtime: Timestamp,
    extended: Option<Box<Extended>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Extended {
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    records: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Meta {
    /// Returns attributes without extended ones.
    pub fn new(mode: u32, uid: u32, gid: u32, mtime: Timestamp) -> Self {
        Self {
            mode: mode & 0o7777,
            uid,
            gid,
            mtime,
            extended: None,
        }
    }

    /// Returns the same with `xattrs` and other PAX `records`.
    #[must_use]
    pub fn with_extended(
        mut self,
        xattrs: Vec<(Vec<u8>, Vec<u8>)>,
        records: Vec<(Vec<u8>, Vec<u8>)>,
    ) -> Self {
        let is_needed = !xattrs.is_empty() || !records.is_empty();
        self.extended = is_needed.then(|| Box::new(Extended { xattrs, records }));
        self
    }

    /// Returns the extended attributes, sorted by name.
    pub fn xattrs(&self) -> &[(Vec<u8>, Vec<u8>)] {
        self.extended
            .as_ref()
            .map_or(&[], |extended| &extended.xattrs)
    }

    /// Returns PAX records that stand for nothing else here, sorted by key.
    pub fn records(&self) -> &[(Vec<u8>, Vec<u8>)] {
        self.extended
            .as_ref()
            .map_or(&[], |extended| &extended.records)
    }

    /// Returns the attributes of a directory that no entry describes (rule 59).
    pub fn implied_directory(mtime: Timestamp) -> Self {
        Self::new(0o755, 0, 0, mtime)
    }
}

impl Default for Tree {
    fn default() -> Self {
        Self::new()
    }
}

impl Tree {
    /// The root of every tree.
    pub const ROOT: NodeId = NodeId(0);

    /// Returns the tree of no layers: an empty root, 0755, owned by root, of 1970.
    pub fn new() -> Self {
        let root = Node {
            kind: Kind::Directory(Directory::default()),
            meta: Meta::implied_directory(Timestamp::default()),
            n_links: 1,
            layer: 0,
        };
        Self {
            nodes: vec![root],
            layers: Vec::new(),
        }
    }

    /// Returns the layers that were applied, base first.
    pub fn layers(&self) -> &[DiffId] {
        &self.layers
    }

    /// Returns the DiffID of the layer that [`Data::Layer`] calls `layer`.
    pub fn layer(&self, layer: u32) -> Option<&DiffId> {
        self.layers
            .get(usize::try_from(layer).ok()?.checked_sub(1)?)
    }

    /// Returns a node.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    /// Returns what is in the directory `id`, sorted by name; nothing if it is no directory.
    pub fn children(&self, id: NodeId) -> impl Iterator<Item = (&[u8], NodeId)> {
        let directory = match &self.node(id).kind {
            Kind::Directory(directory) => Some(directory),
            Kind::File(_) | Kind::Symlink(_) | Kind::Device { .. } | Kind::Fifo => None,
        };
        directory
            .into_iter()
            .flat_map(|directory| &directory.entries)
            .map(|(name, entry)| (&**name, entry.node))
    }

    /// Returns the node called `name` in the directory `id`.
    pub fn child(&self, id: NodeId, name: &[u8]) -> Option<NodeId> {
        self.name(id, name).map(|entry| entry.node)
    }

    /// Returns the node at the canonical `path`, no symbolic link followed: a path through one is
    /// not there.
    pub fn exact(&self, path: &[u8]) -> Option<NodeId> {
        path.split(|&byte| byte == b'/')
            .filter(|name| !name.is_empty())
            .try_fold(Self::ROOT, |here, name| self.child(here, name))
    }

    /// Returns the node at `path`, where symbolic links in the middle are followed inside the root
    /// and one at the end is not.
    pub fn lookup(&self, path: &[u8]) -> Result<Option<NodeId>> {
        Ok(self
            .locate(path, LastLink::Keep)?
            .and_then(|place| place.node))
    }

    /// Returns the node at `path`, every symbolic link followed inside the root.
    pub fn follow(&self, path: &[u8]) -> Result<Option<NodeId>> {
        Ok(self
            .locate(path, LastLink::Follow)?
            .and_then(|place| place.node))
    }

    /// Returns the canonical path that `path` leads to when every symbolic link is followed inside
    /// the root; the last components need not exist.
    ///
    /// `None` if something on the way is neither a directory nor a link to one.
    pub fn real_path(&self, path: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.locate(path, LastLink::Follow)?.map(|place| place.path))
    }

    /// Returns every path below the root, parents first, sorted by component.
    pub fn walk(&self) -> Walk<'_> {
        Walk {
            tree: self,
            stack: vec![(Vec::new(), Self::ROOT)],
        }
    }

    /// Returns how many paths there are, the root not counted.
    pub fn n_paths(&self) -> usize {
        self.nodes_in_use()
            .map(|node| self.children(node).count())
            .sum()
    }

    fn nodes_in_use(&self) -> impl Iterator<Item = NodeId> {
        let mut stack = vec![Self::ROOT];
        std::iter::from_fn(move || {
            let id = stack.pop()?;
            stack.extend(self.children(id).map(|(_, child)| child));
            Some(id)
        })
    }

    pub(crate) fn name(&self, id: NodeId, name: &[u8]) -> Option<Name> {
        match &self.node(id).kind {
            Kind::Directory(directory) => directory.entries.get(name).copied(),
            Kind::File(_) | Kind::Symlink(_) | Kind::Device { .. } | Kind::Fifo => None,
        }
    }

    pub(crate) fn is_directory(&self, id: NodeId) -> bool {
        matches!(self.node(id).kind, Kind::Directory(_))
    }

    /// Walks `path` as the kernel would in a chroot.
    ///
    /// `None` when a component in the middle is no directory. Missing components end in a place
    /// without a node.
    fn locate(&self, path: &[u8], last_link: LastLink) -> Result<Option<Place>> {
        let mut todo: Vec<&[u8]> = names_of(path);
        let mut stack: Vec<(&[u8], NodeId)> = Vec::new();
        let mut missing: Vec<&[u8]> = Vec::new();
        let mut n_links = 0;
        while let Some(name) = todo.pop() {
            if name == b".." {
                if missing.pop().is_none() {
                    stack.pop();
                }
                continue;
            }
            let here = stack.last().map_or(Self::ROOT, |&(_, id)| id);
            if !missing.is_empty() {
                missing.push(name);
                continue;
            }
            if !self.is_directory(here) {
                return Ok(None);
            }
            let Some(id) = self.child(here, name) else {
                missing.push(name);
                continue;
            };
            match &self.node(id).kind {
                Kind::Symlink(target) if !todo.is_empty() || last_link == LastLink::Follow => {
                    n_links += 1;
                    if n_links > MAX_LINKS {
                        return Err(Error::Loop { path: path.into() });
                    }
                    if target.starts_with(b"/") {
                        stack.clear();
                    }
                    todo.extend(names_of(target));
                }
                _ => stack.push((name, id)),
            }
        }
        let node = missing
            .is_empty()
            .then(|| stack.last().map_or(Self::ROOT, |&(_, id)| id));
        if !missing.is_empty() && !stack.last().is_none_or(|&(_, id)| self.is_directory(id)) {
            return Ok(None);
        }
        let names: Vec<&[u8]> = stack.iter().map(|&(name, _)| name).chain(missing).collect();
        Ok(Some(Place {
            path: names.join(&b'/'),
            node,
        }))
    }
}

/// How many symbolic links one path may lead through, as in the kernel (rule 42).
pub(crate) const MAX_LINKS: u32 = 40;

#[derive(Clone, Copy, PartialEq, Eq)]
enum LastLink {
    Keep,
    Follow,
}

struct Place {
    path: Vec<u8>,
    node: Option<NodeId>,
}

/// Returns the names of `path`, `..` included, last first: a stack of what is left to walk.
pub(crate) fn names_of(path: &[u8]) -> Vec<&[u8]> {
    path.rsplit(|&byte| byte == b'/')
        .filter(|name| !matches!(*name, b"" | b"."))
        .collect()
}

/// The paths of a tree, see [`Tree::walk`].
#[derive(Debug)]
pub struct Walk<'a> {
    tree: &'a Tree,
    stack: Vec<(Vec<u8>, NodeId)>,
}

impl Iterator for Walk<'_> {
    type Item = (Vec<u8>, NodeId);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (path, id) = self.stack.pop()?;
            let first = self.stack.len();
            let children = self.tree.children(id);
            self.stack
                .extend(children.map(|(name, child)| (path::join(&path, name), child)));
            if let Some(added) = self.stack.get_mut(first..) {
                added.reverse();
            }
            if id != Tree::ROOT {
                return Some((path, id));
            }
        }
    }
}
