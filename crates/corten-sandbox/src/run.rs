//! The parent: starts the sandbox, passes on what goes in and out, and waits for its end.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::stdio::stdin;

use crate::caps;
use crate::channel::{self, Report, Task};
use crate::child::{Child, Executable, ExitStatus};
use crate::error::{Error, Failure, Talking};
use crate::poll::{self, Found};
use crate::spec::{MountKind, Network, Process, Sandbox};
use crate::stdio::{Stdio, Streams, connect};
use crate::sys::{self, SignalQueue};
use crate::terminal::{self, Terminal};

/// Signals a caller asks us to end or change by. `SIGWINCH` only concerns a terminal.
const FORWARDED: [i32; 7] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGTERM,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGWINCH,
];

/// What signals to the caller do while a sandbox runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signals {
    /// What they did before. If they kill the caller, the sandbox dies with it.
    Leave,
    /// `SIGHUP`, `SIGINT`, `SIGQUIT`, `SIGTERM`, `SIGUSR1` and `SIGUSR2` go to process 1 of the sandbox
    /// instead. They must be blocked in every other thread of the caller.
    ///
    /// The kernel drops a signal process 1 has no handler for; [`Init::Reaper`](crate::Init::Reaper) is
    /// for processes that count on the default action.
    Forward,
}

/// What a sandbox leaves behind.
#[derive(Debug)]
pub struct Outcome {
    /// How the process ended. With [`Init::Reaper`](crate::Init::Reaper) a signal shows as the code 128
    /// and its number.
    pub status: ExitStatus,
    /// Absolute paths, inside the root and with links resolved, of the files and directories that were
    /// made because something had to be mounted on them. They are empty unless the process filled
    /// them, and they are still there.
    pub created_mount_points: Vec<PathBuf>,
}

/// Runs a process in a sandbox and waits for its end, and that of everything it left behind.
///
/// The process also dies when the calling thread does; only if it is itself a set-user-ID executable,
/// [`Init::Reaper`](crate::Init::Reaper) is needed for that. This executable must call
/// [`init_if_child`](crate::init_if_child) first thing in `main`.
///
/// # Errors
/// Only if the process did not start: a process that fails is an [`Outcome`].
pub fn run(sandbox: &Sandbox, stdio: Stdio<'_>, signals: Signals) -> Result<Outcome, Error> {
    check(sandbox)?;
    let has_terminal = matches!(stdio, Stdio::Terminal);
    let terminal = has_terminal.then(terminal::window);
    let task = Task::Run {
        sandbox: Box::new(sandbox.clone()),
        terminal,
    };
    let (theirs, mut streams) = connect(stdio).talking("connecting the sandbox")?;
    let child = start(sandbox, &task, theirs)?;
    let is_forwarding = has_terminal || signals == Signals::Forward;
    let queue = is_forwarding
        .then(|| SignalQueue::new(&FORWARDED))
        .transpose();
    let queue = queue.talking("queueing signals")?;
    let mut session = Session {
        child,
        queue,
        terminal: None,
        created: None,
    };
    session.attend(&mut streams)?;
    streams.drain().talking("reading the sandbox' output")?;
    session.end()
}

fn start(sandbox: &Sandbox, task: &Task, stdio: [OwnedFd; 3]) -> Result<Child, Error> {
    Child::start(
        task,
        stdio,
        namespaces(sandbox.network),
        None,
        Executable::Protected,
    )
}

/// Every kind the kernel has but those of users and time.
pub(crate) fn namespaces(network: Network) -> u64 {
    let network = match network {
        Network::Host => 0,
        Network::None => libc::CLONE_NEWNET,
    };
    let flags = libc::CLONE_NEWNS
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWCGROUP
        | network;
    u64::from(flags.cast_unsigned())
}

/// Refuses what only fails in the child, without a good message.
fn check(sandbox: &Sandbox) -> Result<(), Error> {
    check_process(&sandbox.process)?;
    for mount in &sandbox.mounts {
        check_absolute("the destination of a mount", &mount.destination)?;
        match &mount.kind {
            MountKind::Bind { source } => check_absolute("the source of a mount", source)?,
            MountKind::Tmpfs { .. } => {}
        }
    }
    Ok(())
}

fn check_process(process: &Process) -> Result<(), Error> {
    if process.args.first().is_none_or(String::is_empty) {
        return Err(invalid("the executable", ""));
    }
    if let Some(value) = process.args.iter().find(|arg| arg.contains('\0')) {
        return Err(invalid("an argument", value));
    }
    if let Some(entry) = process.env.iter().find(|entry| entry.contains('\0')) {
        // Its value may be a secret.
        let name = entry.split('=').next().unwrap_or_default();
        return Err(invalid("a variable", name));
    }
    check_absolute("the working directory", &process.cwd)?;
    caps::parse(&process.capabilities)
        .map(drop)
        .map_err(|name| invalid("a capability", name))
}

fn check_absolute(field: &'static str, path: &Path) -> Result<(), Error> {
    if path.is_absolute() {
        Ok(())
    } else {
        Err(invalid(field, &path.to_string_lossy()))
    }
}

fn invalid(field: &'static str, value: &str) -> Error {
    Error::Invalid {
        field,
        value: value.to_owned(),
    }
}

/// A sandbox that runs.
#[derive(Debug)]
struct Session {
    child: Child,
    queue: Option<SignalQueue>,
    terminal: Option<Terminal>,
    /// Known once the process is about to be executed.
    created: Option<Vec<String>>,
}

impl Session {
    /// Passes everything on until the child has ended.
    fn attend(&mut self, streams: &mut Streams<'_>) -> Result<(), Error> {
        let mut is_connected = true;
        loop {
            let mut sources = vec![self.child.pidfd.as_fd()];
            let optional = [
                is_connected.then_some(self.child.socket.as_fd()),
                self.queue.as_ref().map(SignalQueue::as_fd),
                self.terminal.as_ref().map(Terminal::master),
                self.terminal
                    .as_ref()
                    .filter(|t| t.wants_input())
                    .map(|_| stdin()),
            ];
            sources.extend(optional.iter().flatten());
            sources.extend(streams.descriptors());
            let ready = poll::readable(&sources).talking("waiting for the sandbox")?;
            let mut ready = ready.into_iter();
            let has_ended = ready.next() == Some(true);
            let [reported, signaled, shown, typed] =
                optional.map(|source| source.is_some() && ready.next() == Some(true));
            let ready: Vec<bool> = ready.collect();
            streams
                .pass(&ready)
                .talking("reading the sandbox' output")?;
            if reported {
                is_connected = self.take_report()?;
            }
            if signaled {
                self.forward();
            }
            self.proxy(shown, typed)
                .talking("passing on the terminal")?;
            if has_ended {
                return self.last_words(is_connected);
            }
        }
    }

    /// Returns whether more reports may come.
    fn take_report(&mut self) -> Result<bool, Error> {
        let report = channel::receive(self.child.socket.as_fd());
        match report.talking("reading the sandbox' report")? {
            None => return Ok(false),
            Some((Report::Terminal, Some(master))) => {
                self.terminal = Some(Terminal::new(master).talking("preparing the terminal")?);
            }
            Some((Report::Ready { created }, _)) => self.created = Some(created),
            Some((Report::Failed(failure), _)) => return Err(Failure::into(failure)),
            Some((Report::Terminal | Report::Probed(_), _)) => {}
        }
        Ok(true)
    }

    fn forward(&self) {
        while let Some(signal) = self.queue.as_ref().and_then(SignalQueue::take) {
            match &self.terminal {
                // A size that cannot be asked for stays as it is.
                Some(terminal) if signal.number == libc::SIGWINCH => drop(terminal.resize()),
                // It fails when the sandbox has just ended, which is noticed elsewhere.
                _ => drop(sys::pidfd_send_signal(
                    self.child.pidfd.as_fd(),
                    signal.number,
                )),
            }
        }
    }

    fn proxy(&mut self, shown: bool, typed: bool) -> Result<(), Errno> {
        let Some(terminal) = &mut self.terminal else {
            return Ok(());
        };
        terminal.flush()?;
        if typed {
            terminal.pass_input()?;
        }
        if shown && terminal.pass_output()? == Found::End {
            self.terminal = None;
        }
        Ok(())
    }

    /// Takes what the child sent and showed before it ended.
    fn last_words(&mut self, mut is_connected: bool) -> Result<(), Error> {
        while is_connected {
            is_connected = self.take_report()?;
        }
        while let Some(terminal) = &mut self.terminal {
            if !matches!(terminal.pass_output(), Ok(Found::Bytes(_))) {
                self.terminal = None;
            }
        }
        Ok(())
    }

    fn end(self) -> Result<Outcome, Error> {
        let status = self.child.wait()?;
        match (self.created, status) {
            (Some(created), status) => {
                let created_mount_points = created.into_iter().map(PathBuf::from).collect();
                Ok(Outcome {
                    status,
                    created_mount_points,
                })
            }
            (None, ExitStatus::Exited(_)) => Err(Error::NotAChild),
            // It was killed before it could start, which is how its end is told anyway.
            (None, status) => Ok(Outcome {
                status,
                created_mount_points: Vec::new(),
            }),
        }
    }
}
