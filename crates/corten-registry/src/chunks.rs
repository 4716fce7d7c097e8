//! One large blob over several connections: ranges that are asked for side by side and handed out in
//! order.
//!
//! The reader takes the next range itself unless a helper has it already, so that nobody waits for a
//! helper that is not there. Helpers stay a few ranges ahead, which bounds what is kept in memory.

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::pull::{ContentReader, Wanted};

/// How many helpers may be at work for one client.
#[derive(Debug)]
pub(crate) struct Spare(AtomicUsize);

impl Default for Spare {
    fn default() -> Self {
        Self(AtomicUsize::new(8))
    }
}

impl Spare {
    /// Takes up to `n` helpers.
    pub(crate) fn take(spare: &Arc<Self>, n: usize) -> Vec<Helper> {
        let mut taken = 0;
        let updated = spare
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                taken = left.min(n);
                Some(left - taken)
            });
        let taken = updated.map_or(0, |_| taken);
        std::iter::repeat_with(|| Helper(Arc::clone(spare)))
            .take(taken)
            .collect()
    }
}

/// A helper that was taken; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Helper(Arc<Spare>);

impl Drop for Helper {
    fn drop(&mut self) {
        self.0.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A blob that arrives in ranges.
pub(crate) struct ChunkedReader {
    shared: Arc<Shared>,
    /// What is being handed out: a range on its way, or one that a helper brought.
    current: Current,
    /// Where the current range ends, if all of it comes.
    current_end: u64,
    position: u64,
}

enum Current {
    Arriving(Box<ContentReader>),
    Brought(Cursor<Vec<u8>>),
}

struct Shared {
    wanted: Wanted,
    len: u64,
    size: u64,
    helpers: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Where the next range begins that nobody has taken.
    untaken: u64,
    /// Where the range begins that is handed out now.
    reading: u64,
    brought: BTreeMap<u64, io::Result<Vec<u8>>>,
    is_over: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        // Nobody wakes us when the work is cancelled.
        let waited = self.changed.wait_timeout(state, Duration::from_millis(50));
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn end_of(&self, start: u64) -> u64 {
        start.saturating_add(self.len).min(self.size)
    }

    fn open(&self, start: u64) -> io::Result<ContentReader> {
        self.wanted.open(start, self.end_of(start))
    }

    /// Brings ranges until none is left, or nobody wants them.
    fn help(&self) {
        loop {
            let mut state = self.state();
            let ahead = self.len.saturating_mul(self.helpers as u64 + 1);
            while !state.is_over
                && state.untaken < self.size
                && state.untaken > state.reading.saturating_add(ahead)
            {
                state = self.wait(state);
            }
            if state.is_over || state.untaken >= self.size {
                return;
            }
            let start = state.untaken;
            state.untaken = self.end_of(start);
            drop(state);
            let brought = self.bring(start);
            self.state().brought.insert(start, brought);
            self.changed.notify_all();
        }
    }

    fn bring(&self, start: u64) -> io::Result<Vec<u8>> {
        let mut reader = self.open(start)?;
        let mut bytes = Vec::new();
        let mut piece = vec![0; 128 << 10];
        loop {
            let n_read = reader.read(&mut piece)?;
            bytes.extend_from_slice(piece.get(..n_read).unwrap_or_default());
            if n_read == 0 || self.state().is_over {
                return Ok(bytes);
            }
        }
    }
}

impl ChunkedReader {
    /// Goes on with `first`, which is the first range of a blob of `size` bytes, in ranges of `len`
    /// bytes.
    pub(crate) fn start(first: ContentReader, size: u64, len: u64, helpers: Vec<Helper>) -> Self {
        let (start, len) = (first.position(), len.max(1));
        let end = start.saturating_add(len).min(size);
        let shared = Arc::new(Shared {
            wanted: first.wanted().clone(),
            len,
            size,
            helpers: helpers.len(),
            state: Mutex::new(State {
                untaken: end,
                reading: start,
                ..State::default()
            }),
            changed: Condvar::new(),
        });
        for helper in helpers {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                shared.help();
                drop(helper);
            });
        }
        Self {
            shared,
            current: Current::Arriving(Box::new(first)),
            current_end: end,
            position: start,
        }
    }

    /// Goes on to the range after the current one.
    fn advance(&mut self) -> io::Result<()> {
        let start = self.current_end;
        let mut state = self.shared.state();
        state.reading = start;
        self.shared.changed.notify_all();
        let brought = loop {
            if let Some(brought) = state.brought.remove(&start) {
                break Some(brought);
            }
            if state.untaken == start {
                state.untaken = self.shared.end_of(start);
                break None;
            }
            self.shared.wanted.check_cancelled()?;
            state = self.shared.wait(state);
        };
        drop(state);
        self.current = match brought {
            Some(bytes) => Current::Brought(Cursor::new(bytes?)),
            None => Current::Arriving(Box::new(self.shared.open(start)?)),
        };
        self.current_end = self.shared.end_of(start);
        Ok(())
    }
}

impl Read for ChunkedReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            let n_read = match &mut self.current {
                Current::Arriving(reader) => reader.read(buf)?,
                Current::Brought(bytes) => bytes.read(buf)?,
            };
            self.position += n_read as u64;
            // A range that ends early is the end: whoever verifies the blob will say so.
            let is_end = self.position < self.current_end || self.current_end >= self.shared.size;
            if n_read > 0 || buf.is_empty() || is_end {
                return Ok(n_read);
            }
            self.advance()?;
        }
    }
}

impl Drop for ChunkedReader {
    fn drop(&mut self) {
        self.shared.state().is_over = true;
        self.shared.changed.notify_all();
    }
}
