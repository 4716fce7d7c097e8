//! `WWW-Authenticate`: what a registry wants to see before it answers (RFC 9110 section 11.6.1).

/// A way to authenticate that a registry offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Challenge {
    /// A token from a token server.
    Bearer {
        /// The token server's URL.
        realm: String,
        /// What the token server calls the registry.
        service: Option<String>,
        /// What the token must allow, such as `repository:acme/app:pull`.
        scope: Option<String>,
    },
    /// A user name and a password with each request.
    Basic,
}

impl Challenge {
    /// Reads the value of a `WWW-Authenticate` header, which may hold several challenges.
    ///
    /// Schemes that are not known, and bearer challenges without a realm, are left out.
    pub fn parse(header: &str) -> Vec<Self> {
        let mut rest = header;
        let mut challenges = Vec::new();
        while let Some((scheme, tail)) = scheme(rest) {
            let (parameters, tail) = parameters(tail);
            rest = tail;
            let value = |name: &str| {
                parameters
                    .iter()
                    .find(|(found, _)| found.eq_ignore_ascii_case(name))
                    .map(|(_, value)| value.clone())
            };
            if scheme.eq_ignore_ascii_case("basic") {
                challenges.push(Self::Basic);
            } else if scheme.eq_ignore_ascii_case("bearer")
                && let Some(realm) = value("realm")
            {
                challenges.push(Self::Bearer {
                    realm,
                    service: value("service"),
                    scope: value("scope"),
                });
            }
        }
        challenges
    }

    /// Returns the challenge to answer: a bearer token is worth less than a password when it leaks.
    pub fn choose<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Self> {
        let challenges: Vec<Self> = headers.flat_map(Self::parse).collect();
        let bearer = challenges
            .iter()
            .find(|challenge| matches!(challenge, Self::Bearer { .. }));
        bearer.or(challenges.first()).cloned()
    }
}

/// Splits off an authentication scheme: a token that no `=` follows.
fn scheme(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start_matches([' ', '\t', ',']);
    let (name, rest) = token(text)?;
    Some((name, rest))
}

fn token(text: &str) -> Option<(&str, &str)> {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~/".contains(c);
    let end = text.find(|c| !is_token(c)).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// Reads `name=value` pairs up to the next scheme, or to what cannot be read.
fn parameters(text: &str) -> (Vec<(String, String)>, &str) {
    let mut found = Vec::new();
    let mut rest = text;
    loop {
        let candidate = rest.trim_start_matches([' ', '\t', ',']);
        let Some((name, tail)) = token(candidate) else {
            // What is not a token starts no scheme either: nothing more can be read.
            return (found, "");
        };
        let Some(tail) = tail.trim_start().strip_prefix('=') else {
            return (found, candidate);
        };
        let (value, tail) = value(tail.trim_start());
        found.push((name.to_owned(), value));
        rest = tail;
    }
}

fn value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        return (value.to_owned(), rest);
    };
    let mut value = String::new();
    let mut chars = quoted.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => value.extend(chars.next()),
            _ => value.push(c),
        }
    }
    (value, chars.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        Challenge::Bearer {
            realm: realm.into(),
            service: service.map(str::to_owned),
            scope: scope.map(str::to_owned),
        }
    }

    #[test]
    fn headers_of_registries() {
        #[track_caller]
        fn check(header: &str, expected: &[Challenge]) {
            assert_eq!(Challenge::parse(header), expected, "{header:?}");
        }
        check(
            r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#,
            &[bearer(
                "https://auth.docker.io/token",
                Some("registry.docker.io"),
                Some("repository:a/b:pull,push"),
            )],
        );
        check(
            r#"bearer  Realm = "https://a/t" , error="x\"y,z", scope=a:b:c"#,
            &[bearer("https://a/t", None, Some("a:b:c"))],
        );
        check(r#"Basic realm="Registry""#, &[Challenge::Basic]);
        check("Basic", &[Challenge::Basic]);
        check(
            r#"Negotiate, Basic realm="x, y", Bearer realm=https://t"#,
            &[Challenge::Basic, bearer("https://t", None, None)],
        );
        check("Bearer service=x", &[]);
        check("", &[]);
        check(",,,", &[]);
        check("Bearer realm=\"unclosed", &[bearer("unclosed", None, None)]);
        check("Bearer realm=\"a\\", &[bearer("a", None, None)]);
        check("Digest realm=\"x\", nonce=\"\u{e9}\"", &[]);
        check("=\"\" \u{7f}", &[]);
    }

    #[test]
    fn a_token_is_preferred() {
        let headers = [r#"Basic realm="x""#, "Bearer realm=https://t"];
        assert_eq!(
            Challenge::choose(headers.into_iter()),
            Some(bearer("https://t", None, None))
        );
        assert_eq!(Challenge::choose([].into_iter()), None);
    }
}
