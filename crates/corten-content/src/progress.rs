//! What a copy tells about itself while it runs.

use corten_spec::Descriptor;

/// Told what happens to each blob. Calls come from several threads.
pub trait Progress: Send + Sync {
    /// A transfer starts; `offset` bytes of it are already there.
    fn begin(&self, content: &Descriptor, offset: u64);

    /// `bytes` more bytes arrived.
    fn advance(&self, content: &Descriptor, bytes: u64);

    /// The blob is complete; `how` says whether it was sent, was there, or was mounted.
    fn end(&self, content: &Descriptor, how: Outcome);
}

/// How a blob came to be where it was copied to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Its bytes were sent.
    Sent,
    /// It was already there.
    Present,
    /// Its type asks not to distribute it.
    Skipped,
}

/// Tells nobody.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _: &Descriptor, _: u64) {}
    fn advance(&self, _: &Descriptor, _: u64) {}
    fn end(&self, _: &Descriptor, _: Outcome) {}
}
