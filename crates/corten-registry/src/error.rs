//! What can go wrong between us and a registry.

use std::path::PathBuf;
use std::time::Duration;

use crate::Url;
use crate::refusal::Refusal;

/// The result of talking to a registry.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong. No message holds a password, a token, or a URL's query.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The registry, or the token server that it names, answered that it will not.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// The registry wants to know who asks, and nothing says who.
    #[error(
        "{host} asks for credentials and there are none\n  looked in: {}",
        .searched.join(", ")
    )]
    NoCredentials {
        /// The registry's host.
        host: String,
        /// Where credentials were looked for, each with what was found there.
        searched: Vec<String>,
    },
    /// A file of credentials or certificates could not be used.
    #[error("cannot {action} `{}`: {reason}", .path.display())]
    File {
        /// What was being done, such as `read the credentials in`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed; never a part of the file.
        reason: String,
    },
    /// A credential helper failed.
    #[error("`{program}` failed: {reason}")]
    CredentialHelper {
        /// The program.
        program: String,
        /// Why, in the program's own words where it had any.
        reason: String,
    },
    /// The peer's certificate could not be trusted, or it speaks no TLS.
    #[error("cannot make a secure connection to {host}")]
    Tls {
        /// Host and port.
        host: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No connection could be made.
    #[error("cannot connect to {host}")]
    Connect {
        /// Host and port.
        host: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The connection ended before the answer did.
    #[error("the connection broke at `{url}`")]
    Broken {
        /// What was being asked for.
        url: Url,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What came is longer than is read.
    #[error("what came from `{url}` is longer than {limit} bytes")]
    TooLong {
        /// What was being asked for.
        url: Url,
        /// The limit.
        limit: corten_spec::Bound,
    },
    /// Nothing came or went for too long.
    #[error("`{url}` stalled: nothing came or went for {} s", .limit.as_secs_f32())]
    Stalled {
        /// What was being asked for.
        url: Url,
        /// How long was waited.
        limit: Duration,
    },
    /// The answer breaks the protocol.
    #[error("the answer of `{url}` breaks the protocol: {reason}")]
    Protocol {
        /// What was asked for.
        url: Url,
        /// What is wrong.
        reason: String,
    },
    /// A chain of redirects without an end.
    #[error("`{url}` redirects too often; the limit is {limit}")]
    TooManyRedirects {
        /// Where it began.
        url: Url,
        /// How many were followed.
        limit: usize,
    },
    /// A setting or a header holds what is no URL.
    #[error("`{url}` is not a usable URL: {reason}")]
    InvalidUrl {
        /// What was given, without user info and query.
        url: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// A configuration file says that the repository is not to be asked.
    #[error("`{name}` is blocked by the configuration of registries, for all of `{prefix}`")]
    Blocked {
        /// The repository, with its registry.
        name: String,
        /// What the names begin with that are blocked.
        prefix: String,
    },
    /// The work did not end by its deadline.
    #[error("the time that the work may take is over")]
    TooLate,
    /// The work was cancelled.
    #[error("cancelled")]
    Cancelled,
}

impl Error {
    /// Returns the status, if a registry refused.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused(refusal) => Some(refusal.status),
            _ => None,
        }
    }

    /// Tells whether the registry said that it has no such thing.
    pub fn is_not_found(&self) -> bool {
        self.status() == Some(404)
    }

    /// Tells whether other or any credentials might help.
    pub fn is_unauthorized(&self) -> bool {
        matches!(self, Self::NoCredentials { .. }) || matches!(self.status(), Some(401 | 403))
    }

    /// Tells whether no answer came that says anything about what was asked for.
    pub fn is_out_of_reach(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Broken { .. } | Self::Stalled { .. } => true,
            _ => self.status().is_some_and(|status| status >= 500),
        }
    }

    /// Returns the error as `place` reports it, where `name` was looked for.
    pub(crate) fn into_content(self, place: &str, name: &str) -> corten_content::Error {
        if matches!(self, Self::Cancelled) {
            return corten_content::Error::Cancelled;
        }
        if self.is_not_found() {
            return corten_content::Error::NotFound {
                name: name.to_owned(),
                place: place.to_owned(),
            };
        }
        corten_content::Error::Place {
            place: place.to_owned(),
            source: Box::new(self),
        }
    }
}

impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        Self::other(error)
    }
}
