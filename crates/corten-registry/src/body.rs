//! Reading the bodies of answers that are kept in memory: bounded in length and in time.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use corten_spec::Bound;

use crate::transport::Response;
use crate::{Error, Result, Url};

/// The longest body of an error, or of a token server's answer, that is read, in bytes.
pub(crate) const SHORT_BODY: u64 = 64 << 10;

/// How long a body that is kept in memory may take, all in all: a server that sends byte by byte
/// never stalls.
const PATIENCE: Duration = Duration::from_mins(5);

/// Reads the beginning of an error's body, and what went wrong meanwhile: what came before the
/// connection broke is still the best there is to say.
pub(crate) fn read_short(body: Box<dyn Read + Send>) -> (Vec<u8>, io::Result<()>) {
    read_within(body.take(SHORT_BODY), PATIENCE)
}

/// Reads `body` to its end, but for no longer than `patience`.
fn read_within(mut body: impl Read, patience: Duration) -> (Vec<u8>, io::Result<()>) {
    let start = Instant::now();
    let mut bytes = Vec::new();
    let mut buf = vec![0; 16 << 10];
    loop {
        match body.read(&mut buf) {
            Ok(0) => return (bytes, Ok(())),
            Ok(n_read) => bytes.extend_from_slice(buf.get(..n_read).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (bytes, Err(error)),
        }
        if start.elapsed() > patience {
            return (bytes, Err(io::ErrorKind::TimedOut.into()));
        }
    }
}

/// Reads a body of at most `limit` bytes.
pub(crate) fn read_body(response: Response, limit: impl Into<Bound>, url: &Url) -> Result<Vec<u8>> {
    let limit = limit.into();
    let body = response.body.take(limit.bytes.saturating_add(1));
    let (bytes, read) = read_within(body, PATIENCE);
    read.map_err(|error| match error.kind() {
        io::ErrorKind::TimedOut => Error::Stalled {
            url: url.clone(),
            limit: PATIENCE,
        },
        _ => error.downcast().unwrap_or_else(|error| Error::Broken {
            url: url.clone(),
            source: Box::new(error),
        }),
    })?;
    if bytes.len() as u64 > limit.bytes {
        return Err(Error::TooLong {
            url: url.clone(),
            limit,
        });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_drips_is_given_up() {
        let (bytes, read) = read_within(io::repeat(b'x'), Duration::ZERO);
        assert!(!bytes.is_empty());
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::TimedOut);
        let (bytes, read) = read_within(&b"whole"[..], PATIENCE);
        assert_eq!((bytes.as_slice(), read.is_ok()), (&b"whole"[..], true));
    }
}
