//! What every container has that no image says: mounts, namespaces, hidden paths.
//!
//! The model is what `runc spec` and `runc spec --rootless` print, so that bundles of ours behave as
//! people know it (CNV-04). What differs: the 14 capabilities of Docker and containerd instead of
//! three, `/proc/interrupts` and `powercap` hidden as they hide them, a root that can be written to, no limit of open files (the caller's holds), and, for root, a
//! cgroup namespace also where cgroup v1 is used.

use crate::config::{Ids, Network};
use crate::spec::{DeviceRule, Linux, Mount, Namespace, Resources};

const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];
const READONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// Returns the mounts of every container.
pub(crate) fn mounts(ids: &Ids, network: Network) -> Vec<Mount> {
    // Group 5, `tty`, must have a mapping to own terminals.
    let devpts: &[&str] = match ids {
        Ids::Host => &[
            "nosuid",
            "noexec",
            "newinstance",
            "ptmxmode=0666",
            "mode=0620",
            "gid=5",
        ],
        Ids::Mapped { .. } => &[
            "nosuid",
            "noexec",
            "newinstance",
            "ptmxmode=0666",
            "mode=0620",
        ],
    };
    let mut mounts = vec![
        mount("/proc", "proc", "proc", &[]),
        mount(
            "/dev",
            "tmpfs",
            "tmpfs",
            &["nosuid", "strictatime", "mode=755", "size=65536k"],
        ),
        mount("/dev/pts", "devpts", "devpts", devpts),
        mount(
            "/dev/shm",
            "tmpfs",
            "shm",
            &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
        ),
        mount(
            "/dev/mqueue",
            "mqueue",
            "mqueue",
            &["nosuid", "noexec", "nodev"],
        ),
    ];
    mounts.push(match (ids, network) {
        // A user namespace that does not own the network may not mount sysfs.
        (Ids::Mapped { .. }, Network::Host) => mount(
            "/sys",
            "none",
            "/sys",
            &["rbind", "nosuid", "noexec", "nodev", "ro"],
        ),
        (Ids::Host, _) | (Ids::Mapped { .. }, Network::Private) => mount(
            "/sys",
            "sysfs",
            "sysfs",
            &["nosuid", "noexec", "nodev", "ro"],
        ),
    });
    if *ids == Ids::Host {
        let options = ["nosuid", "noexec", "nodev", "relatime", "ro"];
        mounts.push(mount("/sys/fs/cgroup", "cgroup", "cgroup", &options));
    }
    mounts
}

/// Returns what only Linux has.
pub(crate) fn linux(ids: &Ids, network: Network) -> Linux {
    let mut kinds = vec!["pid", "ipc", "uts", "mount"];
    if network == Network::Private {
        kinds.push("network");
    }
    let (uid_mappings, gid_mappings, resources) = match ids {
        Ids::Host => {
            kinds.push("cgroup");
            let nothing_else = DeviceRule {
                allow: false,
                access: "rwm".to_owned(),
            };
            let resources = Resources {
                devices: vec![nothing_else],
            };
            (Vec::new(), Vec::new(), Some(resources))
        }
        Ids::Mapped { uids, gids } => {
            kinds.push("user");
            (uids.clone(), gids.clone(), None)
        }
    };
    Linux {
        uid_mappings,
        gid_mappings,
        resources,
        namespaces: kinds.into_iter().map(|kind| Namespace { kind }).collect(),
        masked_paths: MASKED.map(str::to_owned).to_vec(),
        readonly_paths: READONLY.map(str::to_owned).to_vec(),
    }
}

/// Returns one mount.
pub(crate) fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> Mount {
    Mount {
        destination: destination.to_owned(),
        kind: kind.to_owned(),
        source: source.to_owned(),
        options: options.iter().map(|&option| option.to_owned()).collect(),
    }
}
