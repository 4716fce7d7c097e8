//! Reading the upper directory of an overlay, or what is known to have changed in a plain directory: what
//! was changed on top of a tree.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{self, Read};
use std::os::fd::AsFd as _;
use std::sync::Mutex;

use rustix::fs::OFlags;

use crate::apply::is_never_applied;
use crate::attributes::{Attributes, Opened};
use crate::beneath::{Links, Root};
use crate::changeset::{Changeset, Put};
use crate::diff::{SameContent, same_node};
use crate::directory::Owners;
use crate::marks::{self, Mark, Others};
use crate::scan::{Descend, Found, FoundKind, Xattrs, inspect_root, scan};
use crate::tree::{Data, Directory, File, Kind, Node};
use crate::{Contents, Error, Meta, NodeId, Result, Shown, Tree, path};

/// What an upper directory changes, and where its files are.
#[derive(Debug)]
pub struct Upper {
    /// The changes; contents are [`Data::External`] and opened through `files`.
    pub changes: Changeset,
    /// The files of the changes.
    pub files: Files,
    /// Sockets, which no layer can hold.
    pub sockets: Vec<Vec<u8>>,
    /// Extended attributes that the process below the overlay set and that no layer may have, as path
    /// and name (rule 61).
    pub xattrs_dropped: Vec<Shown>,
}

/// Files beneath a directory, by number.
#[derive(Debug)]
pub struct Files {
    root: Root,
    paths: Vec<Vec<u8>>,
}

/// Paths that are never part of a layer, such as mount points that were made for the process.
pub type Excluded<'a> = dyn Fn(&[u8], &Found) -> bool + 'a;

/// Gives `upper`, an empty directory that is to be the upper one of an overlay over `lower`, the
/// attributes of the root of `lower`: the overlay shows them, whatever lies below.
pub fn prepare(lower: &Tree, upper: &Root, owners: Owners) -> Result<()> {
    set_attributes(upper, b"", &lower.node(Tree::ROOT).meta, owners)
}

/// Gives the directory at `path` of an upper directory the attributes of one beneath, as overlayfs does
/// when it copies it up.
pub fn set_attributes(upper: &Root, path: &[u8], meta: &Meta, owners: Owners) -> Result<()> {
    let attributes = Attributes {
        root: upper,
        owners,
        refused: Mutex::default(),
    };
    let directory = upper.directory(path)?;
    attributes.set_by_handle(directory.as_fd(), path, Opened::Directory, meta)
}

/// Which extended attributes overlayfs keeps its own notes in: the process below it can set the others,
/// so those mean nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OverlayNotes {
    /// `trusted.overlay.*`, as without the mount option `userxattr`.
    Trusted,
    /// `user.overlay.*`, as with it.
    User,
    /// None: there is no overlay.
    Absent,
}

impl OverlayNotes {
    /// Returns the notes that a mount with or without `userxattr` makes.
    pub fn of_userxattr(userxattr: bool) -> Self {
        if userxattr { Self::User } else { Self::Trusted }
    }

    /// Returns what `xattr` notes. Of what begins with `overlay.` once more, overlayfs made it
    /// from an attribute that the process set.
    fn note(self, xattr: &[u8]) -> Option<&[u8]> {
        let prefix: &[u8] = match self {
            Self::Trusted => b"trusted.overlay.",
            Self::User => b"user.overlay.",
            Self::Absent => return None,
        };
        xattr.strip_prefix(prefix)
    }
}

/// Compares `upper`, the upper directory of an overlay over `lower`, with what lies below.
///
/// The attributes of `upper` itself are those of the root: [`prepare`] it before it is mounted.
///
/// Only what is in `upper` is looked at, so the cost grows with what changed. A path that overlayfs
/// copied up without any change is no change; `lower_contents` is read to find out.
pub fn read_upper(
    lower: &Tree,
    lower_contents: &dyn Contents,
    upper: Root,
    notes: OverlayNotes,
    excluded: &Excluded<'_>,
) -> Result<Upper> {
    let mut reader = Reader::new(lower, lower_contents, upper, notes);
    reader.scan(excluded)?;
    reader.changes(&[])
}

/// Does what [`read_upper`] does for an overlay with `userxattr` over directories that were written with
/// [`Owners::Mark`].
///
/// # Errors
/// [`Error::OwnerUnknown`] where a path may belong to somebody else than root for all that can be seen.
pub fn read_marked_upper(
    lower: &Tree,
    lower_contents: &dyn Contents,
    upper: Root,
    excluded: &Excluded<'_>,
) -> Result<Upper> {
    let mut reader = Reader::new(lower, lower_contents, upper, OverlayNotes::User);
    reader.scan(excluded)?;
    reader.marked = Some(Others::of(lower, &reader.found));
    reader.changes(&[])
}

/// What may have changed in a directory that held all of a tree.
#[derive(Debug, Clone, Default)]
pub struct Touched {
    /// What is there and was not, or not as it is now, with its extended attributes.
    pub found: Vec<(Vec<u8>, Found)>,
    /// Those of `found` that are the inode they were.
    pub kept: HashSet<Vec<u8>>,
    /// What is gone from a directory that is still there.
    pub removed: Vec<Vec<u8>>,
}

/// Compares what was `touched` in `root` with `lower`, all of which it held before.
///
/// The changes are those that an overlay would show for the same commands, but for files with several
/// names: overlayfs parts a name from the others when it is written to, and here they stay one file.
pub fn read_touched(
    lower: &Tree,
    lower_contents: &dyn Contents,
    root: Root,
    touched: Touched,
) -> Result<Upper> {
    let mut found = touched.found;
    found.sort_by(|(left, _), (right, _)| path::compare(left, right));
    let reader = Reader {
        found,
        kept: touched.kept,
        ..Reader::new(lower, lower_contents, root, OverlayNotes::Absent)
    };
    reader.changes(&touched.removed)
}

struct Reader<'a> {
    lower: &'a Tree,
    notes: OverlayNotes,
    lower_contents: &'a dyn Contents,
    files: Files,
    found: Vec<(Vec<u8>, Found)>,
    /// Paths whose inode is the one that the lower tree's became; overlayfs makes another.
    kept: HashSet<Vec<u8>>,
    opaque: Vec<Vec<u8>>,
    xattrs_dropped: Vec<Shown>,
    /// What of the lower tree is not root's, where owners are marked.
    marked: Option<Others>,
}

impl<'a> Reader<'a> {
    fn new(
        lower: &'a Tree,
        lower_contents: &'a dyn Contents,
        root: Root,
        notes: OverlayNotes,
    ) -> Self {
        Self {
            lower,
            notes,
            lower_contents,
            files: Files {
                root,
                paths: Vec::new(),
            },
            found: Vec::new(),
            kept: HashSet::new(),
            opaque: Vec::new(),
            xattrs_dropped: Vec::new(),
            marked: None,
        }
    }

    fn scan(&mut self, excluded: &Excluded<'_>) -> Result<()> {
        let found = &mut self.found;
        found.push((Vec::new(), inspect_root(&self.files.root, Xattrs::Read)?));
        scan(&self.files.root, b"", Xattrs::Read, &mut |path, entry| {
            if excluded(path, &entry) {
                return Ok(Descend::Past);
            }
            found.push((path.to_vec(), entry));
            Ok(Descend::Into)
        })?;
        found.sort_by(|(left, _), (right, _)| path::compare(left, right));
        Ok(())
    }

    fn changes(mut self, removed: &[Vec<u8>]) -> Result<Upper> {
        let mut changes = Changeset::default();
        for path in removed
            .iter()
            .filter(|path| self.lower_node(path).is_some())
        {
            changes.remove(path)?;
        }
        let mut sockets = Vec::new();
        let found = std::mem::take(&mut self.found);
        let groups = groups_of(&found);
        for (path, entry) in &found {
            match &entry.kind {
                FoundKind::Device {
                    block: false,
                    major: 0,
                    minor: 0,
                } if self.notes == OverlayNotes::Absent => {
                    return Err(Error::Unrepresentable {
                        path: path.as_slice().into(),
                        reason: "a character device 0:0 stands for a deletion",
                    });
                }
                FoundKind::Device {
                    block: false,
                    major: 0,
                    minor: 0,
                } => {
                    if self.lower_node(path).is_some() {
                        changes.remove(path)?;
                    }
                }
                FoundKind::Socket => {
                    // What it replaced is gone all the same.
                    if self.lower_node(path).is_some() {
                        changes.remove(path)?;
                    }
                    sockets.push(path.clone());
                }
                _ => self.put(&mut changes, path, entry, &groups)?,
            }
        }
        for directory in &self.opaque {
            self.hide_lower(&mut changes, directory, &found)?;
        }
        Ok(Upper {
            changes,
            files: self.files,
            sockets,
            xattrs_dropped: self.xattrs_dropped,
        })
    }

    fn put(
        &mut self,
        changes: &mut Changeset,
        path: &[u8],
        entry: &Found,
        groups: &HashMap<(u64, u64), Vec<&[u8]>>,
    ) -> Result<()> {
        for (xattr, value) in entry.meta.xattrs() {
            let note = self.notes.note(xattr);
            if let Some((_, reason)) = UNSUPPORTED.iter().find(|(name, _)| note == Some(*name)) {
                return Err(Error::Unrepresentable {
                    path: path.into(),
                    reason,
                });
            }
            if note == Some(b"opaque") && value == b"y" {
                self.opaque.push(path.to_vec());
            }
            // Of overlayfs's names, those that it did not set itself are the process's; SELinux's are
            // the machine's.
            let is_of_process = note.is_none_or(|note| note.starts_with(b"overlay."));
            if is_of_process && is_never_applied(xattr) && xattr != b"security.selinux" {
                let shown = [path, b" ", xattr.as_slice()].concat();
                self.xattrs_dropped.push(shown.as_slice().into());
            }
        }
        let records = self
            .lower_node(path)
            .map(|id| self.lower.node(id).meta.records().to_vec());
        let own = entry.meta.xattrs().iter();
        let is_marked = self.marked.is_some();
        let own = own
            .filter(|(name, _)| !(is_never_applied(name) || (is_marked && name == marks::NAME)))
            .cloned()
            .collect();
        let mark = Mark::found_on(entry).filter(|_| is_marked);
        let (uid, gid) = match (&self.marked, mark) {
            (None, _) => (entry.meta.uid, entry.meta.gid),
            (Some(_), Some(mark)) => (mark.uid, mark.gid),
            (Some(others), None) => {
                let lower = self.lower_node(path).map(|id| self.lower.node(id));
                others.owner_of(lower, path, entry)?
            }
        };
        let meta = Meta::new(entry.meta.mode, uid, gid, entry.meta.mtime)
            .with_extended(own, records.unwrap_or_default());
        let names = groups.get(&entry.inode).filter(|names| names.len() > 1);
        let node = Node {
            kind: self.kind_of(path, entry),
            meta,
            n_links: names.map_or(1, |names| u32::try_from(names.len()).unwrap_or(u32::MAX)),
            layer: 0,
        };
        let is_unchanged = match names {
            None => self.is_unchanged(path, &node)?,
            Some(names) => self.is_same_file(names) && self.is_unchanged(path, &node)?,
        };
        if is_unchanged {
            // It was copied up for something, and giving it to root is what would not show.
            return if mark.is_some() && entry.kind != FoundKind::Directory {
                Err(Error::OwnerUnknown {
                    path: path.into(),
                    reason: "it is not root's, and may have been given to root",
                })
            } else {
                Ok(())
            };
        }
        let group = names.map(|_| entry.inode.1);
        changes.put(
            path,
            Put {
                group,
                ..Put::of_node(&node, 0)
            },
        )
    }

    fn kind_of(&mut self, path: &[u8], entry: &Found) -> Kind {
        match &entry.kind {
            FoundKind::File | FoundKind::Socket => {
                self.files.paths.push(path.to_vec());
                let number = self.files.paths.len() as u64 - 1;
                Kind::File(File {
                    size: entry.size,
                    data: Data::External(number),
                    sparse: None,
                })
            }
            FoundKind::Directory => Kind::Directory(Directory::default()),
            FoundKind::Symlink(target) => Kind::Symlink(target.clone()),
            &FoundKind::Device {
                block,
                major,
                minor,
            } => Kind::Device {
                block,
                major,
                minor,
            },
            FoundKind::Fifo => Kind::Fifo,
        }
    }

    fn lower_node(&self, path: &[u8]) -> Option<NodeId> {
        // The overlay shows real paths only: what was a link may be a directory now.
        self.lower.exact(path)
    }

    /// Tells whether all of `names` were names of one file and still are of that.
    fn is_same_file(&self, names: &[&[u8]]) -> bool {
        let mut ids = names.iter().map(|name| {
            let is_kept = self.kept.contains(*name);
            self.lower_node(name).filter(|_| is_kept)
        });
        let first = ids.next().flatten();
        first.is_some() && ids.all(|id| id == first)
    }

    fn is_unchanged(&self, path: &[u8], node: &Node) -> Result<bool> {
        let Some(old) = self.lower_node(path).map(|id| self.lower.node(id)) else {
            return Ok(false);
        };
        // Writing to one of several names copied that one up: for whoever wrote, the others stay
        // what they were, so it is a file of its own now. Without an overlay a file that took the
        // place of one of several names is.
        let has_names = old.n_links > 1 && !matches!(old.kind, Kind::Directory(_));
        if has_names && !self.kept.contains(path) {
            return Ok(false);
        }
        let compare = |lower: &File, upper: &File| -> Result<bool> {
            let failed = |source| Error::Content {
                path: path.into(),
                source,
            };
            let mut old = self.lower_contents.open(lower).map_err(failed)?;
            let mut new = self.files.open(upper).map_err(failed)?;
            crate::diff::same_bytes(&mut *old, &mut *new).map_err(failed)
        };
        same_node(old, node, &compare as &dyn SameContent)
    }

    /// Everything that lies below an opaque directory is gone, unless it is there again; a directory
    /// in an opaque one is new even if one of its name lies below.
    fn hide_lower(
        &self,
        changes: &mut Changeset,
        directory: &[u8],
        found: &[(Vec<u8>, Found)],
    ) -> Result<()> {
        // Directories may be nested deeper than the stack of a thread is.
        let mut todo = vec![directory.to_vec()];
        while let Some(directory) = todo.pop() {
            let Some(lower) = self.lower_node(&directory) else {
                continue;
            };
            for (name, _) in self.lower.children(lower) {
                let path = path::join(&directory, name);
                match found
                    .binary_search_by(|(other, _)| path::compare(other, &path))
                    .ok()
                    .and_then(|at| found.get(at))
                {
                    None => changes.remove(&path)?,
                    Some((_, entry)) if entry.kind == FoundKind::Directory => todo.push(path),
                    Some(_) => {}
                }
            }
        }
        Ok(())
    }
}

/// What overlayfs leaves in an upper directory under options that we never mount it with.
const UNSUPPORTED: [(&[u8], &str); 2] = [
    (
        b"redirect",
        "overlayfs recorded a rename, which is switched off when we mount it",
    ),
    (
        b"metacopy",
        "overlayfs left its content below, which is switched off when we mount it",
    ),
];

fn groups_of(found: &[(Vec<u8>, Found)]) -> HashMap<(u64, u64), Vec<&[u8]>> {
    let mut groups: HashMap<_, Vec<&[u8]>> = HashMap::new();
    for (path, entry) in found {
        if entry.n_links > 1 && entry.kind != FoundKind::Directory {
            groups.entry(entry.inode).or_default().push(path);
        }
    }
    groups
}

impl Files {
    /// Returns the path of the file that [`Data::External`] calls `number`.
    pub fn path(&self, number: u64) -> Option<&[u8]> {
        self.paths
            .get(usize::try_from(number).ok()?)
            .map(Vec::as_slice)
    }
}

impl Contents for Files {
    fn open<'a>(&'a self, file: &'a File) -> io::Result<Box<dyn Read + Send + 'a>> {
        let Data::External(number) = file.data else {
            return Err(io::Error::other("the file is not in the upper directory"));
        };
        let path = self
            .path(number)
            .ok_or_else(|| io::Error::other("no such file"))?;
        let fd = self
            .root
            .open_at(path, OFlags::RDONLY | OFlags::NOFOLLOW, Links::Refuse)?;
        Ok(Box::new(fs::File::from(fd)))
    }
}
