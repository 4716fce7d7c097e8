//! Comparing two trees: what a layer on top of one must hold to give the other.

use std::collections::{HashMap, HashSet};

use crate::changeset::{Changeset, Put};
use crate::tree::{File, Kind, Node, NodeId};
use crate::{Error, Result, Tree, path};

/// Tells whether two files, the first of the lower tree, have the same content.
pub trait SameContent {
    /// Compares the contents; sizes are known to be equal.
    fn same(&self, lower: &File, upper: &File) -> Result<bool>;
}

impl<F: Fn(&File, &File) -> Result<bool>> SameContent for F {
    fn same(&self, lower: &File, upper: &File) -> Result<bool> {
        self(lower, upper)
    }
}

/// Returns what must change in `lower` to give `upper`, as little as the rules of layers allow.
///
/// When a file with several names is not the same, attributes and set of names included, every name
/// of it is written (rule 88), so that applying the changes gives exactly the same links.
///
/// ```
/// use corten_layer::{Change, File, Tree, diff::diff};
/// use corten_spec::{DiffId, Digest};
/// use corten_tar::{Entry, EntryKind, Located};
///
/// let tree_of = |paths: &[&str]| {
///     let located = |path: &&str| {
///         let entry = Entry::new(EntryKind::File, *path);
///         Located { entry, offset: 512, stored_size: 0 }
///     };
///     let entries: Vec<Located> = paths.iter().map(located).collect();
///     Ok::<_, corten_layer::Error>(Tree::new().apply(&DiffId(Digest::sha256(b"")), &entries)?.0)
/// };
/// let (lower, upper) = (tree_of(&["etc/motd", "etc/passwd"])?, tree_of(&["etc/passwd"])?);
/// let changes = diff(&lower, &upper, &|old: &File, new: &File| Ok(old.data == new.data))?;
/// let found: Vec<_> = changes.iter().collect();
/// assert_eq!(found, [(&b"etc/motd"[..], &Change::Remove)]);
/// # Ok::<(), corten_layer::Error>(())
/// ```
pub fn diff(lower: &Tree, upper: &Tree, contents: &dyn SameContent) -> Result<Changeset> {
    let mut diff = Diff {
        lower,
        upper,
        contents,
        lower_names: names_of_links(lower),
        upper_names: names_of_links(upper),
        heirs: HashMap::new(),
        changes: Changeset::default(),
    };
    diff.compare_root()?;
    diff.compare_directories()?;
    Ok(diff.changes)
}

struct Diff<'a> {
    lower: &'a Tree,
    upper: &'a Tree,
    contents: &'a dyn SameContent,
    lower_names: HashMap<NodeId, Vec<Vec<u8>>>,
    upper_names: HashMap<NodeId, Vec<Vec<u8>>>,
    heirs: HashMap<NodeId, Option<NodeId>>,
    changes: Changeset,
}

impl Diff<'_> {
    fn compare_root(&mut self) -> Result<()> {
        let root = self.upper.node(Tree::ROOT);
        if self.lower.node(Tree::ROOT).meta != root.meta {
            self.changes.put(b"", Put::directory(root.meta.clone()))?;
        }
        Ok(())
    }

    fn compare_directories(&mut self) -> Result<()> {
        let mut todo = vec![(Vec::new(), Some(Tree::ROOT), Tree::ROOT)];
        while let Some((directory, lower_id, upper_id)) = todo.pop() {
            self.removals(&directory, lower_id, upper_id)?;
            for (name, child) in self.upper.children(upper_id) {
                let path = path::join(&directory, name);
                let old = lower_id.and_then(|id| self.lower.child(id, name));
                let node = self.upper.node(child);
                if !self.is_same(old, child)? {
                    self.changes
                        .put(&path, Put::of_node(node, u64::from(child.0)))?;
                }
                if matches!(node.kind, Kind::Directory(_)) {
                    let old = old.filter(|&old| self.lower.is_directory(old));
                    todo.push((path, old, child));
                }
            }
        }
        Ok(())
    }

    fn removals(&mut self, directory: &[u8], lower: Option<NodeId>, upper: NodeId) -> Result<()> {
        let Some(lower) = lower else { return Ok(()) };
        for (name, _) in self.lower.children(lower) {
            if self.upper.child(upper, name).is_none() {
                self.changes.remove(&path::join(directory, name))?;
            }
        }
        Ok(())
    }

    fn is_same(&mut self, old: Option<NodeId>, new: NodeId) -> Result<bool> {
        let Some(old) = old else { return Ok(false) };
        let Some(old_names) = self.lower_names.get(&old) else {
            let is_alone = !self.upper_names.contains_key(&new);
            return Ok(is_alone && self.is_same_node(old, new)?);
        };
        let heir = if let Some(heir) = self.heirs.get(&old) {
            *heir
        } else {
            let heir = self.heir(old, old_names)?;
            self.heirs.insert(old, heir);
            heir
        };
        Ok(heir == Some(new))
    }

    /// Returns the inode of the upper tree that is the lower one `old` with some of its names, if
    /// there is one. Names that are gone are no reason to write those that stay; where the names
    /// were parted among several inodes, one of these stays what it was.
    fn heir(&self, old: NodeId, old_names: &[Vec<u8>]) -> Result<Option<NodeId>> {
        let had: HashSet<&[u8]> = old_names.iter().map(Vec::as_slice).collect();
        let mut seen = HashSet::new();
        for name in old_names {
            let Some(new) = self.upper.exact(name).filter(|&new| seen.insert(new)) else {
                continue;
            };
            let is_part = self
                .upper_names
                .get(&new)
                .is_none_or(|names| names.iter().all(|name| had.contains(name.as_slice())));
            if is_part && self.is_same_node(old, new)? {
                return Ok(Some(new));
            }
        }
        Ok(None)
    }

    fn is_same_node(&self, old: NodeId, new: NodeId) -> Result<bool> {
        same_node(self.lower.node(old), self.upper.node(new), self.contents)
    }
}

/// Tells whether two nodes agree in type, attributes and content; names in directories aside.
pub fn same_node(lower: &Node, upper: &Node, contents: &dyn SameContent) -> Result<bool> {
    if !same_meta(lower, upper) {
        return Ok(false);
    }
    match (&lower.kind, &upper.kind) {
        (Kind::File(old), Kind::File(new)) => Ok(old.size == new.size && contents.same(old, new)?),
        (Kind::Directory(_), Kind::Directory(_)) => Ok(true),
        (Kind::Symlink(_) | Kind::Device { .. } | Kind::Fifo, _) => Ok(lower.kind == upper.kind),
        (Kind::File(_) | Kind::Directory(_), _) => Ok(false),
    }
}

/// Linux has no modes of symbolic links, and archives write what they like.
fn same_meta(lower: &Node, upper: &Node) -> bool {
    let (Kind::Symlink(_), Kind::Symlink(_)) = (&lower.kind, &upper.kind) else {
        return lower.meta == upper.meta;
    };
    let mut meta = lower.meta.clone();
    meta.mode = upper.meta.mode;
    meta == upper.meta
}

/// Returns the names of every file that has more than one.
fn names_of_links(tree: &Tree) -> HashMap<NodeId, Vec<Vec<u8>>> {
    let mut names: HashMap<NodeId, Vec<Vec<u8>>> = HashMap::new();
    for (path, id) in tree.walk() {
        if tree.node(id).n_links > 1 {
            names.entry(id).or_default().push(path);
        }
    }
    names
}

/// Compares contents by reading both.
pub fn same_bytes(
    left: &mut dyn std::io::Read,
    right: &mut dyn std::io::Read,
) -> std::io::Result<bool> {
    let (mut left_buf, mut right_buf) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    loop {
        let n_left = fill(left, &mut left_buf)?;
        let n_right = fill(right, &mut right_buf)?;
        if left_buf.get(..n_left) != right_buf.get(..n_right) {
            return Ok(false);
        }
        if n_left == 0 {
            return Ok(true);
        }
    }
}

fn fill(reader: &mut dyn std::io::Read, buf: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buf.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match reader.read(rest) {
            Ok(0) => break,
            Ok(n_read) => filled += n_read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Returns an error for content that could not be compared.
pub fn content_error(path: &[u8], source: std::io::Error) -> Error {
    Error::Content {
        path: path.into(),
        source,
    }
}
