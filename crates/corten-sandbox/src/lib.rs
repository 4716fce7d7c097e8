//! Runs one process in a root file system, isolated by namespaces, a system-call filter and dropped
//! capabilities.
//!
//! Knows no image: a caller says in a [`Sandbox`] what the root is made of and what runs in it, and
//! [`run`] starts this executable again as a single-threaded stage that makes the mounts, enters them
//! and becomes the process. Root of the machine can do so at once; an ordinary user enters a user
//! namespace first ([`reexec_in_user_namespace`]). [`probe`] says which of the two it is, or what to do
//! about neither. Needs Linux 5.12.
//!
//! ```standalone_crate
//! use corten_sandbox::{Tier, init_if_child, probe};
//!
//! fn main() {
//!     // The stage is this executable again.
//!     init_if_child();
//!     let found = probe();
//!     match &found.tier {
//!         Some(Tier::Root { .. }) => assert_eq!(found.uid, 0),
//!         Some(Tier::UserNamespace(map)) => assert_eq!(map.uids[0].inside, 0),
//!         Some(Tier::Chroot | Tier::Traced) => unreachable!("`choose` is for those who can do with that"),
//!         None => assert!(found.checks.iter().any(|check| check.problem.is_some())),
//!     }
//! }
//! ```
//!
//! Against the known escapes of container runtimes:
//!
//! - The stage runs from a read-only mount of its own, so that nobody can overwrite this executable
//!   through `/proc/PID/exe` (CVE-2019-5736).
//! - Every descriptor but the first three closes on execution, and the working directory must have a
//!   path in the root (CVE-2024-21626).
//! - Mounts are made and attached by descriptor, resolved in the root, and done before any process of
//!   the sandbox runs; what is mounted from the host is checked to be what it should be
//!   (CVE-2019-19921, CVE-2025-31133, CVE-2025-52565, CVE-2025-52881).
//! - Inheritable capabilities are empty (CVE-2022-24769), and the process has a session of its own.

mod cancel;
mod caps;
mod cgroup;
mod channel;
mod child;
mod chroot;
mod descendants;
mod devices;
mod emulation;
mod error;
mod idmap;
mod init;
mod isolation;
mod landlock;
mod mountpoint;
mod mounts;
mod paths;
mod poll;
mod probe;
mod process;
mod records;
mod resources;
mod root;
mod run;
mod seccomp;
mod spec;
mod stage;
mod stdio;
mod survey;
mod sys;
mod terminal;
#[cfg(target_arch = "x86_64")]
mod traced;
#[cfg(not(target_arch = "x86_64"))]
#[path = "untraced.rs"]
mod traced;
mod userns;

pub use cancel::{Cancel, Held};
pub use caps::{DEFAULT_CAPABILITIES, all_capabilities};
pub use cgroup::{Limits, check_limits};
pub use child::ExitStatus;
pub use devices::fill_dev;
pub use emulation::{Emulator, Missing, Runs, emulation};
pub use error::Error;
pub use idmap::{IdMap, MapRange, has_one_id, in_user_namespace};
pub use isolation::{Isolation, Survey, Verdict, choose, survey};
pub use probe::{Check, Probe, Tier, probe, probe_one_id};
pub use records::{FileContent, FileId, FileRecord, FileRecords, RecordedDevice};
pub use resources::{ResourceLimit, check_resource_limits};
pub use run::{Outcome, Signals, run, run_until};
pub use spec::{Content, Init, Mount, MountKind, Network, Process, Root, RootKind, Sandbox, User};
pub use stage::init_if_child;
pub use stdio::{Input, Stdio, Stream};
pub use userns::{Entered, entered, reexec_in_user_namespace};
