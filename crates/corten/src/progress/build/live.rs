//! The steps that run, each with its last lines, below those that are done.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use corten_build::Event;
use indicatif::{ProgressBar, ProgressStyle};

use super::{Lines, title};
use crate::output;

/// Shows a build on a terminal.
#[derive(Debug)]
pub(super) struct Live {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The steps that run, by their numbers.
    steps: BTreeMap<usize, Step>,
    n_done: usize,
    n_cached: usize,
    /// The line above them all.
    head: ProgressBar,
}

#[derive(Debug)]
struct Step {
    title: String,
    is_cached: bool,
    lines: Lines,
    last: VecDeque<String>,
    bar: ProgressBar,
}

/// How many lines of a step's output are shown.
const SHOWN_LINES: usize = 6;

impl Live {
    pub(super) fn new() -> Self {
        let state = State {
            steps: BTreeMap::new(),
            n_done: 0,
            n_cached: 0,
            head: bar("building for {elapsed}{wide_msg}", ""),
        };
        Self {
            state: Mutex::new(state),
        }
    }

    pub(super) fn show(&self, event: Event<'_>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Step {
                step,
                stage,
                number,
                total,
                text,
                ..
            } => {
                let title = title(stage, number, total, text);
                let bar = bar("{spinner} {wide_msg} {elapsed}\n{prefix}", &title);
                let begun = Step {
                    title,
                    is_cached: false,
                    lines: Lines::default(),
                    last: VecDeque::new(),
                    bar,
                };
                state.steps.insert(step, begun);
            }
            Event::Cached { step } => {
                if let Some(step) = state.steps.get_mut(&step) {
                    step.is_cached = true;
                }
            }
            Event::Missed { step, reasons } => {
                for reason in reasons {
                    output::tell(&format!("#{step} not cached: {reason}"));
                }
            }
            Event::Output { step, bytes } => {
                if let Some(step) = state.steps.get_mut(&step) {
                    step.output(bytes);
                }
            }
            Event::Done { step, took } => {
                let is_cached = state.steps.get(&step).is_some_and(|step| step.is_cached);
                state.n_done += 1;
                state.n_cached += usize::from(is_cached);
                let how = if is_cached {
                    "CACHED".to_owned()
                } else {
                    format!("DONE {:.1}s", took.as_secs_f32())
                };
                state.end(step, &how);
            }
            Event::Failed { step, took } => {
                state.end(step, &format!("FAILED {:.1}s", took.as_secs_f32()));
            }
            Event::Warning(_) | Event::Isolated { .. } | Event::Detail(_) => {}
        }
    }

    /// Takes all bars away, and names the steps that were stopped.
    pub(super) fn finish(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let steps: Vec<_> = state.steps.keys().copied().collect();
        for step in steps {
            state.end(step, "STOPPED");
        }
        state.head.finish_and_clear();
    }
}

impl State {
    fn end(&mut self, step: usize, how: &str) {
        if let Some(step) = self.steps.remove(&step) {
            step.bar.finish_and_clear();
            output::tell(&format!("{} {how}", step.title));
        }
        let (done, cached) = (self.n_done, self.n_cached);
        self.head
            .set_message(format!(": {done} steps are done, {cached} of them cached"));
    }
}

impl Step {
    fn output(&mut self, bytes: &[u8]) {
        let lines = self.lines.add(bytes);
        if lines.is_empty() {
            return;
        }
        self.last
            .extend(lines.iter().map(|line| format!("  {line}")));
        let surplus = self.last.len().saturating_sub(SHOWN_LINES);
        self.last.drain(..surplus);
        self.bar.set_prefix(Vec::from(self.last.clone()).join("\n"));
    }
}

fn bar(template: &str, message: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template);
    let bar = ProgressBar::new_spinner()
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
        .with_message(message.to_owned());
    let bar = output::bars().add(bar);
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}
