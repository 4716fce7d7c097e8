//! Giving what is on a disk the attributes that a tree says.

use std::os::fd::BorrowedFd;
use std::sync::Mutex;

use rustix::fs::{AtFlags, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use crate::apply::is_never_applied;
use crate::beneath::{Root, proc_path};
use crate::changeset::{Item, Put};
use crate::directory::Owners;
use crate::marks::{self, Mark};
use crate::owners::SET_ID;
use crate::{Error, Meta, Result, Shown, path};

/// What a handle that attributes are set by is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opened {
    File,
    Directory,
}

/// Sets owners, extended attributes, modes and times, in that order (rule 53).
pub(crate) struct Attributes<'a> {
    pub(crate) root: &'a Root,
    pub(crate) owners: Owners,
    /// Extended attributes that the file system refused.
    pub(crate) refused: Mutex<Vec<Refused>>,
}

/// An extended attribute that the file system refused.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) path: Vec<u8>,
    pub(crate) name: Vec<u8>,
    pub(crate) value: Vec<u8>,
}

impl Refused {
    pub(crate) fn shown(&self) -> Shown {
        [&self.path, b" ".as_slice(), &self.name]
            .concat()
            .as_slice()
            .into()
    }
}

impl Attributes<'_> {
    /// Sets the attributes of a file or directory.
    pub(crate) fn set_by_handle(
        &self,
        fd: BorrowedFd<'_>,
        path: &[u8],
        kind: Opened,
        meta: &Meta,
    ) -> Result<()> {
        let failed = |action| {
            let shown = self.root.shown(path);
            move |error: Errno| Error::system(action, shown)(error.into())
        };
        if self.owners == Owners::Set {
            let (owner, group) = (Uid::from_raw(meta.uid), Gid::from_raw(meta.gid));
            rustix::fs::fchown(fd, Some(owner), Some(group)).map_err(failed("set the owner of"))?;
        }
        if let Some(mark) = Mark::of(meta).filter(|_| self.owners == Owners::Mark) {
            let value = mark.encode();
            rustix::fs::fsetxattr(fd, marks::NAME, &value, XattrFlags::empty())
                .map_err(failed("note the owner of"))?;
        }
        for (name, value) in self.applied_xattrs(meta) {
            let result = rustix::fs::fsetxattr(fd, name.as_slice(), value, XattrFlags::empty());
            self.note_refusal(path, (name, value), result)
                .map_err(failed("set an extended attribute of"))?;
        }
        rustix::fs::fchmod(fd, Mode::from_raw_mode(self.mode(meta, kind)))
            .map_err(failed("set the mode of"))?;
        rustix::fs::futimens(fd, &times(meta)).map_err(failed("set the time of"))
    }

    /// Sets the attributes of what cannot be opened: links, devices and pipes.
    pub(crate) fn set_by_name(
        &self,
        directory: BorrowedFd<'_>,
        path: &[u8],
        put: &Put,
    ) -> Result<()> {
        let (_, name) = path::split(path);
        let failed = |action| {
            let shown = self.root.shown(path);
            move |error: Errno| Error::system(action, shown)(error.into())
        };
        let meta = &put.meta;
        if self.owners == Owners::Set {
            let (owner, group) = (Some(Uid::from_raw(meta.uid)), Some(Gid::from_raw(meta.gid)));
            rustix::fs::chownat(directory, name, owner, group, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(failed("set the owner of"))?;
        }
        for (xattr, value) in self.applied_xattrs(meta) {
            let reached = proc_path(directory, name);
            let result =
                rustix::fs::lsetxattr(reached, xattr.as_slice(), value, XattrFlags::empty());
            self.note_refusal(path, (xattr, value), result)
                .map_err(failed("set an extended attribute of"))?;
        }
        if !matches!(put.item, Item::Symlink(_)) {
            let mode = self.mode(meta, Opened::File);
            // The name was made by us a moment ago in a directory that nobody else writes to.
            rustix::fs::chmodat(directory, name, Mode::from_raw_mode(mode), AtFlags::empty())
                .map_err(failed("set the mode of"))?;
        }
        rustix::fs::utimensat(directory, name, &times(meta), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(failed("set the time of"))
    }

    /// Returns the mode to set. What runs as its owner must not run as whoever wrote it instead; where owners
    /// are marked nobody else gets at it, and who may is already whom it would run as.
    fn mode(&self, meta: &Meta, kind: Opened) -> u32 {
        let is_owner = match self.owners {
            Owners::Set | Owners::Leave | Owners::Mark => true,
            Owners::Record => {
                meta.uid == rustix::process::geteuid().as_raw()
                    && meta.gid == rustix::process::getegid().as_raw()
            }
        };
        match kind {
            Opened::File if !is_owner => meta.mode & !SET_ID,
            Opened::File | Opened::Directory => meta.mode,
        }
    }

    /// Whoever makes a changeset may have found attributes of another overlay; ours must not get them,
    /// nor marks that are not ours.
    fn applied_xattrs<'m>(&self, meta: &'m Meta) -> impl Iterator<Item = &'m (Vec<u8>, Vec<u8>)> {
        let is_marking = self.owners == Owners::Mark;
        let is_applied =
            move |name: &[u8]| !(is_never_applied(name) || (is_marking && name == marks::NAME));
        let xattrs = meta.xattrs().iter();
        xattrs.filter(move |(name, _)| is_applied(name))
    }

    fn note_refusal(
        &self,
        path: &[u8],
        (name, value): (&[u8], &[u8]),
        result: rustix::io::Result<()>,
    ) -> rustix::io::Result<()> {
        match result {
            Err(Errno::OPNOTSUPP | Errno::PERM | Errno::INVAL) => {
                let refused = Refused {
                    path: path.to_vec(),
                    name: name.to_vec(),
                    value: value.to_vec(),
                };
                self.refused
                    .lock()
                    .expect("no panic holds it")
                    .push(refused);
                Ok(())
            }
            result => result,
        }
    }
}

fn times(meta: &Meta) -> Timestamps {
    let time = Timespec {
        tv_sec: meta.mtime.seconds,
        tv_nsec: meta.mtime.nanoseconds.into(),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}
