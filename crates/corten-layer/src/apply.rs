//! Applying a layer to a tree: the one place where the rules of layers live.
//!
//! Entries are taken in the order of the stream. A whiteout deletes only what lies below this
//! layer, wherever it stands, so every name remembers the layer that made it; a hard link to a
//! file below works until a whiteout deletes that file.

mod descend;
mod nodes;
mod whiteouts;

use std::collections::{HashMap, HashSet};

use corten_spec::DiffId;
use corten_tar::{Entry, EntryKind, Located, Timestamp};

use self::descend::Missing;
use crate::path::{NAME_MAX, NameKind, classify, components};
use crate::report::Notice;
use crate::tree::{Name, NodeId};
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
            if name.len() > NAME_MAX {
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

    fn keep_aufs_body(&mut self, names: &[&[u8]], located: &Located) -> Result<()> {
        if located.entry.kind == EntryKind::File {
            let mut node = self.node_of(located)?;
            node.n_links = 0;
            let id = self.tree.add_node(node)?;
            self.aufs.insert(names.join(&b'/'), id);
        }
        Ok(())
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
