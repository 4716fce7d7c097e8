//! Where arguments are written to: mappings that a process does not know of.
//!
//! What a child has mapped while it borrows the memory of its parent (vfork(2)) stays there, and is used for
//! the next child.

use std::collections::HashMap;

use crate::sys::ptrace::Registers;
use crate::traced::arch;

/// As many as are kept of one memory.
const MOST: usize = 16;
/// No mapping is smaller.
const LEAST: usize = 16384;

/// A mapping.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scratch {
    /// Where it is.
    pub(crate) at: u64,
    length: usize,
}

/// The mappings that are not in use, by the number of the memory.
#[derive(Debug, Default)]
pub(crate) struct Scratches {
    free: HashMap<u64, Vec<Scratch>>,
    /// The newest number.
    newest: u64,
}

impl Scratches {
    /// Returns a number for memory that is a copy of `of`, or new.
    pub(crate) fn begin(&mut self, of: Option<u64>) -> u64 {
        self.newest += 1;
        if let Some(copied) = of.and_then(|of| self.free.get(&of)).cloned() {
            self.free.insert(self.newest, copied);
        }
        self.newest
    }

    /// Nobody has this memory any more.
    pub(crate) fn end(&mut self, memory: u64) {
        self.free.remove(&memory);
    }

    /// Takes one that is large enough.
    pub(crate) fn take(&mut self, memory: u64, length: usize) -> Option<Scratch> {
        let free = self.free.get_mut(&memory)?;
        let found = free.iter().position(|one| one.length >= length)?;
        Some(free.swap_remove(found))
    }

    /// Gives one back.
    pub(crate) fn put(&mut self, memory: u64, scratch: Scratch) {
        let free = self.free.entry(memory).or_default();
        if free.len() < MOST {
            free.push(scratch);
        }
    }
}

/// Changes the call that a thread is about to make into one that maps as much as `length`.
pub(crate) fn map(registers: &mut Registers, length: usize) {
    let protection = (libc::PROT_READ | libc::PROT_WRITE).unsigned_abs();
    let flags = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS).unsigned_abs();
    let length = rounded(length) as u64;
    arch::set_call(registers, libc::SYS_mmap);
    arch::set_args(
        registers,
        [0, length, protection.into(), flags.into(), u64::MAX, 0],
    );
}

/// Returns what such a call has made.
pub(crate) fn mapped(registers: &Registers, length: usize) -> Result<Scratch, i64> {
    const LAST_ERRNO: i64 = 4095;
    let result = arch::result(registers);
    if (-LAST_ERRNO..0).contains(&result) {
        return Err(result);
    }
    Ok(Scratch {
        at: result.cast_unsigned(),
        length: rounded(length),
    })
}

fn rounded(length: usize) -> usize {
    length.next_multiple_of(LEAST)
}
