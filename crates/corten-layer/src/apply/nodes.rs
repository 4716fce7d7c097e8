//! What entries become in the tree.

use corten_tar::{Entry, EntryKind, Located, Timestamp};

use super::{Resolver, is_never_applied};
use crate::report::Notice;
use crate::tree::{Data, Directory, File, Kind, Meta, Node};
use crate::{Error, Result};

impl Resolver {
    pub(super) fn node_of(&mut self, located: &Located) -> Result<Node> {
        let entry = &located.entry;
        let (major, minor) = entry.device;
        let kind = match entry.kind {
            EntryKind::File | EntryKind::HardLink => Kind::File(File {
                size: entry.size,
                data: Data::Layer {
                    layer: self.layer,
                    offset: located.offset,
                },
                sparse: entry.sparse.as_deref().map(Box::from),
            }),
            EntryKind::Directory => Kind::Directory(Directory::default()),
            EntryKind::Symlink if entry.link.is_empty() => {
                return Err(Error::refused(
                    &entry.path,
                    "it is a symbolic link to nothing",
                ));
            }
            EntryKind::Symlink => Kind::Symlink(entry.link.as_slice().into()),
            EntryKind::CharDevice => Kind::Device {
                block: false,
                major,
                minor,
            },
            EntryKind::BlockDevice => Kind::Device {
                block: true,
                major,
                minor,
            },
            EntryKind::Fifo => Kind::Fifo,
        };
        Ok(Node {
            kind,
            meta: self.meta_of(entry),
            n_links: 1,
            layer: self.layer,
        })
    }

    pub(super) fn meta_of(&mut self, entry: &Entry) -> Meta {
        let meta = Meta::new(entry.mode, entry.uid, entry.gid, entry.mtime);
        let (dropped, kept): (Vec<_>, Vec<_>) = entry
            .xattrs
            .iter()
            .cloned()
            .partition(|(name, _)| is_never_applied(name));
        if !dropped.is_empty() {
            self.report.add(&entry.path, Notice::XattrDropped);
        }
        meta.with_extended(kept, entry.records.clone())
    }

    pub(super) fn implied_directory(&self, mtime: Timestamp) -> Node {
        Node {
            kind: Kind::Directory(Directory::default()),
            meta: Meta::implied_directory(mtime),
            n_links: 1,
            layer: self.layer,
        }
    }
}
