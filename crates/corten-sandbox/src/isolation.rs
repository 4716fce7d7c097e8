//! Which way of running a process can be had here, and what keeps each other from it.

use std::fmt;
use std::path::Path;

use serde::Serialize;

use crate::error::Error;
use crate::idmap::has_one_id;
use crate::probe::{Check, Probe, Tier, probe, probe_one_id};
use crate::survey::{self, OF_CHROOT, OF_TRACED};
use crate::userns::entered;

/// A way to run a process apart from the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// As root with namespaces and an overlay.
    Root,
    /// The same in a user namespace, as an ordinary user with subordinate ids.
    #[serde(rename = "userns")]
    UserNamespace,
    /// The same with one id: there is no user but root, and nothing can be given to another.
    #[serde(rename = "userns-one")]
    OneId,
    /// As root in a directory, by chroot(2) alone: nothing is mounted, and there is no namespace.
    Chroot,
    /// As any user in a directory, by a supervisor that answers system calls: no right is needed.
    Traced,
}

impl Isolation {
    /// All, the best first.
    pub const ALL: [Self; 5] = [
        Self::Root,
        Self::UserNamespace,
        Self::OneId,
        Self::Chroot,
        Self::Traced,
    ];

    /// Returns its name: `root`, `userns`, `userns-one`, `chroot` or `traced`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::UserNamespace => "userns",
            Self::OneId => "userns-one",
            Self::Chroot => "chroot",
            Self::Traced => "traced",
        }
    }

    /// Returns what would make it available: a setting of a pod or a command.
    fn advice(self) -> &'static str {
        match self {
            Self::Root => {
                "run as root of the machine, or in a container with CAP_SYS_ADMIN and without seccomp \
                 and AppArmor profiles; in a pod: `securityContext: {privileged: true}`"
            }
            Self::UserNamespace => {
                "run as an ordinary user with `newuidmap`, `newgidmap` and ranges in /etc/subuid and \
                 /etc/subgid; in a pod: `securityContext: {runAsUser: 1000, \
                 allowPrivilegeEscalation: true, procMount: Unmasked, seccompProfile: {type: \
                 Unconfined}, appArmorProfile: {type: Unconfined}}`"
            }
            Self::OneId => {
                "run as an ordinary user where the kernel, and the seccomp and AppArmor profiles of a \
                 container, allow user namespaces; in a pod: `securityContext: {runAsUser: 1000, \
                 allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}, procMount: Unmasked, \
                 seccompProfile: {type: Unconfined}, appArmorProfile: {type: Unconfined}}`"
            }
            Self::Chroot => {
                "run as root of a container with the capabilities that Docker and containerd give by \
                 default; in a pod: `securityContext: {runAsUser: 0, allowPrivilegeEscalation: true}` \
                 without `capabilities.drop`"
            }
            Self::Traced => {
                "run on x86-64 and Linux 5.19 with Landlock (`lsm=landlock,...` of the kernel's command \
                 line), under a seccomp profile that is Docker's or containerd's, or none"
            }
        }
    }
}

impl fmt::Display for Isolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether a way of isolation can be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// The way.
    pub isolation: Isolation,
    /// What keeps this process from it; nothing if it can be had.
    pub problems: Vec<String>,
    /// What would change that, where there are problems.
    pub advice: Option<String>,
}

/// The result of [`survey`].
#[derive(Debug, Clone)]
pub struct Survey {
    /// What is tried in the namespaces that a sandbox gets.
    pub probe: Probe,
    /// A line for each primitive.
    pub primitives: Vec<Check>,
    /// A line for each way of isolation, the best first.
    pub verdicts: Vec<Verdict>,
}

impl Survey {
    /// Returns the best way that can be had.
    pub fn best(&self) -> Option<Isolation> {
        let usable = self.verdicts.iter().find(|one| one.problems.is_empty());
        usable.map(|one| one.isolation)
    }
}

/// Tries every primitive, and says which ways of isolation that makes. `scratch` is a directory that
/// may be written to. Takes some milliseconds.
pub fn survey(scratch: &Path) -> Survey {
    let probe = probe();
    let tried = survey::primitives(scratch).unwrap_or_else(|error| {
        let problem = Some(error.to_string());
        let what = "a child process".to_owned();
        let advice = None;
        vec![Check {
            what,
            problem,
            advice,
        }]
    });
    let one_id = if probe.uid == 0 {
        probe.clone()
    } else {
        probe_one_id()
    };
    let verdicts = Isolation::ALL.map(|isolation| {
        let probe = if isolation == Isolation::OneId {
            &one_id
        } else {
            &probe
        };
        verdict(isolation, probe, &tried)
    });
    Survey {
        primitives: table(&probe, tried),
        verdicts: verdicts.to_vec(),
        probe,
    }
}

/// Puts what the probe tried beside what was tried by itself.
fn table(probe: &Probe, tried: Vec<Check>) -> Vec<Check> {
    let of_probe = |what: &str| probe.checks.iter().find(|check| check.what == what);
    let not_tried = |what: &str| Check {
        what: what.to_owned(),
        problem: Some("not tried: it takes namespaces".to_owned()),
        advice: None,
    };
    let ids = match &probe.tier {
        _ if probe.uid == 0 => Check {
            what: ID_MAPS.to_owned(),
            problem: Some("not tried: root has its ids".to_owned()),
            advice: None,
        },
        Some(_) => Check {
            what: ID_MAPS.to_owned(),
            problem: None,
            advice: None,
        },
        None => {
            let first = probe.checks.first();
            let first = first.filter(|check| check.problem.is_some());
            first.map_or_else(
                || not_tried(ID_MAPS),
                |check| Check {
                    what: ID_MAPS.to_owned(),
                    ..check.clone()
                },
            )
        }
    };
    let mut table = tried;
    let after = |table: &[Check], what: &str| {
        let found = table.iter().position(|check| check.what == what);
        found.map_or(table.len(), |idx| idx + 1)
    };
    table.insert(after(&table, "user namespace"), ids);
    for what in ["proc", "overlay"] {
        let check = of_probe(what).cloned().unwrap_or_else(|| not_tried(what));
        table.insert(after(&table, "mount namespace"), check);
    }
    table
}

const ID_MAPS: &str = "id maps";

fn verdict(isolation: Isolation, probe: &Probe, tried: &[Check]) -> Verdict {
    let failed = |checks: &mut dyn Iterator<Item = &Check>| {
        let line = |check: &Check| Some(format!("{}: {}", check.what, check.problem.as_ref()?));
        checks.filter_map(line).collect::<Vec<_>>()
    };
    let is_root = probe.uid == 0;
    let problems = match isolation {
        Isolation::Root | Isolation::Chroot if !is_root => {
            vec![format!("user {} is not root", probe.uid)]
        }
        Isolation::Root | Isolation::UserNamespace if is_root && has_one_id() => {
            vec!["this namespace has one id".to_owned()]
        }
        Isolation::OneId if is_root && !has_one_id() => {
            vec!["root needs none: it is for ordinary users without other ids".to_owned()]
        }
        Isolation::Root if entered().is_some() => {
            vec!["the user that entered this namespace is not root".to_owned()]
        }
        Isolation::UserNamespace if is_root && entered().is_none() => {
            vec!["root needs none: it is for ordinary users".to_owned()]
        }
        // What the kernel lets root do is done to files, not only said of them.
        Isolation::Traced if is_root => {
            vec!["root needs none: it is for ordinary users".to_owned()]
        }
        Isolation::Root | Isolation::UserNamespace | Isolation::OneId => {
            failed(&mut probe.checks.iter())
        }
        Isolation::Chroot | Isolation::Traced => {
            let needed: &[&str] = if isolation == Isolation::Traced {
                &OF_TRACED
            } else {
                &OF_CHROOT
            };
            let is_needed = |check: &&Check| needed.contains(&check.what.as_str());
            let missing = needed
                .iter()
                .filter(|what| !tried.iter().any(|check| check.what == **what))
                .map(|what| format!("{what}: not tried"));
            let mut problems = failed(&mut tried.iter().filter(is_needed));
            problems.extend(missing);
            problems
        }
    };
    let advice = (!problems.is_empty()).then(|| isolation.advice().to_owned());
    Verdict {
        isolation,
        problems,
        advice,
    }
}

/// Returns how a process is to be run: by `wanted`, or else by the best way there is.
///
/// An ordinary user's program must have entered the user namespace before, as
/// [`Tier::UserNamespace`] says. `scratch` is a directory that may be written to.
///
/// # Errors
/// [`Error::IsolationUnavailable`] with the reasons if that is not to be had.
pub fn choose(wanted: Option<Isolation>, scratch: &Path) -> Result<Tier, Error> {
    let is_bare = matches!(wanted, Some(Isolation::Chroot | Isolation::Traced));
    if !is_bare {
        // The usual case, in which nothing else needs to be tried.
        let probe = probe();
        if let Some(tier) = probe.tier
            && wanted.is_none_or(|wanted| wanted == tier.isolation())
        {
            return Ok(tier);
        }
    }
    if !rustix::process::geteuid().is_root()
        && wanted.is_none_or(|wanted| wanted == Isolation::OneId)
        && let Some(tier) = probe_one_id().tier
    {
        return Ok(tier);
    }
    let survey = survey(scratch);
    let mut usable = survey.verdicts.iter().filter(|verdict| {
        verdict.problems.is_empty() && wanted.is_none_or(|wanted| wanted == verdict.isolation)
    });
    let bare = usable.find_map(|verdict| match verdict.isolation {
        Isolation::Chroot => Some(Tier::Chroot),
        Isolation::Traced => Some(Tier::Traced),
        Isolation::Root | Isolation::UserNamespace | Isolation::OneId => None,
    });
    if let Some(tier) = bare {
        return Ok(tier);
    }
    let verdicts = survey.verdicts.into_iter();
    let verdicts = verdicts.filter(|one| wanted.is_none_or(|wanted| wanted == one.isolation));
    Err(Error::IsolationUnavailable {
        verdicts: verdicts.collect(),
    })
}

/// Says what keeps from each way, a line each.
pub(crate) fn reasons(verdicts: &[Verdict]) -> String {
    let line = |one: &Verdict| {
        let advice = one
            .advice
            .as_ref()
            .map(|advice| format!("\n    hint: {advice}"));
        let problems = one.problems.join("; ");
        format!(
            "  {}: {problems}{}",
            one.isolation,
            advice.unwrap_or_default()
        )
    };
    verdicts.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(what: &str, problem: Option<&str>) -> Check {
        Check {
            what: what.to_owned(),
            problem: problem.map(str::to_owned),
            advice: None,
        }
    }

    fn probe_of(uid: u32, checks: Vec<Check>) -> Probe {
        Probe {
            uid,
            in_user_namespace: false,
            tier: None,
            checks,
        }
    }

    #[test]
    fn a_default_container_leaves_chroot() {
        let probe = probe_of(0, vec![check("namespaces", Some("EPERM"))]);
        let all = OF_CHROOT.map(|what| check(what, None));
        let problems = |isolation| verdict(isolation, &probe, &all).problems;
        assert_eq!(problems(Isolation::Root), ["namespaces: EPERM"]);
        assert_eq!(problems(Isolation::UserNamespace).len(), 1);
        assert!(problems(Isolation::Chroot).is_empty());
    }

    #[test]
    fn what_was_not_tried_is_not_there() {
        let probe = probe_of(0, Vec::new());
        let found = verdict(Isolation::Chroot, &probe, &[check("chroot", Some("EPERM"))]);
        let expected = [
            "chroot: EPERM",
            "chown: not tried",
            "other users: not tried",
            "kill: not tried",
        ];
        assert_eq!(found.problems, expected);
        assert!(found.advice.is_some());
    }

    #[test]
    fn the_table_has_a_line_for_each() {
        let probe = probe_of(1000, vec![check("subordinate ids", Some("none"))]);
        let tried = ["user namespace", "mount namespace", "chroot"];
        let tried = tried.map(|what| check(what, None)).to_vec();
        let table = table(&probe, tried);
        let names: Vec<&str> = table.iter().map(|check| check.what.as_str()).collect();
        let expected = [
            "user namespace",
            "id maps",
            "mount namespace",
            "overlay",
            "proc",
            "chroot",
        ];
        assert_eq!(names, expected);
        assert_eq!(table[1].problem.as_deref(), Some("none"));
    }
}
