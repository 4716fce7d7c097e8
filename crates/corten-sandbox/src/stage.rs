//! The child: what `main` becomes when this executable is started again to be in a sandbox.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::process::{Signal, set_parent_process_death_signal};

use crate::channel::{self, Report, SOCKET_FD, TASK_FD, Task, Window};
use crate::child::STAGE;
use crate::error::{Doing, Failure};
use crate::mountpoint::InRoot;
use crate::process::Confinement;
use crate::spec::{Init, Network, RootKind, Sandbox};
use crate::{chroot, devices, init, mounts, paths, probe, process, root, survey, sys, traced};

/// Becomes a stage of a sandbox, and never returns, if this process was started as one; returns at
/// once otherwise.
///
/// Every executable that calls [`run`](crate::run) or [`probe`](crate::probe) must call this first
/// thing in `main`, before it starts a thread or opens a file.
pub fn init_if_child() {
    if std::env::args_os().next().is_some_and(|name| name == STAGE) {
        // The parent finds out by the socket why a stage ended; without one there is nobody to tell.
        sys::exit_now(i32::from(become_stage().is_err()));
    }
}

fn become_stage() -> io::Result<()> {
    let (task, socket) = (sys::inherited(TASK_FD)?, sys::inherited(SOCKET_FD)?);
    sys::reset_signals();
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if channel::is_closed(socket.as_fd()) {
        return Ok(());
    }
    match channel::unseal(task)? {
        Task::Probe => {
            channel::send(socket.as_fd(), &Report::Probed(probe::try_mounts()), None)?;
        }
        Task::Survey { scratch } => {
            let checks = survey::try_primitives(&scratch);
            channel::send(socket.as_fd(), &Report::Probed(checks), None)?;
        }
        Task::Run { sandbox, terminal } => {
            let Err(failure) = run(&sandbox, terminal, socket.as_fd());
            channel::send(socket.as_fd(), &Report::Failed(failure), None)?;
        }
    }
    Ok(())
}

/// What a function that ends in another executable returns on success: nothing.
pub(crate) enum Never {}

fn run(
    sandbox: &Sandbox,
    terminal: Option<Window>,
    socket: BorrowedFd<'_>,
) -> Result<Never, Failure> {
    // Mount points that are made must not show the caller's umask.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    if let RootKind::Chroot(directory) = &sandbox.root.kind {
        return chroot::run(sandbox, directory, terminal, socket);
    }
    if let RootKind::Traced {
        directory,
        workspace,
    } = &sandbox.root.kind
    {
        return traced::run(sandbox, directory, workspace, socket);
    }
    let root = root::mount(&sandbox.root)?;
    let mut in_root = InRoot::new(root.as_fd());
    let proc = devices::mount_proc(&mut in_root)?;
    let sys = devices::mount_sys(&mut in_root)?;
    let pty = devices::mount_dev(&mut in_root, terminal)?;
    mounts::attach_all(&mut in_root, &sandbox.mounts)?;
    if !sandbox.process.unconfined {
        paths::mask(proc.as_fd(), sys.as_fd())?;
    }
    let created = in_root.created;
    root::enter(root.as_fd(), sandbox.root.readonly)?;
    name_host(sandbox)?;
    if let Some(pty) = &pty {
        channel::send(socket, &Report::Terminal, Some(pty.master.as_fd()))
            .doing("handing over", Path::new("/dev/console"))?;
    }
    if sandbox.init == Init::Reaper {
        init::become_reaper().doing("starting", Path::new("the reaper"))?;
    }
    let terminal = pty.map(|pty| pty.slave);
    let on = terminal.as_ref().map(AsFd::as_fd);
    let confinement = Confinement::in_namespaces(&sandbox.process, on)?;
    process::execute(&sandbox.process, &confinement, terminal, created, socket)
}

fn name_host(sandbox: &Sandbox) -> Result<(), Failure> {
    rustix::system::sethostname(sandbox.hostname.as_bytes())
        .doing("setting the host name to", Path::new(&sandbox.hostname))?;
    if sandbox.network == Network::None {
        sys::loopback_up().doing("bringing up", Path::new("lo"))?;
    }
    Ok(())
}
