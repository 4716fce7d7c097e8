//! What a build tells while it goes.

use std::time::Duration;

use crate::explain::Reason;
use corten_sandbox::Isolation;

/// Something that happened. Steps of different stages run side by side; their numbers tell them apart.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// A step begins.
    Step {
        /// Its number in the whole build, from 1, in the order in which steps begin.
        step: usize,
        /// Its stage: the name, or the number.
        stage: &'a str,
        /// Its number in the stage, from 1.
        number: usize,
        /// How many steps the stage has, triggers of its base image included.
        total: usize,
        /// The instruction as the Dockerfile has it.
        text: &'a str,
        /// The line that it begins on, from 1; that of FROM for a trigger of an image.
        line: usize,
    },
    /// A step was found in the cache.
    Cached {
        /// Which.
        step: usize,
    },
    /// A step was not found in the cache; told only if that was asked for.
    Missed {
        /// Which.
        step: usize,
        /// Why.
        reasons: &'a [Reason],
    },
    /// A step is done.
    Done {
        /// Which.
        step: usize,
        /// How long it took.
        took: Duration,
    },
    /// A step failed, and with it the build.
    Failed {
        /// Which.
        step: usize,
        /// How long it took.
        took: Duration,
    },
    /// The command of a step wrote something.
    Output {
        /// Of which.
        step: usize,
        /// What it wrote.
        bytes: &'a [u8],
    },
    /// How the commands of this build are isolated: told once, before the first of them.
    Isolated {
        /// The way that was taken.
        isolation: Isolation,
    },
    /// Something that who asks for details wants to know.
    Detail(&'a str),
    /// Something is worth a look.
    Warning(&'a str),
}

/// Told what happens, in the order in which it does, by several threads.
pub type Listener<'a> = dyn Fn(Event<'_>) + Sync + 'a;
