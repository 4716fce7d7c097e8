//! What can go wrong.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::sent::Sent;

/// The result of what this crate does.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an object cannot be had.
///
/// No variant carries a credential, nor what a server said beyond its code and its message.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// What was given names no object.
    #[error("`{place}` names no object: {reason}")]
    InvalidPlace {
        /// What was given, without a user, a password and a query.
        place: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A setting cannot be used.
    #[error("`{name}` cannot be used: {reason}")]
    Setting {
        /// The variable, or where it stands in a file.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file that a setting names cannot be read.
    #[error("cannot read `{}`", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There are no credentials, or none could be had.
    #[error("there are no credentials for `{place}`\n  looked in: {looked_in}")]
    NoCredentials {
        /// The object.
        place: String,
        /// Where they could have been, each with what is there.
        looked_in: String,
        /// What the last of these said.
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// There is no such object or bucket.
    #[error("`{place}` is not there: {answer}")]
    NotFound {
        /// The object.
        place: String,
        /// What the server said.
        answer: Answer,
    },
    /// The server does not give it to who asks.
    #[error("`{place}` is refused: {answer}\n  signed in with {credentials}")]
    Refused {
        /// The object.
        place: String,
        /// What the server said.
        answer: Answer,
        /// Where the credentials are from.
        credentials: String,
    },
    /// The server answered with something else than the object.
    #[error("`{place}` cannot be had: {answer}")]
    Answered {
        /// The object.
        place: String,
        /// What the server said.
        answer: Answer,
    },
    /// It did not come as far as an answer, or the answer broke off.
    #[error("cannot fetch `{place}`")]
    Failed {
        /// The object.
        place: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The object ended before its end.
    #[error("`{place}` broke off\n  expected {expected} bytes\n  received {received}")]
    Truncated {
        /// The object.
        place: String,
        /// How many bytes it has.
        expected: u64,
        /// How many came.
        received: u64,
    },
}

impl Error {
    /// Tells whether there is no such object.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// Tells whether other credentials could help.
    pub fn is_about_credentials(&self) -> bool {
        matches!(self, Self::NoCredentials { .. } | Self::Refused { .. })
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        Self::other(error)
    }
}

/// What a server said instead of what was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Its code, such as `NoSuchKey`; may be empty.
    pub code: String,
    /// Its message; may be empty.
    pub message: String,
}

/// No code and no message is longer; the rest is left out.
const LONGEST: usize = 300;

impl Answer {
    /// Reads the code and the message of an answer, in XML as S3, Azure and Google Cloud Storage have it
    /// or in JSON as the services for tokens have it.
    ///
    /// The rest may repeat what was signed, a session's token among it, and is not looked at. What of it
    /// was `sent` as a secret is hidden.
    pub(crate) fn read(status: u16, body: &[u8], sent: &Sent) -> Self {
        let text = String::from_utf8_lossy(body);
        let any = |names: &[&str]| names.iter().find_map(|name| field(&text, name, sent));
        Self {
            status,
            code: any(&["Code", "error"]).unwrap_or_default(),
            message: any(&["Message", "error_description", "message"]).unwrap_or_default(),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status {}", self.status)?;
        if !self.code.is_empty() {
            write!(f, " {}", self.code)?;
        }
        if !self.message.is_empty() {
            write!(f, ", \"{}\"", self.message)?;
        }
        Ok(())
    }
}

/// Finds `<NAME>…</NAME>` or `"NAME": "…"`.
fn field(text: &str, name: &str, sent: &Sent) -> Option<String> {
    let in_xml = || {
        let (_, after) = text.split_once(&format!("<{name}>"))?;
        Some(after.split_once("</")?.0)
    };
    let in_json = || {
        let (_, after) = text.split_once(&format!("\"{name}\""))?;
        let after = after.trim_start().strip_prefix(':')?.trim_start();
        Some(after.strip_prefix('"')?.split_once('"')?.0)
    };
    let found = in_xml().or_else(in_json)?;
    // Azure writes several lines, the first of which says it.
    let line = found.lines().next().unwrap_or_default();
    // Before it is cut: what is left of a secret would not be found.
    let line = sent.hidden(line);
    let shown = line.chars().filter(|char| !char.is_control());
    Some(shown.take(LONGEST).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_servers_say() {
        #[track_caller]
        fn check(body: &str, expected: &str) {
            let answer = Answer::read(403, body.as_bytes(), &Sent::default());
            assert_eq!(answer.to_string(), expected);
        }
        check("", "status 403");
        check(
            "<Error><Code>SignatureDoesNotMatch</Code><Message>The signature does not match</Message>\
             <CanonicalRequest>x-amz-security-token:SECRET</CanonicalRequest></Error>",
            "status 403 SignatureDoesNotMatch, \"The signature does not match\"",
        );
        check(
            "<Error><Code>BlobNotFound</Code><Message>It is not there.\nRequestId:1\nTime:2</Message>",
            "status 403 BlobNotFound, \"It is not there.\"",
        );
        check(
            r#"{"error": "invalid_grant", "error_description": "no"}"#,
            "status 403 invalid_grant, \"no\"",
        );
        check("<Code>\u{1b}[31m", "status 403");
        check("<Code>\u{1b}[31m</Code>", "status 403 [31m");
        check(
            &format!("<Code>{}</Code>", "é".repeat(999)),
            &format!("status 403 {}", "é".repeat(300)),
        );
    }
}
