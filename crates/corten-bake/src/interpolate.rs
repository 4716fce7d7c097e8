//! Variables in texts of compose files.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::bake::Lookup;

/// Reads `.env`: lines of `NAME=VALUE`, where quotes around a value are taken away.
pub(crate) fn env_file(text: &str) -> BTreeMap<String, String> {
    let pair = |line: &str| {
        let line = line.trim();
        let line = line.strip_prefix("export ").unwrap_or(line);
        let (name, value) = line.split_once('=').filter(|_| !line.starts_with('#'))?;
        let value = value.trim();
        let quoted = ['"', '\''].iter().find_map(|quote| {
            let inside = value.strip_prefix(*quote)?;
            inside.strip_suffix(*quote)
        });
        let plain = value.split(" #").next().unwrap_or(value).trim_end();
        Some((name.trim().to_owned(), quoted.unwrap_or(plain).to_owned()))
    };
    text.lines().filter_map(pair).collect()
}

/// Deeper than anyone nests defaults.
const DEEPEST: usize = 16;

/// A text may grow to so many bytes.
const MOST_BYTES: usize = 1 << 20;

/// Replaces the variables in all texts of `value`; keys are not looked at.
///
/// # Errors
///
/// A variable that has to be set and is not, and forms that are not known.
pub(crate) fn interpolate(value: Value, environment: &Lookup<'_>) -> Result<Value, String> {
    match value {
        Value::String(text) => expand(&text, environment, 0).map(Value::String),
        Value::Array(values) => {
            let values = values.into_iter();
            let values = values.map(|value| interpolate(value, environment));
            values.collect::<Result<Vec<_>, _>>().map(Value::Array)
        }
        Value::Object(object) => {
            let pairs = object.into_iter();
            let pairs = pairs.map(|(key, value)| Ok((key, interpolate(value, environment)?)));
            let pairs: Result<Map<_, _>, String> = pairs.collect();
            pairs.map(Value::Object)
        }
        other @ (Value::Null | Value::Bool(_) | Value::Number(_)) => Ok(other),
    }
}

/// Replaces `$NAME` and `${NAME…}`; `$$` is a dollar sign.
fn expand(text: &str, environment: &Lookup<'_>, depth: usize) -> Result<String, String> {
    if depth > DEEPEST {
        return Err("it is nested too deeply".to_owned());
    }
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            expanded.push('$');
            rest = after;
        } else if let Some(inside) = after.strip_prefix('{') {
            let end = closing(inside).ok_or_else(|| format!("`${{{inside}` does not end"))?;
            let (inside, after) = inside.split_at_checked(end).unwrap_or((inside, ""));
            expanded.push_str(&substituted(inside, environment, depth)?);
            rest = after.strip_prefix('}').unwrap_or(after);
        } else {
            let (name, after) = name(after);
            if name.is_empty() {
                return Err(format!(
                    "`${after}` names no variable; a dollar sign is `$$`"
                ));
            }
            expanded.push_str(&environment(name).unwrap_or_default());
            rest = after;
        }
        if expanded.len() > MOST_BYTES {
            return Err(format!("it has more than {MOST_BYTES} bytes"));
        }
    }
    expanded.push_str(rest);
    Ok(expanded)
}

/// Returns where the brace ends that the text is in.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 1_usize;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

fn name(text: &str) -> (&str, &str) {
    let is_first = |c: char| c.is_ascii_alphabetic() || c == '_';
    let rest = text.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_');
    let name = text.strip_suffix(rest).unwrap_or_default();
    if name.starts_with(is_first) {
        (name, rest)
    } else {
        ("", text)
    }
}

fn substituted(inside: &str, environment: &Lookup<'_>, depth: usize) -> Result<String, String> {
    let (name, rest) = name(inside);
    let value = environment(name);
    let (is_set, operator) = match rest.strip_prefix(':') {
        Some(operator) => (
            value.as_ref().is_some_and(|value| !value.is_empty()),
            operator,
        ),
        None => (value.is_some(), rest),
    };
    let word = |word: &str| expand(word, environment, depth + 1);
    let mut chars = operator.chars();
    let operation = chars.next();
    let (value, other) = (value.unwrap_or_default(), chars.as_str());
    match operation {
        _ if name.is_empty() => {}
        None if rest.is_empty() => return Ok(value),
        Some('-') => return if is_set { Ok(value) } else { word(other) },
        Some('+') => {
            return if is_set {
                word(other)
            } else {
                Ok(String::new())
            };
        }
        Some('?') if is_set => return Ok(value),
        Some('?') => return Err(format!("`{name}` has to be set: {}", word(other)?)),
        _ => {}
    }
    Err(format!(
        "`${{{inside}}}` is not of the form `${{NAME}}`, or with `-`, `+` or `?` and a word"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_variables() {
        let text = "# X=1\nA=b # c\nexport B = \"x # y\"\nC='d'\nD\nE=\n";
        let expected = [("A", "b"), ("B", "x # y"), ("C", "d"), ("E", "")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(env_file(text), BTreeMap::from(expected));
    }

    #[test]
    fn forms() {
        #[track_caller]
        fn check(text: &str, expected: Option<&str>) {
            let lookup = |name: &str| match name {
                "A" => Some("a".to_owned()),
                "EMPTY" => Some(String::new()),
                _ => None,
            };
            let found = expand(text, &lookup, 0).ok();
            assert_eq!(found.as_deref(), expected, "{text}");
        }
        check("x$A-${A}$$A", Some("xa-a$A"));
        check("${B:-d}${EMPTY:-d}${EMPTY-d}${A:-d}", Some("dda"));
        check("${A:+x}${EMPTY:+x}${EMPTY+y}${B+z}", Some("xy"));
        check("${B:-${A}-${C:-}}", Some("a-"));
        check("${A?no}", Some("a"));
        check("${B?no}", None);
        check("${A!}", None);
        check("${A", None);
        check("$", None);
        check("$1", None);
        check(&"${B:-".repeat(50), None);
        check(&format!("{}{}", "${B:-".repeat(50), "}".repeat(50)), None);
    }
}
