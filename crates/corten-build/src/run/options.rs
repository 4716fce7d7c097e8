//! What a caller says about the commands of a build.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use corten_dockerfile::Network;
use corten_sandbox::Content;

/// What the commands of a build get and may do. None of it is in a cache key but the network and the
/// names of hosts.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// Secrets by their ids, for `--mount=type=secret`.
    pub secrets: BTreeMap<String, Content>,
    /// Sockets of SSH agents by their ids, for `--mount=type=ssh`.
    pub agents: BTreeMap<String, PathBuf>,
    /// The network of commands that name none.
    pub network: Network,
    /// Further names in `/etc/hosts`.
    pub hosts: Vec<(String, IpAddr)>,
    /// What a Dockerfile may ask for beyond the usual.
    pub allowed: Allowed,
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
