//! A build on its way: on a terminal the steps that run with their last lines, elsewhere every line,
//! for programs an object each.

mod json;
mod live;
mod plain;

use std::time::Instant;

use clap::ValueEnum;
use corten_build::Event;

use self::live::Live;
use self::plain::Plain;
use crate::output::{self, Output, Verbosity};

/// How a build is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Style {
    /// What suits where it is shown.
    #[default]
    Auto,
    /// The steps that run, with their last lines.
    Tty,
    /// Line by line.
    Plain,
    /// An object of JSON on each line.
    #[value(alias = "rawjson")]
    Json,
    /// Not at all.
    #[value(alias = "none")]
    Quiet,
}

/// Shows one build.
#[derive(Debug)]
pub(crate) struct BuildView {
    output: Output,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Live(Live),
    Plain(Plain),
    Json(Instant),
    Quiet,
}

/// A line that has no end is cut: memory does not grow with what a command writes.
const LONGEST_LINE: usize = 16 << 10;

impl BuildView {
    /// Returns a view in `style`.
    pub(crate) fn new(output: Output, style: Style) -> Self {
        let kind = match style {
            _ if output.verbosity == Verbosity::Quiet => Kind::Quiet,
            Style::Quiet => Kind::Quiet,
            Style::Json => Kind::Json(Instant::now()),
            Style::Tty => Kind::Live(Live::new()),
            Style::Auto if output.is_live => Kind::Live(Live::new()),
            Style::Auto | Style::Plain => Kind::Plain(Plain::default()),
        };
        Self { output, kind }
    }

    /// Shows what happened.
    pub(crate) fn show(&self, event: Event<'_>) {
        match (&self.kind, event) {
            (Kind::Json(begun), event) => output::tell(&json::line(&event, begun.elapsed())),
            (_, Event::Warning(text)) => self.output.warn(text),
            (_, Event::Isolated { isolation }) => {
                self.output.detail(&format!("isolation: {isolation}"));
            }
            (_, Event::Detail(text)) => self.output.detail(text),
            (Kind::Live(live), event) => live.show(event),
            (Kind::Plain(plain), event) => plain.show(event),
            (Kind::Quiet, _) => {}
        }
    }

    /// Takes away what is left of steps that were going on when another failed.
    pub(crate) fn finish(&self) {
        if let Kind::Live(live) = &self.kind {
            live.finish();
        }
    }
}

/// The end of a command's output that has no line break yet.
#[derive(Debug, Default)]
struct Lines(Vec<u8>);

impl Lines {
    /// Adds what was written, and returns the lines that are whole now.
    fn add(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.0.extend_from_slice(part);
            if part.ends_with(b"\n") || self.0.len() > LONGEST_LINE {
                lines.extend(self.end());
            }
        }
        lines
    }

    /// Returns what came after the last line break, if anything did.
    fn end(&mut self) -> Option<String> {
        let line = std::mem::take(&mut self.0);
        (!line.is_empty()).then(|| printable(&line))
    }
}

/// Returns what a step is called.
fn title(stage: &str, number: usize, total: usize, text: &str) -> String {
    let stage = stage_name(stage);
    format!("[{stage} {number}/{total}] {}", one_line(text))
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
    fn output_comes_in_lines() {
        let mut lines = Lines::default();
        assert_eq!(lines.add(b"a"), [""; 0]);
        assert_eq!(lines.add(b"b\nc\nd"), ["ab", "c"]);
        assert_eq!(lines.end().as_deref(), Some("d"));
        assert_eq!(lines.end(), None);
        assert_eq!(lines.add(&vec![b'x'; LONGEST_LINE + 1]).len(), 1);
    }

    #[test]
    fn instructions_take_one_line() {
        assert_eq!(one_line("RUN a"), "RUN a");
        assert_eq!(one_line("RUN <<EOF\na\nEOF"), "RUN <<EOF …");
    }
}
