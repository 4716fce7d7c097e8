//! Whether a text is a URI (RFC 3986), for descriptors' `urls` and a few annotations.

/// Returns whether `text` is a URI: a scheme, and what the grammar allows after it.
pub(super) fn is_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else {
        return false;
    };
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = match path.strip_prefix("//") {
        Some(rest) => match rest.find('/') {
            Some(slash) => {
                let (authority, path) = rest.split_at(slash);
                (Some(authority), path)
            }
            None => (Some(rest), ""),
        },
        None => (None, path),
    };
    is_scheme
        && authority.is_none_or(is_authority)
        && are_characters(path, b":@/")
        && are_characters(query, b":@/?")
        && are_characters(fragment, b":@/?")
}

fn is_authority(text: &str) -> bool {
    let (user, host) = text.rsplit_once('@').unwrap_or(("", text));
    let (host, port) = match host.strip_prefix('[') {
        Some(literal) => {
            let Some((address, port)) = literal.split_once(']') else {
                return false;
            };
            let is_future = address.strip_prefix(['v', 'V']).is_some_and(|rest| {
                rest.split_once('.').is_some_and(|(version, address)| {
                    !version.is_empty()
                        && version.bytes().all(|byte| byte.is_ascii_hexdigit())
                        && !address.is_empty()
                        && !address.contains('%')
                        && are_characters(address, b":")
                })
            });
            if !is_future && address.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            ("", port)
        }
        None => match host.split_once(':') {
            Some((host, port)) => {
                if !port.bytes().all(|byte| byte.is_ascii_digit()) {
                    return false;
                }
                (host, "")
            }
            None => (host, ""),
        },
    };
    let has_port = port.is_empty()
        || port
            .strip_prefix(':')
            .is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
    has_port && are_characters(user, b":") && are_characters(host, b"")
}

/// Returns whether `text` is of unreserved characters, sub-delimiters, percent-encoded bytes and
/// those in `more`.
fn are_characters(text: &str, more: &[u8]) -> bool {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let is_right = match byte {
            b'%' => {
                let mut is_hex = || bytes.next().is_some_and(|byte| byte.is_ascii_hexdigit());
                is_hex() && is_hex()
            }
            _ => {
                byte.is_ascii_alphanumeric()
                    || b"-._~!$&'()*+,;=".contains(&byte)
                    || more.contains(&byte)
            }
        };
        if !is_right {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris() {
        #[track_caller]
        fn check(text: &str, expected: bool) {
            assert_eq!(is_uri(text), expected, "{text:?}");
        }
        check("https://example.com/a%20b?c=d#e", true);
        check("http://user@[::1]:80/", true);
        check("mailto:a@b", true);
        check("urn:a:b", true);
        check("http://[v1.a:b]/", true);
        check("file:///a", true);
        check("example.com/a", false);
        check("1http://x", false);
        check("http://a b", false);
        check("http://a/%zz", false);
        check("http://a/%2", false);
        check("http://a:b/", false);
        check("http://[::1", false);
        check("http://[::1]x/", false);
        check("http://a/[", false);
        check("http://a#b#c", false);
        check("http://ä/", false);
        check(":a", false);
        check("", false);
    }
}
