//! Places in a compressed stream where decompression can start.

use std::sync::{Arc, Mutex, PoisonError};

/// A place where decompression can start: nothing before it is needed for what follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeekPoint {
    /// The offset in the uncompressed stream.
    pub plain: u64,
    /// The offset in the compressed stream.
    pub stored: u64,
}

/// The places that a [`Decoder`](crate::Decoder) has passed or an [`Encoder`](crate::Encoder) has
/// made, at least 1 MiB of uncompressed bytes apart; the first is the start of the stream.
///
/// A handle: clones share the places, so that they can be had after the stream was moved to another
/// thread. Only gzip has any, where its members begin. They are what was seen, never what a header
/// says: a stream that lies about its members cannot show other bytes to who reads from the middle.
#[derive(Debug, Clone, Default)]
pub struct SeekPoints(Arc<Mutex<Vec<SeekPoint>>>);

/// Bounds the memory whatever the stream: a layer of 64 GiB has 65,536 places, which are 1 MiB.
const APART: u64 = 1 << 20;

impl SeekPoints {
    /// Returns the places so far, ascending.
    pub fn to_vec(&self) -> Vec<SeekPoint> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Adds a place behind all others, unless it is too near to the last one.
    pub(crate) fn add(&self, point: SeekPoint) {
        let mut points = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_far = |last: &SeekPoint| point.plain.saturating_sub(last.plain) >= APART;
        if points.last().is_none_or(is_far) {
            points.push(point);
        }
    }
}
