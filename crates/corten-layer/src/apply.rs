//! Applying a layer to a tree: the one place where the rules of layers live.
//!
//! Entries are taken in the order of the stream. A whiteout deletes only what lies below this
//! layer, wherever it stands, so every name remembers the layer that made it; a hard link to a
//! file below works until a whiteout deletes that file.

use std::collections::{HashMap, HashSet};

use corten_spec::DiffId;
use corten_tar::{Entry, EntryKind, Located, Timestamp};

use crate::path::{NameKind, classify, components};
use crate::report::Notice;
use crate::tree::{Data, Directory, File, Kind, MAX_LINKS, Meta, Name, Node, NodeId, names_of};
use crate::{Error, Report, Result, Tree};

/// The version of the rules of layers: it grows when layers are to give another tree than before, so
/// that what was derived from the old one is made again.
pub const RULES: u32 = 1;

/// A layer being applied to a tree.
///
/// A refused entry refuses the layer: the tree below is lost with the resolver, so clone it first
/// where it is needed.
#[derive(Debug)]
pub struct Resolver {
    tree: Tree,
    layer: u32,
    report: Report,
    /// The directories that something was put below, with the time of the first such entry: what a
    /// directory that no entry describes gets (rule 59).
    touched: HashMap<NodeId, Timestamp>,
    /// Bodies that AUFS keeps apart for hard links to them (rule 28).
    aufs: HashMap<Vec<u8>, NodeId>,
    /// Directories that hold nothing of the layers below any more: a layer of many opaque whiteouts
    /// must not cost their number times the size of the directory.
    pruned: HashSet<NodeId>,
    /// Bytes of the paths of what the layer put, directories that it only implies included.
    path_bytes: usize,
}

/// What the paths of one layer may come to: a few deep entries imply directories without number, each
/// of which has a path as long as theirs.
const MAX_PATH_BYTES: usize = 512 << 20;

/// The directory of AUFS in which files with several names lie.
const AUFS_LINKS: &[u8] = b".wh..wh.plnk";

impl Resolver {
    /// Starts to apply a layer to `tree`.
    pub fn new(mut tree: Tree, diff_id: DiffId) -> Self {
        tree.layers.push(diff_id);
        let layer = u32::try_from(tree.layers.len()).unwrap_or(u32::MAX);
        Self {
            tree,
            layer,
            report: Report::default(),
            touched: HashMap::new(),
            aufs: HashMap::new(),
            pruned: HashSet::new(),
            path_bytes: 0,
        }
    }

    /// Applies the next entry of the layer.
    ///
    /// # Errors
    /// Fails if the entry breaks a rule; the layer is then refused as a whole.
    pub fn apply(&mut self, located: &Located) -> Result<()> {
        let entry = &located.entry;
        let canonical = components(&entry.path);
        if canonical.has_parents {
            self.report.add(&entry.path, Notice::ParentInPath);
        }
        let Some((&last, parents)) = canonical.names.split_last() else {
            return if canonical.has_parents {
                Ok(())
            } else {
                self.apply_root(entry)
            };
        };
        if let NameKind::Invalid = classify(last) {
            return Err(Error::refused(
                &entry.path,
                "it is a whiteout of nothing, of `.` or of `..`",
            ));
        }
        for name in &canonical.names {
            if name.len() > crate::path::NAME_MAX {
                return Err(Error::refused(
                    &entry.path,
                    "a component is longer than 255 bytes",
                ));
            }
        }
        if canonical.names.first() == Some(&AUFS_LINKS) && canonical.names.len() > 1 {
            return self.keep_aufs_body(&canonical.names, located);
        }
        for name in parents {
            match classify(name) {
                NameKind::Content(_) => {}
                NameKind::Aufs => return Ok(()),
                NameKind::Whiteout(_) | NameKind::Opaque | NameKind::Invalid => {
                    self.report.add(&entry.path, Notice::BelowWhiteout);
                    return Ok(());
                }
            }
        }
        match classify(last) {
            NameKind::Content(name) => self.apply_content(parents, name, located),
            NameKind::Whiteout(name) => self.apply_whiteout(entry, parents, name),
            NameKind::Opaque => self.apply_opaque(entry, parents),
            NameKind::Aufs | NameKind::Invalid => Ok(()),
        }
    }

    /// Returns the tree with the layer as far as it has been applied.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Takes what was noticed since this was called last, so that a caller can tell at which entry.
    pub fn take_report(&mut self) -> Report {
        std::mem::take(&mut self.report)
    }

    /// Returns the tree with the layer applied, and what was noticed.
    pub fn finish(self) -> (Tree, Report) {
        (self.tree, self.report)
    }

    fn apply_root(&mut self, entry: &Entry) -> Result<()> {
        if entry.kind != EntryKind::Directory {
            return Err(Error::refused(
                &entry.path,
                "the root can only be a directory",
            ));
        }
        let meta = self.meta_of(entry);
        let layer = self.layer;
        let root = self.tree.node_mut(Tree::ROOT);
        root.meta = meta;
        root.layer = layer;
        Ok(())
    }

    fn apply_content(&mut self, parents: &[&[u8]], name: &[u8], located: &Located) -> Result<()> {
        let entry = &located.entry;
        self.count_path(&entry.path)?;
        let target = match entry.kind {
            EntryKind::HardLink => Some(self.link_target(entry)?),
            _ => None,
        };
        let Some(stack) = self.descend(entry, parents, Missing::Create)? else {
            return Err(Error::refused(&entry.path, "its directory cannot be made"));
        };
        let parent = stack.last().copied().unwrap_or(Tree::ROOT);
        let existing = self.tree.name(parent, name);
        if existing.is_some_and(|existing| existing.layer == self.layer && existing.explicit) {
            self.report.add(&entry.path, Notice::Duplicate);
        }
        if let (Some(target), Some(existing)) = (&target, existing)
            && target.parent == parent
            && target.name == name
            && target.node == existing.node
        {
            return Err(Error::refused(&entry.path, "it is a hard link to itself"));
        }
        for &directory in stack.iter().chain([&Tree::ROOT]) {
            self.touched.entry(directory).or_insert(entry.mtime);
        }
        if let Some(target) = target {
            self.tree.node_mut(target.node).n_links += 1;
            self.put_name(parent, name, target.node);
            return Ok(());
        }
        if entry.kind == EntryKind::Directory
            && let Some(existing) = existing
            && self.tree.is_directory(existing.node)
        {
            let meta = self.meta_of(entry);
            let node = self.tree.node_mut(existing.node);
            node.meta = meta;
            node.layer = self.layer;
            self.tree
                .claim_name(parent, name, self.name_of(existing.node, true));
            return Ok(());
        }
        let node = self.node_of(located)?;
        let id = self.tree.add_node(node)?;
        self.put_name(parent, name, id);
        Ok(())
    }

    /// Deletes `name` from what lies below this layer; what this layer put there stays (rule 16).
    fn apply_whiteout(&mut self, entry: &Entry, parents: &[&[u8]], name: &[u8]) -> Result<()> {
        let stack = self.descend(entry, parents, Missing::Stop)?;
        let parent = stack.map(|stack| stack.last().copied().unwrap_or(Tree::ROOT));
        match parent.and_then(|parent| Some((parent, self.tree.name(parent, name)?))) {
            Some((parent, existing)) => self.delete_lower(parent, name, existing),
            None => self.report.add(&entry.path, Notice::WhiteoutOfNothing),
        }
        Ok(())
    }

    fn apply_opaque(&mut self, entry: &Entry, parents: &[&[u8]]) -> Result<()> {
        let Some(stack) = self.descend(entry, parents, Missing::Stop)? else {
            return self.replace_by_directory(entry, parents);
        };
        self.prune_lower(stack.last().copied().unwrap_or(Tree::ROOT));
        Ok(())
    }

    /// An opaque whiteout in what is no directory below makes it an empty one (rule 26); in what
    /// does not exist it means nothing.
    fn replace_by_directory(&mut self, entry: &Entry, directory: &[&[u8]]) -> Result<()> {
        let Some((&name, parents)) = directory.split_last() else {
            return Ok(());
        };
        let Some(stack) = self.descend(entry, parents, Missing::Stop)? else {
            return Ok(());
        };
        let parent = stack.last().copied().unwrap_or(Tree::ROOT);
        let is_link = |id| matches!(self.tree.node(id).kind, Kind::Symlink(_));
        match self.tree.name(parent, name) {
            Some(existing) if existing.layer != self.layer && !is_link(existing.node) => {
                for &ancestor in stack.iter().chain([&Tree::ROOT]) {
                    self.touched.entry(ancestor).or_insert(entry.mtime);
                }
                let node = self.implied_directory(entry.mtime);
                let id = self.tree.add_node(node)?;
                self.put_name(parent, name, id);
            }
            _ => {}
        }
        Ok(())
    }

    fn delete_lower(&mut self, parent: NodeId, name: &[u8], existing: Name) {
        let is_directory = self.tree.is_directory(existing.node);
        let is_touched = is_directory && self.touched.contains_key(&existing.node);
        if existing.layer == self.layer || is_touched {
            if is_directory {
                self.renew_unless_own(parent, name, existing);
                self.prune_lower(existing.node);
            }
            return;
        }
        self.tree.remove_name(parent, name);
    }

    /// Removes what lower layers put below `directory`, at any depth (rules 17 and 24).
    fn prune_lower(&mut self, directory: NodeId) {
        let mut todo = vec![directory];
        while let Some(id) = todo.pop() {
            if !self.pruned.insert(id) {
                continue;
            }
            let children: Vec<(Box<[u8]>, Name)> = match &self.tree.node(id).kind {
                Kind::Directory(directory) => directory
                    .entries
                    .iter()
                    .map(|(name, entry)| (name.clone(), *entry))
                    .collect(),
                Kind::File(_) | Kind::Symlink(_) | Kind::Device { .. } | Kind::Fifo => continue,
            };
            for (name, entry) in children {
                let is_directory = self.tree.is_directory(entry.node);
                let is_own = entry.layer == self.layer;
                if is_directory && (is_own || self.touched.contains_key(&entry.node)) {
                    self.renew_unless_own(id, &name, entry);
                    todo.push(entry.node);
                } else if !is_own {
                    self.tree.remove_name(id, &name);
                }
            }
        }
    }

    /// A directory whose lower self was deleted but which this layer put something into is a new
    /// one: its old attributes died (rule 18).
    fn renew_unless_own(&mut self, parent: NodeId, name: &[u8], existing: Name) {
        if existing.layer == self.layer {
            return;
        }
        let mtime = self
            .touched
            .get(&existing.node)
            .copied()
            .unwrap_or_default();
        let node = self.tree.node_mut(existing.node);
        node.meta = Meta::implied_directory(mtime);
        node.layer = self.layer;
        let renewed = self.name_of(existing.node, false);
        self.tree.claim_name(parent, name, renewed);
    }

    /// Walks to the directory that `names` lead to, links followed inside the root, and returns the
    /// directories on the way, the last one last; an empty list is the root.
    fn descend(
        &mut self,
        entry: &Entry,
        names: &[&[u8]],
        missing: Missing,
    ) -> Result<Option<Vec<NodeId>>> {
        let mut todo: Vec<Box<[u8]>> = names.iter().rev().map(|&name| name.into()).collect();
        let mut stack: Vec<NodeId> = Vec::with_capacity(names.len());
        let mut n_links = 0;
        while let Some(name) = todo.pop() {
            if *name == *b".." {
                stack.pop();
                continue;
            }
            let here = stack.last().copied().unwrap_or(Tree::ROOT);
            match self.tree.child(here, &name) {
                Some(id) if self.tree.is_directory(id) => stack.push(id),
                Some(id) if let Kind::Symlink(target) = &self.tree.node(id).kind => {
                    n_links += 1;
                    if n_links > MAX_LINKS {
                        return Err(Error::Loop {
                            path: entry.path.as_slice().into(),
                        });
                    }
                    if target.starts_with(b"/") {
                        stack.clear();
                    }
                    todo.extend(names_of(target).into_iter().map(Box::from));
                }
                _ if missing == Missing::Stop => return Ok(None),
                _ => {
                    if name.len() > crate::path::NAME_MAX {
                        let reason = "a link on the way has a component longer than 255 bytes";
                        return Err(Error::refused(&entry.path, reason));
                    }
                    // No entry can have such a name, so no layer could be written with it again.
                    if !matches!(classify(&name), NameKind::Content(_)) {
                        let reason = "a link on the way leads to a name that begins with `.wh.`";
                        return Err(Error::refused(&entry.path, reason));
                    }
                    self.count_path(&entry.path)?;
                    let node = self.implied_directory(entry.mtime);
                    let id = self.tree.add_node(node)?;
                    self.tree.put_name(here, &name, self.name_of(id, false));
                    stack.push(id);
                }
            }
        }
        Ok(Some(stack))
    }

    fn count_path(&mut self, path: &[u8]) -> Result<()> {
        self.path_bytes = self.path_bytes.saturating_add(path.len());
        if self.path_bytes > MAX_PATH_BYTES {
            let reason = "the paths of the layer come to more than 512 MiB (limit: path bytes)";
            return Err(Error::refused(path.get(..256).unwrap_or(path), reason));
        }
        Ok(())
    }

    fn link_target(&mut self, entry: &Entry) -> Result<Target> {
        let missing = || Error::refused(&entry.path, "the target of the hard link is not there");
        let canonical = components(&entry.link);
        if canonical.names.first() == Some(&AUFS_LINKS) {
            let node = *self
                .aufs
                .get(&canonical.names.join(&b'/'))
                .ok_or_else(missing)?;
            return Ok(Target {
                parent: Tree::ROOT,
                name: Vec::new(),
                node,
            });
        }
        let Some((&name, parents)) = canonical.names.split_last() else {
            return Err(Error::refused(
                &entry.path,
                "it is a hard link to a directory",
            ));
        };
        let stack = self
            .descend(entry, parents, Missing::Stop)?
            .ok_or_else(missing)?;
        let parent = stack.last().copied().unwrap_or(Tree::ROOT);
        let node = self.tree.child(parent, name).ok_or_else(missing)?;
        if self.tree.is_directory(node) {
            return Err(Error::refused(
                &entry.path,
                "it is a hard link to a directory",
            ));
        }
        Ok(Target {
            parent,
            name: name.to_vec(),
            node,
        })
    }

    fn keep_aufs_body(&mut self, names: &[&[u8]], located: &Located) -> Result<()> {
        if located.entry.kind == EntryKind::File {
            let mut node = self.node_of(located)?;
            node.n_links = 0;
            let id = self.tree.add_node(node)?;
            self.aufs.insert(names.join(&b'/'), id);
        }
        Ok(())
    }

    fn node_of(&mut self, located: &Located) -> Result<Node> {
        let entry = &located.entry;
        let (major, minor) = entry.device;
        let kind = match entry.kind {
            EntryKind::File | EntryKind::HardLink => Kind::File(File {
                size: entry.size,
                data: Data::Layer {
                    layer: self.layer,
                    offset: located.offset,
                },
                sparse: entry.sparse.as_deref().map(Box::from),
            }),
            EntryKind::Directory => Kind::Directory(Directory::default()),
            EntryKind::Symlink if entry.link.is_empty() => {
                return Err(Error::refused(
                    &entry.path,
                    "it is a symbolic link to nothing",
                ));
            }
            EntryKind::Symlink => Kind::Symlink(entry.link.as_slice().into()),
            EntryKind::CharDevice => Kind::Device {
                block: false,
                major,
                minor,
            },
            EntryKind::BlockDevice => Kind::Device {
                block: true,
                major,
                minor,
            },
            EntryKind::Fifo => Kind::Fifo,
        };
        Ok(Node {
            kind,
            meta: self.meta_of(entry),
            n_links: 1,
            layer: self.layer,
        })
    }

    fn meta_of(&mut self, entry: &Entry) -> Meta {
        let meta = Meta::new(entry.mode, entry.uid, entry.gid, entry.mtime);
        let (dropped, kept): (Vec<_>, Vec<_>) = entry
            .xattrs
            .iter()
            .cloned()
            .partition(|(name, _)| is_never_applied(name));
        if !dropped.is_empty() {
            self.report.add(&entry.path, Notice::XattrDropped);
        }
        meta.with_extended(kept, entry.records.clone())
    }

    fn implied_directory(&self, mtime: Timestamp) -> Node {
        Node {
            kind: Kind::Directory(Directory::default()),
            meta: Meta::implied_directory(mtime),
            n_links: 1,
            layer: self.layer,
        }
    }

    fn put_name(&mut self, parent: NodeId, name: &[u8], node: NodeId) {
        self.tree.put_name(parent, name, self.name_of(node, true));
    }

    fn name_of(&self, node: NodeId, explicit: bool) -> Name {
        Name {
            node,
            layer: self.layer,
            explicit,
        }
    }
}

/// Whether a parent that is not there is made.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    Create,
    Stop,
}

struct Target {
    parent: NodeId,
    name: Vec<u8>,
    node: NodeId,
}

/// Overlayfs's own attributes would hide or graft directories of the store, and those of `SELinux`
/// belong to the machine (rule 61).
pub fn is_never_applied(name: &[u8]) -> bool {
    name.starts_with(b"trusted.overlay.")
        || name.starts_with(b"user.overlay.")
        || name == b"security.selinux"
}

impl Tree {
    /// Returns this tree with one more layer, whose entries are `entries`.
    pub fn apply<'a>(
        self,
        diff_id: &DiffId,
        entries: impl IntoIterator<Item = &'a Located>,
    ) -> Result<(Self, Report)> {
        let mut resolver = Resolver::new(self, diff_id.clone());
        entries
            .into_iter()
            .try_for_each(|entry| resolver.apply(entry))?;
        Ok(resolver.finish())
    }
}
