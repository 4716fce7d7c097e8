//! Paths inside an image: bytes, without any encoding (layers.md rules 6 to 9).

use std::cmp::Ordering;
use std::fmt::{self, Write as _};

/// The longest component of a path that Linux takes.
pub const NAME_MAX: usize = 255;

/// The prefix that marks names of whiteouts.
pub const WHITEOUT_PREFIX: &[u8] = b".wh.";
/// The name that hides everything below (image-spec layer.md#opaque-whiteout).
pub const OPAQUE: &[u8] = b".wh..wh..opq";

/// A path as messages and listings show it: control characters and foreign bytes are escaped.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Shown(String);

impl Shown {
    /// Returns the escaped text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&[u8]> for Shown {
    fn from(path: &[u8]) -> Self {
        let mut text = String::with_capacity(path.len());
        for chunk in path.utf8_chunks() {
            for letter in chunk.valid().chars() {
                if letter.is_control() || letter == '\\' {
                    text.extend(letter.escape_default());
                } else {
                    text.push(letter);
                }
            }
            for byte in chunk.invalid() {
                write!(text, "\\x{byte:02x}").expect("a string takes all of it");
            }
        }
        if text.is_empty() {
            text.push('/');
        }
        Self(text)
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The components of a path, and whether `..` had to be stopped at the root.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Components<'a> {
    /// The names, without empty ones, `.` and `..`.
    pub names: Vec<&'a [u8]>,
    /// Whether the path held `..`.
    pub has_parents: bool,
}

/// Returns the components of `path`; `..` removes the one before it and stops at the root.
pub fn components(path: &[u8]) -> Components<'_> {
    let mut result = Components::default();
    for name in path.split(|&byte| byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." => {
                result.has_parents = true;
                result.names.pop();
            }
            name => result.names.push(name),
        }
    }
    result
}

/// Compares two canonical paths component by component, a directory before what is in it.
pub fn compare(left: &[u8], right: &[u8]) -> Ordering {
    let same = common_prefix(left, right);
    // A name that ends comes before a longer one, so the slash is less than any other byte.
    let next = |path: &[u8]| {
        path.get(same)
            .map(|&byte| if byte == b'/' { None } else { Some(byte) })
    };
    next(left).cmp(&next(right))
}

/// Returns how many bytes `left` and `right` have in common at their start.
pub(crate) fn common_prefix(left: &[u8], right: &[u8]) -> usize {
    // Paths can be long and alike: most of them is compared in one go.
    const CHUNK: usize = 64;
    let chunks = left.chunks_exact(CHUNK).zip(right.chunks_exact(CHUNK));
    let start = CHUNK * chunks.take_while(|(left, right)| left == right).count();
    let (left, right) = (left.split_at(start).1, right.split_at(start).1);
    let rest = left.iter().zip(right);
    start + rest.take_while(|(left, right)| left == right).count()
}

/// Returns `directory/name`, or just `name` in the root.
pub fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() {
        return name.to_vec();
    }
    [directory, b"/", name].concat()
}

/// Tells whether the canonical `path` is `directory` or lies below it; everything is in the root.
pub fn is_within(path: &[u8], directory: &[u8]) -> bool {
    path.strip_prefix(directory)
        .is_some_and(|rest| directory.is_empty() || rest.is_empty() || rest.starts_with(b"/"))
}

/// Splits a canonical path into its directory, empty for the root, and its last name.
pub fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => {
            let (directory, rest) = path.split_at(slash);
            (directory, rest.get(1..).unwrap_or_default())
        }
        None => (b"", path),
    }
}

/// What the last name of an entry's path means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameKind<'a> {
    /// An ordinary name.
    Content(&'a [u8]),
    /// The deletion of a name.
    Whiteout(&'a [u8]),
    /// The deletion of everything that is below.
    Opaque,
    /// AUFS's own bookkeeping, which is no part of the image.
    Aufs,
    /// A whiteout of nothing, of `.` or of `..`, which is refused.
    Invalid,
}

/// Returns what `name` means in a layer (image-spec layer.md#whiteouts; rules 12 to 28).
pub fn classify(name: &[u8]) -> NameKind<'_> {
    match name.strip_prefix(WHITEOUT_PREFIX) {
        None => NameKind::Content(name),
        Some(_) if name == OPAQUE => NameKind::Opaque,
        Some(b"" | b"." | b"..") => NameKind::Invalid,
        Some(deleted) if deleted.starts_with(WHITEOUT_PREFIX) => NameKind::Aufs,
        Some(deleted) => NameKind::Whiteout(deleted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_a_path() {
        #[track_caller]
        fn check(path: &str, expected: &[&str], has_parents: bool) {
            let found = components(path.as_bytes());
            let names: Vec<&str> = found
                .names
                .iter()
                .map(|name| std::str::from_utf8(name).unwrap())
                .collect();
            assert_eq!(
                (names.as_slice(), found.has_parents),
                (expected, has_parents),
                "{path:?}"
            );
        }
        check("a/b", &["a", "b"], false);
        check("/a//b/", &["a", "b"], false);
        check("./a/./b/.", &["a", "b"], false);
        check("./", &[], false);
        check("", &[], false);
        check("a/../b", &["b"], true);
        check("../../b", &["b"], true);
        check("a/..", &[], true);
        check("..a/b..", &["..a", "b.."], false);
    }

    #[test]
    fn names_that_mean_deletion() {
        #[track_caller]
        fn check(name: &str, expected: NameKind<'_>) {
            assert_eq!(classify(name.as_bytes()), expected, "{name:?}");
        }
        check("passwd", NameKind::Content(b"passwd"));
        check(".wh", NameKind::Content(b".wh"));
        check(".wha", NameKind::Content(b".wha"));
        check(".wh.passwd", NameKind::Whiteout(b"passwd"));
        check(".wh..hidden", NameKind::Whiteout(b".hidden"));
        check(".wh....", NameKind::Whiteout(b"..."));
        check(".wh..wh", NameKind::Whiteout(b".wh"));
        check(".wh..wh..opq", NameKind::Opaque);
        check(".wh..wh.plnk", NameKind::Aufs);
        check(".wh..wh.", NameKind::Aufs);
        check(".wh.", NameKind::Invalid);
        check(".wh..", NameKind::Invalid);
        check(".wh...", NameKind::Invalid);
    }

    #[test]
    fn order_is_by_component() {
        let mut paths = ["a.b", "a/b", "a", "a-b", "a/b/c", "a/a"].map(str::as_bytes);
        paths.sort_by(|left, right| compare(left, right));
        assert_eq!(
            paths,
            ["a", "a/a", "a/b", "a/b/c", "a-b", "a.b"].map(str::as_bytes)
        );
    }

    #[test]
    fn order_is_that_of_the_components() {
        let names: Vec<Vec<u8>> = [&b"a"[..], b"a!", b"ab", b"b", &[b'n'; 70], &[b'n'; 64]]
            .iter()
            .flat_map(|name| {
                [
                    name.to_vec(),
                    [name, &b"/c"[..]].concat(),
                    [b"d/", *name].concat(),
                ]
            })
            .chain([Vec::new()])
            .collect();
        let split = |path: &[u8]| -> Vec<Vec<u8>> {
            path.split(|&byte| byte == b'/')
                .map(<[u8]>::to_vec)
                .collect()
        };
        for left in &names {
            for right in &names {
                let expected = split(left).cmp(&split(right));
                assert_eq!(compare(left, right), expected, "{left:?} {right:?}");
            }
        }
    }

    #[test]
    fn what_listings_show() {
        assert_eq!(
            Shown::from(&b"a/\xff\n\xc3\xa9"[..]).as_str(),
            "a/\\xff\\n\u{e9}"
        );
        assert_eq!(Shown::from(&b""[..]).as_str(), "/");
    }
}
