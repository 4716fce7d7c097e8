//! References: what a user types to name an image in a registry.

use std::fmt;
use std::str::FromStr;

use crate::digest::shorten;
use crate::{Digest, Error, Result};

/// A registry, a repository in it, and a tag, a digest or both.
///
/// Always complete: `debian` is `docker.io/library/debian`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// The registry that a reference without one means.
const DEFAULT_REGISTRY: &str = "docker.io";
const DEFAULT_TAG: &str = "latest";

impl Reference {
    /// Returns the registry's host and, where given, port.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Returns the repository, such as `library/debian`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Returns the tag, if one was given.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// Returns the digest, if one was given.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Returns the same reference with the tag `latest`, if it has neither tag nor digest.
    #[must_use]
    pub fn or_latest(mut self) -> Self {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some(DEFAULT_TAG.to_owned());
        }
        self
    }

    /// Returns what to ask the registry for: the digest, else the tag, else `latest`.
    pub fn identifier(&self) -> &str {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.as_str(),
            (None, Some(tag)) => tag,
            (None, None) => DEFAULT_TAG,
        }
    }

    /// Returns the name of the repository with its registry.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// Returns the reference as people write it: without `docker.io/library/`, where it then still
    /// names the same.
    pub fn familiar(&self) -> String {
        let full = self.to_string();
        let short = ["docker.io/library/", "docker.io/"]
            .iter()
            .filter_map(|prefix| full.strip_prefix(prefix))
            // Without its host, `docker.io/localhost/a` would be on another one.
            .find(|short| short.parse().is_ok_and(|read: Self| read == *self))
            .map(str::to_owned);
        short.unwrap_or(full)
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let invalid = |reason| Error::InvalidReference {
            text: shorten(text),
            reason,
        };
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse::<Digest>()?)),
            None => (text, None),
        };
        // A colon after the last slash starts a tag; one before it belongs to a port.
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        if let Some(tag) = tag
            && !is_tag(tag)
        {
            return Err(invalid("a tag is `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`"));
        }
        let (registry, repository) = split_registry(name);
        if !is_registry(registry) {
            return Err(invalid(
                "the registry is not a host name with an optional port",
            ));
        }
        if !repository.split('/').all(is_repository_component) {
            return Err(invalid(
                "a repository is lower-case letters and digits, joined by `.`, `_`, `__` or `-`, \
                 in parts joined by `/`",
            ));
        }
        let is_id = text.len() == 64
            && text
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if is_id {
            // Who types an image's id means that image, not one of Docker Hub's.
            return Err(invalid(
                "64 hexadecimal digits are an image's id, not a name",
            ));
        }
        let official = registry == DEFAULT_REGISTRY && !repository.contains('/');
        let repository = if official {
            format!("library/{repository}")
        } else {
            repository.to_owned()
        };
        if repository.len() > 255 {
            return Err(invalid("the repository is longer than 255 characters"));
        }
        Ok(Self {
            registry: registry.to_owned(),
            repository,
            tag: tag.map(str::to_owned),
            digest,
        })
    }
}

/// Splits off the registry: a first part with a dot or a colon, or `localhost`, is a host.
fn split_registry(name: &str) -> (&str, &str) {
    match name.split_once('/') {
        Some(("index.docker.io" | "registry-1.docker.io", repository)) => {
            (DEFAULT_REGISTRY, repository)
        }
        Some((host, repository))
            if host.contains(['.', ':'])
                || host == "localhost"
                || host.bytes().any(|byte| byte.is_ascii_uppercase()) =>
        {
            (host, repository)
        }
        _ => (DEFAULT_REGISTRY, name),
    }
}

fn is_registry(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let Some((address, port)) = rest.split_once(']') else {
                return false;
            };
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            (
                None,
                port.strip_prefix(':')
                    .or(if port.is_empty() { None } else { Some("") }),
            )
        }
        None => match text.split_once(':') {
            Some((host, port)) => (Some(host), Some(port)),
            None => (Some(text), None),
        },
    };
    let is_label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.is_none_or(|host| host.split('.').all(is_label))
        && port.is_none_or(|port| !port.starts_with('+') && port.parse::<u16>().is_ok())
}

/// Checks `text` against the grammar of a tag (distribution-spec, Pull).
pub fn is_tag(text: &str) -> bool {
    let mut bytes = text.bytes();
    text.len() <= 128
        && bytes
            .next()
            .is_some_and(|first| first.is_ascii_alphanumeric() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

fn is_repository_component(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    is_word(first)
        && is_word(last)
        && bytes.split(|&byte| is_word(byte)).all(|separator| {
            matches!(separator, b"" | b"." | b"_" | b"__")
                || separator.iter().all(|&byte| byte == b'-')
        })
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        self.digest
            .as_ref()
            .map_or(Ok(()), |digest| write!(f, "@{digest}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_and_familiar_forms() {
        #[track_caller]
        fn check(text: &str, full: &str, familiar: &str) {
            let reference: Reference = text.parse().unwrap();
            assert_eq!(reference.to_string(), full, "{text:?}");
            assert_eq!(reference.familiar(), familiar, "{text:?}");
            assert_eq!(full.parse::<Reference>().unwrap(), reference, "{text:?}");
            assert_eq!(
                familiar.parse::<Reference>().unwrap(),
                reference,
                "{text:?}"
            );
        }
        check("debian", "docker.io/library/debian", "debian");
        check("debian:12", "docker.io/library/debian:12", "debian:12");
        // What would be another name is not shortened.
        for (text, familiar) in [
            ("library/a/b", "library/a/b"),
            ("docker.io/localhost/a", "docker.io/localhost/a"),
            ("docker.io/library/localhost/a", "library/localhost/a"),
        ] {
            let full = format!("docker.io/{}", text.trim_start_matches("docker.io/"));
            check(text, &full, familiar);
        }
        check("docker.io/debian", "docker.io/library/debian", "debian");
        check(
            "index.docker.io/library/debian:12",
            "docker.io/library/debian:12",
            "debian:12",
        );
        check("acme/app", "docker.io/acme/app", "acme/app");
        check("localhost/app:1", "localhost/app:1", "localhost/app:1");
        check(
            "localhost:5000/app",
            "localhost:5000/app",
            "localhost:5000/app",
        );
        check(
            "127.0.0.1:5000/a/b:t",
            "127.0.0.1:5000/a/b:t",
            "127.0.0.1:5000/a/b:t",
        );
        check("[::1]:5000/a", "[::1]:5000/a", "[::1]:5000/a");
        check(
            "ghcr.io/a__b/c.d-e--f_g",
            "ghcr.io/a__b/c.d-e--f_g",
            "ghcr.io/a__b/c.d-e--f_g",
        );
        let digest = format!("sha256:{}", "a".repeat(64));
        check(
            &format!("debian:12@{digest}"),
            &format!("docker.io/library/debian:12@{digest}"),
            &format!("debian:12@{digest}"),
        );
    }

    #[test]
    fn what_is_no_reference() {
        #[track_caller]
        fn check(text: &str) {
            assert!(text.parse::<Reference>().is_err(), "{text:?}");
        }
        for text in [
            "",
            ":",
            "a:",
            "Debian",
            "a___b",
            "a..b",
            "-a",
            "a-",
            "a/",
            "/a",
            "a//b",
            "a b",
            "../a",
            "localhost:5000/",
            "localhost:/a",
            "localhost:99999/a",
            "host.io/A",
            "a:-x",
            "a@sha256:1",
            "a@",
            "[::1/a",
            "[x]:1/a",
            "a..b.io/c",
            "https://a/b",
        ] {
            check(text);
        }
        check(&format!("a:{}", "t".repeat(129)));
        check(&"a/".repeat(200));
    }

    #[test]
    fn the_tag_asked_for() {
        assert_eq!("a".parse::<Reference>().unwrap().identifier(), "latest");
        assert_eq!(
            "a".parse::<Reference>().unwrap().or_latest().tag(),
            Some("latest")
        );
        let digest = format!("sha256:{}", "a".repeat(64));
        let reference: Reference = format!("a:t@{digest}").parse().unwrap();
        assert_eq!(reference.identifier(), digest);
    }
}
