//! From what is on the disk to the tree that the image becomes.
//!
//! Each attribute is decided for itself, of three values: what the image says, what was on the disk
//! after unpacking, and what is there now. What is as it was unpacked stays as the image has it: so
//! owners that a rootless bundle could not keep, times that a file system rounded and attributes that
//! it refused are no changes.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{self, Read};

use corten_layer::apply::is_never_applied;
use corten_layer::beneath::{Links, Root};
use corten_layer::bytes::TreeContents;
use corten_layer::diff::{content_error, same_bytes};
use corten_layer::scan::{Found, FoundKind};
use corten_layer::{Contents, Data, File, Item, Kind, Meta, Node, NodeId, Put, Shown, Tree};
use corten_layer::{TreeBuilder, path};
use rustix::fs::OFlags;

use crate::Result;
use crate::ids::DiskIds;
use crate::masks::Masks;
use crate::origins::{Inode, Known, Origins};
use crate::record::Record;
use crate::survey::{Survey, sort};

/// What an edited tree is made of.
pub(crate) struct Sources<'a> {
    /// The tree of the image.
    pub(crate) lower: &'a Tree,
    /// What was on the disk after unpacking.
    pub(crate) record: &'a Record,
    /// What is there now.
    pub(crate) survey: &'a Survey,
    /// Whose files the files are.
    pub(crate) ids: &'a DiskIds,
    /// What is left as the image has it.
    pub(crate) masks: &'a Masks,
    /// The bytes of both.
    pub(crate) contents: &'a EditedContents<'a>,
}

/// The tree that an image becomes.
#[derive(Debug)]
pub(crate) struct Edited {
    /// The tree. Content that may have changed is [`Data::External`]: the number of the path in the
    /// survey.
    pub(crate) tree: Tree,
    /// Sockets, which no layer can hold.
    pub(crate) sockets: Vec<Shown>,
}

/// Returns the tree of the image with what was changed on the disk.
pub(crate) fn edited_tree(sources: &Sources<'_>) -> Result<Edited> {
    Merge::new(sources).run()
}

/// The files with one number are hard links of one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Group {
    Lower(NodeId),
    Inode(Inode),
}

struct Merge<'a> {
    sources: &'a Sources<'a>,
    origins: Origins<'a>,
    /// How many masked names each file of the image has that has others, too.
    n_masked: HashMap<NodeId, u32>,
    groups: HashMap<Group, u64>,
    puts: Vec<(Vec<u8>, Put)>,
    sockets: Vec<Shown>,
}

impl<'a> Merge<'a> {
    fn new(sources: &'a Sources<'a>) -> Self {
        Self {
            sources,
            origins: Origins::new(sources.lower, sources.record, sources.survey),
            n_masked: masked_names(sources),
            groups: HashMap::new(),
            puts: Vec::with_capacity(sources.survey.found.len()),
            sockets: Vec::new(),
        }
    }

    fn run(mut self) -> Result<Edited> {
        for (number, (path, found)) in self.sources.survey.found.iter().enumerate() {
            if found.kind == FoundKind::Socket {
                self.sockets.push(path.as_slice().into());
                continue;
            }
            let put = self.put(path, found, number as u64)?;
            self.puts.push((path.clone(), put));
        }
        self.keep_unseen();
        sort(&mut self.puts);
        let mut puts = self.puts.into_iter();
        let (_, root) = puts.next().expect("a survey has the root");
        let mut builder = TreeBuilder::new(root.meta);
        for (path, put) in puts {
            builder.add(&path, put)?;
        }
        Ok(Edited {
            tree: builder.finish(),
            sockets: self.sockets,
        })
    }

    fn put(&mut self, path: &[u8], found: &Found, number: u64) -> Result<Put> {
        let Some(known) = self.origins.of(path, found) else {
            return self.new_file(path, found, number);
        };
        let Known { was, id, node } = known;
        let is_untouched = self.sources.record.is_untouched(was, found);
        let meta = self.merged_meta(path, node, was, found)?;
        let item = match &node.kind {
            Kind::File(file) if is_untouched && file.size == found.size => Item::File(file.clone()),
            &Kind::Device {
                block,
                major,
                minor,
            } if found.kind == FoundKind::File => Item::Device {
                block,
                major,
                minor,
            },
            _ => item(found, number),
        };
        if !is_untouched && self.is_as_in_image(path, &known, found, (&item, &meta))? {
            let group = Some(self.number_of(Group::Lower(id)));
            return Ok(Put {
                group,
                ..Put::of_node(node, 0)
            });
        }
        let group = if is_untouched && node.n_links > 1 {
            Some(Group::Lower(id))
        } else {
            self.inode_group(found)
        };
        Ok(Put {
            item,
            meta,
            group: group.map(|group| self.number_of(group)),
        })
    }

    /// Tells whether a file that has masked names, too, is what the image has, so that it may stay one
    /// file with them: what is masked must not change with the others.
    fn is_as_in_image(
        &self,
        path: &[u8],
        known: &Known<'_>,
        found: &Found,
        (item, meta): (&Item, &Meta),
    ) -> Result<bool> {
        let Some(&n_masked) = self.n_masked.get(&known.id) else {
            return Ok(false);
        };
        let has_names = self.origins.has_all_names(known, found, n_masked);
        if !has_names || *meta != known.node.meta {
            return Ok(false);
        }
        let (Kind::File(old), Item::File(new)) = (&known.node.kind, item) else {
            return Ok(*item == Put::of_node(known.node, 0).item);
        };
        Ok(old.size == new.size && self.sources.contents.are_same(path, old, new)?)
    }

    /// A file that the image does not have, or not of this type.
    fn new_file(&mut self, path: &[u8], found: &Found, number: u64) -> Result<Put> {
        let meta = &found.meta;
        let (uid, gid) = self.sources.ids.of_disk(path, meta.uid, meta.gid)?;
        let xattrs = meta.xattrs().iter();
        let ids = self.sources.ids;
        let xattrs = xattrs.filter(|(name, _)| !is_never_applied(name));
        let xattrs = xattrs.map(|(name, value)| {
            let value = ids.xattr_of_disk(path, name, value)?;
            Ok((name.clone(), value))
        });
        let xattrs = xattrs.collect::<Result<_>>()?;
        let group = self.inode_group(found);
        Ok(Put {
            item: item(found, number),
            meta: Meta::new(meta.mode, uid, gid, meta.mtime).with_extended(xattrs, Vec::new()),
            group: group.map(|group| self.number_of(group)),
        })
    }

    fn merged_meta(&self, path: &[u8], node: &Node, was: &Found, found: &Found) -> Result<Meta> {
        let (image, was, now) = (&node.meta, &was.meta, &found.meta);
        let (uid, gid) = if (was.uid, was.gid) == (now.uid, now.gid) {
            (image.uid, image.gid)
        } else {
            self.sources.ids.of_disk(path, now.uid, now.gid)?
        };
        let mode = if was.mode == now.mode {
            image.mode
        } else {
            now.mode
        };
        let is_in_time = was.mtime == now.mtime || self.changed_only_below_masks(path, found);
        let mtime = if is_in_time { image.mtime } else { now.mtime };
        Ok(Meta::new(mode, uid, gid, mtime).with_extended(
            merged_xattrs(self.sources.ids, path, (image, was, found))?,
            image.records().to_vec(),
        ))
    }

    /// Tells whether `path` is a directory of which masked names alone are not those of the record:
    /// making a mount point in it set its time.
    fn changed_only_below_masks(&self, path: &[u8], found: &Found) -> bool {
        let Sources {
            record,
            survey,
            masks,
            ..
        } = self.sources;
        if found.kind != FoundKind::Directory || !masks.are_in(path) {
            return false;
        }
        let recorded = record.paths.iter().map(|(path, _)| path.as_slice());
        let found = survey.found.iter().map(|(path, _)| path.as_slice());
        let left_out = survey.left_out.iter().map(|(path, _)| path.as_slice());
        let (masked, recorded): (HashSet<&[u8]>, HashSet<&[u8]>) =
            names_in(path, recorded).partition(|path| masks.covers(path));
        names_in(path, found).collect::<HashSet<_>>() == recorded
            && names_in(path, left_out).collect::<HashSet<_>>() != masked
    }

    fn inode_group(&self, found: &Found) -> Option<Group> {
        let is_linked = self.origins.is_linked(found);
        is_linked.then_some(Group::Inode(found.inode))
    }

    fn number_of(&mut self, group: Group) -> u64 {
        let next = self.groups.len() as u64;
        *self.groups.entry(group).or_insert(next)
    }

    /// Keeps what the image has and nobody looked at: what is masked, what is in directories that
    /// cannot be listed, and device nodes that could not be made. It goes with the directory it is in.
    fn keep_unseen(&mut self) {
        let Sources {
            lower,
            survey,
            masks,
            ..
        } = self.sources;
        let seen = survey.found.iter();
        let seen: HashSet<&[u8]> = seen.map(|(path, _)| path.as_slice()).collect();
        let directories = self
            .puts
            .iter()
            .filter(|(_, put)| put.item == Item::Directory);
        let mut directories: HashSet<Vec<u8>> = directories.map(|(path, _)| path.clone()).collect();
        for (path, id) in lower.walk() {
            let node = lower.node(id);
            let is_device = matches!(node.kind, Kind::Device { .. });
            let is_unseen = masks.covers(&path)
                || (is_device && !self.origins.had(&path))
                || survey
                    .unreadable
                    .iter()
                    .any(|dir| path::is_within(&path, dir));
            let is_kept = is_unseen
                && !seen.contains(path.as_slice())
                && directories.contains(path::split(&path).0);
            if !is_kept {
                continue;
            }
            if matches!(node.kind, Kind::Directory(_)) {
                directories.insert(path.clone());
            }
            let group = (node.n_links > 1).then(|| self.number_of(Group::Lower(id)));
            let put = Put {
                group,
                ..Put::of_node(node, 0)
            };
            self.puts.push((path, put));
        }
    }
}

fn masked_names(sources: &Sources<'_>) -> HashMap<NodeId, u32> {
    let mut n_masked = HashMap::new();
    for (path, id) in sources.lower.walk() {
        if sources.lower.node(id).n_links > 1 && sources.masks.covers(&path) {
            *n_masked.entry(id).or_default() += 1;
        }
    }
    n_masked
}

fn names_in<'a>(
    directory: &[u8],
    paths: impl Iterator<Item = &'a [u8]>,
) -> impl Iterator<Item = &'a [u8]> {
    paths.filter(move |path| !path.is_empty() && path::split(path).0 == directory)
}

fn item(found: &Found, number: u64) -> Item {
    match &found.kind {
        FoundKind::File | FoundKind::Socket => Item::File(File {
            size: found.size,
            data: Data::External(number),
            sparse: None,
        }),
        FoundKind::Directory => Item::Directory,
        FoundKind::Symlink(target) => Item::Symlink(target.clone()),
        &FoundKind::Device {
            block,
            major,
            minor,
        } => Item::Device {
            block,
            major,
            minor,
        },
        FoundKind::Fifo => Item::Fifo,
    }
}

/// Applies to the attributes of the image what was set and removed on the disk.
fn merged_xattrs(
    ids: &DiskIds,
    path: &[u8],
    (image, was, found): (&Meta, &Meta, &Found),
) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let now = &found.meta;
    if was.xattrs() == now.xattrs() {
        return Ok(image.xattrs().to_vec());
    }
    let value = |meta: &'_ Meta, wanted: &[u8]| {
        let found = meta.xattrs().iter().find(|(name, _)| name == wanted);
        found.map(|(_, value)| value.clone())
    };
    let names = image
        .xattrs()
        .iter()
        .chain(now.xattrs())
        .map(|(name, _)| name);
    let names: std::collections::BTreeSet<&Vec<u8>> = names.collect();
    let merged = names.into_iter().filter(|name| !is_never_applied(name));
    let mut xattrs = Vec::new();
    for name in merged {
        let (old, new) = (value(was, name), value(now, name));
        let chosen = match new {
            // What cannot be read was hardly removed.
            new if old == new || found.unreadable_xattrs.contains(name) => value(image, name),
            Some(new) => Some(ids.xattr_of_disk(path, name, &new)?),
            None => None,
        };
        xattrs.extend(chosen.map(|chosen| (name.clone(), chosen)));
    }
    Ok(xattrs)
}

/// The contents of an edited tree: in the image's layers, or beneath the root of the bundle.
pub(crate) struct EditedContents<'a> {
    pub(crate) lower: TreeContents<'a>,
    pub(crate) root: &'a Root,
    pub(crate) survey: &'a Survey,
}

impl EditedContents<'_> {
    /// Tells whether the bytes of `old`, of the image, and of `new` at `path` are the same.
    pub(crate) fn are_same(
        &self,
        path: &[u8],
        old: &File,
        new: &File,
    ) -> corten_layer::Result<bool> {
        let failed = |source| content_error(path, source);
        let mut left = self.lower.open(old).map_err(failed)?;
        let mut right = self.open(new).map_err(failed)?;
        same_bytes(&mut *left, &mut *right).map_err(failed)
    }
}

impl Contents for EditedContents<'_> {
    fn open<'a>(&'a self, file: &'a File) -> io::Result<Box<dyn Read + Send + 'a>> {
        let number = match file.data {
            Data::Layer { .. } => return self.lower.open(file),
            Data::External(number) => number,
        };
        let found = usize::try_from(number)
            .ok()
            .and_then(|number| self.survey.found.get(number));
        let (path, found) = found.ok_or_else(|| io::Error::other("no such file"))?;
        // A pipe that took the file's place would otherwise block.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let fd = self.root.open_at(path, flags, Links::Refuse)?;
        let stat = rustix::fs::fstat(&fd)?;
        if (stat.st_dev, stat.st_ino) != found.inode {
            return Err(io::Error::other(
                "another file has taken its place meanwhile",
            ));
        }
        Ok(Box::new(fs::File::from(fd)))
    }
}

#[cfg(test)]
mod tests {
    use corten_tar::Timestamp;

    use super::*;
    use crate::ids::IdMaps;

    #[test]
    fn what_cannot_be_read_was_not_removed() {
        #[track_caller]
        fn check(unreadable: &[&str], expected: &[&str]) {
            let meta = |names: &[&str]| {
                let xattrs = names.iter().map(|name| (name.as_bytes().to_vec(), vec![1]));
                Meta::new(0o644, 0, 0, Timestamp::default())
                    .with_extended(xattrs.collect(), Vec::new())
            };
            let found = Found {
                kind: FoundKind::File,
                meta: meta(&["user.new"]),
                unreadable_xattrs: unreadable
                    .iter()
                    .map(|name| name.as_bytes().to_vec())
                    .collect(),
                size: 0,
                inode: (0, 1),
                n_links: 1,
                ctime: (0, 0),
            };
            let ids = DiskIds::new(&IdMaps::default()).unwrap();
            let was = meta(&["user.a", "user.b"]);
            let merged = merged_xattrs(&ids, b"x", (&was, &was, &found)).unwrap();
            let names: Vec<&[u8]> = merged.iter().map(|(name, _)| name.as_slice()).collect();
            let expected: Vec<&[u8]> = expected.iter().map(|name| name.as_bytes()).collect();
            assert_eq!(names, expected);
        }
        check(&[], &["user.new"]);
        check(&["user.b"], &["user.b", "user.new"]);
        check(&["user.other"], &["user.new"]);
    }
}
