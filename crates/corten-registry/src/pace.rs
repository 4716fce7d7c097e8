//! How hard registries are asked, by all together who share a client.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// When each host may be asked next.
#[derive(Debug, Default)]
pub(crate) struct Pace(Mutex<HashMap<String, Instant>>);

impl Pace {
    fn hosts(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the next turn to ask `host`, and returns how long it is until then. Turns are `apart`.
    pub(crate) fn turn(&self, host: &str, now: Instant, apart: Duration) -> Duration {
        let mut hosts = self.hosts();
        let Some(next) = hosts.get_mut(host) else {
            if !apart.is_zero() {
                hosts.insert(host.to_owned(), now + apart);
            }
            return Duration::ZERO;
        };
        let turn = (*next).max(now);
        *next = turn + apart;
        turn.saturating_duration_since(now)
    }

    /// Keeps everybody from asking `host` for `wait`: it said that it is asked too much.
    pub(crate) fn hold(&self, host: &str, now: Instant, wait: Duration) {
        let until = now + wait;
        let mut hosts = self.hosts();
        let next = hosts.entry(host.to_owned()).or_insert(until);
        *next = (*next).max(until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns() {
        let (pace, now) = (Pace::default(), Instant::now());
        let seconds = Duration::from_secs;
        let turn = |host: &str, apart: u64| pace.turn(host, now, seconds(apart)).as_secs();
        assert_eq!([turn("a", 0), turn("a", 0)], [0, 0]);
        assert_eq!([turn("b", 2), turn("b", 2), turn("b", 2)], [0, 2, 4]);
        pace.hold("a", now, seconds(10));
        pace.hold("a", now, seconds(5));
        assert_eq!([turn("a", 0), turn("a", 0), turn("c", 0)], [10, 10, 0]);
        // What was waited for is over.
        assert_eq!(pace.turn("a", now + seconds(20), seconds(0)), seconds(0));
    }
}
