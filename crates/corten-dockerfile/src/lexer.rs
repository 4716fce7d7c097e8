//! Physical lines to logical lines: continuations, comments, byte-order mark, line ends.

use std::ops::Range;

use crate::diagnostic::Span;

/// The longest line in bytes, its end included: BuildKit's reader stops at this.
const MAX_LINE: usize = 65_535;

/// The text of a Dockerfile, cut into lines, with a place to read from.
#[derive(Debug)]
pub(crate) struct Source<'a> {
    text: &'a str,
    /// Offset of the first byte of each line.
    starts: Vec<usize>,
    ascii: bool,
    next: usize,
}

/// An instruction's text with its continuations joined, which remembers where each byte was.
#[derive(Debug, Default)]
pub(crate) struct Logical {
    pub(crate) text: String,
    /// (offset in `text`, offset in the source), ascending.
    pieces: Vec<(usize, usize)>,
    /// Whether a line between the first and the last holds nothing: BuildKit will refuse that one
    /// day.
    pub(crate) has_empty_line: bool,
}

impl<'a> Source<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        let starts = std::iter::once(0)
            .chain(
                text.bytes()
                    .enumerate()
                    .filter(|(_, b)| *b == b'\n')
                    .map(|(i, _)| i + 1),
            )
            .filter(|start| *start < text.len())
            .collect();
        Self {
            text,
            starts,
            ascii: text.is_ascii(),
            next: 0,
        }
    }

    /// Returns the next line with its offset and its line end.
    pub(crate) fn next_line(&mut self) -> Option<(usize, &'a str)> {
        let line = self.line(self.next)?;
        self.next += 1;
        Some(line)
    }

    /// Returns the place of the first line that is longer than BuildKit reads.
    pub(crate) fn too_long(&self) -> Option<Span> {
        let ends = self.starts.iter().skip(1).copied().chain([self.text.len()]);
        let mut lines = self.starts.iter().zip(ends);
        let (start, _) = lines.find(|(start, end)| end.saturating_sub(**start) > MAX_LINE)?;
        Some(self.span(*start..*start))
    }

    /// Where reading stands, for [`Source::rewind`].
    pub(crate) fn position(&self) -> usize {
        self.next
    }

    pub(crate) fn rewind(&mut self, position: usize) {
        self.next = position;
    }

    fn line(&self, index: usize) -> Option<(usize, &'a str)> {
        let start = *self.starts.get(index)?;
        let end = self
            .starts
            .get(index + 1)
            .copied()
            .unwrap_or(self.text.len());
        let mut line = self.text.get(start..end)?;
        let mut offset = start;
        if let Some(rest) = line.strip_prefix('\u{feff}').filter(|_| index == 0) {
            offset += line.len() - rest.len();
            line = rest;
        }
        Some((offset, line))
    }

    /// Returns the span of a range of bytes of the text.
    pub(crate) fn span(&self, range: Range<usize>) -> Span {
        let index = self
            .starts
            .partition_point(|start| *start <= range.start)
            .saturating_sub(1);
        let (line_start, line) = self.line(index).unwrap_or_default();
        let within = range.start.saturating_sub(line_start);
        let before = line.as_bytes().get(..within).unwrap_or_default();
        // Every word asks, so a long line must not be counted through for each.
        let column = if self.ascii {
            before.len() + 1
        } else {
            before.iter().filter(|byte| *byte & 0xC0 != 0x80).count() + 1
        };
        Span {
            line: index + 1,
            column,
            start: range.start,
            end: range.end.max(range.start),
        }
    }

    /// Returns the place of the line that was read last.
    pub(crate) fn last_span(&self) -> Span {
        let start = self.next.checked_sub(1).and_then(|last| self.line(last));
        let (start, _) = start.unwrap_or_default();
        self.span(start..start)
    }

    /// Returns the span of the last line: where something was missing.
    pub(crate) fn end_span(&self) -> Span {
        self.span(self.text.trim_end().len()..self.text.len())
    }

    /// Joins `first` with the lines that continue it.
    ///
    /// Comments inside are dropped; empty lines are skipped and reported, as BuildKit does.
    pub(crate) fn join(&mut self, offset: usize, first: &str, escape: char) -> Logical {
        let mut logical = Logical::default();
        let mut continues = logical.push(offset, first, escape);
        while continues {
            let Some((offset, line)) = self.next_line() else {
                break;
            };
            let line = line.trim_end_matches(['\r', '\n']);
            if is_comment(line) {
                continue;
            }
            if line.trim_start().is_empty() {
                logical.has_empty_line = true;
                continue;
            }
            continues = logical.push(offset, line, escape);
        }
        logical
    }
}

impl Logical {
    /// Appends one physical line; tells whether another follows.
    fn push(&mut self, offset: usize, line: &str, escape: char) -> bool {
        self.pieces.push((self.text.len(), offset));
        let rest = without_continuation(line, escape);
        self.text.push_str(rest.unwrap_or(line));
        rest.is_some()
    }

    /// Returns the bytes of the source that a range of the joined text came from.
    pub(crate) fn source_range(&self, range: &Range<usize>) -> Range<usize> {
        let start = self.source_offset(range.start);
        let end = match range.end.checked_sub(1).filter(|last| *last >= range.start) {
            Some(last) => self.source_offset(last) + 1,
            None => start,
        };
        start..end
    }

    fn source_offset(&self, at: usize) -> usize {
        let index = self
            .pieces
            .partition_point(|(logical, _)| *logical <= at)
            .saturating_sub(1);
        self.pieces
            .get(index)
            .map_or(0, |(logical, source)| source + at.saturating_sub(*logical))
    }
}

pub(crate) fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with('#')
}

/// Returns `line` without its continuation, if it ends in one.
///
/// An escape before the last one makes it a literal, whatever stands before both: BuildKit does not
/// count them.
fn without_continuation(line: &str, escape: char) -> Option<&str> {
    let rest = line.trim_end_matches([' ', '\t']).strip_suffix(escape)?;
    (!rest.ends_with(escape)).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, escape: char, expected: &str) {
        let mut source = Source::new(text);
        let (offset, line) = source.next_line().unwrap();
        let line = line.trim_end_matches(['\r', '\n']);
        assert_eq!(source.join(offset, line, escape).text, expected, "{text:?}");
    }

    #[test]
    fn continuations() {
        check("RUN a \\\n  b\n", '\\', "RUN a   b");
        check("RUN a \\  \t\r\n  b\r\n", '\\', "RUN a   b");
        check("RUN a \\\n# note\n\n b\nRUN c", '\\', "RUN a  b");
        check("RUN a \\\\\nb", '\\', "RUN a \\\\");
        check("RUN a `\nb", '`', "RUN a b");
        check("RUN a \\\nb", '`', "RUN a \\");
        check("\\\nRUN a", '\\', "RUN a");
        check("RUN a \\", '\\', "RUN a ");
        check("\u{feff}RUN a", '\\', "RUN a");
    }

    #[test]
    fn spans_lead_back_to_the_source() {
        let text = "RUN é \\\n# c\n  bb\n";
        let mut source = Source::new(text);
        let (offset, line) = source.next_line().unwrap();
        let logical = source.join(offset, line.trim_end(), '\\');
        let at = logical.text.find("bb").unwrap();
        let span = source.span(logical.source_range(&(at..at + 2)));
        assert_eq!((span.line, span.column), (3, 3));
        assert_eq!(text.get(span.start..span.end), Some("bb"));
    }
}
