//! What to run and in what: the values a caller fills in, close to the runtime specification's.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::caps::DEFAULT_CAPABILITIES;
use crate::cgroup::Limits;
use crate::resources::ResourceLimit;

/// A process and the world it sees.
///
/// The caller must be root, either of the machine or of a user namespace it entered with
/// [`reexec_in_user_namespace`](crate::reexec_in_user_namespace); ids are those of that namespace.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sandbox {
    /// The root file system.
    pub root: Root,
    /// Further mounts, made in this order after `/proc`, `/dev` and `/sys`.
    pub mounts: Vec<Mount>,
    /// The host name the process sees; at most 64 bytes.
    pub hostname: String,
    /// Which network the process has.
    pub network: Network,
    /// What runs as process 1.
    pub init: Init,
    /// What all of it may use of the machine.
    pub limits: Limits,
    /// The process itself.
    pub process: Process,
}

/// The root file system of a sandbox.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Root {
    /// Where its files come from.
    pub kind: RootKind,
    /// Whether the process may change it. Missing mount points are made all the same.
    pub readonly: bool,
}

/// Where the files of a root come from. All paths are the caller's and are absolute.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum RootKind {
    /// A directory, changed in place.
    Directory(PathBuf),
    /// A stack of directories; changes go to `upper`.
    ///
    /// Mounted with `volatile`: after a crash of the machine, not of the process, `upper` must not be
    /// trusted, and `fsync` inside costs nothing. Besides what the process changed, `upper` receives
    /// each mount point the image does not have (`proc`, `dev`, `sys` and those of
    /// [`Sandbox::mounts`]); [`Outcome::created_mount_points`](crate::Outcome::created_mount_points)
    /// names them. The times of the directories they are in change, too.
    Overlay {
        /// The layers beneath, the nearest first; at least one.
        lower: Vec<PathBuf>,
        /// The directory that receives changes.
        upper: PathBuf,
        /// An empty directory on the file system of `upper`.
        work: PathBuf,
        /// Whether overlay's own attributes are `user.overlay.*`, as they must be in a user namespace
        /// and should not be elsewhere.
        userxattr: bool,
    },
    /// A directory, changed in place, that is entered by chroot(2) alone: where root may mount nothing
    /// and make no namespace.
    ///
    /// There are no mounts, so that the caller puts into the directory what the process is to find, as
    /// in `/dev`. The host name and, but for a filter of sockets with [`Network::None`], the network
    /// are the caller's. [`Init::Reaper`] is the only way. Unless it is
    /// [unconfined](Process::unconfined), the process has neither `CAP_SYS_CHROOT` nor `CAP_MKNOD`,
    /// whatever it is given. The process of root has
    /// [no new privileges](Process::no_new_privileges) unless the caller has `CAP_SYS_ADMIN`;
    /// [`Outcome::shortcomings`](crate::Outcome::shortcomings) says what else is missing.
    Chroot(PathBuf),
    /// A directory, changed in place, by a process without any right that is answered by a supervisor:
    /// where nothing can be mounted, no namespace made and no root directory changed, and where there is
    /// one user only.
    ///
    /// There are no mounts, so that the caller puts into the directory what the process is to find; an
    /// empty `/proc`, `/sys` and `/dev/pts` stand for those of the machine, and `/dev` gets files that
    /// stand for devices. All files belong to the caller, who may read and write each. What they are said
    /// to be is in `records` of the workspace, [encoded](crate::FileRecords::encode), and is there
    /// afterwards. [`Init::Reaper`] is the only way. It takes Linux 5.19 with Landlock, on x86-64.
    Traced {
        /// The directory.
        directory: PathBuf,
        /// A directory for one run, on any file system from which files can be executed.
        workspace: PathBuf,
    },
    /// An EROFS image over other files; changes go to `upper`, as those of a stack of directories do.
    ///
    /// It takes Linux 6.12 and root of the machine.
    Erofs {
        /// The image.
        image: PathBuf,
        /// The files that hold its data, in the order of its device table.
        devices: Vec<PathBuf>,
        /// The directory that receives changes.
        upper: PathBuf,
        /// An empty directory on the file system of `upper`.
        work: PathBuf,
    },
}

/// A mount inside the root.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Mount {
    /// The absolute path inside the root; links on the way are resolved inside the root. A missing
    /// mount point is made: a directory, or a file for the bind of a file.
    pub destination: PathBuf,
    /// What is mounted.
    pub kind: MountKind,
    /// Whether the process may not change what is mounted, nor what is mounted beneath it.
    pub readonly: bool,
}

/// What a [`Mount`] mounts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum MountKind {
    /// A file or directory of the caller's, with all that is mounted beneath it.
    Bind {
        /// The caller's absolute path.
        source: PathBuf,
    },
    /// Part of a file tree that is made as a root is.
    Part {
        /// The tree.
        of: RootKind,
        /// The file or directory in it; links are resolved in the tree and never lead out of it.
        path: PathBuf,
    },
    /// A file in memory, which no disk ever holds.
    File {
        /// What it holds.
        content: Content,
        /// Its permission bits.
        mode: u32,
        /// Who owns it.
        uid: u32,
        /// Its group.
        gid: u32,
    },
    /// An empty file system in memory.
    Tmpfs {
        /// Its limit in bytes; half of the memory if absent.
        size: Option<u64>,
        /// The permission bits of its root directory.
        mode: u32,
    },
}

/// Bytes that may be a secret: they do not print.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content(pub Vec<u8>);

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Which network a process has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Network {
    /// The caller's.
    Host,
    /// Its own, with nothing but a loopback interface.
    None,
}

/// What runs as process 1 of the sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Init {
    /// The process itself.
    Process,
    /// A small reaper, which starts the process, hands signals on to it and collects orphans.
    Reaper,
}

/// The process a sandbox runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Process {
    /// The executable, looked up in the `PATH` of `env` if it has no `/`, and its arguments.
    pub args: Vec<String>,
    /// The whole environment, each entry `NAME=value`.
    pub env: Vec<String>,
    /// The working directory, absolute inside the root. It must exist.
    pub cwd: PathBuf,
    /// Whom the process runs as.
    pub user: User,
    /// What the process may do if it is or becomes root: names as in capabilities(7), `CAP_…`.
    pub capabilities: Vec<String>,
    /// Whether set-user-ID bits and file capabilities have no effect, so that `su` and `sudo` fail.
    pub no_new_privileges: bool,
    /// Whether no system call is filtered and nothing of `/proc` and `/sys` is masked. With all
    /// [capabilities](crate::all_capabilities) the process may then do what its caller may.
    pub unconfined: bool,
    /// Limits that are not the caller's; see [`check_resource_limits`](crate::check_resource_limits).
    pub resource_limits: Vec<ResourceLimit>,
}

impl Process {
    /// Makes a process that runs `args` as root in `/` with the default capabilities and no
    /// environment.
    pub fn new(args: Vec<String>) -> Self {
        Self {
            args,
            env: Vec::new(),
            cwd: PathBuf::from("/"),
            user: User::default(),
            capabilities: DEFAULT_CAPABILITIES.map(String::from).to_vec(),
            no_new_privileges: false,
            unconfined: false,
            resource_limits: Vec::new(),
        }
    }
}

/// Whom a process runs as, in numbers: names are looked up by the caller, in the image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The user id; 0 by default.
    pub uid: u32,
    /// The group id; 0 by default.
    pub gid: u32,
    /// All supplementary groups.
    pub additional_gids: Vec<u32>,
}
