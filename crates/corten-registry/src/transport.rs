//! The wire, as one small trait: a request goes out, a response comes back.

use std::fmt;
use std::io::Read;
use std::sync::Arc;

use crate::{Result, Url};

/// Sends requests. The real one is [`Wire`](crate::Wire); a test may hand in a function from
/// request to response.
///
/// An implementation follows no redirect, adds no credentials and repeats nothing: what to do with
/// an answer is decided above it.
pub trait Transport: Send + Sync {
    /// Sends `request` and returns as soon as the response's headers are there.
    ///
    /// An error is one of [`Connect`](crate::Error::Connect), [`Tls`](crate::Error::Tls),
    /// [`Stalled`](crate::Error::Stalled), [`Broken`](crate::Error::Broken) or
    /// [`Protocol`](crate::Error::Protocol), also as the inner error of what reading the
    /// response's body returns.
    fn send(&self, request: Request) -> Result<Response>;

    /// Makes what is being sent and received now fail at once, and everything after it.
    fn interrupt(&self) {}
}

/// The methods that the protocol uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Reads.
    Get,
    /// Reads the headers only.
    Head,
    /// Starts an upload.
    Post,
    /// Writes, or ends an upload.
    Put,
    /// Adds to an upload.
    Patch,
    /// Deletes.
    Delete,
}

impl Method {
    /// Returns the name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// What is sent to a registry.
#[derive(Debug)]
pub struct Request {
    /// What to do.
    pub method: Method,
    /// To what.
    pub url: Url,
    /// The headers, without `Content-Length` and `Host`.
    pub headers: Headers,
    /// The body.
    pub body: Body,
}

/// The body of a request.
pub enum Body {
    /// None: `Content-Length: 0` where the method could have one.
    Empty,
    /// Bytes that can be sent again.
    Bytes(Arc<[u8]>),
    /// A stream that can be sent once. If it fails, the request is broken off, so that the server
    /// never takes it for complete.
    Stream {
        /// The bytes.
        reader: Box<dyn Read + Send>,
        /// How many there are, where known.
        len: Option<u64>,
    },
}

impl Body {
    /// Returns the same body for a second attempt, if it can be sent again.
    pub fn again(&self) -> Option<Self> {
        match self {
            Self::Empty => Some(Self::Empty),
            Self::Bytes(bytes) => Some(Self::Bytes(Arc::clone(bytes))),
            Self::Stream { .. } => None,
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("Empty"),
            Self::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Self::Stream { len, .. } => write!(f, "Stream({len:?})"),
        }
    }
}

/// What a registry answered.
pub struct Response {
    /// The status, such as 200.
    pub status: u16,
    /// The headers.
    pub headers: Headers,
    /// The body, which may end early with an error.
    pub body: Box<dyn Read + Send>,
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status)
            .field("headers", &self.headers)
            .finish_non_exhaustive()
    }
}

/// Headers in the order in which they came; names are compared without case.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// Returns headers without any.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the first value of `name`.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.values(name).next()
    }

    /// Returns all values of `name`.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.iter()
            .filter(move |(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// Adds a header.
    pub fn add(&mut self, name: &str, value: impl Into<String>) {
        self.0.push((name.to_owned(), value.into()));
    }

    /// Returns the headers with one more.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.add(name, value);
        self
    }

    /// Removes all values of `name`.
    pub fn remove(&mut self, name: &str) {
        self.0
            .retain(|(found, _)| !found.eq_ignore_ascii_case(name));
    }

    /// Returns every name and value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Values may be tokens, or signed URLs.
        f.debug_list()
            .entries(self.iter().map(|(name, _)| name))
            .finish()
    }
}
