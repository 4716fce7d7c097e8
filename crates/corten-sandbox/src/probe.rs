//! What this machine lets this process do, found out by doing it.

use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
use rustix::io::Errno;
use rustix::mount::{
    MountAttrFlags, MountPropagationFlags, MoveMountFlags, mount_change, move_mount,
};
use serde::{Deserialize, Serialize};

use crate::channel::{self, Report, Task};
use crate::child::{Child, Executable};
use crate::error::{Error, Talking};
use crate::idmap::{IdMap, has_one_id, in_user_namespace};
use crate::isolation::Isolation;
use crate::spec::Network;
use crate::userns::entered;
use crate::{mounts, root, run, stdio};

/// How processes can be isolated here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tier {
    /// As root, of the machine or of a user namespace, with the ids it has.
    Root {
        /// Whether overlay's attributes must be `user.overlay.*`: so in a user namespace.
        userxattr: bool,
    },
    /// As root of a user namespace with these ids, to be entered first by
    /// [`reexec_in_user_namespace`](crate::reexec_in_user_namespace).
    UserNamespace(IdMap),
    /// As root in a directory, by chroot(2) alone; only [`choose`](crate::choose) finds this.
    Chroot,
    /// As whoever this is in a directory, by a supervisor that answers system calls; only
    /// [`choose`](crate::choose) finds this.
    Traced,
}

impl Tier {
    /// Returns which way of isolation it is.
    pub fn isolation(&self) -> Isolation {
        match self {
            Self::Root { .. } if has_one_id() => Isolation::OneId,
            // Root there is an ordinary user here.
            Self::Root { .. } if entered().is_some() => Isolation::UserNamespace,
            Self::Root { .. } => Isolation::Root,
            Self::UserNamespace(map) if map.is_single() => Isolation::OneId,
            Self::UserNamespace(_) => Isolation::UserNamespace,
            Self::Chroot => Isolation::Chroot,
            Self::Traced => Isolation::Traced,
        }
    }
}

/// Something that was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What: a short noun.
    pub what: String,
    /// Why it did not work, if it did not.
    pub problem: Option<String>,
    /// What would make it work, if we know.
    pub advice: Option<String>,
}

/// The result of [`probe`]. Printed, it is a line for each thing that was tried, with advice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// The user it holds for.
    pub uid: u32,
    /// Whether this process is in a user namespace already.
    pub in_user_namespace: bool,
    /// How processes can be isolated, if they can.
    pub tier: Option<Tier>,
    /// What was tried, in order; what depends on something that failed was not.
    pub checks: Vec<Check>,
}

impl Probe {
    /// Returns the tier, or [`Error::Unavailable`] with this probe.
    pub fn require(self) -> Result<Tier, Error> {
        match &self.tier {
            Some(tier) => Ok(tier.clone()),
            None => Err(Error::Unavailable {
                probe: Box::new(self),
            }),
        }
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (idx, check) in self.checks.iter().enumerate() {
            let line_break = if idx == 0 { "" } else { "\n" };
            match &check.problem {
                None => write!(f, "{line_break}  {}: ok", check.what)?,
                Some(problem) => write!(f, "{line_break}  {}: {problem}", check.what)?,
            }
            if let Some(advice) = &check.advice {
                write!(f, "\n    hint: {advice}")?;
            }
        }
        Ok(())
    }
}

/// Tries what a sandbox needs: namespaces, ids, and a mount of each kind. Takes a few milliseconds.
pub fn probe() -> Probe {
    let uid = rustix::process::geteuid().as_raw();
    let in_user_namespace = in_user_namespace();
    let (tier, checks) = if uid == 0 {
        let checks = attempt(None);
        (
            Tier::Root {
                userxattr: in_user_namespace,
            },
            checks,
        )
    } else {
        match IdMap::for_this_user() {
            Ok(map) => {
                let checks = attempt(Some(&map));
                (Tier::UserNamespace(map), checks)
            }
            Err(error) => {
                let checks = vec![explained("subordinate ids", &error)];
                (Tier::Root { userxattr: true }, checks)
            }
        }
    };
    concluded(tier, checks)
}

/// Tries the same in a user namespace of one id, which an ordinary user needs nobody's help for. Its
/// commands can be nobody but root and give nothing to anybody else.
pub fn probe_one_id() -> Probe {
    let map = IdMap::only_this_user();
    let checks = attempt(Some(&map));
    concluded(Tier::UserNamespace(map), checks)
}

fn concluded(tier: Tier, checks: Vec<Check>) -> Probe {
    let is_usable = checks.iter().all(|check| check.problem.is_none());
    Probe {
        uid: rustix::process::geteuid().as_raw(),
        in_user_namespace: in_user_namespace(),
        tier: is_usable.then_some(tier),
        checks,
    }
}

fn attempt(map: Option<&IdMap>) -> Vec<Check> {
    let what = if map.is_some() {
        "user namespace"
    } else {
        "namespaces"
    };
    match attempt_in_child(map) {
        Ok(mut checks) => {
            checks.insert(
                0,
                Check {
                    what: what.to_owned(),
                    problem: None,
                    advice: None,
                },
            );
            checks
        }
        Err(error) => vec![explained(what, &error)],
    }
}

fn attempt_in_child(map: Option<&IdMap>) -> Result<Vec<Check>, Error> {
    let null = || stdio::null().talking("opening /dev/null");
    let stdio = [null()?, null()?, null()?];
    let user = map.map_or(0, |_| u64::from(libc::CLONE_NEWUSER.cast_unsigned()));
    let namespaces = run::namespaces(Network::None) | user;
    let child = Child::start(&Task::Probe, stdio, namespaces, map, Executable::Own, None)?;
    let report = channel::receive(child.socket.as_fd()).talking("reading a report")?;
    child.wait()?;
    match report {
        Some((Report::Probed(checks), _)) => Ok(checks),
        _ => Err(Error::NotAChild),
    }
}

fn explained(what: &str, error: &Error) -> Check {
    let problem = match (error, std::error::Error::source(error)) {
        (_, Some(source)) => format!("{error}: {source}"),
        (_, None) => error.to_string(),
    };
    Check {
        what: what.to_owned(),
        problem: Some(problem),
        advice: advice(error),
    }
}

/// What the user, or who runs the machine, can do about it.
fn advice(error: &Error) -> Option<String> {
    match error {
        Error::NoSubordinateIds { user, .. } => Some(format!(
            "run `usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}` as root"
        )),
        Error::IdMap { reason, .. } if reason.contains("not found") => Some(
            "install newuidmap and newgidmap: package `uidmap` of Debian and Ubuntu, `shadow-utils` \
             of Fedora, `shadow-uidmap` of Alpine"
                .to_owned(),
        ),
        Error::IdMap { tool, .. } if !tool.starts_with("new") => Some(user_namespace_advice()),
        Error::IdMap { .. } => Some(
            "newuidmap and newgidmap must be set-user-ID root or have file capabilities, and cannot \
             work under no_new_privs, as in a pod with `allowPrivilegeEscalation: false`"
                .to_owned(),
        ),
        Error::Child { .. } if rustix::process::geteuid().is_root() => Some(
            "root needs CAP_SYS_ADMIN and a seccomp profile that allows clone3 and mount; without \
             them, run as an ordinary user with subordinate ids"
                .to_owned(),
        ),
        Error::Child { .. } => Some(user_namespace_advice()),
        _ => None,
    }
}

/// Names the switch that is off, as far as the kernel shows it.
fn user_namespace_advice() -> String {
    let is = |path: &str, value: &str| {
        std::fs::read_to_string(Path::new(path)).is_ok_and(|found| found.trim() == value)
    };
    let switch = if is(
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
    ) {
        "AppArmor restricts user namespaces: give the executable a profile with `userns`, or set \
         `kernel.apparmor_restrict_unprivileged_userns=0`"
    } else if is("/proc/sys/kernel/unprivileged_userns_clone", "0") {
        "set `kernel.unprivileged_userns_clone=1`"
    } else if is("/proc/sys/user/max_user_namespaces", "0") {
        "set `user.max_user_namespaces` above 0"
    } else {
        "a container's seccomp profile may refuse user namespaces: run it with one that allows them"
    };
    switch.to_owned()
}

/// In the child: tries each kind of mount a sandbox makes.
pub(crate) fn try_mounts() -> Vec<Check> {
    let tmpfs = try_tmpfs();
    let mut checks = vec![check(
        "tmpfs",
        tmpfs.as_ref().map(drop).map_err(|errno| *errno),
    )];
    if let Ok(tmpfs) = tmpfs {
        let mut overlay = check("overlay", try_overlay(&tmpfs));
        if overlay.problem.is_some() && in_user_namespace() {
            let advice = "overlay in a user namespace needs Linux 5.11 or newer";
            overlay.advice = Some(advice.to_owned());
        }
        checks.push(overlay);
    }
    let proc = mounts::new("proc", &[], MountAttrFlags::MOUNT_ATTR_NOSUID).map(drop);
    let mut proc = check("proc", proc);
    if proc.problem.is_some() {
        let advice = "/proc of this container is masked: run it with `procMount: Unmasked` or \
                      `--security-opt systempaths=unconfined`";
        proc.advice = Some(advice.to_owned());
    }
    checks.push(proc);
    checks
}

fn check(what: &str, result: Result<(), Errno>) -> Check {
    let problem = result.err().map(|errno| errno.to_string());
    Check {
        what: what.to_owned(),
        problem,
        advice: None,
    }
}

/// Mounted over `/`, for overlay takes only what is attached somewhere. Also tries `mount_setattr`,
/// the newest call a sandbox needs (Linux 5.12).
fn try_tmpfs() -> Result<OwnedFd, Errno> {
    mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )?;
    let tmpfs = mounts::new("tmpfs", &[("mode", "755")], MountAttrFlags::empty())?;
    mounts::restrict(tmpfs.as_fd(), MountAttrFlags::MOUNT_ATTR_NODEV)?;
    move_mount(
        tmpfs.as_fd(),
        "",
        CWD,
        "/",
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )?;
    Ok(tmpfs)
}

fn try_overlay(tmpfs: &OwnedFd) -> Result<(), Errno> {
    let directory = |name: &str| {
        mkdirat(tmpfs, name, Mode::from_raw_mode(0o755))?;
        openat(
            tmpfs,
            name,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
    };
    let (lower, upper, work) = (directory("lower")?, directory("upper")?, directory("work")?);
    rustix::process::chdir("/proc/self/fd")?;
    root::stack(&[lower], &upper, &work, in_user_namespace()).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// This executable is one: without its answer it would run all tests again, this one among them.
    #[test]
    fn an_executable_without_the_stage_is_told_so() {
        let found = probe();
        assert_eq!(found.tier, None);
        if found.uid == 0 {
            assert!(
                found
                    .to_string()
                    .contains("does not begin with `init_if_child`"),
                "{found}"
            );
        }
    }
}
