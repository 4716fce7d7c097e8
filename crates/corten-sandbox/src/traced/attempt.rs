//! Whether a process can be supervised here: all that it takes is tried once.

use std::ffi::CString;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, waitpid};
use rustix::thread::set_no_new_privs;

use crate::channel::{self, Report};
use crate::landlock::{self, Fence};
use crate::sys;
use crate::sys::notify::{self, Reply, Request};
use crate::sys::ptrace::{self, Resume};
use crate::traced::memory::Memory;
use crate::traced::{arch, filter, scratch};

/// What the child asks for: no kernel has it there.
const ASKED: &str = "/a directory that only a supervisor has";

/// Supervises a child that asks for something and ends.
pub(crate) fn attempt(scratch: &Path) -> Result<(), Errno> {
    set_no_new_privs(true)?;
    // The kernel gives no other process what was opened with `O_PATH`.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = open(scratch, flags, Mode::empty())?;
    let (own, theirs) = channel::pair()?;
    let child = sys::fork()?;
    if child == 0 {
        drop(own);
        let asked = ask(&directory, &theirs);
        sys::exit_now(asked.err().map_or(0, Errno::raw_os_error));
    }
    drop(theirs);
    let supervised = supervise(child, &own, &directory);
    if supervised.is_err() {
        ptrace::kill(child, libc::SIGKILL).ok();
    }
    // A traced child that ends stops for nothing.
    let pid = Pid::from_raw(child);
    let status = rustix::io::retry_on_intr(|| waitpid(pid, WaitOptions::empty()))?;
    supervised?;
    match status.and_then(|(_, status)| status.exit_status()) {
        Some(0) => Ok(()),
        Some(number) => Err(Errno::from_raw_os_error(number)),
        None => Err(Errno::PERM),
    }
}

fn ask(directory: &OwnedFd, supervisor: &OwnedFd) -> Result<(), Errno> {
    if rustix::io::read(supervisor, &mut [0])? == 0 {
        return Err(Errno::PIPE);
    }
    if let Fence::Missing(errno) = landlock::fence(directory.as_fd(), None)? {
        return Err(errno);
    }
    let listener = notify::install_listener(&filter::answered(true))?;
    channel::send(
        supervisor.as_fd(),
        &Report::Terminal,
        Some(listener.as_fd()),
    )?;
    sys::install_filter(&filter::changed())?;
    rustix::process::chdir(ASKED)?;
    if rustix::process::getcwd(Vec::new())?.as_bytes() != ASKED.as_bytes() {
        return Err(Errno::FAULT);
    }
    drop(open(ASKED, OFlags::RDONLY, Mode::empty())?);
    let path = CString::new(ASKED).map_err(|_| Errno::INVAL)?;
    match sys::execve(&path, &[], &[]) {
        CHANGED => Ok(()),
        errno => Err(errno),
    }
}

/// What the child is told that came of an execution; no execution ends so.
const CHANGED: Errno = Errno::XFULL;

fn supervise(child: i32, own: &OwnedFd, directory: &OwnedFd) -> Result<(), Errno> {
    ptrace::seize(child)?;
    rustix::io::write(own, &[1])?;
    let Some((_, Some(listener))) = channel::receive(own.as_fd())? else {
        return Err(Errno::PERM);
    };
    let listener = listener.as_fd();
    let request = next(listener)?;
    let path = Memory(request.tid).path(request.args[0])?;
    let reply = if path == ASKED.as_bytes() {
        Reply::Returns(0)
    } else {
        Reply::Fails(Errno::INVAL)
    };
    notify::answer(listener, &request, reply)?;
    let request = next(listener)?;
    let told = [ASKED.as_bytes(), b"\0"].concat();
    Memory(request.tid).write(request.args[0], &told)?;
    let length = i64::try_from(told.len()).map_err(|_| Errno::RANGE)?;
    notify::answer(listener, &request, Reply::Returns(length))?;
    let request = next(listener)?;
    notify::answer_with(listener, &request, directory.as_fd(), true)?;
    change_execution()
}

/// Waits for the child's next call.
fn next(listener: BorrowedFd<'_>) -> Result<Request, Errno> {
    loop {
        let mut polled = [PollFd::new(&listener, PollFlags::IN)];
        rustix::io::retry_on_intr(|| poll(&mut polled, None))?;
        let is_there = polled
            .iter()
            .all(|one| one.revents().contains(PollFlags::IN));
        if !is_there {
            // The child has ended.
            return Err(Errno::PERM);
        }
        if let Some(request) = notify::receive(listener)? {
            return Ok(request);
        }
    }
}

/// Has the child map memory when it wants to execute something, and writes there.
fn change_execution() -> Result<(), Errno> {
    const LENGTH: usize = 1;
    loop {
        let (tid, status) = ptrace::wait_any()?;
        if !libc::WIFSTOPPED(status) {
            return Err(Errno::PERM);
        }
        if status >> 16 == libc::PTRACE_EVENT_SECCOMP {
            let mut changed = ptrace::registers(tid)?;
            scratch::map(&mut changed, LENGTH);
            ptrace::set_registers(tid, &changed)?;
            ptrace::resume(tid, Resume::ToExit, 0)?;
        } else if libc::WSTOPSIG(status) == libc::SIGTRAP | 0x80 {
            let mut after = ptrace::registers(tid)?;
            let mapped = scratch::mapped(&after, LENGTH).map_err(|_| Errno::NOMEM)?;
            Memory(tid).write(mapped.at, &[0; LENGTH])?;
            arch::set_result(&mut after, i64::from(-CHANGED.raw_os_error()));
            ptrace::set_registers(tid, &after)?;
            return ptrace::resume(tid, Resume::Run, 0);
        } else {
            ptrace::resume(tid, Resume::Run, 0)?;
        }
    }
}
