//! What `ADD` fetches: files over HTTP, trees of git repositories.

use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use corten_build::remote::Failure;
use corten_build::rules::SourceRules;
use corten_build::{GitCommit, GitFiles, HttpAnswer, Remotes, Validators};
use corten_dockerfile::{Address, GitUrl, without_credentials};
use corten_registry::transport::{Body, Headers, Method, Request, Response};
use corten_registry::{Secret, Transport as _, Url, Wire, redirect};
use corten_sandbox::Cancel;
use corten_spec::Digest;

use crate::context::Context;
use crate::error::CommandError;
use crate::registry::RegistryArgs;
use crate::remotes::git::{self, Access, Resolved};
use crate::scratch::ScratchDir;

/// Fetches for one build, in the way in which registries are reached.
#[derive(Debug)]
pub(crate) struct Fetcher<'a> {
    ctx: &'a Context,
    registry: &'a RegistryArgs,
    rules: &'a SourceRules,
    wire: OnceLock<Wire>,
}

impl<'a> Fetcher<'a> {
    pub(crate) fn new(
        ctx: &'a Context,
        registry: &'a RegistryArgs,
        rules: &'a SourceRules,
    ) -> Self {
        Self {
            ctx,
            registry,
            rules,
            wire: OnceLock::new(),
        }
    }

    fn wire(&self) -> Result<&Wire, CommandError> {
        if let Some(wire) = self.wire.get() {
            return Ok(wire);
        }
        let wire = Wire::new(&self.registry.settings(self.ctx)).map_err(CommandError::caused)?;
        Ok(self.wire.get_or_init(|| wire))
    }

    /// Sends a request to where redirects lead; the secret for its server, or else the user and the
    /// password in `address`, go to no server but its own.
    pub(crate) fn get(&self, address: &str, headers: &Headers) -> Result<Response, CommandError> {
        let mut url = Url::parse(address).map_err(CommandError::caused)?;
        let secret = self.registry.server_secrets.of_file(&url)?;
        let mut authorization = secret.or_else(|| authorization(address).map(Secret::new));
        for _ in 0..=redirect::LIMIT {
            let mut headers = headers.clone();
            if let Some(authorization) = &authorization {
                headers.add("Authorization", authorization.expose());
            }
            let request = Request {
                method: Method::Get,
                url: url.clone(),
                headers,
                body: Body::Empty,
            };
            let answer = self.wire()?.send(request).map_err(CommandError::caused)?;
            let location = answer.headers.value("location");
            let next = redirect::follow(Method::Get, &url, answer.status, location);
            let Some(next) = next.map_err(CommandError::caused)? else {
                return Ok(answer);
            };
            if !next.keeps_authorization {
                authorization = None;
            }
            url = next.url;
        }
        Err(CommandError::failed(format!(
            "there are more than {} redirects",
            redirect::LIMIT
        )))
    }

    fn fetch(&self, address: &str, known: &Validators) -> Result<HttpAnswer, CommandError> {
        let mut headers = Headers::new();
        if let Some(etag) = &known.etag {
            headers.add("If-None-Match", etag);
        } else if let Some(time) = &known.last_modified {
            headers.add("If-Modified-Since", time);
        }
        let answer = self.get(address, &headers)?;
        let value = |name: &str| answer.headers.value(name).map(str::to_owned);
        let validators = Validators {
            etag: value("etag"),
            last_modified: value("last-modified"),
        };
        match answer.status {
            304 => Ok(HttpAnswer::Unchanged),
            // Some servers tell what they have and send it all the same.
            200 if is_same(known.etag.as_deref(), validators.etag.as_deref()) => {
                Ok(HttpAnswer::Unchanged)
            }
            200 => Ok(HttpAnswer::File {
                body: answer.body,
                validators,
            }),
            status => Err(CommandError::failed(format!(
                "the server answered with status {status}"
            ))),
        }
    }

    fn access<'b>(&'b self, cancel: &'b Cancel) -> Access<'b> {
        Access {
            ctx: self.ctx,
            registry: Some(self.registry),
            cancel,
        }
    }

    fn resolve(&self, url: &GitUrl, cancel: &Cancel) -> Result<GitCommit, CommandError> {
        let scratch = ScratchDir::new(self.ctx)?;
        let Resolved {
            object,
            peeled,
            name,
        } = git::resolve(url, scratch.path(), &self.access(cancel))?;
        Ok(GitCommit {
            commit: peeled.unwrap_or_else(|| object.clone()),
            object,
            reference: name,
        })
    }
}

impl Remotes for Fetcher<'_> {
    fn http(&self, url: &Address, known: &Validators) -> Result<HttpAnswer, Failure> {
        let ruled = self.rules.http(url.reveal())?;
        // What is known is known of the address that the Dockerfile has.
        let unknown = Validators::default();
        let known = if ruled.url == url.reveal() {
            known
        } else {
            &unknown
        };
        self.fetch(&ruled.url, known)
            .map_err(CommandError::into_cause)
    }

    fn pinned(&self, url: &Address) -> Result<Option<Digest>, Failure> {
        Ok(self.rules.http(url.reveal())?.digest)
    }

    fn git_commit(&self, url: &GitUrl, cancel: &Cancel) -> Result<GitCommit, Failure> {
        let ruled = self.rules.git(url)?;
        let found = match self.rules.commit(&ruled)? {
            Some(commit) => GitCommit {
                commit: commit.to_owned(),
                object: commit.to_owned(),
                reference: None,
            },
            None => self
                .resolve(&ruled, cancel)
                .map_err(CommandError::into_cause)?,
        };
        let expected = ruled.checksum.as_deref().unwrap_or_default();
        if found.commit.starts_with(expected) || found.object.starts_with(expected) {
            return Ok(found);
        }
        Err(Box::new(corten_build::Error::WrongCommit {
            address: without_credentials(&ruled.remote),
            expected: expected.to_owned(),
            received: found.commit,
        }))
    }

    fn git_checkout(
        &self,
        url: &GitUrl,
        commit: &GitCommit,
        cancel: &Cancel,
    ) -> Result<GitFiles, Failure> {
        let resolved = Resolved {
            // With its history kept, a tag stays what it is.
            object: if url.keep_git_dir == Some(true) {
                commit.object.clone()
            } else {
                commit.commit.clone()
            },
            peeled: None,
            name: commit.reference.clone(),
        };
        let ruled = self.rules.git(url)?;
        let check_out = || -> Result<GitFiles, CommandError> {
            let scratch = ScratchDir::new(self.ctx)?;
            let into = scratch.path();
            let checkout = git::checkout_of(&ruled, Some(&resolved), into, &self.access(cancel))?;
            Ok(GitFiles {
                path: checkout.path,
                keeper: Box::new(scratch),
            })
        };
        check_out().map_err(CommandError::into_cause)
    }
}

/// Tells whether two tags of entities are the same; whether they are weak does not matter here.
fn is_same(known: Option<&str>, found: Option<&str>) -> bool {
    fn bare(tag: &str) -> &str {
        tag.strip_prefix("W/").unwrap_or(tag)
    }
    known.is_some() && known.map(bare) == found.map(bare)
}

/// Returns the header for the user and password in `address`, if it has them.
fn authorization(address: &str) -> Option<String> {
    let (_, rest) = address.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let (user_info, _) = authority.rsplit_once('@')?;
    let (user, password) = user_info.split_once(':').unwrap_or((user_info, ""));
    let pair = [&decoded(user)[..], b":", &decoded(password)[..]].concat();
    Some(format!("Basic {}", STANDARD.encode(pair)))
}

/// Decodes what is written with `%`; what is no such thing stays.
fn decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let digit = |at: usize| {
            let digit = after.get(at).map(|byte| char::from(*byte));
            digit.and_then(|digit| digit.to_digit(16))
        };
        let pair = digit(0).zip(digit(1)).filter(|_| first == b'%');
        let value = pair.and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
        bytes.push(value.unwrap_or(first));
        rest = after
            .get(if value.is_some() { 2 } else { 0 }..)
            .unwrap_or_default();
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_passwords() {
        #[track_caller]
        fn check(address: &str, expected: Option<&str>) {
            let expected = expected.map(|pair| format!("Basic {}", STANDARD.encode(pair)));
            assert_eq!(authorization(address), expected, "{address}");
        }
        check("https://h/a@b", None);
        check("https://u:p@h/", Some("u:p"));
        check("https://token@h", Some("token:"));
        check("https://u:p%40q%zz@h?x", Some("u:p@q%zz"));
        check("https://u:p@q@h", Some("u:p@q"));
    }

    #[test]
    fn tags_of_entities() {
        assert!(is_same(Some("W/\"a\""), Some("\"a\"")));
        assert!(!is_same(Some("\"a\""), Some("\"b\"")));
        assert!(!is_same(Some("\"a\""), None));
        assert!(!is_same(None, None));
    }
}
