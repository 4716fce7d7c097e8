//! Findings as they come in, with the rules that are not applied left out.

use std::fmt::Write as _;

use super::rule::Rule;
use crate::address::without_credentials;
use crate::check::Check;
use crate::diagnostic::Span;
use crate::document::Stage;
use crate::instruction::Instruction;

/// A rule that is broken, and where.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Finding {
    /// Which one.
    pub rule: Rule,
    /// What was found, in BuildKit's words, without passwords of addresses.
    pub detail: String,
    /// The instruction.
    pub span: Span,
    /// The number of its last line, here-documents included.
    pub last_line: usize,
}

impl Finding {
    /// Draws the finding as `docker build --check` does, with the lines of `source` around it.
    ///
    /// The result has no newline at its end, and no password of an address.
    pub fn render(&self, file_name: &str, source: &str) -> String {
        let mut out = format!("WARNING: {}", self.rule.name());
        if let Some(url) = self.rule.url() {
            // Writing to a string cannot fail.
            let _ = write!(out, " - {url}");
        }
        let _ = write!(out, "\n{}\n{file_name}:{}", self.detail, self.span.line);
        let lines: Vec<&str> = source.split('\n').collect();
        let first = self.span.line;
        if first == 0 || first > lines.len() {
            return out;
        }
        let last = self.last_line.clamp(first, lines.len());
        let (from, to) = around(first, last, lines.len());
        let _ = write!(out, "\n{RULE}");
        for (number, line) in lines.iter().enumerate().take(to).skip(from - 1) {
            let number = number + 1;
            let mark = if (first..=last).contains(&number) {
                ">>>"
            } else {
                "   "
            };
            let line = line.strip_suffix('\r').unwrap_or(line);
            let _ = write!(out, "\n {number:3} | {mark} {line}");
        }
        let _ = write!(out, "\n{RULE}");
        without_credentials(&out)
    }

    /// Returns the finding as the one line that a build warns with.
    pub fn line(&self) -> String {
        let name = self.rule.name();
        format!("{name}: {} (line {})", self.detail, self.span.line)
    }
}

const RULE: &str = "--------------------";

/// Widens a range of lines by those around it: two in all, or four around a single line.
fn around(first: usize, last: usize, n_lines: usize) -> (usize, usize) {
    let (mut from, mut to) = (first, last);
    let wanted = if first == last { 4 } else { 2 };
    let mut added = 0;
    while added < wanted {
        if from > 1 {
            from -= 1;
            added += 1;
        }
        if to < n_lines {
            to += 1;
            added += 1;
        }
        // Counted also where there is nothing to add, so that it ends.
        added += 1;
    }
    (from, to)
}

/// Where a finding is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) span: Span,
    pub(super) last_line: usize,
}

impl Place {
    pub(super) fn of(instruction: &Instruction) -> Self {
        Self {
            span: instruction.span,
            last_line: instruction.last_line,
        }
    }

    pub(super) fn from(stage: &Stage) -> Self {
        Self {
            span: stage.span,
            last_line: stage.last_line,
        }
    }

    pub(super) fn line(span: Span) -> Self {
        Self {
            span,
            last_line: span.line,
        }
    }
}

/// What was found so far.
#[derive(Debug)]
pub(super) struct Findings {
    check: Check,
    found: Vec<Finding>,
}

/// Findings of one instruction, whose comments may skip rules.
#[derive(Debug)]
pub(super) struct Local<'a> {
    check: Check,
    found: &'a mut Vec<Finding>,
}

impl Findings {
    pub(super) fn new(check: Check) -> Self {
        Self {
            check,
            found: Vec::new(),
        }
    }

    /// Returns the place for findings of an instruction with `comments` above it.
    pub(super) fn local(&mut self, comments: &[String]) -> Local<'_> {
        Local {
            check: self.check.with_comments(comments),
            found: &mut self.found,
        }
    }

    /// Reports what no comment of an instruction can skip.
    pub(super) fn report(&mut self, rule: Rule, place: Place, detail: impl Into<String>) {
        self.local(&[]).report(rule, place, detail);
    }

    /// Drops what is not above `span`.
    pub(super) fn keep_before(&mut self, span: Span) {
        self.found.retain(|finding| finding.span.line < span.line);
    }

    /// Returns the findings by line, each once.
    pub(super) fn finish(self) -> Vec<Finding> {
        let mut seen = std::collections::HashSet::new();
        let mut found = self.found;
        found.retain(|finding| seen.insert(finding.clone()));
        found.sort_by_key(|finding| finding.span.line);
        found
    }
}

impl Local<'_> {
    pub(super) fn report(&mut self, rule: Rule, place: Place, detail: impl Into<String>) {
        if self.check.applies(rule.name(), rule.is_experimental()) {
            self.found.push(Finding {
                rule,
                detail: without_credentials(&detail.into()),
                span: place.span,
                last_line: place.last_line,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_around() {
        assert_eq!(around(3, 3, 9), (1, 5));
        assert_eq!(around(1, 1, 9), (1, 3));
        assert_eq!(around(9, 9, 9), (7, 9));
        assert_eq!(around(4, 6, 9), (3, 7));
        assert_eq!(around(1, 1, 1), (1, 1));
    }
}
