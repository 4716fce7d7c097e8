//! A process in a directory by chroot(2) alone, for where nothing can be mounted and no namespace made.
//!
//! The stage stays outside as the reaper: what the process leaves behind becomes its child
//! (`PR_SET_CHILD_SUBREAPER`), and is killed before it ends itself. It outlives a caller that is killed
//! for just as long.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::process::{
    DumpableBehavior, Pid, Signal, fchdir, getpid, kill_process, set_child_subreaper,
    set_dumpable_behavior, set_parent_process_death_signal,
};
use rustix::thread::{CapabilitySet, set_no_new_privs};

use crate::channel::{self, Report, Window};
use crate::error::{Doing, Failure};
use crate::init::NOT_QUEUED;
use crate::process::{self, Confinement};
use crate::seccomp::Sockets;
use crate::spec::{Network, Sandbox};
use crate::stage::Never;
use crate::sys::{self, SignalQueue};
use crate::{caps, descendants, devices, poll};

/// Becomes the reaper, and in a child the process.
pub(crate) fn run(
    sandbox: &Sandbox,
    directory: &Path,
    terminal: Option<Window>,
    socket: BorrowedFd<'_>,
) -> Result<Never, Failure> {
    let what = Path::new("the reaper");
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = open(directory, flags, Mode::empty()).doing("opening the root", directory)?;
    set_child_subreaper(Some(getpid())).doing("starting", what)?;
    // A caller that is killed closes the socket, which tells the reaper to end everything first.
    set_parent_process_death_signal(None).doing("starting", what)?;
    let queued: Vec<i32> = (1..32)
        .filter(|signal| !NOT_QUEUED.contains(signal))
        .collect();
    let queue = SignalQueue::new(&queued)
        .map_err(|_| Errno::INVAL)
        .doing("starting", what)?;
    let child = sys::fork().doing("starting", what)?;
    if child != 0 {
        drop(root);
        sys::exit_now(attend(child, &queue, socket).unwrap_or(255));
    }
    drop(queue);
    sys::reset_signals();
    set_parent_process_death_signal(Some(Signal::KILL)).doing("starting", what)?;
    let console = Path::new("/dev/ptmx");
    let pty = terminal.map(devices::borrow_pty).transpose();
    let pty = pty.doing("opening", console)?;
    if let Some(pty) = &pty {
        channel::send(socket, &Report::Terminal, Some(pty.master.as_fd()))
            .doing("handing over", console)?;
    }
    become_process(sandbox, directory, &root, pty.map(|pty| pty.slave), socket)
}

fn become_process(
    sandbox: &Sandbox,
    directory: &Path,
    root: &OwnedFd,
    terminal: Option<OwnedFd>,
    socket: BorrowedFd<'_>,
) -> Result<Never, Failure> {
    fchdir(root).doing("entering", directory)?;
    rustix::process::chroot(".").doing("changing the root to", directory)?;
    let on = terminal.as_ref().map(AsFd::as_fd);
    let confinement = confine(sandbox, root.as_fd(), on)?;
    process::execute(&sandbox.process, &confinement, terminal, Vec::new(), socket)
}

/// Decides how far the process is confined, and fences it in.
///
/// The kernel takes a filter or a fence from who has `CAP_SYS_ADMIN` or gives up gaining privileges.
/// Root gains none from `su` or `sudo` and gives it up; for another user they must work, so that its
/// process has neither, unless a filter is what keeps it from the network.
///
/// The fence knows nothing of modes, owners, attributes and times, and a device node is the machine's
/// where no mount says `nodev`. So whoever is confined gets neither `CAP_SYS_CHROOT`, which leaves a
/// root directory, nor `CAP_MKNOD`.
fn confine(
    sandbox: &Sandbox,
    root: BorrowedFd<'_>,
    terminal: Option<BorrowedFd<'_>>,
) -> Result<Confinement, Failure> {
    let what = Path::new("the process");
    let process = &sandbox.process;
    let held = rustix::thread::capabilities(None).doing("reading the capabilities of", what)?;
    let is_privileged = held.effective.contains(CapabilitySet::SYS_ADMIN);
    let is_cut_off = sandbox.network == Network::None;
    let no_new_privileges =
        process.no_new_privileges || (!is_privileged && (process.user.uid == 0 || is_cut_off));
    let is_filtered = is_privileged || no_new_privileges;
    let mut shortcomings = Vec::new();
    if is_filtered {
        if no_new_privileges {
            set_no_new_privs(true).doing("taking privileges from", what)?;
        }
        shortcomings.extend(process::fence(root, terminal)?);
    } else {
        shortcomings.push(
            "there is no Landlock fence and no system call filter of our own: `su` and `sudo` would not \
             work"
                .to_owned(),
        );
    }
    let mut capabilities = caps::parse(&process.capabilities)
        .map_err(|_| Errno::INVAL)
        .doing("reading the capabilities of", what)?;
    if !process.unconfined {
        capabilities -= CapabilitySet::SYS_CHROOT | CapabilitySet::MKNOD;
    }
    Ok(Confinement {
        capabilities,
        no_new_privileges,
        sockets: is_filtered.then_some(if is_cut_off {
            Sockets::Local
        } else {
            Sockets::Default
        }),
        shortcomings,
    })
}

/// Waits for the child's end or the caller's, and ends what is left then. Returns the child's exit
/// code, as a shell would show it.
fn attend(child: i32, queue: &SignalQueue, socket: BorrowedFd<'_>) -> Result<i32, Errno> {
    let child = Pid::from_raw(child).ok_or(Errno::SRCH)?;
    sys::close_all_but([queue.as_fd(), socket]);
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    let code = until_end(child, queue, socket);
    descendants::end_all();
    code
}

fn until_end(child: Pid, queue: &SignalQueue, socket: BorrowedFd<'_>) -> Result<i32, Errno> {
    loop {
        let ready = poll::readable(&[queue.as_fd(), socket])?;
        if ready.get(1) == Some(&true) {
            return Ok(128 + libc::SIGKILL);
        }
        while let Some(signal) = queue.take() {
            if signal.number == libc::SIGCHLD {
                if let Some(code) = crate::init::collect(child)? {
                    return Ok(code);
                }
            } else if let Some(signal) = Signal::from_named_raw(signal.number) {
                // It may have ended just now; SIGCHLD tells.
                let _ = kill_process(child, signal);
            }
        }
    }
}
