//! A build on its way: on a terminal the steps that run with their last lines, elsewhere every line.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use corten_build::Event;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::output::{self, Output, Verbosity};

/// How a build is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Style {
    /// What suits where it is shown.
    #[default]
    Auto,
    /// Line by line.
    Plain,
    /// Not at all.
    Quiet,
}

/// Shows one build.
#[derive(Debug)]
pub(crate) struct BuildView {
    output: Output,
    kind: Kind,
    all: MultiProgress,
    /// The steps that run, by their numbers.
    steps: Mutex<BTreeMap<usize, Step>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Live,
    Plain,
    Quiet,
}

/// A step that runs.
#[derive(Debug)]
struct Step {
    number: usize,
    title: String,
    started: Instant,
    is_cached: bool,
    /// The end of a line that has not come yet.
    partial: Vec<u8>,
    last: VecDeque<String>,
    bar: Option<ProgressBar>,
}

/// How many lines of a step's output a terminal shows.
const SHOWN_LINES: usize = 6;
/// A line that has no end is cut: memory does not grow with what a command writes.
const LONGEST_LINE: usize = 16 << 10;

impl BuildView {
    /// Returns a view in `style`.
    pub(crate) fn new(output: Output, style: Style) -> Self {
        let kind = match style {
            _ if output.verbosity == Verbosity::Quiet => Kind::Quiet,
            Style::Quiet => Kind::Quiet,
            Style::Auto if output.is_live => Kind::Live,
            Style::Auto | Style::Plain => Kind::Plain,
        };
        Self {
            output,
            kind,
            all: MultiProgress::new(),
            steps: Mutex::default(),
        }
    }

    /// Shows what happened.
    pub(crate) fn show(&self, event: Event<'_>) {
        match event {
            Event::Warning(text) => self.all.suspend(|| self.output.warn(text)),
            _ if self.kind == Kind::Quiet => {}
            Event::Step {
                step,
                stage,
                number,
                total,
                text,
            } => {
                let stage = stage_name(stage);
                let title = format!("[{stage} {number}/{total}] {}", one_line(text));
                self.begin(step, title);
            }
            Event::Cached { step } => self.with(step, |step| step.is_cached = true),
            Event::Output { step, bytes } => self.with(step, |step| step.output(bytes)),
            Event::Done { step, took } => self.end(step, took),
        }
    }

    /// Takes away what is left of steps that failed, or that were going on when another did.
    pub(crate) fn finish(&self) {
        for step in std::mem::take(&mut *self.steps()).into_values() {
            if let Some(bar) = step.bar {
                bar.finish_and_clear();
                output::tell(&format!("{} FAILED", step.title));
            }
        }
    }

    fn steps(&self) -> MutexGuard<'_, BTreeMap<usize, Step>> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with(&self, step: usize, change: impl FnOnce(&mut Step)) {
        if let Some(step) = self.steps().get_mut(&step) {
            change(step);
        }
    }

    fn begin(&self, number: usize, title: String) {
        let bar = (self.kind == Kind::Live).then(|| {
            let style = ProgressStyle::with_template("{spinner} {wide_msg} {elapsed}\n{prefix}");
            let style = style.unwrap_or_else(|_| ProgressStyle::default_spinner());
            let bar = ProgressBar::new_spinner()
                .with_style(style)
                .with_message(title.clone());
            let bar = self.all.add(bar);
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        if self.kind == Kind::Plain {
            output::tell(&format!("#{number} {title}"));
        }
        let step = Step {
            number,
            title,
            started: Instant::now(),
            is_cached: false,
            partial: Vec::new(),
            last: VecDeque::new(),
            bar,
        };
        self.steps().insert(number, step);
    }

    fn end(&self, step: usize, took: Duration) {
        let Some(mut step) = self.steps().remove(&step) else {
            return;
        };
        if !step.partial.is_empty() {
            step.line();
        }
        let how = if step.is_cached {
            "CACHED".to_owned()
        } else {
            format!("DONE {:.1}s", took.as_secs_f32())
        };
        match step.bar.take() {
            Some(bar) => {
                bar.finish_and_clear();
                self.all
                    .suspend(|| output::tell(&format!("{} {how}", step.title)));
            }
            None => output::tell(&format!("#{} {how}", step.number)),
        }
    }
}

impl Step {
    fn output(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.partial.extend_from_slice(part);
            if part.ends_with(b"\n") || self.partial.len() > LONGEST_LINE {
                self.line();
            }
        }
    }

    /// Shows the line that has come.
    fn line(&mut self) {
        let line = printable(&self.partial);
        self.partial.clear();
        if let Some(bar) = &self.bar {
            self.last.push_back(format!("  {line}"));
            while self.last.len() > SHOWN_LINES {
                self.last.pop_front();
            }
            bar.set_prefix(Vec::from(self.last.clone()).join("\n"));
        } else {
            let seconds = self.started.elapsed().as_secs_f32();
            output::tell(&format!("#{} {seconds:.3} {line}", self.number));
        }
    }
}

/// Returns what a stage is called: one without a name has a number.
fn stage_name(stage: &str) -> String {
    let is_number = stage.bytes().all(|byte| byte.is_ascii_digit());
    if is_number {
        format!("stage-{stage}")
    } else {
        stage.to_owned()
    }
}

/// Returns the instruction on one line.
fn one_line(text: &str) -> String {
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    if lines.next().is_some() {
        format!("{first} …")
    } else {
        first.to_owned()
    }
}

/// Returns a line of output without what would steer the terminal. Of what a progress bar drew over
/// itself, the last is shown.
fn printable(line: &[u8]) -> String {
    let line = String::from_utf8_lossy(line);
    let line = line.trim_end_matches(['\n', '\r']);
    let line = line.rsplit('\r').next().unwrap_or_default();
    line.chars()
        .filter(|&char| char == '\t' || !char.is_control())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_do_not_steer_the_terminal() {
        #[track_caller]
        fn check(line: &[u8], expected: &str) {
            assert_eq!(printable(line), expected, "{line:?}");
        }
        check(b"plain\n", "plain");
        check(b"10%\r20%\r\n", "20%");
        check(b"\x1b[31mred\x07\n", "[31mred");
        check(b"\xff\n", "\u{fffd}");
    }

    #[test]
    fn instructions_take_one_line() {
        assert_eq!(one_line("RUN a"), "RUN a");
        assert_eq!(one_line("RUN <<EOF\na\nEOF"), "RUN <<EOF …");
    }
}
