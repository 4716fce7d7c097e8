//! A buffered reader that knows where it is and how far it may go.

use std::io::{self, BufRead, BufReader, Read};

use crate::error::{Error, Result};
use crate::header::{BLOCK, Block};
use crate::limits;

/// Large enough that skipping a body costs a memory copy and few system calls.
const BUFFER: usize = 256 << 10;

#[derive(Debug)]
pub(crate) struct Input<R> {
    inner: BufReader<R>,
    position: u64,
    maximum: u64,
}

impl<R: Read> Input<R> {
    /// Reads at most `maximum` bytes of `inner`: more is an error.
    pub(crate) fn new(inner: R, maximum: u64) -> Self {
        Self {
            inner: BufReader::with_capacity(BUFFER, inner),
            position: 0,
            maximum,
        }
    }

    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    pub(crate) fn into_inner(self) -> R {
        self.inner.into_inner()
    }

    /// Reads a block; `None` at the end of the stream.
    pub(crate) fn block(&mut self) -> Result<Option<Block>> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.read(&mut block[filled..])? {
                0 if filled == 0 => return Ok(None),
                0 => {
                    return Err(Error::Truncated {
                        offset: self.position,
                    });
                }
                len => filled += len,
            }
        }
        Ok(Some(block))
    }

    /// Replaces `out` by the next `len` bytes, which the caller has compared with a limit.
    pub(crate) fn bytes(&mut self, len: usize, out: &mut Vec<u8>) -> Result<()> {
        out.clear();
        out.resize(len, 0);
        let mut filled = 0;
        while filled < len {
            match self.read(&mut out[filled..])? {
                0 => {
                    return Err(Error::Truncated {
                        offset: self.position,
                    });
                }
                read => filled += read,
            }
        }
        Ok(())
    }

    /// Reads some bytes; 0 only at the end of the stream or if `buf` is empty.
    pub(crate) fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        loop {
            match self.inner.read(buf) {
                Ok(len) => return self.advance(len),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::read(self.position, error)),
            }
        }
    }

    /// Passes over `len` bytes.
    pub(crate) fn skip(&mut self, len: u64) -> Result<()> {
        let mut left = len;
        while left > 0 {
            match self.discard(left)? {
                0 => {
                    return Err(Error::Truncated {
                        offset: self.position,
                    });
                }
                skipped => left -= skipped as u64,
            }
        }
        Ok(())
    }

    /// Passes over `len` bytes or what there is of them, and tells whether the stream ended before.
    pub(crate) fn skip_some(&mut self, len: u64) -> Result<bool> {
        let mut left = len;
        while left > 0 {
            match self.discard(left)? {
                0 => return Ok(true),
                skipped => left -= skipped as u64,
            }
        }
        Ok(false)
    }

    /// Passes over all there is.
    pub(crate) fn drain(&mut self) -> Result<()> {
        while self.discard(u64::MAX)? > 0 {}
        Ok(())
    }

    /// Passes over all there is, and returns how many bytes that were and whether all were zero.
    pub(crate) fn drain_and_look(&mut self) -> Result<(u64, bool)> {
        let (start, mut is_zero) = (self.position, true);
        let mut chunk = [0; 16 << 10];
        loop {
            match self.read(&mut chunk)? {
                0 => return Ok((self.position - start, is_zero)),
                len => is_zero &= chunk[..len].iter().all(|byte| *byte == 0),
            }
        }
    }

    fn discard(&mut self, maximum: u64) -> Result<usize> {
        loop {
            match self.inner.fill_buf() {
                Ok(buffered) => {
                    let len = usize::try_from(maximum)
                        .unwrap_or(usize::MAX)
                        .min(buffered.len());
                    self.inner.consume(len);
                    return self.advance(len);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::read(self.position, error)),
            }
        }
    }

    fn advance(&mut self, len: usize) -> Result<usize> {
        self.position = self.position.saturating_add(len as u64);
        limits::check("total_bytes", self.position, self.maximum)?;
        Ok(len)
    }
}
