//! Bearer tokens: what to ask a token server for, and what it answers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Deserialize;

use crate::credentials::{Credentials, Secret};
use crate::transport::{Body, Headers, Method, Request};
use crate::{Result, Url, url};

/// A token that a token server gave out.
#[derive(Debug, Clone)]
pub struct Token {
    /// The value of the `Authorization` header is `Bearer` and this.
    pub value: Secret,
    /// How long it is valid from now on.
    pub lifetime: Duration,
}

/// Returns the request that asks for a token.
///
/// Without credentials the token is for what anyone may do. A password goes into a header of a
/// GET; an identity token is exchanged with a POST (distribution's `auth/oauth.md`).
pub fn request(
    realm: &str,
    service: Option<&str>,
    scopes: &[String],
    credentials: &Credentials,
) -> Result<Request> {
    let realm = Url::parse(realm)?;
    let mut pairs: Vec<(&str, &str)> = Vec::new();
    pairs.extend(service.map(|service| ("service", service)));
    if let Credentials::IdentityToken(token) = credentials {
        let scope = scopes.join(" ");
        pairs.extend([
            ("grant_type", "refresh_token"),
            ("refresh_token", token.expose()),
            ("client_id", "corten"),
            ("scope", &scope),
        ]);
        let form: Vec<String> = pairs
            .iter()
            .map(|(name, value)| format!("{name}={}", url::escape(value)))
            .collect();
        return Ok(Request {
            method: Method::Post,
            url: realm,
            headers: Headers::new().with("Content-Type", "application/x-www-form-urlencoded"),
            body: Body::Bytes(form.join("&").into_bytes().into()),
        });
    }
    pairs.extend(scopes.iter().map(|scope| ("scope", scope.as_str())));
    let mut headers = Headers::new();
    if let Credentials::Basic { username, .. } = credentials {
        pairs.push(("account", username));
        headers.add("Authorization", credentials.basic().unwrap_or_default());
    }
    let url = pairs
        .into_iter()
        .fold(realm, |url, (name, value)| url.with(name, value));
    Ok(Request {
        method: Method::Get,
        url,
        headers,
        body: Body::Empty,
    })
}

/// Reads a token server's answer; `None` if it holds no token.
pub fn parse(body: &[u8]) -> Option<Token> {
    #[derive(Deserialize)]
    struct Answer {
        token: Option<String>,
        access_token: Option<String>,
        expires_in: Option<f64>,
    }
    /// What a token server means that does not say (distribution's `auth/token.md`).
    const DEFAULT_SECONDS: f64 = 60.0;
    const LONGEST_SECONDS: f64 = 86_400.0;
    let answer: Answer = serde_json::from_slice(body).ok()?;
    let is_usable =
        |token: &String| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    let value = [answer.token, answer.access_token]
        .into_iter()
        .flatten()
        .find(is_usable)?;
    let seconds = answer.expires_in.unwrap_or(DEFAULT_SECONDS);
    let lifetime = Duration::from_secs_f64(seconds.clamp(0.0, LONGEST_SECONDS));
    Some(Token {
        value: Secret::new(value),
        lifetime,
    })
}

/// Returns the scope for `actions`, such as `pull,push`, in `repository`.
pub fn scope(repository: &str, actions: &str) -> String {
    format!("repository:{repository}:{actions}")
}

/// Merges scopes: one for each resource, with every action that any of them asks for, in order.
///
/// `asked` are ours; `challenged` is what the registry said, several in one text.
pub fn merge_scopes(asked: &[String], challenged: Option<&str>) -> Vec<String> {
    let mut resources: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let challenged = challenged.unwrap_or_default().split_ascii_whitespace();
    for scope in asked.iter().map(String::as_str).chain(challenged) {
        let Some((resource, actions)) = scope.rsplit_once(':') else {
            continue;
        };
        let actions = actions.split(',').filter(|action| !action.is_empty());
        resources.entry(resource).or_default().extend(actions);
    }
    resources
        .into_iter()
        .map(|(resource, actions)| {
            let actions: Vec<&str> = actions.into_iter().collect();
            format!("{resource}:{}", actions.join(","))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_merge() {
        #[track_caller]
        fn check(asked: &[&str], challenged: Option<&str>, expected: &[&str]) {
            let asked: Vec<String> = asked.iter().map(|&scope| scope.to_owned()).collect();
            assert_eq!(merge_scopes(&asked, challenged), expected);
        }
        check(&[], None, &[]);
        check(&["repository:a:pull"], None, &["repository:a:pull"]);
        check(
            &["repository:a:push,pull", "repository:b:pull"],
            Some("repository:a:pull,delete registry:catalog:*"),
            &[
                "registry:catalog:*",
                "repository:a:delete,pull,push",
                "repository:b:pull",
            ],
        );
        check(
            &["repository:host:5000/a:pull"],
            Some("junk"),
            &["repository:host:5000/a:pull"],
        );
    }

    #[test]
    fn requests() {
        #[track_caller]
        fn check(credentials: &Credentials, expected: (Method, &str, &str, &str)) {
            let scopes = [
                "repository:a/b:pull".to_owned(),
                "repository:c:pull".to_owned(),
            ];
            let request =
                request("https://t/token?x=1", Some("my reg"), &scopes, credentials).unwrap();
            let body = match &request.body {
                Body::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                Body::Empty | Body::Stream { .. } => String::new(),
            };
            let authorization = request.headers.value("authorization").unwrap_or_default();
            let found = (
                request.method,
                request.url.to_wire(),
                body.as_str(),
                authorization,
            );
            assert_eq!((found.0, found.1.as_str(), found.2, found.3), expected);
            assert!(!format!("{request:?}").contains("s3cret"));
        }
        let scopes = "scope=repository:a/b:pull&scope=repository:c:pull";
        check(
            &Credentials::None,
            (
                Method::Get,
                &format!("https://t/token?x=1&service=my%20reg&{scopes}"),
                "",
                "",
            ),
        );
        check(
            &Credentials::Basic {
                username: "me".into(),
                password: Secret::new("s3cret".into()),
            },
            (
                Method::Get,
                &format!("https://t/token?x=1&service=my%20reg&{scopes}&account=me"),
                "",
                "Basic bWU6czNjcmV0",
            ),
        );
        check(
            &Credentials::IdentityToken(Secret::new("s3cret+".into())),
            (
                Method::Post,
                "https://t/token?x=1",
                "service=my%20reg&grant_type=refresh_token&refresh_token=s3cret%2b\
                 &client_id=corten&scope=repository:a/b:pull%20repository:c:pull",
                "",
            ),
        );
    }

    #[test]
    fn answers() {
        #[track_caller]
        fn check(body: &str, expected: Option<(&str, u64)>) {
            let token = parse(body.as_bytes());
            let found = token
                .as_ref()
                .map(|token| (token.value.expose(), token.lifetime.as_secs()));
            assert_eq!(found, expected, "{body}");
        }
        check(r#"{"token":"a"}"#, Some(("a", 60)));
        check(
            r#"{"access_token":"b","expires_in":300,"refresh_token":"r"}"#,
            Some(("b", 300)),
        );
        check(
            r#"{"token":"","access_token":"b","expires_in":-1}"#,
            Some(("b", 0)),
        );
        check(r#"{"token":"a","expires_in":1e300}"#, Some(("a", 86_400)));
        check(r#"{"token":"a\r\nX: y"}"#, None);
        check("{}", None);
        check("<html>", None);
    }
}
