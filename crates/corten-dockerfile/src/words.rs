//! The words of an instruction, before variables are expanded: quotes and escapes stay in them.

use std::ops::Range;

use crate::diagnostic::Span;

/// A word and where it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Word {
    /// The text as written, quotes and variables included; for the exec form the decoded string.
    pub text: String,
    /// Where it is.
    pub span: Span,
}

/// `--name` or `--name=value` before an instruction's arguments, without its quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flag {
    /// The name without its dashes.
    pub name: String,
    /// What follows the equals sign; `None` if there is none.
    pub value: Option<String>,
    /// The whole flag.
    pub span: Span,
}

/// The blanks that separate arguments; the others of Unicode do not.
const BLANKS: [char; 5] = ['\t', '\u{b}', '\u{c}', '\r', ' '];

/// Returns the range without the blanks on its sides.
pub(crate) fn trimmed(text: &str, range: Range<usize>) -> Range<usize> {
    let Some(part) = text.get(range.clone()) else {
        return range;
    };
    let start = range.end - part.trim_start().len();
    start..(range.start + part.trim_end().len()).max(start)
}

/// Returns the first word and the rest without the blanks between them.
pub(crate) fn first(text: &str, range: Range<usize>) -> (Range<usize>, Range<usize>) {
    let range = trimmed(text, range);
    let part = text.get(range.clone()).unwrap_or_default();
    let end = range.start + part.find(BLANKS).unwrap_or(part.len());
    let rest = text.get(end..range.end).unwrap_or_default();
    (
        range.start..end,
        range.end - rest.trim_start_matches(BLANKS).len()..range.end,
    )
}

/// Cuts a range at blanks, quotes or not.
pub(crate) fn by_blanks(text: &str, range: Range<usize>) -> Vec<Range<usize>> {
    let mut words = Vec::new();
    let mut rest = trimmed(text, range);
    while !rest.is_empty() {
        let part = text.get(rest.clone()).unwrap_or_default();
        let end = rest.start + part.find(BLANKS).unwrap_or(part.len());
        words.push(rest.start..end);
        let after = text.get(end..rest.end).unwrap_or_default();
        rest = rest.end - after.trim_start_matches(BLANKS).len()..rest.end;
    }
    words
}

/// Cuts a range at blanks that are neither quoted nor escaped; quotes stay.
pub(crate) fn quoted(text: &str, range: Range<usize>, escape: char) -> Vec<(String, Range<usize>)> {
    let part = text.get(range.clone()).unwrap_or_default();
    let mut words = Vec::new();
    let mut word: Option<(String, usize)> = None;
    let mut quote = None;
    let mut chars = part
        .char_indices()
        .map(|(at, c)| (range.start + at, c))
        .peekable();
    while let Some((at, c)) = chars.next() {
        if quote.is_none() && c.is_whitespace() {
            words.extend(
                word.take()
                    .filter(|(w, _)| !w.is_empty())
                    .map(|(w, s)| (w, s..at)),
            );
            continue;
        }
        let (word, _) = word.get_or_insert_with(|| (String::new(), at));
        match quote {
            None if c == '\'' || c == '"' => quote = Some(c),
            Some(open) if c == open => quote = None,
            _ => {}
        }
        // Within single quotes an escape is a character like any other.
        if c == escape && quote != Some('\'') {
            // An escape at the very end is dropped.
            let Some((_, escaped)) = chars.next() else {
                break;
            };
            word.push(c);
            word.push(escaped);
        } else {
            word.push(c);
        }
    }
    words.extend(
        word.filter(|(w, _)| !w.is_empty())
            .map(|(w, s)| (w, s..range.end)),
    );
    words
}

/// Takes the flags at the start of a range; returns them without quotes, and what follows them.
///
/// A lone `--` ends them and is dropped.
pub(crate) fn flags(
    text: &str,
    range: Range<usize>,
    escape: char,
) -> (Vec<(String, Range<usize>)>, Range<usize>) {
    let mut flags = Vec::new();
    let mut rest = range;
    loop {
        let part = text.get(rest.clone()).unwrap_or_default();
        rest = rest.end - part.trim_start().len()..rest.end;
        let part = part.trim_start();
        if !part.starts_with("--") {
            return (flags, rest);
        }
        let (word, len) = flag(part, escape);
        let range = rest.start..rest.start + len;
        rest = range.end..rest.end;
        if word == "--" {
            return (flags, rest);
        }
        flags.push((word, range));
    }
}

/// Returns the first word of `text` without quotes and escapes, and its length as written.
fn flag(text: &str, escape: char) -> (String, usize) {
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match quote {
            None if c.is_whitespace() => return (word, at),
            None if c == '\'' || c == '"' => quote = Some(c),
            Some(open) if c == open => quote = None,
            _ if c == escape => word.extend(chars.next().map(|(_, c)| c)),
            _ => word.push(c),
        }
    }
    (word, text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_keep_their_quotes() {
        #[track_caller]
        fn check(text: &str, expected: &[&str]) {
            let words = quoted(text, 0..text.len(), '\\');
            assert_eq!(
                words.iter().map(|(w, _)| w.as_str()).collect::<Vec<_>>(),
                expected,
                "{text:?}"
            );
        }

        check("a=b c=d", &["a=b", "c=d"]);
        check(r#"a="b c" d='e f'"#, &[r#"a="b c""#, "d='e f'"]);
        check(r"a=b\ c d", &[r"a=b\ c", "d"]);
        check(r#"a="x\" y" z"#, &[r#"a="x\" y""#, "z"]);
        check(r"a='x\' y", &[r"a='x\'", "y"]);
        check("  ", &[]);
        check("''", &["''"]);
        check("a\\", &["a"]);
    }

    #[test]
    fn flags_come_first() {
        #[track_caller]
        fn check(text: &str, expected: &[&str], rest: &str) {
            let (found, range) = flags(text, 0..text.len(), '\\');
            assert_eq!(
                found.iter().map(|(w, _)| w.as_str()).collect::<Vec<_>>(),
                expected,
                "{text:?}"
            );
            assert_eq!(text.get(range), Some(rest), "{text:?}");
        }

        check("--a=b  --c d --e", &["--a=b", "--c"], "d --e");
        check("--a=\"b c\" d", &["--a=b c"], "d");
        check("-- --a b", &[], " --a b");
        check("-a b", &[], "-a b");
        check("--a", &["--a"], "");
        check(r"--a=b\ c d", &["--a=b c"], "d");
    }
}
