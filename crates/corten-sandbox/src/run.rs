//! The parent: starts the sandbox, passes on what goes in and out, and waits for its end.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::stdio::stdin;

use crate::cancel::Cancel;
use crate::cgroup::Group;
use crate::channel::{self, Report, Task};
use crate::child::{Child, Ending, Executable, ExitStatus};
use crate::error::{Error, Failure, Talking};
use crate::poll::{self, Found};
use crate::spec::{Init, MountKind, Network, Process, RootKind, Sandbox};
use crate::stdio::{Stdio, Streams, connect};
use crate::sys::{self, SignalQueue};
use crate::terminal::{self, Terminal};
use crate::{caps, descendants};

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
    /// What could not be done to keep the process apart, in words; only of
    /// [`RootKind::Chroot`](crate::RootKind::Chroot).
    pub shortcomings: Vec<String>,
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
    attend(sandbox, stdio, signals, None)
}

/// Runs a process as [`run`] does with [`Signals::Leave`], until its end or that of everything.
///
/// # Errors
/// Besides those of [`run`], [`Error::Cancelled`] if `cancel` came first; nothing runs then.
pub fn run_until(sandbox: &Sandbox, stdio: Stdio<'_>, cancel: &Cancel) -> Result<Outcome, Error> {
    attend(sandbox, stdio, Signals::Leave, Some(cancel))
}

fn attend(
    sandbox: &Sandbox,
    stdio: Stdio<'_>,
    signals: Signals,
    cancel: Option<&Cancel>,
) -> Result<Outcome, Error> {
    check(sandbox)?;
    let has_terminal = matches!(stdio, Stdio::Terminal);
    let terminal = has_terminal.then(terminal::window);
    let task = Task::Run {
        sandbox: Box::new(sandbox.clone()),
        terminal,
    };
    let (theirs, mut streams) = connect(stdio).talking("connecting the sandbox")?;
    let group = group(sandbox)?;
    let child = start(sandbox, &task, theirs, group.as_ref())?;
    let is_forwarding = has_terminal || signals == Signals::Forward;
    let queue = is_forwarding
        .then(|| SignalQueue::new(&FORWARDED))
        .transpose();
    let queue = queue.talking("queueing signals")?;
    let mut session = Session {
        child,
        queue,
        terminal: None,
        ready: None,
        _group: group,
    };
    session.attend(&mut streams, cancel)?;
    streams.drain().talking("reading the sandbox' output")?;
    session.end()
}

fn start(
    sandbox: &Sandbox,
    task: &Task,
    stdio: [OwnedFd; 3],
    group: Option<&Group>,
) -> Result<Child, Error> {
    let (namespaces, executable, ending) = if is_apart(sandbox) {
        descendants::adopt_orphans();
        // Nobody sees this executable where there is no /proc, and a mount of it cannot be made.
        (0, Executable::Own, Ending::Close)
    } else {
        let namespaces = namespaces(sandbox.network);
        (namespaces, Executable::Protected, Ending::Kill)
    };
    let cgroup = group.map(|group| group.directory.as_fd());
    let mut child = Child::start(task, stdio, namespaces, None, executable, cgroup)?;
    child.ending = ending;
    Ok(child)
}

/// Returns whether no namespace keeps it apart.
fn is_apart(sandbox: &Sandbox) -> bool {
    matches!(
        sandbox.root.kind,
        RootKind::Chroot(_) | RootKind::Traced { .. }
    )
}

/// Makes a control group where limits need one.
fn group(sandbox: &Sandbox) -> Result<Option<Group>, Error> {
    (!sandbox.limits.is_empty())
        .then(|| Group::make(sandbox.limits))
        .transpose()
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
    if let RootKind::Chroot(directory) | RootKind::Traced { directory, .. } = &sandbox.root.kind {
        check_absolute("the root", directory)?;
        if let Some(mount) = sandbox.mounts.first() {
            let path = mount.destination.to_string_lossy();
            return Err(invalid("a mount where nothing can be mounted", &path));
        }
        if sandbox.init != Init::Reaper {
            return Err(invalid("process 1 where there is none", "Init::Process"));
        }
        // Nothing but a filter would keep it from the network, and it has none.
        if sandbox.network == Network::None && sandbox.process.unconfined {
            let field =
                "a network of its own for an unconfined process where there is no namespace";
            return Err(invalid(field, "Network::None"));
        }
        // Entering our own root would make the machine what is changed.
        if directory.parent().is_none() {
            return Err(invalid("the root", "/"));
        }
    }
    for mount in &sandbox.mounts {
        check_absolute("the destination of a mount", &mount.destination)?;
        match &mount.kind {
            MountKind::Bind { source } => check_absolute("the source of a mount", source)?,
            MountKind::Part { of, .. } => check_tree(of)?,
            MountKind::File { .. } | MountKind::Tmpfs { .. } => {}
        }
    }
    Ok(())
}

fn check_tree(tree: &RootKind) -> Result<(), Error> {
    let field = "the source of a mount";
    match tree {
        RootKind::Directory(path) | RootKind::Chroot(path) => check_absolute(field, path),
        RootKind::Traced { directory, .. } => check_absolute(field, directory),
        RootKind::Overlay { lower, upper, .. } => lower
            .iter()
            .chain([upper])
            .try_for_each(|path| check_absolute(field, path)),
        RootKind::Erofs { image, upper, .. } => [image, upper]
            .iter()
            .try_for_each(|path| check_absolute(field, path)),
    }
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
    /// Known once the process is about to be executed: the mount points that were made, and what
    /// could not be done.
    ready: Option<(Vec<String>, Vec<String>)>,
    /// Removed after the child has ended.
    _group: Option<Group>,
}

impl Session {
    /// Passes everything on until the child has ended.
    fn attend(&mut self, streams: &mut Streams<'_>, cancel: Option<&Cancel>) -> Result<(), Error> {
        let mut is_connected = true;
        loop {
            let mut sources = vec![self.child.pidfd.as_fd()];
            let optional = [
                cancel.map(Cancel::as_fd),
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
            let [cancelled, reported, signaled, shown, typed] =
                optional.map(|source| source.is_some() && ready.next() == Some(true));
            let ready: Vec<bool> = ready.collect();
            if cancelled {
                return Err(Error::Cancelled);
            }
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
            Some((
                Report::Ready {
                    created,
                    shortcomings,
                },
                _,
            )) => self.ready = Some((created, shortcomings)),
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
        match (self.ready, status) {
            (Some((created, shortcomings)), status) => {
                let created_mount_points = created.into_iter().map(PathBuf::from).collect();
                Ok(Outcome {
                    status,
                    created_mount_points,
                    shortcomings,
                })
            }
            (None, ExitStatus::Exited(_)) => Err(Error::NotAChild),
            // It was killed before it could start, which is how its end is told anyway.
            (None, status) => Ok(Outcome {
                status,
                created_mount_points: Vec::new(),
                shortcomings: Vec::new(),
            }),
        }
    }
}
