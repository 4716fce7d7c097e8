//! What a caller says about the commands of a build.

use std::collections::BTreeMap;
use std::net::IpAddr;

use corten_dockerfile::Network;
use corten_sandbox::{Content, ResourceLimit};

use crate::ssh::SshAgent;

/// What the commands of a build get and may do. None of it is in a cache key but the network, the names
/// of hosts, the size of `/dev/shm` and the limits of resources.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// Secrets by their ids, for `--mount=type=secret`.
    pub secrets: BTreeMap<String, Content>,
    /// SSH agents by their ids, for `--mount=type=ssh`.
    pub agents: BTreeMap<String, SshAgent>,
    /// The network of commands that name none.
    pub network: Network,
    /// Further names in `/etc/hosts`.
    pub hosts: Vec<(String, IpAddr)>,
    /// What `/etc/resolv.conf` says instead of what the machine's says.
    pub dns: Dns,
    /// How many bytes `/dev/shm` holds; 64 MiB if absent.
    pub shm_size: Option<u64>,
    /// Limits of a process (getrlimit(2)) that are not the caller's.
    pub resource_limits: Vec<ResourceLimit>,
    /// Whether a shell takes the place of a command that failed, on the caller's terminal.
    pub failure_shell: Option<FailureShell>,
    /// What a Dockerfile may ask for beyond the usual.
    pub allowed: Allowed,
}

/// A shell that takes the place of a command that failed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FailureShell {
    /// The value of `TERM` that fits the caller's terminal.
    pub term: Option<String>,
}

/// How names of hosts are resolved; what is empty is as the machine has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dns {
    /// Who is asked.
    pub servers: Vec<IpAddr>,
    /// Domains that names are looked for in; `.` alone stands for none.
    pub search: Vec<String>,
    /// Options of resolv.conf(5).
    pub options: Vec<String>,
}

/// What a Dockerfile may ask for beyond the usual (BuildKit's entitlements).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Allowed {
    /// `RUN --network=host` where [`RunOptions::network`] is none: by default commands have the
    /// network of the host anyway.
    pub host_network: bool,
    /// `RUN --security=insecure`.
    pub insecure: bool,
}
