//! `.dockerignore`: which paths of the build context are left out.
//!
//! The rules are those of moby/patternmatcher as BuildKit's context transfer applies them: walking
//! down, a path is matched by each pattern that matches it or matched its parent, and the last
//! matching pattern decides.

use crate::error::Error;
use crate::glob::{self, Token};
use crate::path;

/// A parsed ignore file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ignore {
    rules: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    /// Line in the file, counted from 1.
    line: usize,
    exception: bool,
    pattern: IgnorePattern,
}

/// What an ignore file says about a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the path is left out.
    pub excluded: bool,
    /// The line that decided; `None` if no pattern matches.
    pub line: Option<usize>,
    /// The pattern on that line, cleaned, with its `!`.
    pub pattern: Option<String>,
}

/// One pattern of an ignore file, of `--exclude` or of `--parents`, with `**`.
///
/// `*` and `?` do not match a slash, `[^…]` does, as in patternmatcher. Two slips of its translation to
/// regular expressions are not copied: a backslash makes any character literal (there `\d` is a
/// digit), and `*` and `?` inside brackets are literal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IgnorePattern {
    text: Vec<u8>,
    matcher: Matcher,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Matcher {
    Exact,
    /// `**suffix` and `**/suffix` without other special characters.
    Suffix,
    Tokens(Vec<Token>),
}

impl Ignore {
    /// Parses the text of an ignore file.
    ///
    /// # Errors
    ///
    /// [`Error::IgnorePattern`] for the first pattern that is malformed, or a `!` alone.
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        let mut rules = Vec::new();
        for (index, line) in text.split(|b| *b == b'\n').enumerate() {
            // A comment begins in the first column; after blanks it is a pattern.
            if line.starts_with(b"#") {
                continue;
            }
            let line = trim(line);
            let (exception, pattern) = match line.strip_prefix(b"!") {
                Some(rest) => (true, trim(rest)),
                None => (false, line),
            };
            if line.is_empty() {
                continue;
            }
            let bad = || Error::IgnorePattern {
                line: index + 1,
                pattern: String::from_utf8_lossy(line).into_owned(),
            };
            let cleaned = path::clean_bytes(pattern);
            let relative = match cleaned.strip_prefix(b"/") {
                Some(rest) if !rest.is_empty() => trim(rest),
                _ => trim(&cleaned),
            };
            // BuildKit trims and cleans twice, so that `/!a` ends as the exception `!a`, and `/ /` as
            // nothing.
            let (exception, relative) = match relative.strip_prefix(b"!") {
                Some(rest) if !exception => (true, rest),
                _ => (exception, relative),
            };
            if exception && (pattern.is_empty() || relative.is_empty() || relative == b"/") {
                return Err(bad());
            }
            if relative.is_empty() {
                continue;
            }
            let pattern = IgnorePattern::parse(&path::clean_bytes(relative)).map_err(|_| bad())?;
            rules.push(Rule {
                line: index + 1,
                exception,
                pattern,
            });
        }
        Ok(Self { rules })
    }

    /// Takes patterns as `--exclude` has them: without comments, and a slash at the start counts.
    ///
    /// # Errors
    ///
    /// As [`Ignore::parse`], the number of the pattern in place of the line.
    pub fn of_patterns<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, Error> {
        let mut rules = Vec::new();
        for (index, text) in patterns.into_iter().enumerate() {
            let bad = || Error::Pattern {
                pattern: text.to_owned(),
            };
            let trimmed = trim(text.as_bytes());
            if trimmed.is_empty() {
                continue;
            }
            let cleaned = path::clean_bytes(trimmed);
            let (exception, pattern) = match cleaned.strip_prefix(b"!") {
                Some(b"") => return Err(bad()),
                Some(rest) => (true, rest),
                None => (false, cleaned.as_slice()),
            };
            rules.push(Rule {
                line: index + 1,
                exception,
                pattern: IgnorePattern::parse(pattern).map_err(|_| bad())?,
            });
        }
        Ok(Self { rules })
    }

    /// Tells whether there are exceptions, for which a walk has to go into what is left out.
    pub fn has_exceptions(&self) -> bool {
        self.rules.iter().any(|rule| rule.exception)
    }

    /// Tells whether there are no patterns.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Tells whether a pattern alone leaves out everything in the root.
    pub(crate) fn empties_root(&self) -> bool {
        let all: [&[u8]; 3] = [b"*", b"**", b"**/*"];
        let mut rules = self.rules.iter().filter(|rule| !rule.exception);
        rules.any(|rule| all.contains(&rule.pattern.text.as_slice()))
    }

    /// Decides about a path relative to the context's root, with slashes, without `.` and `..`.
    ///
    /// A directory that is excluded may hold files that are not: see
    /// [`Ignore::may_contain_included_children`].
    pub fn decide(&self, path: &[u8]) -> Verdict {
        let mut matched = vec![false; self.rules.len()];
        let mut decided = None;
        let ends = path
            .iter()
            .enumerate()
            .filter(|(_, b)| **b == b'/')
            .map(|(end, _)| end);
        for end in ends.chain([path.len()]) {
            decided = self.descend(path.get(..end).unwrap_or(path), &mut matched);
        }
        let rule = decided.and_then(|index: usize| self.rules.get(index));
        Verdict {
            excluded: rule.is_some_and(|rule| !rule.exception),
            line: rule.map(|rule| rule.line),
            pattern: rule.map(|rule| {
                let text = String::from_utf8_lossy(&rule.pattern.text);
                if rule.exception {
                    format!("!{text}")
                } else {
                    text.into_owned()
                }
            }),
        }
    }

    /// Goes from a directory to something in it: `matched` holds what matched the directory and
    /// receives what matches `path`. Returns the deciding rule.
    ///
    /// A rule that could not change the verdict so far is not tried, and so not handed down: what is
    /// below must see exactly that, as it does in BuildKit.
    fn descend(&self, path: &[u8], matched: &mut [bool]) -> Option<usize> {
        let mut excluded = false;
        let mut decided = None;
        for (index, (rule, matched)) in self.rules.iter().zip(matched).enumerate() {
            if !*matched {
                *matched = rule.exception == excluded && rule.pattern.matches(path);
            }
            if *matched {
                excluded = !rule.exception;
                decided = Some(index);
            }
        }
        decided
    }

    /// Tells whether something below an excluded directory may be included, so that a walk has to
    /// go in. Never wrongly `false`.
    pub fn may_contain_included_children(&self, dir: &[u8]) -> bool {
        let inside = [dir, b"/"].concat();
        self.rules.iter().filter(|rule| rule.exception).any(|rule| {
            let text = rule.pattern.text.as_slice();
            let special = text.iter().position(|b| b"*?[\\".contains(b));
            match special {
                None => text.starts_with(&inside),
                Some(end) => {
                    let fixed = text.get(..end).unwrap_or(text);
                    fixed.starts_with(&inside) || inside.starts_with(fixed)
                }
            }
        })
    }
}

impl IgnorePattern {
    /// Parses a cleaned pattern relative to a root.
    ///
    /// # Errors
    ///
    /// [`Error::Pattern`] for an open bracket, an empty class or an escape at the end.
    pub fn parse(pattern: &[u8]) -> Result<Self, Error> {
        let bad = || Error::Pattern {
            pattern: String::from_utf8_lossy(pattern).into_owned(),
        };
        let plain = |text: &[u8]| !text.iter().any(|b| b"*?[]\\".contains(b));
        let tokens = glob::tokens(pattern).ok_or_else(bad)?;
        let matcher = if plain(pattern) {
            Matcher::Exact
        } else if pattern.strip_prefix(b"**").is_some_and(plain) {
            Matcher::Suffix
        } else {
            Matcher::Tokens(with_double_stars(tokens))
        };
        Ok(Self {
            text: pattern.to_vec(),
            matcher,
        })
    }

    /// Tells whether the whole of `path` matches; what lies below a match does not.
    pub fn matches(&self, path: &[u8]) -> bool {
        match &self.matcher {
            Matcher::Exact => self.text == path,
            Matcher::Suffix => {
                let suffix = self.text.get(2..).unwrap_or_default();
                path.ends_with(suffix) || suffix.strip_prefix(b"/") == Some(path)
            }
            Matcher::Tokens(tokens) => glob::matches(tokens, &glob::characters(path)),
        }
    }
}

/// Gives `**` its meaning and lets classes match slashes, as patternmatcher's regular expressions
/// do.
fn with_double_stars(tokens: Vec<Token>) -> Vec<Token> {
    let mut out = Vec::new();
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            Token::Many if tokens.next_if_eq(&Token::Many).is_some() => {
                tokens.next_if_eq(&Token::Literal('/'));
                if tokens.peek().is_none() {
                    out.push(Token::Everything);
                } else {
                    out.extend([Token::Optional, Token::Directories]);
                }
            }
            Token::Class { class, .. } => out.push(Token::Class { class, slash: true }),
            token => out.push(token),
        }
    }
    out
}

fn trim(line: &[u8]) -> &[u8] {
    let blank = |b: &u8| b.is_ascii_whitespace() || *b == 0x0b;
    let start = line.iter().position(|b| !blank(b)).unwrap_or(line.len());
    let end = line
        .iter()
        .rposition(|b| !blank(b))
        .map_or(start, |last| last + 1);
    line.get(start..end).unwrap_or_default()
}
