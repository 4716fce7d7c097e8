//! Ending what runs from another thread, as on Ctrl-C, and waiting until nothing of it is left.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};

use crate::error::{Error, Talking};

/// A wish that everything end. Clones share it.
#[derive(Debug, Clone)]
pub struct Cancel(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Readable once the wish is there, for good.
    event: OwnedFd,
    state: Mutex<State>,
    is_idle: Condvar,
}

#[derive(Default)]
struct State {
    is_cancelled: bool,
    n_held: usize,
    cleanups: Vec<Box<dyn FnOnce() + Send>>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("is_cancelled", &self.is_cancelled)
            .field("n_held", &self.n_held)
            .finish_non_exhaustive()
    }
}

/// Something that has to be taken away before the program may end.
#[derive(Debug)]
pub struct Held(Cancel);

impl Cancel {
    /// Makes one that nobody has wished yet.
    pub fn new() -> Result<Self, Error> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .talking("making an event descriptor")?;
        Ok(Self(Arc::new(Shared {
            event,
            state: Mutex::default(),
            is_idle: Condvar::new(),
        })))
    }

    /// Says that there is something to be taken away, until the value returned is dropped.
    ///
    /// # Errors
    /// [`Error::Cancelled`] once everything is to end: nothing may be begun then.
    pub fn hold(&self) -> Result<Held, Error> {
        let mut state = self.state();
        if state.is_cancelled {
            return Err(Error::Cancelled);
        }
        state.n_held += 1;
        Ok(Held(self.clone()))
    }

    /// Has `clean_up` called when everything is to end, by who says so.
    pub fn on_cancel(&self, clean_up: impl FnOnce() + Send + 'static) {
        self.state().cleanups.push(Box::new(clean_up));
    }

    /// Ends what [`run_until`](crate::run_until) runs with this, and does not wait for it.
    pub fn request(&self) {
        self.state().is_cancelled = true;
        // An event descriptor takes eight bytes at any time but when its counter is at the end.
        rustix::io::write(&self.0.event, &1_u64.to_ne_bytes()).ok();
    }

    /// Ends what [`run_until`](crate::run_until) runs with this, cleans up, and waits until nothing is
    /// [held](Self::hold), but no longer than `limit`.
    pub fn cancel(&self, limit: Duration) {
        self.request();
        let cleanups = std::mem::take(&mut self.state().cleanups);
        for clean_up in cleanups {
            clean_up();
        }
        let is_held = |state: &mut State| state.n_held > 0;
        let waited = self
            .0
            .is_idle
            .wait_timeout_while(self.state(), limit, is_held);
        drop(waited);
    }

    /// Returns whether everything is to end.
    pub fn is_cancelled(&self) -> bool {
        self.state().is_cancelled
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // What it guards is whole at any instant.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The descriptor is readable once everything is to end.
impl AsFd for Cancel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.event.as_fd()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.n_held -= 1;
        self.0.0.is_idle.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::poll;

    #[test]
    fn cancelling_waits_for_what_is_held() {
        let cancel = Cancel::new().unwrap();
        let held = cancel.hold().unwrap();
        let other = cancel.clone();
        let waiter = std::thread::spawn(move || other.cancel(Duration::MAX));
        poll::readable(&[cancel.as_fd()]).unwrap();
        assert!(!waiter.is_finished());
        assert!(cancel.is_cancelled());
        assert!(matches!(cancel.hold(), Err(Error::Cancelled)));
        drop(held);
        waiter.join().unwrap();
    }
}
