//! Here-documents: `<<EOF`, `<<-EOF`, `<<"EOF"`, several in one instruction.

use crate::diagnostic::Span;
use crate::expand::{Lex, Mode};

/// A here-document of RUN, COPY or ADD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heredoc {
    /// The delimiter without quotes; for COPY and ADD also the file's name.
    pub name: String,
    /// Whether variables in the body are expanded: the delimiter is not quoted.
    pub expand: bool,
    /// Whether tabs at the start of lines are dropped: `<<-`.
    pub chomp: bool,
    /// The lines up to the delimiter as they are written, with their line ends.
    pub content: String,
    /// The instruction's words, the body not included.
    pub span: Span,
}

impl Heredoc {
    /// Returns the content, without leading tabs where `<<-` asks for it.
    pub fn body(&self) -> String {
        if !self.chomp {
            return self.content.clone();
        }
        self.content
            .split_inclusive('\n')
            .map(|line| line.trim_start_matches('\t'))
            .collect()
    }

    /// Tells whether `line`, with its line end, ends the document.
    pub(crate) fn ends_with(&self, line: &str) -> bool {
        let line = line.trim_end_matches(['\r', '\n']);
        let line = if self.chomp {
            line.trim_start_matches('\t')
        } else {
            line
        };
        line == self.name
    }
}

/// Returns the here-documents that an instruction's text opens, in order, without their content.
pub(crate) fn opened(text: &str, span: Span) -> Vec<Heredoc> {
    let mode = Mode {
        raw_quotes: true,
        raw_escapes: true,
        keep_unset: true,
        ..Mode::default()
    };
    // Text that is not a list of words, such as a stray quote in a comment of the shell, opens none.
    let Ok((_, words)) = Lex::new(text, &[], &mode).run(text) else {
        return Vec::new();
    };
    words.iter().filter_map(|word| parse(word, span)).collect()
}

/// Reads one word as `<<NAME` or `3<<-"NAME"`; `None` if it opens no here-document.
pub(crate) fn parse(word: &str, span: Span) -> Option<Heredoc> {
    let rest = word
        .trim_start_matches(|c: char| c.is_ascii_digit())
        .strip_prefix("<<")?;
    let (chomp, rest) = match rest.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace());
    if rest.is_empty() || rest.contains('<') {
        return None;
    }
    let words = |raw_quotes| {
        let mode = Mode {
            raw_quotes,
            keep_unset: true,
            ..Mode::default()
        };
        Lex::new(rest, &[], &mode)
            .run(rest)
            .ok()
            .map(|(_, words)| words)
    };
    let plain = words(false)?;
    let raw = words(true)?;
    let ([plain], [raw]) = (plain.as_slice(), raw.as_slice()) else {
        return None;
    };
    let quotes = |text: &str| text.matches(['\'', '"']).count();
    Some(Heredoc {
        name: plain.clone(),
        expand: quotes(plain) == quotes(raw),
        chomp,
        content: String::new(),
        span,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_open_one() {
        #[track_caller]
        fn check(word: &str, expected: Option<(&str, bool, bool)>) {
            let found = parse(word, Span::default());
            let found = found.as_ref().map(|h| (h.name.as_str(), h.expand, h.chomp));
            assert_eq!(found, expected, "{word:?}");
        }

        check("<<EOF", Some(("EOF", true, false)));
        check("<<-EOF", Some(("EOF", true, true)));
        check("3<<EOF", Some(("EOF", true, false)));
        check("<< EOF", Some(("EOF", true, false)));
        check("<<'EOF'", Some(("EOF", false, false)));
        check("<<E\"O\"F", Some(("EOF", false, false)));
        check("<<'E F'", Some(("E F", false, false)));
        check("<<E F", None);
        check("<<", None);
        check("<<<EOF", None);
        check("a<<EOF", None);
        check("<<'EOF", None);
        check("<EOF", None);
    }
}
