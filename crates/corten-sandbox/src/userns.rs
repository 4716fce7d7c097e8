//! An ordinary user's way to be root: the whole program again, in a user and mount namespace.

use std::ffi::CString;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;

use crate::child::{self, ExitStatus};
use crate::error::{Error, Talking};
use crate::idmap::{IdMap, in_user_namespace};
use crate::poll;
use crate::sys::{self, SignalQueue, Spawn};

/// Tells the program inside whom it was started by: `UID:GID` outside.
const MARKER: &str = "_CORTEN_USER_NAMESPACE";

/// Signals passed on to the program inside.
const FORWARDED: [i32; 6] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGTERM,
    libc::SIGUSR1,
    libc::SIGUSR2,
];

/// Who a process was before [`reexec_in_user_namespace`] made it root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entered {
    /// The user id outside.
    pub uid: u32,
    /// The group id outside.
    pub gid: u32,
}

/// Starts this program again, with the same arguments and environment, as root of a new user
/// namespace with a mount namespace of its own, and waits for its end.
///
/// Inside, the user's subordinate ids can be created, read and removed as files, and
/// [`run`](crate::run) works. To be called first thing in `main`, after
/// [`init_if_child`](crate::init_if_child) and while there is one thread: until the end signals are
/// passed on. What the program inside ends with, the caller should end with.
pub fn reexec_in_user_namespace(map: &IdMap) -> Result<ExitStatus, Error> {
    let executable = child::own().talking("opening the own executable")?;
    let argv: Vec<CString> = std::env::args_os()
        .filter_map(|a| c_string(a.as_bytes()))
        .collect();
    let namespaces = libc::CLONE_NEWUSER | libc::CLONE_NEWNS;
    let request = Spawn {
        namespaces: u64::from(namespaces.cast_unsigned()),
        cgroup: None,
        executable: executable.as_fd(),
        argv: &argv,
        env: &environment(),
        descriptors: &[],
        gate: None,
    };
    let (_, pidfd) = child::spawn_mapped(&request, Some(map))?;
    let queue = SignalQueue::new(&FORWARDED).talking("queueing signals")?;
    loop {
        let ready = poll::readable(&[pidfd.as_fd(), queue.as_fd()]);
        while let Some(signal) = queue.take() {
            // The terminal has sent Ctrl-C and its like to the whole process group already. Sending
            // fails when the program has just ended, which is noticed below.
            if !signal.by_kernel {
                let _ = sys::pidfd_send_signal(pidfd.as_fd(), signal.number);
            }
        }
        if ready.talking("waiting for the program inside")?.first() == Some(&true) {
            return child::wait(pidfd.as_fd());
        }
    }
}

/// Returns who this process was outside, if [`reexec_in_user_namespace`] started it.
///
/// Root of a user namespace made by somebody else is `None`: there, root's paths are root's.
pub fn entered() -> Option<Entered> {
    let marker = std::env::var_os(MARKER).filter(|_| in_user_namespace())?;
    parse_marker(marker.to_str()?)
}

fn parse_marker(marker: &str) -> Option<Entered> {
    let (uid, gid) = marker.split_once(':')?;
    Some(Entered {
        uid: uid.parse().ok()?,
        gid: gid.parse().ok()?,
    })
}

fn environment() -> Vec<CString> {
    let uid = rustix::process::geteuid().as_raw();
    let gid = rustix::process::getegid().as_raw();
    let kept = std::env::vars_os().filter(|(name, _)| name != MARKER);
    let kept = kept
        .filter_map(|(name, value)| c_string(&[name.as_bytes(), b"=", value.as_bytes()].concat()));
    kept.chain(c_string(format!("{MARKER}={uid}:{gid}").as_bytes()))
        .collect()
}

/// What the system handed over as a C string has no NUL within, so nothing is lost.
fn c_string(bytes: &[u8]) -> Option<CString> {
    CString::new(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(marker: &str, expected: Option<(u32, u32)>) {
        let expected = expected.map(|(uid, gid)| Entered { uid, gid });
        assert_eq!(parse_marker(marker), expected, "{marker:?}");
    }

    #[test]
    fn a_marker_is_two_numbers() {
        check("1000:100", Some((1000, 100)));
        check("1000", None);
        check("1000:", None);
        check("-1:0", None);
    }
}
