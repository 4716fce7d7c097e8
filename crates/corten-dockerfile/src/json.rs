//! The exec form: a JSON array of strings, with the place of each.
//!
//! Written out because a general parser tells neither where a string was nor how an array that is
//! not of strings (an error) differs from text that is not JSON (the shell form).

use std::ops::Range;

/// Deeper nesting than this is not taken for JSON, so that hostile text cannot exhaust the stack.
const MAX_DEPTH: usize = 64;

/// What a text that begins with a bracket turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Array {
    /// Strings, each with its range in the text, quotes included.
    Strings(Vec<(String, Range<usize>)>),
    /// An array with an element that is not a string, at this range.
    Mixed(Range<usize>),
    /// Not JSON.
    Not,
}

/// Reads `text`, which may have blanks on both sides.
pub(crate) fn array(text: &str) -> Array {
    let mut reader = Reader {
        bytes: text.as_bytes(),
        at: 0,
    };
    // Go trims Unicode blanks before the bracket, JSON allows only four.
    reader.at = text.len() - text.trim_start().len();
    match reader.top() {
        Some(array) => array,
        None => Array::Not,
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn top(&mut self) -> Option<Array> {
        self.expect(b'[')?;
        let mut strings = Vec::new();
        let mut mixed = None;
        self.blanks();
        if self.peek() == Some(b']') {
            self.at += 1;
        } else {
            loop {
                self.blanks();
                let start = self.at;
                if self.peek() == Some(b'"') {
                    strings.push((self.string()?, start..self.at));
                } else {
                    self.value(1)?;
                    mixed = mixed.or(Some(start..self.at));
                }
                if !self.more(b']')? {
                    break;
                }
            }
        }
        self.blanks();
        if self.at != self.bytes.len() {
            return None;
        }
        Some(mixed.map_or(Array::Strings(strings), Array::Mixed))
    }

    /// After an element: `true` behind a comma, `false` behind the closing bracket.
    fn more(&mut self, close: u8) -> Option<bool> {
        self.blanks();
        let byte = self.peek()?;
        self.at += 1;
        match byte {
            b',' => Some(true),
            _ if byte == close => Some(false),
            _ => None,
        }
    }

    /// Skips any value.
    fn value(&mut self, depth: usize) -> Option<()> {
        if depth > MAX_DEPTH {
            return None;
        }
        self.blanks();
        match self.peek()? {
            b'"' => self.string().map(drop),
            b'[' => self.list(depth, b']', false),
            b'{' => self.list(depth, b'}', true),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            b'n' => self.word(b"null"),
            _ => self.number(),
        }
    }

    fn list(&mut self, depth: usize, close: u8, keyed: bool) -> Option<()> {
        self.at += 1;
        self.blanks();
        if self.peek() == Some(close) {
            self.at += 1;
            return Some(());
        }
        loop {
            if keyed {
                self.blanks();
                self.string()?;
                self.blanks();
                self.expect(b':')?;
            }
            self.value(depth + 1)?;
            if !self.more(close)? {
                return Some(());
            }
        }
    }

    fn number(&mut self) -> Option<()> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Some(())
    }

    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while self.peek().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    fn string(&mut self) -> Option<String> {
        self.expect(b'"')?;
        let mut out = Vec::new();
        loop {
            let byte = self.peek()?;
            self.at += 1;
            match byte {
                b'"' => return String::from_utf8(out).ok(),
                b'\\' => {
                    let c = self.escaped()?;
                    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                }
                0..0x20 => return None,
                _ => out.push(byte),
            }
        }
    }

    fn escaped(&mut self) -> Option<char> {
        let byte = self.peek()?;
        self.at += 1;
        Some(match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => self.unicode()?,
            _ => return None,
        })
    }

    /// Half of a surrogate pair on its own becomes U+FFFD, as in Go.
    fn unicode(&mut self) -> Option<char> {
        let high = self.hex()?;
        if !(0xD800..0xDC00).contains(&high) {
            return Some(char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        let back = self.at;
        if self.bytes.get(back..back + 2) == Some(b"\\u") {
            self.at += 2;
            let low = self.hex()?;
            if (0xDC00..0xE000).contains(&low) {
                let code = 0x1_0000 + ((high - 0xD800) << 10) + (low - 0xDC00);
                return Some(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.at = back;
        }
        Some(char::REPLACEMENT_CHARACTER)
    }

    fn hex(&mut self) -> Option<u32> {
        let digits = self.bytes.get(self.at..self.at + 4)?;
        self.at += 4;
        digits.iter().try_fold(0, |value, b| {
            Some(value * 16 + char::from(*b).to_digit(16)?)
        })
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        let found = self.bytes.get(self.at..)?.starts_with(word);
        self.at += word.len();
        found.then_some(())
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        let found = self.peek() == Some(byte);
        self.at += 1;
        found.then_some(())
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays() {
        #[track_caller]
        fn check(text: &str, expected: Option<&[&str]>) {
            let found = match array(text) {
                Array::Strings(strings) => {
                    Some(strings.into_iter().map(|(s, _)| s).collect::<Vec<_>>())
                }
                Array::Mixed(_) | Array::Not => None,
            };
            let expected = expected.map(|e| e.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>());
            assert_eq!(found, expected, "{text:?}");
        }

        check("[]", Some(&[]));
        check(r#" [ "a" , "b c" ] "#, Some(&["a", "b c"]));
        check(
            r#"["\u00e9\n\"\ud83d\ude00\ud83d"]"#,
            Some(&["é\n\"😀\u{fffd}"]),
        );
        check(r#"["a",]"#, None);
        check(r#"["a"] x"#, None);
        check("[a]", None);
        check("['a']", None);
        check(r#"["a", 1]"#, None);
        check(&"[".repeat(100_000), None);
    }

    #[test]
    fn an_element_that_is_not_a_string_is_located() {
        assert_eq!(array(r#"["a", 1.5e3]"#), Array::Mixed(6..11));
        assert_eq!(array(r#"[["a"]]"#), Array::Mixed(1..6));
        assert_eq!(array(r#"["a", {"k": [null, true]}]"#), Array::Mixed(6..25));
        assert_eq!(array(r#"["a", 01]"#), Array::Not);
    }
}
