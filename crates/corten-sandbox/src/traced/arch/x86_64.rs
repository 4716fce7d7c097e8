//! x86-64.

use rustix::fs::Stat;

use crate::sys::ptrace::Registers;

/// The number of the system call that a thread is in.
pub(crate) fn call(registers: &Registers) -> i64 {
    registers.orig_rax.cast_signed()
}

/// Changes the number of the system call.
pub(crate) fn set_call(registers: &mut Registers, number: i64) {
    registers.orig_rax = number.cast_unsigned();
    registers.rax = number.cast_unsigned();
}

/// Its arguments.
pub(crate) fn args(registers: &Registers) -> [u64; 6] {
    [
        registers.rdi,
        registers.rsi,
        registers.rdx,
        registers.r10,
        registers.r8,
        registers.r9,
    ]
}

/// Changes its arguments.
pub(crate) fn set_args(registers: &mut Registers, args: [u64; 6]) {
    [
        registers.rdi,
        registers.rsi,
        registers.rdx,
        registers.r10,
        registers.r8,
        registers.r9,
    ] = args;
}

/// What a system call has returned.
pub(crate) fn result(registers: &Registers) -> i64 {
    registers.rax.cast_signed()
}

/// Has the system call return something else; before it begins, with the number -1, it is not made.
pub(crate) fn set_result(registers: &mut Registers, value: i64) {
    registers.rax = value.cast_unsigned();
}

/// The stack pointer.
pub(crate) fn stack(registers: &Registers) -> u64 {
    registers.rsp
}

/// Has a thread whose system call has just ended make another, with the arguments that it has.
pub(crate) fn call_again(registers: &mut Registers, number: i64) {
    /// The length of the instruction.
    const SYSCALL: u64 = 2;
    registers.rip = registers.rip.wrapping_sub(SYSCALL);
    registers.rax = number.cast_unsigned();
    // There is no call that the kernel could restart.
    registers.orig_rax = u64::MAX;
}

/// Returns `struct stat` as the kernel writes it.
pub(crate) fn stat_bytes(stat: &Stat) -> Vec<u8> {
    let mut out = Vec::with_capacity(144);
    for word in [stat.st_dev, stat.st_ino, stat.st_nlink] {
        out.extend(word.to_ne_bytes());
    }
    for half in [stat.st_mode, stat.st_uid, stat.st_gid, 0] {
        out.extend(half.to_ne_bytes());
    }
    out.extend(stat.st_rdev.to_ne_bytes());
    for word in [stat.st_size, stat.st_blksize, stat.st_blocks] {
        out.extend(word.to_ne_bytes());
    }
    let times = [
        (stat.st_atime, stat.st_atime_nsec),
        (stat.st_mtime, stat.st_mtime_nsec),
        (stat.st_ctime, stat.st_ctime_nsec),
    ];
    for (seconds, nanoseconds) in times {
        out.extend(seconds.to_ne_bytes());
        out.extend(nanoseconds.to_ne_bytes());
    }
    out.resize(144, 0);
    out
}
