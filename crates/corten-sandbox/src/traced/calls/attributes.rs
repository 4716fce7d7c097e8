//! Modes, owners and times.

use std::os::fd::AsFd as _;

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, fstat, utimensat,
};
use rustix::io::Errno;

use super::{Answer, Answered, Call, NOTHING, half};
use crate::records::FileRecord;
use crate::traced::access::{WRITE, is_owner, is_permitted};
use crate::traced::resolve::{Handle, kind};
use crate::traced::stat::{self, PERMISSIONS, on_disk, record_of};
use crate::traced::world::{Area, id_of, proc_path};

const SET_UID: u32 = 0o4000;
const SET_GID: u32 = 0o2000;
/// What the kernel takes from a file that gets another owner, too.
const CAPABILITIES: &[u8] = b"security.capability";

impl Call<'_> {
    pub(super) fn chmod(&mut self, dirfd: i32, path: u64, mode: u64, flags: u64) -> Answered {
        let handle = self.named(dirfd, path, flags)?;
        self.change_mode(&handle, half(mode) & PERMISSIONS)
    }

    pub(super) fn chmod_descriptor(&mut self, fd: i32, mode: u64) -> Answered {
        let handle = self.descriptor(fd)?;
        self.change_mode(&handle, half(mode) & PERMISSIONS)
    }

    fn change_mode(&mut self, handle: &Handle, mut mode: u32) -> Answered {
        let kind = kind(&handle.stat);
        if kind == FileType::Symlink {
            return Err(Errno::OPNOTSUPP);
        }
        if !self.may_be_changed(handle) {
            // A device of the machine, or a pipe: as of a mount that is read-only, but it is said to be done.
            return NOTHING;
        }
        let ids = self.ids()?;
        if !is_owner(&self.state.records, ids, &handle.stat) {
            return Err(Errno::PERM);
        }
        let before = record_of(&self.state.records, &handle.stat);
        if !ids.overrides() && !ids.is_in_group(before.gid) && kind != FileType::Directory {
            mode &= !SET_GID;
        }
        let disk = Mode::from_raw_mode(on_disk(mode, kind));
        rustix::fs::chmod(proc_path(handle.fd.as_fd()), disk)?;
        let stat = fstat(&handle.fd)?;
        self.record(&stat, FileRecord { mode, ..before });
        NOTHING
    }

    /// Only files of the tree are changed.
    pub(super) fn may_be_changed(&self, handle: &Handle) -> bool {
        match handle.area {
            Area::Tree => true,
            Area::Descriptor => self.world.has(handle.fd.as_fd(), &handle.stat),
            Area::Proc | Area::Sys | Area::Terminals | Area::Device => false,
        }
    }

    pub(super) fn chown(
        &mut self,
        dirfd: i32,
        path: u64,
        owner: (u64, u64),
        flags: u64,
    ) -> Answered {
        let handle = self.named(dirfd, path, flags)?;
        self.change_owner(&handle, (half(owner.0), half(owner.1)))
    }

    pub(super) fn chown_descriptor(&mut self, fd: i32, owner: (u64, u64)) -> Answered {
        let handle = self.descriptor(fd)?;
        self.change_owner(&handle, (half(owner.0), half(owner.1)))
    }

    fn change_owner(&mut self, handle: &Handle, (uid, gid): (u32, u32)) -> Answered {
        const SAME: u32 = u32::MAX;
        if !self.may_be_changed(handle) {
            return NOTHING;
        }
        let before = record_of(&self.state.records, &handle.stat);
        let ids = self.ids()?;
        let keeps_user = uid == SAME || uid == before.uid;
        let keeps_group = gid == SAME || gid == before.gid;
        let is_own = ids.fs_uid == before.uid;
        let is_allowed =
            ids.overrides() || (is_own && keeps_user && (keeps_group || ids.is_in_group(gid)));
        if !is_allowed {
            return Err(Errno::PERM);
        }
        let mut after = before;
        if uid != SAME {
            after.uid = uid;
        }
        if gid != SAME {
            after.gid = gid;
        }
        if kind(&handle.stat) != FileType::Directory {
            after.mode &= !SET_UID;
            if after.mode & 0o010 != 0 {
                after.mode &= !SET_GID;
            }
            after.xattrs.retain(|(name, _)| name != CAPABILITIES);
        }
        Self::touch(handle)?;
        self.record(&handle.stat, after);
        NOTHING
    }

    /// Has the time of change be now, by which it is found that something has changed.
    pub(super) fn touch(handle: &Handle) -> Result<(), Errno> {
        let time = |tv_sec, nanoseconds: u64| Timespec {
            tv_sec,
            tv_nsec: nanoseconds.cast_signed(),
        };
        let stat = fstat(&handle.fd)?;
        let same = Timestamps {
            last_access: time(stat.st_atime, stat.st_atime_nsec),
            last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
        };
        utimensat(CWD, proc_path(handle.fd.as_fd()), &same, AtFlags::empty())
    }

    pub(super) fn utimensat(&mut self, dirfd: i32, path: u64, times: u64, flags: u64) -> Answered {
        let handle = if path == 0 {
            self.descriptor(dirfd)?
        } else {
            self.named(dirfd, path, flags)?
        };
        let times = if times == 0 {
            None
        } else {
            let part = |idx: u64| self.memory.word(times.wrapping_add(idx * 8));
            Some([part(0)?, part(1)?, part(2)?, part(3)?].map(u64::cast_signed))
        };
        self.set_times(&handle, times)
    }

    pub(super) fn utimes(&mut self, dirfd: i32, path: u64, times: u64) -> Answered {
        let handle = if path == 0 {
            self.descriptor(dirfd)?
        } else {
            self.named(dirfd, path, 0)?
        };
        let times = if times == 0 {
            None
        } else {
            let part = |idx: u64| self.memory.word(times.wrapping_add(idx * 8));
            let [a, b, c, d] = [part(0)?, part(1)?, part(2)?, part(3)?].map(u64::cast_signed);
            if !(0..1_000_000).contains(&b) || !(0..1_000_000).contains(&d) {
                return Err(Errno::INVAL);
            }
            Some([a, b * 1000, c, d * 1000])
        };
        self.set_times(&handle, times)
    }

    pub(super) fn utime(&mut self, path: u64, times: u64) -> Answered {
        let handle = self.named(libc::AT_FDCWD, path, 0)?;
        let times = if times == 0 {
            None
        } else {
            let part = |idx: u64| self.memory.word(times.wrapping_add(idx * 8));
            Some([part(0)?.cast_signed(), 0, part(1)?.cast_signed(), 0])
        };
        self.set_times(&handle, times)
    }

    fn set_times(&mut self, handle: &Handle, times: Option<[i64; 4]>) -> Answered {
        if !self.may_be_changed(handle) {
            return NOTHING;
        }
        let ids = self.ids()?;
        let is_now = times.is_none_or(|[_, a, _, b]| a == UTIME_NOW && b == UTIME_NOW);
        let is_allowed = is_owner(&self.state.records, ids, &handle.stat)
            || (is_now && is_permitted(&self.state.records, ids, &handle.stat, WRITE));
        if !is_allowed {
            return Err(if is_now { Errno::ACCESS } else { Errno::PERM });
        }
        let [a, a_part, b, b_part] = times.unwrap_or([0, UTIME_NOW, 0, UTIME_NOW]);
        if a_part == UTIME_OMIT && b_part == UTIME_OMIT {
            return NOTHING;
        }
        let times = Timestamps {
            last_access: Timespec {
                tv_sec: a,
                tv_nsec: a_part,
            },
            last_modification: Timespec {
                tv_sec: b,
                tv_nsec: b_part,
            },
        };
        let before = record_of(&self.state.records, &handle.stat);
        utimensat(CWD, proc_path(handle.fd.as_fd()), &times, AtFlags::empty())?;
        if let Some(content) = before.content {
            // It was not written to by that.
            let content = stat::content(&fstat(&handle.fd)?, content.by_others);
            let record = FileRecord {
                content: Some(content),
                ..before
            };
            self.state.records.insert(id_of(&handle.stat), record);
        } else if self.state.records.get(id_of(&handle.stat)).is_some() {
            self.state.records.insert(id_of(&handle.stat), before);
        }
        NOTHING
    }

    /// The kernel keeps it as well, for the sockets that a process makes itself.
    pub(super) fn umask(&mut self, mask: u64) -> Answered {
        self.process()?.umask = half(mask) & 0o777;
        Ok(Answer::Happens)
    }
}
