//! `$variables`, quotes and escapes in a word, as BuildKit's shell lexer treats them.
//!
//! It resembles a POSIX shell and is not one: `$(…)` is plain text, only the escape character chosen
//! by `# escape=` escapes, and inside double quotes it does so only before `"`, `$` and itself.

use std::collections::BTreeSet;
use std::iter::Peekable;
use std::str::Chars;

use crate::error::Error;
use crate::pattern::Pattern;

/// What variables may add to one word, in bytes; `ENV A=$A$A` on every line would double it
/// otherwise.
const MAX_GROWTH: usize = 1 << 20;

/// How deep `${a:-${b:-…}}` may nest: enough for people, and far from the end of the stack.
const MAX_DEPTH: usize = 64;

/// A word after expansion.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Expanded {
    /// The text without its quotes and with its variables replaced.
    pub text: String,
    /// Names that were looked up and had a value, even an empty one.
    pub used: BTreeSet<String>,
    /// Names that were looked up and had none.
    pub unset: BTreeSet<String>,
}

/// Expands `word` and removes its quotes.
///
/// Where `env` names a variable twice, the later value counts.
///
/// # Errors
///
/// [`Error::Expansion`] for a quote or brace that is not closed, an operator that does not exist,
/// and for `${x:?message}` where `x` has no value.
pub fn expand(word: &str, env: &[(String, String)], escape: char) -> Result<Expanded, Error> {
    let mut lex = Lex::new(
        word,
        env,
        &Mode {
            escape,
            ..Mode::default()
        },
    );
    let (text, _) = lex.run(word)?;
    Ok(Expanded {
        text,
        used: lex.used,
        unset: lex.unset,
    })
}

/// Expands `text` and cuts the result at blanks that were not quoted.
///
/// # Errors
///
/// As for [`expand`].
pub fn expand_words(
    text: &str,
    env: &[(String, String)],
    escape: char,
) -> Result<Vec<String>, Error> {
    let mut lex = Lex::new(
        text,
        env,
        &Mode {
            escape,
            ..Mode::default()
        },
    );
    Ok(lex.run(text)?.1)
}

/// How a text is treated where it is not an ordinary word.
#[derive(Debug, Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "four independent switches, each named in use"
)]
pub(crate) struct Mode {
    /// The character that takes the meaning from the next one.
    pub(crate) escape: char,
    /// Keep the quotes of quoted parts.
    pub(crate) raw_quotes: bool,
    /// Keep escape characters.
    pub(crate) raw_escapes: bool,
    /// Treat quotes as plain text.
    pub(crate) plain_quotes: bool,
    /// Leave variables that have no value as they are written.
    pub(crate) keep_unset: bool,
}

impl Default for Mode {
    fn default() -> Self {
        Self {
            escape: '\\',
            raw_quotes: false,
            raw_escapes: false,
            plain_quotes: false,
            keep_unset: false,
        }
    }
}

pub(crate) struct Lex<'a> {
    chars: Peekable<Chars<'a>>,
    env: &'a [(String, String)],
    mode: Mode,
    pub(crate) used: BTreeSet<String>,
    pub(crate) unset: BTreeSet<String>,
    growth: usize,
    depth: usize,
}

impl<'a> Lex<'a> {
    pub(crate) fn new(word: &'a str, env: &'a [(String, String)], mode: &Mode) -> Self {
        Self {
            chars: word.chars().peekable(),
            env,
            mode: mode.clone(),
            used: BTreeSet::new(),
            unset: BTreeSet::new(),
            growth: 0,
            depth: 0,
        }
    }

    /// Reads to the end; returns the text as one word and as several.
    pub(crate) fn run(&mut self, word: &str) -> Result<(String, Vec<String>), Error> {
        let raw_escapes = self.mode.raw_escapes;
        self.until(None, raw_escapes, false)
            .map_err(|reason| Error::Expansion {
                word: word.to_owned(),
                reason,
            })
    }

    /// Reads until `stop`, which is consumed.
    ///
    /// `in_pattern` doubles the escape of quoted text, because a pattern is read a second time.
    fn until(
        &mut self,
        stop: Option<char>,
        raw_escapes: bool,
        in_pattern: bool,
    ) -> Result<(String, Vec<String>), String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(format!("more than {MAX_DEPTH} levels of substitution"));
        }
        let before = std::mem::replace(&mut self.mode.raw_escapes, raw_escapes);
        let result = self.until_inner(stop, in_pattern);
        self.mode.raw_escapes = before;
        self.depth -= 1;
        result
    }

    fn until_inner(
        &mut self,
        stop: Option<char>,
        in_pattern: bool,
    ) -> Result<(String, Vec<String>), String> {
        let mut text = String::new();
        let mut words = Words::default();
        while let Some(&c) = self.chars.peek() {
            if Some(c) == stop {
                self.chars.next();
                return Ok((text, words.finish()));
            }
            match c {
                '$' => {
                    let value = self.dollar()?;
                    text.push_str(&value);
                    value.chars().for_each(|c| words.push(c));
                }
                '<' => {
                    let operator = self.less_than();
                    text.push_str(&operator);
                    words.push_raw(&operator);
                }
                '\'' | '"' if !self.mode.plain_quotes => {
                    let quoted = match c {
                        '\'' => self.single_quoted(in_pattern)?,
                        _ => self.double_quoted(in_pattern)?,
                    };
                    text.push_str(&quoted);
                    words.push_raw(&quoted);
                }
                _ => {
                    self.chars.next();
                    if c != self.mode.escape {
                        text.push(c);
                        words.push(c);
                        continue;
                    }
                    let mut escaped = String::new();
                    if self.mode.raw_escapes {
                        escaped.push(c);
                    }
                    // An escape at the very end escapes nothing and disappears.
                    escaped.extend(self.chars.next());
                    text.push_str(&escaped);
                    words.push_raw(&escaped);
                }
            }
        }
        match stop {
            Some(stop) => Err(format!("missing `{stop}`")),
            None => Ok((text, words.finish())),
        }
    }

    fn single_quoted(&mut self, in_pattern: bool) -> Result<String, String> {
        let mut out = String::new();
        self.quote(&mut out);
        loop {
            let Some(&c) = self.chars.peek() else {
                return Err("missing closing single quote".to_owned());
            };
            if c == '\'' {
                self.quote(&mut out);
                return Ok(out);
            }
            self.chars.next();
            if in_pattern && c == self.mode.escape {
                out.push(c);
            }
            out.push(c);
        }
    }

    fn double_quoted(&mut self, in_pattern: bool) -> Result<String, String> {
        let mut out = String::new();
        self.quote(&mut out);
        loop {
            match self.chars.peek() {
                None => return Err("missing closing double quote".to_owned()),
                Some('"') => {
                    self.quote(&mut out);
                    return Ok(out);
                }
                Some('$') => out.push_str(&self.dollar()?),
                Some(&c) => {
                    self.chars.next();
                    if c == self.mode.escape {
                        self.escape_in_double_quotes(&mut out, in_pattern);
                    } else {
                        out.push(c);
                    }
                }
            }
        }
    }

    /// Behind an escape in double quotes: only `"`, `$` and itself can be escaped.
    fn escape_in_double_quotes(&mut self, out: &mut String, in_pattern: bool) {
        let escape = self.mode.escape;
        match self.chars.peek() {
            None => {}
            Some(&c) if c == '"' || c == '$' || c == escape => {
                if self.mode.raw_escapes {
                    out.push(escape);
                }
                self.chars.next();
                out.push(c);
            }
            Some(_) => {
                if self.mode.raw_escapes && (!self.mode.raw_quotes || in_pattern) {
                    out.push(escape);
                }
                out.push(escape);
            }
        }
    }

    /// Takes a quote, which stays in the result only where quotes are kept.
    fn quote(&mut self, out: &mut String) {
        let quote = self.chars.next();
        if self.mode.raw_quotes {
            out.extend(quote);
        }
    }

    /// Reads `<`, or `<<` and the blanks behind it, which belong to a here-document's word.
    fn less_than(&mut self) -> String {
        self.chars.next();
        let mut out = "<".to_owned();
        if self.chars.next_if_eq(&'<').is_some() {
            out.push('<');
            while let Some(blank) = self.chars.next_if(|c| matches!(c, '\t' | '\r' | ' ')) {
                out.push(blank);
            }
        }
        out
    }

    fn dollar(&mut self) -> Result<String, String> {
        self.chars.next();
        if self.chars.next_if_eq(&'{').is_none() {
            let name = self.name();
            if name.is_empty() {
                return Ok("$".to_owned());
            }
            return match self.variable(&name)? {
                Some(value) => Ok(value),
                None if self.mode.keep_unset => Ok(format!("${name}")),
                None => Ok(String::new()),
            };
        }
        match self.chars.peek() {
            None => return Err("missing `}`".to_owned()),
            Some('{' | '}' | ':') => return Err("bad substitution".to_owned()),
            Some(_) => {}
        }
        let name = self.name();
        match self.chars.next() {
            Some('}') => match self.variable(&name)? {
                Some(value) => Ok(value),
                None if self.mode.keep_unset => Ok(format!("${{{name}}}")),
                None => Ok(String::new()),
            },
            Some(':') => match self.chars.next() {
                Some(c @ ('+' | '-' | '?')) => self.default(&name, c, true),
                Some(c) => Err(format!("unsupported modifier `:{c}`")),
                None => Err("missing `}`".to_owned()),
            },
            Some(c @ ('+' | '-' | '?')) => self.default(&name, c, false),
            Some(c @ ('#' | '%')) => self.trim(&name, c),
            Some('/') => self.replace(&name),
            Some(c) => Err(format!("unsupported modifier `{c}`")),
            None => Err("missing `}`".to_owned()),
        }
    }

    /// `${name-word}`, `${name+word}`, `${name?word}`; with a colon an empty value counts as none.
    fn default(&mut self, name: &str, operator: char, colon: bool) -> Result<String, String> {
        let (word, _) = self.until(Some('}'), false, false)?;
        let value = self.variable(name)?;
        if value.is_none() && self.mode.keep_unset {
            let colon = if colon { ":" } else { "" };
            return Ok(format!("${{{name}{colon}{operator}{word}}}"));
        }
        let unset = value.is_none();
        let value = value.filter(|value| !(colon && value.is_empty()));
        match (operator, value) {
            ('-', None) | ('+', Some(_)) => Ok(word),
            ('?', None) => Err(match (word.is_empty(), unset) {
                (false, _) => format!("{name}: {word}"),
                (true, true) => format!("{name}: is not allowed to be unset"),
                (true, false) => format!("{name}: is not allowed to be empty"),
            }),
            (_, value) => Ok(value.unwrap_or_default()),
        }
    }

    /// `${name#pattern}` and `${name%pattern}`; a doubled operator takes the longest match.
    fn trim(&mut self, name: &str, operator: char) -> Result<String, String> {
        let (word, _) = self.until(Some('}'), true, true)?;
        let value = self.variable(name)?;
        if value.is_none() && self.mode.keep_unset {
            return Ok(format!("${{{name}{operator}{word}}}"));
        }
        let value = value.unwrap_or_default();
        let (word, greedy) = match word.strip_prefix(operator) {
            Some(rest) => (rest, true),
            None => (word.as_str(), false),
        };
        let pattern = Pattern::parse(word)?;
        if operator == '#' {
            pattern.trim_start(&value, greedy)
        } else {
            pattern.trim_end(&value, greedy)
        }
    }

    /// `${name/pattern/replacement}`; with two slashes every match is replaced.
    fn replace(&mut self, name: &str) -> Result<String, String> {
        let all = self.chars.next_if_eq(&'/').is_some();
        let (pattern, _) = self.until(Some('/'), true, true)?;
        let (replacement, _) = self.until(Some('}'), true, false)?;
        let value = self.variable(name)?;
        if value.is_none() && self.mode.keep_unset {
            return Ok(format!("${{{name}/{pattern}/{replacement}}}"));
        }
        let value = value.unwrap_or_default();
        let limit = MAX_GROWTH.saturating_sub(self.growth);
        let replaced = Pattern::parse(&pattern)?.replace(&value, &replacement, all, limit)?;
        self.grow(replaced.len())?;
        Ok(replaced)
    }

    /// A name: letters, digits and underscores; or only digits; or one special character.
    fn name(&mut self) -> String {
        let mut name = String::new();
        if let Some(digit) = self.chars.next_if(|c| is_digit(*c)) {
            name.push(digit);
            while let Some(digit) = self.chars.next_if(|c| is_digit(*c)) {
                name.push(digit);
            }
            return name;
        }
        if let Some(special) = self
            .chars
            .next_if(|c| matches!(c, '@' | '*' | '#' | '?' | '-' | '$' | '!'))
        {
            name.push(special);
            return name;
        }
        while let Some(c) = self
            .chars
            .next_if(|c| c.is_alphabetic() || is_digit(*c) || *c == '_')
        {
            name.push(c);
        }
        name
    }

    fn variable(&mut self, name: &str) -> Result<Option<String>, String> {
        let Some((_, value)) = self.env.iter().rev().find(|(key, _)| key == name) else {
            self.unset.insert(name.to_owned());
            return Ok(None);
        };
        self.used.insert(name.to_owned());
        self.grow(value.len())?;
        Ok(Some(value.clone()))
    }

    fn grow(&mut self, by: usize) -> Result<(), String> {
        self.growth = self.growth.saturating_add(by);
        if self.growth > MAX_GROWTH {
            return Err("variables add more than 1 MiB".to_owned());
        }
        Ok(())
    }
}

fn is_digit(c: char) -> bool {
    // Go asks for Unicode's decimal digits; `is_numeric` would also take fractions and numerals.
    c.is_ascii_digit()
}

/// Collects words that blanks separate.
#[derive(Default)]
struct Words {
    word: String,
    words: Vec<String>,
}

impl Words {
    fn push(&mut self, c: char) {
        if !c.is_whitespace() {
            self.word.push(c);
        } else if !self.word.is_empty() {
            self.words.push(std::mem::take(&mut self.word));
        }
    }

    fn push_raw(&mut self, text: &str) {
        self.word.push_str(text);
    }

    fn finish(mut self) -> Vec<String> {
        if !self.word.is_empty() {
            self.words.push(self.word);
        }
        self.words
    }
}
