//! Instructions with every variable expanded: what the builder does.

use std::collections::BTreeSet;

use crate::instruction::Network;
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
    /// Where to run: absolute, or empty for the root.
    pub workdir: String,
    /// As whom, as USER has it; empty for root.
    pub user: String,
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
    /// Paths first, then here-documents.
    pub sources: Vec<Source>,
    /// Absolute; a slash at the end makes it a directory.
    pub dest: String,
    /// `user`, `user:group` or `:group`, names or numbers.
    pub chown: Option<String>,
    /// The mode.
    pub chmod: Option<Chmod>,
    /// Whether local archives are unpacked.
    pub add: bool,
}

/// What is copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A path or pattern, absolute from the root of the context or stage, cleaned.
    Path(String),
    /// A file of mode 0644.
    Inline {
        /// Its name.
        name: String,
        /// Its text.
        content: String,
    },
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
