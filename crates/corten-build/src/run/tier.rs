//! Which way of isolation the commands of a build get: found out once, and told.

use std::path::Path;

use corten_dockerfile::{Instruction, Kind};
use corten_sandbox::{Check, Isolation, Tier, Verdict, check_limits, choose, survey};

use crate::build::Builder;
use crate::event::Event;
use crate::request::Isolations;
use crate::{Error, Result};

impl Builder<'_> {
    /// Refuses what was asked for and cannot be had, before anything is done.
    pub(crate) fn prepare_isolation(&self) -> Result<()> {
        if let Some(cancel) = &self.request.cancel {
            self.trees.remove_on(cancel);
        }
        let is_run = |instruction: &Instruction| matches!(instruction.kind, Kind::Run(_));
        let is_asked_for = self.request.isolation != Isolations::Any;
        if !self.needed_instructions().any(is_run) {
            return Ok(());
        }
        check_limits(self.request.run_limits).map_err(|source| Error::Isolation { source })?;
        if is_asked_for {
            self.tier()?;
        }
        Ok(())
    }

    /// Returns the tier of this build's commands.
    pub(crate) fn tier(&self) -> Result<Tier> {
        self.tier.get((), || {
            let wanted = match self.request.isolation {
                Isolations::Any => None,
                Isolations::Only(isolation) => Some(isolation),
                Isolations::None => return Err(Error::RunRefused),
            };
            let scratch = self.snapshots.temporary()?;
            let scratch = scratch.parent().unwrap_or(&scratch);
            let tier = choose(wanted, scratch)
                .and_then(entered)
                .map_err(|source| Error::Isolation { source })?;
            (self.listener)(Event::Isolated {
                isolation: tier.isolation(),
            });
            if wanted.is_none() && matches!(tier, Tier::Chroot) {
                self.warn_of_chroot(scratch);
            }
            Ok(tier)
        })
    }

    /// Tells why there is no better way where that is not what a container does to its root.
    fn warn_of_chroot(&self, scratch: &Path) {
        let survey = survey(scratch);
        let can_mount = |check: &Check| check.what == "mount namespace" && check.problem.is_none();
        if !survey.primitives.iter().any(can_mount) {
            return;
        }
        let mut reasons = survey.verdicts.iter();
        let reasons = reasons.find(|one| one.isolation == Isolation::Root);
        let reasons = reasons.map(|one| one.problems.join("; "));
        let text = format!(
            "commands are isolated by chroot alone, for `root` cannot be had: {}",
            reasons.unwrap_or_default()
        );
        (self.listener)(Event::Warning(&text));
    }
}

/// The caller enters the user namespace before a build starts; here it is too late.
fn entered(tier: Tier) -> std::result::Result<Tier, corten_sandbox::Error> {
    match tier {
        Tier::Root { .. } | Tier::Chroot => Ok(tier),
        Tier::UserNamespace(_) => Err(corten_sandbox::Error::IsolationUnavailable {
            verdicts: vec![Verdict {
                isolation: Isolation::UserNamespace,
                problems: vec!["the program did not enter a user namespace".to_owned()],
                advice: None,
            }],
        }),
    }
}
