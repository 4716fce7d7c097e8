//! A process that ends with the build.

use std::io::{self, Read};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Output, Stdio};
use std::thread;

use corten_sandbox::Cancel;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

/// How many bytes a process may answer: a server with very many branches has a few million.
const LONGEST_ANSWER: u64 = 64 << 20;
/// How many bytes of messages it may write, much of which is what servers say.
const LONGEST_MESSAGES: u64 = 1 << 20;

/// Runs `command` until its end or until `cancel` is requested, and ends whatever it started.
///
/// # Errors
/// Also fails if the process writes more than anybody would read.
pub(super) fn output_until(command: &mut Command, cancel: &Cancel) -> io::Result<Output> {
    // Its helpers do the waiting, so that they have to be killed as well.
    command.process_group(0);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let (mut stdout, mut stderr) = (child.stdout.take(), child.stderr.take());
    let group = Pid::from_child(&child);
    thread::scope(|scope| {
        let stdout = scope.spawn(move || read_all(stdout.take(), LONGEST_ANSWER));
        let stderr = scope.spawn(move || read_all(stderr.take(), LONGEST_MESSAGES));
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

/// Reads at most `longest` bytes. If there are more, `from` is closed, by which its writer ends.
fn read_all(from: Option<impl Read>, longest: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let Some(from) = from else {
        return Ok(bytes);
    };
    let n_read = from.take(longest + 1).read_to_end(&mut bytes)?;
    if n_read as u64 > longest {
        let message = format!("it wrote more than {longest} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_writes_without_end_is_ended() {
        #[track_caller]
        fn check(script: &str, expected: Option<&[u8]>) {
            let cancel = Cancel::new().unwrap();
            let output = output_until(Command::new("sh").args(["-c", script]), &cancel);
            let written = output.ok().map(|output| output.stdout);
            assert_eq!(written.as_deref(), expected, "{script}");
        }
        check("echo a; echo b >&2", Some(b"a\n"));
        check("exec cat /dev/zero", None);
        check("exec cat /dev/zero >&2", None);
    }
}
