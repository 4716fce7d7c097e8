//! Extended attributes. Those of users are on the disk, all others recorded.

use std::os::fd::AsFd as _;

use rustix::fs::{XattrFlags, getxattr, listxattr, removexattr, setxattr};
use rustix::io::Errno;

use super::{Answer, Answered, Call, NOTHING, half};
use crate::traced::access::{READ, WRITE, is_permitted};
use crate::traced::resolve::{Handle, Last};
use crate::traced::stat::{record_of, settled};
use crate::traced::world::proc_path;

/// An address and a length.
type Buffer = (u64, u64);

/// `XATTR_NAME_MAX` with a NUL, and `XATTR_SIZE_MAX`.
const LONGEST_NAME: usize = 256;
const LARGEST: usize = 65536;

impl Call<'_> {
    fn xattr_place(&self, path: u64, last: Last) -> Result<Handle, Errno> {
        let path = self.path(libc::AT_FDCWD, path)?;
        self.find(&path, last)
    }

    fn xattr_name(&self, name: u64) -> Result<Vec<u8>, Errno> {
        let name = self.memory.string(name, LONGEST_NAME);
        let name = name.map_err(|errno| {
            if errno == Errno::TOOBIG {
                Errno::RANGE
            } else {
                errno
            }
        })?;
        if name.is_empty() {
            Err(Errno::RANGE)
        } else {
            Ok(name)
        }
    }

    pub(super) fn set_xattr(
        &mut self,
        last: Last,
        path: u64,
        name: u64,
        value: Buffer,
        flags: u64,
    ) -> Answered {
        let handle = self.xattr_place(path, last)?;
        self.put_xattr(&handle, name, value, flags)
    }

    pub(super) fn set_xattr_of(
        &mut self,
        fd: i32,
        name: u64,
        value: Buffer,
        flags: u64,
    ) -> Answered {
        let handle = self.descriptor(fd)?;
        self.put_xattr(&handle, name, value, flags)
    }

    fn put_xattr(&mut self, handle: &Handle, name: u64, value: Buffer, flags: u64) -> Answered {
        let name = self.xattr_name(name)?;
        let length = usize::try_from(value.1)
            .ok()
            .filter(|&length| length <= LARGEST);
        let length = length.ok_or(Errno::TOOBIG)?;
        let value = self.memory.bytes(value.0, length)?;
        let flags = XattrFlags::from_bits(half(flags)).ok_or(Errno::INVAL)?;
        self.may_set(handle, &name)?;
        if is_of_users(&name) {
            setxattr(proc_path(handle.fd.as_fd()), name.as_slice(), &value, flags)?;
            return NOTHING;
        }
        let mut record = record_of(&self.state.records, &handle.stat);
        let found = record.xattrs.iter().position(|(other, _)| *other == name);
        match found {
            Some(_) if flags.contains(XattrFlags::CREATE) => return Err(Errno::EXIST),
            None if flags.contains(XattrFlags::REPLACE) => return Err(Errno::NODATA),
            Some(idx) => drop(record.xattrs.remove(idx)),
            None => {}
        }
        if !is_capabilities(&value) {
            return Err(Errno::INVAL);
        }
        record.xattrs.push((name, value));
        record.xattrs.sort_unstable();
        Self::touch(handle)?;
        self.record(&handle.stat, record);
        NOTHING
    }

    /// xattr(7): each name space has its rule.
    fn may_set(&self, handle: &Handle, name: &[u8]) -> Result<(), Errno> {
        if !self.may_be_changed(handle) {
            return Err(Errno::PERM);
        }
        let (records, ids) = (&self.state.records, self.ids()?);
        let is_allowed = if is_of_users(name) {
            is_permitted(records, ids, &handle.stat, WRITE)
        } else if name.starts_with(b"system.posix_acl_") {
            return Err(Errno::OPNOTSUPP);
        } else if name == b"security.capability" {
            ids.may_set_capabilities()
        } else if name.starts_with(b"security.") || name.starts_with(b"trusted.") {
            // That takes CAP_SYS_ADMIN, which no step has.
            false
        } else {
            return Err(Errno::OPNOTSUPP);
        };
        if is_allowed { Ok(()) } else { Err(Errno::PERM) }
    }

    pub(super) fn xattr(&mut self, last: Last, path: u64, name: u64, into: Buffer) -> Answered {
        let handle = self.xattr_place(path, last)?;
        self.give_xattr(&handle, name, into)
    }

    pub(super) fn xattr_of(&mut self, fd: i32, name: u64, into: Buffer) -> Answered {
        let handle = self.descriptor(fd)?;
        self.give_xattr(&handle, name, into)
    }

    fn give_xattr(&mut self, handle: &Handle, name: u64, into: Buffer) -> Answered {
        let name = self.xattr_name(name)?;
        let value = if is_of_users(&name) {
            if !is_permitted(&self.state.records, self.ids()?, &handle.stat, READ) {
                return Err(Errno::ACCESS);
            }
            value_of(handle, &name)?
        } else {
            let recorded = settled(&self.state.records, &handle.stat);
            let mut xattrs = recorded.into_iter().flat_map(|record| record.xattrs);
            let found = xattrs.find(|(other, _)| *other == name);
            found
                .ok_or(if is_known(&name) {
                    Errno::NODATA
                } else {
                    Errno::OPNOTSUPP
                })?
                .1
        };
        self.give(&value, into)
    }

    fn give(&self, value: &[u8], (into, size): Buffer) -> Answered {
        let length = value.len() as u64;
        if size > 0 {
            if length > size {
                return Err(Errno::RANGE);
            }
            self.memory.write(into, value)?;
        }
        Ok(Answer::Value(length.cast_signed()))
    }

    pub(super) fn xattrs(&mut self, last: Last, path: u64, into: Buffer) -> Answered {
        let handle = self.xattr_place(path, last)?;
        self.give_xattrs(&handle, into)
    }

    pub(super) fn xattrs_of(&mut self, fd: i32, into: Buffer) -> Answered {
        let handle = self.descriptor(fd)?;
        self.give_xattrs(&handle, into)
    }

    fn give_xattrs(&mut self, handle: &Handle, into: Buffer) -> Answered {
        let mut list = Vec::new();
        let place = proc_path(handle.fd.as_fd());
        let on_disk = whole(|buffer| listxattr(place.as_str(), buffer)).unwrap_or_default();
        let on_disk = on_disk
            .split(|&byte| byte == 0)
            .filter(|name| is_of_users(name));
        let recorded = settled(&self.state.records, &handle.stat).unwrap_or_default();
        let recorded = recorded.xattrs.iter();
        for name in on_disk.chain(recorded.map(|(name, _)| name.as_slice())) {
            list.extend_from_slice(name);
            list.push(0);
        }
        self.give(&list, into)
    }

    pub(super) fn remove_xattr(&mut self, last: Last, path: u64, name: u64) -> Answered {
        let handle = self.xattr_place(path, last)?;
        self.take_xattr(&handle, name)
    }

    pub(super) fn remove_xattr_of(&mut self, fd: i32, name: u64) -> Answered {
        let handle = self.descriptor(fd)?;
        self.take_xattr(&handle, name)
    }

    fn take_xattr(&mut self, handle: &Handle, name: u64) -> Answered {
        let name = self.xattr_name(name)?;
        self.may_set(handle, &name)?;
        if is_of_users(&name) {
            removexattr(proc_path(handle.fd.as_fd()), name.as_slice())?;
            return NOTHING;
        }
        let mut record = record_of(&self.state.records, &handle.stat);
        let found = record.xattrs.iter().position(|(other, _)| *other == name);
        record.xattrs.remove(found.ok_or(Errno::NODATA)?);
        Self::touch(handle)?;
        self.record(&handle.stat, record);
        NOTHING
    }
}

/// `struct vfs_cap_data`, in the revisions that the kernel takes. It stores the newest without the id of a
/// user, which is root's, as the one before.
fn is_capabilities(value: &[u8]) -> bool {
    const REVISION: u32 = 0xff00_0000;
    let Some(&[a, b, c, d]) = value.first_chunk() else {
        return false;
    };
    let revision = u32::from_le_bytes([a, b, c, d]) & REVISION;
    matches!(
        (revision, value.len()),
        (0x0200_0000, 20) | (0x0300_0000, 24)
    )
}

fn is_of_users(name: &[u8]) -> bool {
    name.starts_with(b"user.")
}

fn is_known(name: &[u8]) -> bool {
    name.starts_with(b"security.") || name.starts_with(b"trusted.")
}

fn value_of(handle: &Handle, name: &[u8]) -> Result<Vec<u8>, Errno> {
    let place = proc_path(handle.fd.as_fd());
    whole(|buffer| getxattr(place.as_str(), name, buffer))
}

/// Reads what may be as large as it ever is.
fn whole(mut read: impl FnMut(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut buffer = vec![0; 1024];
    let length = match read(&mut buffer) {
        Err(Errno::RANGE) => {
            buffer.resize(LARGEST, 0);
            read(&mut buffer)?
        }
        other => other?,
    };
    buffer.truncate(length);
    Ok(buffer)
}
