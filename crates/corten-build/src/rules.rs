//! What is used for a source, by policies and the lock file: decisions, without fetching anything.

use corten_dockerfile::{GitUrl, without_credentials};
use corten_spec::{Digest, Reference};

use crate::lock::Lock;
use crate::policy::{Policy, PolicySource, evaluate};
use crate::{Error, Result};

/// What governs the sources of a build.
#[derive(Debug, Default)]
pub struct SourceRules {
    /// Policies, each of which may deny.
    pub policies: Vec<Policy>,
    /// What names have to be; `None` if they may be anything. It is asked after the policies.
    pub lock: Option<Lock>,
}

/// An image that is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuledImage {
    /// Its reference.
    pub reference: Reference,
    /// What it has to be, besides what the reference says.
    pub digest: Option<Digest>,
}

/// A file that is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuledFile {
    /// Its address, which may hold a password.
    pub url: String,
    /// What it has to be.
    pub digest: Option<Digest>,
}

impl SourceRules {
    /// Decides about an image.
    pub fn image(&self, reference: &Reference) -> Result<RuledImage> {
        let asked = format!("{IMAGE}{reference}");
        let source = self.evaluate(&asked)?;
        only(&source, &[])?;
        let reference = match source.identifier.strip_prefix(IMAGE) {
            Some(_) if source.identifier == asked => reference.clone(),
            Some(name) => name
                .parse()
                .map(Reference::or_latest)
                .map_err(|_| unusable(&asked, &source.identifier))?,
            None => return Err(unusable(&asked, &source.identifier)),
        };
        let digest = match &self.lock {
            Some(lock) => lock.image(&reference)?.cloned(),
            None => None,
        };
        Ok(RuledImage { reference, digest })
    }

    /// Decides about a file by HTTP.
    pub fn http(&self, url: &str) -> Result<RuledFile> {
        let source = self.evaluate(url)?;
        only(&source, &[CHECKSUM])?;
        let is_http = ["http://", "https://"];
        if !is_http.iter().any(|it| source.identifier.starts_with(it)) {
            return Err(unusable(url, &source.identifier));
        }
        let checksum = source
            .attrs
            .get(CHECKSUM)
            .map(|text| text.parse::<Digest>());
        let checksum = checksum.transpose().map_err(|error| Error::Policy {
            reason: format!("`{CHECKSUM}` of `{}`: {error}", without_credentials(url)),
        })?;
        let locked = match &self.lock {
            Some(lock) => Some(lock.http(&source.identifier)?.clone()),
            None => None,
        };
        Ok(RuledFile {
            url: source.identifier,
            digest: checksum.or(locked),
        })
    }

    /// Decides about a git repository. What is locked is named by its commit.
    pub fn git(&self, url: &GitUrl) -> Result<GitUrl> {
        let asked = git_identifier(url);
        let mut source = PolicySource::new(&asked);
        let remote = url.remote.clone();
        source.attrs.insert(FULL_URL.to_owned(), remote);
        self.apply(&mut source)?;
        only(&source, &[FULL_URL, GIT_CHECKSUM])?;
        let mut ruled = url.clone();
        if source.identifier != asked {
            let text = source.identifier.strip_prefix("git://");
            let (place, fragment) = text
                .map(|text| text.split_once('#').unwrap_or((text, "")))
                .ok_or_else(|| unusable(&asked, &source.identifier))?;
            let (reference, subdir) = fragment.split_once(':').unwrap_or((fragment, ""));
            ruled.reference = (!reference.is_empty()).then(|| reference.to_owned());
            subdir.clone_into(&mut ruled.subdir);
            if git_place(&url.remote) != place {
                ruled.remote = format!("https://{place}");
            }
        }
        if let Some(remote) = source.attrs.get(FULL_URL).filter(|to| **to != url.remote) {
            ruled.remote.clone_from(remote);
        }
        if let Some(checksum) = source.attrs.get(GIT_CHECKSUM) {
            ruled.checksum = Some(checksum.clone());
        }
        Ok(ruled)
    }

    /// Returns the commit that `url`, which [`git`](Self::git) returned, has to be.
    pub fn commit(&self, url: &GitUrl) -> Result<Option<&str>> {
        self.lock.as_ref().map(|lock| lock.git(url)).transpose()
    }

    /// Decides about something of this machine: `local://NAME`, `oci-layout://PATH`.
    pub fn local(&self, identifier: &str) -> Result<()> {
        let source = self.evaluate(identifier)?;
        if source.identifier == identifier {
            Ok(())
        } else {
            Err(unusable(identifier, &source.identifier))
        }
    }

    fn evaluate(&self, identifier: &str) -> Result<PolicySource> {
        let mut source = PolicySource::new(identifier);
        self.apply(&mut source)?;
        Ok(source)
    }

    fn apply(&self, source: &mut PolicySource) -> Result<()> {
        evaluate(&self.policies, source).map(drop)
    }
}

const IMAGE: &str = "docker-image://";
const CHECKSUM: &str = "http.checksum";
const GIT_CHECKSUM: &str = "git.checksum";
const FULL_URL: &str = "git.fullurl";

/// A policy that sets what is not heeded would seem to hold.
fn only(source: &PolicySource, known: &[&str]) -> Result<()> {
    match source
        .attrs
        .keys()
        .find(|key| !known.contains(&key.as_str()))
    {
        None => Ok(()),
        Some(key) => Err(Error::Policy {
            reason: format!(
                "`{key}` of `{}` cannot be set",
                without_credentials(&source.identifier)
            ),
        }),
    }
}

fn unusable(asked: &str, found: &str) -> Error {
    let [asked, found] = [asked, found].map(without_credentials);
    Error::Policy {
        reason: format!("`{asked}` cannot be converted to `{found}`"),
    }
}

/// Returns what BuildKit calls a repository: without scheme and user.
fn git_identifier(url: &GitUrl) -> String {
    let mut text = format!("git://{}", git_place(&url.remote));
    if url.reference.is_some() || !url.subdir.is_empty() {
        text.push('#');
        text.push_str(url.reference.as_deref().unwrap_or_default());
    }
    if !url.subdir.is_empty() {
        text.push(':');
        text.push_str(&url.subdir);
    }
    text
}

fn git_place(remote: &str) -> String {
    let (is_scp, rest) = match remote.split_once("://") {
        Some((_, rest)) => (false, rest),
        None => (true, remote),
    };
    let (authority, path) = match rest.find('/') {
        _ if is_scp => rest.split_once(':').unwrap_or((rest, "")),
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    format!("{host}/{}", path.trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(policy: &str) -> SourceRules {
        let text = format!("{{\"rules\": [{policy}]}}");
        SourceRules {
            policies: vec![Policy::parse(text.as_bytes()).unwrap()],
            lock: None,
        }
    }

    fn convert(from: &str, to: &str, attrs: &str) -> String {
        format!(
            r#"{{"action": "CONVERT", "selector": {{"identifier": "{from}"}},
                "updates": {{"identifier": "{to}", "attrs": {{{attrs}}}}}}}"#
        )
    }

    #[test]
    fn images() {
        #[track_caller]
        fn check(policy: &str, expected: Option<&str>) {
            let debian: Reference = "docker.io/library/debian:12".parse().unwrap();
            let found = rules(policy).image(&debian).ok();
            let found = found.map(|image| image.reference.to_string());
            assert_eq!(found.as_deref(), expected, "{policy}");
        }
        let all = "docker-image://docker.io/library/*";
        check("", Some("docker.io/library/debian:12"));
        check(
            &convert(all, "docker-image://m.io/$1", ""),
            Some("m.io/debian:12"),
        );
        check(&convert(all, "https://m.io/$1", ""), None);
        check(&convert(all, "docker-image://m.io/$1", r#""x": "y""#), None);
    }

    #[test]
    fn repositories() {
        #[track_caller]
        fn check(text: &str, policy: &str, expected: Option<(&str, Option<&str>)>) {
            let url = GitUrl::parse(text).unwrap().unwrap();
            let found = rules(policy).git(&url).ok();
            let found = found
                .as_ref()
                .map(|url| (url.remote.as_str(), url.reference.as_deref()));
            assert_eq!(found, expected, "{text} {policy}");
        }
        let main = "https://u:p@x.io/a/b.git#main:sub";
        let remote = "https://u:p@x.io/a/b.git";
        check(main, "", Some((remote, Some("main"))));
        let moved = convert(
            "git://x.io/a/b.git#main:sub",
            "git://x.io/a/b.git#v1:sub",
            "",
        );
        check(main, &moved, Some((remote, Some("v1"))));
        let moved = convert("git://x.io/*", "git://y.io/$1", "");
        check(main, &moved, Some(("https://y.io/a/b.git", Some("main"))));
        let moved = convert(
            "git://x.io/*",
            "git://x.io/$1",
            r#""git.fullurl": "https://z.io/c.git""#,
        );
        check(main, &moved, Some(("https://z.io/c.git", Some("main"))));
        let deny = r#"{"action": "DENY", "selector": {"identifier": "git://x.io/*"}}"#;
        check(main, deny, None);
        check("git@x.io:a/b.git", deny, None);
        check("git@y.io:a/b.git", deny, Some(("git@y.io:a/b.git", None)));
    }

    #[test]
    fn files() {
        let sum = format!(r#""http.checksum": "sha256:{}""#, "0".repeat(64));
        let url = "https://x.io/f";
        let file = rules(&convert(url, "https://y.io/f", &sum))
            .http(url)
            .unwrap();
        assert_eq!(file.url, "https://y.io/f");
        assert!(file.digest.is_some());
        assert!(
            rules(&convert(url, "", r#""http.perm": "1""#))
                .http(url)
                .is_err()
        );
        assert!(
            rules(&convert(url, "docker-image://a", ""))
                .http(url)
                .is_err()
        );
        assert_eq!(rules("").http(url).unwrap().digest, None);
    }

    #[test]
    fn what_a_lock_file_lacks_is_an_error() {
        let rules = SourceRules {
            policies: Vec::new(),
            lock: Some(Lock::of(&[])),
        };
        assert!(
            rules
                .image(&"docker.io/library/a:1".parse().unwrap())
                .is_err()
        );
        assert!(rules.http("https://x.io/f").is_err());
        let url = GitUrl::parse("https://x.io/a.git").unwrap().unwrap();
        assert!(rules.commit(&rules.git(&url).unwrap()).is_err());
        assert!(rules.local("local://context").is_ok());
    }
}
