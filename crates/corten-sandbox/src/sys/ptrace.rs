//! ptrace(2), and the memory of a traced process.

use std::fs::File;
use std::os::fd::RawFd;
use std::os::unix::fs::FileExt as _;

use rustix::io::Errno;

use super::{checked, last_errno};

/// The registers of a stopped thread, as the kernel has them.
pub(crate) type Registers = libc::user_regs_struct;

const CONT: libc::c_long = 7;
const GETREGS: libc::c_long = 12;
const SETREGS: libc::c_long = 13;
const SYSCALL: libc::c_long = 24;
const GETEVENTMSG: libc::c_long = 0x4201;
const SEIZE: libc::c_long = 0x4206;
const LISTEN: libc::c_long = 0x4208;

/// `PTRACE_O_*`: follow forks, vforks, threads and executions, stop where a filter says so, tell stops
/// at system calls from others, and have all killed when the tracer ends.
const OPTIONS: libc::c_long = 0x1 | 0x2 | 0x4 | 0x8 | 0x10 | 0x80 | (1 << 20);

/// How a stopped thread goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resume {
    /// Until something happens.
    Run,
    /// Until the end of the system call that it is in.
    ToExit,
    /// Not at all, until another signal wakes it: it is stopped as by a terminal.
    Listen,
}

/// Traces `pid`, which goes on running.
pub(crate) fn seize(pid: i32) -> Result<(), Errno> {
    // SAFETY: the options are a number; no memory is touched.
    unsafe { ptrace(SEIZE, pid, 0, OPTIONS) }
}

/// Lets the stopped `tid` go on, with a signal unless it is 0.
pub(crate) fn resume(tid: i32, how: Resume, signal: i32) -> Result<(), Errno> {
    let request = match how {
        Resume::Run => CONT,
        Resume::ToExit => SYSCALL,
        Resume::Listen => LISTEN,
    };
    // SAFETY: the signal is a number; no memory of this process is touched.
    unsafe { ptrace(request, tid, 0, libc::c_long::from(signal)) }
}

/// Returns what belongs to the event at which `tid` has stopped: a process id.
pub(crate) fn event_message(tid: i32) -> Result<i32, Errno> {
    let mut message: libc::c_ulong = 0;
    // SAFETY: the kernel writes one `unsigned long`.
    unsafe { ptrace(GETEVENTMSG, tid, 0, address(&raw mut message)) }?;
    i32::try_from(message).map_err(|_| Errno::RANGE)
}

/// Returns the registers of the stopped `tid`.
pub(crate) fn registers(tid: i32) -> Result<Registers, Errno> {
    // SAFETY: the structure is plain data for which all zeros is a valid value.
    let mut registers: Registers = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one structure of this type.
    unsafe { ptrace(GETREGS, tid, 0, address(&raw mut registers)) }?;
    Ok(registers)
}

/// Sets the registers of the stopped `tid`.
pub(crate) fn set_registers(tid: i32, registers: &Registers) -> Result<(), Errno> {
    let at = address(std::ptr::from_ref(registers));
    // SAFETY: the kernel reads one structure of this type.
    unsafe { ptrace(SETREGS, tid, 0, at) }
}

/// An address as an argument.
fn address<T>(pointer: *const T) -> libc::c_long {
    pointer.expose_provenance().cast_signed() as libc::c_long
}

/// # Safety
/// `data` must be what `request` takes.
unsafe fn ptrace(
    request: libc::c_long,
    pid: i32,
    address: libc::c_long,
    data: libc::c_long,
) -> Result<(), Errno> {
    // SAFETY: the caller's promise. The wrappers of C libraries disagree about the types.
    let result = unsafe { libc::syscall(libc::SYS_ptrace, request, pid, address, data) };
    checked(result).map(drop)
}

/// Waits until any child or traced thread changes, and returns it and the status of wait(2).
pub(crate) fn wait_any() -> Result<(i32, i32), Errno> {
    loop {
        let mut status = 0;
        // SAFETY: the kernel writes one `int`.
        let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL) };
        if pid >= 0 {
            return Ok((pid, status));
        }
        let errno = last_errno();
        if errno != Errno::INTR {
            return Err(errno);
        }
    }
}

/// Reads memory of `pid` at `address` until `into` is full or something is not mapped; returns how much.
pub(crate) fn read_memory(pid: i32, address: u64, into: &mut [u8]) -> Result<usize, Errno> {
    let local = libc::iovec {
        iov_base: into.as_mut_ptr().cast(),
        iov_len: into.len(),
    };
    let remote = remote(address, into.len())?;
    // SAFETY: the kernel writes at most `into.len()` bytes to it; the other address is another process'.
    let n_read =
        unsafe { libc::process_vm_readv(pid, &raw const local, 1, &raw const remote, 1, 0) };
    let n_read = usize::try_from(n_read).map_err(|_| last_errno());
    match n_read {
        Err(errno) if is_filtered(errno) => memory_of(pid)?
            .read_at(into, address)
            .map_err(|error| io_errno(&error)),
        other => other,
    }
}

/// Tells whether a filter may have refused a call: Docker's before version 22 does.
fn is_filtered(errno: Errno) -> bool {
    matches!(errno, Errno::PERM | Errno::NOSYS)
}

/// Opens the memory that a process has now; what it executes next has another.
fn memory_of(pid: i32) -> Result<File, Errno> {
    let mut options = File::options();
    let opened = options
        .read(true)
        .write(true)
        .open(format!("/proc/{pid}/mem"));
    opened.map_err(|error| io_errno(&error))
}

/// What is not mapped is an I/O error there.
fn io_errno(error: &std::io::Error) -> Errno {
    match Errno::from_io_error(error) {
        None | Some(Errno::IO) => Errno::FAULT,
        Some(errno) => errno,
    }
}

/// Writes all of `bytes` to the memory of `pid` at `address`.
pub(crate) fn write_memory(pid: i32, address: u64, bytes: &[u8]) -> Result<(), Errno> {
    if bytes.is_empty() {
        return Ok(());
    }
    let local = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    let remote = remote(address, bytes.len())?;
    // SAFETY: the kernel only reads `bytes`; the other address is another process'.
    let n_written =
        unsafe { libc::process_vm_writev(pid, &raw const local, 1, &raw const remote, 1, 0) };
    match usize::try_from(n_written) {
        Ok(n_written) if n_written == bytes.len() => Ok(()),
        Ok(_) => Err(Errno::FAULT),
        Err(_) => match last_errno() {
            errno if is_filtered(errno) => memory_of(pid)?
                .write_all_at(bytes, address)
                .map_err(|error| io_errno(&error)),
            errno => Err(errno),
        },
    }
}

fn remote(address: u64, length: usize) -> Result<libc::iovec, Errno> {
    let address = usize::try_from(address).map_err(|_| Errno::FAULT)?;
    Ok(libc::iovec {
        iov_base: std::ptr::without_provenance_mut(address),
        iov_len: length,
    })
}

/// Sends a signal to a process, whatever its number.
pub(crate) fn kill(pid: i32, signal: i32) -> Result<(), Errno> {
    // SAFETY: no memory is touched.
    checked(i64::from(unsafe { libc::kill(pid, signal) })).map(drop)
}

/// The number of a descriptor as the kernel's structures have it.
pub(super) fn number(fd: RawFd) -> u32 {
    fd.unsigned_abs()
}
