//! What is told of files: stat(2), access(2), readlink(2), getcwd(2).

use std::os::fd::AsFd as _;

use rustix::fs::{AtFlags, FileType, Statx, StatxFlags, readlinkat, statx};
use rustix::io::Errno;

use super::{Answered, Call, EMPTY_PATH, NOFOLLOW, NOTHING, half, length};
use crate::traced::access::is_permitted;
use crate::traced::arch;
use crate::traced::ids::Ids;
use crate::traced::resolve::{Handle, Last, find, kind};
use crate::traced::stat::told;
use crate::traced::world::{Area, proc_path};

/// The flags of calls that look at files.
const FLAGS: u64 = NOFOLLOW | EMPTY_PATH | (libc::AT_NO_AUTOMOUNT | 0x6000) as u64;

impl Call<'_> {
    pub(super) fn stat(&mut self, dirfd: i32, path: u64, into: u64, flags: u64) -> Answered {
        if flags & !FLAGS != 0 {
            return Err(Errno::INVAL);
        }
        let handle = self.named(dirfd, path, flags)?;
        self.give_stat(&handle, into)
    }

    pub(super) fn stat_descriptor(&mut self, fd: i32, into: u64) -> Answered {
        let handle = self.descriptor(fd)?;
        self.give_stat(&handle, into)
    }

    fn give_stat(&self, handle: &Handle, into: u64) -> Answered {
        let stat = told(self.world, &self.state.records, self.ids()?, handle.stat);
        self.memory.write(into, &arch::stat_bytes(&stat))?;
        NOTHING
    }

    pub(super) fn statx(
        &mut self,
        dirfd: i32,
        path: u64,
        flags: u64,
        mask: u64,
        into: u64,
    ) -> Answered {
        if flags & !FLAGS != 0 {
            return Err(Errno::INVAL);
        }
        let handle = self.named(dirfd, path, flags)?;
        let mask = StatxFlags::from_bits_retain(half(mask)) | StatxFlags::BASIC_STATS;
        let mut found = statx(&handle.fd, "", AtFlags::EMPTY_PATH, mask)?;
        let stat = told(self.world, &self.state.records, self.ids()?, handle.stat);
        found.stx_uid = stat.st_uid;
        found.stx_gid = stat.st_gid;
        found.stx_mode = u16::try_from(stat.st_mode).map_err(|_| Errno::RANGE)?;
        found.stx_size = stat.st_size.cast_unsigned();
        found.stx_rdev_major = rustix::fs::major(stat.st_rdev);
        found.stx_rdev_minor = rustix::fs::minor(stat.st_rdev);
        self.memory.write(into, &statx_bytes(&found))?;
        NOTHING
    }

    pub(super) fn access(&mut self, dirfd: i32, path: u64, mode: u64, flags: u64) -> Answered {
        const EACCESS: u64 = libc::AT_EACCESS as u64;
        if mode & !7 != 0 || flags & !(FLAGS | EACCESS) != 0 {
            return Err(Errno::INVAL);
        }
        let handle = self.named(dirfd, path, flags)?;
        if mode == 0 || kind(&handle.stat) == FileType::Symlink {
            return NOTHING;
        }
        let mut ids = self.ids()?.clone();
        if flags & EACCESS == 0 {
            use_real(&mut ids);
        }
        let wanted = half(mode);
        let is_allowed = match handle.area {
            Area::Tree => is_permitted(&self.state.records, &ids, &handle.stat, wanted),
            Area::Descriptor if self.is_of_tree(&handle.stat) => {
                is_permitted(&self.state.records, &ids, &handle.stat, wanted)
            }
            Area::Device => wanted & 1 == 0,
            Area::Proc | Area::Sys | Area::Terminals | Area::Descriptor => {
                let wanted = rustix::fs::Access::from_bits_truncate(wanted);
                rustix::fs::access(proc_path(handle.fd.as_fd()), wanted).is_ok()
            }
        };
        if is_allowed {
            NOTHING
        } else {
            Err(Errno::ACCESS)
        }
    }

    pub(super) fn read_link(&mut self, dirfd: i32, path: u64, into: u64, size: u64) -> Answered {
        let size = usize::try_from(half(size)).unwrap_or(0);
        if size == 0 || half(size as u64).cast_signed() < 0 {
            return Err(Errno::INVAL);
        }
        let bytes = self.memory.path(path)?;
        let handle = if bytes.is_empty() && dirfd != libc::AT_FDCWD {
            self.descriptor(dirfd)?
        } else {
            let path = self.state.absolute(self.world, self.asker, dirfd, &bytes)?;
            find(self.world, self.state, self.asker, &path, Last::Stay)?
        };
        let mut link = match handle.link {
            Some(link) => link,
            None if kind(&handle.stat) != FileType::Symlink => return Err(Errno::INVAL),
            None => readlinkat(&handle.fd, "", Vec::new())?.into_bytes(),
        };
        link.truncate(size);
        self.memory.write(into, &link)?;
        length(link.len())
    }

    pub(super) fn statfs(&mut self, path: u64, into: u64) -> Answered {
        let path = self.path(libc::AT_FDCWD, path)?;
        let handle = self.find(&path, Last::Follow)?;
        let bytes = crate::sys::statfs_bytes(handle.fd.as_fd())?;
        self.memory.write(into, &bytes)?;
        NOTHING
    }

    pub(super) fn getcwd(&mut self, into: u64, size: u64) -> Answered {
        let cwd = std::sync::Arc::clone(&self.process()?.cwd);
        let mut path = self.world.told_of(cwd.as_fd())?;
        path.push(0);
        if (path.len() as u64) > size {
            return Err(Errno::RANGE);
        }
        self.memory.write(into, &path)?;
        length(path.len())
    }
}

/// access(2) goes by the real ids.
fn use_real(ids: &mut Ids) {
    ids.fs_uid = ids.user.real;
    ids.fs_gid = ids.group.real;
    ids.effective = if ids.user.real == 0 { ids.permitted } else { 0 };
}

/// Returns `struct statx`, which is the same everywhere.
fn statx_bytes(found: &Statx) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    let half = |out: &mut Vec<u8>, value: u32| out.extend(value.to_ne_bytes());
    let word = |out: &mut Vec<u8>, value: u64| out.extend(value.to_ne_bytes());
    half(&mut out, found.stx_mask);
    half(&mut out, found.stx_blksize);
    word(&mut out, found.stx_attributes.bits());
    half(&mut out, found.stx_nlink);
    half(&mut out, found.stx_uid);
    half(&mut out, found.stx_gid);
    out.extend(found.stx_mode.to_ne_bytes());
    out.extend([0; 2]);
    word(&mut out, found.stx_ino);
    word(&mut out, found.stx_size);
    word(&mut out, found.stx_blocks);
    word(&mut out, found.stx_attributes_mask.bits());
    for time in [
        found.stx_atime,
        found.stx_btime,
        found.stx_ctime,
        found.stx_mtime,
    ] {
        out.extend(time.tv_sec.to_ne_bytes());
        half(&mut out, time.tv_nsec);
        half(&mut out, 0);
    }
    half(&mut out, found.stx_rdev_major);
    half(&mut out, found.stx_rdev_minor);
    half(&mut out, found.stx_dev_major);
    half(&mut out, found.stx_dev_minor);
    word(&mut out, found.stx_mnt_id);
    out.resize(256, 0);
    out
}
