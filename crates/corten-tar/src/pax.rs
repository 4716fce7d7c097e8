//! PAX extended headers: `LENGTH KEY=VALUE\n`, over and over.
//!
//! All of this is pure. Values are bytes: the length says where one ends.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::error::Problem;
use crate::number;
use crate::sparse::{Map, PaxSparse};
use crate::timestamp::Timestamp;

/// The keys that other fields of an entry stand for, or that say nothing a layer keeps.
///
/// Names are bytes and owners are numbers here, so character sets and user names mean nothing.
const REPRESENTED: [&[u8]; 11] = [
    b"path",
    b"linkpath",
    b"size",
    b"uid",
    b"gid",
    b"mtime",
    b"atime",
    b"ctime",
    b"uname",
    b"gname",
    b"hdrcharset",
];
/// The prefix of GNU tar's keys for sparse files.
const SPARSE: &[u8] = b"GNU.sparse.";
/// The prefix of an extended attribute whose value follows raw.
pub(crate) const SCHILY: &[u8] = b"SCHILY.xattr.";
/// The prefix of an extended attribute in base64, its name percent-encoded.
const LIBARCHIVE: &[u8] = b"LIBARCHIVE.xattr.";

/// libarchive writes no padding, others may.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

type Records = BTreeMap<Vec<u8>, Vec<u8>>;

/// What an extended header says about the entry after it.
#[derive(Debug, Default)]
pub(crate) struct Extended {
    pub(crate) path: Option<Vec<u8>>,
    pub(crate) link: Option<Vec<u8>>,
    pub(crate) size: Option<u64>,
    pub(crate) uid: Option<i128>,
    pub(crate) gid: Option<i128>,
    pub(crate) mtime: Option<Timestamp>,
    pub(crate) sparse: PaxSparse,
    schily: Records,
    libarchive: Records,
    records: Records,
}

impl Extended {
    /// Reads the body of an extended header. Of a key that comes twice the last counts.
    pub(crate) fn parse(body: &[u8], map: Map) -> Result<Self, Problem> {
        let mut extended = Self {
            sparse: PaxSparse::new(map),
            ..Self::default()
        };
        for record in records(body) {
            let (key, value) = record?;
            extended.apply(key, value)?;
        }
        Ok(extended)
    }

    /// Returns all extended attributes, and the records that no field stands for, sorted.
    pub(crate) fn into_attributes(self) -> (Vec<Pair>, Vec<Pair>) {
        let mut xattrs = self.schily;
        for (name, value) in self.libarchive {
            xattrs.entry(name).or_insert(value);
        }
        (
            xattrs.into_iter().collect(),
            self.records.into_iter().collect(),
        )
    }

    /// Says whether there is an attribute that is written in libarchive's way alone.
    pub(crate) fn has_libarchive_alone(&self) -> bool {
        let mut names = self.libarchive.keys();
        names.any(|name| !self.schily.contains_key(name))
    }

    fn apply(&mut self, key: &[u8], value: &[u8]) -> Result<(), Problem> {
        match key {
            b"path" => self.path = name(value)?,
            b"linkpath" => self.link = name(value)?,
            b"size" => self.size = unless_empty(value, number::decimal, "its size is no number")?,
            b"uid" => {
                self.uid = unless_empty(value, number::signed_decimal, "its uid is no number")?;
            }
            b"gid" => {
                self.gid = unless_empty(value, number::signed_decimal, "its gid is no number")?;
            }
            b"mtime" => {
                self.mtime = unless_empty(value, Timestamp::from_pax, "its mtime is no time")?;
            }
            _ => return self.apply_prefixed(key, value),
        }
        Ok(())
    }

    fn apply_prefixed(&mut self, key: &[u8], value: &[u8]) -> Result<(), Problem> {
        if let Some(key) = key.strip_prefix(SPARSE) {
            return self.sparse.apply(key, value);
        }
        let (map, name, value) = if let Some(name) = key.strip_prefix(SCHILY) {
            (&mut self.schily, Cow::Borrowed(name), value.to_vec())
        } else if let Some(name) = key.strip_prefix(LIBARCHIVE) {
            let value = BASE64
                .decode(value)
                .map_err(|_| "an attribute is not base64")?;
            (&mut self.libarchive, percent_decoded(name), value)
        } else if is_represented(key) {
            return Ok(());
        } else {
            (&mut self.records, Cow::Borrowed(key), value.to_vec())
        };
        if name.is_empty() || name.contains(&0) {
            return Err("an attribute has no valid name".into());
        }
        map.insert(name.into_owned(), value);
        Ok(())
    }
}

/// A key or name, and its value.
type Pair = (Vec<u8>, Vec<u8>);

/// Says whether a field of [`Entry`](crate::Entry) stands for the record called `key`, so that the
/// record itself is neither kept nor written.
pub(crate) fn is_represented(key: &[u8]) -> bool {
    REPRESENTED.contains(&key)
        || [SPARSE, SCHILY, LIBARCHIVE]
            .iter()
            .any(|prefix| key.starts_with(prefix))
}

/// Returns the records of an extended header's body, and an error after the last good one.
pub(crate) fn records(
    mut body: &[u8],
) -> impl Iterator<Item = Result<(&[u8], &[u8]), &'static str>> {
    std::iter::from_fn(move || {
        if body.is_empty() {
            return None;
        }
        let record = record(body);
        body = record.as_ref().map(|(_, rest)| *rest).unwrap_or_default();
        Some(record.map(|(pair, _)| pair))
    })
}

/// A record, and what comes after it.
type Split<'a> = ((&'a [u8], &'a [u8]), &'a [u8]);

fn record(body: &[u8]) -> Result<Split<'_>, &'static str> {
    // No number here has more digits: do not look for the space any further.
    let space = body
        .iter()
        .take(20)
        .position(|byte| *byte == b' ')
        .ok_or("a record has no length")?;
    let length = number::decimal(&body[..space]).ok_or("a record's length is no number")?;
    let length = usize::try_from(length).map_err(|_| "a record is longer than its header")?;
    let (record, rest) = body
        .split_at_checked(length)
        .ok_or("a record is longer than its header")?;
    let pair = record
        .get(space + 1..)
        .ok_or("a record is shorter than its length")?;
    let pair = pair
        .strip_suffix(b"\n")
        .ok_or("a record does not end in a newline")?;
    let equals = pair
        .iter()
        .position(|byte| *byte == b'=')
        .ok_or("a record has no `=`")?;
    let (key, value) = (&pair[..equals], &pair[equals + 1..]);
    if key.is_empty() || key.contains(&0) {
        return Err("a record has no valid key");
    }
    Ok(((key, value), rest))
}

/// Appends one record; its length counts its own digits.
pub(crate) fn write_record(out: &mut Vec<u8>, key: &[&[u8]], value: &[u8]) {
    let rest = 3 + key.iter().map(|part| part.len()).sum::<usize>() + value.len();
    let mut length = rest + digits(rest);
    if digits(length) != digits(rest) {
        length += 1;
    }
    out.extend_from_slice((length).to_string().as_bytes());
    out.push(b' ');
    for part in key {
        out.extend_from_slice(part);
    }
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

fn digits(number: usize) -> usize {
    number.checked_ilog10().unwrap_or_default() as usize + 1
}

/// Reads a path. An empty value stands for what the header says (pax, "Extended Header Keyword").
pub(crate) fn name(value: &[u8]) -> Result<Option<Vec<u8>>, &'static str> {
    if value.contains(&0) {
        return Err("a name holds a NUL");
    }
    Ok((!value.is_empty()).then(|| value.to_vec()))
}

fn unless_empty<T>(
    value: &[u8],
    parse: fn(&[u8]) -> Option<T>,
    problem: &'static str,
) -> Result<Option<T>, &'static str> {
    if value.is_empty() {
        Ok(None)
    } else {
        parse(value).map(Some).ok_or(problem)
    }
}

/// Replaces `%XX`; anything else, a lone `%` too, stands for itself, as in libarchive.
fn percent_decoded(name: &[u8]) -> Cow<'_, [u8]> {
    if !name.contains(&b'%') {
        return Cow::Borrowed(name);
    }
    let hex = |byte: u8| char::from(byte).to_digit(16);
    let mut decoded = Vec::with_capacity(name.len());
    let mut rest = name;
    while let [first, tail @ ..] = rest {
        let byte = match tail {
            [high, low, ..] if *first == b'%' => hex(*high)
                .zip(hex(*low))
                .and_then(|(high, low)| u8::try_from(high << 4 | low).ok()),
            _ => None,
        };
        decoded.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &tail[2..] } else { tail };
    }
    Cow::Owned(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(pairs: &[(&str, &[u8])]) -> Vec<u8> {
        let mut out = Vec::new();
        for (key, value) in pairs {
            write_record(&mut out, &[key.as_bytes()], value);
        }
        out
    }

    fn parse(pairs: &[(&str, &[u8])]) -> Result<Extended, Problem> {
        Extended::parse(&body(pairs), Map::new(100))
    }

    #[test]
    fn malformed_bodies() {
        #[track_caller]
        fn check(body: &[u8], expected: &'static str) {
            let error = Extended::parse(body, Map::new(100)).unwrap_err();
            assert_eq!(
                error,
                Problem::Malformed(expected),
                "{}",
                body.escape_ascii()
            );
        }
        check(b"13 path=abc\n", "a record is longer than its header");
        check(b"11 path=abc", "a record does not end in a newline");
        check(b"11 path=abcd", "a record does not end in a newline");
        check(b"3 \n", "a record has no `=`");
        check(b"1 \n", "a record is shorter than its length");
        check(b"2 \n", "a record does not end in a newline");
        check(b"0 ", "a record is shorter than its length");
        check(b"x path=a\n", "a record's length is no number");
        check(b"+9 path=a\n", "a record's length is no number");
        check(b"-9 path=a\n", "a record's length is no number");
        check(b"path=a\n", "a record has no length");
        check(b"10 path=a\n\0\0", "a record has no length");
        check(b"6 path\n", "a record does not end in a newline");
        check(b"7 path\n", "a record has no `=`");
        check(b"8 path\n\n", "a record has no `=`");
        check(b"5 =a\n", "a record has no valid key");
        check(b"99999999999999999999 path=a\n", "a record has no length");
        check(
            b"9999999999999999999 path=a\n",
            "a record is longer than its header",
        );
        check(b"11 path=a\0\n", "a name holds a NUL");
        check(b"15 linkpath=\0b\n", "a name holds a NUL");
        check(b"11 size=-1\n", "its size is no number");
        check(b"11 size=1k\n", "its size is no number");
        check(b"10 uid=0x\n", "its uid is no number");
        check(b"10 gid=1.\n", "its gid is no number");
        check(b"13 mtime=now\n", "its mtime is no time");
        check(b"19 SCHILY.xattr.=a\n", "an attribute has no valid name");
        check(b"12 a\0b=abcd\n", "a record has no valid key");
        check(
            &body(&[("LIBARCHIVE.xattr.user.a", b"*")]),
            "an attribute is not base64",
        );
        check(
            &body(&[("LIBARCHIVE.xattr.user%00a", b"")]),
            "an attribute has no valid name",
        );
        check(
            &body(&[("GNU.sparse.map", b"1,2,3")]),
            "a sparse map has an odd number of values",
        );
    }

    #[test]
    fn the_length_counts_itself() {
        for length in 0..1200 {
            let written = body(&[("k", &vec![b'v'; length])]);
            let read: Vec<_> = records(&written).collect::<Result<_, _>>().unwrap();
            assert_eq!(read.len(), 1, "{length}");
            assert_eq!(read[0].1.len(), length);
        }
    }

    #[test]
    fn the_last_of_equal_keys_counts_and_an_empty_one_takes_back() {
        let extended = parse(&[
            ("path", b"a"),
            ("path", b"b"),
            ("size", b"5"),
            ("size", b""),
        ]);
        let extended = extended.unwrap();
        assert_eq!(extended.path.as_deref(), Some(&b"b"[..]));
        assert_eq!(extended.size, None);
    }

    #[test]
    fn attributes_are_raw_or_libarchives_and_the_raw_ones_win() {
        let extended = parse(&[
            ("SCHILY.xattr.user.raw", b"a\0=\n"),
            ("SCHILY.xattr.user.empty", b""),
            ("LIBARCHIVE.xattr.user.raw", b"bG9zZXI="),
            ("LIBARCHIVE.xattr.user.%61b%zz%", b"d2lubmVy"),
            ("LIBARCHIVE.xattr.user.unpadded", b"YQ"),
            ("LIBARCHIVE.creationtime", b"1"),
            ("MSWINDOWS.fileattr", b"32"),
            ("atime", b"anything"),
            ("uname", b"root"),
        ]);
        let (xattrs, records) = extended.unwrap().into_attributes();
        let pair = |key: &[u8], value: &[u8]| (key.to_vec(), value.to_vec());
        assert_eq!(
            xattrs,
            [
                pair(b"user.ab%zz%", b"winner"),
                pair(b"user.empty", b""),
                pair(b"user.raw", b"a\0=\n"),
                pair(b"user.unpadded", b"a"),
            ]
        );
        assert_eq!(
            records,
            [
                pair(b"LIBARCHIVE.creationtime", b"1"),
                pair(b"MSWINDOWS.fileattr", b"32")
            ]
        );
    }
}
