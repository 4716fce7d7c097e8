//! `RUN --mount`: what is mounted while a command runs, and what of it is in the step's key.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use corten_dockerfile::{Diagnostic, Ownership, RunMount, RunMountKind, RunStep, Sharing};
use corten_sandbox::{Isolation, Mount, MountKind, RootKind, Tier};
use corten_spec::Digest;

use crate::build::Builder;
use crate::error::{StepError, StepResult};
use crate::explain::Ledger;
use crate::key::Key;
use crate::run::agent::Agent;
use crate::run::caches::{self, Held, Wanted};
use crate::run::owners;
use crate::run::places::{Naming, Taken};
use crate::run::workspace::hosts_file;
use crate::run::{Running, resolvers};
use crate::{Error, Result};

/// A mount, and what its mount point is to be.
#[derive(Debug)]
pub(crate) struct Point {
    pub(crate) mount: Mount,
    pub(crate) is_directory: bool,
}

/// Everything that is mounted for a command, in order, and what must live as long as it runs.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) points: Vec<Point>,
    /// Variables that hold secrets.
    pub(crate) env: Vec<(String, String)>,
    _caches: HashMap<Digest, Held>,
    _agents: Vec<Agent>,
}

impl Builder<'_> {
    /// Finds what each mount of `run` takes from elsewhere.
    pub(crate) fn take_all(&self, run: &RunStep) -> StepResult<Vec<Option<Taken<'_>>>> {
        let take = |mount: &RunMount| match &mount.kind {
            RunMountKind::Bind { from, source } => {
                self.take_from(from.as_ref(), source, mount.span).map(Some)
            }
            RunMountKind::Cache {
                from: Some(from), ..
            } => self.take_from(Some(from), "/", mount.span).map(Some),
            RunMountKind::Cache { .. }
            | RunMountKind::Tmpfs { .. }
            | RunMountKind::Secret { .. }
            | RunMountKind::Ssh { .. } => Ok(None),
        };
        run.mounts.iter().map(take).collect()
    }

    /// Adds the mounts to a key. As with BuildKit neither the name of a cache nor what it holds counts,
    /// and of secrets and agents only what is said about them.
    pub(crate) fn add_mounts(
        &self,
        key: &mut Key,
        run: &RunStep,
        taken: &[Option<Taken<'_>>],
        naming: Naming,
    ) -> Result<()> {
        key.number(i64::try_from(run.mounts.len()).unwrap_or(i64::MAX));
        for (mount, taken) in run.mounts.iter().zip(taken) {
            key.text(&mount.target);
            key.number(i64::from(mount.readonly));
            match &mount.kind {
                RunMountKind::Bind { .. } => key.text("bind"),
                RunMountKind::Cache { source, owner, .. } => {
                    key.list(&["cache", source]);
                    key.optional(owner.map(|owner| format!("{owner:?}")).as_deref());
                }
                RunMountKind::Tmpfs { size } => {
                    key.text("tmpfs");
                    key.optional(size.map(|size| size.to_string()).as_deref());
                }
                RunMountKind::Secret {
                    id,
                    required,
                    file,
                    env,
                    owner,
                } => {
                    key.list(&["secret", id]);
                    key.number(i64::from(*required));
                    key.number(i64::from(*file));
                    key.optional(env.as_deref());
                    key.text(&format!("{owner:?}"));
                }
                RunMountKind::Ssh {
                    id,
                    required,
                    owner,
                } => {
                    key.list(&["ssh", id]);
                    key.number(i64::from(*required));
                    key.text(&format!("{owner:?}"));
                }
            }
            key.number(i64::from(taken.is_some()));
            if let Some(taken) = taken {
                self.add_taken(key, taken, naming)?;
            }
        }
        Ok(())
    }

    /// Gets everything ready that a command has mounted.
    pub(crate) fn prepare_mounts(
        &self,
        running: &Running<'_>,
        taken: &[Option<Taken<'_>>],
    ) -> StepResult<Prepared> {
        let run = running.run;
        let options = &self.request.run;
        let resolvers = resolvers::for_command(self.network(run), &options.dns);
        let hosts = hosts_file(&options.hosts, self.host_name());
        let files = running
            .work
            .files(&resolvers, &hosts, run.script.as_ref())?;
        let mut points: Vec<Point> = files
            .into_iter()
            .map(|mount| Point {
                mount,
                is_directory: false,
            })
            .collect();
        // What is missing is told before anything is waited for.
        let mut env = Vec::new();
        let mut agents = Vec::new();
        for mount in &run.mounts {
            match &mount.kind {
                RunMountKind::Secret { .. } => points.extend(self.secret(mount, &mut env)?),
                RunMountKind::Ssh { .. } => {
                    if let Some(agent) = self.agent(mount, running, agents.len())? {
                        let source = agent.socket.clone();
                        points.push(point(mount, MountKind::Bind { source }, false));
                        agents.push(agent);
                    }
                }
                RunMountKind::Bind { .. }
                | RunMountKind::Cache { .. }
                | RunMountKind::Tmpfs { .. } => {}
            }
        }
        let is_bare = matches!(running.tier, Tier::Chroot | Tier::Traced);
        if is_bare {
            self.check_bare(run, taken, running.tier.isolation())?;
        }
        let caches = self.hold_caches(run, taken, is_bare)?;
        let userxattr = matches!(running.tier, Tier::Root { userxattr: true });
        for (number, (mount, taken)) in run.mounts.iter().zip(taken).enumerate() {
            match (&mount.kind, taken) {
                (RunMountKind::Bind { .. }, Some(taken)) => {
                    let name = format!("mount{number}");
                    let kind = if is_bare {
                        let source = self.placed(taken, &running.work.directory(&name)?)?;
                        MountKind::Bind { source }
                    } else {
                        let (of, path) = self.overlay(taken, running.work, &name, userxattr)?;
                        MountKind::Part { of, path }
                    };
                    points.push(point(mount, kind, taken.is_directory()));
                }
                (RunMountKind::Cache { source, .. }, taken) => {
                    let held = caches.get(&self.cache_name(mount, taken.as_ref())?);
                    points.extend(held.map(|held| cache_point(mount, held, source)));
                }
                (RunMountKind::Tmpfs { size }, _) => {
                    let (size, mode) = (*size, 0o1777);
                    points.push(point(mount, MountKind::Tmpfs { size, mode }, true));
                }
                (
                    RunMountKind::Bind { .. }
                    | RunMountKind::Secret { .. }
                    | RunMountKind::Ssh { .. },
                    _,
                ) => {}
            }
        }
        if let Some(size) = options.shm_size {
            points.push(shared_memory(size));
        }
        // What is mounted inside another mount comes after it, whatever the order of the flags.
        points.sort_by_key(|point| point.mount.destination.components().count());
        Ok(Prepared {
            points,
            env,
            _caches: caches,
            _agents: agents,
        })
    }

    fn secret(
        &self,
        mount: &RunMount,
        env: &mut Vec<(String, String)>,
    ) -> StepResult<Option<Point>> {
        let RunMountKind::Secret {
            id,
            required,
            file,
            env: variable,
            owner,
        } = &mount.kind
        else {
            return Ok(None);
        };
        let secret = self.request.run.secrets.get(id);
        if secret.is_none() && *required {
            return Err(missing(
                mount,
                &format!("the secret `{id}` is required and was not given"),
                &format!("pass it with `--secret id={id},src=FILE` or `--secret id={id},env=NAME`"),
            ));
        }
        if let Some(variable) = variable {
            // Without the secret the variable is empty.
            let bytes = secret.map_or(&[][..], |secret| &secret.0);
            let text = std::str::from_utf8(bytes)
                .ok()
                .filter(|text| !text.contains('\0'));
            let text = text.ok_or_else(|| {
                let message = format!("the secret `{id}` is no text, so no variable can hold it");
                StepError::at(mount.span, message)
            })?;
            env.push((variable.clone(), text.to_owned()));
        }
        Ok(secret.filter(|_| *file).map(|secret| {
            let Ownership { mode, uid, gid } = *owner;
            let content = secret.clone();
            let kind = MountKind::File {
                content,
                mode,
                uid,
                gid,
            };
            let mut point = point(mount, kind, false);
            point.mount.readonly = true;
            point
        }))
    }

    fn agent(
        &self,
        mount: &RunMount,
        running: &Running<'_>,
        number: usize,
    ) -> StepResult<Option<Agent>> {
        let RunMountKind::Ssh {
            id,
            required,
            owner,
        } = &mount.kind
        else {
            return Ok(None);
        };
        match self.request.run.agents.get(id) {
            Some(agent) => {
                let directory = running.work.directory("agents")?;
                let name = number.to_string();
                Ok(Some(Agent::forward(agent, &directory, &name, *owner)?))
            }
            None if *required => Err(missing(
                mount,
                &format!("the SSH agent `{id}` is required and was not given"),
                &format!("pass it with `--ssh {id}`, or `--ssh {id}=SOCKET`"),
            )),
            None => Ok(None),
        }
    }

    /// Refuses what cannot be had where nothing can be mounted.
    fn check_bare(
        &self,
        run: &RunStep,
        taken: &[Option<Taken<'_>>],
        isolation: Isolation,
    ) -> StepResult<()> {
        let mut names = Vec::new();
        for (mount, taken) in run.mounts.iter().zip(taken) {
            let problem = match &mount.kind {
                RunMountKind::Tmpfs { size: Some(_) } => {
                    Some("the size of a directory cannot be limited")
                }
                RunMountKind::Cache { .. } => {
                    let name = self.cache_name(mount, taken.as_ref())?;
                    let is_twice = names.contains(&name);
                    names.push(name);
                    is_twice.then_some("a cache cannot be in two places")
                }
                RunMountKind::Tmpfs { size: None }
                | RunMountKind::Bind { .. }
                | RunMountKind::Secret { .. }
                | RunMountKind::Ssh { .. } => None,
            };
            if let Some(problem) = problem {
                let message = format!("{problem} where commands are isolated by `{isolation}`");
                return Err(StepError::at(mount.span, message));
            }
        }
        Ok(())
    }

    /// Takes the caches of a command into use, in an order that is the same for every command: two of
    /// them never wait for each other.
    fn hold_caches(
        &self,
        run: &RunStep,
        taken: &[Option<Taken<'_>>],
        is_bare: bool,
    ) -> StepResult<HashMap<Digest, Held>> {
        let mut wanted: Vec<(Wanted, &RunMount, Option<&Taken<'_>>)> = Vec::new();
        for (mount, taken) in run.mounts.iter().zip(taken) {
            let RunMountKind::Cache { id, sharing, .. } = &mount.kind else {
                continue;
            };
            let name = self.cache_name(mount, taken.as_ref())?;
            // Mounted twice, it is the same directory.
            if !wanted.iter().any(|(other, ..)| other.name == name) {
                let cache = Wanted {
                    name,
                    id: id.clone(),
                    // Where it is moved into place, only one can have it.
                    sharing: match sharing {
                        Sharing::Shared if is_bare => Sharing::Locked,
                        sharing => *sharing,
                    },
                };
                wanted.push((cache, mount, taken.as_ref()));
            }
        }
        wanted.sort_by(|(left, ..), (right, ..)| left.name.as_str().cmp(right.name.as_str()));
        let mut held = HashMap::new();
        for (cache, mount, taken) in wanted {
            self.bring_mount(&cache.name);
            let fill = |path: &Path| {
                if self.fill_from_elsewhere(path, &cache.name) {
                    return Ok(());
                }
                self.fill(path, mount, taken)
            };
            let directory = caches::hold(self.store, &cache, &self.cancel, &fill)?;
            held.insert(cache.name, directory);
        }
        Ok(held)
    }

    /// Returns what names a cache: its id and what it holds at first, its owner included.
    fn cache_name(&self, mount: &RunMount, taken: Option<&Taken<'_>>) -> Result<Digest> {
        let mut key = Key::new("cache of a run", &Ledger::default());
        if let RunMountKind::Cache { id, owner, .. } = &mount.kind {
            key.text(id);
            key.optional(owner.map(|owner| format!("{owner:?}")).as_deref());
        }
        if let Some(taken) = taken {
            self.add_taken(&mut key, taken, Naming::Layers)?;
        }
        Ok(key.finish())
    }

    fn fill(&self, path: &Path, mount: &RunMount, taken: Option<&Taken<'_>>) -> Result<()> {
        use std::os::unix::fs::PermissionsExt;
        match taken {
            Some(taken) => self.write_place(taken, path)?,
            None => std::fs::create_dir(path).map_err(Error::system("create", path))?,
        }
        let owner = match &mount.kind {
            RunMountKind::Cache { owner, .. } => *owner,
            RunMountKind::Bind { .. }
            | RunMountKind::Tmpfs { .. }
            | RunMountKind::Secret { .. }
            | RunMountKind::Ssh { .. } => None,
        };
        let Ownership { mode, uid, gid } = match owner {
            Some(owner) => owner,
            None if taken.is_some() => return Ok(()),
            None => Ownership {
                mode: 0o755,
                uid: 0,
                gid: 0,
            },
        };
        owners::give(path, uid, gid).map_err(Error::system("set the owner of", path))?;
        let mode = std::fs::Permissions::from_mode(mode & 0o7777);
        std::fs::set_permissions(path, mode).map_err(Error::system("set the mode of", path))
    }
}

fn point(mount: &RunMount, kind: MountKind, is_directory: bool) -> Point {
    Point {
        mount: Mount {
            destination: PathBuf::from(&mount.target),
            kind,
            readonly: mount.readonly,
        },
        is_directory,
    }
}

/// `/dev/shm`, over the one that every sandbox has. Nothing of `/dev` is in a layer.
fn shared_memory(size: u64) -> Point {
    let (size, mode) = (Some(size), 0o1777);
    Point {
        mount: Mount {
            destination: PathBuf::from("/dev/shm"),
            kind: MountKind::Tmpfs { size, mode },
            readonly: false,
        },
        is_directory: true,
    }
}

fn cache_point(mount: &RunMount, held: &Held, source: &str) -> Point {
    let kind = MountKind::Part {
        of: RootKind::Directory(held.directory.clone()),
        path: PathBuf::from(source.trim_start_matches('/')),
    };
    // Only for its mount point: what is there is found, or missed, in the sandbox.
    let is_file = held
        .directory
        .join(source.trim_start_matches('/'))
        .is_file();
    point(mount, kind, !is_file)
}

fn missing(mount: &RunMount, message: &str, hint: &str) -> StepError {
    StepError::Diagnostic(Diagnostic::new(message, mount.span).with_hint(hint))
}
