//! Owners as extended attributes, for files that a process with one id changes through an overlay.
//!
//! A user namespace of one id knows no other owner. What a tree says is noted on each file and directory
//! that is not root's, so that it goes along when overlayfs copies the file up and when a command
//! renames it, or copies it with its attributes. It is taken off when the changes are read, and no layer
//! has it. The kernel takes no such attribute on links and pipes: [`crate::upper`] judges those by
//! what they were.

use std::collections::HashSet;

use crate::scan::{Found, FoundKind};
use crate::tree::{Kind, Node};
use crate::{Error, Meta, Result, Tree, path};

/// The name of the attribute.
pub(crate) const NAME: &[u8] = b"user.corten.owner";
const SET_GID: u32 = 0o2000;

/// Who owns a file in the tree. Its mode is that on the disk, set-id bits included: a command has to find
/// them to take them off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl Mark {
    /// Returns the mark of what has `meta`; none for what belongs to root.
    pub(crate) fn of(meta: &Meta) -> Option<Self> {
        let mark = Self {
            uid: meta.uid,
            gid: meta.gid,
        };
        ((meta.uid, meta.gid) != (0, 0)).then_some(mark)
    }

    /// Returns the mark that something on the disk has.
    pub(crate) fn found_on(found: &Found) -> Option<Self> {
        let mut xattrs = found.meta.xattrs().iter();
        let (_, value) = xattrs.find(|(name, _)| name == NAME)?;
        Self::decode(value)
    }

    pub(crate) fn encode(self) -> Vec<u8> {
        format!("{}:{}", self.uid, self.gid).into_bytes()
    }

    /// Returns what a value says; a command can have written anything.
    pub(crate) fn decode(value: &[u8]) -> Option<Self> {
        let mut fields = std::str::from_utf8(value).ok()?.split(':');
        let mark = Self {
            uid: fields.next()?.parse().ok()?,
            gid: fields.next()?.parse().ok()?,
        };
        fields.next().is_none().then_some(mark)
    }
}

/// What is not root's.
#[derive(Debug)]
pub(crate) struct Others {
    /// What a copy of something would look like.
    looks: HashSet<Looks>,
    /// Directories that hand on their group to what is made in them.
    handing_on: HashSet<Vec<u8>>,
}

/// Size, time and name, as far as a copy keeps them.
type Looks = (u64, i64, Vec<u8>);

impl Others {
    /// Returns what is not root's in a tree, and of the directories `found` on top of it.
    pub(crate) fn of(tree: &Tree, found: &[(Vec<u8>, Found)]) -> Self {
        let root = (Vec::new(), Tree::ROOT);
        let all = std::iter::once(root).chain(tree.walk());
        let looks = all.filter_map(|(path, id)| {
            let node = tree.node(id);
            Mark::of(&node.meta)?;
            let name = path::split(&path).1;
            let seconds = node.meta.mtime.seconds;
            match &node.kind {
                Kind::File(file) => Some((file.size, seconds, of_empty(file.size, name))),
                Kind::Directory(_) => Some((0, seconds, [name, b"/"].concat())),
                Kind::Symlink(target) => Some((0, 0, [name, b"\0", target].concat())),
                Kind::Device { .. } | Kind::Fifo => None,
            }
        });
        let hands_on = |found: &Found| {
            let mark = Mark::found_on(found);
            mark.is_some_and(|mark| mark.gid != 0 && found.meta.mode & SET_GID != 0)
        };
        let directories = found
            .iter()
            .filter(|(_, found)| found.kind == FoundKind::Directory);
        let handing_on = directories.filter(|(_, found)| hands_on(found));
        Self {
            looks: looks.collect(),
            handing_on: handing_on.map(|(path, _)| path.clone()).collect(),
        }
    }

    /// Tells whether what is at `path` got its group from its directory when it was made.
    fn hand_on_to(&self, path: &[u8]) -> bool {
        !path.is_empty() && self.handing_on.contains(path::split(path).0)
    }

    /// Returns the owner of what has no mark: root, unless it took the place, or has the looks, of what is
    /// somebody else's. A command that asked for the owner saw root then, and may have kept it.
    pub(crate) fn owner_of(
        &self,
        lower: Option<&Node>,
        path: &[u8],
        entry: &Found,
    ) -> Result<(u32, u32)> {
        let unknown = |reason| {
            let path = path.into();
            Err(Error::OwnerUnknown { path, reason })
        };
        if let Some(lower) = lower.filter(|lower| Mark::of(&lower.meta).is_some()) {
            let owner = (lower.meta.uid, lower.meta.gid);
            return match (&lower.kind, &entry.kind) {
                // These take no mark.
                (Kind::Symlink(old), FoundKind::Symlink(new)) if old == new => Ok(owner),
                (Kind::Fifo, FoundKind::Fifo) => Ok(owner),
                _ => unknown("it took the place of what is not root's"),
            };
        }
        if self.hand_on_to(path) {
            return unknown("its directory hands on a group that is not root's");
        }
        if self.has(path, entry) {
            return unknown("it looks like a copy of what is not root's");
        }
        Ok((0, 0))
    }

    fn has(&self, path: &[u8], entry: &Found) -> bool {
        let name = path::split(path).1;
        let seconds = entry.meta.mtime.seconds;
        let looks = match &entry.kind {
            FoundKind::File => (entry.size, seconds, of_empty(entry.size, name)),
            FoundKind::Directory => (0, seconds, [name, b"/"].concat()),
            FoundKind::Symlink(target) => (0, 0, [name, b"\0", target].concat()),
            FoundKind::Device { .. } | FoundKind::Fifo | FoundKind::Socket => return false,
        };
        self.looks.contains(&looks)
    }
}

/// Of files without content many are made in one second.
fn of_empty(size: u64, name: &[u8]) -> Vec<u8> {
    if size == 0 { name.to_vec() } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use corten_tar::Timestamp;

    use super::*;

    #[test]
    fn what_is_marked_is_read_back() {
        let meta = |mode, uid, gid| Meta::new(mode, uid, gid, Timestamp::from_seconds(1));
        assert_eq!(Mark::of(&meta(0o4755, 0, 0)), None);
        let mark = Mark::of(&meta(0o2755, 0, 42)).unwrap();
        assert_eq!(mark.encode(), b"0:42");
        assert_eq!(Mark::decode(b"0:42"), Some(mark));
    }

    #[test]
    fn what_is_no_mark_says_nothing() {
        #[track_caller]
        fn check(value: &[u8]) {
            assert_eq!(Mark::decode(value), None, "{value:?}");
        }
        check(b"");
        check(b"1");
        check(b"1:2:7");
        check(b"-1:2");
        check(b"4294967296:2");
        check(b"\xff:2");
    }
}
