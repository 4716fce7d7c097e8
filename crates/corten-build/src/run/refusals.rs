//! What commands ask for and do not get, refused before anything runs: what nobody allowed, and what the way
//! of isolation cannot do.

use corten_dockerfile::{Diagnostic, Instruction, Kind, Network, Run, Security, Span};
use corten_sandbox::Isolation;

use crate::request::BuildRequest;
use crate::run::options::RunOptions;

/// Returns what `instructions` ask for and nobody allowed.
pub(crate) fn refused(instructions: &[Instruction], options: &RunOptions) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for instruction in instructions {
        let Kind::Run(run) = &instruction.kind else {
            continue;
        };
        let asked = [
            (
                "security",
                "security.insecure",
                run.security == Security::Insecure && !options.allowed.insecure,
            ),
            (
                "network",
                "network.host",
                run.network == Network::Host
                    && options.network == Network::None
                    && !options.allowed.host_network,
            ),
        ];
        for (flag, entitlement, is_refused) in asked {
            let flag = instruction.flags.iter().find(|one| one.name == flag);
            if let (Some(flag), true) = (flag, is_refused) {
                let message = format!("`{entitlement}` is not allowed");
                let hint = format!("pass `--allow {entitlement}` if you trust the Dockerfile");
                found.push(Diagnostic::new(message, flag.span).with_hint(hint));
            }
        }
    }
    found
}

/// Something that a command asks for and that some way of isolation does not have.
#[derive(Debug)]
struct Demand {
    span: Span,
    /// What cannot be had, as the start of a sentence.
    what: String,
    /// The ways that do not have it.
    missing_in: &'static [Isolation],
}

const HINT: &str = "`corten doctor` tells of better ways";
const WITHOUT_MOUNTS: &[Isolation] = &[Isolation::Chroot, Isolation::Traced];
const WITHOUT_RIGHTS: &[Isolation] = &[Isolation::Traced];
const WITHOUT_USERS: &[Isolation] = &[Isolation::OneId];

/// Tells whether `instruction` asks for something that not every way of isolation has.
pub(crate) fn is_demanding(instruction: &Instruction, request: &BuildRequest) -> bool {
    is_of_other_user(instruction) || !demands(instruction, request).is_empty()
}

/// Returns what `instruction` asks for and commands isolated by `isolation` cannot have.
pub(crate) fn unavailable(
    instruction: &Instruction,
    request: &BuildRequest,
    isolation: Isolation,
) -> Vec<Diagnostic> {
    let missing = demands(instruction, request).into_iter();
    let missing = missing.filter(|demand| demand.missing_in.contains(&isolation));
    let told = missing.map(|Demand { span, what, .. }| {
        let message = format!("{what} where commands are isolated by `{isolation}`");
        Diagnostic::new(message, span).with_hint(HINT)
    });
    told.collect()
}

fn demands(instruction: &Instruction, request: &BuildRequest) -> Vec<Demand> {
    let Kind::Run(run) = &instruction.kind else {
        return Vec::new();
    };
    let mut demands = of_mounts(run);
    let flag = |name: &str| {
        let mut flags = instruction.flags.iter();
        let flag = flags.find(|flag| flag.name == name);
        flag.map_or(instruction.span, |flag| flag.span)
    };
    let mut demand = |span: Span, what: &str, missing_in| {
        demands.push(Demand {
            span,
            what: what.to_owned(),
            missing_in,
        });
    };
    let network = match run.network {
        Network::Default => request.run.network,
        named => named,
    };
    // Nothing but a filter would keep it from the network, and it has none.
    if network == Network::None && run.security == Security::Insecure {
        let what = "a command without a filter cannot be kept from the network";
        demand(flag("security"), what, WITHOUT_MOUNTS);
    }
    if run.security == Security::Insecure {
        let what = "no command can be given more rights";
        demand(flag("security"), what, WITHOUT_RIGHTS);
    }
    if request.run.failure_shell.is_some() {
        let what = "there can be no shell for a command that fails";
        demand(instruction.span, what, WITHOUT_RIGHTS);
    }
    if request.run.shm_size.is_some() {
        let what = "the size of `/dev/shm` cannot be set";
        demand(instruction.span, what, WITHOUT_MOUNTS);
    }
    demands
}

/// Options may hold variables, which have no values yet: what they hide is refused when the step comes.
fn of_mounts(run: &Run) -> Vec<Demand> {
    let mut demands = Vec::new();
    let mut caches: Vec<Vec<Option<&str>>> = Vec::new();
    for mount in &run.mounts {
        let mut demand = |what: &str, missing_in| {
            demands.push(Demand {
                span: mount.span,
                what: what.to_owned(),
                missing_in,
            });
        };
        let is_others = |name: &str| mount.option(name).is_some_and(is_other_id);
        if ["uid", "gid"].into_iter().any(is_others) {
            demand("nothing can belong to another user", WITHOUT_USERS);
        }
        match mount.option("type") {
            Some("tmpfs") if mount.option("size").is_some() => {
                demand("the size of a directory cannot be limited", WITHOUT_MOUNTS);
            }
            Some("cache") => {
                let target = ["target", "dst", "destination"];
                let target = target.iter().find_map(|name| mount.option(name));
                let mut cache = vec![mount.option("id").or(target)];
                cache.extend(["from", "uid", "gid", "mode"].map(|name| mount.option(name)));
                if caches.contains(&cache) {
                    demand("a cache cannot be in two places", WITHOUT_MOUNTS);
                }
                caches.push(cache);
            }
            _ => {}
        }
    }
    demands
}

/// Returns what commands of `stage` cannot be run as, as far as it is known before they are run.
pub(crate) fn users(stage: &[Instruction], isolation: Isolation) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    if !WITHOUT_USERS.contains(&isolation) {
        return found;
    }
    let mut user = None;
    for instruction in stage {
        match &instruction.kind {
            Kind::User(_) => user = Some(instruction),
            Kind::Run(_) => {
                let other = user.take().filter(|user| is_of_other_user(user));
                found.extend(other.map(|user| {
                    let message = format!(
                        "there is no user but root where commands are isolated by `{isolation}`"
                    );
                    Diagnostic::new(message, user.span).with_hint(HINT)
                }));
            }
            _ => {}
        }
    }
    found
}

/// What a name stands for is in the image, which is not there yet.
fn is_of_other_user(instruction: &Instruction) -> bool {
    matches!(&instruction.kind, Kind::User(user) if user.text.split(':').any(is_other_id))
}

/// Tells whether `text` is the number of somebody else than root.
fn is_other_id(text: &str) -> bool {
    text.parse::<u32>().is_ok_and(|id| id != 0)
}
