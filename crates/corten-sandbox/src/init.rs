//! Process 1 of a sandbox that asks for one: hands signals on and collects orphans.

use std::os::fd::AsFd;

use rustix::io::Errno;
use rustix::process::{
    DumpableBehavior, Pid, PidfdFlags, Signal, WaitOptions, WaitStatus, pidfd_open,
    set_dumpable_behavior, set_parent_process_death_signal, wait,
};
use rustix::thread::CapabilitySet;

use crate::sys::{self, SignalQueue};
use crate::{caps, poll};

/// Not queued, because they tell of a fault of this process or cannot be.
pub(crate) const NOT_QUEUED: [i32; 9] = [
    libc::SIGKILL,
    libc::SIGSTOP,
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGILL,
    libc::SIGABRT,
    libc::SIGTRAP,
    libc::SIGSYS,
];

/// Forks. Returns in the child, which is to become the process; the parent stays as process 1.
pub(crate) fn become_reaper() -> Result<(), Errno> {
    let signals: Vec<i32> = (1..32)
        .filter(|signal| !NOT_QUEUED.contains(signal))
        .collect();
    let queue = SignalQueue::new(&signals).map_err(|_| Errno::INVAL)?;
    let child = sys::fork()?;
    if child == 0 {
        drop(queue);
        sys::reset_signals();
        set_parent_process_death_signal(Some(Signal::KILL))?;
        return Ok(());
    }
    let outcome = reap(child, &queue);
    sys::exit_now(outcome.unwrap_or(255))
}

/// Returns the child's exit code, as a shell would show it.
fn reap(child: i32, queue: &SignalQueue) -> Result<i32, Errno> {
    let child = Pid::from_raw(child).ok_or(Errno::SRCH)?;
    let pidfd = pidfd_open(child, PidfdFlags::empty())?;
    // The parent waits for the end of the socket.
    sys::close_all_but([queue.as_fd(), pidfd.as_fd()]);
    // What the sandbox can see of this process is only that it is there.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    caps::drop_bounding(CapabilitySet::empty())?;
    caps::keep_only(CapabilitySet::KILL)?;
    loop {
        poll::readable(&[queue.as_fd()])?;
        while let Some(signal) = queue.take() {
            if signal.number != libc::SIGCHLD {
                // It may have ended just now; SIGCHLD tells.
                let _ = sys::pidfd_send_signal(pidfd.as_fd(), signal.number);
                continue;
            }
            if let Some(code) = collect(child)? {
                return Ok(code);
            }
        }
    }
}

/// Reaps what has ended; returns the code of `child` if that has.
pub(crate) fn collect(child: Pid) -> Result<Option<i32>, Errno> {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid == child => return Ok(Some(code(status))),
            Ok(Some(_)) => {}
            Ok(None) | Err(Errno::CHILD) => return Ok(None),
            Err(errno) => return Err(errno),
        }
    }
}

/// Returns what a shell would show.
pub(crate) fn code(status: WaitStatus) -> i32 {
    let signaled = status.terminating_signal().map(|signal| 128 + signal);
    status.exit_status().or(signaled).unwrap_or(255)
}
