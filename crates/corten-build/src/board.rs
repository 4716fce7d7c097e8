//! Threads that work off a [`Schedule`]: the first failure ends it.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use corten_sandbox::Cancel;

use crate::schedule::{Next, Schedule};
use crate::{Error, Result};

/// A schedule that several threads share.
#[derive(Debug)]
pub(crate) struct Board<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    /// Ends what takes long.
    cancel: Cancel,
}

#[derive(Debug)]
struct State<T> {
    schedule: Schedule<T>,
    /// Why the work ended early; the first reason counts.
    failed: Option<Error>,
    is_stopped: bool,
}

/// How many stages are worked on at once. They wait for networks and disks as well as for
/// processors, of which a small machine has two.
const FEWEST: usize = 4;

impl<T: Send> Board<T> {
    pub(crate) fn new(stages: &[usize], cancel: Cancel) -> Self {
        let state = State {
            schedule: Schedule::new(stages),
            failed: None,
            is_stopped: false,
        };
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
            cancel,
        }
    }

    /// Lets threads do all that is to be done, each task by `perform`.
    ///
    /// # Errors
    ///
    /// The first failure; what was begun then is seen to its end, to where it asks
    /// [`is_stopped`](Self::is_stopped) or to where it is cancelled, and nothing else is begun.
    pub(crate) fn work(self, perform: impl Fn(&Self, Next<T>) -> Result<()> + Sync) -> Result<()> {
        let n_stages = self.lock().schedule.len();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let n_threads = n_stages.min(cores.max(FEWEST));
        std::thread::scope(|scope| {
            for _ in 1..n_threads {
                scope.spawn(|| self.work_off(&perform));
            }
            self.work_off(&perform);
        });
        let state = self.state.into_inner();
        match state.unwrap_or_else(PoisonError::into_inner).failed {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    fn work_off(&self, perform: &(impl Fn(&Self, Next<T>) -> Result<()> + Sync)) {
        // A thread that panics must not leave the others waiting for what it was to do.
        let alarm = Alarm(self);
        while let Some(next) = self.take() {
            if let Err(error) = perform(self, next) {
                self.fail(error);
                self.stop();
            }
        }
        drop(alarm);
    }

    /// Remembers why the build fails. That others were stopped is no reason, even if they are sooner.
    fn fail(&self, error: Error) {
        let mut state = self.lock();
        if matches!(state.failed, None | Some(Error::Stopped)) {
            state.failed = Some(error);
        }
    }

    /// Waits for something to do; `None` at the end of it all.
    fn take(&self) -> Option<Next<T>> {
        let mut state = self.lock();
        loop {
            if state.is_stopped {
                return None;
            }
            match state.schedule.next() {
                Next::End => return None,
                Next::Wait => {
                    let waited = self.changed.wait(state);
                    state = waited.unwrap_or_else(PoisonError::into_inner);
                }
                next => return Some(next),
            }
        }
    }

    /// Tells whether some task failed or the build is to end, so that nothing else is worth doing.
    pub(crate) fn is_stopped(&self) -> bool {
        if self.cancel.is_cancelled() {
            self.stop();
        }
        self.lock().is_stopped
    }

    /// See [`Schedule::prepared`].
    pub(crate) fn prepared(&self, stage: usize, value: T, needs: Vec<usize>) {
        self.lock().schedule.prepared(stage, value, needs);
        self.changed.notify_all();
    }

    /// See [`Schedule::done`].
    pub(crate) fn done(&self, stage: usize) {
        self.lock().schedule.done(stage);
        self.changed.notify_all();
    }

    fn stop(&self) {
        self.lock().is_stopped = true;
        self.cancel.request();
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Alarm<'a, T: Send>(&'a Board<T>);

impl<T: Send> Drop for Alarm<'_, T> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.stop();
        }
    }
}
