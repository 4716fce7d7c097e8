//! RUN: a command in a sandbox on an overlay; what it changed becomes a layer.

use std::path::{Path, PathBuf};

use corten_dockerfile::{Network, RunStep, Security};
use corten_layer::beneath::Root;
use corten_layer::bytes::TreeContents;
use corten_layer::directory::{Devices, Owners};
use corten_layer::upper::{OverlayNotes, Upper, read_marked_upper, read_upper};
use corten_layer::users::{User, resolve_builder};
use corten_sandbox::{
    Cancel, Init, Input, Outcome, Process, Root as SandboxRoot, RootKind, Sandbox, Stdio, Tier,
};
use corten_spec::Digest;

use crate::build::Builder;
use crate::commit::Made;
use crate::error::StepResult;
use crate::event::Event;
use crate::packing::{Layer, packed};
use crate::stage::Stage;
use crate::steps::Task;
use crate::{Error, Result};

mod agent;
pub(crate) mod caches;
mod chrooted;
mod cover;
pub(crate) mod foreign;
mod full_disk;
mod injected;
mod merge;
mod mounts;
mod one_id;
pub(crate) mod options;
mod owners;
mod places;
mod refusals;
mod resolvers;
mod shell;
mod sockets;
mod tail;
mod tier;
mod times;
mod traced;
pub(crate) mod tree;
mod walk;
mod workspace;

pub(crate) use places::Copied;
pub(crate) use refusals::refused;
pub(crate) use workspace::Workspace;

use injected::Injected;
use mounts::Prepared;
use places::{Naming, Taken};
use tail::Tail;

impl Builder<'_> {
    /// Makes the directories of a RUN; the build does not end before they are removed.
    pub(crate) fn workspace(&self) -> Result<Workspace> {
        let held = self.hold_end()?;
        Workspace::new(self.snapshots.temporary()?, held)
    }

    /// Executes a RUN.
    pub(crate) fn run(
        &self,
        stage: &mut Stage,
        run: &RunStep,
        shown: &str,
        task: &Task<'_>,
    ) -> StepResult<Made> {
        let taken = self.take_all(run)?;
        // Files of a stage are named by its layers: a hit on those reads none of them.
        let by_layers = taken.iter().flatten().any(Taken::is_layered);
        let by_layers = by_layers
            .then(|| self.run_key(stage, run, &taken, Naming::Layers))
            .transpose()?;
        if let Some(key) = &by_layers
            && let Some(made) = self.cached(stage.cache, key)?
        {
            self.note_foreign(task.platform);
            return Ok(made);
        }
        let key = self.run_key(stage, run, &taken, Naming::Contents)?;
        let made = self.once(stage.cache, &key, || {
            foreign::check_platform(task.platform)?;
            let tier = self.tier()?;
            let work = self.workspace()?;
            let running = Running {
                run,
                shown,
                step: task.step,
                work: &work,
                tier: &tier,
            };
            let made = match tier {
                Tier::Chroot => self.run_chrooted(stage, &running, &taken, &key),
                Tier::Traced => self.run_traced(stage, &running, &taken, &key),
                Tier::Root { .. } | Tier::UserNamespace(_) => {
                    self.run_in(stage, &running, &taken, &key)
                }
            };
            let removed = work.remove();
            let made = made?;
            removed?;
            Ok(made)
        })?;
        self.note_foreign(task.platform);
        if let Some(key) = &by_layers {
            self.record(key, &made.outcome, stage.diff_ids())?;
        }
        Ok(made)
    }

    fn run_key(
        &self,
        stage: &Stage,
        run: &RunStep,
        taken: &[Option<Taken<'_>>],
        naming: Naming,
    ) -> Result<Digest> {
        let kind = match naming {
            Naming::Layers => "run with layers",
            Naming::Contents => "run",
        };
        let mut key = self.key(kind, stage);
        let network = match self.network(run) {
            corten_sandbox::Network::Host => "host",
            corten_sandbox::Network::None => "none",
        };
        key.run(run, network);
        key.number(i64::from(run.security == Security::Insecure));
        key.surroundings(
            self.host_name(),
            self.request.run.shm_size,
            &self.request.run.resource_limits,
        );
        // Where the names lead may differ from machine to machine, as it may for those of DNS.
        let hosts: Vec<_> = self
            .request
            .run
            .hosts
            .iter()
            .map(|(name, _)| name)
            .collect();
        key.list(&hosts);
        self.add_mounts(&mut key, run, taken, naming)?;
        Ok(key.finish())
    }

    /// Returns what a command sees as the name of its host: one that is the same everywhere unless a
    /// build argument says otherwise, as for BuildKit.
    fn host_name(&self) -> &str {
        let named = self.request.build_args.get(HOST_NAME_ARGUMENT);
        let named = named.filter(|name| !name.is_empty());
        named.map_or(HOST_NAME, String::as_str)
    }

    fn network(&self, run: &RunStep) -> corten_sandbox::Network {
        let network = match run.network {
            Network::Default => self.request.run.network,
            named => named,
        };
        match network {
            Network::Default | Network::Host => corten_sandbox::Network::Host,
            Network::None => corten_sandbox::Network::None,
        }
    }

    fn run_in(
        &self,
        stage: &mut Stage,
        running: &Running<'_>,
        taken: &[Option<Taken<'_>>],
        key: &Digest,
    ) -> StepResult<Made> {
        let Running {
            run, work, tier, ..
        } = *running;
        let mut lower = self.directories(&stage.layers)?;
        if lower.is_empty() {
            lower.push(work.empty.clone());
        }
        let user = self.with_contents(stage, |tree, contents| {
            resolve_builder(tree, contents, &run.user)
        })?;
        let is_root = (user.uid, user.gid) == (0, 0);
        if !is_root && corten_sandbox::has_one_id() {
            let user = run.user.clone();
            return Err(Error::UserRefused { user }.into());
        }
        let tree = stage.tree(&self.snapshots)?;
        corten_layer::upper::prepare(&tree, &Root::open(&work.upper)?, owners())?;
        let prepared = self.prepare_mounts(running, taken)?;
        let injected = Injected::prepare(&tree, &work.upper, &run.workdir, &prepared.points)?;
        let root = RootKind::Overlay {
            lower,
            upper: work.upper.clone(),
            work: work.work.clone(),
            userxattr: matches!(tier, Tier::Root { userxattr: true }),
        };
        let sandbox = sandbox(run, &user, root, self.network(run), &prepared);
        let outcome = self
            .run_to_its_end(&sandbox, running)
            .map_err(|error| one_id::explained(error, tier.isolation()))?;
        // Others may use its caches now.
        drop(prepared);
        injected.withdraw(&outcome.created_mount_points)?;
        let upper = self.upper(stage, &work.upper)?;
        self.commit_upper(stage, upper, work, key)
    }

    /// Returns the directories that show `layers`: those that steps of this build left are there before
    /// their layers are packed.
    pub(crate) fn directories(&self, layers: &[Layer]) -> Result<Vec<PathBuf>> {
        let diff_ids: Vec<_> = layers.iter().map(|layer| layer.diff_id.clone()).collect();
        match self.snapshots.standing_directories(&diff_ids, devices())? {
            Some(directories) => Ok(directories),
            None => Ok(self.snapshots.directories(&packed(layers)?, devices())?),
        }
    }

    fn upper(&self, stage: &mut Stage, path: &Path) -> Result<Upper> {
        let bytes = stage.bytes(&self.snapshots);
        let tree = stage.tree(&self.snapshots)?;
        let contents = TreeContents {
            tree: &tree,
            bytes: &bytes,
        };
        let root = Root::open(path)?;
        let upper = if owners() == Owners::Mark {
            read_marked_upper(&tree, &contents, root, &|_, _| false)?
        } else {
            let notes = OverlayNotes::of_userxattr(corten_sandbox::in_user_namespace());
            read_upper(&tree, &contents, root, notes, &|_, _| false)?
        };
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
        let mut sandbox = Sandbox {
            limits: self.request.run_limits,
            hostname: self.host_name().to_owned(),
            ..sandbox.clone()
        };
        let limits = &self.request.run.resource_limits;
        sandbox.process.resource_limits.clone_from(limits);
        let result = execute(&sandbox, running.shown, &self.cancel, &mut |bytes| {
            (self.listener)(Event::Output { step, bytes });
        });
        // Before its directories are removed, after which there is space again.
        let result = result.map_err(|error| full_disk::explained(error, self.store.root()));
        if let (Err(Error::Run { .. }), Some(shell)) = (&result, &self.request.run.failure_shell) {
            self.open_shell(&sandbox, shell);
        }
        result
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

/// In a user namespace of one id nothing can be given to another.
pub(crate) fn owners() -> Owners {
    if corten_sandbox::has_one_id() {
        Owners::Mark
    } else {
        Owners::Set
    }
}

fn sandbox(
    run: &RunStep,
    user: &User,
    root: RootKind,
    network: corten_sandbox::Network,
    prepared: &Prepared,
) -> Sandbox {
    let mut process = Process::new(run.command.clone());
    // A secret wins over a variable of the same name.
    let is_secret = |name: &String| prepared.env.iter().any(|(secret, _)| secret == name);
    let pairs = run.proxy_env.iter().chain(&run.env);
    let pairs = pairs.filter(|(name, _)| !is_secret(name));
    process.env = pairs
        .chain(&prepared.env)
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
        // BuildKit puts the user's own group first.
        additional_gids: [&[user.gid], user.additional_gids.as_slice()].concat(),
    };
    if run.security == Security::Insecure {
        process.unconfined = true;
        process.capabilities = corten_sandbox::all_capabilities();
    }
    Sandbox {
        root: SandboxRoot {
            kind: root,
            readonly: false,
        },
        mounts: prepared
            .points
            .iter()
            .map(|point| point.mount.clone())
            .collect(),
        hostname: HOST_NAME.to_owned(),
        network,
        init: Init::Reaper,
        limits: corten_sandbox::Limits::default(),
        process,
    }
}

/// Fixed, so that what a command makes of it is the same everywhere; BuildKit's default name too.
const HOST_NAME: &str = "buildkitsandbox";
/// The build argument that names another one.
const HOST_NAME_ARGUMENT: &str = "BUILDKIT_SANDBOX_HOSTNAME";

fn execute(
    sandbox: &Sandbox,
    shown: &str,
    cancel: &Cancel,
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
    let outcome =
        corten_sandbox::run_until(sandbox, stdio, cancel).map_err(|error| match error {
            corten_sandbox::Error::Cancelled => Error::Stopped,
            other => sandbox_error(shown)(other),
        })?;
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
        is_disk_full: false,
    })
}

fn sandbox_error(shown: &str) -> impl FnOnce(corten_sandbox::Error) -> Error {
    let command = shown.to_owned();
    move |source| Error::Sandbox { command, source }
}
