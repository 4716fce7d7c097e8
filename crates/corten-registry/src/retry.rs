//! Whether and when to ask again.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use crate::Error;
use crate::transport::Method;

/// How often and how patiently a failed request is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How many times a request is repeated.
    pub limit: u32,
    /// The wait before the first repetition; it doubles with each.
    pub base: Duration,
    /// The longest wait, also where a registry asks for more with `Retry-After`.
    pub cap: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            limit: 5,
            base: Duration::from_millis(250),
            cap: Duration::from_mins(1),
        }
    }
}

impl RetryPolicy {
    /// Returns how long to wait before repetition `attempt`, which counts from 0.
    ///
    /// `Retry-After` is honoured up to the cap. `random` spreads clients that failed together: any
    /// number, different for each call.
    pub fn wait(&self, attempt: u32, retry_after: Option<Duration>, random: u64) -> Duration {
        let share = |of: Duration| {
            let per_mille = u32::try_from(random % 1000).unwrap_or_default();
            of * per_mille / 1000
        };
        if let Some(asked) = retry_after {
            // Cut first: a hostile number of seconds does not bear arithmetic.
            let asked = asked.min(self.cap);
            return (asked + share(asked / 10)).min(self.cap);
        }
        let full = self
            .base
            .saturating_mul(2_u32.saturating_pow(attempt))
            .min(self.cap);
        full / 2 + share(full / 2)
    }
}

/// Tells whether a request that got `status` may be repeated.
///
/// Adding to an upload is not idempotent: it is repeated only when the registry says that it did
/// not look at it. What was received is asked for instead.
pub fn is_worth_repeating(method: Method, status: u16) -> bool {
    // A server that stumbles over what it is to do stumbles again, but reading costs little.
    let may_stumble = matches!(method, Method::Get | Method::Head) && status == 500;
    let passes = method != Method::Patch && matches!(status, 408 | 502 | 503 | 504);
    status == 429 || may_stumble || passes
}

/// Tells whether a request that failed with `error` may be repeated.
pub fn is_passing(method: Method, error: &Error) -> bool {
    match error {
        Error::Connect { .. } => true,
        Error::Broken { .. } => method != Method::Patch,
        // Connections do die without a word, above all behind balancers and translators of addresses.
        Error::Stalled { .. } => matches!(method, Method::Get | Method::Head),
        _ => false,
    }
}

/// Returns a number that differs from call to call; it is no secret.
pub fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_a_cap() {
        let policy = RetryPolicy {
            limit: 5,
            base: Duration::from_millis(100),
            cap: Duration::from_mins(1),
        };
        let seconds = Duration::from_secs;
        assert_eq!(policy.wait(0, None, 0), Duration::from_millis(50));
        assert_eq!(policy.wait(3, None, 0), Duration::from_millis(400));
        assert_eq!(policy.wait(u32::MAX, None, 0), seconds(30));
        assert!(policy.wait(3, None, 999) < Duration::from_millis(800));
        assert_eq!(policy.wait(0, Some(seconds(7)), 0), seconds(7));
        assert_eq!(
            policy.wait(0, Some(seconds(7)), 500),
            Duration::from_millis(7350)
        );
        assert_eq!(policy.wait(0, Some(seconds(86_400)), 0), seconds(60));
        assert_eq!(
            policy.wait(0, Some(seconds(u64::MAX / 4)), 999),
            seconds(60)
        );
    }

    #[test]
    fn what_is_repeated() {
        #[track_caller]
        fn check(method: Method, status: u16, expected: bool) {
            assert_eq!(
                is_worth_repeating(method, status),
                expected,
                "{method:?} {status}"
            );
        }
        for status in [408, 429, 502, 503, 504] {
            check(Method::Get, status, true);
            check(Method::Put, status, true);
        }
        for status in [200, 400, 401, 403, 404, 416, 501] {
            check(Method::Get, status, false);
        }
        check(Method::Head, 500, true);
        check(Method::Put, 500, false);
        check(Method::Patch, 503, false);
        check(Method::Patch, 429, true);
    }
}
