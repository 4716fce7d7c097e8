//! A process in a directory without any right: no capability, no namespace, no mount, one user.
//!
//! A supervisor does what the process asks for. It answers the calls that name files or owners
//! (`seccomp_unotify(2)`): paths are resolved in the directory, and owners, modes and devices are those of
//! [`FileRecords`]. Executions are followed by ptrace(2), since only the process
//! itself can execute something.
//!
//! What keeps it in is Landlock, around the supervisor and more closely around the process: no mistake in
//! the answers, and no race, can open a file beyond the directory. Besides that there are `/proc` of the
//! container, without other processes; `/sys`, and a few devices.

mod access;
mod answering;
mod arch;
mod attempt;
mod calls;
mod copies;
mod elf;
mod execute;
mod fence;
mod filter;
mod ids;
mod memory;
mod resolve;
mod scratch;
mod stat;
mod supervise;
mod tasks;
mod world;

pub(crate) use attempt::attempt;

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};

use rustix::fs::{Mode, OFlags, open, openat};
use rustix::io::Errno;
use rustix::process::{fchdir, getpid, set_child_subreaper, setsid, umask};
use rustix::thread::set_no_new_privs;

use crate::channel::{self, Report};
use crate::error::{Doing, Failure};
use crate::records::FileRecords;
use crate::seccomp::{self, Sockets};
use crate::spec::{Network, Sandbox};
use crate::stage::Never;
use crate::sys::{self, notify, ptrace};
use crate::traced::answering::answer_all;
use crate::traced::calls::NewSockets;
use crate::traced::copies::{Copies, errno};
use crate::traced::fence::{fence_process, fence_supervisor};
use crate::traced::ids::Ids;
use crate::traced::supervise::Supervisor;
use crate::traced::tasks::{Process, State, Thread};
use crate::traced::world::{DEVICES, World};
use crate::{caps, process};

/// In the workspace: what is recorded of the files, before and afterwards.
pub(crate) const RECORDS: &str = "records";
/// In the workspace: the directory of changed executables.
const EXECUTABLES: &str = "executables";

/// Becomes the supervisor, and in a child the process.
///
/// There is no terminal: it would be the caller's, whose number nobody here may open.
pub(crate) fn run(
    sandbox: &Sandbox,
    directory: &Path,
    workspace: &Path,
    socket: BorrowedFd<'_>,
) -> Result<Never, Failure> {
    let what = Path::new("the supervisor");
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = open(directory, flags, Mode::empty()).doing("opening the root", directory)?;
    add_devices(&root);
    let (mut file, records) = records_in(workspace)?;
    let copies = copies_in(workspace)?;
    let cwd = open(directory, flags, Mode::empty()).doing("opening the root", directory)?;
    let world = World::new(root).doing("opening", Path::new("/proc"))?;
    // What is made is made with the process' mask, and sockets by a path from the root on.
    umask(Mode::empty());
    fchdir(&world.root).doing("entering", directory)?;
    // The caller's terminal is nobody's here: /dev/tty would be it.
    setsid().doing("starting the session of", what)?;
    set_no_new_privs(true).doing("taking privileges from", what)?;
    set_child_subreaper(Some(getpid())).doing("starting", what)?;
    let is_scoped = fence_supervisor(&world, &copies).doing("fencing in", what)?;
    let (own, theirs) = channel::pair().doing("starting", what)?;
    let child = sys::fork().doing("starting", what)?;
    if child == 0 {
        drop(own);
        return become_process(sandbox, &world, &copies, is_scoped, &theirs, socket);
    }
    drop(theirs);
    let state = State {
        threads: HashMap::from([(child, first_thread(sandbox, child)?)]),
        processes: HashMap::from([(child, first_process(cwd))]),
        records,
        copies,
        terminals: HashSet::new(),
        sockets: NewSockets::default(),
        waiting: HashMap::new(),
    };
    let supervisor = Supervisor {
        world,
        state: Mutex::new(state),
    };
    // It is as good as static: this process ends before it does.
    let supervisor: &'static Supervisor = Box::leak(Box::new(supervisor));
    let code = attend(supervisor, child, &own, socket).unwrap_or(255);
    let saved = file
        .rewind()
        .and_then(|()| file.set_len(0))
        .and_then(|()| supervisor.save(&mut file));
    sys::exit_now(if saved.is_ok() { code } else { 255 });
}

/// Follows the child to its end, or ends with the caller.
fn attend(
    supervisor: &'static Supervisor,
    child: i32,
    own: &OwnedFd,
    socket: BorrowedFd<'_>,
) -> Result<i32, Errno> {
    ptrace::seize(child)?;
    rustix::io::write(own, &[1])?;
    let socket = rustix::io::fcntl_dupfd_cloexec(socket, 3)?;
    let spawn = |body: Box<dyn FnOnce() + Send>| {
        let started = std::thread::Builder::new().spawn(body);
        started.map(drop).map_err(|_| Errno::NOMEM)
    };
    spawn(Box::new(move || end_with(&socket)))?;
    // Until it sends the descriptor, it may end; the other end of the socket is closed then.
    if let Ok(Some((_, Some(listener)))) = channel::receive(own.as_fd()) {
        notify::wake_in_turn(listener.as_fd()).ok();
        let listener = Arc::new(listener);
        spawn(Box::new(move || answer_all(supervisor, &listener)))?;
    }
    Ok(supervisor.follow(child))
}

/// Ends this process, and with it all that it traces, when the caller closes the socket.
fn end_with(socket: &OwnedFd) {
    loop {
        match channel::receive(socket.as_fd()) {
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) | Err(_) => sys::exit_now(128 + libc::SIGKILL),
        }
    }
}

fn become_process(
    sandbox: &Sandbox,
    world: &World,
    copies: &Copies,
    is_scoped: bool,
    supervisor: &OwnedFd,
    socket: BorrowedFd<'_>,
) -> Result<Never, Failure> {
    let what = Path::new("the process");
    let mut byte = [0];
    // It is traced once this comes, and must not go on if nothing does.
    let n_read = rustix::io::read(supervisor, &mut byte).doing("starting", what)?;
    if n_read == 0 {
        return Err(Errno::PIPE).doing("starting", what);
    }
    setsid().doing("starting the session of", what)?;
    umask(Mode::from_raw_mode(0o022));
    fchdir(&world.root).doing("entering", Path::new("the root"))?;
    process::limit_resources(&sandbox.process)?;
    fence_process(world, copies).doing("fencing in", what)?;
    let sockets = match sandbox.network {
        Network::Host => Sockets::Default,
        Network::None => Sockets::Local,
    };
    let invalid = |_| Errno::INVAL;
    // What it is told to have opens no call: only those of everybody are answered or harmless.
    let programs = seccomp::programs(caps::default_set(), sockets).map_err(invalid);
    for program in programs.doing("compiling the system call filter of", what)? {
        sys::install_filter(&program).doing("filtering the system calls of", what)?;
    }
    let listener = notify::install_listener(&filter::answered(is_scoped))
        .doing("answering the system calls of", what)?;
    channel::send(
        supervisor.as_fd(),
        &Report::Terminal,
        Some(listener.as_fd()),
    )
    .doing("starting", what)?;
    drop(listener);
    sys::install_filter(&filter::changed()).doing("changing the system calls of", what)?;
    sys::close_on_exec_from(3).doing("closing the descriptors of", what)?;
    let ready = Report::Ready {
        created: Vec::new(),
        shortcomings: Vec::new(),
    };
    process::enter_directory(&sandbox.process.cwd)?;
    channel::send(socket, &ready, None).doing("reporting on", what)?;
    process::replace(&sandbox.process)
}

fn first_thread(sandbox: &Sandbox, pid: i32) -> Result<Thread, Failure> {
    let process = &sandbox.process;
    let capabilities = caps::parse(&process.capabilities)
        .map_err(|_| Errno::INVAL)
        .doing("reading the capabilities of", Path::new("the process"))?;
    let user = &process.user;
    let groups = user.additional_gids.clone();
    let ids = Ids::new(user.uid, user.gid, groups, capabilities.bits());
    Ok(Thread { pid, ids })
}

fn first_process(cwd: OwnedFd) -> Process {
    Process {
        cwd: Arc::new(cwd),
        umask: 0o022,
        executable: b"/".to_vec(),
        memory: 0,
    }
}

/// Makes files that stand for devices, where there is a directory for them.
fn add_devices(root: &OwnedFd) {
    for name in DEVICES {
        let flags =
            OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // What is there is good, and without a directory there are none.
        openat(
            root,
            format!("dev/{name}"),
            flags,
            Mode::from_raw_mode(0o666),
        )
        .ok();
    }
}

/// Opens the records before everything but the root is out of reach.
fn records_in(workspace: &Path) -> Result<(File, FileRecords), Failure> {
    let path = workspace.join(RECORDS);
    let failed = |error| Err(errno(error)).doing("reading", &path);
    let mut options = File::options();
    let options = options.read(true).write(true).create(true).truncate(false);
    let mut file = match options.open(&path) {
        Ok(file) => file,
        Err(error) => return failed(error),
    };
    let mut bytes = Vec::new();
    if let Err(error) = file.read_to_end(&mut bytes) {
        return failed(error);
    }
    if bytes.is_empty() {
        return Ok((file, FileRecords::default()));
    }
    let records = FileRecords::decode(&bytes).ok_or(Errno::INVAL);
    Ok((file, records.doing("reading", &path)?))
}

fn copies_in(workspace: &Path) -> Result<Copies, Failure> {
    let path = workspace.join(EXECUTABLES);
    let made = std::fs::create_dir(&path).map_err(errno);
    made.doing("making", &path)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = open(&path, flags, Mode::empty()).doing("opening", &path)?;
    Ok(Copies::new(directory, path.as_os_str().as_bytes().to_vec()))
}
