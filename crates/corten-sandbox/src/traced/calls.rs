//! The system calls that are answered.

mod attributes;
mod identity;
mod names;
mod open;
mod sockets;
mod status;
mod xattrs;

use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

use crate::records::FileRecord;
use crate::sys::notify::Request;
use crate::traced::access::{WRITE, is_permitted};
use crate::traced::execute::{descriptor as fd, half};
use crate::traced::filter::FCHMODAT2;
use crate::traced::ids::Ids;
use crate::traced::memory::Memory;
use crate::traced::resolve::{Asker, Handle, Last, find, kind, of_descriptor};
use crate::traced::stat::{content, record_of};
use crate::traced::tasks::{Process, State};
use crate::traced::world::{Area, World, id_of};

pub(crate) use open::Waiting;
pub(crate) use sockets::{Connecting, NewSockets};

/// What becomes of a call.
#[derive(Debug)]
pub(crate) enum Answer {
    /// It returns this.
    Value(i64),
    /// The kernel does it.
    Happens,
    /// It returns a descriptor.
    File {
        file: OwnedFd,
        is_closed_on_exec: bool,
    },
    /// It returns a descriptor once somebody opens the other end.
    Waits(Arc<Waiting>),
    /// It returns 0, and a descriptor of the process has become another file.
    Replaces {
        file: OwnedFd,
        number: i32,
        is_closed_on_exec: bool,
    },
    /// The same, once somebody takes the connection.
    Connects(Connecting),
}

pub(crate) type Answered = Result<Answer, Errno>;

const NOTHING: Answered = Ok(Answer::Value(0));

/// A call that is being answered.
pub(crate) struct Call<'a> {
    pub(crate) world: &'a World,
    pub(crate) state: &'a mut State,
    pub(crate) asker: Asker,
    pub(crate) memory: Memory,
    pub(crate) number: i64,
    pub(crate) args: [u64; 6],
}

/// Answers a call.
pub(crate) fn answer(world: &World, state: &mut State, request: &Request) -> Answered {
    let thread = state.threads.get(&request.tid).ok_or(Errno::SRCH)?;
    let asker = Asker {
        tid: request.tid,
        pid: thread.pid,
    };
    let mut call = Call {
        world,
        state,
        asker,
        memory: Memory(request.tid),
        number: request.number,
        args: request.args,
    };
    call.answer()
}

impl Call<'_> {
    #[expect(
        clippy::many_single_char_names,
        reason = "the arguments of a call have other meanings in each"
    )]
    fn answer(&mut self) -> Answered {
        const HERE: i32 = libc::AT_FDCWD;
        let [a, b, c, d, e, _] = self.args;
        match self.number {
            libc::SYS_open => self.open(HERE, a, b, c),
            libc::SYS_creat => self.open(HERE, a, CREAT, b),
            libc::SYS_openat => self.open(fd(a), b, c, d),
            libc::SYS_openat2 => self.open_how(fd(a), b, c, d),
            libc::SYS_stat => self.stat(HERE, a, b, 0),
            libc::SYS_lstat => self.stat(HERE, a, b, NOFOLLOW),
            libc::SYS_newfstatat => self.stat(fd(a), b, c, d),
            libc::SYS_fstat => self.stat_descriptor(fd(a), b),
            libc::SYS_statx => self.statx(fd(a), b, c, d, e),
            libc::SYS_access => self.access(HERE, a, b, 0),
            libc::SYS_faccessat => self.access(fd(a), b, c, 0),
            libc::SYS_faccessat2 => self.access(fd(a), b, c, d),
            libc::SYS_readlink => self.read_link(HERE, a, b, c),
            libc::SYS_readlinkat => self.read_link(fd(a), b, c, d),
            libc::SYS_statfs => self.statfs(a, b),
            libc::SYS_getcwd => self.getcwd(a, b),
            libc::SYS_chdir => self.chdir(a),
            libc::SYS_fchdir => self.fchdir(fd(a)),
            libc::SYS_mkdir => self.mkdir(HERE, a, b),
            libc::SYS_mkdirat => self.mkdir(fd(a), b, c),
            libc::SYS_mknod => self.mknod(HERE, a, b, c),
            libc::SYS_mknodat => self.mknod(fd(a), b, c, d),
            libc::SYS_rmdir => self.unlink(HERE, a, REMOVEDIR),
            libc::SYS_unlink => self.unlink(HERE, a, 0),
            libc::SYS_unlinkat => self.unlink(fd(a), b, c),
            libc::SYS_rename => self.rename((HERE, a), (HERE, b), 0),
            libc::SYS_renameat => self.rename((fd(a), b), (fd(c), d), 0),
            libc::SYS_renameat2 => self.rename((fd(a), b), (fd(c), d), e),
            libc::SYS_link => self.link((HERE, a), (HERE, b), 0),
            libc::SYS_linkat => self.link((fd(a), b), (fd(c), d), e),
            libc::SYS_symlink => self.symlink(a, HERE, b),
            libc::SYS_symlinkat => self.symlink(a, fd(b), c),
            libc::SYS_chmod => self.chmod(HERE, a, b, 0),
            libc::SYS_fchmodat => self.chmod(fd(a), b, c, 0),
            FCHMODAT2 => self.chmod(fd(a), b, c, d),
            libc::SYS_fchmod => self.chmod_descriptor(fd(a), b),
            libc::SYS_chown => self.chown(HERE, a, (b, c), 0),
            libc::SYS_lchown => self.chown(HERE, a, (b, c), NOFOLLOW),
            libc::SYS_fchownat => self.chown(fd(a), b, (c, d), e),
            libc::SYS_fchown => self.chown_descriptor(fd(a), (b, c)),
            libc::SYS_truncate => self.truncate(a, b),
            libc::SYS_utime => self.utime(a, b),
            libc::SYS_utimes => self.utimes(HERE, a, b),
            libc::SYS_futimesat => self.utimes(fd(a), b, c),
            libc::SYS_utimensat => self.utimensat(fd(a), b, c, d),
            libc::SYS_umask => self.umask(a),
            _ => self.answer_other(),
        }
    }

    #[expect(
        clippy::many_single_char_names,
        reason = "the arguments of a call have other meanings in each"
    )]
    fn answer_other(&mut self) -> Answered {
        let [a, b, c, d, e, _] = self.args;
        let (follow, stay) = (Last::Follow, Last::Stay);
        match self.number {
            libc::SYS_setxattr => self.set_xattr(follow, a, b, (c, d), e),
            libc::SYS_lsetxattr => self.set_xattr(stay, a, b, (c, d), e),
            libc::SYS_fsetxattr => self.set_xattr_of(fd(a), b, (c, d), e),
            libc::SYS_getxattr => self.xattr(follow, a, b, (c, d)),
            libc::SYS_lgetxattr => self.xattr(stay, a, b, (c, d)),
            libc::SYS_fgetxattr => self.xattr_of(fd(a), b, (c, d)),
            libc::SYS_listxattr => self.xattrs(follow, a, (b, c)),
            libc::SYS_llistxattr => self.xattrs(stay, a, (b, c)),
            libc::SYS_flistxattr => self.xattrs_of(fd(a), (b, c)),
            libc::SYS_removexattr => self.remove_xattr(follow, a, b),
            libc::SYS_lremovexattr => self.remove_xattr(stay, a, b),
            libc::SYS_fremovexattr => self.remove_xattr_of(fd(a), b),
            libc::SYS_socket => self.unix_socket(half(b), half(c)),
            libc::SYS_connect | libc::SYS_bind => self.name_socket(a, b, c),
            _ => self.answer_identity(self.number),
        }
    }

    fn ids(&self) -> Result<&Ids, Errno> {
        let thread = self.state.threads.get(&self.asker.tid);
        Ok(&thread.ok_or(Errno::SRCH)?.ids)
    }

    fn process(&mut self) -> Result<&mut Process, Errno> {
        let process = self.state.processes.get_mut(&self.asker.pid);
        process.ok_or(Errno::SRCH)
    }

    /// Returns the path from the root on of what a directory and a path in memory name.
    fn path(&self, dirfd: i32, path: u64) -> Result<Vec<u8>, Errno> {
        let path = self.memory.path(path)?;
        self.state.absolute(self.world, self.asker, dirfd, &path)
    }

    fn find(&self, path: &[u8], last: Last) -> Result<Handle, Errno> {
        find(self.world, self.state, self.asker, path, last)
    }

    /// Returns what a directory and a path name, or by `AT_EMPTY_PATH` the descriptor itself.
    fn named(&self, dirfd: i32, path: u64, flags: u64) -> Result<Handle, Errno> {
        let is_descriptor =
            flags & EMPTY_PATH != 0 && (path == 0 || self.memory.path(path)?.is_empty());
        if is_descriptor {
            return self.descriptor(dirfd);
        }
        let path = self.path(dirfd, path)?;
        self.find(&path, crate::traced::resolve::last_of(flags))
    }

    fn descriptor(&self, number: i32) -> Result<Handle, Errno> {
        if number == libc::AT_FDCWD {
            return self.find_cwd();
        }
        of_descriptor(self.asker.pid, number)
    }

    fn find_cwd(&self) -> Result<Handle, Errno> {
        let process = self.state.processes.get(&self.asker.pid);
        let cwd = Arc::clone(&process.ok_or(Errno::SRCH)?.cwd);
        let fd = rustix::io::fcntl_dupfd_cloexec(&*cwd, 0)?;
        let stat = rustix::fs::fstat(&fd)?;
        Ok(Handle {
            fd,
            area: Area::Descriptor,
            stat,
            link: None,
        })
    }

    /// Returns the directory that a path ends in, and its last name, with the slashes behind it.
    fn parent(&self, path: &[u8]) -> Result<(Handle, Vec<u8>), Errno> {
        let end = path.iter().rposition(|&byte| byte != b'/');
        let end = end.ok_or(Errno::BUSY)?;
        let whole = path.get(..=end).unwrap_or_default();
        let start = whole
            .iter()
            .rposition(|&byte| byte == b'/')
            .map_or(0, |at| at + 1);
        let (directory, name) = (path.get(..start), path.get(start..));
        let directory = self.find(
            directory.filter(|one| !one.is_empty()).unwrap_or(b"/"),
            Last::Follow,
        )?;
        match directory.area {
            Area::Tree => {}
            Area::Proc | Area::Sys | Area::Terminals => return Err(Errno::PERM),
            Area::Device | Area::Descriptor => return Err(Errno::NOTDIR),
        }
        Ok((directory, name.unwrap_or_default().to_vec()))
    }

    /// Refuses to change what a directory holds to whom its mode refuses it.
    fn may_change(&self, directory: &Stat) -> Result<(), Errno> {
        if is_permitted(&self.state.records, self.ids()?, directory, WRITE | 1) {
            Ok(())
        } else {
            Err(Errno::ACCESS)
        }
    }

    /// Records who has made a file in a directory, and its mode.
    fn made(&mut self, file: &Stat, directory: &Stat, mode: u32) -> Result<FileRecord, Errno> {
        const SET_GID: u32 = 0o2000;
        self.state.records.begin(id_of(file));
        let above = record_of(&self.state.records, directory);
        let ids = self.ids()?;
        let is_inherited = above.mode & SET_GID != 0;
        let is_directory = kind(file) == FileType::Directory;
        let record = FileRecord {
            uid: ids.fs_uid,
            gid: if is_inherited { above.gid } else { ids.fs_gid },
            mode: if is_inherited && is_directory {
                mode | SET_GID
            } else {
                mode
            },
            ..FileRecord::default()
        };
        self.record(file, record.clone());
        Ok(record)
    }

    /// Records something of a file, unless that is what is so without a record.
    fn record(&mut self, file: &Stat, mut record: FileRecord) {
        let by_others = self.ids().is_ok_and(|ids| !ids.overrides());
        let is_held = kind(file) == FileType::RegularFile && record.is_privileged();
        record.content = is_held.then(|| content(file, by_others));
        let plain = FileRecord {
            mode: file.st_mode & crate::traced::stat::PERMISSIONS,
            ..FileRecord::default()
        };
        if record == plain {
            self.state.records.remove(id_of(file));
        } else {
            self.state.records.insert(id_of(file), record);
        }
    }
}

const CREAT: u64 = (libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC) as u64;
const NOFOLLOW: u64 = libc::AT_SYMLINK_NOFOLLOW as u64;
const EMPTY_PATH: u64 = libc::AT_EMPTY_PATH as u64;
const REMOVEDIR: u64 = libc::AT_REMOVEDIR as u64;

/// Returns a length.
fn length(length: usize) -> Answered {
    i64::try_from(length)
        .map(Answer::Value)
        .map_err(|_| Errno::RANGE)
}
