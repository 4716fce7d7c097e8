//! What a registry says when it refuses (distribution-spec, Error Codes).

use std::fmt;

use serde::Deserialize;

use crate::credentials::{Credentials, Login};

/// The answer of a registry that did not do what it was asked to.
#[derive(Debug)]
pub struct Refusal {
    /// The host that refused.
    pub host: String,
    /// The HTTP status.
    pub status: u16,
    /// The code, such as `DENIED`, where the body was one of the specification's.
    pub code: Option<String>,
    /// What the registry said, cut to 200 printable characters.
    pub message: String,
    /// Who was signed in, and where those credentials came from.
    pub login: Option<SignedIn>,
    /// What the token has to allow, such as `repository:acme/app:pull,push`.
    pub scope: String,
}

/// Under which name a registry was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedIn {
    /// The user; `None` for a token.
    pub user: Option<String>,
    /// Where the credentials came from, such as a path.
    pub origin: String,
}

impl SignedIn {
    /// Returns what may be told about `login`; `None` if nobody signs in.
    pub fn of(login: &Login) -> Option<Self> {
        let user = match &login.credentials {
            Credentials::None => return None,
            Credentials::Basic { username, .. } => Some(username.clone()),
            Credentials::IdentityToken(_) | Credentials::RegistryToken(_) => None,
        };
        Some(Self {
            user,
            origin: login.origin.clone(),
        })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} refused: {}", self.host, self.status)?;
        if let Some(code) = &self.code {
            write!(f, " {code}")?;
        }
        if !self.message.is_empty() {
            write!(f, ", \"{}\"", self.message)?;
        }
        let Some(login) = &self.login else {
            return Ok(());
        };
        match &login.user {
            Some(user) => write!(f, "\n  signed in as `{user}`")?,
            None => write!(f, "\n  signed in with a token")?,
        }
        write!(f, ", with the credentials in `{}`", login.origin)
    }
}

/// Reads the code and the message from an error's body; of anything but the specification's JSON
/// it keeps the beginning, so that a proxy's HTML page can be told from a registry's answer.
pub fn parse_body(body: &[u8]) -> (Option<String>, String) {
    #[derive(Deserialize)]
    struct Errors {
        errors: Vec<Entry>,
    }
    #[derive(Deserialize)]
    struct Entry {
        code: Option<String>,
        message: Option<String>,
    }
    // Token servers answer in the form of RFC 6749 section 5.2, or with `details`.
    #[derive(Deserialize)]
    struct Plain {
        #[serde(alias = "details", alias = "error")]
        message: Option<String>,
        error_description: Option<String>,
    }
    if let Ok(Errors { errors }) = serde_json::from_slice(body)
        && let Some(first) = errors.into_iter().next()
    {
        let code = first.code.map(|code| printable(code.as_bytes(), 64));
        let message = first.message.unwrap_or_default();
        return (code, printable(message.as_bytes(), 200));
    }
    if let Ok(plain) = serde_json::from_slice::<Plain>(body)
        && let Some(message) = plain.error_description.or(plain.message)
    {
        return (None, printable(message.as_bytes(), 200));
    }
    (None, printable(body, 200))
}

/// Returns the first `limit` characters of hostile text, on one line, without control characters.
pub fn printable(text: &[u8], limit: usize) -> String {
    let text = String::from_utf8_lossy(text);
    let words = text
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty());
    let mut printable = String::new();
    let mut n_chars = 0;
    for (word_idx, word) in words.enumerate() {
        let space = (word_idx > 0).then_some(' ');
        for c in space.into_iter().chain(word.chars()) {
            if n_chars >= limit {
                printable.push('…');
                return printable;
            }
            printable.push(c);
            n_chars += 1;
        }
    }
    printable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies() {
        #[track_caller]
        fn check(body: &str, code: Option<&str>, message: &str) {
            let (found_code, found) = parse_body(body.as_bytes());
            assert_eq!(
                (found_code.as_deref(), found.as_str()),
                (code, message),
                "{body}"
            );
        }
        check(
            r#"{"errors":[{"code":"DENIED","message":"no","detail":{"x":1}},{"code":"X"}]}"#,
            Some("DENIED"),
            "no",
        );
        check(r#"{"errors":[{"message":"only"}]}"#, None, "only");
        check(r#"{"errors":[]}"#, None, r#"{"errors":[]}"#);
        check(
            r#"{"details":"incorrect username"}"#,
            None,
            "incorrect username",
        );
        check(
            r#"{"error":"invalid_grant","error_description":"gone"}"#,
            None,
            "gone",
        );
        check(
            "<html>\r\n  <title>502 Bad\x1b[31m Gateway</title>\n</html>",
            None,
            "<html> <title>502 Bad [31m Gateway</title> </html>",
        );
        check("", None, "");
        check(&"é".repeat(300), None, &format!("{}…", "é".repeat(200)));
        check("[[[[", None, "[[[[");
    }

    #[test]
    fn what_a_refusal_says() {
        let mut refusal = Refusal {
            host: "ghcr.io".into(),
            status: 403,
            code: Some("DENIED".into()),
            message: "permission_denied: write_package".into(),
            login: None,
            scope: "repository:acme/app:pull,push".into(),
        };
        assert_eq!(
            refusal.to_string(),
            r#"ghcr.io refused: 403 DENIED, "permission_denied: write_package""#
        );
        refusal.login = Some(SignedIn {
            user: Some("ci-bot".into()),
            origin: "/home/ci/.docker/config.json".into(),
        });
        assert_eq!(
            refusal.to_string(),
            "ghcr.io refused: 403 DENIED, \"permission_denied: write_package\"\n  \
             signed in as `ci-bot`, with the credentials in `/home/ci/.docker/config.json`"
        );
    }
}
