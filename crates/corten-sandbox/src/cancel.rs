//! Ending what runs from another thread, as on Ctrl-C, and waiting until nothing of it is left.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use rustix::event::{EventfdFlags, eventfd};

use crate::error::{Error, Talking};
use crate::poll;
use crate::sys::{self, SignalQueue};

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

#[derive(Debug, Default)]
struct State {
    is_cancelled: bool,
    n_held: usize,
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

    /// Ends what [`run_until`](crate::run_until) runs with this, and waits until nothing is
    /// [held](Self::hold).
    pub fn cancel(&self) {
        let mut state = self.state();
        state.is_cancelled = true;
        // An event descriptor takes eight bytes at any time but when its counter is at the end.
        rustix::io::write(&self.0.event, &1_u64.to_ne_bytes()).ok();
        while state.n_held > 0 {
            let waited = self.0.is_idle.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Returns whether everything is to end.
    pub fn is_cancelled(&self) -> bool {
        self.state().is_cancelled
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.event.as_fd()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // What it guards is whole at any instant.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.n_held -= 1;
        self.0.0.is_idle.notify_all();
    }
}

/// Signals that ask a program to end.
const ENDING: [i32; 3] = [libc::SIGHUP, libc::SIGINT, libc::SIGTERM];

/// Lets `SIGHUP`, `SIGINT` and `SIGTERM` do `act` first, in a thread of its own; then the signal ends
/// the process as if it had not been caught. One that is ignored stays so.
///
/// To be called while there is one thread: the signals are blocked in those that are started later.
pub fn before_ending(act: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    let heeded: Vec<i32> = ENDING
        .into_iter()
        .filter(|signal| !sys::is_ignored(*signal))
        .collect();
    let queue = SignalQueue::new(&heeded).talking("queueing signals")?;
    let wait = move || {
        let taken = loop {
            if poll::readable(&[queue.as_fd()]).is_err() {
                return;
            }
            if let Some(taken) = queue.take() {
                break taken;
            }
        };
        act();
        sys::end_by(taken.number);
    };
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(wait)
        .map(drop)
        .talking("starting a thread")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cancelling_waits_for_what_is_held() {
        let cancel = Cancel::new().unwrap();
        let held = cancel.hold().unwrap();
        let other = cancel.clone();
        let waiter = std::thread::spawn(move || other.cancel());
        poll::readable(&[cancel.as_fd()]).unwrap();
        assert!(!waiter.is_finished());
        assert!(cancel.is_cancelled());
        assert!(matches!(cancel.hold(), Err(Error::Cancelled)));
        drop(held);
        waiter.join().unwrap();
    }
}
