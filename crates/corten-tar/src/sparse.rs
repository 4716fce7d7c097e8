//! Maps of sparse files, in the four forms GNU tar has written them.
//!
//! | form | where the map is |
//! |---|---|
//! | old GNU, typeflag `S` | four pairs in the header, 21 in each block after it |
//! | PAX 0.0 | pairs of records `GNU.sparse.offset`, `GNU.sparse.numbytes` |
//! | PAX 0.1 | one record `GNU.sparse.map`, numbers between commas |
//! | PAX 1.0 | at the start of the body: the number of pairs and the pairs, one number a line |
//!
//! The data of all segments follows without gaps.

use crate::entry::Segment;
use crate::error::Problem;
use crate::number;
use crate::pax;

/// Bytes of one pair in an old GNU map.
const OLD_PAIR: usize = 24;
/// Pairs in an extension block of an old GNU map, and where it says whether another follows.
const OLD_EXTENSION: (usize, usize) = (21 * OLD_PAIR, 504);

/// A map as it grows: sorted, without overlap, bounded.
#[derive(Debug, Default)]
pub(crate) struct Map {
    segments: Vec<Segment>,
    end: u64,
    maximum: u64,
}

impl Map {
    /// Returns an empty map that takes `maximum` segments.
    pub(crate) fn new(maximum: u64) -> Self {
        Self {
            maximum,
            ..Self::default()
        }
    }

    fn push(&mut self, offset: u64, length: u64) -> Result<(), Problem> {
        if offset < self.end {
            return Err("a sparse map is not in order".into());
        }
        self.end = offset
            .checked_add(length)
            .ok_or("a sparse map is over the file's end")?;
        if length == 0 {
            return Ok(());
        }
        if self.segments.len() as u64 >= self.maximum {
            return Err(Problem::Limit {
                limit: "sparse_segments",
                maximum: self.maximum,
            });
        }
        self.segments.push(Segment { offset, length });
        Ok(())
    }

    /// Returns the segments, if they are within the file and exactly what is stored.
    pub(crate) fn finish(self, real_size: u64, stored: u64) -> Result<Vec<Segment>, &'static str> {
        if self.end > real_size {
            return Err("a sparse map is over the file's end");
        }
        // This cannot overflow: segments do not overlap and end before `self.end`.
        let mapped: u64 = self.segments.iter().map(|segment| segment.length).sum();
        if mapped != stored {
            return Err("a sparse map does not cover the stored bytes");
        }
        Ok(self.segments)
    }

    /// Adds pairs of an old GNU map; a pair of NULs ends it.
    pub(crate) fn push_old(&mut self, pairs: &[u8]) -> Result<(), Problem> {
        for pair in pairs.chunks_exact(OLD_PAIR) {
            let (offset, length) = pair.split_at(OLD_PAIR / 2);
            if offset[0] == 0 && length[0] == 0 {
                return Ok(());
            }
            let number = |field| {
                u64::try_from(number::field(field)?)
                    .map_err(|_| "a sparse map has a negative value")
            };
            self.push(number(offset)?, number(length)?)?;
        }
        Ok(())
    }

    /// Adds an extension block of an old GNU map and says whether another one follows.
    pub(crate) fn push_extension(&mut self, block: &[u8; 512]) -> Result<bool, Problem> {
        let (end, more) = OLD_EXTENSION;
        self.push_old(&block[..end])?;
        Ok(block[more] != 0)
    }
}

/// What the `GNU.sparse.` records of one extended header say.
#[derive(Debug, Default)]
pub(crate) struct PaxSparse {
    major: Option<u64>,
    minor: Option<u64>,
    /// The true name: the one in `path` is made up, for readers who know no sparse files.
    pub(crate) name: Option<Vec<u8>>,
    real_size: Option<u64>,
    n_pairs: Option<u64>,
    pairs_seen: u64,
    offset: Option<u64>,
    map: Map,
}

/// How a PAX header says that a file is sparse.
#[derive(Debug)]
pub(crate) enum PaxForm {
    /// It does not.
    Whole,
    /// The map was in the records.
    Mapped { map: Map, real_size: u64 },
    /// The map is at the start of the body.
    InBody { map: Map, real_size: u64 },
}

impl PaxSparse {
    pub(crate) fn new(map: Map) -> Self {
        Self {
            map,
            ..Self::default()
        }
    }

    /// Takes the record whose key is `GNU.sparse.` and `key`.
    pub(crate) fn apply(&mut self, key: &[u8], value: &[u8]) -> Result<(), Problem> {
        let number = || number::decimal(value).ok_or("a sparse record is no number");
        match key {
            b"major" => self.major = Some(number()?),
            b"minor" => self.minor = Some(number()?),
            b"name" => self.name = pax::name(value)?,
            b"size" | b"realsize" => self.real_size = Some(number()?),
            b"numblocks" => self.n_pairs = Some(number()?),
            b"offset" if self.offset.is_none() => self.offset = Some(number()?),
            b"numbytes" => {
                let offset = self.offset.take().ok_or("a sparse length has no offset")?;
                self.push(offset, number()?)?;
            }
            b"map" => return self.push_list(value),
            _ => return Err("a sparse record is unknown or out of place".into()),
        }
        Ok(())
    }

    fn push(&mut self, offset: u64, length: u64) -> Result<(), Problem> {
        self.pairs_seen += 1;
        self.map.push(offset, length)
    }

    fn push_list(&mut self, value: &[u8]) -> Result<(), Problem> {
        let mut numbers = value
            .split(|byte| *byte == b',')
            .filter(|_| !value.is_empty());
        while let Some(offset) = numbers.next() {
            let length = numbers
                .next()
                .ok_or("a sparse map has an odd number of values")?;
            let number = |text| number::decimal(text).ok_or("a sparse record is no number");
            self.push(number(offset)?, number(length)?)?;
        }
        Ok(())
    }

    /// Says which form the records amount to.
    pub(crate) fn form(self) -> Result<PaxForm, &'static str> {
        let in_body = match (self.major, self.minor) {
            (None, None) if self.n_pairs.is_none() && self.pairs_seen == 0 => {
                return if self.name.is_some() || self.real_size.is_some() || self.offset.is_some() {
                    Err("a sparse file has no map")
                } else {
                    Ok(PaxForm::Whole)
                };
            }
            (None, None) | (Some(0), Some(0 | 1)) => false,
            (Some(1), Some(0)) => true,
            _ => return Err("the version of a sparse map is unknown"),
        };
        let real_size = self.real_size.ok_or("a sparse file has no real size")?;
        if in_body {
            if self.pairs_seen > 0 {
                return Err("a sparse file has two maps");
            }
            return Ok(PaxForm::InBody {
                map: self.map,
                real_size,
            });
        }
        if self.offset.is_some()
            || self
                .n_pairs
                .is_some_and(|n_pairs| n_pairs != self.pairs_seen)
        {
            return Err("a sparse map has another number of segments than it says");
        }
        Ok(PaxForm::Mapped {
            map: self.map,
            real_size,
        })
    }
}

/// Reads the map at the start of a PAX 1.0 body, block by block.
#[derive(Debug)]
pub(crate) struct BodyMap {
    map: Map,
    /// The digits of a number that runs over the end of a block.
    digits: Vec<u8>,
    n_pairs: Option<u64>,
    offset: Option<u64>,
}

impl BodyMap {
    pub(crate) fn new(map: Map) -> Self {
        Self {
            map,
            digits: Vec::new(),
            n_pairs: None,
            offset: None,
        }
    }

    /// Takes a block and says whether it was the last.
    pub(crate) fn push_block(&mut self, block: &[u8]) -> Result<bool, Problem> {
        for byte in block {
            if *byte != b'\n' {
                self.digits.push(*byte);
                if self.digits.len() > 20 {
                    return Err("a sparse map has a value that is no number".into());
                }
                continue;
            }
            let number = number::decimal(&self.digits)
                .ok_or("a sparse map has a value that is no number")?;
            self.digits.clear();
            if self.push_number(number)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn push_number(&mut self, number: u64) -> Result<bool, Problem> {
        let Some(n_pairs) = self.n_pairs else {
            self.n_pairs = Some(number);
            return Ok(number == 0);
        };
        let Some(offset) = self.offset.take() else {
            self.offset = Some(number);
            return Ok(false);
        };
        self.map.push(offset, number)?;
        self.n_pairs = Some(n_pairs - 1);
        Ok(n_pairs == 1)
    }

    /// Returns the map, once [`BodyMap::push_block`] has said that it is complete.
    pub(crate) fn into_map(self) -> Map {
        self.map
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(map: Map, real_size: u64, stored: u64) -> Result<Vec<(u64, u64)>, &'static str> {
        let segments = map.finish(real_size, stored)?;
        Ok(segments
            .iter()
            .map(|segment| (segment.offset, segment.length))
            .collect())
    }

    fn text(problem: &Problem) -> &'static str {
        match problem {
            Problem::Malformed(text)
            | Problem::Limit { limit: text, .. }
            | Problem::OutOfRange { field: text, .. } => text,
        }
    }

    #[test]
    fn maps_in_records() {
        #[track_caller]
        fn check(records: &[(&str, &str)], expected: Result<&[(u64, u64)], &'static str>) {
            let mut sparse = PaxSparse::new(Map::new(3));
            let result = records
                .iter()
                .try_for_each(|(key, value)| sparse.apply(key.as_bytes(), value.as_bytes()))
                .and_then(|()| Ok(sparse.form()?))
                .and_then(|form| match form {
                    PaxForm::Mapped { map, real_size } => Ok(segments(map, real_size, 5)?),
                    PaxForm::Whole | PaxForm::InBody { .. } => Err("another form".into()),
                });
            assert_eq!(
                result.map_err(|problem| text(&problem)),
                expected.map(<[_]>::to_vec)
            );
        }
        let size = ("size", "10");
        check(&[size, ("map", "0,2,4,3")], Ok(&[(0, 2), (4, 3)]));
        check(&[size, ("map", "0,2,2,3,10,0")], Ok(&[(0, 2), (2, 3)]));
        check(
            &[size, ("numblocks", "2"), ("map", "0,2,7,3")],
            Ok(&[(0, 2), (7, 3)]),
        );
        check(
            &[
                size,
                ("offset", "0"),
                ("numbytes", "2"),
                ("offset", "4"),
                ("numbytes", "3"),
            ],
            Ok(&[(0, 2), (4, 3)]),
        );
        let count = "a sparse map has another number of segments than it says";
        check(&[size, ("numblocks", "3"), ("map", "0,2,7,3")], Err(count));
        check(&[size, ("map", "0,5"), ("offset", "7")], Err(count));
        check(&[("map", "0,5")], Err("a sparse file has no real size"));
        check(&[size], Err("a sparse file has no map"));
        check(
            &[size, ("map", "0,2,1,3")],
            Err("a sparse map is not in order"),
        );
        check(
            &[size, ("map", "4,3,0,2")],
            Err("a sparse map is not in order"),
        );
        check(
            &[size, ("map", "0,2,8,3")],
            Err("a sparse map is over the file's end"),
        );
        check(
            &[size, ("map", "0,2")],
            Err("a sparse map does not cover the stored bytes"),
        );
        check(
            &[size, ("map", "0,2,")],
            Err("a sparse map has an odd number of values"),
        );
        check(
            &[size, ("map", "0,2,,")],
            Err("a sparse record is no number"),
        );
        check(&[size, ("map", "0,1,2,1,4,1,6,2")], Err("sparse_segments"));
        check(
            &[("map", "18446744073709551615,1")],
            Err("a sparse map is over the file's end"),
        );
        check(
            &[size, ("offset", "0"), ("offset", "0")],
            Err("a sparse record is unknown or out of place"),
        );
        check(
            &[size, ("numbytes", "0")],
            Err("a sparse length has no offset"),
        );
        check(&[("size", "-1")], Err("a sparse record is no number"));
        check(
            &[("major", "2"), ("minor", "0")],
            Err("the version of a sparse map is unknown"),
        );
        check(
            &[("major", "1")],
            Err("the version of a sparse map is unknown"),
        );
        check(&[], Err("another form"));
    }

    #[test]
    fn maps_in_the_body() {
        #[track_caller]
        fn check(blocks: &[&[u8]], expected: Result<&[(u64, u64)], &'static str>) {
            let mut parser = BodyMap::new(Map::new(3));
            let mut done = Ok(false);
            for block in blocks {
                assert_eq!(done, Ok(false), "a block too many");
                done = parser.push_block(block);
            }
            let result = done.and_then(|done| {
                assert!(done, "a block too few");
                Ok(segments(parser.into_map(), 10, 5)?)
            });
            assert_eq!(
                result.map_err(|problem| text(&problem)),
                expected.map(<[_]>::to_vec)
            );
        }
        check(&[b"2\n0\n2\n4\n3\n\0\0\0"], Ok(&[(0, 2), (4, 3)]));
        check(&[b"2\n0\n", b"2\n4\n3", b"\n"], Ok(&[(0, 2), (4, 3)]));
        check(
            &[b"0\n"],
            Err("a sparse map does not cover the stored bytes"),
        );
        check(&[b"1\n0\n5\n9\n"], Ok(&[(0, 5)]));
        check(&[b"\n"], Err("a sparse map has a value that is no number"));
        check(
            &[b"1\n0\0\n"],
            Err("a sparse map has a value that is no number"),
        );
        check(
            &[&[b'1'; 21]],
            Err("a sparse map has a value that is no number"),
        );
        check(&[b"9\n0\n1\n1\n1\n2\n1\n3\n1\n"], Err("sparse_segments"));
    }
}
