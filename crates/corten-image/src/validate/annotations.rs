//! Annotations and labels: the form of all, and the values of those that the specification names
//! (annotations.md).

use corten_spec::{Digest, Reference, annotations::REF_NAME};
use serde_json::Value;

use super::fields::{child, quoted, shown};
use super::finding::Fault;
use super::report::{Report, must, note, should};
use super::uri;

/// What has the annotations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holder {
    /// An entry of `index.json`, the one place where a name means something (ANN-10).
    LayoutEntry,
    /// Any other descriptor, or a document.
    Other,
    /// The config of an image, whose labels may be null (CFG-08).
    Labels,
}

/// The prefix that the specification keeps for itself (ANN-05).
const RESERVED: &str = "org.opencontainers.";

/// Checks annotations or labels; `id` is the requirement of what has them.
pub(super) fn check_annotations(
    report: &mut Report<'_>,
    pointer: &str,
    value: Option<&Value>,
    (id, holder): (&'static str, Holder),
) {
    let Some(value) = value else { return };
    if value.is_null() {
        if holder != Holder::Labels {
            let fault = Fault::differs("null", "an object, or nothing");
            report.pointer(pointer, must("ANN-06"), fault);
        }
        return;
    }
    let Some(map) = value.as_object() else {
        let fault = Fault::differs(shown(value), "an object");
        return report.pointer(pointer, must(id), fault);
    };
    for (key, value) in map {
        let at = child(pointer, key);
        if key.is_empty() || (!key.contains('.') && holder != Holder::Labels) {
            let fault = Fault::differs(quoted(key), "a key such as `com.example.key`");
            let message = format!("the key {} begins with no domain", quoted(key));
            report.pointer(&at, note("ANN-04"), fault.saying(message));
        }
        match value.as_str() {
            Some(text) => check_value(report, &at, (key, text), holder),
            None => report.pointer(
                &at,
                must("ANN-01"),
                Fault::differs(shown(value), "a string"),
            ),
        }
    }
}

fn check_value(report: &mut Report<'_>, at: &str, (key, text): (&str, &str), holder: Holder) {
    if key == REF_NAME {
        return check_name(report, at, text, holder);
    }
    let Some(name) = key.strip_prefix(RESERVED) else {
        return;
    };
    let Some(name) = name.strip_prefix("image.").filter(|name| is_known(name)) else {
        // A MUST NOT for who makes up keys; who reads them cannot know the specifications to come,
        // and must not fail (ANN-07).
        let message = "the key is none of the specification's, which keeps `org.opencontainers`";
        return report.pointer(at, should("ANN-05"), message);
    };
    // Empty values are allowed for all (ANN-02).
    if text.is_empty() {
        return;
    }
    let (id, is_right, expected) = match name {
        "created" => ("ANN-09", is_time(text), "a time of RFC 3339"),
        "url" | "documentation" | "source" => ("ANN-08", uri::is_uri(text), "a URL"),
        "licenses" => ("ANN-08", is_license(text), "a license expression of SPDX"),
        "base.digest" => ("ANN-13", text.parse::<Digest>().is_ok(), "a digest"),
        "base.name" => (
            "ANN-14",
            is_full_name(text),
            "a full name such as `docker.io/library/debian:12`",
        ),
        _ => return,
    };
    if !is_right {
        report.pointer(at, should(id), Fault::differs(quoted(text), expected));
    }
}

/// The keys of annotations.md, and those that conversion.md gives the fields of a config.
fn is_known(name: &str) -> bool {
    const NAMES: [&str; 20] = [
        "created",
        "authors",
        "url",
        "documentation",
        "source",
        "version",
        "revision",
        "vendor",
        "licenses",
        "title",
        "description",
        "base.digest",
        "base.name",
        "os",
        "os.version",
        "os.features",
        "architecture",
        "variant",
        "author",
        "stopSignal",
    ];
    NAMES.contains(&name) || name == "exposedPorts"
}

/// Returns whether `text` is a time of RFC 3339 section 5.6.
pub(super) fn is_time(text: &str) -> bool {
    // The parser takes ISO 8601, which is more: no seconds, a comma, no colon in the offset.
    let digits = |range: std::ops::Range<usize>| {
        let bytes = text.as_bytes().get(range);
        bytes.is_some_and(|bytes| bytes.iter().all(u8::is_ascii_digit))
    };
    let byte = |idx: usize| text.as_bytes().get(idx).copied().unwrap_or_default();
    let has_date =
        digits(0..4) && byte(4) == b'-' && digits(5..7) && byte(7) == b'-' && digits(8..10);
    let has_time = matches!(byte(10), b'T' | b't')
        && digits(11..13)
        && byte(13) == b':'
        && digits(14..16)
        && byte(16) == b':'
        && digits(17..19);
    let rest = text.get(19..).unwrap_or_default();
    let offset = match rest.strip_prefix('.') {
        Some(fraction) => {
            let offset = fraction.trim_start_matches(|letter: char| letter.is_ascii_digit());
            if offset.len() == fraction.len() {
                return false;
            }
            offset
        }
        None => rest,
    };
    let has_offset = match offset.as_bytes() {
        [b'Z' | b'z'] => true,
        [b'+' | b'-', hours @ .., b':', m1, m2] => {
            hours.len() == 2
                && hours.iter().all(u8::is_ascii_digit)
                && m1.is_ascii_digit()
                && m2.is_ascii_digit()
        }
        _ => false,
    };
    // Nine digits are all that the parser takes, and the RFC sets no bound.
    let seconds = text.get(..19).unwrap_or_default();
    has_date
        && has_time
        && has_offset
        && format!("{seconds}{offset}")
            .parse::<jiff::Timestamp>()
            .is_ok()
}

fn is_full_name(text: &str) -> bool {
    text.parse::<Reference>()
        .is_ok_and(|reference| reference.to_string() == text)
}

fn check_name(report: &mut Report<'_>, at: &str, text: &str, holder: Holder) {
    if holder != Holder::LayoutEntry {
        let message = "the name means something on an entry of `index.json` alone";
        return report.pointer(at, note("ANN-10"), message);
    }
    let is_separator = |letter: char| "-._:@+/".contains(letter);
    if text.is_empty() {
        return;
    }
    if !text
        .chars()
        .all(|letter| letter.is_ascii_alphanumeric() || is_separator(letter))
    {
        let fault = Fault::differs(quoted(text), "letters, digits and `-._:@+/`");
        return report.pointer(at, should("ANN-11"), fault);
    }
    if !text.split('/').all(is_component) {
        let fault = Fault::differs(
            quoted(text),
            "words parted by one of `-._:@+` each, or `--`",
        );
        report.pointer(at, should("ANN-12"), fault);
    }
}

/// `component ::= alphanum (separator alphanum)*`; `separator ::= [-._:@+] | "--"`.
fn is_component(text: &str) -> bool {
    let text = text.replace("--", "-");
    let is_word =
        |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric());
    text.split(['-', '.', '_', ':', '@', '+']).all(is_word)
}

/// Returns whether `text` has the grammar of SPDX license expressions (SPDX 2.3, annex D). Which
/// licenses there are changes with every version of their list, so it is not asked.
fn is_license(text: &str) -> bool {
    let spaced = text.replace('(', " ( ").replace(')', " ) ");
    let mut depth = 0_usize;
    let mut wants_name = true;
    let mut can_have_exception = false;
    let mut tokens = spaced.split_whitespace();
    while let Some(token) = tokens.next() {
        match token.to_ascii_uppercase().as_str() {
            "(" if wants_name => depth += 1,
            ")" if !wants_name && depth > 0 => {
                depth -= 1;
                can_have_exception = false;
            }
            "AND" | "OR" if !wants_name => wants_name = true,
            "WITH" if can_have_exception => {
                if !tokens.next().is_some_and(is_license_name) {
                    return false;
                }
                can_have_exception = false;
            }
            "AND" | "OR" | "WITH" => return false,
            _ if wants_name && is_license_name(token) => {
                (wants_name, can_have_exception) = (false, true);
            }
            _ => return false,
        }
    }
    depth == 0 && !wants_name
}

fn is_license_name(token: &str) -> bool {
    let is_id = |id: &str| {
        !id.is_empty()
            && id
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
    };
    match token
        .strip_prefix("DocumentRef-")
        .and_then(|rest| rest.split_once(':'))
    {
        Some((document, license)) => {
            is_id(document) && license.strip_prefix("LicenseRef-").is_some_and(is_id)
        }
        None => is_id(token.strip_suffix('+').unwrap_or(token)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn license_expressions() {
        #[track_caller]
        fn check(text: &str, expected: bool) {
            assert_eq!(is_license(text), expected, "{text:?}");
        }
        check("MIT", true);
        check("Apache-2.0 OR MIT", true);
        check("(GPL-2.0-only WITH Classpath-exception-2.0) AND MIT", true);
        check("GPL-2.0+", true);
        check("LicenseRef-x AND DocumentRef-a:LicenseRef-b", true);
        check("MIT License", false);
        check("MIT,Apache-2.0", false);
        check("(MIT", false);
        check("MIT OR", false);
        check("MIT)", false);
        check("() MIT", false);
        check("AND", false);
        check("MIT WITH", false);
        check("(MIT) WITH x", false);
    }

    #[test]
    fn components_of_names() {
        #[track_caller]
        fn check(text: &str, expected: bool) {
            assert_eq!(text.split('/').all(is_component), expected, "{text:?}");
        }
        check("v1.0", true);
        check("registry.example:5000/x:y", true);
        check("a--b", true);
        check("a---b", false);
        check("a_/b", false);
        check(".a", false);
        check("a//b", false);
        check("a__b", false);
    }

    #[test]
    fn times() {
        #[track_caller]
        fn check(text: &str, expected: bool) {
            assert_eq!(is_time(text), expected, "{text:?}");
        }
        check("2020-01-01T00:00:00Z", true);
        check("2020-01-01t00:00:00.123456789123z", true);
        check("2020-01-01T00:00:00+02:00", true);
        check("1970-12-31T23:59:60Z", true);
        check("0001-01-01T00:00:00Z", true);
        check("2020-01-01", false);
        check("2020-01-01 00:00:00Z", false);
        check("2020-01-01T00:00Z", false);
        check("2020-01-01T00:00:00", false);
        check("2020-01-01T00:00:00+0200", false);
        check("2020-01-01T00:00:00.Z", false);
        check("2020-13-01T00:00:00Z", false);
        check("2020-02-30T00:00:00Z", false);
        check("Mon Jan  1 00:00:00 UTC 2020", false);
        check("", false);
    }
}
