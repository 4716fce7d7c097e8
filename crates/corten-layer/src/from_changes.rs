//! Making a tree from changes alone, such as what a scan of a directory found.

use std::collections::HashMap;

use crate::changeset::{Change, Changeset, Item, Put};
use crate::tree::{Directory, Kind, Name, Node};
use crate::{Error, Meta, NodeId, Result, Tree, path};

impl Tree {
    /// Returns the tree that holds what `changes` puts and nothing else.
    ///
    /// Directories that no change describes are made as an entry without parents would make them.
    pub fn from_changes(changes: &Changeset) -> Result<Self> {
        let mut tree = Self::new();
        let mut groups = HashMap::new();
        for (path, change) in changes.iter() {
            let Change::Put(put) = change else { continue };
            if path.is_empty() {
                tree.nodes[0].meta = put.meta.clone();
                continue;
            }
            let (directory, name) = path::split(path);
            let parent = tree.make_directories(directory, put)?;
            let node = match put.group.and_then(|group| groups.get(&group)) {
                Some(&node) => node,
                None => tree.add(put),
            };
            groups.extend(put.group.map(|group| (group, node)));
            tree.link(parent, name, node);
        }
        Ok(tree)
    }

    fn make_directories(&mut self, directory: &[u8], below: &Put) -> Result<NodeId> {
        let mut here = Self::ROOT;
        for name in directory
            .split(|&byte| byte == b'/')
            .filter(|name| !name.is_empty())
        {
            here = match self.child(here, name) {
                Some(id) if self.is_directory(id) => id,
                Some(_) => {
                    return Err(Error::WrongKind {
                        path: directory.into(),
                        expected: "a directory",
                    });
                }
                None => {
                    let made = self.add(&Put::directory(Meta::implied_directory(below.meta.mtime)));
                    self.link(here, name, made);
                    made
                }
            };
        }
        Ok(here)
    }

    fn add(&mut self, put: &Put) -> NodeId {
        let kind = match &put.item {
            Item::File(file) => Kind::File(file.clone()),
            Item::Directory => Kind::Directory(Directory::default()),
            Item::Symlink(target) => Kind::Symlink(target.clone()),
            &Item::Device {
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
        self.nodes.push(Node {
            kind,
            meta: put.meta.clone(),
            n_links: 0,
            layer: 0,
        });
        NodeId(u32::try_from(self.nodes.len() - 1).unwrap_or(u32::MAX))
    }

    fn link(&mut self, parent: NodeId, name: &[u8], node: NodeId) {
        self.nodes[node.0 as usize].n_links += 1;
        if let Kind::Directory(directory) = &mut self.nodes[parent.0 as usize].kind {
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
        let mut changes = Changeset::default();
        let meta = |mode| Meta::new(mode, 1, 2, Timestamp::from_seconds(5));
        let link = |group| Put {
            item: Item::Fifo,
            meta: meta(0o600),
            group: Some(group),
        };
        changes.put(b"", Put::directory(meta(0o711))).unwrap();
        changes.put(b"a/b/c", link(7)).unwrap();
        changes.put(b"d", link(7)).unwrap();
        changes.remove(b"gone").unwrap();
        let tree = Tree::from_changes(&changes).unwrap();
        assert_eq!(tree.node(Tree::ROOT).meta, meta(0o711));
        assert_eq!(tree.lookup(b"a/b/c").unwrap(), tree.lookup(b"d").unwrap());
        assert_eq!(tree.node(tree.lookup(b"d").unwrap().unwrap()).n_links, 2);
        let implied = tree.node(tree.lookup(b"a").unwrap().unwrap());
        assert_eq!(
            implied.meta,
            Meta::implied_directory(Timestamp::from_seconds(5))
        );
        assert_eq!(tree.lookup(b"gone").unwrap(), None);
    }
}
