//! The text of history entries, in the words of Go's formatter.

use std::fmt::Write as _;

use crate::duration;
use crate::step::HealthcheckStep;

/// `ENV a=1 b=2`.
pub(super) fn pairs(name: &str, pairs: &[(String, String)]) -> String {
    let mut out = name.to_owned();
    for (key, value) in pairs {
        // Writing to a string cannot fail.
        let _ = write!(out, " {key}={value}");
    }
    out
}

/// `[a b]`, Go's `%v`.
pub(super) fn list(items: &[String]) -> String {
    format!("[{}]", items.join(" "))
}

/// `["a" "b"]`, Go's `%q`.
pub(super) fn quoted(items: &[String]) -> String {
    let items: Vec<String> = items.iter().map(|item| quote(item)).collect();
    format!("[{}]", items.join(" "))
}

/// Go's `%+v` of the struct.
pub(super) fn healthcheck(check: &HealthcheckStep) -> String {
    format!(
        "HEALTHCHECK {{Test:{} Interval:{} Timeout:{} StartPeriod:{} StartInterval:{} Retries:{}}}",
        list(&check.test),
        duration::show(check.interval),
        duration::show(check.timeout),
        duration::show(check.start_period),
        duration::show(check.start_interval),
        check.retries,
    )
}

/// A string in Go's syntax.
pub(crate) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            c if c < ' ' || c == '\u{7f}' => {
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            // Of the blanks Go prints only the space as it is.
            c if c != ' ' && (c.is_control() || c.is_whitespace() || c == '\u{feff}') => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_in_go_syntax() {
        #[track_caller]
        fn check(text: &str, expected: &str) {
            assert_eq!(quote(text), expected, "{text:?}");
        }

        check("a b", r#""a b""#);
        check("a\"b\\", r#""a\"b\\""#);
        check("\n\t\u{1}\u{a0}é", r#""\n\t\x01\u00a0é""#);
    }
}
