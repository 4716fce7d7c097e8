//! Inputs of several parts, written as text, in which parts name each other by digest.
//!
//! A digest that the fuzzer changes names nothing any more, and nothing behind it would be reached. So
//! parts are divided by lines `--`, and in them `@0` to `@9` stand for the digest of an earlier part,
//! and `#0` to `#9` for its size.

use corten_spec::Digest;

/// The line between two parts, with what ends the lines around it.
const DIVIDER: &[u8] = b"\n--\n";
/// Parts are named by one digit.
const MAXIMUM: usize = 10;

/// Returns the parts of `data`, what they refer to filled in.
pub(crate) fn parts(data: &[u8]) -> Vec<Vec<u8>> {
    let mut done: Vec<(String, Vec<u8>)> = Vec::new();
    let mut rest = Some(data);
    while let Some(text) = rest.take().filter(|_| done.len() < MAXIMUM) {
        let (part, after) = cut(text, DIVIDER);
        rest = after;
        let filled = fill(part, &done);
        done.push((Digest::sha256(&filled).to_string(), filled));
    }
    done.into_iter().map(|(_, part)| part).collect()
}

/// Splits `text` at the first `divider`.
pub(crate) fn cut<'a>(text: &'a [u8], divider: &[u8]) -> (&'a [u8], Option<&'a [u8]>) {
    let at = text
        .windows(divider.len())
        .position(|window| window == divider);
    match at {
        Some(at) => (&text[..at], Some(&text[at + divider.len()..])),
        None => (text, None),
    }
}

fn fill(part: &[u8], earlier: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut filled = Vec::with_capacity(part.len());
    let mut bytes = part.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        let named = bytes
            .peek()
            .and_then(|digit| earlier.get(usize::from(digit.checked_sub(b'0')?)));
        match (byte, named) {
            (b'@', Some((digest, _))) => filled.extend_from_slice(digest.as_bytes()),
            (b'#', Some((_, part))) => filled.extend_from_slice(part.len().to_string().as_bytes()),
            _ => {
                filled.push(byte);
                continue;
            }
        }
        bytes.next();
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_name_each_other() {
        let found = parts(b"ab\n--\n@0 #0 @1 #\n--\n#1");
        let digest = Digest::sha256(b"ab");
        let second = format!("{digest} 2 @1 #");
        assert_eq!(found[0], b"ab");
        assert_eq!(found[1], second.as_bytes());
        assert_eq!(found[2], second.len().to_string().as_bytes());
        assert_eq!(parts(b""), [b""]);
    }
}
