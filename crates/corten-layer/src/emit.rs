//! Writing layers: a changeset, or a whole tree, as a tar (layers.md section 11).
//!
//! The bytes are a function of the changes and the tree below alone: sorted entries, numeric
//! owners, nothing of the machine.

use std::collections::HashMap;
use std::io::{self, Read, Write};

use corten_tar::{Entry, EntryKind, Located, Timestamp};

use crate::apply::is_never_applied;
use crate::changeset::{Changeset, Item, Put};
use crate::path::{OPAQUE, WHITEOUT_PREFIX};
use crate::steps::{Step, for_each_step};
use crate::{Contents, Error, NodeId, Result, Tree, path};

/// Writes `changes` to the tree `lower` as a tar and returns where each entry's data lies in it.
///
/// Every ancestor of a changed path gets an entry with its true attributes (rule 84), whiteouts
/// come right after their directory (rule 83), and names of one file are links to the first.
pub fn write_changeset(
    lower: &Tree,
    changes: &Changeset,
    contents: &dyn Contents,
    out: &mut dyn Write,
) -> Result<Vec<Located>> {
    let mut emitter = Emitter::new(contents, out);
    for_each_step(lower, changes, |path, step| match step {
        Step::Whiteout => emitter.whiteout(path),
        Step::Put(put) => emitter.put(path, put),
    })?;
    emitter.finish()
}

/// Writes all of `tree` as one tar, as `export` and `flatten` do, without any whiteout.
///
/// The root has an entry if its attributes are not those of the tree of no layers.
pub fn write_tree(
    tree: &Tree,
    contents: &dyn Contents,
    out: &mut dyn Write,
) -> Result<Vec<Located>> {
    let mut emitter = Emitter::new(contents, out);
    let root = &tree.node(Tree::ROOT).meta;
    if *root != Tree::new().node(Tree::ROOT).meta {
        emitter.put(b"", &Put::directory(root.clone()))?;
    }
    for (path, NodeId(id)) in tree.walk() {
        emitter.put(&path, &Put::of_node(tree.node(NodeId(id)), u64::from(id)))?;
    }
    emitter.finish()
}

/// Writes entries and remembers where their data went.
struct Emitter<'a> {
    contents: &'a dyn Contents,
    out: &'a mut dyn Write,
    position: u64,
    located: Vec<Located>,
    first_names: HashMap<u64, Vec<u8>>,
    header: Vec<u8>,
    buffer: Vec<u8>,
}

impl<'a> Emitter<'a> {
    fn new(contents: &'a dyn Contents, out: &'a mut dyn Write) -> Self {
        Self {
            contents,
            out,
            position: 0,
            located: Vec::new(),
            first_names: HashMap::new(),
            header: Vec::new(),
            buffer: vec![0; 128 << 10],
        }
    }

    fn whiteout(&mut self, path: &[u8]) -> Result<()> {
        let (directory, name) = path::split(path);
        let name = [WHITEOUT_PREFIX, name].concat();
        if name.len() > path::NAME_MAX {
            return Err(Error::Unrepresentable {
                path: path.into(),
                reason: "its whiteout's name is longer than 255 bytes",
            });
        }
        debug_assert_ne!(name, OPAQUE, "explicit whiteouts only (rule 86)");
        let mut entry = Entry::new(EntryKind::File, path::join(directory, &name));
        entry.mode = 0;
        entry.mtime = Timestamp::default();
        self.entry(entry, None)
    }

    fn put(&mut self, path: &[u8], put: &Put) -> Result<()> {
        let mut entry = Entry::new(EntryKind::Directory, path);
        entry.mode = put.meta.mode;
        entry.uid = put.meta.uid;
        entry.gid = put.meta.gid;
        entry.mtime = put.meta.mtime;
        if let Some(first) = put.group.and_then(|group| self.first_names.get(&group)) {
            entry.kind = EntryKind::HardLink;
            entry.link.clone_from(first);
            return self.entry(entry, None);
        }
        entry.xattrs = put.meta.xattrs().to_vec();
        entry.xattrs.retain(|(name, _)| !is_never_applied(name));
        entry.records = put.meta.records().to_vec();
        if let Some(group) = put.group {
            self.first_names.insert(group, path.to_vec());
        }
        match &put.item {
            Item::Directory => {
                // The name ends in a slash (rule 92); the root's is the usual `./`.
                entry.path = if path.is_empty() {
                    b"./".to_vec()
                } else {
                    [path, b"/"].concat()
                };
                self.entry(entry, None)
            }
            Item::File(file) => {
                entry.kind = EntryKind::File;
                entry.size = file.size;
                let mut content = self.contents.open(file).map_err(content_error(path))?;
                self.entry(entry, Some(&mut *content))
            }
            Item::Symlink(target) => {
                entry.kind = EntryKind::Symlink;
                entry.link = target.to_vec();
                self.entry(entry, None)
            }
            Item::Device {
                block,
                major,
                minor,
            } => {
                entry.kind = if *block {
                    EntryKind::BlockDevice
                } else {
                    EntryKind::CharDevice
                };
                entry.device = (*major, *minor);
                self.entry(entry, None)
            }
            Item::Fifo => {
                entry.kind = EntryKind::Fifo;
                self.entry(entry, None)
            }
        }
    }

    fn entry(&mut self, entry: Entry, content: Option<&mut dyn Read>) -> Result<()> {
        self.header.clear();
        corten_tar::write_header(&entry, &mut self.header)?;
        write(self.out, &self.header)?;
        self.position += self.header.len() as u64;
        let offset = self.position;
        let size = entry.size;
        if let Some(content) = content {
            self.body(&entry.path, size, content)?;
        }
        self.located.push(Located {
            entry,
            offset,
            stored_size: size,
        });
        Ok(())
    }

    fn body(&mut self, path: &[u8], size: u64, content: &mut dyn Read) -> Result<()> {
        let mut left = size;
        while left > 0 {
            let wanted = usize::try_from(left)
                .unwrap_or(usize::MAX)
                .min(self.buffer.len());
            let part = self.buffer.get_mut(..wanted).unwrap_or_default();
            let n_read = read_some(content, part).map_err(content_error(path))?;
            if n_read == 0 {
                return Err(Error::Changed {
                    path: path.into(),
                    expected: size,
                });
            }
            write(self.out, part.get(..n_read).unwrap_or_default())?;
            left -= n_read as u64;
        }
        let padding = corten_tar::padding(size);
        write(self.out, [0; 512].get(..padding).unwrap_or_default())?;
        self.position += size + padding as u64;
        Ok(())
    }

    fn finish(self) -> Result<Vec<Located>> {
        write(self.out, &corten_tar::END)?;
        Ok(self.located)
    }
}

fn write(out: &mut dyn Write, bytes: &[u8]) -> Result<()> {
    out.write_all(bytes)
        .map_err(|source| Error::Output { source })
}

fn read_some(reader: &mut dyn Read, buf: &mut [u8]) -> io::Result<usize> {
    loop {
        match reader.read(buf) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

fn content_error(path: &[u8]) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Content {
        path: path.into(),
        source,
    }
}
