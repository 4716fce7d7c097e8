//! Everything that is printed: data on standard output, everything else on standard error.

use std::io::{self, ErrorKind, IsTerminal as _, Read, Write};
use std::sync::LazyLock;

use clap::ValueEnum;
use corten_spec::Digest;
use indicatif::MultiProgress;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;

use crate::error::CommandError;

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs; fields are only ever added.
    Json,
}

/// How much is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verbosity {
    /// Data, warnings and errors.
    Quiet,
    /// What happens, too.
    Normal,
    /// What was chosen and why, too.
    Verbose,
}

/// Where a command prints to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    /// How much is told.
    pub(crate) verbosity: Verbosity,
    /// Whether standard error can show bars.
    pub(crate) is_live: bool,
}

impl Output {
    /// Returns the output for this process' standard error.
    pub(crate) fn new(verbosity: Verbosity, term: Option<&str>) -> Self {
        let is_terminal = io::stderr().is_terminal() && term != Some("dumb");
        Self {
            verbosity,
            is_live: is_terminal && verbosity != Verbosity::Quiet,
        }
    }

    /// Prints a line, or several, of data.
    #[expect(
        clippy::unused_self,
        reason = "who prints data holds an output, so that it is found here"
    )]
    pub(crate) fn data(self, text: &str) -> Result<(), CommandError> {
        print(text.as_bytes(), b"\n")
    }

    /// Prints what an image is found by: as data, unless the image itself is on standard output.
    pub(crate) fn digest(self, digest: &Digest, is_on_stdout: bool) -> Result<(), CommandError> {
        if is_on_stdout {
            self.note(digest.as_str());
            return Ok(());
        }
        self.data(digest.as_str())
    }

    /// Prints data as it is.
    #[expect(
        clippy::unused_self,
        reason = "who prints data holds an output, so that it is found here"
    )]
    pub(crate) fn bytes(self, bytes: &[u8]) -> Result<(), CommandError> {
        print(bytes, b"")
    }

    /// Prints all that `data` holds.
    #[expect(
        clippy::unused_self,
        reason = "who prints data holds an output, so that it is found here"
    )]
    pub(crate) fn copy(self, data: &mut dyn Read) -> Result<(), CommandError> {
        let mut stdout = io::stdout().lock();
        let mut buf = vec![0; 128 << 10];
        loop {
            let n_read = match data.read(&mut buf) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                result => result.map_err(CommandError::caused)?,
            };
            let part = buf.get(..n_read).unwrap_or_default();
            let written = match part {
                [] => stdout.flush(),
                part => stdout.write_all(part),
            };
            match written {
                Err(error) => {
                    return Err(CommandError::doing(
                        "cannot write to standard output",
                        error,
                    ));
                }
                Ok(()) if part.is_empty() => return Ok(()),
                Ok(()) => {}
            }
        }
    }

    /// Prints data for programs.
    pub(crate) fn json(self, value: &impl Serialize) -> Result<(), CommandError> {
        let text = serde_json::to_string_pretty(value)
            .map_err(|error| CommandError::doing("cannot print JSON", error))?;
        self.data(&text)
    }

    /// Tells what happens, unless that is not wanted.
    pub(crate) fn note(self, text: &str) {
        if self.verbosity >= Verbosity::Normal {
            tell(text);
        }
    }

    /// Tells what only somebody who asks wants to know.
    pub(crate) fn detail(self, text: &str) {
        if self.verbosity >= Verbosity::Verbose {
            tell(text);
        }
    }

    /// Tells what the user should act on.
    #[expect(
        clippy::unused_self,
        reason = "who warns holds an output, so that it is found here"
    )]
    pub(crate) fn warn(self, text: &str) {
        tell(&format!("warning: {text}"));
    }
}

/// Returns how many characters a line of standard output has, if it is a terminal that says so.
pub(crate) fn width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    Some(usize::from(size.ws_col)).filter(|&width| width > 0)
}

/// Prints an error.
pub(crate) fn error(text: &str) {
    tell(text);
}

/// Writes lines to standard error at once, so that those of several threads do not mix, and above the
/// bars, if there are any.
pub(crate) fn tell(text: &str) {
    // Nobody is left to be told if it cannot be written.
    bars().suspend(|| io::stderr().write_all(format!("{text}\n").as_bytes()).ok());
}

/// Returns what all bars are drawn by: the terminal is one, whatever goes on at the same time.
pub(crate) fn bars() -> &'static MultiProgress {
    static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);
    &BARS
}

fn print(bytes: &[u8], end: &[u8]) -> Result<(), CommandError> {
    let mut stdout = io::stdout().lock();
    let written = stdout
        .write_all(bytes)
        .and_then(|()| stdout.write_all(end))
        .and_then(|()| stdout.flush());
    written.map_err(|error| CommandError::doing("cannot write to standard output", error))
}

/// Tells whether nobody reads standard output any more: whoever did, such as `head`, has seen enough.
pub(crate) fn is_unread() -> bool {
    let stdout = io::stdout();
    let mut polled = [PollFd::new(&stdout, PollFlags::empty())];
    let found = poll(&mut polled, Some(&Timespec::default()));
    // A pipe without readers tells it as an error, a socket as a hangup.
    let is_over =
        |polled: &PollFd<'_>| polled.revents().intersects(PollFlags::ERR | PollFlags::HUP);
    found.is_ok() && polled.iter().any(is_over)
}

/// Returns columns that line up, the first line being the heading.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let n_columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or_default()
    };
    let widths: Vec<usize> = (0..n_columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, &width)| format!("{cell:width$}"))
            .collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Returns a number of bytes for people, in powers of ten as registries' pages show them.
pub(crate) fn size(bytes: u64) -> String {
    indicatif::DecimalBytes(bytes).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        assert_eq!(
            table(&[row(["NAME", "SIZE"]), row(["a", ""]), row(["longer", "1"])]),
            "NAME    SIZE\na\nlonger  1"
        );
        assert_eq!(table(&[]), "");
    }

    #[test]
    fn sizes() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(1_500_000), "1.50 MB");
    }
}
