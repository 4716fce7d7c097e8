//! Values of the headers that the protocol uses, read without a socket.

use std::time::Duration;

use jiff::fmt::rfc2822;

/// Returns the target of the `rel=next` link in a `Link` header (RFC 8288).
pub fn next_link(header: &str) -> Option<&str> {
    let mut rest = header;
    loop {
        let (_, tail) = rest.split_once('<')?;
        let (target, tail) = tail.split_once('>')?;
        // The parameters end where the next link's `<` begins; a comma may be inside quotes.
        let parameters = tail.split('<').next().unwrap_or_default();
        let is_next = parameters.split([';', ',']).any(|parameter| {
            parameter.split_once('=').is_some_and(|(name, value)| {
                name.trim().eq_ignore_ascii_case("rel")
                    && value
                        .trim()
                        .trim_matches('"')
                        .split_ascii_whitespace()
                        .any(|relation| relation.eq_ignore_ascii_case("next"))
            })
        });
        if is_next {
            return Some(target);
        }
        rest = tail;
    }
}

/// Returns how many bytes an upload's `Range: 0-<last>` says are there.
///
/// `0-0` is what registries answer both for nothing and for one byte; it is read as nothing, since
/// sending a byte again is refused and asked again, while skipping one would corrupt the blob.
pub fn received(range: &str) -> Option<u64> {
    let range = range.trim();
    let range = range.strip_prefix("bytes=").unwrap_or(range);
    let (first, last) = range.split_once('-')?;
    let last: u64 = last.parse().ok()?;
    match (first.parse::<u64>().ok()?, last) {
        (0, 0) => Some(0),
        (0, last) => last.checked_add(1),
        _ => None,
    }
}

/// Returns where a `Content-Range: bytes <first>-<last>/<size>` answer starts.
pub fn content_range_start(header: &str) -> Option<u64> {
    let range = header.trim().strip_prefix("bytes")?.trim_start();
    let (range, _) = range.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some(first)
}

/// Returns how long a `Retry-After` header asks to wait.
///
/// The form with a time is compared with the answer's own `Date`, so that the server's clock need not
/// agree with ours; without one it says nothing.
pub fn retry_after(header: &str, date: Option<&str>) -> Option<Duration> {
    let header = header.trim();
    if let Ok(seconds) = header.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let parser = rfc2822::DateTimeParser::new();
    let until = parser.parse_timestamp(header).ok()?;
    let now = parser.parse_timestamp(date?.trim()).ok()?;
    let seconds = until.as_second().saturating_sub(now.as_second());
    Some(Duration::from_secs(
        u64::try_from(seconds).unwrap_or_default(),
    ))
}

/// Returns the text of a `Warning: 299 - "text"` header; other codes are about caches.
pub fn warning(header: &str) -> Option<String> {
    let rest = header.trim().strip_prefix("299 ")?;
    let (_, rest) = rest.trim_start().split_once(' ')?;
    let quoted = rest.trim().strip_prefix('"')?.strip_suffix('"')?;
    let mut text = String::new();
    let mut chars = quoted.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => text.extend(chars.next()),
            _ => text.push(c),
        }
    }
    Some(crate::refusal::printable(text.as_bytes(), 4096))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links() {
        #[track_caller]
        fn check(header: &str, expected: Option<&str>) {
            assert_eq!(next_link(header), expected, "{header:?}");
        }
        check(
            r#"</v2/a/tags/list?last=b&n=2>; rel="next""#,
            Some("/v2/a/tags/list?last=b&n=2"),
        );
        check("<x>;rel=next", Some("x"));
        check(
            r#"<a>; rel="prev", <b>; title="x, y"; rel="next last""#,
            Some("b"),
        );
        check(r#"<a>; rel="nextish""#, None);
        check("<a", None);
        check("", None);
        check(">;rel=next<", None);
    }

    #[test]
    fn ranges() {
        #[track_caller]
        fn check(range: &str, expected: Option<u64>) {
            assert_eq!(received(range), expected, "{range:?}");
        }
        check("0-9", Some(10));
        check("bytes=0-9", Some(10));
        check("0-0", Some(0));
        check("0--1", None);
        check("5-9", None);
        check("0-18446744073709551615", None);
        check("", None);
    }

    #[test]
    fn content_ranges() {
        #[track_caller]
        fn check(header: &str, expected: Option<u64>) {
            assert_eq!(content_range_start(header), expected, "{header:?}");
        }
        check("bytes 5-9/10", Some(5));
        check("bytes 5-9/*", Some(5));
        check("bytes */10", None);
        check("bytes 9-5/10", None);
        check("items 5-9/10", None);
        check("bytes 5-9", None);
    }

    #[test]
    fn waits_and_warnings() {
        let now = Some("Wed, 21 Oct 2015 07:28:00 GMT");
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(retry_after(" 12 ", None), seconds(12));
        assert_eq!(retry_after("-1", now), None);
        assert_eq!(
            retry_after("Wed, 21 Oct 2015 07:28:30 GMT", now),
            seconds(30)
        );
        assert_eq!(
            retry_after("Wed, 21 Oct 2015 07:27:30 GMT", now),
            seconds(0)
        );
        assert_eq!(retry_after("Wed, 21 Oct 2015 07:28:30 GMT", None), None);
        assert_eq!(retry_after("tomorrow", now), None);
        assert_eq!(
            warning(r#"299 - "go \"away\"""#).as_deref(),
            Some(r#"go "away""#)
        );
        assert_eq!(
            warning(r#"299 registry.example "x" "#).as_deref(),
            Some("x")
        );
        assert_eq!(warning(r#"110 - "stale""#), None);
        assert_eq!(warning("299"), None);
        assert_eq!(warning("299 - x"), None);
    }
}
