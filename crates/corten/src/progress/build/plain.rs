//! A line for everything that happens, with the number of its step and the seconds it has run.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use corten_build::Event;

use super::{Lines, title};
use crate::output;

/// Shows a build line by line.
#[derive(Debug, Default)]
pub(super) struct Plain {
    /// The steps that run, by their numbers.
    steps: Mutex<BTreeMap<usize, Step>>,
}

#[derive(Debug)]
struct Step {
    begun: Instant,
    is_cached: bool,
    lines: Lines,
}

impl Plain {
    pub(super) fn show(&self, event: Event<'_>) {
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Step {
                step,
                stage,
                number,
                total,
                text,
                ..
            } => {
                output::tell(&format!("#{step} {}", title(stage, number, total, text)));
                let begun = Step {
                    begun: Instant::now(),
                    is_cached: false,
                    lines: Lines::default(),
                };
                steps.insert(step, begun);
            }
            Event::Cached { step } => {
                if let Some(step) = steps.get_mut(&step) {
                    step.is_cached = true;
                }
            }
            Event::Missed { step, reasons } => {
                for reason in reasons {
                    output::tell(&format!("#{step} not cached: {reason}"));
                }
            }
            Event::Output { step, bytes } => {
                if let Some(running) = steps.get_mut(&step) {
                    for line in running.lines.add(bytes) {
                        running.tell(step, &line);
                    }
                }
            }
            Event::Done { step, took } => {
                let ended = Self::end(steps.remove(&step), step);
                if ended.is_some_and(|step| step.is_cached) {
                    output::tell(&format!("#{step} CACHED"));
                } else {
                    output::tell(&format!("#{step} DONE {:.1}s", took.as_secs_f32()));
                }
            }
            Event::Failed { step, took } => {
                Self::end(steps.remove(&step), step);
                output::tell(&format!("#{step} FAILED {:.1}s", took.as_secs_f32()));
            }
            Event::Warning(_) | Event::Isolated { .. } | Event::Detail(_) => {}
        }
    }

    /// Shows what came after the last line break.
    fn end(ended: Option<Step>, step: usize) -> Option<Step> {
        let mut ended = ended?;
        if let Some(line) = ended.lines.end() {
            ended.tell(step, &line);
        }
        Some(ended)
    }
}

impl Step {
    fn tell(&self, number: usize, line: &str) {
        let seconds = self.begun.elapsed().as_secs_f32();
        output::tell(&format!("#{number} {seconds:.3} {line}"));
    }
}
