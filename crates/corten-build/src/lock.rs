//! Lock files: what names of sources stood for, so that a later build uses the same.
//!
//! ```text
//! {
//!   "version": 1,
//!   "images": { "docker.io/library/debian:12": "sha256:…" },
//!   "http": { "https://example.org/file": "sha256:…" },
//!   "git": { "https://example.org/repository.git#main": "COMMIT" }
//! }
//! ```
//!
//! An image's digest is that of its index, where it has one: a lock file is for every platform.

use std::collections::BTreeMap;

use corten_dockerfile::{GitUrl, without_credentials};
use corten_spec::{Digest, Reference, document};
use serde::{Deserialize, Serialize};

use crate::{Error, Material, Result};

/// What names stand for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    version: u32,
    #[serde(default)]
    images: BTreeMap<String, Digest>,
    #[serde(default)]
    http: BTreeMap<String, Digest>,
    #[serde(default)]
    git: BTreeMap<String, String>,
}

const VERSION: u32 = 1;

impl Lock {
    /// Returns what `materials` were found to be. What names its digest or commit itself needs no lock,
    /// and an image of this store alone, which has no reference, has none.
    pub fn of<'a>(materials: impl IntoIterator<Item = &'a Material>) -> Self {
        let mut lock = Self {
            version: VERSION,
            images: BTreeMap::new(),
            http: BTreeMap::new(),
            git: BTreeMap::new(),
        };
        for material in materials {
            match material {
                Material::Image {
                    reference: Some(reference),
                    digest,
                    ..
                } => {
                    if !reference.contains('@') {
                        lock.images.insert(reference.clone(), digest.clone());
                    }
                }
                Material::Image {
                    reference: None, ..
                } => {}
                Material::Http { url, digest } => {
                    lock.http.insert(url.clone(), digest.clone());
                }
                Material::Git {
                    remote,
                    reference,
                    commit,
                } => {
                    let key = git_key(remote, reference.as_deref());
                    lock.git.insert(key, commit.clone());
                }
            }
        }
        lock
    }

    /// Reads a lock file.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let failed = |reason: String| Error::Lock { reason };
        let lock: Self =
            serde_json::from_slice(bytes).map_err(|error| failed(error.to_string()))?;
        if lock.version != VERSION {
            return Err(failed(format!(
                "its version is {}, and {VERSION} is known",
                lock.version
            )));
        }
        let is_commit = |text: &String| {
            matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
        };
        if let Some((name, commit)) = lock.git.iter().find(|(_, commit)| !is_commit(commit)) {
            return Err(failed(format!("`{commit}` of `{name}` is no commit")));
        }
        Ok(lock)
    }

    /// Returns the text of the file: the same for the same lock.
    pub fn to_text(&self) -> String {
        let bytes = document::to_bytes(self);
        let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
        format!("{value:#}\n")
    }

    /// Returns what an image has to be; `None` if its reference says so itself.
    pub fn image(&self, reference: &Reference) -> Result<Option<&Digest>> {
        match reference.digest() {
            Some(_) => Ok(None),
            None => found(&self.images, &reference.to_string()).map(Some),
        }
    }

    /// Returns what the file at `url` has to be.
    pub fn http(&self, url: &str) -> Result<&Digest> {
        found(&self.http, &without_credentials(url))
    }

    /// Returns the commit that `url` has to be.
    pub fn git(&self, url: &GitUrl) -> Result<&str> {
        let remote = without_credentials(&url.remote);
        let key = git_key(&remote, url.reference.as_deref());
        found(&self.git, &key).map(String::as_str)
    }
}

fn git_key(remote: &str, reference: Option<&str>) -> String {
    match reference {
        Some(reference) => format!("{remote}#{reference}"),
        None => remote.to_owned(),
    }
}

fn found<'a, T>(of: &'a BTreeMap<String, T>, name: &str) -> Result<&'a T> {
    of.get(name).ok_or_else(|| Error::Unlocked {
        source_name: name.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_is_found_again() {
        let digest = Digest::sha256(b"x");
        let image = |reference: Option<&str>| Material::Image {
            name: "n".to_owned(),
            reference: reference.map(str::to_owned),
            digest: digest.clone(),
            platform: "linux/amd64".to_owned(),
        };
        let pinned = format!("docker.io/library/a@{digest}");
        let commit = "0123456789012345678901234567890123456789".to_owned();
        let materials = [
            image(Some("docker.io/library/debian:12")),
            image(Some(&pinned)),
            image(None),
            Material::Http {
                url: without_credentials("https://u:p@x.io/f"),
                digest: digest.clone(),
            },
            Material::Git {
                remote: "https://x.io/r.git".to_owned(),
                reference: Some("main".to_owned()),
                commit: commit.clone(),
            },
        ];
        let lock = Lock::of(&materials);
        assert_eq!(Lock::parse(lock.to_text().as_bytes()).unwrap(), lock);
        let image = |name: &str| {
            lock.image(&name.parse().unwrap())
                .map(Option::<&Digest>::cloned)
        };
        assert_eq!(
            image("docker.io/library/debian:12").unwrap(),
            Some(digest.clone())
        );
        assert_eq!(image(&pinned).unwrap(), None);
        assert!(matches!(
            image("docker.io/library/debian:13"),
            Err(Error::Unlocked { .. })
        ));
        // A password is no part of the name.
        assert_eq!(lock.http("https://u:p@x.io/f").unwrap(), &digest);
        assert!(!lock.to_text().contains("u:p"));
        assert!(lock.http("https://x.io/g").is_err());
        let git = |text: &str| {
            let url = GitUrl::parse(text).unwrap().unwrap();
            lock.git(&url).map(str::to_owned)
        };
        assert_eq!(git("https://x.io/r.git#main:sub").unwrap(), commit);
        assert!(git("https://x.io/r.git").is_err());
    }

    #[test]
    fn what_is_no_lock_file() {
        #[track_caller]
        fn check(text: &str, expected: &str) {
            let error = Lock::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        check("", "EOF");
        check(r#"{"version": 2}"#, "version is 2");
        check(r#"{"version": 1, "image": {}}"#, "unknown field");
        check(r#"{"version": 1, "images": {"a": "b"}}"#, "");
        check(r#"{"version": 1, "git": {"a": "-x"}}"#, "no commit");
    }
}
