//! Making a tree path by path, such as from what a scan of a directory finds.

use std::collections::HashMap;

use crate::changeset::{Item, Put};
use crate::tree::{Directory, Kind, Name, Node};
use crate::{Error, Meta, NodeId, Result, Tree, path};

/// A tree that is being made.
///
/// It takes any name, also those that no layer can hold: what it makes is copied from, not written.
#[derive(Debug)]
pub struct TreeBuilder {
    tree: Tree,
    /// The node of each group of hard links.
    groups: HashMap<u64, NodeId>,
    /// The directory that the last path was in: the next one usually is, too.
    latest: (Vec<u8>, NodeId),
}

impl TreeBuilder {
    /// Starts a tree whose root has `meta`.
    pub fn new(meta: Meta) -> Self {
        let mut tree = Tree::new();
        tree.nodes[0].meta = meta;
        Self {
            tree,
            groups: HashMap::new(),
            latest: (Vec::new(), Tree::ROOT),
        }
    }

    /// Adds the canonical `path`, which is not the root and was not added before.
    ///
    /// Directories above it that were not added are made as an entry without parents would make
    /// them.
    ///
    /// # Errors
    /// Fails if something above it is no directory.
    pub fn add(&mut self, path: &[u8], put: Put) -> Result<()> {
        let (directory, name) = path::split(path);
        if self.latest.0 != directory {
            let parent = self.make_directories(directory, &put)?;
            self.latest = (directory.to_vec(), parent);
        }
        let group = put.group;
        let node = match group.and_then(|group| self.groups.get(&group)) {
            Some(&node) => node,
            None => self.add_node(put),
        };
        self.groups.extend(group.map(|group| (group, node)));
        self.link(self.latest.1, name, node);
        Ok(())
    }

    /// Returns the tree.
    pub fn finish(self) -> Tree {
        self.tree
    }

    fn make_directories(&mut self, directory: &[u8], below: &Put) -> Result<NodeId> {
        let mut here = Tree::ROOT;
        for name in directory
            .split(|&byte| byte == b'/')
            .filter(|name| !name.is_empty())
        {
            here = match self.tree.child(here, name) {
                Some(id) if self.tree.is_directory(id) => id,
                Some(_) => {
                    return Err(Error::WrongKind {
                        path: directory.into(),
                        expected: "a directory",
                    });
                }
                None => {
                    let meta = Meta::implied_directory(below.meta.mtime);
                    let made = self.add_node(Put::directory(meta));
                    self.link(here, name, made);
                    made
                }
            };
        }
        Ok(here)
    }

    fn add_node(&mut self, put: Put) -> NodeId {
        let kind = match put.item {
            Item::File(file) => Kind::File(file),
            Item::Directory => Kind::Directory(Directory::default()),
            Item::Symlink(target) => Kind::Symlink(target),
            Item::Device {
                block,
                major,
                minor,
            } => Kind::Device {
                block,
                major,
                minor,
            },
            Item::Fifo => Kind::Fifo,
        };
        self.tree.nodes.push(Node {
            kind,
            meta: put.meta,
            n_links: 0,
            layer: 0,
        });
        NodeId(u32::try_from(self.tree.nodes.len() - 1).unwrap_or(u32::MAX))
    }

    fn link(&mut self, parent: NodeId, name: &[u8], node: NodeId) {
        self.tree.nodes[node.0 as usize].n_links += 1;
        if let Kind::Directory(directory) = &mut self.tree.nodes[parent.0 as usize].kind {
            directory.entries.insert(
                name.into(),
                Name {
                    node,
                    layer: 0,
                    explicit: true,
                },
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use corten_tar::Timestamp;

    use super::*;

    #[test]
    fn parents_links_and_the_root() {
        let meta = |mode| Meta::new(mode, 1, 2, Timestamp::from_seconds(5));
        let link = |group| Put {
            item: Item::Fifo,
            meta: meta(0o600),
            group: Some(group),
        };
        let mut builder = TreeBuilder::new(meta(0o711));
        builder.add(b"a/b/c", link(7)).unwrap();
        builder.add(b"d", link(7)).unwrap();
        builder.add(b"a/b/.wh.e", link(8)).unwrap();
        assert!(builder.add(b"d/f", link(9)).is_err());
        let tree = builder.finish();
        assert_eq!(tree.node(Tree::ROOT).meta, meta(0o711));
        assert_eq!(tree.lookup(b"a/b/c").unwrap(), tree.lookup(b"d").unwrap());
        assert_eq!(tree.node(tree.lookup(b"d").unwrap().unwrap()).n_links, 2);
        let implied = tree.node(tree.lookup(b"a").unwrap().unwrap());
        assert_eq!(
            implied.meta,
            Meta::implied_directory(Timestamp::from_seconds(5))
        );
        assert!(tree.lookup(b"a/b/.wh.e").unwrap().is_some());
    }
}
