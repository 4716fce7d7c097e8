//! What is made, moved and removed by name.

use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::makedev;
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, RenameFlags, Stat, linkat, mkdirat, mknodat, renameat_with,
    statat, symlinkat, unlinkat,
};
use rustix::io::Errno;

use super::{Answered, Call, NOTHING, REMOVEDIR, half};
use crate::records::{FileRecord, RecordedDevice};
use crate::traced::resolve::{Last, find, kind};
use crate::traced::stat::{PERMISSIONS, on_disk};
use crate::traced::world::{id_of, proc_path};

/// A directory, and the address of a path.
type At = (i32, u64);

impl Call<'_> {
    pub(super) fn mkdir(&mut self, dirfd: i32, path: u64, mode: u64) -> Answered {
        let path = self.path(dirfd, path)?;
        // What is there already is said so, whoever asks.
        let (directory, name) = self.parent_of(&path)?;
        let mode = half(mode) & 0o1777 & !self.process()?.umask;
        Self::refuse_existing(&directory.fd, &name)?;
        self.may_change(&directory.stat)?;
        let disk = Mode::from_raw_mode(on_disk(mode, FileType::Directory));
        mkdirat(&directory.fd, name.as_slice(), disk)?;
        let stat = statat(&directory.fd, name.as_slice(), AtFlags::SYMLINK_NOFOLLOW)?;
        self.made(&stat, &directory.stat, mode)?;
        NOTHING
    }

    /// A path that is all slashes names what is there.
    fn parent_of(&self, path: &[u8]) -> Result<(crate::traced::resolve::Handle, Vec<u8>), Errno> {
        let is_root = path.iter().all(|&byte| byte == b'/');
        if is_root {
            Err(Errno::EXIST)
        } else {
            self.parent(path)
        }
    }

    fn refuse_existing(directory: &OwnedFd, name: &[u8]) -> Result<(), Errno> {
        match statat(directory, without_slashes(name), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Err(Errno::EXIST),
            Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    pub(super) fn mknod(&mut self, dirfd: i32, path: u64, mode: u64, device: u64) -> Answered {
        let path = self.path(dirfd, path)?;
        let (directory, name) = self.parent_of(&path)?;
        Self::refuse_existing(&directory.fd, &name)?;
        self.may_change(&directory.stat)?;
        let raw = half(mode);
        let wanted = match FileType::from_raw_mode(raw) {
            FileType::Unknown if raw & 0o170_000 == 0 => FileType::RegularFile,
            FileType::Directory => return Err(Errno::PERM),
            FileType::Symlink | FileType::Unknown => return Err(Errno::INVAL),
            kind => kind,
        };
        let mode = raw & PERMISSIONS & !self.process()?.umask;
        let is_device = matches!(wanted, FileType::BlockDevice | FileType::CharacterDevice);
        if is_device && !self.ids()?.overrides() {
            return Err(Errno::PERM);
        }
        let made = if is_device {
            FileType::RegularFile
        } else {
            wanted
        };
        let disk = Mode::from_raw_mode(on_disk(mode, made));
        mknodat(&directory.fd, name.as_slice(), made, disk, 0)?;
        let stat = statat(&directory.fd, name.as_slice(), AtFlags::SYMLINK_NOFOLLOW)?;
        let record = self.made(&stat, &directory.stat, mode)?;
        if is_device {
            // The kernel packs 12 bits of the major number and 20 of the minor one into 32.
            let packed = u64::from(half(device));
            let (major, minor) = (packed >> 8 & 0xfff, packed & 0xff | packed >> 12 & 0xf_ff00);
            let device = makedev(half(major), half(minor));
            let device = RecordedDevice {
                block: wanted == FileType::BlockDevice,
                major: rustix::fs::major(device),
                minor: rustix::fs::minor(device),
            };
            self.record(
                &stat,
                FileRecord {
                    device: Some(device),
                    ..record
                },
            );
        }
        NOTHING
    }

    pub(super) fn symlink(&mut self, target: u64, dirfd: i32, path: u64) -> Answered {
        let target = self.memory.path(target)?;
        if target.is_empty() {
            return Err(Errno::NOENT);
        }
        let path = self.path(dirfd, path)?;
        let (directory, name) = self.parent_of(&path)?;
        Self::refuse_existing(&directory.fd, &name)?;
        self.may_change(&directory.stat)?;
        symlinkat(target.as_slice(), &directory.fd, name.as_slice())?;
        let stat = statat(&directory.fd, name.as_slice(), AtFlags::SYMLINK_NOFOLLOW)?;
        self.made(&stat, &directory.stat, stat.st_mode & PERMISSIONS)?;
        NOTHING
    }

    pub(super) fn link(&mut self, from: At, to: At, flags: u64) -> Answered {
        const FOLLOW: u64 = libc::AT_SYMLINK_FOLLOW as u64;
        let source = if flags & super::EMPTY_PATH != 0 && self.memory.path(from.1)?.is_empty() {
            self.descriptor(from.0)?
        } else {
            let last = if flags & FOLLOW != 0 {
                Last::Follow
            } else {
                Last::Stay
            };
            let path = self.path(from.0, from.1)?;
            find(self.world, self.state, self.asker, &path, last)?
        };
        let is_other = !self.may_be_changed(&source);
        let path = self.path(to.0, to.1)?;
        let (directory, name) = self.parent_of(&path)?;
        if is_other {
            return Err(Errno::XDEV);
        }
        if kind(&source.stat) == FileType::Directory {
            return Err(Errno::PERM);
        }
        Self::refuse_existing(&directory.fd, &name)?;
        self.may_change(&directory.stat)?;
        let from = proc_path(source.fd.as_fd());
        linkat(
            CWD,
            from.as_str(),
            &directory.fd,
            name.as_slice(),
            AtFlags::SYMLINK_FOLLOW,
        )?;
        NOTHING
    }

    pub(super) fn unlink(&mut self, dirfd: i32, path: u64, flags: u64) -> Answered {
        if flags & !REMOVEDIR != 0 {
            return Err(Errno::INVAL);
        }
        let is_directory = flags & REMOVEDIR != 0;
        let path = self.path(dirfd, path)?;
        let (directory, name) = self.parent(&path)?;
        let stat = statat(&directory.fd, name.as_slice(), AtFlags::SYMLINK_NOFOLLOW)?;
        self.may_remove(&directory.stat, &stat)?;
        let flags = if is_directory {
            AtFlags::REMOVEDIR
        } else {
            AtFlags::empty()
        };
        unlinkat(&directory.fd, name.as_slice(), flags)?;
        self.forget(&stat);
        NOTHING
    }

    /// What is mounted elsewhere cannot be removed or moved here either.
    fn may_remove(&self, directory: &Stat, stat: &Stat) -> Result<(), Errno> {
        const STICKY: u32 = 0o1000;
        if self.world.is_stand(stat) {
            return Err(Errno::BUSY);
        }
        self.may_change(directory)?;
        let ids = self.ids()?;
        let records = &self.state.records;
        let above = crate::traced::stat::record_of(records, directory);
        let is_own = |stat| crate::traced::access::is_owner(records, ids, stat);
        if above.mode & STICKY != 0 && !is_own(directory) && !is_own(stat) {
            return Err(Errno::PERM);
        }
        Ok(())
    }

    /// The inode of what has lost its last name may be another file's next, but it may also be open still.
    fn forget(&mut self, stat: &Stat) {
        if kind(stat) == FileType::Directory || stat.st_nlink <= 1 {
            self.state.records.forget(id_of(stat));
        }
    }

    pub(super) fn rename(&mut self, from: At, to: At, flags: u64) -> Answered {
        const WHITEOUT: u32 = 4;
        let flags = RenameFlags::from_bits_retain(half(flags));
        if flags.bits() & WHITEOUT != 0 {
            return Err(Errno::PERM);
        }
        let (from, to) = (self.path(from.0, from.1)?, self.path(to.0, to.1)?);
        let (old, old_name) = self.parent(&from)?;
        let (new, new_name) = self.parent(&to)?;
        let (old_name, new_name) = (old_name.as_slice(), new_name.as_slice());
        let look = |directory: &OwnedFd, name| {
            statat(directory, without_slashes(name), AtFlags::SYMLINK_NOFOLLOW)
        };
        let moved = look(&old.fd, old_name)?;
        self.may_remove(&old.stat, &moved)?;
        let replaced = match look(&new.fd, new_name) {
            Ok(stat) => {
                self.may_remove(&new.stat, &stat)?;
                Some(stat)
            }
            Err(Errno::NOENT) => {
                self.may_change(&new.stat)?;
                None
            }
            Err(errno) => return Err(errno),
        };
        if flags.is_empty() {
            // A filter of the container may not know the newer call.
            rustix::fs::renameat(&old.fd, old_name, &new.fd, new_name)?;
        } else {
            renameat_with(&old.fd, old_name, &new.fd, new_name, flags)?;
        }
        if let Some(replaced) = replaced
            && !flags.contains(RenameFlags::EXCHANGE)
            && id_of(&replaced) != id_of(&moved)
        {
            self.forget(&replaced);
        }
        NOTHING
    }
}

fn without_slashes(name: &[u8]) -> &[u8] {
    let end = name.iter().rposition(|&byte| byte != b'/');
    end.and_then(|end| name.get(..=end)).unwrap_or(name)
}
