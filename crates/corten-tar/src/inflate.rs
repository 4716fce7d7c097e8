//! Reading gzip: any number of members, then zeros or nothing.
//!
//! The framing is here, because what may follow a member is where readers differ; `flate2` does the
//! deflate beneath.

use std::io::{self, Read};

use flate2::{Decompress, FlushDecompress, Status};
use libdeflater::Crc;

use crate::compression::Encoding;
use crate::error::Error;
use crate::seek::{SeekPoint, SeekPoints};

const BUFFER: usize = 256 << 10;

// Bits of the header's fourth byte (RFC 1952, 2.3.1).
const HEADER_CRC: u8 = 1 << 1;
const EXTRA: u8 = 1 << 2;
const NAME: u8 = 1 << 3;
const COMMENT: u8 = 1 << 4;
const RESERVED: u8 = 0b1110_0000;

/// Inflates `source`, which it reads to its end.
pub(crate) struct Inflate<R> {
    source: R,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    /// Bytes of the source before those in the buffer.
    before: u64,
    state: State,
    deflate: Decompress,
    crc: Crc,
    /// Bytes of the member so far, as its trailer has them.
    size: u32,
    /// Bytes of all members so far.
    plain: u64,
    points: SeekPoints,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first header.
    Start,
    /// In a member.
    Member,
    /// Between members, or after the last.
    Between,
    End,
}

impl<R: Read> Inflate<R> {
    pub(crate) fn new(source: R) -> Self {
        Self {
            source,
            buffer: vec![0; BUFFER].into_boxed_slice(),
            start: 0,
            end: 0,
            before: 0,
            state: State::Start,
            deflate: Decompress::new(false),
            crc: Crc::new(),
            size: 0,
            plain: 0,
            points: SeekPoints::default(),
        }
    }

    pub(crate) fn points(&self) -> &SeekPoints {
        &self.points
    }

    pub(crate) fn get_ref(&self) -> &R {
        &self.source
    }

    /// Makes sure that the buffer has a byte; `false` at the end of the source.
    fn fill(&mut self) -> io::Result<bool> {
        if self.start == self.end {
            self.before += self.end as u64;
            self.start = 0;
            self.end = 0;
            self.end = self.source.read(&mut self.buffer)?;
        }
        Ok(self.start < self.end)
    }

    fn byte(&mut self) -> io::Result<u8> {
        if !self.fill()? {
            return Err(truncated());
        }
        self.start += 1;
        Ok(self.buffer[self.start - 1])
    }

    fn word(&mut self) -> io::Result<u32> {
        Ok(u32::from_le_bytes([
            self.byte()?,
            self.byte()?,
            self.byte()?,
            self.byte()?,
        ]))
    }

    fn header(&mut self) -> io::Result<()> {
        let point = SeekPoint {
            plain: self.plain,
            stored: self.before + self.start as u64,
        };
        if self.byte()? != 0x1f || self.byte()? != 0x8b {
            return Err(damaged("what follows a member is not another one"));
        }
        if self.byte()? != 8 {
            return Err(damaged("its method is not deflate"));
        }
        let flags = self.byte()?;
        if flags & RESERVED != 0 {
            return Err(damaged("its header has unknown flags"));
        }
        // Time, extra flags and operating system.
        for _ in 0..6 {
            self.byte()?;
        }
        if flags & EXTRA != 0 {
            let len = u16::from_le_bytes([self.byte()?, self.byte()?]);
            for _ in 0..len {
                self.byte()?;
            }
        }
        for field in [NAME, COMMENT] {
            while flags & field != 0 && self.byte()? != 0 {}
        }
        if flags & HEADER_CRC != 0 {
            // Nobody writes it, and what it covers says nothing about the content.
            self.byte()?;
            self.byte()?;
        }
        self.deflate.reset(false);
        (self.crc, self.size) = (Crc::new(), 0);
        self.points.add(point);
        Ok(())
    }

    fn trailer(&mut self) -> io::Result<()> {
        if self.word()? != self.crc.sum() {
            return Err(damaged("a member does not match its checksum"));
        }
        if self.word()? != self.size {
            return Err(damaged("a member does not have the length it says"));
        }
        Ok(())
    }

    /// Passes over zeros up to the end of the source, which padded streams have, or finds the start
    /// of another member.
    fn between(&mut self) -> io::Result<State> {
        if !self.fill()? {
            return Ok(State::End);
        }
        if self.buffer[self.start] != 0 {
            return Ok(State::Start);
        }
        while self.fill()? {
            if self.buffer[self.start..self.end]
                .iter()
                .any(|byte| *byte != 0)
            {
                return Err(damaged("other bytes than zeros follow the last member"));
            }
            self.start = self.end;
        }
        Ok(State::End)
    }

    /// Inflates some bytes; 0 at the end of the member, or if there was only input to take.
    fn member(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let at_end = !self.fill()?;
        let (before_in, before_out) = (self.deflate.total_in(), self.deflate.total_out());
        let status = self
            .deflate
            .decompress(
                &self.buffer[self.start..self.end],
                out,
                FlushDecompress::None,
            )
            .map_err(|_| damaged("a member is not valid deflate"))?;
        let taken = bounded(self.deflate.total_in() - before_in);
        let len = bounded(self.deflate.total_out() - before_out);
        self.start += taken;
        self.crc.update(&out[..len]);
        self.plain += len as u64;
        self.size = self
            .size
            .wrapping_add(u32::try_from(len & 0xffff_ffff).unwrap_or_default());
        match status {
            Status::StreamEnd => {
                self.trailer()?;
                self.state = State::Between;
            }
            Status::Ok | Status::BufError if len == 0 && at_end => return Err(truncated()),
            Status::Ok | Status::BufError if len == 0 && taken == 0 => {
                return Err(damaged("a member is not valid deflate"));
            }
            Status::Ok | Status::BufError => {}
        }
        Ok(len)
    }
}

impl<R: Read> Read for Inflate<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        loop {
            match self.state {
                State::Start => {
                    self.header()?;
                    self.state = State::Member;
                }
                State::Member => match self.member(buf)? {
                    0 => {}
                    len => return Ok(len),
                },
                State::Between => self.state = self.between()?,
                State::End => return Ok(0),
            }
        }
    }
}

fn bounded(len: u64) -> usize {
    usize::try_from(len).expect("no more than the buffers hold")
}

fn damaged(problem: &'static str) -> io::Error {
    Error::Damaged {
        encoding: Encoding::Gzip,
        problem,
        source: None,
    }
    .into()
}

fn truncated() -> io::Error {
    damaged("it ends inside a member")
}
