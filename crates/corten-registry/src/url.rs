//! URLs as registries use them: `http` or `https`, printed without what could be secret.

use std::fmt;

use crate::{Error, Result};

/// An absolute `http` or `https` URL.
///
/// User info and fragments are dropped when it is read. [`Display`](fmt::Display) and
/// [`Debug`] leave out the query, where signed URLs carry their signature.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    secure: bool,
    authority: String,
    path: String,
    query: Option<String>,
}

impl Url {
    /// Reads an absolute URL.
    pub fn parse(text: &str) -> Result<Self> {
        let invalid = |reason| Error::InvalidUrl {
            url: without_secrets(text),
            reason,
        };
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(invalid("it has characters that a URL cannot have"));
        }
        let (scheme, rest) = text
            .split_once("://")
            .ok_or_else(|| invalid("expected `https://host/…`"))?;
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err(invalid("its scheme is neither `https` nor `http`")),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at(end);
        let authority = authority.rsplit('@').next().unwrap_or_default();
        if !is_authority(authority) {
            return Err(invalid("it has no valid host"));
        }
        let (path, query) = split_query(tail);
        Ok(Self {
            secure,
            authority: authority.to_ascii_lowercase(),
            path: if path.is_empty() { "/" } else { path }.to_owned(),
            query: query.map(str::to_owned),
        })
    }

    /// Returns the URL of `path`, which starts with a slash, at `authority`.
    pub fn of(secure: bool, authority: &str, path: &str) -> Self {
        Self {
            secure,
            authority: authority.to_owned(),
            path: path.to_owned(),
            query: None,
        }
    }

    /// Returns what `location`, a header's value, means relative to this URL (RFC 3986 section 5).
    pub fn join(&self, location: &str) -> Result<Self> {
        let location = location.trim();
        if location.contains("://") && !location.starts_with(['/', '?']) {
            return Self::parse(location);
        }
        let base = format!("{}://{}", self.scheme(), self.authority);
        if location.starts_with("//") {
            return Self::parse(&format!("{}:{location}", self.scheme()));
        }
        if location.starts_with('/') {
            return Self::parse(&format!("{base}{location}"));
        }
        if location.is_empty() || location.starts_with('?') {
            return Self::parse(&format!("{base}{}{location}", self.path));
        }
        let folder = self.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        Self::parse(&format!("{base}{folder}/{location}"))
    }

    /// Returns the URL with `name=value` added to its query, `value` escaped.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        let pair = format!("{name}={}", escape(value));
        self.query = Some(match self.query {
            Some(query) if !query.is_empty() => format!("{query}&{pair}"),
            Some(_) | None => pair,
        });
        self
    }

    /// Returns the URL of `tail` below this one's path; the query is dropped.
    #[must_use]
    pub fn below(&self, tail: &str) -> Self {
        let path = format!("{}/{tail}", self.path.trim_end_matches('/'));
        Self::of(self.secure, &self.authority, &path)
    }

    /// Returns the host with its port, if it names one.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Returns the host without its port.
    pub fn host(&self) -> &str {
        host_of(&self.authority)
    }

    /// Tells whether it is `https`.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// Tells whether what is meant for `other` may be sent here: same scheme, host and port.
    ///
    /// Registries differ in whether they spell out the port that goes without saying.
    pub fn has_origin_of(&self, other: &Self) -> bool {
        self.secure == other.secure && self.host() == other.host() && self.port() == other.port()
    }

    fn port(&self) -> u16 {
        let named = self.authority.strip_prefix(self.host());
        let named = named.and_then(|port| port.strip_prefix(':')?.parse().ok());
        named.unwrap_or(if self.secure { 443 } else { 80 })
    }

    /// Returns the whole URL, with its query: for the wire, never for a message.
    pub fn to_wire(&self) -> String {
        let query = self.query.as_ref().map(|query| format!("?{query}"));
        format!("{self}{}", query.unwrap_or_default())
    }

    fn scheme(&self) -> &'static str {
        if self.secure { "https" } else { "http" }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme(), self.authority, self.path)
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Url({self})")
    }
}

/// Tells whether `authority`, a host with or without a port, is this very machine.
pub fn is_loopback(authority: &str) -> bool {
    let host = host_of(authority);
    host == "localhost"
        || host.ends_with(".localhost")
        || host
            .parse::<std::net::Ipv4Addr>()
            .is_ok_and(|address| address.is_loopback())
        || host
            .trim_matches(['[', ']'])
            .parse::<std::net::Ipv6Addr>()
            .is_ok_and(|address| address.is_loopback())
}

/// Escapes everything in `text` that is not unreserved (RFC 3986 section 2.3), for a query.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:/,".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push('%');
            corten_spec::digest::push_hex(&[byte], &mut escaped);
        }
    }
    escaped
}

fn host_of(authority: &str) -> &str {
    if authority.starts_with('[') {
        let end = authority.find(']').map_or(authority.len(), |end| end + 1);
        return authority.split_at(end).0;
    }
    authority
        .split_once(':')
        .map_or(authority, |(host, _)| host)
}

fn is_authority(text: &str) -> bool {
    let host = host_of(text);
    let port = text.strip_prefix(host).unwrap_or_default();
    let is_host = match host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        }
    };
    is_host
        && (port.is_empty()
            || port.strip_prefix(':').is_some_and(|digits| {
                digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok()
            }))
}

fn split_query(tail: &str) -> (&str, Option<&str>) {
    match tail.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (tail, None),
    }
}

/// Returns what claims to be a URL without user info and query, for messages.
pub(crate) fn without_secrets(text: &str) -> String {
    let text = text.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), text),
    };
    let rest = rest.rsplit('@').next().unwrap_or_default();
    crate::refusal::printable(format!("{scheme}{rest}").as_bytes(), 200)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_and_what_is_printed() {
        #[track_caller]
        fn check(text: &str, wire: &str, printed: &str) {
            let url = Url::parse(text).unwrap();
            assert_eq!(
                (url.to_wire().as_str(), url.to_string().as_str()),
                (wire, printed)
            );
            assert!(!format!("{url:?}").contains("secret"));
        }
        check("https://a.b", "https://a.b/", "https://a.b/");
        check(
            "HTTPS://A.b:5000/x?sig=secret#f",
            "https://a.b:5000/x?sig=secret",
            "https://a.b:5000/x",
        );
        check("https://me:secret@a/x", "https://a/x", "https://a/x");
        check(
            "http://[::1]:80?q",
            "http://[::1]:80/?q",
            "http://[::1]:80/",
        );
    }

    #[test]
    fn what_is_no_url() {
        for text in [
            "",
            "a",
            "ftp://a/",
            "https://",
            "https:///x",
            "https://a b/",
            "https://a:x/",
            "https://a:99999/",
            "https://[x]/",
            "https://a/\u{e9}",
            "https://u:p@/x\n",
        ] {
            let error = Url::parse(text).unwrap_err().to_string();
            assert!(!error.contains("u:p"), "{error}");
        }
    }

    #[test]
    fn locations() {
        #[track_caller]
        fn check(location: &str, expected: &str) {
            let base = Url::parse("https://r.example:5000/v2/a/blobs/uploads/?x=1").unwrap();
            let joined = base
                .join(location)
                .map(|url| url.with("digest", "sha256:0").to_wire());
            assert_eq!(joined.ok().as_deref(), Some(expected), "{location:?}");
        }
        check(
            "https://s3.example/u",
            "https://s3.example/u?digest=sha256:0",
        );
        check(
            "/v2/a/blobs/uploads/1?_state=a%2Bb==",
            "https://r.example:5000/v2/a/blobs/uploads/1?_state=a%2Bb==&digest=sha256:0",
        );
        check(
            "uuid",
            "https://r.example:5000/v2/a/blobs/uploads/uuid?digest=sha256:0",
        );
        check(
            "?s=1",
            "https://r.example:5000/v2/a/blobs/uploads/?s=1&digest=sha256:0",
        );
        check("//other/x", "https://other/x?digest=sha256:0");
        check(
            "/x?next=http://y/",
            "https://r.example:5000/x?next=http://y/&digest=sha256:0",
        );
    }

    #[test]
    fn origins() {
        #[track_caller]
        fn check(one: &str, other: &str, expected: bool) {
            let (one, other) = (Url::parse(one).unwrap(), Url::parse(other).unwrap());
            assert_eq!(one.has_origin_of(&other), expected, "{one} {other}");
            assert_eq!(other.has_origin_of(&one), expected, "{one} {other}");
        }
        check("https://a/x", "https://A/y?z", true);
        check("https://a/", "https://a:443/", true);
        check("http://a:80/", "http://a/", true);
        check("https://[::1]:443/", "https://[::1]/", true);
        check("https://a:443/", "http://a:443/", false);
        check("https://a:80/", "https://a/", false);
        check("https://a/", "https://a.b/", false);
    }

    #[test]
    fn loopback_hosts() {
        for host in [
            "localhost",
            "localhost:5000",
            "127.0.0.1:1",
            "127.1.2.3",
            "[::1]:5",
            "[::1]",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "localhost.example",
            "127.0.0.1.example",
            "10.0.0.1",
            "[::2]:5",
            "128.0.0.1",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn values_are_escaped() {
        assert_eq!(
            escape("repository:a/b:pull,push"),
            "repository:a/b:pull,push"
        );
        assert_eq!(escape("a b&c=d+\u{e9}"), "a%20b%26c%3dd%2b%c3%a9");
    }
}
