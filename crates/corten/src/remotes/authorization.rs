//! Secrets of a build by which it signs in to servers of files and git repositories, by the names that
//! BuildKit gives them.
//!
//! ```text
//! HTTP_AUTH_HEADER_host  HTTP_AUTH_TOKEN_host      ADD of a file, contexts by HTTP; a host without its port
//! GIT_AUTH_HEADER.host   GIT_AUTH_TOKEN.host       git by HTTP; a host with its port, if it has one
//! GIT_AUTH_HEADER        GIT_AUTH_TOKEN            git by HTTP, of every host that the build names
//! ```
//!
//! What is sent is in no key, record or message. It goes to the server that an address names, and not
//! where that one redirects to.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use corten_registry::{Secret, Url};
use corten_sandbox::Content;

use crate::error::CommandError;

/// The secrets of a build that are for servers.
#[derive(Debug, Clone, Default)]
pub(crate) struct ServerSecrets(BTreeMap<String, Content>);

/// What git is told to send.
#[derive(Debug, Clone)]
pub(crate) struct GitHeader {
    /// The URL that everything it is sent to begins with.
    pub(crate) scope: String,
    /// The value of `Authorization`.
    pub(crate) value: Secret,
}

impl GitHeader {
    /// Returns `text`, which a server may have written, with `***` for whatever tells what it was sent.
    pub(crate) fn hide_in(&self, text: &str) -> String {
        let value = self.value.expose();
        let sent = value.split_once(' ').map_or(value, |(_, sent)| sent.trim());
        let pair = STANDARD.decode(sent).unwrap_or_default();
        let pair = String::from_utf8(pair).unwrap_or_default();
        let (user, password) = pair.split_once(':').unwrap_or_default();
        // Who copies Base64 may leave its end out. Either half of a pair may be the token.
        let forms = [
            value,
            sent,
            sent.trim_end_matches('='),
            &pair,
            user,
            password,
        ];
        let is_secret = |form: &&str| !form.is_empty() && !NO_TOKENS.contains(form);
        let forms: Vec<&str> = forms.into_iter().filter(is_secret).collect();
        let mut shown = Vec::new();
        let mut rest = text.as_bytes();
        while let Some((&first, after)) = rest.split_first() {
            // What is in another is no longer than that.
            let found = forms.iter().filter_map(|form| strip(rest, form.as_bytes()));
            if let Some(after) = found.min_by_key(|after| after.len()) {
                shown.extend_from_slice(b"***");
                rest = after;
            } else {
                shown.push(first);
                rest = after;
            }
        }
        String::from_utf8_lossy(&shown).into_owned()
    }
}

/// What servers of git have in the other half of a pair than the token. Messages name such things for
/// other reasons, as `git` in nearly all of them.
const NO_TOKENS: [&str; 5] = [
    "git",
    "oauth2",
    "x-access-token",
    "x-oauth-basic",
    "x-token-auth",
];

/// Returns what comes after `form` in `text`, if it begins with that as it is, or with any of its bytes
/// percent-encoded (RFC 3986, 2.1).
fn strip<'a>(text: &'a [u8], form: &[u8]) -> Option<&'a [u8]> {
    let encoded = form.iter().try_fold(text, |rest, &byte| match rest {
        [b'%', high, low, rest @ ..] if from_hex(*high, *low) == Some(byte) => Some(rest),
        [first, rest @ ..] if *first == byte => Some(rest),
        _ => None,
    });
    encoded.or_else(|| text.strip_prefix(form))
}

fn from_hex(high: u8, low: u8) -> Option<u8> {
    let digit = |digit| char::from(digit).to_digit(16);
    u8::try_from(digit(high)? << 4 | digit(low)?).ok()
}

/// How the value of `Authorization` is made of a secret.
#[derive(Debug, Clone, Copy)]
enum Form {
    /// It is the secret.
    Header,
    /// A token, as RFC 6750 has it.
    Bearer,
    /// A token as a password, which servers of git take.
    Password,
}

impl ServerSecrets {
    /// Takes those of `secrets` whose names say that they are for servers.
    pub(crate) fn of(secrets: &BTreeMap<String, Content>) -> Self {
        let is_for_server = |name: &str| {
            name.starts_with("HTTP_AUTH_HEADER_")
                || name.starts_with("HTTP_AUTH_TOKEN_")
                || name.starts_with("GIT_AUTH_HEADER")
                || name.starts_with("GIT_AUTH_TOKEN")
        };
        let secrets = secrets.iter().filter(|(name, _)| is_for_server(name));
        Self(
            secrets
                .map(|(name, secret)| (name.clone(), secret.clone()))
                .collect(),
        )
    }

    /// Returns what is sent to the server of `url` to get a file; of both forms, a token wins.
    pub(crate) fn of_file(&self, url: &Url) -> Result<Option<Secret>, CommandError> {
        let host = url.host();
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let host = bare.unwrap_or(host);
        self.first(&[
            (format!("HTTP_AUTH_TOKEN_{host}"), Form::Bearer),
            (format!("HTTP_AUTH_HEADER_{host}"), Form::Header),
        ])
    }

    /// Returns what git sends to the server of `remote`, if that is one of HTTP.
    pub(crate) fn of_repository(&self, remote: &str) -> Result<Option<GitHeader>, CommandError> {
        if self.0.is_empty() || !(remote.starts_with("https://") || remote.starts_with("http://")) {
            return Ok(None);
        }
        let url = Url::parse(remote).map_err(CommandError::caused)?;
        let host = url.authority();
        let value = self.first(&[
            (format!("GIT_AUTH_HEADER.{host}"), Form::Header),
            (format!("GIT_AUTH_TOKEN.{host}"), Form::Password),
            ("GIT_AUTH_HEADER".to_owned(), Form::Header),
            ("GIT_AUTH_TOKEN".to_owned(), Form::Password),
        ])?;
        Ok(value.map(|value| GitHeader {
            scope: scope(&url),
            value,
        }))
    }

    fn first(&self, names: &[(String, Form)]) -> Result<Option<Secret>, CommandError> {
        let mut found = names
            .iter()
            .filter_map(|(name, form)| Some((name, *form, self.0.get(name)?)));
        match found.next() {
            Some((name, form, secret)) => value(name, form, secret).map(Some),
            None => Ok(None),
        }
    }
}

/// Returns what a header is sent to: on GitHub everything, so that it does for submodules, elsewhere one
/// repository. That is what BuildKit does.
fn scope(url: &Url) -> String {
    let whole = ["github.com", "www.github.com"];
    if url.is_secure() && whole.contains(&url.authority()) {
        return format!("https://{}/", url.authority());
    }
    let remote = url.to_wire();
    remote
        .split(['?', '#'])
        .next()
        .unwrap_or_default()
        .to_owned()
}

fn value(name: &str, form: Form, secret: &Content) -> Result<Secret, CommandError> {
    let text = std::str::from_utf8(&secret.0).unwrap_or("\0");
    // As most editors, and `echo`, end a file.
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err(CommandError::failed(format!(
            "the secret `{name}` is empty or no text of one line, so that it cannot be sent"
        )));
    }
    Ok(Secret::new(match form {
        Form::Header => text.to_owned(),
        Form::Bearer => format!("Bearer {text}"),
        Form::Password => {
            let pair = STANDARD.encode(format!("x-access-token:{text}"));
            format!("basic {pair}")
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(names: &[&str]) -> ServerSecrets {
        let secrets = names.iter().map(|name| {
            let content = Content(format!("of {name}\n").into_bytes());
            ((*name).to_owned(), content)
        });
        ServerSecrets::of(&secrets.collect())
    }

    #[test]
    fn what_a_server_of_files_is_sent() {
        #[track_caller]
        fn check(names: &[&str], address: &str, expected: Option<&str>) {
            let found = secrets(names).of_file(&Url::parse(address).unwrap());
            let found = found.unwrap().map(|secret| secret.expose().to_owned());
            assert_eq!(found.as_deref(), expected, "{names:?} {address}");
        }
        let header = "HTTP_AUTH_HEADER_a.io";
        check(
            &[header],
            "https://a.io/x",
            Some("of HTTP_AUTH_HEADER_a.io"),
        );
        check(
            &[header],
            "http://a.io:8080/x",
            Some("of HTTP_AUTH_HEADER_a.io"),
        );
        check(&[header], "https://b.a.io/x", None);
        check(&[header], "https://a.io.evil/x", None);
        check(&[header], "https://a.io@evil/x", None);
        let token = "HTTP_AUTH_TOKEN_a.io";
        check(
            &[header, token],
            "https://a.io",
            Some("Bearer of HTTP_AUTH_TOKEN_a.io"),
        );
        check(&["HTTP_AUTH_TOKEN_"], "https://a.io", None);
        check(
            &["GIT_AUTH_TOKEN", "GIT_AUTH_TOKEN.a.io"],
            "https://a.io",
            None,
        );
        check(
            &["HTTP_AUTH_TOKEN_::1"],
            "http://[::1]:80/",
            Some("Bearer of HTTP_AUTH_TOKEN_::1"),
        );
    }

    #[test]
    fn what_a_server_of_repositories_is_sent() {
        #[track_caller]
        fn check(names: &[&str], remote: &str, expected: Option<(&str, &str)>) {
            let found = secrets(names).of_repository(remote).unwrap();
            let found = found.map(|header| (header.scope, header.value.expose().to_owned()));
            let expected = expected.map(|(scope, name)| {
                let value = match name.strip_prefix("token ") {
                    Some(name) => {
                        let pair = format!("x-access-token:of {name}");
                        format!("basic {}", STANDARD.encode(pair))
                    }
                    None => format!("of {name}"),
                };
                (scope.to_owned(), value)
            });
            assert_eq!(found, expected, "{names:?} {remote}");
        }
        let all = [
            "GIT_AUTH_TOKEN",
            "GIT_AUTH_HEADER",
            "GIT_AUTH_TOKEN.a.io",
            "GIT_AUTH_HEADER.a.io",
        ];
        let remote = "https://a.io/x/y.git";
        check(&all, remote, Some((remote, "GIT_AUTH_HEADER.a.io")));
        check(
            &all[..3],
            remote,
            Some((remote, "token GIT_AUTH_TOKEN.a.io")),
        );
        check(&all[..2], remote, Some((remote, "GIT_AUTH_HEADER")));
        check(&all[..1], remote, Some((remote, "token GIT_AUTH_TOKEN")));
        check(&all[2..], "https://a.io:8443/x", None);
        check(
            &["GIT_AUTH_TOKEN.a.io:8443"],
            "https://a.io:8443/x",
            Some(("https://a.io:8443/x", "token GIT_AUTH_TOKEN.a.io:8443")),
        );
        check(
            &all[..1],
            "https://github.com/a/b.git",
            Some(("https://github.com/", "token GIT_AUTH_TOKEN")),
        );
        check(
            &all[..1],
            "https://u:p@a.io/b",
            Some(("https://a.io/b", "token GIT_AUTH_TOKEN")),
        );
        check(&all, "git@a.io:x/y.git", None);
        check(&all, "ssh://git@a.io/x/y.git", None);
        check(&all, "git://a.io/x", None);
    }

    #[test]
    fn what_was_sent_is_hidden() {
        #[track_caller]
        fn check(value: &str, said: &str, expected: &str) {
            let header = GitHeader {
                scope: "https://a.io/".to_owned(),
                value: Secret::new(value.to_owned()),
            };
            assert_eq!(header.hide_in(said), expected, "{value:?}");
        }
        let pair = STANDARD.encode("x-access-token:tok1");
        let basic = format!("basic {pair}");
        let bare = pair.trim_end_matches('=');
        check(&basic, &format!("for {basic}!"), "for ***!");
        check(&basic, &format!("for {pair}!"), "for ***!");
        check(&basic, &format!("for {bare}!"), "for ***!");
        check(&basic, "x-access-token:tok1, tok1", "***, ***");
        check("Bearer t", "Bearer t; t", "***; ***");
        check("plain", "a plain word", "a *** word");
        check("basic eDo=", "nothing", "nothing");
        let basic = |pair: &str| format!("basic {}", STANDARD.encode(pair));
        check(
            &basic("tok1:x-oauth-basic"),
            "tok1, x-oauth-basic",
            "***, x-oauth-basic",
        );
        check(&basic("tok1:"), "for tok1", "for ***");
        check(&basic("u:u1"), "u1 and u", "*** and ***");
        check(
            &basic("x-access-token:tok1"),
            "for x-access-token",
            "for x-access-token",
        );
        check(
            &basic("u:a/b="),
            "a%2Fb%3D a%2fb= a/b%3d u%3Aa/b=!",
            "*** *** *** ***!",
        );
        check(&basic("u:a%2Fb"), "a%2Fb a%252Fb", "*** ***");
        check(
            "Bearer é",
            "é %C3%A9 Bearer%20%c3%a9 100%",
            "*** *** *** 100%",
        );
    }

    #[test]
    fn what_cannot_be_a_header_is_refused() {
        #[track_caller]
        fn check(bytes: &[u8], expected: Option<&str>) {
            let found = value("n", Form::Header, &Content(bytes.to_vec()));
            let found = found.ok().map(|secret| secret.expose().to_owned());
            assert_eq!(found.as_deref(), expected, "{bytes:?}");
        }
        check(b"a b\r\n", Some("a b"));
        check(b"a", Some("a"));
        check(b"a\nHost: evil", None);
        check(b"\xff", None);
        check(b"\n", None);
        check(b"", None);
    }
}
