//! Reading a sparse file with its holes.

use std::io::{self, Read};

use crate::entry::Segment;

/// Reads a sparse file as if it had no holes.
///
/// What is between the segments reads as zeros. Whoever writes to a file system seeks over them
/// instead: a hole of a GiB then costs nothing.
#[derive(Debug)]
pub struct Expand<'a, R> {
    stored: R,
    segments: std::slice::Iter<'a, Segment>,
    current: Option<Segment>,
    position: u64,
    size: u64,
}

impl<'a, R: Read> Expand<'a, R> {
    /// Returns the logical bytes of a file of `size` bytes whose `segments` are in `stored`.
    pub fn new(stored: R, segments: &'a [Segment], size: u64) -> Self {
        let mut segments = segments.iter();
        let current = segments.next().copied();
        Self {
            stored,
            segments,
            current,
            position: 0,
            size,
        }
    }
}

impl<R: Read> Read for Expand<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let hole_end = self.current.map_or(self.size, |segment| segment.offset);
        let room = buf.len();
        let bounded = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX).min(room);
        if self.position < hole_end {
            let len = bounded(hole_end - self.position);
            buf[..len].fill(0);
            self.position += len as u64;
            return Ok(len);
        }
        let Some(segment) = self.current else {
            return Ok(0);
        };
        let end = segment.offset.saturating_add(segment.length);
        let len = self
            .stored
            .read(&mut buf[..bounded(end.saturating_sub(self.position))])?;
        self.position += len as u64;
        if len == 0 && !buf.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if self.position == end {
            self.current = self.segments.next().copied();
        }
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_read_as_zeros() {
        let map = [
            Segment {
                offset: 2,
                length: 3,
            },
            Segment {
                offset: 5,
                length: 1,
            },
        ];
        let mut out = Vec::new();
        Expand::new(&b"abcd"[..], &map, 8)
            .read_to_end(&mut out)
            .unwrap();
        assert_eq!(out, b"\0\0abcd\0\0");
        let error = Expand::new(&b"abc"[..], &map, 8)
            .read_to_end(&mut out)
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
