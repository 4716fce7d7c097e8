//! Which system calls are looked at: those that name files or owners. All others cost nothing.

use libc::{
    SYS_access, SYS_bind, SYS_capget, SYS_capset, SYS_chdir, SYS_chmod, SYS_chown, SYS_chroot,
    SYS_connect, SYS_creat, SYS_execve, SYS_execveat, SYS_faccessat, SYS_faccessat2, SYS_fchdir,
    SYS_fchmod, SYS_fchmodat, SYS_fchown, SYS_fchownat, SYS_fgetxattr, SYS_flistxattr,
    SYS_fremovexattr, SYS_fsetxattr, SYS_fstat, SYS_futimesat, SYS_getcwd, SYS_getegid,
    SYS_geteuid, SYS_getgid, SYS_getgroups, SYS_getresgid, SYS_getresuid, SYS_getuid, SYS_getxattr,
    SYS_kill, SYS_lchown, SYS_lgetxattr, SYS_link, SYS_linkat, SYS_listxattr, SYS_llistxattr,
    SYS_lremovexattr, SYS_lsetxattr, SYS_lstat, SYS_mkdir, SYS_mkdirat, SYS_mknod, SYS_mknodat,
    SYS_newfstatat, SYS_open, SYS_openat, SYS_openat2, SYS_pidfd_open, SYS_prctl, SYS_readlink,
    SYS_readlinkat, SYS_removexattr, SYS_rename, SYS_renameat, SYS_renameat2, SYS_rmdir,
    SYS_rt_sigqueueinfo, SYS_rt_tgsigqueueinfo, SYS_setfsgid, SYS_setfsuid, SYS_setgid,
    SYS_setgroups, SYS_setregid, SYS_setresgid, SYS_setresuid, SYS_setreuid, SYS_setuid,
    SYS_setxattr, SYS_stat, SYS_statfs, SYS_statx, SYS_symlink, SYS_symlinkat, SYS_tgkill,
    SYS_tkill, SYS_truncate, SYS_umask, SYS_unlink, SYS_unlinkat, SYS_utime, SYS_utimensat,
    SYS_utimes,
};
use rustix::io::Errno;
use seccompiler::{BpfProgram, sock_filter};

/// `fchmodat2`, which `libc` does not name for every C library.
pub(crate) const FCHMODAT2: i64 = 452;

/// Answered by the supervisor, which does them itself.
const ANSWERED: &[i64] = &[
    SYS_access,
    SYS_bind,
    SYS_capget,
    SYS_capset,
    SYS_chdir,
    SYS_chmod,
    SYS_chown,
    SYS_connect,
    SYS_creat,
    SYS_faccessat,
    SYS_faccessat2,
    SYS_fchdir,
    SYS_fchmod,
    SYS_fchmodat,
    FCHMODAT2,
    SYS_fchown,
    SYS_fchownat,
    SYS_fgetxattr,
    SYS_flistxattr,
    SYS_fremovexattr,
    SYS_fsetxattr,
    SYS_fstat,
    SYS_futimesat,
    SYS_getcwd,
    SYS_getegid,
    SYS_geteuid,
    SYS_getgid,
    SYS_getgroups,
    SYS_getresgid,
    SYS_getresuid,
    SYS_getuid,
    SYS_getxattr,
    SYS_lchown,
    SYS_lgetxattr,
    SYS_link,
    SYS_linkat,
    SYS_listxattr,
    SYS_llistxattr,
    SYS_lremovexattr,
    SYS_lsetxattr,
    SYS_lstat,
    SYS_mkdir,
    SYS_mkdirat,
    SYS_mknod,
    SYS_mknodat,
    SYS_newfstatat,
    SYS_open,
    SYS_openat,
    SYS_openat2,
    SYS_prctl,
    SYS_readlink,
    SYS_readlinkat,
    SYS_removexattr,
    SYS_rename,
    SYS_renameat,
    SYS_renameat2,
    SYS_rmdir,
    SYS_setfsgid,
    SYS_setfsuid,
    SYS_setgid,
    SYS_setgroups,
    SYS_setregid,
    SYS_setresgid,
    SYS_setresuid,
    SYS_setreuid,
    SYS_setuid,
    SYS_setxattr,
    SYS_stat,
    SYS_statfs,
    SYS_statx,
    SYS_symlink,
    SYS_symlinkat,
    SYS_truncate,
    SYS_umask,
    SYS_unlink,
    SYS_unlinkat,
    SYS_utime,
    SYS_utimensat,
    SYS_utimes,
];

/// Answered as well where Landlock does not keep signals in, as it does from Linux 6.12 on.
const SIGNALS: &[i64] = &[
    SYS_kill,
    SYS_pidfd_open,
    SYS_rt_sigqueueinfo,
    SYS_rt_tgsigqueueinfo,
    SYS_tgkill,
    SYS_tkill,
];

/// Made by the process itself, with other arguments: its stop is that of ptrace(2).
const CHANGED: &[i64] = &[SYS_execve, SYS_execveat];

/// Refused with `EPERM`: they reach files or processes past what is answered.
const REFUSED: &[i64] = &[
    SYS_chroot,
    libc::SYS_fanotify_mark,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    libc::SYS_ptrace,
    libc::SYS_process_madvise,
    libc::SYS_mq_open,
    libc::SYS_mq_unlink,
    libc::SYS_mount_setattr,
];

/// Not there: who calls them does it in an older way.
const UNKNOWN: &[i64] = &[
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    463, // setxattrat
    464, // getxattrat
    465, // listxattrat
    466, // removexattrat
];

const ALLOW: u32 = 0x7fff_0000;
const NOTIFY: u32 = 0x7fc0_0000;
const TRACE: u32 = 0x7ff0_0000;
const ERROR: u32 = 0x0005_0000;

const fn error(errno: Errno) -> u32 {
    ERROR | errno.raw_os_error().unsigned_abs()
}

/// What the lower half of an argument is, which is all that the kernel takes of these.
#[derive(Debug, Clone, Copy)]
enum Test {
    Is(u32),
    /// One of the bits is set.
    Has(u32),
    /// Anything but 0.
    Any,
}

/// A call, one of its arguments, and what becomes of the call if that is so.
type Conditional = (i64, u32, Test, u32);

/// What depends on arguments that lie in registers, where nobody changes them.
const CONDITIONAL: &[Conditional] = &[
    (
        libc::SYS_clone,
        0,
        Test::Has(REFUSED_CLONES),
        error(Errno::PERM),
    ),
    (libc::SYS_socket, 0, Test::Is(AF_UNIX), NOTIFY),
    // Of SOCK_DGRAM and SOCK_RAW, not of SOCK_STREAM and SOCK_SEQPACKET: they send to any name.
    (
        libc::SYS_socketpair,
        1,
        Test::Has(2),
        error(Errno::SOCKTNOSUPPORT),
    ),
    (libc::SYS_prlimit64, 0, Test::Any, NOTIFY),
    (libc::SYS_sched_setaffinity, 0, Test::Any, NOTIFY),
    (libc::SYS_sched_setattr, 0, Test::Any, NOTIFY),
    (libc::SYS_sched_setparam, 0, Test::Any, NOTIFY),
    (libc::SYS_sched_setscheduler, 0, Test::Any, NOTIFY),
    // Of a group or a user.
    (libc::SYS_setpriority, 0, Test::Any, error(Errno::PERM)),
    (libc::SYS_setpriority, 1, Test::Any, NOTIFY),
    (libc::SYS_ioprio_set, 0, Test::Has(2), error(Errno::PERM)),
    (libc::SYS_ioprio_set, 1, Test::Any, NOTIFY),
];

/// What has the kernel send signals when something is to be read, to whomever it is told.
const OWNERS: &[Conditional] = &[
    (
        libc::SYS_fcntl,
        1,
        Test::Is(libc::F_SETOWN.unsigned_abs()),
        error(Errno::PERM),
    ),
    (
        libc::SYS_fcntl,
        1,
        Test::Is(F_SETOWN_EX),
        error(Errno::PERM),
    ),
    (libc::SYS_ioctl, 1, Test::Is(FIOSETOWN), error(Errno::PERM)),
    (libc::SYS_ioctl, 1, Test::Is(SIOCSPGRP), error(Errno::PERM)),
];

const AF_UNIX: u32 = libc::AF_UNIX.unsigned_abs();
const F_SETOWN_EX: u32 = 15;
const FIOSETOWN: u32 = 0x8901;
const SIOCSPGRP: u32 = 0x8902;

/// Whoever is started so is not traced, or is a child of the supervisor's from the beginning.
const REFUSED_CLONES: u32 = (libc::CLONE_UNTRACED | libc::CLONE_PARENT).unsigned_abs();

/// Returns the filter whose notifications the supervisor answers.
pub(crate) fn answered(is_scoped: bool) -> BpfProgram {
    let (signals, owners): (&[_], &[_]) = if is_scoped {
        (&[], &[])
    } else {
        (SIGNALS, OWNERS)
    };
    let lists = [
        (ANSWERED, NOTIFY),
        (signals, NOTIFY),
        (REFUSED, error(Errno::PERM)),
        // A watch cannot be answered, and the kernel has no fence for it. Who is told that there are too
        // many looks from time to time instead.
        (&[libc::SYS_inotify_add_watch], error(Errno::NOSPC)),
        (UNKNOWN, error(Errno::NOSYS)),
    ];
    program(&lists, &[CONDITIONAL, owners].concat())
}

/// Returns the filter that stops a process to change what it calls. It comes last: what is used to set
/// up the other must not stop.
pub(crate) fn changed() -> BpfProgram {
    program(&[(CHANGED, TRACE)], &[])
}

/// Calls of another architecture have been refused before, but for those of x32, whose numbers are
/// these with a bit set.
fn program(lists: &[(&[i64], u32)], conditional: &[Conditional]) -> BpfProgram {
    const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
    const EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
    const NOT_LESS: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
    const BITS: u16 = 0x45; // BPF_JMP | BPF_JSET | BPF_K
    const RETURN: u16 = 0x06; // BPF_RET | BPF_K
    const X32: u32 = 0x4000_0000;
    /// Of the first argument in `struct seccomp_data`.
    const ARGUMENTS: u32 = 16;
    let instruction = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    let number = |call: i64| u32::try_from(call).unwrap_or(u32::MAX);
    let mut program = vec![
        instruction(LOAD, 0, 0, 0),
        instruction(NOT_LESS, 0, 1, X32),
        instruction(RETURN, 0, 0, error(Errno::NOSYS)),
    ];
    for (calls, action) in lists {
        for &call in *calls {
            program.push(instruction(EQUAL, 0, 1, number(call)));
            program.push(instruction(RETURN, 0, 0, *action));
        }
    }
    for &(call, argument, test, action) in conditional {
        let (code, value) = match test {
            Test::Is(value) => (EQUAL, value),
            Test::Has(bits) => (BITS, bits),
            Test::Any => (BITS, u32::MAX),
        };
        program.extend([
            instruction(EQUAL, 0, 4, number(call)),
            instruction(LOAD, 0, 0, ARGUMENTS + argument * 8),
            instruction(code, 0, 1, value),
            instruction(RETURN, 0, 0, action),
            instruction(LOAD, 0, 0, 0),
        ]);
    }
    program.push(instruction(RETURN, 0, 0, ALLOW));
    program
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_call_is_listed_twice() {
        let mut all: Vec<i64> = [ANSWERED, SIGNALS, CHANGED, REFUSED, UNKNOWN].concat();
        let conditional = [CONDITIONAL, OWNERS].concat();
        assert!(conditional.iter().all(|(call, ..)| !all.contains(call)));
        let n_listed = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), n_listed);
    }
}
