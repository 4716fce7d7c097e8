//! What the traced processes find, and where it is.

use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, ResolveFlags, Stat, fstat, open, openat2, readlinkat, statat,
};
use rustix::io::{Errno, retry_on_intr};

use crate::records::FileId;

/// Part of what is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Area {
    /// The files of the root.
    Tree,
    /// `/proc` of the machine, without processes that are not traced.
    Proc,
    /// `/sys` of the machine.
    Sys,
    /// `/dev/pts` of the machine, without terminals that were not made here.
    Terminals,
    /// A device of the machine.
    Device,
    /// What a descriptor of the process itself is of.
    Descriptor,
}

/// What stands in the tree for something else.
#[derive(Debug)]
struct Stand {
    area: Area,
    handle: OwnedFd,
}

/// What does not change while commands run.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) root: OwnedFd,
    /// The path of the root outside.
    prefix: Vec<u8>,
    stands: HashMap<FileId, Stand>,
    proc: OwnedFd,
    sys: Option<OwnedFd>,
    terminals: Option<OwnedFd>,
    new_terminal: Option<OwnedFd>,
    /// Whom all files belong to.
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// The device of the root's file system.
    pub(crate) device: u64,
}

/// The devices a process may use, which are files in `/dev` of the tree.
pub(crate) const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// In `/dev/pts`, what makes a terminal.
pub(crate) const NEW_TERMINAL: &[u8] = b"ptmx";

impl World {
    pub(crate) fn new(root: OwnedFd) -> Result<Self, Errno> {
        let prefix = link_of(root.as_fd())?;
        let mut stands = HashMap::new();
        let mut stand = |name: &str, area, place: &str| {
            let Ok(here) = statat(&root, name, AtFlags::SYMLINK_NOFOLLOW) else {
                return;
            };
            if let Ok(handle) = open(place, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
                stands.insert(id_of(&here), Stand { area, handle });
            }
        };
        stand("proc", Area::Proc, "/proc");
        stand("sys", Area::Sys, "/sys");
        stand("dev/pts", Area::Terminals, "/dev/pts");
        for name in DEVICES {
            stand(
                &format!("dev/{name}"),
                Area::Device,
                &format!("/dev/{name}"),
            );
        }
        let directory = |path: &str| {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            open(path, flags, Mode::empty())
        };
        let device = fstat(&root)?.st_dev;
        Ok(Self {
            root,
            prefix,
            stands,
            proc: directory("/proc")?,
            sys: directory("/sys").ok(),
            terminals: directory("/dev/pts").ok(),
            new_terminal: open("/dev/ptmx", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok(),
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            device,
        })
    }

    /// Returns the handles of what may be used besides the root.
    pub(crate) fn outside(&self) -> impl Iterator<Item = (Area, BorrowedFd<'_>)> {
        let stands = self.stands.values();
        let new_terminal = self.new_terminal.iter();
        stands
            .map(|stand| (stand.area, stand.handle.as_fd()))
            .chain(new_terminal.map(|handle| (Area::Device, handle.as_fd())))
    }

    /// Returns the path that a process has for what the kernel names `real`.
    pub(crate) fn told(&self, real: &[u8]) -> Option<Vec<u8>> {
        match real.strip_prefix(self.prefix.as_slice()) {
            Some(b"") => Some(b"/".to_vec()),
            Some(rest) if rest.starts_with(b"/") => Some(rest.to_vec()),
            _ if is_outside(real) => Some(real.to_vec()),
            _ => None,
        }
    }

    /// Tells whether a file is one of the root's, be it with or without a name there. What is on the same
    /// disk may be a file outside that a process was started with.
    pub(crate) fn has(&self, handle: BorrowedFd<'_>, stat: &Stat) -> bool {
        let is_beneath = |real: Vec<u8>| {
            let rest = real.strip_prefix(self.prefix.as_slice());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
        };
        stat.st_dev == self.device && link_of(handle).is_ok_and(is_beneath)
    }

    /// Returns the path outside of what a process calls `told`.
    pub(crate) fn real(&self, told: &[u8]) -> Vec<u8> {
        [self.prefix.as_slice(), told].concat()
    }

    /// Returns the path that a process has for an open directory.
    pub(crate) fn told_of(&self, handle: BorrowedFd<'_>) -> Result<Vec<u8>, Errno> {
        let real = link_of(handle)?;
        if real.ends_with(DELETED) && fstat(handle)?.st_nlink == 0 {
            return Err(Errno::NOENT);
        }
        self.told(&real).ok_or(Errno::NOTDIR)
    }

    /// Opens what is at a path of the tree; links are resolved in it.
    pub(crate) fn in_tree(&self, path: &[u8], flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        beneath(self.root.as_fd(), path, flags, mode, resolve)
    }

    /// Opens what is at a path beneath `/proc`, `/sys` or `/dev/pts`, which names no link.
    pub(crate) fn outside_at(
        &self,
        area: Area,
        path: &[u8],
        flags: OFlags,
    ) -> Result<OwnedFd, Errno> {
        if (area, path) == (Area::Terminals, NEW_TERMINAL) {
            let handle = self.new_terminal.as_ref().ok_or(Errno::NOENT)?;
            return rustix::io::fcntl_dupfd_cloexec(handle, 0);
        }
        let directory = match area {
            Area::Proc => Some(&self.proc),
            Area::Sys => self.sys.as_ref(),
            Area::Terminals => self.terminals.as_ref(),
            Area::Tree | Area::Device | Area::Descriptor => None,
        };
        let directory = directory.ok_or(Errno::NOENT)?.as_fd();
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        beneath(directory, path, flags, Mode::empty(), resolve)
    }

    /// Returns what stands for something else instead of what it stands for.
    pub(crate) fn instead(&self, found: OwnedFd, stat: &Stat) -> Result<(OwnedFd, Area), Errno> {
        match self.stands.get(&id_of(stat)) {
            None => Ok((found, Area::Tree)),
            Some(stand) => Ok((
                rustix::io::fcntl_dupfd_cloexec(&stand.handle, 0)?,
                stand.area,
            )),
        }
    }

    /// Returns whether a file of the tree stands for something else.
    pub(crate) fn is_stand(&self, stat: &Stat) -> bool {
        self.stands.contains_key(&id_of(stat))
    }
}

/// How the kernel marks the path of what has none any more.
const DELETED: &[u8] = b" (deleted)";

fn beneath(
    directory: BorrowedFd<'_>,
    path: &[u8],
    flags: OFlags,
    mode: Mode,
    resolve: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    let path = if path.is_empty() { b"." } else { path };
    // A rename at the same time has the kernel give up.
    for _ in 0..64 {
        match openat2(directory, path, flags | OFlags::CLOEXEC, mode, resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return other,
        }
    }
    Err(Errno::AGAIN)
}

fn is_outside(path: &[u8]) -> bool {
    [b"/proc".as_slice(), b"/sys", b"/dev/pts"]
        .iter()
        .any(|area| {
            path.strip_prefix(*area)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
        })
}

/// Returns the device and inode.
pub(crate) fn id_of(stat: &Stat) -> FileId {
    (stat.st_dev, stat.st_ino)
}

/// Returns a path by which this process reaches what `handle` is, be it a link or a pipe.
pub(crate) fn proc_path(handle: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", handle.as_raw_fd())
}

fn link_of(handle: BorrowedFd<'_>) -> Result<Vec<u8>, Errno> {
    Ok(readlinkat(CWD, proc_path(handle), Vec::new())?.into_bytes())
}

/// Returns what the kernel says that a descriptor of a process is of.
pub(crate) fn link_of_descriptor(pid: i32, fd: i32) -> Result<Vec<u8>, Errno> {
    let link = readlinkat(CWD, format!("/proc/{pid}/fd/{fd}"), Vec::new());
    Ok(link.map_err(bad_descriptor)?.into_bytes())
}

/// Returns a handle of what a descriptor of a process is of.
pub(crate) fn handle_of_descriptor(pid: i32, fd: i32) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let path = format!("/proc/{pid}/fd/{fd}");
    retry_on_intr(|| open(path.as_str(), flags, Mode::empty())).map_err(bad_descriptor)
}

/// How a process has opened something.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Descriptor {
    pub(crate) is_closed_on_exec: bool,
    pub(crate) is_non_blocking: bool,
}

impl Descriptor {
    pub(crate) fn of(pid: i32, fd: i32) -> Result<Self, Errno> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}"));
        let text = text.map_err(|_| Errno::BADF)?;
        let flags = text.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = flags.and_then(|flags| i32::from_str_radix(flags.trim(), 8).ok());
        let flags = flags.ok_or(Errno::BADF)?;
        Ok(Self {
            is_closed_on_exec: flags & libc::O_CLOEXEC != 0,
            is_non_blocking: flags & libc::O_NONBLOCK != 0,
        })
    }
}

fn bad_descriptor(errno: Errno) -> Errno {
    if errno == Errno::NOENT {
        Errno::BADF
    } else {
        errno
    }
}
