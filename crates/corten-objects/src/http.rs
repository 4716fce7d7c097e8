//! Who speaks HTTP for us.

use std::io::Read;

/// Speaks HTTP. The real one is of whoever uses this crate, so that certificates, proxies and time limits
/// are those of everything else.
pub trait Http: std::fmt::Debug + Send + Sync + 'static {
    /// Sends `request`, follows redirects, and returns as soon as the headers of the answer are there.
    ///
    /// Where a redirect leads to another host, only headers that say nothing of who asks may go along.
    /// What reading the body returns is an error where it ends before its length.
    ///
    /// # Errors
    /// Fails where there is no answer; a status of any kind is one.
    fn send(&self, request: HttpRequest, patience: Patience) -> Result<HttpAnswer, Failure>;
}

/// A request with its body.
pub type HttpRequest = http::Request<Vec<u8>>;

/// An answer, whose body is still to be read.
pub type HttpAnswer = http::Response<Box<dyn Read + Send>>;

/// How long an answer may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// As long as it does over the network.
    Usual,
    /// A second or two, and through no proxy: the service that tells machines of clouds who they are, and
    /// that does not exist elsewhere.
    Little,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[error("{source}")]
pub struct Failure {
    /// Whether it may be worth asking again.
    pub may_pass: bool,
    /// What happened.
    pub source: Box<dyn std::error::Error + Send + Sync>,
}
