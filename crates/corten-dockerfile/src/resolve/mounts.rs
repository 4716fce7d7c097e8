//! The mounts of RUN: variables expanded, targets made absolute, what is left out filled in.

use super::{Names, StageState};
use crate::diagnostic::{Diagnostic, Span};
use crate::instruction::{Mount, MountOptions, MountType, read_mount};
use crate::path;
use crate::scope::Base;
use crate::step::{Ownership, RunMount, RunMountKind};
use crate::words::Word;

/// Where secrets and sockets of agents go if nothing else is said, as BuildKit has it.
const SECRETS: &str = "/run/secrets";
const AGENTS: &str = "/run/buildkit/ssh_agent";
/// The namespace of ids of caches, a build argument.
const NAMESPACE: &str = "BUILDKIT_CACHE_MOUNT_NS";

pub(super) fn resolve(
    mounts: &[Mount],
    state: &StageState,
    names: &mut Names,
) -> Result<Vec<RunMount>, Diagnostic> {
    let mut resolved = Vec::new();
    let mut n_agents = 0;
    for mount in mounts {
        let mut options = Vec::new();
        for (key, value) in &mount.options {
            let value = match value {
                Some(text) => Some(names.expand(&word(text, mount.span), state)?),
                None => None,
            };
            options.push((key.clone(), value));
        }
        let options = read_mount(&options).map_err(|problem| problem.at(mount.span))?;
        resolved.push(one(&options, state, mount.span, n_agents)?);
        n_agents += usize::from(options.kind == MountType::Ssh);
    }
    Ok(resolved)
}

/// Returns where the first socket of an agent is.
pub(super) fn agent(mounts: &[RunMount]) -> Option<&str> {
    let mut sockets = mounts
        .iter()
        .filter(|mount| matches!(mount.kind, RunMountKind::Ssh { .. }));
    sockets.next().map(|mount| mount.target.as_str())
}

fn word(text: &str, span: Span) -> Word {
    Word {
        text: text.to_owned(),
        span,
    }
}

fn one(
    options: &MountOptions,
    state: &StageState,
    span: Span,
    n_agents: usize,
) -> Result<RunMount, Diagnostic> {
    let id = || options.id.clone();
    let mut target = options.target.clone();
    let kind = match options.kind {
        MountType::Bind => RunMountKind::Bind {
            from: from(options, state, span)?,
            source: path::clean(&options.source),
        },
        MountType::Cache => RunMountKind::Cache {
            id: cache_id(options, state),
            sharing: options.sharing.unwrap_or_default(),
            from: from(options, state, span)?.filter(|base| *base != Base::Scratch),
            source: path::clean(&options.source),
            // With a part of it mounted, BuildKit looks at neither.
            owner: ownership(options, 0o755).filter(|_| path::clean(&options.source) == "/"),
        },
        MountType::Tmpfs => RunMountKind::Tmpfs { size: options.size },
        MountType::Secret => {
            let id = secret_id(options);
            if target.is_empty() {
                target = format!("{SECRETS}/{}", base_name(&id));
            }
            RunMountKind::Secret {
                file: options.env.is_none() || !options.target.is_empty(),
                id,
                required: options.required,
                env: options.env.clone(),
                owner: ownership(options, 0o400).unwrap_or(Ownership {
                    mode: 0o400,
                    uid: 0,
                    gid: 0,
                }),
            }
        }
        MountType::Ssh => {
            if target.is_empty() {
                target = format!("{AGENTS}.{n_agents}");
            }
            RunMountKind::Ssh {
                id: if options.id.is_empty() {
                    "default".to_owned()
                } else {
                    id()
                },
                required: options.required,
                owner: ownership(options, 0o600).unwrap_or(Ownership {
                    mode: 0o600,
                    uid: 0,
                    gid: 0,
                }),
            }
        }
    };
    let workdir = format!("/{}", state.workdir);
    let target = path::clean(&path::join(&workdir, &target));
    if target == "/" {
        let message = "a mount cannot cover the root of the image";
        return Err(Diagnostic::new(message, span).with_label("give it another `target`"));
    }
    Ok(RunMount {
        target,
        readonly: options.readonly,
        kind,
        span,
    })
}

fn from(
    options: &MountOptions,
    state: &StageState,
    span: Span,
) -> Result<Option<Base>, Diagnostic> {
    if options.from.is_empty() {
        return Ok(None);
    }
    let from = word(&options.from, span);
    state.scope.mount_from(&from, state.index).map(Some)
}

/// A cache without a name is called by its target, as it is written.
fn cache_id(options: &MountOptions, state: &StageState) -> String {
    let id = if options.id.is_empty() {
        let cleaned = path::clean_bytes(options.target.as_bytes());
        String::from_utf8_lossy(&cleaned).into_owned()
    } else {
        options.id.clone()
    };
    let namespace = state.scope.build_args.get(NAMESPACE);
    format!("{}/{id}", namespace.map_or("", String::as_str))
}

fn secret_id(options: &MountOptions) -> String {
    if !options.source.is_empty() {
        options.source.clone()
    } else if options.id.is_empty() {
        base_name(&options.target).to_owned()
    } else {
        options.id.clone()
    }
}

fn base_name(path: &str) -> &str {
    let path = path.trim_end_matches('/');
    path.rsplit('/').next().unwrap_or(path)
}

/// Returns who owns a mount if anything is said about it.
fn ownership(options: &MountOptions, mode: u32) -> Option<Ownership> {
    let is_said = options.mode.is_some() || options.uid.is_some() || options.gid.is_some();
    is_said.then(|| Ownership {
        mode: options.mode.unwrap_or(mode),
        uid: options.uid.unwrap_or(0),
        gid: options.gid.unwrap_or(0),
    })
}
