//! Manifests that were just read or written, so that nobody asks for them twice.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use corten_spec::Digest;

/// The last few manifests, by digest.
#[derive(Debug, Default)]
pub(crate) struct Kept(Mutex<VecDeque<(Digest, Arc<[u8]>)>>);

impl Kept {
    /// The most that is kept, in bytes.
    const LIMIT: usize = 8 << 20;

    fn entries(&self) -> MutexGuard<'_, VecDeque<(Digest, Arc<[u8]>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the bytes that hash to `digest`, if they are at hand.
    pub(crate) fn bytes(&self, digest: &Digest) -> Option<Arc<[u8]>> {
        let entries = self.entries();
        let found = entries.iter().find(|(kept, _)| kept == digest);
        found.map(|(_, bytes)| Arc::clone(bytes))
    }

    /// Keeps `bytes`, which must hash to `digest`; the oldest make room.
    pub(crate) fn keep(&self, digest: &Digest, bytes: &Arc<[u8]>) {
        let mut entries = self.entries();
        entries.retain(|(kept, _)| kept != digest);
        entries.push_back((digest.clone(), Arc::clone(bytes)));
        let mut total: usize = entries.iter().map(|(_, bytes)| bytes.len()).sum();
        while total > Self::LIMIT {
            total -= entries.pop_front().map_or(total, |(_, bytes)| bytes.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_make_room() {
        let kept = Kept::default();
        let keep = |fill: u8, len: usize| {
            let bytes: Arc<[u8]> = vec![fill; len].into();
            let digest = Digest::sha256(&bytes);
            kept.keep(&digest, &bytes);
            digest
        };
        let first = keep(1, Kept::LIMIT / 2);
        let second = keep(2, Kept::LIMIT / 2);
        assert!(kept.bytes(&first).is_some() && kept.bytes(&second).is_some());
        let third = keep(3, 1);
        assert!(kept.bytes(&first).is_none() && kept.bytes(&third).is_some());
        let huge = keep(4, Kept::LIMIT + 1);
        assert!(kept.bytes(&huge).is_none() && kept.bytes(&third).is_none());
    }
}
