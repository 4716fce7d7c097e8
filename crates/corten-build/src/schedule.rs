//! Which stage is worked on next: a value that is told what happened, without threads.
//!
//! A stage is prepared first, which finds what it is based on and hence, with the triggers of that
//! image, which other stages it needs. It is built once those are.

use std::collections::BTreeMap;

/// The stages of a build, each somewhere between waiting and done.
#[derive(Debug)]
pub(crate) struct Schedule<T> {
    stages: BTreeMap<usize, State<T>>,
}

#[derive(Debug)]
enum State<T> {
    Waiting,
    Preparing,
    Prepared { value: T, needs: Vec<usize> },
    Building,
    Done,
}

/// What a thread that has nothing to do does.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next<T> {
    /// Prepares this stage.
    Prepare(usize),
    /// Builds this stage with what was prepared.
    Build(usize, T),
    /// Asks again when something happened.
    Wait,
    /// Nothing: every stage is done.
    End,
}

impl<T> Schedule<T> {
    /// Returns a schedule of `stages`, all waiting.
    pub(crate) fn new(stages: &[usize]) -> Self {
        let stages = stages.iter().map(|&stage| (stage, State::Waiting));
        Self {
            stages: stages.collect(),
        }
    }

    /// Returns how many stages there are, as far as it is known.
    pub(crate) fn len(&self) -> usize {
        self.stages.len()
    }

    /// Hands out what is to be done: building before preparing, since others wait for it, and the
    /// stages of the Dockerfile in their order.
    pub(crate) fn next(&mut self) -> Next<T> {
        if let Some(stage) = self.ready()
            && let Some(state) = self.stages.get_mut(&stage)
            && let State::Prepared { value, .. } = std::mem::replace(state, State::Building)
        {
            return Next::Build(stage, value);
        }
        for (&stage, state) in &mut self.stages {
            if matches!(state, State::Waiting) {
                *state = State::Preparing;
                return Next::Prepare(stage);
            }
        }
        let is_done = |state| matches!(state, &State::Done);
        if self.stages.values().all(is_done) {
            Next::End
        } else {
            Next::Wait
        }
    }

    fn ready(&self) -> Option<usize> {
        let is_done = |stage: &usize| matches!(self.stages.get(stage), Some(State::Done));
        let mut ready = self.stages.iter().filter(|(_, state)| match state {
            State::Prepared { needs, .. } => needs.iter().all(is_done),
            State::Waiting | State::Preparing | State::Building | State::Done => false,
        });
        ready.next().map(|(&stage, _)| stage)
    }

    /// Notes that `stage` is prepared, and that it and those it depends on need `needs`.
    pub(crate) fn prepared(&mut self, stage: usize, value: T, needs: Vec<usize>) {
        for &other in &needs {
            self.stages.entry(other).or_insert(State::Waiting);
        }
        self.stages.insert(stage, State::Prepared { value, needs });
    }

    /// Notes that `stage` is built.
    pub(crate) fn done(&mut self, stage: usize) {
        self.stages.insert(stage, State::Done);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn independent_stages_are_handed_out_at_once() {
        let mut schedule = Schedule::new(&[0, 1, 2]);
        assert_eq!(schedule.next(), Next::Prepare(0));
        schedule.prepared(0, "a", vec![]);
        assert_eq!(schedule.next(), Next::Build(0, "a"));
        assert_eq!(schedule.next(), Next::Prepare(1));
        assert_eq!(schedule.next(), Next::Prepare(2));
        schedule.prepared(2, "c", vec![0, 1]);
        assert_eq!(schedule.next(), Next::Wait);
        schedule.prepared(1, "b", vec![]);
        assert_eq!(schedule.next(), Next::Build(1, "b"));
        schedule.done(0);
        assert_eq!(schedule.next(), Next::Wait);
        schedule.done(1);
        assert_eq!(schedule.next(), Next::Build(2, "c"));
        assert_eq!(schedule.next(), Next::Wait);
        schedule.done(2);
        assert_eq!(schedule.next(), Next::End);
    }

    #[test]
    fn what_a_trigger_needs_is_built_too() {
        let mut schedule = Schedule::new(&[3]);
        assert_eq!(schedule.next(), Next::Prepare(3));
        schedule.prepared(3, (), vec![1]);
        assert_eq!(schedule.next(), Next::Prepare(1));
        schedule.prepared(1, (), vec![]);
        assert_eq!(schedule.next(), Next::Build(1, ()));
        schedule.done(1);
        assert_eq!(schedule.next(), Next::Build(3, ()));
    }
}
