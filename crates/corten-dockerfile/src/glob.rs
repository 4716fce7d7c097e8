//! `*`, `?` and `[…]` in the sources of COPY: Go's `filepath.Match`.

use crate::error::Error;

/// A part of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Token {
    Literal(char),
    /// `?`: one character, not a slash.
    One,
    /// `*`: any characters but slashes.
    Many,
    /// Before [`Token::Directories`], which may be passed over.
    Optional,
    /// `**/`: anything up to a slash.
    Directories,
    /// `**` at the end: anything.
    Everything,
    Class {
        class: Class,
        /// Whether it may match a slash.
        slash: bool,
    },
}

/// `[a-z]` or `[^a-z]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Class {
    negated: bool,
    ranges: Vec<(char, char)>,
}

impl Class {
    pub(crate) fn contains(&self, c: char) -> bool {
        self.ranges
            .iter()
            .any(|(low, high)| (*low..=*high).contains(&c))
            != self.negated
    }
}

/// Tells whether `path` matches the whole of `pattern`.
///
/// `*` and `?` do not match a slash; `[…]` and `[^…]` match one character, slashes excepted; a
/// backslash escapes. `**` means the same as `*`: BuildKit looks for sources with Go's
/// `filepath.Match`, and only `--parents`, `--exclude` and ignore files give `**` a meaning of its own
/// (see [`IgnorePattern`](crate::IgnorePattern)).
///
/// # Errors
///
/// [`Error::Pattern`] for an open bracket, an empty class or an escape at the end.
pub fn glob_match(pattern: &[u8], path: &[u8]) -> Result<bool, Error> {
    let bad = || Error::Pattern {
        pattern: String::from_utf8_lossy(pattern).into_owned(),
    };
    let tokens = tokens(pattern).ok_or_else(bad)?;
    let path = characters(path);
    Ok(matches(&tokens, &path))
}

/// Cuts a pattern into tokens; `None` if Go calls it malformed.
pub(crate) fn tokens(pattern: &[u8]) -> Option<Vec<Token>> {
    let chars = characters(pattern);
    let mut tokens = Vec::new();
    let mut rest = chars.as_slice();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        tokens.push(match first {
            '*' => Token::Many,
            '?' => Token::One,
            '\\' => {
                let (escaped, after) = rest.split_first()?;
                rest = after;
                Token::Literal(*escaped)
            }
            '[' => {
                let (class, after) = class(rest)?;
                rest = after;
                Token::Class {
                    class,
                    slash: false,
                }
            }
            c => Token::Literal(*c),
        });
    }
    Some(tokens)
}

/// Reads a class up to its closing bracket.
fn class(chars: &[char]) -> Option<(Class, &[char])> {
    let (negated, mut rest) = match chars.split_first() {
        Some(('^', rest)) => (true, rest),
        _ => (false, chars),
    };
    let mut ranges = Vec::new();
    loop {
        if let Some((']', after)) = rest.split_first().filter(|_| !ranges.is_empty()) {
            return Some((Class { negated, ranges }, after));
        }
        let (low, after) = class_character(rest)?;
        let (high, after) = match after.split_first() {
            Some(('-', after)) => class_character(after)?,
            _ => (low, after),
        };
        ranges.push((low, high));
        rest = after;
    }
}

fn class_character(chars: &[char]) -> Option<(char, &[char])> {
    let (first, rest) = chars.split_first()?;
    let (c, rest) = match first {
        '-' | ']' => return None,
        '\\' => rest.split_first()?,
        _ => (first, rest),
    };
    // A class must be closed, so something has to follow.
    (!rest.is_empty()).then_some((*c, rest))
}

/// Decodes bytes as Go does: each byte that is not UTF-8 is one character.
pub(crate) fn characters(bytes: &[u8]) -> Vec<char> {
    let mut out = Vec::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        out.extend(chunk.valid().chars());
        out.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    out
}

/// Tells whether `tokens` match the whole of `path`.
///
/// The set of places reached in the pattern advances with each character, so there is no
/// backtracking: the time is the product of the lengths.
pub(crate) fn matches(tokens: &[Token], path: &[char]) -> bool {
    let mut places = vec![false; tokens.len() + 2];
    let mut next = places.clone();
    places[0] = true;
    pass_empty(tokens, &mut places);
    for c in path {
        next.fill(false);
        for (place, token) in tokens
            .iter()
            .enumerate()
            .filter(|(place, _)| places[*place])
        {
            match token {
                Token::Literal(literal) => next[place + 1] |= literal == c,
                Token::One => next[place + 1] |= *c != '/',
                Token::Class { class, slash } => {
                    next[place + 1] |= class.contains(*c) && (*slash || *c != '/');
                }
                Token::Many => next[place] |= *c != '/',
                Token::Everything => next[place] = true,
                Token::Optional => {}
                Token::Directories => {
                    next[place] = true;
                    next[place + 1] |= *c == '/';
                }
            }
        }
        pass_empty(tokens, &mut next);
        std::mem::swap(&mut places, &mut next);
    }
    places[tokens.len()]
}

/// Moves past what may match nothing.
fn pass_empty(tokens: &[Token], places: &mut [bool]) {
    for (place, token) in tokens.iter().enumerate() {
        if !places[place] {
            continue;
        }
        match token {
            Token::Many | Token::Everything => places[place + 1] = true,
            Token::Optional => {
                places[place + 1] = true;
                places[place + 2] = true;
            }
            Token::Literal(_) | Token::One | Token::Class { .. } | Token::Directories => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_filepath_match() {
        #[track_caller]
        fn check(pattern: &str, path: &str, expected: Option<bool>) {
            let found = glob_match(pattern.as_bytes(), path.as_bytes()).ok();
            assert_eq!(found, expected, "{pattern:?} {path:?}");
        }

        // The table of Go's path/filepath tests.
        check("abc", "abc", Some(true));
        check("*", "abc", Some(true));
        check("*c", "abc", Some(true));
        check("a*", "a", Some(true));
        check("a*", "abc", Some(true));
        check("a*", "ab/c", Some(false));
        check("a*/b", "abc/b", Some(true));
        check("a*/b", "a/c/b", Some(false));
        check("a*b*c*d*e*/f", "axbxcxdxe/f", Some(true));
        check("a*b*c*d*e*/f", "axbxcxdxexxx/f", Some(true));
        check("a*b*c*d*e*/f", "axbxcxdxe/xxx/f", Some(false));
        check("a*b*c*d*e*/f", "axbxcxdxexxx/fff", Some(false));
        check("a*b?c*x", "abxbbxdbxebxczzx", Some(true));
        check("a*b?c*x", "abxbbxdbxebxczzy", Some(false));
        check("ab[c]", "abc", Some(true));
        check("ab[b-d]", "abc", Some(true));
        check("ab[e-g]", "abc", Some(false));
        check("ab[^c]", "abc", Some(false));
        check("ab[^b-d]", "abc", Some(false));
        check("ab[^e-g]", "abc", Some(true));
        check(r"a\*b", "a*b", Some(true));
        check(r"a\*b", "ab", Some(false));
        check("a?b", "a☺b", Some(true));
        check("a[^a]b", "a☺b", Some(true));
        check("a???b", "a☺b", Some(false));
        check("a[^a][^a][^a]b", "a☺b", Some(false));
        check("[a-ζ]*", "α", Some(true));
        check("*[a-ζ]", "A", Some(false));
        check("a?b", "a/b", Some(false));
        check("a*b", "a/b", Some(false));
        check(r"[\]a]", "]", Some(true));
        check(r"[\-]", "-", Some(true));
        check(r"[x\-]", "x", Some(true));
        check(r"[x\-]", "-", Some(true));
        check(r"[x\-]", "z", Some(false));
        check(r"[\-x]", "x", Some(true));
        check(r"[\-x]", "a", Some(false));
        check("[]a]", "]", None);
        check("[-]", "-", None);
        check("[x-]", "x", None);
        check("[-x]", "x", None);
        check(r"\", "a", None);
        check("[a-b-c]", "a", None);
        check("[", "a", None);
        check("[^", "a", None);
        check("[^bc", "a", None);
        check("a[", "a", None);
        check("a[", "ab", None);
        check("*x", "xxx", Some(true));
        check("**", "a/b", Some(false));
        check("**/b", "a/b", Some(true));
        check("[^a]", "/", Some(false));
    }
}
