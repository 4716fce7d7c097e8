//! System calls that wait for an answer from this process (`seccomp_unotify(2)`).

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;
use seccompiler::sock_filter;

use super::ptrace::number;
use super::{checked, last_errno};

/// A system call of a thread that waits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request {
    id: u64,
    /// The thread.
    pub(crate) tid: i32,
    pub(crate) number: i64,
    pub(crate) args: [u64; 6],
}

/// Installs a filter and returns the descriptor that its notifications come by.
///
/// Once a call was taken, no signal but a fatal one interrupts it (Linux 5.19): it would be made twice.
pub(crate) fn install_listener(program: &[sock_filter]) -> Result<OwnedFd, Errno> {
    let fprog = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(|_| Errno::INVAL)?,
        filter: program.as_ptr().cast::<libc::sock_filter>().cast_mut(),
    };
    let flags =
        libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    // SAFETY: seccompiler's `sock_filter` has the layout of the kernel's, the kernel only reads it,
    // and `fprog` describes exactly `program`.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            &raw const fprog,
        )
    };
    let fd = checked(fd)?;
    // SAFETY: the kernel has returned a fresh descriptor that nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Has the kernel run who waits and who answers by turns on one processor, which saves half of the time
/// where nothing else runs. It is from Linux 6.6.
pub(crate) fn wake_in_turn(listener: BorrowedFd<'_>) -> Result<(), Errno> {
    const SYNC_WAKE_UP: u64 = 1;
    // SAFETY: the argument of this request is a number.
    let result = unsafe {
        libc::syscall(
            libc::SYS_ioctl,
            listener.as_raw_fd(),
            libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS,
            SYNC_WAKE_UP,
        )
    };
    checked(result).map(drop)
}

/// Waits for a call. `None` if its thread is gone already.
pub(crate) fn receive(listener: BorrowedFd<'_>) -> Result<Option<Request>, Errno> {
    // SAFETY: the structure is plain data, and the kernel asks for all zeros.
    let mut notification: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one structure of this type.
    let result = unsafe {
        libc::syscall(
            libc::SYS_ioctl,
            listener.as_raw_fd(),
            libc::SECCOMP_IOCTL_NOTIF_RECV,
            &raw mut notification,
        )
    };
    match checked(result) {
        Ok(_) => Ok(Some(Request {
            id: notification.id,
            tid: notification.pid.cast_signed(),
            number: i64::from(notification.data.nr),
            args: notification.data.args,
        })),
        Err(Errno::NOENT | Errno::INTR) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// How a call ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reply {
    /// It returns this.
    Returns(i64),
    /// It fails.
    Fails(Errno),
    /// The kernel does it as it would have.
    Happens,
}

/// Answers a call. It fails where the thread is gone.
pub(crate) fn answer(
    listener: BorrowedFd<'_>,
    request: &Request,
    reply: Reply,
) -> Result<(), Errno> {
    let (val, error, flags) = match reply {
        Reply::Returns(value) => (value, 0, 0),
        Reply::Fails(errno) => (0, -errno.raw_os_error(), 0),
        Reply::Happens => (0, 0, 1), // SECCOMP_USER_NOTIF_FLAG_CONTINUE
    };
    let mut response = libc::seccomp_notif_resp {
        id: request.id,
        val,
        error,
        flags,
    };
    // SAFETY: the kernel reads one structure of this type.
    let result = unsafe {
        libc::syscall(
            libc::SYS_ioctl,
            listener.as_raw_fd(),
            libc::SECCOMP_IOCTL_NOTIF_SEND,
            &raw mut response,
        )
    };
    checked(result).map(drop)
}

/// Answers a call with a descriptor of its process' own for what `file` is.
pub(crate) fn answer_with(
    listener: BorrowedFd<'_>,
    request: &Request,
    file: BorrowedFd<'_>,
    is_closed_on_exec: bool,
) -> Result<(), Errno> {
    const SEND: u32 = 2; // SECCOMP_ADDFD_FLAG_SEND
    add(listener, request, file, (SEND, 0), is_closed_on_exec)
}

/// Has a descriptor of the process whose call waits become one for what `file` is.
pub(crate) fn replace(
    listener: BorrowedFd<'_>,
    request: &Request,
    file: BorrowedFd<'_>,
    descriptor: i32,
    is_closed_on_exec: bool,
) -> Result<(), Errno> {
    const SET: u32 = 1; // SECCOMP_ADDFD_FLAG_SETFD
    let place = (SET, number(descriptor));
    add(listener, request, file, place, is_closed_on_exec)
}

fn add(
    listener: BorrowedFd<'_>,
    request: &Request,
    file: BorrowedFd<'_>,
    (flags, newfd): (u32, u32),
    is_closed_on_exec: bool,
) -> Result<(), Errno> {
    let newfd_flags = if is_closed_on_exec {
        libc::O_CLOEXEC
    } else {
        0
    };
    let added = libc::seccomp_notif_addfd {
        id: request.id,
        flags,
        srcfd: number(file.as_raw_fd()),
        newfd,
        newfd_flags: newfd_flags.cast_unsigned(),
    };
    // SAFETY: the kernel reads one structure of this type.
    let result = unsafe {
        libc::syscall(
            libc::SYS_ioctl,
            listener.as_raw_fd(),
            libc::SECCOMP_IOCTL_NOTIF_ADDFD,
            &raw const added,
        )
    };
    if result < 0 {
        Err(last_errno())
    } else {
        Ok(())
    }
}

/// Tells whether the thread whose call this is still waits.
pub(crate) fn is_waiting(listener: BorrowedFd<'_>, request: &Request) -> bool {
    // SAFETY: the kernel reads one number of eight bytes.
    let result = unsafe {
        libc::syscall(
            libc::SYS_ioctl,
            listener.as_raw_fd(),
            libc::SECCOMP_IOCTL_NOTIF_ID_VALID,
            &raw const request.id,
        )
    };
    result == 0
}
