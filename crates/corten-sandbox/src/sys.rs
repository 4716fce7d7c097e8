//! The system calls `rustix` does not wrap. Everything unsafe of this crate is here.
#![expect(
    unsafe_code,
    reason = "system calls without a safe wrapper, each with its argument"
)]

pub(crate) mod landlock;
#[cfg(target_arch = "x86_64")]
pub(crate) mod notify;
#[cfg(target_arch = "x86_64")]
pub(crate) mod ptrace;

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use rustix::io::Errno;
use seccompiler::sock_filter;

/// What [`spawn`] makes of this process.
pub(crate) struct Spawn<'a> {
    /// `CLONE_NEW*`.
    pub(crate) namespaces: u64,
    /// The control group of version 2 that it is started in, if not this process'.
    pub(crate) cgroup: Option<BorrowedFd<'a>>,
    /// The executable.
    pub(crate) executable: BorrowedFd<'a>,
    pub(crate) argv: &'a [CString],
    pub(crate) env: &'a [CString],
    /// Descriptors that become 0, 1, 2, …; each must be 64 or more, or they would overwrite one
    /// another. Empty leaves the child those of this process.
    pub(crate) descriptors: &'a [OwnedFd],
    /// The child waits for a byte from the first before it executes; the second is the writing end,
    /// which it closes.
    pub(crate) gate: Option<(BorrowedFd<'a>, BorrowedFd<'a>)>,
}

/// Starts a child in new namespaces and returns its pid here and a descriptor for it.
///
/// The child dies with the thread that calls this.
pub(crate) fn spawn(request: &Spawn<'_>) -> io::Result<(i32, OwnedFd)> {
    let argv = pointers(request.argv);
    let env = pointers(request.env);
    let mut pidfd: RawFd = -1;
    // SAFETY: `clone_args` is plain data for which all zeros is a valid value.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = request.namespaces | u64::from(libc::CLONE_PIDFD.unsigned_abs());
    if let Some(cgroup) = request.cgroup {
        // CLONE_INTO_CGROUP, which `libc` has as a negative number.
        args.flags |= 1 << 33;
        args.cgroup = u64::from(cgroup.as_raw_fd().unsigned_abs());
    }
    args.pidfd = (&raw mut pidfd).addr() as u64;
    args.exit_signal = u64::from(libc::SIGCHLD.unsigned_abs());
    // SAFETY: without CLONE_VM the child works on its own copy of memory and, until it executes,
    // makes only system calls with memory prepared above: no allocation, no lock of another thread.
    let mut pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of_val(&args)) };
    // Docker's filter cannot read the flags of clone3 and answers so, that the older call be made.
    if pid == -1 && request.cgroup.is_none() && last_errno() == Errno::NOSYS {
        // SAFETY: as above; without a stack of its own the child goes on with its copy of this one.
        pid = unsafe {
            libc::syscall(
                libc::SYS_clone,
                args.flags | args.exit_signal,
                0_usize,
                &raw mut pidfd,
                0_usize,
                0_usize,
            )
        };
    }
    match pid {
        // SAFETY: this is the child, single-threaded, and both lists end in a null pointer.
        0 => unsafe { child(request, &argv, &env) },
        -1 => Err(io::Error::last_os_error()),
        // SAFETY: the kernel has stored a fresh descriptor that nothing else owns.
        _ => Ok((i32::try_from(pid).unwrap_or(0), unsafe {
            OwnedFd::from_raw_fd(pidfd)
        })),
    }
}

fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings
        .iter()
        .map(|s| s.as_ptr())
        .chain([ptr::null()])
        .collect()
}

/// # Safety
/// Only for the child of `clone3`; the lists must end in a null pointer.
unsafe fn child(
    request: &Spawn<'_>,
    argv: &[*const libc::c_char],
    env: &[*const libc::c_char],
) -> ! {
    // SAFETY: plain system calls on descriptors the parent holds open and on memory that outlives
    // them; each is safe to make in the child of a multi-threaded process.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        if let Some((read, write)) = request.gate {
            libc::close(write.as_raw_fd());
            let mut byte = 0_u8;
            if libc::read(read.as_raw_fd(), (&raw mut byte).cast(), 1) != 1 {
                libc::_exit(1);
            }
        }
        for (target, source) in (0..).zip(request.descriptors) {
            libc::dup2(source.as_raw_fd(), target);
        }
        libc::syscall(
            libc::SYS_execveat,
            request.executable.as_raw_fd(),
            c"".as_ptr(),
            argv.as_ptr(),
            env.as_ptr(),
            libc::AT_EMPTY_PATH,
        );
        libc::_exit(127)
    }
}

/// Takes over descriptor `fd`, which the parent put there, and closes it on execution.
pub(crate) fn inherited(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: fcntl on any number is sound; it fails if the descriptor is not open.
    if unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open, and only the first call of the stage takes it over.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Ends this process at once, without the destructors of the copy it may be.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: _exit never returns and touches no memory.
    unsafe { libc::_exit(code) }
}

/// Forks; only for a process with one thread. Returns the child's pid, 0 in the child.
pub(crate) fn fork() -> Result<i32, Errno> {
    // SAFETY: the stage has one thread, so the child's copy of memory is whole.
    checked(i64::from(unsafe { libc::fork() }))
}

/// Puts this process, which has one thread, into new namespaces (`CLONE_NEW*`).
pub(crate) fn unshare(namespaces: i32) -> Result<(), Errno> {
    // SAFETY: the flags name namespaces alone, so that no descriptor table changes under anybody.
    let flags = unsafe { libc::unshare(namespaces) };
    checked(i64::from(flags)).map(drop)
}

/// Executes `path`. Returns only if that failed.
pub(crate) fn execve(path: &CStr, argv: &[CString], env: &[CString]) -> Errno {
    let (argv, env) = (pointers(argv), pointers(env));
    // SAFETY: all strings end in NUL, both lists in a null pointer.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    last_errno()
}

/// Marks every descriptor from `first` on to be closed on execution.
pub(crate) fn close_on_exec_from(first: u32) -> Result<(), Errno> {
    const CLOSE_RANGE_CLOEXEC: u32 = 1 << 2;
    // SAFETY: the call touches no memory and closes nothing yet.
    let result =
        unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, CLOSE_RANGE_CLOEXEC) };
    checked(result).map(drop)
}

/// Which mounts [`mount_setattr`] changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// The mount alone.
    One,
    /// The mount and all beneath it.
    Tree,
}

/// Sets `attributes` (`MOUNT_ATTR_*`) on the mount behind `mount`.
pub(crate) fn mount_setattr(
    mount: BorrowedFd<'_>,
    attributes: u64,
    reach: Reach,
) -> Result<(), Errno> {
    let recursive = if reach == Reach::Tree {
        libc::AT_RECURSIVE
    } else {
        0
    };
    let attr = libc::mount_attr {
        attr_set: attributes,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: the path is a constant, `attr` is valid for its size.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | recursive,
            &raw const attr,
            size_of_val(&attr),
        )
    };
    checked(result).map(drop)
}

/// Installs a filter. Unlike `seccompiler::apply_filter` it leaves `no_new_privs` alone, for `su`
/// must work in a step; so it needs `CAP_SYS_ADMIN`.
pub(crate) fn install_filter(program: &[sock_filter]) -> Result<(), Errno> {
    let fprog = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(|_| Errno::INVAL)?,
        filter: program.as_ptr().cast::<libc::sock_filter>().cast_mut(),
    };
    // SAFETY: seccompiler's `sock_filter` has the layout of the kernel's, the kernel only reads it,
    // and `fprog` describes exactly `program`.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0,
            &raw const fprog,
        )
    };
    checked(result).map(drop)
}

/// Brings the loopback interface of this network namespace up.
pub(crate) fn loopback_up() -> Result<(), Errno> {
    const UP: libc::c_short = 1; // IFF_UP, which `libc` has as a wider type
    let socket = rustix::net::socket_with(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )?;
    // SAFETY: `ifreq` is plain data for which all zeros is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // SAFETY: the name and its NUL are three bytes, the field has 16.
    unsafe { ptr::copy_nonoverlapping(c"lo".as_ptr(), request.ifr_name.as_mut_ptr(), 3) };
    request.ifr_ifru.ifru_flags = UP;
    // SAFETY: SIOCSIFFLAGS reads one `ifreq`. C libraries disagree about the types of `ioctl`.
    let result = unsafe {
        libc::syscall(
            libc::SYS_ioctl,
            socket.as_raw_fd(),
            libc::SIOCSIFFLAGS,
            &raw const request,
        )
    };
    checked(result).map(drop)
}

/// Lets every signal through and gives each its default action: a caller may have been told to ignore
/// some, and Rust's runtime ignores `SIGPIPE`.
pub(crate) fn reset_signals() {
    // SAFETY: the set is initialised before use, and no handler is installed.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
        for signal in 1..32 {
            libc::signal(signal, libc::SIG_DFL);
        }
    }
}

/// A signal that was taken from a [`SignalQueue`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Taken {
    pub(crate) number: i32,
    /// Whether the kernel sent it, as it does for Ctrl-C to the whole foreground process group.
    pub(crate) by_kernel: bool,
}

/// Signals of this thread, queued for reading instead of taking effect until this is dropped.
pub(crate) struct SignalQueue {
    fd: OwnedFd,
    before: libc::sigset_t,
}

impl std::fmt::Debug for SignalQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignalQueue")
            .field("fd", &self.fd)
            .finish_non_exhaustive()
    }
}

impl SignalQueue {
    /// Blocks `signals` in this thread and queues them.
    pub(crate) fn new(signals: &[i32]) -> io::Result<Self> {
        // SAFETY: both sets are initialised before use; signalfd returns a fresh descriptor.
        unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            let mut before: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            for &signal in signals {
                libc::sigaddset(&raw mut set, signal);
            }
            let fd = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            let fd = OwnedFd::from_raw_fd(fd);
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, &raw mut before);
            Ok(Self { fd, before })
        }
    }

    /// Returns what becomes readable when a signal is queued.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Takes the next signal, if one is queued.
    pub(crate) fn take(&self) -> Option<Taken> {
        // SAFETY: `signalfd_siginfo` is plain data, and the kernel writes at most its size.
        unsafe {
            let mut info: libc::signalfd_siginfo = std::mem::zeroed();
            let size = size_of_val(&info);
            let read = libc::read(self.fd.as_raw_fd(), (&raw mut info).cast(), size);
            if usize::try_from(read) != Ok(size) {
                return None;
            }
            let number = i32::try_from(info.ssi_signo).ok()?;
            Some(Taken {
                number,
                by_kernel: info.ssi_code == libc::SI_KERNEL,
            })
        }
    }
}

impl Drop for SignalQueue {
    fn drop(&mut self) {
        // SAFETY: `before` was filled in by the call that blocked the signals.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.before, ptr::null_mut())
        };
    }
}

/// Closes every descriptor from 3 on but `keep`, in a process that never returns to their owners.
pub(crate) fn close_all_but(keep: [BorrowedFd<'_>; 2]) {
    let mut keep = keep.map(|fd| fd.as_raw_fd());
    keep.sort_unstable();
    let close = |first: RawFd, last: libc::c_uint| {
        if first.cast_unsigned() <= last {
            // SAFETY: the caller never returns, so no owner closes or uses these again.
            unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
        }
    };
    let before = |fd: RawFd| fd.saturating_sub(1).cast_unsigned();
    close(3, before(keep[0]));
    close(keep[0] + 1, before(keep[1]));
    close(keep[1] + 1, u32::MAX);
}

/// Sends a signal by its number, which may be a real-time one.
pub(crate) fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> Result<(), Errno> {
    // SAFETY: the null pointer means no further information; no memory is touched.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    checked(result).map(drop)
}

/// Returns what statfs(2) says of the file system behind a handle, as the kernel writes it.
#[cfg(target_arch = "x86_64")]
pub(crate) fn statfs_bytes(handle: BorrowedFd<'_>) -> Result<Vec<u8>, Errno> {
    // `struct statfs` of 64-bit machines.
    let mut bytes = vec![0_u8; 120];
    // SAFETY: the kernel writes one structure of that size.
    let result =
        unsafe { libc::syscall(libc::SYS_fstatfs, handle.as_raw_fd(), bytes.as_mut_ptr()) };
    checked(result).map(|_| bytes)
}

fn checked(result: i64) -> Result<i32, Errno> {
    if result < 0 {
        Err(last_errno())
    } else {
        Ok(i32::try_from(result).unwrap_or(i32::MAX))
    }
}

fn last_errno() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO)
}
