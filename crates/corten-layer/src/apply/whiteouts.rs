//! What whiteouts delete: only what lies below their layer.

use corten_tar::Entry;

use super::{Missing, Resolver};
use crate::report::Notice;
use crate::tree::{Kind, Meta, Name, NodeId};
use crate::{Result, Tree};

impl Resolver {
    /// Deletes `name` from what lies below this layer; what this layer put there stays (rule 16).
    pub(super) fn apply_whiteout(
        &mut self,
        entry: &Entry,
        parents: &[&[u8]],
        name: &[u8],
    ) -> Result<()> {
        let stack = self.descend(entry, parents, Missing::Stop)?;
        let parent = stack.map(|stack| stack.last().copied().unwrap_or(Tree::ROOT));
        match parent.and_then(|parent| Some((parent, self.tree.name(parent, name)?))) {
            Some((parent, existing)) => self.delete_lower(parent, name, existing),
            None => self.report.add(&entry.path, Notice::WhiteoutOfNothing),
        }
        Ok(())
    }

    pub(super) fn apply_opaque(&mut self, entry: &Entry, parents: &[&[u8]]) -> Result<()> {
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
}
