//! Changing the names and nodes of a tree, with the number of links kept true.

use std::collections::BTreeMap;

use crate::tree::{Kind, Name, Node, NodeId};
use crate::{Error, Meta, Result, Tree};

impl Tree {
    /// Calls `change` once with the attributes of every file and one of its paths; the root's is
    /// empty.
    ///
    /// # Errors
    /// Fails with the first error of `change`.
    pub fn change_meta<E>(
        &mut self,
        mut change: impl FnMut(&[u8], &mut Meta) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let paths: Vec<(Vec<u8>, NodeId)> = self.walk().collect();
        let mut is_done = vec![false; self.nodes.len()];
        for (path, id) in std::iter::once((Vec::new(), Self::ROOT)).chain(paths) {
            let was_done = std::mem::replace(&mut is_done[id.0 as usize], true);
            if !was_done {
                change(&path, &mut self.node_mut(id).meta)?;
            }
        }
        Ok(())
    }

    /// Adds a node that has no name yet.
    pub(crate) fn add_node(&mut self, node: Node) -> Result<NodeId> {
        let id = u32::try_from(self.nodes.len())
            .map_err(|_| Error::refused(b"", "the image has more than 2^32 files"))?;
        self.nodes.push(node);
        Ok(NodeId(id))
    }

    /// Returns a node to change its attributes.
    pub(crate) fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id.0 as usize]
    }

    /// Gives `name` in the directory `parent` to another node; the old one loses that name.
    pub(crate) fn put_name(&mut self, parent: NodeId, name: &[u8], new: Name) {
        if let Some(replaced) = self.entries_mut(parent).insert(name.into(), new) {
            self.drop_node(replaced.node);
        }
    }

    /// Says anew who made `name`, which keeps its node.
    pub(crate) fn claim_name(&mut self, parent: NodeId, name: &[u8], claimed: Name) {
        self.entries_mut(parent).insert(name.into(), claimed);
    }

    /// Removes `name` from the directory `parent`.
    pub(crate) fn remove_name(&mut self, parent: NodeId, name: &[u8]) {
        if let Some(removed) = self.entries_mut(parent).remove(name) {
            self.drop_node(removed.node);
        }
    }

    /// Takes one name from `node`, and from everything below it if it is a directory.
    fn drop_node(&mut self, node: NodeId) {
        let mut todo = vec![node];
        while let Some(id) = todo.pop() {
            let node = self.node_mut(id);
            node.n_links = node.n_links.saturating_sub(1);
            if let Kind::Directory(directory) = &mut node.kind {
                let entries = std::mem::take(&mut directory.entries);
                todo.extend(entries.into_values().map(|name| name.node));
            }
        }
    }

    fn entries_mut(&mut self, id: NodeId) -> &mut BTreeMap<Box<[u8]>, Name> {
        match &mut self.node_mut(id).kind {
            Kind::Directory(directory) => &mut directory.entries,
            Kind::File(_) | Kind::Symlink(_) | Kind::Device { .. } | Kind::Fifo => {
                unreachable!("names are only put into what was found to be a directory")
            }
        }
    }
}
