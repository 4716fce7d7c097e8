//! Instructions with every variable expanded: what the builder does.

use std::collections::BTreeSet;
use std::fmt;

use crate::address::address_without_credentials;
use crate::diagnostic::Span;
use crate::git_url::GitUrl;
use crate::instruction::{Network, Security, Sharing};
use crate::scope::Base;

/// A step and what there is to say about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// What to do.
    pub step: Step,
    /// The `created_by` of the history entry as BuildKit writes it; `None` where it writes none.
    pub created_by: Option<String>,
    /// The variables that were replaced.
    pub used: BTreeSet<String>,
    /// The variables that were named and have no value.
    pub unset: BTreeSet<String>,
}

/// What an instruction does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Nothing to the image: variables for the build, with their values where they have one.
    Arg(Vec<(String, Option<String>)>),
    /// Sets `Cmd`.
    Cmd(Vec<String>),
    /// Copies files.
    Copy(Box<CopyStep>),
    /// Sets `Entrypoint`.
    Entrypoint {
        /// The arguments, the shell included; empty to remove it.
        command: Vec<String>,
        /// Whether `Cmd` is removed: it comes from the base image.
        clear_cmd: bool,
    },
    /// Sets `Env`: replaces in place, else appends.
    Env(Vec<(String, String)>),
    /// Adds to `ExposedPorts`: `80/tcp`, ranges written out, no key twice.
    Expose(Vec<String>),
    /// Sets `Healthcheck`.
    Healthcheck(HealthcheckStep),
    /// Sets `Labels`.
    Label(Vec<(String, String)>),
    /// Sets `author`.
    Maintainer(String),
    /// Appends to `OnBuild`.
    OnBuild(String),
    /// Runs a command.
    Run(Box<RunStep>),
    /// Sets `Shell`.
    Shell(Vec<String>),
    /// Sets `StopSignal`.
    StopSignal(String),
    /// Sets `User`.
    User(String),
    /// Adds to `Volumes`.
    Volume(Vec<String>),
    /// Sets `WorkingDir` and, unless it is the root, creates the directory.
    Workdir {
        /// Absolute; a path that was written absolute is not cleaned.
        path: String,
    },
}

/// RUN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunStep {
    /// The arguments, the shell included.
    pub command: Vec<String>,
    /// The environment, build arguments included, each name once.
    pub env: Vec<(String, String)>,
    /// The proxies, which go before `env` and into no cache key.
    pub proxy_env: Vec<(String, String)>,
    /// A script that must lie at its path while the command runs, and not in the image.
    pub script: Option<Script>,
    /// The network.
    pub network: Network,
    /// Whether it is confined.
    pub security: Security,
    /// What is mounted while the command runs, in the order of the flags.
    pub mounts: Vec<RunMount>,
    /// Where to run: absolute, or empty for the root.
    pub workdir: String,
    /// As whom, as USER has it; empty for root.
    pub user: String,
}

/// What is mounted while a command runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunMount {
    /// Where: absolute, cleaned, and never the root. Ignored for a secret that is only a variable.
    pub target: String,
    /// Whether the command may not write to it.
    pub readonly: bool,
    /// What.
    pub kind: RunMountKind,
    /// The flag.
    pub span: Span,
}

/// What a [`RunMount`] mounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunMountKind {
    /// Files from elsewhere; what the command writes to them is thrown away.
    Bind {
        /// Where they are; `None` for the build context.
        from: Option<Base>,
        /// The file or directory there, absolute and cleaned.
        source: String,
    },
    /// A directory that later builds find again.
    Cache {
        /// Its name, the namespace included.
        id: String,
        /// Who may use it at the same time.
        sharing: Sharing,
        /// What it holds at first; `None` for nothing.
        from: Option<Base>,
        /// The part of it that is mounted, absolute and cleaned.
        source: String,
        /// Who owns it, if it is made with an owner or mode.
        owner: Option<Ownership>,
    },
    /// An empty directory in memory.
    Tmpfs {
        /// Its limit in bytes.
        size: Option<u64>,
    },
    /// A secret of the build.
    Secret {
        /// Its name.
        id: String,
        /// Whether the build fails without it.
        required: bool,
        /// Whether it is a file at the target.
        file: bool,
        /// The variable that holds it, too.
        env: Option<String>,
        /// Who owns the file.
        owner: Ownership,
    },
    /// A socket of an SSH agent.
    Ssh {
        /// Its name.
        id: String,
        /// Whether the build fails without it.
        required: bool,
        /// Who owns the socket.
        owner: Ownership,
    },
}

/// Who owns what is mounted, and what its permission bits are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ownership {
    /// The permission bits.
    pub mode: u32,
    /// The user's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
}

/// A here-document that names its interpreter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// Where it is expected.
    pub path: String,
    /// Its text.
    pub content: String,
}

/// COPY or ADD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyStep {
    /// Where the paths are; `None` for the build context.
    pub from: Option<Base>,
    /// Paths and addresses first, then here-documents.
    pub sources: Vec<Source>,
    /// Absolute; a slash at the end makes it a directory.
    pub dest: String,
    /// `user`, `user:group` or `:group`, names or numbers; with `link` only numbers.
    pub chown: Option<String>,
    /// The mode.
    pub chmod: Option<Chmod>,
    /// Whether archives among the paths are unpacked.
    pub unpack_paths: bool,
    /// Whether archives among the addresses are unpacked.
    pub unpack_addresses: bool,
    /// Whether the files become a layer that knows nothing of those beneath.
    pub link: bool,
    /// What is left out of each source, as [`Ignore::of_patterns`](crate::Ignore::of_patterns)
    /// takes it.
    pub excludes: Vec<String>,
}

/// What is copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A path or pattern, absolute from the root of the context or stage, cleaned.
    Path(String),
    /// Everything below some directories that matches a pattern, with the directories above it.
    Parents {
        /// The directories that what matches is relative to: a path or pattern like that of
        /// [`Path`](Self::Path).
        pivot: String,
        /// What is taken: relative to the pivot, cleaned, with `**`.
        pattern: String,
        /// Whether something has to match: neither of the two is a pattern.
        required: bool,
    },
    /// A file of mode 0644.
    Inline {
        /// Its name.
        name: String,
        /// Its text.
        content: String,
    },
    /// A file that is fetched over HTTP, of mode 0600.
    Http(Box<HttpSource>),
    /// A tree of a git repository.
    Git(Box<GitSource>),
}

/// A file that is fetched over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpSource {
    /// Where from.
    pub url: Address,
    /// What it is called in a directory.
    pub name: String,
    /// The SHA-256 that it must have, 64 digits in lower case.
    pub checksum: Option<String>,
}

/// A tree of a git repository.
#[derive(Clone, PartialEq, Eq)]
pub struct GitSource {
    /// The place, with the flags of the instruction in it.
    pub url: GitUrl,
}

impl fmt::Debug for GitSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let remote = self.url.shown_remote();
        f.debug_struct("GitSource")
            .field("remote", &remote)
            .finish_non_exhaustive()
    }
}

/// An address, which may hold a password: it is printed without.
#[derive(Clone, PartialEq, Eq)]
pub struct Address(String);

impl Address {
    /// Takes the text for an address.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns all of it: for the wire and for digests, never for a message.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&address_without_credentials(&self.0))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

/// The mode that `--chmod` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chmod {
    /// At most 0o7777.
    Octal(u32),
    /// As for chmod(1), such as `u=rwX,go=rX`; checked.
    Symbolic(String),
}

/// `Healthcheck` of the image's config; durations in nanoseconds, 0 for the default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthcheckStep {
    /// `Test`: begins with `NONE`, `CMD` or `CMD-SHELL`.
    pub test: Vec<String>,
    /// `Interval`.
    pub interval: i64,
    /// `Timeout`.
    pub timeout: i64,
    /// `StartPeriod`.
    pub start_period: i64,
    /// `StartInterval`.
    pub start_interval: i64,
    /// `Retries`.
    pub retries: u32,
}
