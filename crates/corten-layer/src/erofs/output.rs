//! A file written from front to back, with holes.

use std::io::{self, BufWriter, Seek, SeekFrom, Write};

/// Zeros of at least this many bytes are not written.
const HOLE: u64 = 4096;

/// Writes to `inner`, which is at its start and empty.
pub(super) struct Output<W: Write + Seek> {
    inner: BufWriter<W>,
    position: u64,
    /// How much of a hole there is before the position, which is not yet in the file.
    hole: u64,
}

impl<W: Write + Seek> Output<W> {
    pub(super) fn new(inner: W) -> Self {
        Self {
            inner: BufWriter::with_capacity(128 << 10, inner),
            position: 0,
            hole: 0,
        }
    }

    pub(super) fn position(&self) -> u64 {
        self.position
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        if self.hole >= HOLE {
            self.inner.seek(SeekFrom::Start(self.position))?;
        } else {
            io::copy(
                &mut io::Read::take(io::repeat(0), self.hole),
                &mut self.inner,
            )?;
        }
        self.hole = 0;
        self.position += bytes.len() as u64;
        self.inner.write_all(bytes)
    }

    /// Has zeros up to `position`.
    pub(super) fn advance(&mut self, position: u64) {
        self.hole += position.saturating_sub(self.position);
        self.position = self.position.max(position);
    }

    /// Ends the file at the position.
    pub(super) fn finish(mut self) -> io::Result<u64> {
        if self.hole > 0 {
            self.hole -= 1;
            self.position -= 1;
            self.write(&[0])?;
        }
        self.inner.flush()?;
        Ok(self.position)
    }
}
