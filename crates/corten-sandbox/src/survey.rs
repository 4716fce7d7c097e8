//! The primitives that isolation is made of, each tried by itself in a child of its own.

use std::fs;
use std::io::Write as _;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, MemfdFlags, Mode, OFlags, Uid, fchown, makedev, memfd_create,
    mknodat, open, unlinkat,
};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;
use rustix::process::{
    Pid, Signal, WaitOptions, getpid, kill_process, set_parent_process_death_signal, waitpid,
};
use rustix::thread::{CapabilitySet, set_no_new_privs, set_thread_groups, set_thread_res_uid};

use crate::channel::{self, Report, Task};
use crate::child::{Child, Executable};
use crate::error::{Error, Talking};
use crate::landlock::Fence;
use crate::probe::Check;
use crate::{cgroup, landlock, mounts, seccomp, stdio, sys, traced};

/// Something that can be tried by itself.
struct Primitive {
    what: &'static str,
    /// Ends with the reason why it cannot be had.
    attempt: fn(&Path) -> Result<(), Errno>,
}

/// All of them but those that [`probe`](crate::probe()) tries in the namespaces a sandbox would have.
const PRIMITIVES: [Primitive; 10] = [
    Primitive {
        what: "user namespace",
        attempt: user_namespace,
    },
    Primitive {
        what: "mount namespace",
        attempt: mount_namespace,
    },
    Primitive {
        what: "chroot",
        attempt: |_| rustix::process::chroot("/"),
    },
    Primitive {
        what: CHOWN,
        attempt: |_| change_owner(),
    },
    Primitive {
        what: "other users",
        attempt: |_| become_somebody(),
    },
    Primitive {
        what: KILL,
        attempt: |_| end_somebody(),
    },
    Primitive {
        what: "mknod",
        attempt: make_device,
    },
    Primitive {
        what: "seccomp",
        attempt: |_| filter(),
    },
    Primitive {
        what: "Landlock",
        attempt: |_| fence(),
    },
    Primitive {
        what: SUPERVISION,
        attempt: traced::attempt,
    },
];

const CHOWN: &str = "chown";
const KILL: &str = "kill";
const SUPERVISION: &str = "supervision";

/// What a root that is entered by chroot(2) cannot do without.
pub(crate) const OF_CHROOT: [&str; 4] = ["chroot", CHOWN, "other users", KILL];

/// What a process without any right cannot do without.
pub(crate) const OF_TRACED: [&str; 2] = ["Landlock", SUPERVISION];

/// Tries every primitive. `scratch` is a directory that may be written to.
pub(crate) fn primitives(scratch: &Path) -> Result<Vec<Check>, Error> {
    let null = || stdio::null().talking("opening /dev/null");
    let stdio = [null()?, null()?, null()?];
    let task = Task::Survey {
        scratch: scratch.to_owned(),
    };
    let child = Child::start(&task, stdio, 0, None, Executable::Own, None)?;
    let report = channel::receive(child.socket.as_fd()).talking("reading a report")?;
    child.wait()?;
    let Some((Report::Probed(mut checks), _)) = report else {
        return Err(Error::NotAChild);
    };
    checks.push(Check {
        what: "cgroup v2".to_owned(),
        problem: cgroup::try_delegation().err(),
        advice: None,
    });
    Ok(checks)
}

/// In the child: tries each primitive in a process that is gone afterwards.
pub(crate) fn try_primitives(scratch: &Path) -> Vec<Check> {
    let check = |primitive: &Primitive| Check {
        what: primitive.what.to_owned(),
        problem: apart(|| (primitive.attempt)(scratch))
            .err()
            .map(|errno| errno.to_string()),
        advice: None,
    };
    PRIMITIVES.iter().map(check).collect()
}

/// Does `attempt` in a child and returns what it returned there.
fn apart(attempt: impl FnOnce() -> Result<(), Errno>) -> Result<(), Errno> {
    let child = sys::fork()?;
    if child == 0 {
        // An error number fits into the eight bits of an exit status.
        sys::exit_now(attempt().err().map_or(0, Errno::raw_os_error));
    }
    let status = rustix::io::retry_on_intr(|| waitpid(Pid::from_raw(child), WaitOptions::empty()))?;
    match status.and_then(|(_, status)| status.exit_status()) {
        Some(0) => Ok(()),
        Some(number) => Err(Errno::from_raw_os_error(number)),
        // A system call filter has killed it.
        None => Err(Errno::PERM),
    }
}

/// One that this user is root of, which needs nobody's help.
fn user_namespace(_: &Path) -> Result<(), Errno> {
    let uid = rustix::process::geteuid().as_raw();
    sys::unshare(libc::CLONE_NEWUSER)?;
    let map = format!("0 {uid} 1\n");
    let mut file = fs::OpenOptions::new()
        .write(true)
        .open("/proc/self/uid_map")
        .map_err(|error| errno(&error))?;
    file.write_all(map.as_bytes())
        .map_err(|error| errno(&error))
}

fn mount_namespace(_: &Path) -> Result<(), Errno> {
    sys::unshare(libc::CLONE_NEWNS)?;
    mounts::new("tmpfs", &[], MountAttrFlags::empty()).map(drop)
}

fn change_owner() -> Result<(), Errno> {
    let file = memfd_create("corten", MemfdFlags::CLOEXEC)?;
    fchown(&file, Some(Uid::from_raw(1)), Some(Gid::from_raw(1)))
}

fn become_somebody() -> Result<(), Errno> {
    set_thread_groups(&[])?;
    let uid = Uid::from_raw(1);
    set_thread_res_uid(uid, uid, uid)
}

/// What a command of another user leaves behind has to be ended.
fn end_somebody() -> Result<(), Errno> {
    let child = sys::fork()?;
    if child == 0 {
        let parent_lives = set_parent_process_death_signal(Some(Signal::KILL));
        let is_ready = parent_lives.and_then(|()| become_somebody());
        // It stops itself, so that who waits knows that it has become somebody else.
        let stopped = is_ready.and_then(|()| kill_process(getpid(), Signal::STOP));
        sys::exit_now(stopped.err().map_or(0, Errno::raw_os_error));
    }
    let child = Pid::from_raw(child);
    let status = rustix::io::retry_on_intr(|| waitpid(child, WaitOptions::UNTRACED))?;
    if !status.is_some_and(|(_, status)| status.stopped()) {
        // That it cannot become somebody else is told elsewhere.
        return Err(Errno::PERM);
    }
    // What cannot be ended so ends with this process.
    kill_process(child.ok_or(Errno::SRCH)?, Signal::KILL)
}

/// A node that is made must also be usable: a mount may say `nodev`.
fn make_device(scratch: &Path) -> Result<(), Errno> {
    let path: PathBuf = scratch.join(format!(".corten-device-{}", getpid().as_raw_pid()));
    let null = makedev(1, 3);
    mknodat(
        CWD,
        &path,
        FileType::CharacterDevice,
        Mode::RUSR | Mode::WUSR,
        null,
    )?;
    let opened = open(&path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
    unlinkat(CWD, &path, AtFlags::empty())?;
    opened.map(drop)
}

fn filter() -> Result<(), Errno> {
    set_no_new_privs(true)?;
    let programs = seccomp::programs(CapabilitySet::empty(), seccomp::Sockets::Default);
    let programs = programs.map_err(|_| Errno::INVAL)?;
    programs
        .iter()
        .try_for_each(|program| sys::install_filter(program))
}

fn fence() -> Result<(), Errno> {
    set_no_new_privs(true)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = open("/", flags, Mode::empty())?;
    match landlock::fence(root.as_fd(), None)? {
        Fence::Stands => Ok(()),
        Fence::Missing(errno) => Err(errno),
    }
}

fn errno(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}
