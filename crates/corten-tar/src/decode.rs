//! Reading compressed streams, whatever the compression.

use std::fmt;
use std::io::{self, BufReader, Read};

use bzip2::bufread::MultiBzDecoder;
use liblzma::bufread::XzDecoder;
use liblzma::stream::{CONCATENATED, Stream};
use zstd::stream::read::Decoder as ZstdDecoder;

use crate::compression::{Encoding, MAX_MAGIC, sniff};
use crate::error::{Error, Result};
use crate::inflate::Inflate;
use crate::limits::DecodeLimits;
use crate::seek::SeekPoints;

const BUFFER: usize = 256 << 10;
/// What xz needs beside its dictionary.
const XZ_OVERHEAD: u64 = 1 << 20;

/// Reads a stream and decompresses it, if its first bytes say that it is compressed.
///
/// The compressed bytes are read to their end before this reader ends, so that a reader beneath
/// that hashes has seen every byte. A stream that is cut short, damaged, or followed by something
/// else is an error; so is one that expands to more than [`DecodeLimits`] allow. Read it in large
/// pieces: it keeps no output of its own.
pub struct Decoder<'a> {
    inner: Inner<'a>,
    encoding: Encoding,
    limits: DecodeLimits,
    produced: u64,
}

enum Inner<'a> {
    Identity(Source<'a>),
    Gzip(Box<Inflate<Source<'a>>>),
    Zstd(ZstdDecoder<'static, BufReader<Source<'a>>>),
    Xz(XzDecoder<BufReader<Source<'a>>>),
    Bzip2(MultiBzDecoder<BufReader<Source<'a>>>),
}

impl<'a> Decoder<'a> {
    /// Reads the first bytes of `source`, to tell its encoding.
    pub fn new(source: Box<dyn Read + Send + 'a>, limits: DecodeLimits) -> Result<Self> {
        let source = Source::new(source).map_err(|error| Error::read(0, error))?;
        let encoding = sniff(&source.prefix);
        let starting = |source| Error::Damaged {
            encoding,
            problem: "its decompressor does not start",
            source: Some(source),
        };
        let inner = match encoding {
            Encoding::Identity => Inner::Identity(source),
            Encoding::Gzip => Inner::Gzip(Box::new(Inflate::new(source))),
            Encoding::Zstd => {
                let mut decoder =
                    ZstdDecoder::with_buffer(BufReader::with_capacity(BUFFER, source))
                        .map_err(starting)?;
                let window = limits.window_bytes.checked_ilog2().unwrap_or_default();
                decoder.window_log_max(window).map_err(starting)?;
                Inner::Zstd(decoder)
            }
            Encoding::Xz => {
                let memory = limits.window_bytes.saturating_add(XZ_OVERHEAD);
                let stream = Stream::new_stream_decoder(memory, CONCATENATED)
                    .map_err(|error| starting(error.into()))?;
                let source = BufReader::with_capacity(BUFFER, source);
                Inner::Xz(XzDecoder::new_stream(source, stream))
            }
            Encoding::Bzip2 => Inner::Bzip2(MultiBzDecoder::new(BufReader::with_capacity(
                BUFFER, source,
            ))),
        };
        Ok(Self {
            inner,
            encoding,
            limits,
            produced: 0,
        })
    }

    /// Returns what the first bytes of the stream said.
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Returns the compressed bytes read so far.
    pub fn consumed(&self) -> u64 {
        self.source().consumed
    }

    /// Returns a handle of the places passed where decompression can start.
    pub fn seek_points(&self) -> SeekPoints {
        match &self.inner {
            Inner::Gzip(decoder) => decoder.points().clone(),
            Inner::Identity(_) | Inner::Zstd(_) | Inner::Xz(_) | Inner::Bzip2(_) => {
                SeekPoints::default()
            }
        }
    }

    fn source(&self) -> &Source<'a> {
        match &self.inner {
            Inner::Identity(source) => source,
            Inner::Gzip(decoder) => decoder.get_ref(),
            Inner::Zstd(decoder) => decoder.get_ref().get_ref(),
            Inner::Xz(decoder) => decoder.get_ref().get_ref(),
            Inner::Bzip2(decoder) => decoder.get_ref().get_ref(),
        }
    }

    /// Fails when the stream has become larger than its compressed bytes warrant.
    fn check_expansion(&self) -> Result<()> {
        let DecodeLimits {
            expansion,
            expansion_after,
            ..
        } = self.limits;
        let counted = self.produced.saturating_sub(expansion_after);
        if counted > self.consumed().saturating_mul(expansion) {
            return Err(Error::Limit {
                limit: "expansion",
                maximum: expansion,
            });
        }
        Ok(())
    }

    /// Tells the decompressor's errors from those of the source, which are not about the encoding.
    fn damaged(&self, error: io::Error) -> io::Error {
        if self.source().failed
            || error
                .get_ref()
                .is_some_and(<dyn std::error::Error + Send + Sync>::is::<Error>)
        {
            return error;
        }
        let problem = "its decompressor refuses it";
        Error::Damaged {
            encoding: self.encoding,
            problem,
            source: Some(error),
        }
        .into()
    }
}

impl Read for Decoder<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let result = match &mut self.inner {
            Inner::Identity(source) => source.read(buf),
            Inner::Gzip(decoder) => decoder.read(buf),
            Inner::Zstd(decoder) => decoder.read(buf),
            Inner::Xz(decoder) => decoder.read(buf),
            Inner::Bzip2(decoder) => decoder.read(buf),
        };
        let len = result.map_err(|error| self.damaged(error))?;
        self.produced = self.produced.saturating_add(len as u64);
        self.check_expansion()?;
        Ok(len)
    }
}

impl fmt::Debug for Decoder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder")
            .field("encoding", &self.encoding)
            .field("limits", &self.limits)
            .field("produced", &self.produced)
            .finish_non_exhaustive()
    }
}

/// The compressed bytes: counts them, and puts back those that were looked at.
struct Source<'a> {
    prefix: Vec<u8>,
    given: usize,
    inner: Box<dyn Read + Send + 'a>,
    consumed: u64,
    failed: bool,
}

impl<'a> Source<'a> {
    fn new(mut inner: Box<dyn Read + Send + 'a>) -> io::Result<Self> {
        let mut prefix = Vec::with_capacity(MAX_MAGIC);
        (&mut inner)
            .take(MAX_MAGIC as u64)
            .read_to_end(&mut prefix)?;
        Ok(Self {
            prefix,
            given: 0,
            inner,
            consumed: 0,
            failed: false,
        })
    }

    /// Reads again when a signal came: the decompressors above may be amid a header.
    fn read_inner(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.inner.read(buf) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }
}

impl Read for Source<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let put_back = &self.prefix[self.given..];
        let len = if put_back.is_empty() {
            let result = self.read_inner(buf);
            self.failed |= result.is_err();
            result?
        } else {
            let len = put_back.len().min(buf.len());
            buf[..len].copy_from_slice(&put_back[..len]);
            self.given += len;
            len
        };
        self.consumed += len as u64;
        Ok(len)
    }
}
