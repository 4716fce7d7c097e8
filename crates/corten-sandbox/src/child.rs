//! A child of this process that is the same executable again, as a stage of a sandbox.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use rustix::fs::{
    CWD, MemfdFlags, Mode, OFlags, SealFlags, fcntl_add_seals, fstat, memfd_create, open, stat,
};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::mount::MountAttrFlags;
use rustix::net::{Shutdown, shutdown};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{WaitId, WaitIdOptions, waitid};

use crate::channel::{self, Task};
use crate::error::{Error, Talking};
use crate::idmap::IdMap;
use crate::sys::{self, Spawn};
use crate::{descendants, mounts, poll};

/// By this name in `argv[0]` a stage is known.
pub(crate) const STAGE: &str = "corten-sandbox-stage";

/// Further arguments of a stage. They mean nothing to it, and to a test executable that does not call
/// `init_if_child` they mean: run no test. Without them it would run all, this one among them.
const STAGE_ARGUMENTS: [&str; 2] = ["--exact", "no-test-but-a-stage-of-a-sandbox"];

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// It returned this code.
    Exited(i32),
    /// This signal killed it.
    Signaled(i32),
}

impl ExitStatus {
    /// Returns what a shell would show: the code, or 128 and the signal's number.
    pub fn code(self) -> i32 {
        match self {
            Self::Exited(code) => code,
            Self::Signaled(signal) => 128 + signal,
        }
    }

    /// Returns whether the process returned 0.
    pub fn is_success(self) -> bool {
        self == Self::Exited(0)
    }
}

/// Which executable a child runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Executable {
    /// This process', as it is.
    Own,
    /// This process', so that nobody can write to it through `/proc/PID/exe` (CVE-2019-5736).
    Protected,
}

/// What ends a child together with all that it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Killing it: the rest is in its pid namespace.
    Kill,
    /// Closing its socket: it ends the rest itself.
    Close,
}

/// A running child. Dropping it ends it, and what it started with it.
#[derive(Debug)]
pub(crate) struct Child {
    pid: i32,
    pub(crate) pidfd: OwnedFd,
    pub(crate) socket: OwnedFd,
    pub(crate) ending: Ending,
    is_reaped: bool,
}

impl Child {
    /// Starts a stage that does `task` in new namespaces.
    pub(crate) fn start(
        task: &Task,
        stdio: [OwnedFd; 3],
        namespaces: u64,
        map: Option<&IdMap>,
        executable: Executable,
        cgroup: Option<BorrowedFd<'_>>,
    ) -> Result<Self, Error> {
        let (socket, theirs) = channel::pair().talking("making a socket")?;
        let task = channel::seal(task).talking("writing the sandbox's description")?;
        let [stdin, stdout, stderr] = stdio;
        let descriptors = [stdin, stdout, stderr, task, theirs]
            .into_iter()
            .map(|fd| raise(&fd));
        let descriptors = descriptors.collect::<Result<Vec<_>, _>>();
        let descriptors = descriptors.talking("duplicating a descriptor")?;
        let argv = [STAGE, STAGE_ARGUMENTS[0], STAGE_ARGUMENTS[1]]
            .map(|arg| CString::new(arg).unwrap_or_default());
        let executable = match executable {
            Executable::Own => &own().talking("opening the own executable")?,
            Executable::Protected => protected().talking("protecting the own executable")?,
        };
        let request = Spawn {
            namespaces,
            cgroup,
            executable: executable.as_fd(),
            argv: &argv,
            env: &[],
            descriptors: &descriptors,
            gate: None,
        };
        let (pid, pidfd) = descendants::spawn_own(|| spawn_mapped(&request, map))?;
        Ok(Self {
            pid,
            pidfd,
            socket,
            ending: Ending::Kill,
            is_reaped: false,
        })
    }

    /// Waits for the child's end.
    pub(crate) fn wait(mut self) -> Result<ExitStatus, Error> {
        self.is_reaped = true;
        let status = wait(self.pidfd.as_fd())?;
        descendants::forget(self.pid);
        // A reaper ends what is left; what it reaped may have killed it.
        if self.ending == Ending::Close && matches!(status, ExitStatus::Signaled(_)) {
            descendants::end_orphans();
        }
        Ok(status)
    }

    /// Has the child end everything and itself. What it started may have stopped it, so that it is
    /// killed if that takes long, and the rest ended here.
    fn close(&self) {
        let pidfd = self.pidfd.as_fd();
        // Nothing can be done about what fails: the child is gone already.
        shutdown(&self.socket, Shutdown::Both).ok();
        if poll::readable_within(pidfd, PATIENCE) != Ok(true) {
            sys::pidfd_send_signal(pidfd, libc::SIGCONT).ok();
            if poll::readable_within(pidfd, PATIENCE) != Ok(true) {
                sys::pidfd_send_signal(pidfd, libc::SIGKILL).ok();
            }
        }
        let status = wait(pidfd);
        descendants::forget(self.pid);
        if matches!(status, Ok(ExitStatus::Signaled(_))) {
            descendants::end_orphans();
        }
    }
}

/// How long a child may take to end everything before it is woken, and then before it is killed.
const PATIENCE: Duration = Duration::from_secs(2);

impl Drop for Child {
    fn drop(&mut self) {
        if !self.is_reaped {
            match self.ending {
                Ending::Kill => {
                    // Nothing can be done about either: the child is gone already.
                    sys::pidfd_send_signal(self.pidfd.as_fd(), libc::SIGKILL).ok();
                    wait(self.pidfd.as_fd()).ok();
                    descendants::forget(self.pid);
                }
                Ending::Close => self.close(),
            }
        }
    }
}

/// Spawns and, if there is a map, lets the child go on only once it has its ids.
pub(crate) fn spawn_mapped(
    request: &Spawn<'_>,
    map: Option<&IdMap>,
) -> Result<(i32, OwnedFd), Error> {
    let Some(map) = map else {
        return sys::spawn(request).talking("starting a child");
    };
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).talking("making a pipe")?;
    let gated = Spawn {
        gate: Some((read.as_fd(), write.as_fd())),
        ..*request
    };
    let (pid, pidfd) = sys::spawn(&gated).talking("making a user namespace")?;
    let mapped = map.give_to(pid).and_then(|()| {
        rustix::io::write(&write, &[1])
            .map(drop)
            .talking("starting a child")
    });
    if mapped.is_err() {
        // The child ends when it reads no byte.
        drop(write);
        wait(pidfd.as_fd())?;
    }
    mapped.map(|()| (pid, pidfd))
}

/// Waits for the end of the child behind `pidfd`.
pub(crate) fn wait(pidfd: BorrowedFd<'_>) -> Result<ExitStatus, Error> {
    let status = rustix::io::retry_on_intr(|| waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED));
    let status = status.talking("waiting for a child")?;
    let status = status.ok_or(Errno::CHILD).talking("waiting for a child")?;
    let signaled = status.terminating_signal().map(ExitStatus::Signaled);
    Ok(signaled.unwrap_or(ExitStatus::Exited(status.exit_status().unwrap_or_default())))
}

/// Moves a descriptor above those a child's are put at.
pub(crate) fn raise(fd: &OwnedFd) -> Result<OwnedFd, Errno> {
    fcntl_dupfd_cloexec(fd, 64)
}

/// Opens this process' executable, to execute it.
pub(crate) fn own() -> Result<OwnedFd, Errno> {
    let executable = open(
        "/proc/self/exe",
        OFlags::PATH | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    raise(&executable)
}

/// Returns an executable no process of a sandbox can write to, made once.
///
/// A process that is our executable is visible in the sandbox as `/proc/1/exe` or, if it is told to
/// execute `/proc/self/exe`, as itself; root there could open it for writing and so change the file
/// of the host. A read-only mount of its own, which is attached nowhere and so cannot be changed, is
/// the cheapest answer. A copy in memory is for an executable whose path is gone.
fn protected() -> io::Result<&'static OwnedFd> {
    static PROTECTED: OnceLock<OwnedFd> = OnceLock::new();
    if let Some(executable) = PROTECTED.get() {
        return Ok(executable);
    }
    let executable = read_only_mount().or_else(|_| copy_in_memory())?;
    Ok(PROTECTED.get_or_init(|| executable))
}

fn read_only_mount() -> io::Result<OwnedFd> {
    // The link itself leads to a mount of the mount namespace this process was started in.
    let path = std::fs::read_link("/proc/self/exe")?;
    let mount = mounts::copy(CWD, &path)?;
    let (found, running) = (fstat(&mount)?, stat("/proc/self/exe")?);
    if (found.st_dev, found.st_ino) != (running.st_dev, running.st_ino) {
        return Err(Errno::STALE.into());
    }
    mounts::restrict(mount.as_fd(), MountAttrFlags::MOUNT_ATTR_RDONLY)?;
    Ok(raise(&mount)?)
}

fn copy_in_memory() -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut copy = File::from(memfd_create("corten", flags)?);
    io::copy(&mut File::open(Path::new("/proc/self/exe"))?, &mut copy)?;
    copy.flush()?;
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    fcntl_add_seals(&copy, seals)?;
    Ok(raise(&copy.into())?)
}
