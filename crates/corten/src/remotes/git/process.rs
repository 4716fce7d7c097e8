//! A process that ends with the build.

use std::io::{self, Read};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Output, Stdio};
use std::thread;

use corten_sandbox::Cancel;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

/// Runs `command` until its end or until `cancel` is requested, and ends whatever it started.
pub(super) fn output_until(command: &mut Command, cancel: &Cancel) -> io::Result<Output> {
    // Its helpers do the waiting, so that they have to be killed as well.
    command.process_group(0);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let (mut stdout, mut stderr) = (child.stdout.take(), child.stderr.take());
    let group = Pid::from_child(&child);
    thread::scope(|scope| {
        let stdout = scope.spawn(move || read_all(stdout.as_mut()));
        let stderr = scope.spawn(move || read_all(stderr.as_mut()));
        let waited = wait_for_either(group, cancel);
        // As long as nobody has asked how it ended, no other process has its number.
        kill_process_group(group, Signal::KILL).ok();
        let status = child.wait()?;
        waited?;
        let joined = |read: thread::ScopedJoinHandle<'_, io::Result<Vec<u8>>>| {
            let read = read.join();
            read.unwrap_or_else(|_| Err(io::Error::other("a thread that reads panicked")))
        };
        Ok(Output {
            status,
            stdout: joined(stdout)?,
            stderr: joined(stderr)?,
        })
    })
}

/// Waits until the process ended or the end is requested.
fn wait_for_either(process: Pid, cancel: &Cancel) -> io::Result<()> {
    let process = pidfd_open(process, PidfdFlags::empty())?;
    let mut polled = [
        PollFd::new(&process, PollFlags::IN),
        PollFd::new(cancel, PollFlags::IN),
    ];
    rustix::io::retry_on_intr(|| poll(&mut polled, None))?;
    Ok(())
}

fn read_all(from: Option<&mut impl Read>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(from) = from {
        from.read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}
