//! Where the paths of entries lead, through links and to what is not there yet.

use corten_tar::Entry;

use super::{AUFS_LINKS, Resolver};
use crate::path::{NAME_MAX, NameKind, classify, components};
use crate::tree::{Kind, MAX_LINKS, NodeId, names_of};
use crate::{Error, Result, Tree};

/// What the paths of one layer may come to: a few deep entries imply directories without number, each
/// of which has a path as long as theirs.
const MAX_PATH_BYTES: usize = 512 << 20;

/// Whether a parent that is not there is made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    Create,
    Stop,
}

/// What a hard link is to.
pub(super) struct Target {
    pub(super) parent: NodeId,
    pub(super) name: Vec<u8>,
    pub(super) node: NodeId,
}

impl Resolver {
    /// Walks to the directory that `names` lead to, links followed inside the root, and returns the
    /// directories on the way, the last one last; an empty list is the root.
    pub(super) fn descend(
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
                    if name.len() > NAME_MAX {
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

    pub(super) fn count_path(&mut self, path: &[u8]) -> Result<()> {
        self.path_bytes = self.path_bytes.saturating_add(path.len());
        if self.path_bytes > MAX_PATH_BYTES {
            let reason = "the paths of the layer come to more than 512 MiB (limit: path bytes)";
            return Err(Error::refused(path.get(..256).unwrap_or(path), reason));
        }
        Ok(())
    }

    pub(super) fn link_target(&mut self, entry: &Entry) -> Result<Target> {
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
}
