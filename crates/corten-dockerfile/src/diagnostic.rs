//! Messages about a place in a Dockerfile, and how they are drawn.

use std::fmt::Write as _;

use crate::address::without_credentials;

/// A stretch of the source text.
///
/// A word that a line continuation cuts in two spans both halves; what is drawn is the part on its
/// first line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Span {
    /// Line of the first character, counted from 1.
    pub line: usize,
    /// Column of the first character, counted in characters from 1.
    pub column: usize,
    /// Offset of the first byte in the text.
    pub start: usize,
    /// Offset after the last byte in the text.
    pub end: usize,
}

impl Span {
    /// Returns the number of bytes covered.
    pub fn len(&self) -> usize {
        self.end.saturating_sub(self.start)
    }

    /// Tells whether nothing is covered: a place between two characters.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One message about one place in a Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// What is wrong: lower case, no full stop.
    pub message: String,
    /// Where.
    pub span: Span,
    /// What is said beside the underlined text.
    pub label: Option<String>,
    /// What to do about it, on a line of its own.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// Makes a message with neither label nor hint.
    pub fn new(message: impl Into<String>, span: Span) -> Self {
        Self {
            message: message.into(),
            span,
            label: None,
            hint: None,
        }
    }

    /// Returns the message with `label` beside the underlined text.
    #[must_use]
    pub fn with_label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Returns the message with `hint` as its last line.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Draws `diagnostic` with the line of `source` it is about.
///
/// The result has no newline at its end, and no password of an address: messages end up in logs.
pub fn render(diagnostic: &Diagnostic, file_name: &str, source: &str) -> String {
    let Diagnostic {
        message,
        span,
        label,
        hint,
    } = diagnostic;
    let number = span.line.to_string();
    let gutter = " ".repeat(number.len());
    let mut out = format!(
        "error: {message}\n --> {file_name}:{number}:{}",
        span.column
    );
    if let Some(line) = source.lines().nth(span.line.saturating_sub(1)) {
        let line = if span.line == 1 {
            line.trim_start_matches('\u{feff}')
        } else {
            line
        };
        let (padding, carets) = underline(line, span, source);
        // Writing to a string cannot fail.
        let _ = write!(
            out,
            "\n{gutter} |\n{number} | {line}\n{gutter} | {padding}{carets}"
        );
        if let Some(label) = label {
            let _ = write!(out, " {label}");
        }
    } else if let Some(label) = label {
        let _ = write!(out, "\n{gutter} = {label}");
    }
    if let Some(hint) = hint {
        let _ = write!(out, "\nhint: {hint}");
    }
    without_credentials(&out)
}

/// Returns what stands before the carets, with tabs kept so that both lines align, and the carets: as
/// many as fit what is shown of `line`.
fn underline(line: &str, span: &Span, source: &str) -> (String, String) {
    let shown = |n_chars: usize| {
        let start: String = line.chars().take(n_chars).collect();
        without_credentials(&start)
    };
    let before = span.column.saturating_sub(1);
    let padding: String = shown(before)
        .chars()
        .map(|c| if c == '\t' { '\t' } else { ' ' })
        .collect();
    let covered = source.get(span.start..span.end).map_or(1, |text| {
        text.lines().next().map_or(1, |first| first.chars().count())
    });
    let up_to_end = shown(before.saturating_add(covered)).chars().count();
    let n_carets = up_to_end.saturating_sub(padding.chars().count());
    (padding, "^".repeat(n_carets.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(source: &str, at: &str, expected: &str) {
        let start = source.find(at).unwrap();
        let before = source.split_at(start).0;
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap().chars().count() + 1;
        let span = Span {
            line,
            column,
            start,
            end: start + at.len(),
        };
        let diagnostic = Diagnostic::new("bad", span).with_label("here");
        assert_eq!(render(&diagnostic, "Dockerfile", source), expected);
    }

    #[test]
    fn carets_stand_under_the_text() {
        check(
            "FROM a\n\tRUN\té x\n",
            "é x",
            "error: bad\n --> Dockerfile:2:6\n  |\n2 | \tRUN\té x\n  | \t   \t^^^ here",
        );
        check(
            &format!("{}COPY a b", "\n".repeat(11)),
            "a",
            "error: bad\n --> Dockerfile:12:6\n   |\n12 | COPY a b\n   |      ^ here",
        );
        check(
            "COPY a\\\nb c",
            "a\\\nb",
            "error: bad\n --> Dockerfile:1:6\n  |\n1 | COPY a\\\n  |      ^^ here",
        );
    }

    #[test]
    fn passwords_are_not_drawn() {
        check(
            "ADD https://u:p,q@h/x b c",
            "b",
            "error: bad\n --> Dockerfile:1:23\n  |\n1 | ADD https://xxxxx:xxxxx@h/x b c\n  \
             |                             ^ here",
        );
        check(
            "ADD https://u:p,q@h/x b c",
            "https://u:p,q@h/x",
            "error: bad\n --> Dockerfile:1:5\n  |\n1 | ADD https://xxxxx:xxxxx@h/x b c\n  \
             |     ^^^^^^^^^^^^^^^^^^^^^^^ here",
        );
    }

    #[test]
    fn a_place_outside_the_text_is_still_named() {
        let span = Span {
            line: 9,
            column: 1,
            start: 70,
            end: 80,
        };
        let diagnostic = Diagnostic::new("bad", span).with_label("l").with_hint("h");
        assert_eq!(
            render(&diagnostic, "D", "FROM a"),
            "error: bad\n --> D:9:1\n  = l\nhint: h"
        );
    }
}
