//! Capabilities: their names, the set a step has by default, and how a process is left with exactly
//! a given set.

use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capability_is_in_bounding_set, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities,
};

/// Names in the order of their numbers (capabilities(7)), as the runtime specification writes them.
const NAMES: [(&str, CapabilitySet); 41] = [
    ("CAP_CHOWN", CapabilitySet::CHOWN),
    ("CAP_DAC_OVERRIDE", CapabilitySet::DAC_OVERRIDE),
    ("CAP_DAC_READ_SEARCH", CapabilitySet::DAC_READ_SEARCH),
    ("CAP_FOWNER", CapabilitySet::FOWNER),
    ("CAP_FSETID", CapabilitySet::FSETID),
    ("CAP_KILL", CapabilitySet::KILL),
    ("CAP_SETGID", CapabilitySet::SETGID),
    ("CAP_SETUID", CapabilitySet::SETUID),
    ("CAP_SETPCAP", CapabilitySet::SETPCAP),
    ("CAP_LINUX_IMMUTABLE", CapabilitySet::LINUX_IMMUTABLE),
    ("CAP_NET_BIND_SERVICE", CapabilitySet::NET_BIND_SERVICE),
    ("CAP_NET_BROADCAST", CapabilitySet::NET_BROADCAST),
    ("CAP_NET_ADMIN", CapabilitySet::NET_ADMIN),
    ("CAP_NET_RAW", CapabilitySet::NET_RAW),
    ("CAP_IPC_LOCK", CapabilitySet::IPC_LOCK),
    ("CAP_IPC_OWNER", CapabilitySet::IPC_OWNER),
    ("CAP_SYS_MODULE", CapabilitySet::SYS_MODULE),
    ("CAP_SYS_RAWIO", CapabilitySet::SYS_RAWIO),
    ("CAP_SYS_CHROOT", CapabilitySet::SYS_CHROOT),
    ("CAP_SYS_PTRACE", CapabilitySet::SYS_PTRACE),
    ("CAP_SYS_PACCT", CapabilitySet::SYS_PACCT),
    ("CAP_SYS_ADMIN", CapabilitySet::SYS_ADMIN),
    ("CAP_SYS_BOOT", CapabilitySet::SYS_BOOT),
    ("CAP_SYS_NICE", CapabilitySet::SYS_NICE),
    ("CAP_SYS_RESOURCE", CapabilitySet::SYS_RESOURCE),
    ("CAP_SYS_TIME", CapabilitySet::SYS_TIME),
    ("CAP_SYS_TTY_CONFIG", CapabilitySet::SYS_TTY_CONFIG),
    ("CAP_MKNOD", CapabilitySet::MKNOD),
    ("CAP_LEASE", CapabilitySet::LEASE),
    ("CAP_AUDIT_WRITE", CapabilitySet::AUDIT_WRITE),
    ("CAP_AUDIT_CONTROL", CapabilitySet::AUDIT_CONTROL),
    ("CAP_SETFCAP", CapabilitySet::SETFCAP),
    ("CAP_MAC_OVERRIDE", CapabilitySet::MAC_OVERRIDE),
    ("CAP_MAC_ADMIN", CapabilitySet::MAC_ADMIN),
    ("CAP_SYSLOG", CapabilitySet::SYSLOG),
    ("CAP_WAKE_ALARM", CapabilitySet::WAKE_ALARM),
    ("CAP_BLOCK_SUSPEND", CapabilitySet::BLOCK_SUSPEND),
    ("CAP_AUDIT_READ", CapabilitySet::AUDIT_READ),
    ("CAP_PERFMON", CapabilitySet::PERFMON),
    ("CAP_BPF", CapabilitySet::BPF),
    ("CAP_CHECKPOINT_RESTORE", CapabilitySet::CHECKPOINT_RESTORE),
];

/// The 14 capabilities the field grants by default, by the names of the runtime specification.
pub const DEFAULT_CAPABILITIES: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// Returns the names of all capabilities, for a process that is not confined.
pub fn all_capabilities() -> Vec<String> {
    NAMES.iter().map(|(name, _)| (*name).to_owned()).collect()
}

/// Returns the set of `names`, or the first name that is no capability.
pub(crate) fn parse(names: &[String]) -> Result<CapabilitySet, &str> {
    let mut set = CapabilitySet::empty();
    for name in names {
        let known = NAMES.iter().find(|(known, _)| known == name);
        set |= known.ok_or(name.as_str())?.1;
    }
    Ok(set)
}

/// Takes everything outside `keep` from the bounding set, so that no executable brings it back.
///
/// A capability this kernel does not have is left out silently: it cannot be gained either.
pub(crate) fn drop_bounding(keep: CapabilitySet) -> Result<(), Errno> {
    for bit in 0..64 {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        if keep.contains(capability) {
            continue;
        }
        // Removing takes a right of its own, which who has little need not have.
        match capability_is_in_bounding_set(capability) {
            Err(Errno::INVAL) => break,
            Ok(false) => {}
            is_there => {
                is_there?;
                remove_capability_from_bounding_set(capability)?;
            }
        }
    }
    Ok(())
}

/// Leaves the calling thread with `keep`, as far as it has it.
///
/// The inheritable set stays empty, for a capability in it would pass to every executable with file
/// capabilities (CVE-2022-24769).
pub(crate) fn keep_only(keep: CapabilitySet) -> Result<(), Errno> {
    clear_ambient_capability_set()?;
    let permitted = rustix::thread::capabilities(None)?.permitted & keep;
    let inheritable = CapabilitySet::empty();
    set_capabilities(
        None,
        CapabilitySets {
            effective: permitted,
            permitted,
            inheritable,
        },
    )
}

#[cfg(any(test, target_arch = "x86_64"))]
pub(crate) fn default_set() -> CapabilitySet {
    parse(&DEFAULT_CAPABILITIES.map(String::from)).expect("they are names of capabilities")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_set_has_the_mask_every_runtime_shows() {
        assert_eq!(default_set().bits(), 0xa804_25fb);
    }

    #[test]
    fn an_unknown_name_is_returned() {
        let names = ["CAP_CHOWN".to_owned(), "CAP_SUPER".to_owned()];
        assert_eq!(parse(&names), Err("CAP_SUPER"));
    }
}
