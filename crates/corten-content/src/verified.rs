//! Reading content: nothing is believed before it is checked against its descriptor.

use std::io::{self, Read};

use corten_spec::{Bound, Descriptor, Document, DocumentType, Hasher, document};

use crate::{Error, Result, Source};

/// A reader that fails, at the latest at its end, if the bytes are not those of its descriptor.
///
/// Until it has returned `Ok(0)` the bytes are not yet known to be good: do nothing with them that
/// cannot be undone. It never reads more than one byte beyond the descriptor's size.
#[derive(Debug)]
pub struct Verified<R> {
    inner: R,
    expected: Descriptor,
    place: String,
    hasher: Option<Hasher>,
    received: u64,
}

/// Opens `content` in `source` as a stream that verifies itself.
pub fn open<'a>(
    source: &'a dyn Source,
    content: &Descriptor,
) -> Result<Verified<Box<dyn Read + Send + 'a>>> {
    Verified::new(source.fetch(content, 0)?, content, source.place())
}

/// Reads the whole of `content`, which must be no longer than `limit` bytes, and verifies it.
pub fn read(source: &dyn Source, content: &Descriptor, limit: impl Into<Bound>) -> Result<Vec<u8>> {
    let limit = limit.into();
    if content.size > limit.bytes {
        let source = Box::new(corten_spec::Error::TooLarge {
            document: "content",
            size: content.size,
            limit,
        });
        return Err(Error::Invalid {
            what: format!("`{}`", content.digest),
            source,
        });
    }
    let mut bytes = Vec::new();
    open(source, content)?
        .read_to_end(&mut bytes)
        .map_err(|error| Error::stream(format!("read `{}`", content.digest), error))?;
    Ok(bytes)
}

/// Reads and verifies the document that `content` names; embedded data is used where there is any.
pub fn load<T: DocumentType>(source: &dyn Source, content: &Descriptor) -> Result<Document<T>> {
    let invalid = |error| Error::Invalid {
        what: format!("{} `{}` from {}", T::NAME, content.digest, source.place()),
        source: Box::new(error),
    };
    document::check_limit::<T>(content.size).map_err(invalid)?;
    let bytes = match content.embedded().map_err(invalid)? {
        Some(bytes) => bytes,
        None => read(source, content, T::limit())?,
    };
    Document::verify(content.clone(), bytes).map_err(invalid)
}

impl<R: Read> Verified<R> {
    /// Returns `inner`, which comes from `place`, as a reader that checks against `expected`.
    ///
    /// # Errors
    /// Fails at once if the digest's algorithm is unknown.
    pub fn new(inner: R, expected: &Descriptor, place: String) -> Result<Self> {
        let hasher = expected.digest.hasher().map_err(|source| Error::Invalid {
            what: format!("`{}`", expected.digest),
            source: Box::new(source),
        })?;
        Ok(Self {
            inner,
            expected: expected.clone(),
            place,
            hasher: Some(hasher),
            received: 0,
        })
    }

    fn corrupt(&self, source: corten_spec::Error) -> io::Error {
        Error::Corrupt {
            place: self.place.clone(),
            source: Box::new(source),
        }
        .into()
    }

    fn wrong_size(&self) -> io::Error {
        self.corrupt(corten_spec::Error::SizeMismatch {
            digest: self.expected.digest.clone(),
            expected: self.expected.size,
            received: self.received,
        })
    }

    fn finish(&mut self) -> io::Result<usize> {
        if self.received != self.expected.size {
            return Err(self.wrong_size());
        }
        let Some(hasher) = self.hasher.take() else {
            return Ok(0);
        };
        match self.expected.digest.compare(&hasher.finish()) {
            Ok(()) => Ok(0),
            Err(error) => Err(self.corrupt(error)),
        }
    }
}

impl<R: Read> Read for Verified<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        let n_read = self.inner.read(buf)?;
        if n_read == 0 {
            return self.finish();
        }
        self.received += n_read as u64;
        if self.received > self.expected.size {
            return Err(self.wrong_size());
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(buf.get(..n_read).unwrap_or_default());
        }
        Ok(n_read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_against_their_descriptor() {
        #[track_caller]
        fn check(named: &[u8], sent: &[u8], expected: Option<&str>) {
            let content = Descriptor::of("a/b", named);
            let mut reader = Verified::new(sent, &content, "here".into()).unwrap();
            let mut received = Vec::new();
            let error = reader.read_to_end(&mut received).err().map(|error| {
                let error = Error::stream("read", error);
                assert!(error.is_corrupt(), "{error}");
                std::error::Error::source(&error).unwrap().to_string()
            });
            match expected {
                None => assert_eq!(error, None, "{named:?} {sent:?}"),
                Some(part) => assert!(error.clone().unwrap().contains(part), "{error:?}"),
            }
        }
        check(b"abc", b"abc", None);
        check(b"", b"", None);
        check(b"abc", b"abd", Some("does not match its digest"));
        check(b"abc", b"ab", Some("expected 3 bytes, received 2"));
        check(b"abc", b"abcd", Some("wrong size"));
        check(b"", b"x", Some("wrong size"));
    }
}
