//! RUN: a command in a sandbox on an overlay; what it changed becomes a layer.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use corten_dockerfile::{Network, RunStep};
use corten_layer::beneath::Root;
use corten_layer::bytes::TreeContents;
use corten_layer::directory::{Devices, Owners};
use corten_layer::upper::{OverlayNotes, Upper, read_upper};
use corten_layer::users::{User, resolve_user};
use corten_sandbox::{
    Cancel, Init, Input, Mount, MountKind, Outcome, Process, Root as SandboxRoot, RootKind,
    Sandbox, Signals, Stdio, Tier,
};
use corten_snapshot::Bytes;
use corten_snapshot::snapshots::remove;
use corten_spec::Digest;

use crate::build::Builder;
use crate::commit::Made;
use crate::error::StepResult;
use crate::event::Event;
use crate::stage::Stage;
use crate::{Error, Result};

mod chrooted;
mod cover;
mod injected;
mod merge;
mod sockets;
mod tail;
mod tier;
mod times;
pub(crate) mod tree;
mod walk;

use injected::Injected;
use tail::Tail;
use tree::hold;

impl Builder<'_> {
    /// Executes a RUN.
    pub(crate) fn run(
        &self,
        stage: &mut Stage,
        run: &RunStep,
        shown: &str,
        step: usize,
    ) -> StepResult<Made> {
        let key = self.run_key(stage, run);
        self.once(&key, || {
            let tier = self.tier()?;
            let held = hold(self.request.cancel.as_ref())?;
            let work = Workspace::new(self.snapshots.temporary()?)?;
            let running = Running {
                run,
                shown,
                step,
                work: &work,
                tier: &tier,
            };
            let made = match tier {
                Tier::Chroot => self.run_chrooted(stage, &running, &key),
                Tier::Root { .. } | Tier::UserNamespace(_) => self.run_in(stage, &running, &key),
            };
            let removed = work.remove();
            drop(held);
            let made = made?;
            removed?;
            Ok(made)
        })
    }

    fn run_key(&self, stage: &Stage, run: &RunStep) -> Digest {
        let mut key = self.key("run", stage);
        key.run(run);
        key.finish()
    }

    fn run_in(&self, stage: &mut Stage, running: &Running<'_>, key: &Digest) -> StepResult<Made> {
        let Running {
            run, work, tier, ..
        } = *running;
        let mut lower = self.snapshots.directories(&stage.layers, devices())?;
        if lower.is_empty() {
            lower.push(work.empty.clone());
        }
        let user = self.with_contents(stage, |tree, contents| {
            resolve_user(tree, contents, &run.user)
        })?;
        let tree = stage.tree(&self.snapshots)?;
        corten_layer::upper::prepare(&tree, &Root::open(&work.upper)?, Owners::Set)?;
        let mounts = work.mounts(run)?;
        let injected = Injected::prepare(&tree, &work.upper, &mounts)?;
        let root = RootKind::Overlay {
            lower,
            upper: work.upper.clone(),
            work: work.work.clone(),
            userxattr: matches!(tier, Tier::Root { userxattr: true }),
        };
        let sandbox = sandbox(run, &user, root, mounts);
        let outcome = self.run_to_its_end(&sandbox, running)?;
        injected.withdraw(&outcome.created_mount_points)?;
        let upper = self.upper(stage, &work.upper)?;
        self.commit_upper(stage, upper, work, key)
    }

    fn upper(&self, stage: &mut Stage, path: &Path) -> Result<Upper> {
        let bytes = Bytes::new(self.snapshots.clone(), &stage.layers);
        let tree = stage.tree(&self.snapshots)?;
        let contents = TreeContents {
            tree: &tree,
            bytes: &bytes,
        };
        let root = Root::open(path)?;
        let notes = OverlayNotes::of_userxattr(corten_sandbox::in_user_namespace());
        let upper = read_upper(&tree, &contents, root, notes, &|_, _| false)?;
        self.warn_of(&upper);
        Ok(upper)
    }

    /// Tells what no layer gets.
    pub(crate) fn warn_of(&self, upper: &Upper) {
        for socket in &upper.sockets {
            let shown = corten_layer::Shown::from(socket.as_slice());
            (self.listener)(Event::Warning(&format!(
                "the socket `{shown}` is left out of the layer"
            )));
        }
        if let Some(first) = upper.xattrs_dropped.first() {
            (self.listener)(Event::Warning(&format!(
                "{} extended attributes of overlayfs are left out of the layer, such as `{first}`",
                upper.xattrs_dropped.len()
            )));
        }
    }

    /// Runs the command and passes on what it writes.
    pub(crate) fn run_to_its_end(
        &self,
        sandbox: &Sandbox,
        running: &Running<'_>,
    ) -> Result<Outcome> {
        let step = running.step;
        let cancel = self.request.cancel.as_ref();
        let sandbox = Sandbox {
            limits: self.request.run_limits,
            ..sandbox.clone()
        };
        execute(&sandbox, running.shown, cancel, &mut |bytes| {
            (self.listener)(Event::Output { step, bytes });
        })
    }

    /// Writes the layer; the upper directory becomes what the next step stacks on, without a copy.
    fn commit_upper(
        &self,
        stage: &mut Stage,
        upper: Upper,
        work: &Workspace,
        key: &Digest,
    ) -> StepResult<Made> {
        let tree = stage.tree(&self.snapshots)?;
        sockets::withdraw(&tree, &work.upper, &upper.sockets)?;
        if let Some(clamp) = self.clamp {
            times::clamp(&work.upper, &upper.changes, clamp)?;
        }
        let below = stage.diff_ids();
        let made = self.commit(
            stage,
            std::slice::from_ref(key),
            upper.changes,
            &upper.files,
        )?;
        if let Some(layer) = &made.outcome.layer {
            self.snapshots
                .adopt(&work.upper, &below, &layer.diff_id, devices())?;
        }
        Ok(made)
    }
}

/// A command and where it runs.
#[derive(Clone, Copy)]
pub(crate) struct Running<'a> {
    run: &'a RunStep,
    /// The command as history shows it.
    shown: &'a str,
    step: usize,
    work: &'a Workspace,
    tier: &'a Tier,
}

/// A user namespace may make no device nodes.
fn devices() -> Devices {
    if corten_sandbox::in_user_namespace() {
        Devices::Skip
    } else {
        Devices::Make
    }
}

fn sandbox(run: &RunStep, user: &User, root: RootKind, mounts: Vec<Mount>) -> Sandbox {
    let mut process = Process::new(run.command.clone());
    let pairs = run.proxy_env.iter().chain(&run.env);
    process.env = pairs
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    if !process.env.iter().any(|entry| entry.starts_with("HOME=")) {
        let home = user.home.clone().filter(|home| !home.is_empty());
        process
            .env
            .push(format!("HOME={}", home.unwrap_or_else(|| "/".to_owned())));
    }
    process.cwd = PathBuf::from(if run.workdir.is_empty() {
        "/"
    } else {
        &run.workdir
    });
    process.user = corten_sandbox::User {
        uid: user.uid,
        gid: user.gid,
        additional_gids: user.additional_gids.clone(),
    };
    Sandbox {
        root: SandboxRoot {
            kind: root,
            readonly: false,
        },
        mounts,
        hostname: HOST_NAME.to_owned(),
        network: match run.network {
            Network::Default | Network::Host => corten_sandbox::Network::Host,
            Network::None => corten_sandbox::Network::None,
        },
        init: Init::Reaper,
        limits: corten_sandbox::Limits::default(),
        process,
    }
}

/// Fixed, so that what a command makes of it is the same everywhere; BuildKit's default name too.
const HOST_NAME: &str = "buildkitsandbox";

fn execute(
    sandbox: &Sandbox,
    shown: &str,
    cancel: Option<&Cancel>,
    tell: &mut dyn FnMut(&[u8]),
) -> Result<Outcome> {
    let mut tail = Tail::default();
    let mut sink = |_stream, bytes: &[u8]| {
        tail.add(bytes);
        tell(bytes);
    };
    let stdio = Stdio::Sink {
        stdin: Input::Null,
        sink: &mut sink,
    };
    let outcome = match cancel {
        Some(cancel) => corten_sandbox::run_until(sandbox, stdio, cancel),
        None => corten_sandbox::run(sandbox, stdio, Signals::Leave),
    };
    let outcome = outcome.map_err(sandbox_error(shown))?;
    if outcome.status.is_success() {
        return Ok(outcome);
    }
    let status = match outcome.status {
        corten_sandbox::ExitStatus::Exited(code) => format!("exit status {code}"),
        corten_sandbox::ExitStatus::Signaled(signal) => format!("signal {signal}"),
    };
    Err(Error::Run {
        command: shown.to_owned(),
        status,
        tail: tail.lines(),
    })
}

fn sandbox_error(shown: &str) -> impl FnOnce(corten_sandbox::Error) -> Error {
    let command = shown.to_owned();
    move |source| Error::Sandbox { command, source }
}

/// The directories of one RUN.
struct Workspace {
    path: PathBuf,
    upper: PathBuf,
    work: PathBuf,
    /// What lies below when the image has no layer.
    empty: PathBuf,
}

impl Workspace {
    fn new(path: PathBuf) -> Result<Self> {
        let inside = |name| path.join(name);
        let (upper, work, empty) = (inside("upper"), inside("work"), inside("empty"));
        for directory in [&upper, &work, &empty] {
            fs::create_dir_all(directory).map_err(Error::system("create", directory))?;
        }
        let private = fs::Permissions::from_mode(0o700);
        fs::set_permissions(&path, private).map_err(Error::system("set the mode of", &path))?;
        Ok(Self {
            path,
            upper,
            work,
            empty,
        })
    }

    /// Files of the host that every command sees, as copies: a change to them goes nowhere.
    fn mounts(&self, run: &RunStep) -> Result<Vec<Mount>> {
        let mut mounts = Vec::new();
        for name in ["resolv.conf", "hosts"] {
            let copy = self.path.join(name);
            let content = fs::read(Path::new("/etc").join(name)).unwrap_or_default();
            self.write(&copy, &content, 0o644)?;
            mounts.push(bind(copy, Path::new("/etc").join(name)));
        }
        if let Some(script) = &run.script {
            let copy = self.path.join("script");
            self.write(&copy, script.content.as_bytes(), 0o755)?;
            mounts.push(bind(copy, PathBuf::from(&script.path)));
        }
        Ok(mounts)
    }

    fn write(&self, path: &Path, content: &[u8], mode: u32) -> Result<()> {
        debug_assert!(path.starts_with(&self.path), "only in this workspace");
        #[expect(
            clippy::disallowed_methods,
            reason = "a private file that nobody reads before it is mounted"
        )]
        fs::write(path, content).map_err(Error::system("write", path))?;
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(path, mode).map_err(Error::system("set the mode of", path))
    }

    fn remove(&self) -> Result<()> {
        Ok(remove(&self.path)?)
    }
}

fn bind(source: PathBuf, destination: PathBuf) -> Mount {
    Mount {
        destination,
        kind: MountKind::Bind { source },
        readonly: false,
    }
}
