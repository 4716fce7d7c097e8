//! The system-call filter every step runs under: the field's default profile, compiled to BPF.
//!
//! Two programs are installed, because the compiler knows one answer for what is not allowed and the
//! profile has two. The first refuses with `EPERM`. The second answers `ENOSYS` for `clone3`, whose
//! flags lie in memory a filter cannot read, and for calls newer than the profile. When both refuse,
//! the kernel takes the answer of the program installed last (seccomp(2), `SECCOMP_SET_MODE_FILTER`).
//!
//! A process of another architecture, as of 32-bit x86, is killed: its calls have other numbers, which
//! the compiler does not know.

mod profile;

use std::collections::BTreeMap;

use rustix::thread::CapabilitySet;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, sock_filter,
};

/// `CLONE_NEWNS | NEWCGROUP | NEWUTS | NEWIPC | NEWUSER | NEWPID | NEWNET`.
const NAMESPACE_FLAGS: u64 = 0x7e02_0000;

/// The execution domains `personality` may ask for: `PER_LINUX` and `PER_LINUX32`, each alone or with
/// `UNAME26`, and the query.
const PERSONALITIES: [u64; 5] = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// Address families a step may not open: `AF_ALG` and `AF_VSOCK` reach the kernel's crypto drivers
/// and the hypervisor's host.
const REFUSED_FAMILIES: [u64; 2] = [38, 40];

/// Families of a process without a network: `AF_UNIX` and `AF_NETLINK`, which reach no other machine.
const LOCAL_FAMILIES: [u64; 2] = [1, 16];

/// Which sockets a process may open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sockets {
    /// Those of the profile.
    Default,
    /// Those that reach no other machine, where there is no namespace to keep it from that.
    Local,
}

/// Returns the programs for a process with `capabilities`, in the order of their installation.
pub(crate) fn programs(
    capabilities: CapabilitySet,
    sockets: Sockets,
) -> Result<[BpfProgram; 2], seccompiler::BackendError> {
    let allow_list = SeccompFilter::new(
        rules(capabilities, sockets)?,
        SeccompAction::Errno(libc::EPERM.unsigned_abs()),
        SeccompAction::Allow,
        TargetArch::try_from(std::env::consts::ARCH)?,
    )?;
    Ok([allow_list.try_into()?, not_implemented(capabilities)])
}

fn rules(
    capabilities: CapabilitySet,
    sockets: Sockets,
) -> Result<BTreeMap<i64, Vec<SeccompRule>>, seccompiler::BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    if !capabilities.contains(CapabilitySet::SYS_ADMIN) {
        let no_namespace = condition(SeccompCmpOp::MaskedEq(NAMESPACE_FLAGS), 0)?;
        rules.insert(libc::SYS_clone, vec![SeccompRule::new(vec![no_namespace])?]);
    }
    let personalities = PERSONALITIES
        .iter()
        .map(|&persona| SeccompRule::new(vec![condition(SeccompCmpOp::Eq, persona)?]));
    rules.insert(
        libc::SYS_personality,
        personalities.collect::<Result<_, _>>()?,
    );
    rules.insert(libc::SYS_socket, families(sockets)?);
    for call in profile::allowed(capabilities) {
        rules.insert(call, Vec::new());
    }
    Ok(rules)
}

/// Conditions of one rule must all hold, and one of the rules.
fn families(sockets: Sockets) -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    match sockets {
        Sockets::Default => {
            let others = REFUSED_FAMILIES
                .iter()
                .map(|&family| condition(SeccompCmpOp::Ne, family));
            Ok(vec![SeccompRule::new(others.collect::<Result<_, _>>()?)?])
        }
        Sockets::Local => LOCAL_FAMILIES
            .iter()
            .map(|&family| SeccompRule::new(vec![condition(SeccompCmpOp::Eq, family)?]))
            .collect(),
    }
}

/// All arguments the profile looks at are 32-bit: the kernel ignores the upper half, and a filter
/// that compared it could be passed by setting it.
fn condition(
    operator: SeccompCmpOp,
    value: u64,
) -> Result<SeccompCondition, seccompiler::BackendError> {
    SeccompCondition::new(0, SeccompCmpArgLen::Dword, operator, value)
}

/// The second program. The first has already killed a process of another architecture.
fn not_implemented(capabilities: CapabilitySet) -> BpfProgram {
    const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
    const EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
    const GREATER: u16 = 0x25; // BPF_JMP | BPF_JGT | BPF_K
    const RETURN: u16 = 0x06; // BPF_RET | BPF_K
    let instruction = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    let number = |call: i64| u32::try_from(call).unwrap_or(u32::MAX);
    let clone3 = if capabilities.contains(CapabilitySet::SYS_ADMIN) {
        u32::MAX
    } else {
        number(libc::SYS_clone3)
    };
    vec![
        instruction(LOAD, 0, 0, 0),
        instruction(EQUAL, 1, 0, clone3),
        instruction(GREATER, 0, 1, number(profile::NEWEST_JUDGED)),
        instruction(
            RETURN,
            0,
            0,
            u32::from(SeccompAction::Errno(libc::ENOSYS.unsigned_abs())),
        ),
        instruction(RETURN, 0, 0, u32::from(SeccompAction::Allow)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caps;

    #[test]
    fn programs_fit_the_kernels_limit_of_4096_instructions() {
        let programs = programs(caps::default_set(), Sockets::Default).unwrap();
        assert!(programs.iter().map(Vec::len).sum::<usize>() < 4096);
    }

    #[track_caller]
    fn check_unconditional(capabilities: CapabilitySet, call: i64, expected: bool) {
        let rules = rules(capabilities, Sockets::Default).unwrap();
        let found = rules.get(&call).is_some_and(Vec::is_empty);
        assert_eq!(found, expected, "call {call} under {capabilities:?}");
    }

    #[test]
    fn capabilities_add_their_calls() {
        let default = caps::default_set();
        check_unconditional(default, libc::SYS_read, true);
        check_unconditional(default, libc::SYS_chroot, true);
        check_unconditional(default, libc::SYS_mount, false);
        check_unconditional(default, libc::SYS_unshare, false);
        check_unconditional(default, libc::SYS_clone, false);
        check_unconditional(default, libc::SYS_io_uring_setup, false);
        check_unconditional(CapabilitySet::empty(), libc::SYS_chroot, false);
        check_unconditional(CapabilitySet::SYS_ADMIN, libc::SYS_mount, true);
        check_unconditional(CapabilitySet::SYS_ADMIN, libc::SYS_clone, true);
    }
}
