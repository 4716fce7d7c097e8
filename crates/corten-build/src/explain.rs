//! Why a step was made anew: what went into its key, beside what went into it the last time.
//!
//! ```text
//! cache/explain/HEX   what went into the latest key of a step, found by the step's place in the
//!                     Dockerfile; or `= HEX`, another file that holds it
//! ```
//!
//! Nothing of it counts for what is a hit; all of it may be deleted at any time.

mod account;
mod diff;
mod record;

use std::sync::{Arc, Mutex, PoisonError};

pub(crate) use account::{Account, FileKind, Files, Hash, Note};
pub use diff::{Reason, Side};
pub(crate) use record::{Position, directory};

use crate::build::Builder;
use crate::event::Event;
use crate::request::CacheUse;
use crate::stage::Stage;
use crate::steps::Task;

/// Takes the accounts of the keys that a step of one stage computes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger(Arc<Mutex<Vec<Account>>>);

impl Ledger {
    pub(crate) fn enter(&self, account: Account) {
        let mut accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        accounts.push(account);
    }

    /// Returns the account of the last key, which is the most exact one, and forgets all.
    fn take(&self) -> Option<Account> {
        let mut accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *accounts).pop()
    }
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Hit,
    Made,
    Failed,
}

impl Builder<'_> {
    /// Tells why the step was no hit, and keeps what went into its key for the next time.
    ///
    /// A hit leaves what is on record as it is: that is about the same place and costs nothing. Only the
    /// first of a place, whose step was made elsewhere, is recorded.
    pub(crate) fn account_for(&self, stage: &Stage, task: &Task<'_>, ending: Ending) {
        let Some(account) = stage.ledger.take() else {
            return;
        };
        let position = Position {
            request: self.request,
            stage: task.stage,
            number: task.number,
            instruction: task.instruction,
        };
        if ending == Ending::Hit && position.is_on_record(self.store) {
            return;
        }
        if self.request.explain && ending != Ending::Hit {
            let former = position.read(self.store);
            let reasons = if self.request.cache == CacheUse::Ignore {
                vec![Reason::NotLookedUp]
            } else {
                diff::reasons(former.as_ref(), &account)
            };
            let step = task.step;
            (self.listener)(Event::Missed {
                step,
                reasons: &reasons,
            });
        }
        if ending != Ending::Failed {
            // An explanation that cannot be kept is no reason to fail a build that can go on.
            position.write(self.store, &account).ok();
        }
    }
}
