//! Which way of isolation the commands of a build get: found out once, and told.

use std::path::Path;

use corten_dockerfile::{Instruction, Kind};
use corten_sandbox::{
    Check, Isolation, Tier, Verdict, check_limits, check_resource_limits, choose, survey,
};

use crate::build::Builder;
use crate::event::Event;
use crate::request::Isolations;
use crate::run::refusals;
use crate::{Error, Result};

/// What is said of [`Tier::Traced`].
const WEAKEST: &str = "commands are isolated by `traced`, the weakest way: a supervisor and Landlock keep them in, and no \
     namespace; `corten doctor` tells what a better one takes";

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
        check_limits(self.request.run_limits)
            .and_then(|()| check_resource_limits(&self.request.run.resource_limits))
            .map_err(|source| Error::Isolation { source })?;
        // The tier is found out only where it matters: what is cached needs none.
        let is_demanding = |one: &Instruction| refusals::is_demanding(one, self.request);
        if is_asked_for || self.needed_instructions().any(is_demanding) {
            let isolation = self.tier()?.isolation();
            let unavailable =
                |one: &Instruction| refusals::unavailable(one, self.request, isolation);
            let mut problems: Vec<_> = self.needed_instructions().flat_map(unavailable).collect();
            for &stage in &self.plan.needed {
                let stage = self.plan.stages.get(stage);
                let instructions = stage.map_or(&[][..], |stage| &stage.instructions);
                problems.extend(refusals::users(instructions, isolation));
            }
            if !problems.is_empty() {
                return Err(crate::build::refused(self.request, &problems));
            }
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
            match tier {
                Tier::Chroot if wanted.is_none() => self.warn_of_chroot(scratch),
                // Nobody should have it without knowing, not even who asked for it long ago.
                Tier::Traced => (self.listener)(Event::Warning(WEAKEST)),
                Tier::Chroot | Tier::Root { .. } | Tier::UserNamespace(_) => {}
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
        Tier::Root { .. } | Tier::Chroot | Tier::Traced => Ok(tier),
        Tier::UserNamespace(_) => Err(corten_sandbox::Error::IsolationUnavailable {
            verdicts: vec![Verdict {
                isolation: Isolation::UserNamespace,
                problems: vec!["the program did not enter a user namespace".to_owned()],
                advice: None,
            }],
        }),
    }
}
