//! What was sent and may not be shown, where servers say it back.

use http::request::Parts;

/// What stands in the place of a secret.
const HIDDEN: &str = "***";

/// What is shorter says too little to be one, and hiding it would make other words unreadable.
const SHORTEST: usize = 4;

/// The parameters of queries and forms that are no secrets, and that messages name: those of Amazon's
/// security tokens, OAuth 2.0, Azure's and Google's metadata, and Azure's shared access signatures.
const PUBLIC: [&str; 25] = [
    "Action",
    "DurationSeconds",
    "RoleArn",
    "RoleSessionName",
    "Version",
    "api-version",
    "audience",
    "client_assertion_type",
    "client_id",
    "comp",
    "grant_type",
    "msi_res_id",
    "object_id",
    "resource",
    "restype",
    "scope",
    "se",
    "sip",
    "sp",
    "spr",
    "sr",
    "srt",
    "ss",
    "st",
    "sv",
];

/// The headers that carry credentials.
const SECRET_HEADERS: [&str; 4] = [
    "authorization",
    "x-amz-security-token",
    "x-aws-ec2-metadata-token",
    "x-identity-header",
];

/// The secrets of a request, the longest first.
#[derive(Default)]
pub(crate) struct Sent(Vec<String>);

impl Sent {
    /// Takes them from a request whose body is a form, if it has one.
    pub(crate) fn of(parts: &Parts, body: &[u8]) -> Self {
        let mut secrets = in_form(parts.uri.query().unwrap_or_default().as_bytes());
        secrets.extend(in_form(body));
        for name in SECRET_HEADERS {
            for value in parts.headers.get_all(name) {
                secrets.extend(in_header(&String::from_utf8_lossy(value.as_bytes())));
            }
        }
        secrets.retain(|secret| secret.len() >= SHORTEST);
        // One may be a part of another.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self(secrets)
    }

    /// Returns `text` without the secrets.
    pub(crate) fn hidden(&self, text: &str) -> String {
        let hide = |text: String, secret: &String| text.replace(secret, HIDDEN);
        self.0.iter().fold(text.to_owned(), hide)
    }
}

/// Returns the values of a form or a query that are not public, as they were sent and decoded.
fn in_form(form: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(form);
    let raw = text.split('&').filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        Some((name.to_owned(), value.to_owned()))
    });
    let decoded = form_urlencoded::parse(form).into_owned();
    let pairs = raw.chain(decoded);
    let secret = pairs.filter(|(name, _)| !PUBLIC.contains(&name.as_str()));
    secret.map(|(_, value)| value).collect()
}

/// Returns the value of a header, what comes behind its scheme, and the signature within that.
fn in_header(value: &str) -> Vec<String> {
    let rest = value.split_once(' ').map_or("", |(_, rest)| rest.trim());
    let signed = rest.rsplit_once("Signature=").or(rest.rsplit_once(':'));
    let signature = signed.map_or("", |(_, signature)| signature);
    [value, rest, signature].map(str::to_owned).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_hidden() {
        #[track_caller]
        fn check(uri: &str, header: (&str, &str), body: &str, said: &str, expected: &str) {
            let request = http::Request::get(uri).header(header.0, header.1);
            let (parts, ()) = request.body(()).unwrap().into_parts();
            let sent = Sent::of(&parts, body.as_bytes());
            assert_eq!(sent.hidden(said), expected);
        }
        const NONE: (&str, &str) = ("accept", "*/*");
        check(
            "http://h/c/k?sv=2024-01-01&sig=a%2Fb%3D1",
            NONE,
            "",
            "GET /c/k?sv=2024-01-01&sig=a%2Fb%3D1 (a/b=1)",
            "GET /c/k?sv=2024-01-01&sig=*** (***)",
        );
        check(
            "http://h/",
            NONE,
            "Action=AssumeRoleWithWebIdentity&WebIdentityToken=ey.J0",
            "not allowed: AssumeRoleWithWebIdentity with ey.J0",
            "not allowed: AssumeRoleWithWebIdentity with ***",
        );
        check(
            "http://h/",
            NONE,
            "client_secret=s+e%20c%2B",
            "`s e c+` is not `s+e%20c%2B`",
            "`***` is not `***`",
        );
        check(
            "http://h/",
            ("authorization", "Bearer abcdef"),
            "",
            "Bearer abcdef; abcdef",
            "***; ***",
        );
        check(
            "http://h/",
            ("authorization", "SharedKey account:c2ln"),
            "",
            "account: c2ln",
            "account: ***",
        );
        check(
            "http://h/",
            ("x-amz-security-token", "token"),
            "",
            "the token",
            "the ***",
        );
        check("http://h/?x=abc&y=", NONE, "", "abc", "abc");
    }
}
