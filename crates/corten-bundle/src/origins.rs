//! Which file of the image a file on the disk is.

use std::collections::HashMap;

use corten_layer::scan::{Found, FoundKind};
use corten_layer::{Kind, Node, NodeId, Tree};

use crate::record::Record;
use crate::survey::Survey;

/// A device and a number in it: one file system in the root does not know the numbers of another.
pub(crate) type Inode = (u64, u64);

/// A file of the image.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known<'a> {
    /// What it was on the disk after unpacking.
    pub(crate) was: &'a Found,
    /// What it is in the image.
    pub(crate) id: NodeId,
    /// The same.
    pub(crate) node: &'a Node,
}

/// What is known about the files of a root.
#[derive(Debug)]
pub(crate) struct Origins<'a> {
    lower: &'a Tree,
    recorded: HashMap<&'a [u8], &'a Found>,
    /// A path that each inode had after unpacking; empty for a copy of the root, which has others.
    numbers: HashMap<u64, &'a [u8]>,
    inodes: HashMap<Inode, Names<'a>>,
}

/// The names of an inode, which are one file.
#[derive(Debug, Default)]
struct Names<'a> {
    count: u32,
    /// How many of them the image has.
    n_known: u32,
    known: Option<Known<'a>>,
}

impl<'a> Origins<'a> {
    pub(crate) fn new(lower: &'a Tree, record: &'a Record, survey: &'a Survey) -> Self {
        let recorded = record.paths.iter();
        let mut origins = Self {
            lower,
            recorded: recorded
                .map(|(path, found)| (path.as_slice(), found))
                .collect(),
            numbers: HashMap::new(),
            inodes: HashMap::new(),
        };
        let is_the_root = |(path, root): &&(Vec<u8>, Found)| {
            let now = survey.found.first().map(|(_, found)| found.inode.1);
            path.is_empty() && now == Some(root.inode.1)
        };
        if record.paths.first().is_some_and(|root| is_the_root(&root)) {
            for (path, found) in &record.paths {
                origins.numbers.entry(found.inode.1).or_insert(path);
            }
        }
        for (path, found) in &survey.found {
            let known = origins.at(path, found);
            let names = origins.inodes.entry(found.inode).or_default();
            names.count += 1;
            names.n_known += u32::from(known.is_some());
            // Another file may have been linked to a path of the image: the one that was there
            // before says more.
            let is_the_same = |known: &Known<'_>| known.was.inode.1 == found.inode.1;
            if names.known.is_none() || known.as_ref().is_some_and(is_the_same) {
                names.known = known.or(names.known);
            }
        }
        origins
    }

    /// Tells whether the file has several names.
    pub(crate) fn is_linked(&self, found: &Found) -> bool {
        let names = self.inodes.get(&found.inode);
        found.kind != FoundKind::Directory && names.is_some_and(|names| names.count > 1)
    }

    /// Tells whether the names of the file are all that `known` has, but for `n_masked`.
    pub(crate) fn has_all_names(&self, known: &Known<'_>, found: &Found, n_masked: u32) -> bool {
        self.inodes.get(&found.inode).is_some_and(|names| {
            names.count == names.n_known
                && names.known.is_some_and(|names| names.id == known.id)
                && names.count.checked_add(n_masked) == Some(known.node.n_links)
        })
    }

    /// Tells whether there was anything at `path` after unpacking.
    pub(crate) fn had(&self, path: &[u8]) -> bool {
        self.recorded.contains_key(path)
    }

    /// Returns the file of the image that `found` at `path` is: the one that has the path, or has a
    /// path that is a hard link of it, or had another path before it was moved.
    pub(crate) fn of(&self, path: &[u8], found: &Found) -> Option<Known<'a>> {
        let known = if found.kind == FoundKind::Directory {
            self.at(path, found)
        } else {
            self.inodes.get(&found.inode)?.known
        };
        known.or_else(|| self.moved(found))
    }

    fn at(&self, path: &[u8], found: &Found) -> Option<Known<'a>> {
        let was = self.recorded.get(path).copied()?;
        let id = self.lower.exact(path)?;
        let node = self.lower.node(id);
        let stays = if is_of_kind(&was.kind, &node.kind) {
            is_of_kind(&found.kind, &node.kind)
        } else {
            // An empty file stands for a device node which could not be made.
            was.kind == found.kind && found.size == 0 && matches!(node.kind, Kind::Device { .. })
        };
        stays.then_some(Known { was, id, node })
    }

    /// Numbers of what was removed are given again, so the number alone tells nothing.
    fn moved(&self, found: &Found) -> Option<Known<'a>> {
        let path = self.numbers.get(&found.inode.1)?;
        let known = self.at(path, found)?;
        let (was, now) = (&known.was.meta, &found.meta);
        let is_the_same = known.was.kind == found.kind
            && known.was.size == found.size
            && (was.mode, was.mtime) == (now.mode, now.mtime);
        is_the_same.then_some(known)
    }
}

fn is_of_kind(found: &FoundKind, kind: &Kind) -> bool {
    match found {
        FoundKind::File => matches!(kind, Kind::File(_)),
        FoundKind::Directory => matches!(kind, Kind::Directory(_)),
        FoundKind::Symlink(_) => matches!(kind, Kind::Symlink(_)),
        FoundKind::Device { .. } => matches!(kind, Kind::Device { .. }),
        FoundKind::Fifo => matches!(kind, Kind::Fifo),
        FoundKind::Socket => false,
    }
}
