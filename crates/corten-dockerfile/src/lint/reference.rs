//! Whether a text can name an image, by the grammar of `distribution/reference`.

/// Tells whether `text` is a familiar reference: `debian`, `host:5000/a/b:tag@sha256:…`.
pub(super) fn is_reference(text: &str) -> bool {
    // 64 digits are the id of an image, not a name.
    let is_id = text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if is_id || text.len() > 1024 {
        return false;
    }
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (text, None),
    };
    let (domain, path) = match rest.split_once('/') {
        Some((first, path)) if is_host(first) => (Some(first), path),
        Some(_) | None => (None, rest),
    };
    let (path, tag) = match path.split_once(':') {
        Some((path, tag)) => (path, Some(tag)),
        None => (path, None),
    };
    let length = domain.map_or(0, |domain| domain.len() + 1) + path.len();
    length <= 255
        && domain.is_none_or(is_domain)
        && path.split('/').all(is_component)
        && tag.is_none_or(is_tag)
        && digest.is_none_or(is_digest)
}

/// What stands before the first slash is a host if it looks like one.
fn is_host(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost" || first != first.to_lowercase()
}

fn is_domain(domain: &str) -> bool {
    let (host, port) = match domain.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        Some(_) | None => (domain, None),
    };
    let is_port =
        port.is_none_or(|port| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()));
    let address = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let is_named = |host: &str| {
        host.split('.').all(|part| {
            !part.is_empty()
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !part.starts_with('-')
                && !part.ends_with('-')
        })
    };
    is_port
        && match address {
            Some(address) => {
                !address.is_empty() && address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':')
            }
            None => is_named(host),
        }
}

/// Runs of small letters and digits, separated by a dot, one or two underscores, or hyphens.
fn is_component(component: &str) -> bool {
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let separators = component.split(is_word).filter(|gap| !gap.is_empty());
    component.starts_with(is_word)
        && component.ends_with(is_word)
        && separators
            .into_iter()
            .all(|gap| matches!(gap, "." | "_" | "__") || gap.bytes().all(|b| b == b'-'))
}

fn is_tag(tag: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    tag.len() <= 128
        && tag.bytes().next().is_some_and(is_word)
        && tag.bytes().all(|b| is_word(b) || matches!(b, b'.' | b'-'))
}

/// The algorithms that Go's `digest` package knows, with as many digits as each has.
fn is_digest(digest: &str) -> bool {
    let Some((algorithm, digits)) = digest.split_once(':') else {
        return false;
    };
    let length = match algorithm {
        "sha256" => 64,
        "sha384" => 96,
        "sha512" => 128,
        _ => return false,
    };
    digits.len() == length
        && digits
            .bytes()
            .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references() {
        #[track_caller]
        fn check(text: &str, expected: bool) {
            assert_eq!(is_reference(text), expected, "{text:?}");
        }

        check("busybox", true);
        check("busybox:latest", true);
        check("a/b-c__d.e:V1.x", true);
        check("host:5000/a/b", true);
        check("localhost/a", true);
        check("Host/a", true);
        check("[::1]:5000/a", true);
        check(&format!("a@sha256:{}", "0".repeat(64)), true);
        check("", false);
        check("busybox:", false);
        check("busybox:-a", false);
        check("Busybox", false);
        check("a b", false);
        check("a//b", false);
        check("a___b", false);
        check("a/", false);
        check("/a", false);
        check("-a", false);
        check("-host.x/a", false);
        check("a@sha256:00", false);
        check(&"0".repeat(64), false);
        check("${x}", false);
    }
}
