//! What a build tells while it goes.

use std::time::Duration;

/// Something that happened.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// A step begins.
    Step {
        /// Its stage: the name, or the number.
        stage: &'a str,
        /// Its number in the whole build, from 1.
        number: usize,
        /// How many steps there are, triggers of base images aside.
        total: usize,
        /// The instruction as the Dockerfile has it.
        text: &'a str,
    },
    /// The step was found in the cache.
    Cached,
    /// The step is done.
    Done {
        /// How long it took.
        took: Duration,
    },
    /// The command of a step wrote something.
    Output(&'a [u8]),
    /// Something is worth a look.
    Warning(&'a str),
}

/// Told what happens, in the order in which it does.
pub type Listener<'a> = dyn Fn(Event<'_>) + 'a;
