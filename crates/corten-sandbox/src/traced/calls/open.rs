//! open(2) and its kin.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{CWD, FileType, Mode, OFlags, Stat, fcntl_getfl, fcntl_setfl, fstat, open};
use rustix::io::Errno;

use super::{Answer, Answered, Call, half};
use crate::traced::access::{READ, WRITE, is_permitted};
use crate::traced::resolve::{Handle, Last, Place, find, kind, walk};
use crate::traced::stat::{content, on_disk, settled};
use crate::traced::world::{Area, id_of, proc_path};

/// A pipe that is opened once the other end is.
#[derive(Debug)]
pub(crate) struct Waiting {
    handle: OwnedFd,
    flags: OFlags,
    is_closed_on_exec: bool,
}

impl Waiting {
    /// Waits.
    pub(crate) fn open(&self) -> Result<(OwnedFd, bool), Errno> {
        let file = open(proc_path(self.handle.as_fd()), self.flags, Mode::empty())?;
        Ok((file, self.is_closed_on_exec))
    }

    /// Has who waits wait no longer: the thread that it would be given to is gone. Others that wait for the
    /// same pipe find it open and closed again.
    pub(crate) fn wake(&self) {
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
        // What cannot be opened nobody waits for.
        open(proc_path(self.handle.as_fd()), flags, Mode::empty()).ok();
    }
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
struct Asked {
    flags: OFlags,
    mode: u32,
}

impl Asked {
    /// What is opened by our own hand neither waits nor becomes a terminal of ours.
    fn own(self) -> OFlags {
        let without = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        (self.flags - without) | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC
    }

    fn wanted(self) -> u32 {
        let truncates = if self.flags.contains(OFlags::TRUNC) {
            WRITE
        } else {
            0
        };
        truncates
            | match self.flags & OFlags::RWMODE {
                OFlags::RDONLY => READ,
                OFlags::WRONLY => WRITE,
                _ => READ | WRITE,
            }
    }
}

impl Call<'_> {
    pub(super) fn open(&mut self, dirfd: i32, path: u64, flags: u64, mode: u64) -> Answered {
        let asked = Asked {
            flags: OFlags::from_bits_retain(half(flags)),
            mode: half(mode) & 0o7777,
        };
        let path = self.path(dirfd, path)?;
        self.open_path(&path, asked)
    }

    /// openat2(2). What it asks of the way to the file is not kept: that there is no link in it, or that
    /// it stays beneath the directory.
    pub(super) fn open_how(&mut self, dirfd: i32, path: u64, how: u64, size: u64) -> Answered {
        const RESOLVE: u64 = 0x3f;
        if !(24..=4096).contains(&size) {
            return Err(Errno::INVAL);
        }
        let flags = self.memory.word(how)?;
        let mode = self.memory.word(how.wrapping_add(8))?;
        let resolve = self.memory.word(how.wrapping_add(16))?;
        if resolve & RESOLVE != 0 {
            // Who asks for it knows what to do on a kernel that has it not.
            return Err(Errno::NOSYS);
        }
        self.open(dirfd, path, flags, mode)
    }

    fn open_path(&mut self, path: &[u8], asked: Asked) -> Answered {
        let flags = asked.flags;
        let last =
            if flags.contains(OFlags::NOFOLLOW) || flags.contains(OFlags::CREATE | OFlags::EXCL) {
                Last::Stay
            } else {
                Last::Follow
            };
        if flags.contains(OFlags::TMPFILE) {
            return self.open_unnamed(path, asked);
        }
        match self.find(path, last) {
            Ok(_) if flags.contains(OFlags::CREATE | OFlags::EXCL) => Err(Errno::EXIST),
            Ok(handle) => self.open_found(handle, asked),
            Err(Errno::NOENT) if flags.contains(OFlags::CREATE) => self.create(path, asked, last),
            Err(errno) => Err(errno),
        }
    }

    fn open_found(&mut self, handle: Handle, asked: Asked) -> Answered {
        let flags = asked.flags;
        let is_closed_on_exec = flags.contains(OFlags::CLOEXEC);
        let found = kind(&handle.stat);
        if flags.contains(OFlags::DIRECTORY) && found != FileType::Directory {
            return Err(Errno::NOTDIR);
        }
        if flags.contains(OFlags::PATH) {
            return self.open_place(&handle, asked);
        }
        if found == FileType::Symlink {
            return Err(Errno::LOOP);
        }
        if found == FileType::Directory && flags.contains(OFlags::CREATE) {
            return Err(Errno::ISDIR);
        }
        let is_recorded = self.state.records.get(id_of(&handle.stat));
        if is_recorded.is_some_and(|record| record.device.is_some()) {
            // As on a file system without devices, which a step has.
            return Err(Errno::ACCESS);
        }
        let is_of_tree = handle.area == Area::Tree;
        if is_of_tree
            && !is_permitted(
                &self.state.records,
                self.ids()?,
                &handle.stat,
                asked.wanted(),
            )
        {
            return Err(Errno::ACCESS);
        }
        if asked.wanted() & WRITE != 0 {
            self.note_writer(&handle.stat, flags.contains(OFlags::TRUNC))?;
        }
        if found == FileType::Fifo && !flags.contains(OFlags::NONBLOCK) {
            return Ok(Answer::Waits(Arc::new(Waiting {
                flags: (asked.own() - OFlags::NONBLOCK),
                handle: handle.fd,
                is_closed_on_exec,
            })));
        }
        let file = open(proc_path(handle.fd.as_fd()), asked.own(), Mode::empty())?;
        if handle.area == Area::Terminals || handle.area == Area::Device {
            self.may_have_terminal(&file)?;
            self.note_terminal(&file);
        }
        Self::opened(file, asked)
    }

    /// `O_PATH`: the kernel gives no other process such a descriptor. One for reading can do all that it
    /// could, where there is one.
    fn open_place(&self, handle: &Handle, asked: Asked) -> Answered {
        let is_readable = is_permitted(&self.state.records, self.ids()?, &handle.stat, READ);
        match kind(&handle.stat) {
            FileType::RegularFile if handle.area == Area::Tree && !is_readable => {
                return Err(Errno::ACCESS);
            }
            FileType::RegularFile | FileType::Directory | FileType::Fifo => {}
            // A C library that wants to change the mode of a link takes this for what the kernel says of that.
            _ => return Err(Errno::OPNOTSUPP),
        }
        let flags = asked.flags & (OFlags::CLOEXEC | OFlags::DIRECTORY);
        let asked = Asked { flags, mode: 0 };
        let file = open(proc_path(handle.fd.as_fd()), asked.own(), Mode::empty())?;
        Self::opened(file, asked)
    }

    /// What has set-id bits or capabilities may lose them: it is found by what the file holds later.
    fn note_writer(&mut self, stat: &Stat, truncates: bool) -> Result<(), Errno> {
        let Some(mut record) = settled(&self.state.records, stat) else {
            return Ok(());
        };
        if kind(stat) != FileType::RegularFile || !record.is_privileged() {
            return Ok(());
        }
        let by_others = !self.ids()?.overrides();
        if truncates {
            record.strip(by_others);
        } else {
            let before = record.content.is_some_and(|content| content.by_others);
            record.content = Some(content(stat, before || by_others));
            wait_beyond(stat);
        }
        self.state.records.insert(id_of(stat), record);
        Ok(())
    }

    /// The number of a terminal that was made here is another's once it is closed. Now that it is open, the
    /// kernel gives its number to nobody else, so that whoever has the other side is known.
    fn may_have_terminal(&mut self, file: &OwnedFd) -> Result<(), Errno> {
        /// `UNIX98_PTY_SLAVE_MAJOR`, and the seven that follow.
        const TERMINALS: std::ops::Range<u32> = 136..144;
        let device = fstat(file)?.st_rdev;
        let major = rustix::fs::major(device);
        if !TERMINALS.contains(&major) {
            return Ok(());
        }
        let number = (major - TERMINALS.start) * 256 + rustix::fs::minor(device);
        let mut processes = self.state.processes.keys();
        if processes.any(|&pid| has_other_side(pid, number)) {
            return Ok(());
        }
        self.state.terminals.remove(&number);
        Err(Errno::NOENT)
    }

    /// A terminal that is made here may be opened here.
    fn note_terminal(&mut self, file: &OwnedFd) {
        if let Ok(name) = rustix::pty::ptsname(file, Vec::new())
            && let Some(number) = name.to_bytes().strip_prefix(b"/dev/pts/")
            && let Ok(number) = String::from_utf8_lossy(number).parse()
        {
            self.state.terminals.insert(number);
        }
    }

    fn opened(file: OwnedFd, asked: Asked) -> Answered {
        if !asked.flags.contains(OFlags::NONBLOCK) {
            fcntl_setfl(&file, fcntl_getfl(&file)? - OFlags::NONBLOCK)?;
        }
        Ok(Answer::File {
            file,
            is_closed_on_exec: asked.flags.contains(OFlags::CLOEXEC),
        })
    }

    /// Makes a file that is not there: where a link leads, if one does.
    fn create(&mut self, path: &[u8], asked: Asked, last: Last) -> Answered {
        if path.ends_with(b"/") {
            return Err(Errno::ISDIR);
        }
        let place = walk(self.world, self.state, self.asker, path, last)?;
        let Place::In(Area::Tree, place) = place else {
            return Err(Errno::ACCESS);
        };
        let (directory, name) = self.parent(&[b"/".as_slice(), &place].concat())?;
        self.may_change(&directory.stat)?;
        let umask = self.process()?.umask;
        let mode = asked.mode & !umask;
        let flags = asked.own() | OFlags::CREATE | OFlags::EXCL;
        let disk = Mode::from_raw_mode(on_disk(mode, FileType::RegularFile));
        let file = rustix::fs::openat(&directory.fd, name.as_slice(), flags, disk)?;
        let stat = fstat(&file)?;
        self.made(&stat, &directory.stat, mode)?;
        Self::opened(file, asked)
    }

    fn open_unnamed(&mut self, path: &[u8], asked: Asked) -> Answered {
        let directory = self.find(path, Last::Follow)?;
        if directory.area != Area::Tree {
            return Err(Errno::OPNOTSUPP);
        }
        self.may_change(&directory.stat)?;
        let mode = asked.mode & !self.process()?.umask;
        let disk = Mode::from_raw_mode(on_disk(mode, FileType::RegularFile));
        let flags = asked.own() | (asked.flags & OFlags::EXCL);
        let file = open(proc_path(directory.fd.as_fd()), flags, disk)?;
        let stat = fstat(&file)?;
        self.made(&stat, &directory.stat, mode)?;
        Self::opened(file, asked)
    }

    pub(super) fn chdir(&mut self, path: u64) -> Answered {
        let path = self.path(libc::AT_FDCWD, path)?;
        let handle = find(self.world, self.state, self.asker, &path, Last::Follow)?;
        self.change_to(handle)
    }

    pub(super) fn fchdir(&mut self, fd: i32) -> Answered {
        let handle = self.descriptor(fd)?;
        self.change_to(handle)
    }

    fn change_to(&mut self, handle: Handle) -> Answered {
        if kind(&handle.stat) != FileType::Directory {
            return Err(Errno::NOTDIR);
        }
        if self.is_of_tree(&handle.stat)
            && !is_permitted(&self.state.records, self.ids()?, &handle.stat, 1)
        {
            return Err(Errno::ACCESS);
        }
        // What is nowhere has no name to be found by.
        self.world.told_of(handle.fd.as_fd())?;
        self.process()?.cwd = Arc::new(handle.fd);
        super::NOTHING
    }

    pub(super) fn is_of_tree(&self, stat: &Stat) -> bool {
        stat.st_dev == self.world.device
    }

    pub(super) fn truncate(&mut self, path: u64, length: u64) -> Answered {
        let path = self.path(libc::AT_FDCWD, path)?;
        let handle = self.find(&path, Last::Follow)?;
        match kind(&handle.stat) {
            FileType::RegularFile => {}
            FileType::Directory => return Err(Errno::ISDIR),
            _ => return Err(Errno::INVAL),
        }
        if !is_permitted(&self.state.records, self.ids()?, &handle.stat, WRITE) {
            return Err(Errno::ACCESS);
        }
        self.note_writer(&handle.stat, true)?;
        let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = rustix::fs::openat(CWD, proc_path(handle.fd.as_fd()), flags, Mode::empty())?;
        rustix::fs::ftruncate(&file, length)?;
        super::NOTHING
    }
}

/// Waits until a write gives the file another time than it has: before Linux 6.13 the clock of a file system
/// has some milliseconds.
fn wait_beyond(stat: &Stat) {
    const PAUSE: std::time::Duration = std::time::Duration::from_millis(1);
    const MOST: usize = 20;
    for _ in 0..MOST {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
        let modified = (stat.st_mtime, stat.st_mtime_nsec.cast_signed());
        if (now.tv_sec, now.tv_nsec) > modified {
            return;
        }
        std::thread::sleep(PAUSE);
    }
}

/// Tells whether a process holds the side of a terminal from which it was made.
fn has_other_side(pid: i32, number: u32) -> bool {
    let Ok(entries) = std::fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    entries.flatten().any(|entry| {
        let link = std::fs::read_link(entry.path());
        let name = entry.file_name();
        link.is_ok_and(|link| link.ends_with("ptmx"))
            && std::fs::read_to_string(format!("/proc/{pid}/fdinfo/{}", name.display())).is_ok_and(
                |info| {
                    let index = info
                        .lines()
                        .find_map(|line| line.strip_prefix("tty-index:"));
                    index.and_then(|index| index.trim().parse().ok()) == Some(number)
                },
            )
    })
}
