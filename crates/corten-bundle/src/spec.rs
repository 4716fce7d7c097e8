//! The runtime specification's `config.json`, as far as we write it.
//!
//! Fields that we never set are not here. What is written is a function of the values alone: maps
//! are sorted, and lists keep their order.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The version of the runtime specification that we write: the newest that runc 1.1 and crun 1.8
/// both take.
pub const OCI_VERSION: &str = "1.0.2";

/// A whole `config.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RuntimeConfig {
    /// The version of the specification.
    pub oci_version: &'static str,
    /// What runs.
    pub process: Process,
    /// Where its files are.
    pub root: Root,
    /// The host name that it sees.
    pub hostname: String,
    /// What is mounted, in this order.
    pub mounts: Vec<Mount>,
    /// What the image says about itself.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// What only Linux has.
    pub linux: Linux,
}

/// The process of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Process {
    /// Whether it has a terminal.
    pub terminal: bool,
    /// Whom it runs as.
    pub user: ProcessUser,
    /// The executable and its arguments.
    pub args: Vec<String>,
    /// The whole environment, in order.
    pub env: Vec<String>,
    /// The working directory, absolute.
    pub cwd: String,
    /// What it may do.
    pub capabilities: Capabilities,
    /// Whether set-user-ID bits have no effect.
    pub no_new_privileges: bool,
}

/// Whom a process runs as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessUser {
    /// The user id.
    pub uid: u32,
    /// The group id.
    pub gid: u32,
    /// Further groups.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub additional_gids: Vec<u32>,
}

/// The sets of capabilities of a process. The inheritable and the ambient one stay empty: with them
/// a process that gave up being root would still have its rights (CVE-2022-24769).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Capabilities {
    /// What it or its children can ever get.
    pub bounding: Vec<String>,
    /// What counts now.
    pub effective: Vec<String>,
    /// What it may make count.
    pub permitted: Vec<String>,
}

/// The root file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Root {
    /// The directory, relative to that of `config.json`.
    pub path: String,
    /// Whether nothing in it can be changed.
    pub readonly: bool,
}

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mount {
    /// The absolute path inside the root.
    pub destination: String,
    /// The type of the file system; `bind` for a bind mount.
    #[serde(rename = "type")]
    pub kind: String,
    /// What is mounted.
    pub source: String,
    /// Options as of mount(8).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

/// What only Linux has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Linux {
    /// User ids inside and outside.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub uid_mappings: Vec<IdMapping>,
    /// Group ids inside and outside.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gid_mappings: Vec<IdMapping>,
    /// Limits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// What the container has of its own.
    pub namespaces: Vec<Namespace>,
    /// Paths that read as empty.
    pub masked_paths: Vec<String>,
    /// Paths that cannot be written to.
    pub readonly_paths: Vec<String>,
}

/// A range of ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IdMapping {
    /// The first id inside.
    #[serde(rename = "containerID")]
    pub container_id: u32,
    /// The first id outside.
    #[serde(rename = "hostID")]
    pub host_id: u32,
    /// How many there are.
    pub size: u32,
}

/// Limits of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Resources {
    /// Which devices it may use, beside those that every runtime allows.
    pub devices: Vec<DeviceRule>,
}

/// A rule for devices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeviceRule {
    /// Whether it allows or forbids.
    pub allow: bool,
    /// What: letters of `rwm`.
    pub access: String,
}

/// A namespace of the container's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Namespace {
    /// Its type, such as `pid`.
    #[serde(rename = "type")]
    pub kind: &'static str,
}
