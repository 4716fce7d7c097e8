//! The last steps in the child: from root with all its rights to the process that was asked for.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Access, FileType, Mode, OFlags, access, fchown, fstat, open};
use rustix::io::Errno;
use rustix::process::{
    Signal, chdir, getcwd, ioctl_tiocsctty, set_parent_process_death_signal, setsid, umask,
};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use rustix::thread::{
    CapabilitySet, set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

use crate::channel::{self, Report};
use crate::error::{Doing, Failure};
use crate::idmap::has_one_id;
use crate::landlock::Fence;
use crate::seccomp::Sockets;
use crate::spec::{Process, User};
use crate::stage::Never;
use crate::{caps, landlock, seccomp, sys};

/// What a process is to be left with.
#[derive(Debug)]
pub(crate) struct Confinement {
    pub(crate) capabilities: CapabilitySet,
    /// Whether it gains no privilege by executing anything.
    pub(crate) no_new_privileges: bool,
    /// Which sockets its system call filter lets it open; `None` if it gets no filter.
    pub(crate) sockets: Option<Sockets>,
    /// What could not be done to keep it apart, in words.
    pub(crate) shortcomings: Vec<String>,
}

impl Confinement {
    /// Returns what a process in namespaces of its own, on `terminal` if it has one, is left with, and fences it
    /// in: `/` is its root.
    ///
    /// The fence is the second one. It holds where a descriptor or a mount leads out of the root, and keeps
    /// sockets of the machine's network that no path leads to from answering one who has the caller's id.
    /// Who may mount is not fenced in, for Landlock lets nobody mount.
    pub(crate) fn in_namespaces(
        process: &Process,
        terminal: Option<BorrowedFd<'_>>,
    ) -> Result<Self, Failure> {
        let capabilities = caps::parse(&process.capabilities)
            .map_err(|_| Errno::INVAL)
            .doing("reading the capabilities of", Path::new("the process"))?;
        let mut shortcomings = Vec::new();
        if !process.unconfined && !capabilities.contains(CapabilitySet::SYS_ADMIN) {
            let slash = Path::new("/");
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let root = open(slash, flags, Mode::empty()).doing("opening the root", slash)?;
            shortcomings.extend(fence(root.as_fd(), terminal)?);
        }
        Ok(Self {
            capabilities,
            no_new_privileges: process.no_new_privileges,
            sockets: Some(Sockets::Default),
            shortcomings,
        })
    }
}

/// Fences this process in, and says so in words where there is no fence to be had.
pub(crate) fn fence(
    root: BorrowedFd<'_>,
    terminal: Option<BorrowedFd<'_>>,
) -> Result<Option<String>, Failure> {
    let fence = landlock::fence(root, terminal);
    match fence.doing("putting a Landlock fence around", Path::new("the process"))? {
        Fence::Stands => Ok(None),
        Fence::Missing(errno) => Ok(Some(format!("there is no Landlock fence: {errno}"))),
    }
}

/// Gives up every right the process is not to have and becomes it.
pub(crate) fn execute(
    process: &Process,
    confinement: &Confinement,
    terminal: Option<OwnedFd>,
    created: Vec<String>,
    socket: BorrowedFd<'_>,
) -> Result<Never, Failure> {
    let what = Path::new("the process");
    start_session(terminal).doing("starting the session of", what)?;
    give_pipes(&process.user).doing("giving its pipes to", what)?;
    restrict(process, confinement)?;
    sys::close_on_exec_from(3).doing("closing the descriptors of", what)?;
    let ready = Report::Ready {
        created,
        shortcomings: confinement.shortcomings.clone(),
    };
    channel::send(socket, &ready, None).doing("reporting on", what)?;
    replace(process)
}

/// A session of its own also keeps the process from typing into the caller's terminal (TIOCSTI).
fn start_session(terminal: Option<OwnedFd>) -> Result<(), Errno> {
    setsid()?;
    if let Some(terminal) = terminal {
        ioctl_tiocsctty(&terminal)?;
        dup2_stdin(&terminal)?;
        dup2_stdout(&terminal)?;
        dup2_stderr(&terminal)?;
    }
    Ok(())
}

/// Without this an ordinary user could not open `/dev/stdout`. Only pipes and terminals are given
/// away: files and devices are the caller's.
fn give_pipes(user: &User) -> Result<(), Errno> {
    if user.uid == 0 {
        return Ok(());
    }
    let uid = rustix::fs::Uid::from_raw(user.uid);
    let descriptors = [
        rustix::stdio::stdin(),
        rustix::stdio::stdout(),
        rustix::stdio::stderr(),
    ];
    for fd in descriptors {
        let is_pipe = FileType::from_raw_mode(fstat(fd)?.st_mode) == FileType::Fifo;
        let is_own_terminal = rustix::termios::tcgetsid(fd).is_ok();
        if is_pipe || is_own_terminal {
            match fchown(fd, Some(uid), None) {
                // A pipe of the caller's whose owner has no id here.
                Err(Errno::PERM | Errno::INVAL) | Ok(()) => {}
                other => return other,
            }
        }
    }
    Ok(())
}

/// The order matters: each step needs a right that a later one gives up.
fn restrict(process: &Process, confinement: &Confinement) -> Result<(), Failure> {
    let what = Path::new("the process");
    let capabilities = confinement.capabilities;
    umask(Mode::from_raw_mode(0o022));
    limit_resources(process)?;
    caps::drop_bounding(capabilities).doing("taking capabilities from", what)?;
    set_groups(&process.user).doing("setting the groups of", what)?;
    if confinement.no_new_privileges {
        set_no_new_privs(true).doing("taking privileges from", what)?;
    }
    if let Some(sockets) = confinement.sockets.filter(|_| !process.unconfined) {
        for program in seccomp::programs(capabilities, sockets)
            .map_err(|_| Errno::INVAL)
            .doing("compiling the system call filter of", what)?
        {
            sys::install_filter(&program).doing("filtering the system calls of", what)?;
        }
    }
    enter_directory(&process.cwd)?;
    let uid = rustix::thread::Uid::from_raw(process.user.uid);
    set_thread_res_uid(uid, uid, uid).doing("setting the user of", what)?;
    let keep = if process.user.uid == 0 {
        capabilities
    } else {
        CapabilitySet::empty()
    };
    caps::keep_only(keep).doing("setting the capabilities of", what)?;
    // Changing the user has cleared it.
    set_parent_process_death_signal(Some(Signal::KILL)).doing("tying to its parent", what)
}

/// Sets the limits that the process is to have.
pub(crate) fn limit_resources(process: &Process) -> Result<(), Failure> {
    for limit in &process.resource_limits {
        let shown = limit.to_string();
        limit.set().doing("limiting", Path::new(&shown))?;
    }
    Ok(())
}

fn set_groups(user: &User) -> Result<(), Errno> {
    let groups: Vec<_> = user
        .additional_gids
        .iter()
        .map(|&gid| rustix::thread::Gid::from_raw(gid))
        .collect();
    match set_thread_groups(&groups) {
        // A namespace of one id has no other group to be in; those of its maker are nobody's in it.
        Err(Errno::PERM) if has_one_id() => {}
        set => set?,
    }
    let gid = rustix::thread::Gid::from_raw(user.gid);
    set_thread_res_gid(gid, gid, gid)
}

/// A directory reached through a descriptor that leaked from outside has no path in this root, and
/// the kernel says so (CVE-2024-21626).
pub(crate) fn enter_directory(cwd: &Path) -> Result<(), Failure> {
    let failure = |errno: Errno| Failure::WorkingDirectory {
        path: cwd.to_string_lossy().into_owned(),
        errno: errno.raw_os_error(),
    };
    chdir(cwd).map_err(failure)?;
    let path = getcwd(Vec::new()).map_err(failure)?;
    if path.as_bytes().first() == Some(&b'/') {
        Ok(())
    } else {
        Err(failure(Errno::XDEV))
    }
}

/// Executes the process, looking it up in its own `PATH`, as execvp(3) does.
pub(crate) fn replace(process: &Process) -> Result<Never, Failure> {
    let what = Path::new("the process");
    let c_strings = |strings: &[String]| {
        strings
            .iter()
            .map(|s| CString::new(s.as_str()))
            .collect::<Result<Vec<_>, _>>()
    };
    let argv = c_strings(&process.args)
        .map_err(invalid_nul)
        .doing("starting", what)?;
    let env = c_strings(&process.env)
        .map_err(invalid_nul)
        .doing("starting", what)?;
    let executable = process.args.first().map(String::as_str).unwrap_or_default();
    if executable.contains('/') {
        let path = CString::new(executable)
            .map_err(invalid_nul)
            .doing("starting", what)?;
        return Err(exec_failure(executable, sys::execve(&path, &argv, &env)));
    }
    let search = process
        .env
        .iter()
        .find_map(|entry| entry.strip_prefix("PATH="));
    let search = search.unwrap_or_default();
    let mut refused = None;
    for directory in search.split(':').filter(|directory| !directory.is_empty()) {
        let candidate = format!("{directory}/{executable}");
        let path = CString::new(candidate.as_str())
            .map_err(invalid_nul)
            .doing("starting", what)?;
        match sys::execve(&path, &argv, &env) {
            Errno::NOENT | Errno::NOTDIR if access(&path, Access::EXISTS).is_err() => {}
            Errno::ACCESS => refused = refused.or(Some(exec_failure(&candidate, Errno::ACCESS))),
            errno => return Err(exec_failure(&candidate, errno)),
        }
    }
    Err(refused.unwrap_or_else(|| Failure::ExecutableNotFound {
        executable: executable.to_owned(),
        path: search.to_owned(),
    }))
}

fn invalid_nul(_: std::ffi::NulError) -> Errno {
    Errno::INVAL
}

fn exec_failure(executable: &str, errno: Errno) -> Failure {
    Failure::Exec {
        executable: executable.to_owned(),
        errno: errno.raw_os_error(),
    }
}
