//! Entries into a stream.

use std::borrow::Cow;
use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read, Write};

use crate::entry::Entry;
use crate::error::{Error, Result};
use crate::header::BLOCK;
use crate::ustar::{canonical, padding, write_header};

/// The end of an archive: two blocks of zeros.
pub const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// Writes an archive.
///
/// It remembers 16 bytes of each path, to refuse a second entry of the same name.
#[derive(Debug)]
pub struct Writer<W> {
    inner: W,
    position: u64,
    seen: HashSet<(u64, u64)>,
    hashers: (RandomState, RandomState),
    header: Vec<u8>,
    copy: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// Starts an archive on `inner`, which should be buffered if it is a file.
    pub fn new(inner: W) -> Self {
        Self {
            inner,
            position: 0,
            seen: HashSet::new(),
            hashers: (RandomState::new(), RandomState::new()),
            header: Vec::new(),
            copy: vec![0; 128 << 10],
        }
    }

    /// Writes an entry, with as much of `body` as [`Entry::size`] says.
    ///
    /// # Errors
    /// Besides those of [`write_header`], [`Error::Unrepresentable`] if there was an entry of the
    /// same path, and [`Error::Length`] if the body is shorter or longer: the archive is then
    /// spoilt.
    pub fn entry(&mut self, entry: &Entry, body: &mut dyn Read) -> Result<()> {
        self.header.clear();
        write_header(entry, &mut self.header)?;
        if !self.seen.insert(self.key(entry)) {
            let problem = "an entry of this path is there already";
            return Err(Error::Unrepresentable {
                path: entry.path.clone(),
                problem,
            });
        }
        let header = std::mem::take(&mut self.header);
        self.write(&header)?;
        self.header = header;
        self.body(entry, body)?;
        self.write(&[0; BLOCK][..padding(entry.size)])
    }

    /// Returns the bytes written so far: where the next header will be.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Ends the archive and returns what it was written to.
    pub fn finish(mut self) -> Result<W> {
        self.write(&END)?;
        Ok(self.inner)
    }

    /// Returns a fingerprint of the path, the same for all its spellings. The keys are random, so
    /// that no archive can be made whose paths collide.
    fn key(&self, entry: &Entry) -> (u64, u64) {
        // `write_header` has made sure that there is a canonical form.
        let path = canonical(&entry.path).unwrap_or(Cow::Borrowed(&entry.path));
        (
            self.hashers.0.hash_one(&path),
            self.hashers.1.hash_one(&path),
        )
    }

    fn body(&mut self, entry: &Entry, body: &mut dyn Read) -> Result<()> {
        let mut copy = std::mem::take(&mut self.copy);
        let mut left = entry.size;
        let expected = entry.size;
        loop {
            // One byte more than there should be, to see that there is none.
            let len = usize::try_from(left)
                .unwrap_or(usize::MAX)
                .saturating_add(1)
                .min(copy.len());
            let read = match body.read(&mut copy[..len]) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(content_error(entry, source)),
            };
            let received = expected - left + read as u64;
            if read as u64 > left || (read == 0 && left > 0) {
                return Err(Error::Length {
                    path: entry.path.clone(),
                    expected,
                    received,
                });
            }
            if read == 0 {
                break;
            }
            self.write(&copy[..read])?;
            left -= read as u64;
        }
        self.copy = copy;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let offset = self.position;
        self.inner
            .write_all(bytes)
            .map_err(|source| Error::Write { offset, source })?;
        self.position += bytes.len() as u64;
        Ok(())
    }
}

/// Takes an error of ours out again, so that damage to the archive that is read is not called a
/// failure to read content.
fn content_error(entry: &Entry, source: io::Error) -> Error {
    source.downcast().unwrap_or_else(|source| Error::Content {
        path: entry.path.clone(),
        source,
    })
}
