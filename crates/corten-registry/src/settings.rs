//! What a client is told by who makes it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use crate::certificates::Certificates;
use crate::credential_files::CredentialFiles;
use crate::credentials::Login;
use crate::retry::RetryPolicy;
use crate::rules::Rules;
use crate::url::{is_loopback, without_secrets};
use crate::{Result, Url};

/// What a [`Client`](crate::Client) goes by. Nothing here is read from the environment.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How to sign in, by registry, before any file is looked into.
    pub logins: BTreeMap<String, Login>,
    /// The files that hold credentials.
    pub credentials: CredentialFiles,
    /// What is asked before a registry itself when something is pulled.
    pub mirrors: Vec<Mirror>,
    /// What configuration files say about repositories: their mirrors come after those.
    pub rules: Rules,
    /// Whether a registry that has mirrors is itself not asked for what none of them has.
    pub only_mirrors: bool,
    /// Hosts, with their port if they have one, that are spoken to without TLS. Loopback hosts
    /// always are.
    pub plain_http: Vec<String>,
    /// Hosts whose certificate is not checked.
    pub insecure: Vec<String>,
    /// A PEM file of certificates that are trusted beside the system's.
    pub ca_file: Option<PathBuf>,
    /// Certificates of single hosts, ours among them. A loopback host that has some is spoken to with
    /// TLS.
    pub certificates: Certificates,
    /// The proxies to go through.
    pub proxies: Proxies,
    /// What we call ourselves.
    pub user_agent: String,
    /// When to give up waiting.
    pub timeouts: Timeouts,
    /// When all work has to have ended, finished or not.
    pub deadline: Option<Instant>,
    /// How long to wait between the beginnings of two requests to a host, whoever makes them.
    pub apart: Duration,
    /// When to ask again.
    pub retry: RetryPolicy,
    /// When a blob comes over several connections.
    pub chunks: Chunks,
    /// Set by who wants all work to end; looked at between reads and while waiting.
    pub cancel: Arc<AtomicBool>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            logins: BTreeMap::new(),
            credentials: CredentialFiles::default(),
            mirrors: Vec::new(),
            rules: Rules::default(),
            only_mirrors: false,
            plain_http: Vec::new(),
            insecure: Vec::new(),
            ca_file: None,
            certificates: Certificates::default(),
            proxies: Proxies::default(),
            user_agent: concat!("corten/", env!("CARGO_PKG_VERSION")).to_owned(),
            timeouts: Timeouts::default(),
            deadline: None,
            apart: Duration::ZERO,
            retry: RetryPolicy::default(),
            chunks: Chunks::default(),
            cancel: Arc::default(),
        }
    }
}

impl Settings {
    /// Returns the root of the API of the registry that users call `host`.
    pub(crate) fn base(&self, host: &str) -> Result<Url> {
        // Docker Hub's API has never been at the name that its images have.
        let authority = if host == "docker.io" {
            "registry-1.docker.io"
        } else {
            host
        };
        let has_no_tls = is_loopback(authority) && self.certificates.directory(authority).is_none();
        let is_plain = has_no_tls || self.plain_http.iter().any(|plain| plain == host);
        let scheme = if is_plain { "http" } else { "https" };
        Url::parse(&format!("{scheme}://{authority}/v2"))
    }
}

/// A registry that holds copies of what another has.
#[derive(Clone, PartialEq, Eq)]
pub struct Mirror {
    /// The registry that is mirrored, such as `docker.io`.
    pub of: String,
    /// Where the mirror is: a host, or a URL whose path comes before `/v2`.
    pub base: String,
    /// What stands before the names of repositories there, such as `proxy/docker.io`; may be empty.
    pub prefix: String,
}

impl Mirror {
    /// Returns the root of the mirror's API, and its host, which its own credentials go by.
    pub(crate) fn base(&self, settings: &Settings) -> Result<(Url, String)> {
        if !self.base.contains("://") {
            return Ok((settings.base(&self.base)?, self.base.clone()));
        }
        let url = Url::parse(&self.base)?;
        let host = url.authority().to_owned();
        Ok((url.below("v2"), host))
    }
}

impl fmt::Debug for Mirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mirror")
            .field("of", &self.of)
            .field("base", &without_secrets(&self.base))
            .field("prefix", &self.prefix)
            .finish()
    }
}

/// Proxies, as the usual environment variables name them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// The proxy for `http` URLs.
    pub http: Option<String>,
    /// The proxy for `https` URLs.
    pub https: Option<String>,
    /// Hosts, and with a leading dot or star their subdomains, that are reached directly. `*` is
    /// every host. Loopback hosts always are.
    pub bypass: Vec<String>,
}

impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |proxy: &Option<String>| proxy.as_deref().map(without_secrets);
        f.debug_struct("Proxies")
            .field("http", &shown(&self.http))
            .field("https", &shown(&self.https))
            .field("bypass", &self.bypass)
            .finish()
    }
}

impl Proxies {
    /// Returns the proxy for `url`, if one is to be used.
    pub(crate) fn of(&self, url: &Url) -> Option<&str> {
        let proxy = if url.is_secure() {
            &self.https
        } else {
            &self.http
        };
        let proxy = proxy.as_deref().filter(|proxy| !proxy.is_empty())?;
        let host = url.host();
        let bypassed = is_loopback(host) || self.bypass.iter().any(|entry| bypasses(entry, host));
        (!bypassed).then_some(proxy)
    }
}

fn bypasses(entry: &str, host: &str) -> bool {
    let entry = entry.trim();
    let domain = entry.trim_start_matches('*').trim_start_matches('.');
    if domain.is_empty() {
        return entry == "*";
    }
    host.strip_suffix(domain)
        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// When to give up waiting for a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection, with its name's look-up and TLS.
    pub connect: Duration,
    /// Between two bytes that come or go. There is no limit for the whole: a layer may be large.
    pub stall: Duration,
    /// For the head of an answer, and, instead of `stall`, for anything to come after an upload:
    /// a registry over an object store copies a whole layer before it says that it has it.
    pub answer: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            stall: Duration::from_secs(30),
            answer: Duration::from_mins(5),
        }
    }
}

/// How large blobs are pulled over several connections at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunks {
    /// How many connections one blob may have; 1 means that no blob is divided.
    pub connections: usize,
    /// How much has to be left of a blob to divide it, in bytes.
    pub from: u64,
    /// How long the parts are, in bytes. As many as there are connections are kept in memory, and one
    /// more.
    pub length: u64,
}

impl Default for Chunks {
    fn default() -> Self {
        Self {
            connections: 4,
            from: 64 << 20,
            length: 8 << 20,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_an_api_is() {
        #[track_caller]
        fn check(host: &str, expected: &str) {
            let settings = Settings {
                plain_http: vec!["plain.example:5000".into()],
                ..Settings::default()
            };
            assert_eq!(settings.base(host).unwrap().to_string(), expected);
        }
        check("docker.io", "https://registry-1.docker.io/v2");
        check("ghcr.io", "https://ghcr.io/v2");
        check("localhost:5000", "http://localhost:5000/v2");
        check("[::1]:5000", "http://[::1]:5000/v2");
        check("plain.example:5000", "http://plain.example:5000/v2");
        check("plain.example", "https://plain.example/v2");
    }

    #[test]
    fn where_a_mirror_is() {
        #[track_caller]
        fn check(base: &str, expected: &str, host: &str) {
            let mirror = Mirror {
                of: "docker.io".into(),
                base: base.into(),
                prefix: String::new(),
            };
            let (url, found) = mirror.base(&Settings::default()).unwrap();
            assert_eq!((url.to_string().as_str(), found.as_str()), (expected, host));
        }
        check(
            "mirror.example",
            "https://mirror.example/v2",
            "mirror.example",
        );
        check("http://m:5000", "http://m:5000/v2", "m:5000");
        check(
            "https://m/artifacts/hub/",
            "https://m/artifacts/hub/v2",
            "m",
        );
    }

    #[test]
    fn which_proxy() {
        #[track_caller]
        fn check(url: &str, expected: Option<&str>) {
            let proxies = Proxies {
                http: Some("http://p:1".into()),
                https: Some("http://p:2".into()),
                bypass: vec![
                    "a.example".into(),
                    ".b.example".into(),
                    " *.c.example ".into(),
                ],
            };
            assert_eq!(proxies.of(&Url::parse(url).unwrap()), expected, "{url}");
        }
        check("https://x/", Some("http://p:2"));
        check("http://x/", Some("http://p:1"));
        check("https://a.example:5000/", None);
        check("https://x.b.example/", None);
        check("https://x.c.example/", None);
        check("https://xa.example/", Some("http://p:2"));
        check("http://127.0.0.1:5000/", None);
        let proxies = Proxies {
            https: Some("http://me:s3cret@p:2".into()),
            ..Proxies::default()
        };
        assert!(!format!("{proxies:?}").contains("s3cret"));
        assert!(bypasses("*", "anything") && !bypasses("", "anything"));
    }
}
