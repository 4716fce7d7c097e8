//! Changing single values in the text of a JSON document, so that every other byte stays.
//!
//! The text is one that was parsed before: nothing here checks it, and nothing here panics on a text
//! that is no JSON either.

use std::ops::Range;

/// A member of an object: what it is called, and where it is.
#[derive(Debug)]
pub(super) struct Member {
    /// The name, without escapes.
    pub(super) name: String,
    /// Where the member is, from its name's quote to the end of its value.
    pub(super) whole: Range<usize>,
    /// Where the value is.
    pub(super) value: Range<usize>,
}

/// Changes to be made to a text.
#[derive(Debug, Default)]
pub(super) struct Edits(Vec<(Range<usize>, String)>);

impl Edits {
    /// Puts `text` in the place of `range`, which is in no other change.
    pub(super) fn replace(&mut self, range: Range<usize>, text: String) {
        self.0.push((range, text));
    }

    /// Puts `text` before the byte at `position`.
    pub(super) fn insert(&mut self, position: usize, text: String) {
        self.0.push((position..position, text));
    }

    /// Takes those of `parts`, the members of an object or the items of an array in their order, out
    /// that `is_removed` says, with the commas that separated them.
    pub(super) fn remove(&mut self, parts: &[Range<usize>], is_removed: &[bool]) {
        let mut idx = 0;
        while idx < parts.len() {
            let n_removed = is_removed
                .iter()
                .skip(idx)
                .take_while(|&&removed| removed)
                .count();
            if n_removed == 0 {
                idx += 1;
                continue;
            }
            let last = (idx + n_removed).min(parts.len()) - 1;
            let range = match (idx.checked_sub(1), parts.get(last + 1)) {
                (_, Some(next)) => parts[idx].start..next.start,
                (Some(before), None) => parts[before].end..parts[last].end,
                (None, None) => parts[idx].start..parts[last].end,
            };
            self.0.push((range, String::new()));
            idx = last + 1;
        }
    }

    /// Returns `text` with all changes made.
    pub(super) fn apply(mut self, text: &[u8]) -> Vec<u8> {
        // Stable: what is put before a part that is removed comes first.
        self.0.sort_by_key(|(range, _)| range.start);
        let mut changed = Vec::with_capacity(text.len());
        let mut at = 0;
        for (range, new) in &self.0 {
            changed.extend_from_slice(text.get(at..range.start).unwrap_or_default());
            changed.extend_from_slice(new.as_bytes());
            at = range.end;
        }
        changed.extend_from_slice(text.get(at..).unwrap_or_default());
        changed
    }
}

/// Lists the members of the object that begins at or after `start`.
pub(super) fn members(text: &[u8], start: usize) -> Vec<Member> {
    let mut found = Vec::new();
    let mut at = skip_space(text, skip_space(text, start) + 1);
    while text.get(at) == Some(&b'"') {
        let name = at..value_end(text, at);
        let colon = skip_space(text, name.end);
        let value = skip_space(text, colon + 1);
        let value = value..value_end(text, value);
        at = after_comma(text, value.end);
        let bytes = text.get(name.clone()).unwrap_or_default();
        found.push(Member {
            name: serde_json::from_slice(bytes).unwrap_or_default(),
            whole: name.start..value.end,
            value,
        });
    }
    found
}

/// Lists the items of the array that begins at `start`.
pub(super) fn items(text: &[u8], start: usize) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = skip_space(text, start + 1);
    while text.get(at).is_some_and(|&byte| byte != b']') {
        let item = at..value_end(text, at);
        at = after_comma(text, item.end);
        found.push(item);
    }
    found
}

/// Returns where the next part begins, or the end of the text if there is none.
fn after_comma(text: &[u8], at: usize) -> usize {
    let comma = skip_space(text, at);
    if text.get(comma) == Some(&b',') {
        skip_space(text, comma + 1)
    } else {
        text.len()
    }
}

fn skip_space(text: &[u8], at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    let n_spaces = rest
        .iter()
        .take_while(|byte| b" \t\r\n".contains(byte))
        .count();
    at + n_spaces
}

/// Returns where the value that begins at `at` ends; always after `at`.
fn value_end(text: &[u8], at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    let (mut depth, mut in_string, mut is_escaped) = (0_usize, false, false);
    for (idx, &byte) in rest.iter().enumerate() {
        if in_string {
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' => is_escaped = true,
                b'"' if depth == 0 => return at + idx + 1,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth > 1 => depth -= 1,
            b'}' | b']' if depth == 1 => return at + idx + 1,
            b',' | b'}' | b']' | b' ' | b'\t' | b'\r' | b'\n' if depth == 0 => {
                return at + idx.max(1);
            }
            _ => {}
        }
    }
    at + rest.len().max(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn where_members_are() {
        #[track_caller]
        fn check(text: &str, expected: &[(&str, &str)]) {
            let found = members(text.as_bytes(), 0);
            let shown: Vec<_> = found
                .iter()
                .map(|member| {
                    (
                        member.name.as_str(),
                        text.get(member.value.clone()).unwrap(),
                    )
                })
                .collect();
            assert_eq!(shown, expected, "{text}");
        }
        check("{}", &[]);
        check(" { } ", &[]);
        check(r#"{"a":1},"b":2}"#, &[("a", "1")]);
        check(r#"{"a":1,"b":null}"#, &[("a", "1"), ("b", "null")]);
        check(
            "{\n \"a\" : {\"b\":[1,{}]} ,\n\t\"c\":[ ]\n}",
            &[("a", r#"{"b":[1,{}]}"#), ("c", "[ ]")],
        );
        check(
            r#"{"\u0061\"":"}\",\\","b":-1.5e3}"#,
            &[("a\"", r#""}\",\\""#), ("b", "-1.5e3")],
        );
    }

    #[test]
    fn where_items_are() {
        #[track_caller]
        fn check(text: &str, expected: &[&str]) {
            let found = items(text.as_bytes(), 0);
            let shown: Vec<_> = found
                .iter()
                .map(|item| text.get(item.clone()).unwrap())
                .collect();
            assert_eq!(shown, expected, "{text}");
        }
        check("[]", &[]);
        check("[ ]", &[]);
        check("[1],2,[3]", &["1"]);
        check(
            r#"[1 , "a,b" ,[2],{"x":[]}]"#,
            &["1", r#""a,b""#, "[2]", r#"{"x":[]}"#],
        );
    }

    #[test]
    fn removing() {
        #[track_caller]
        fn check(removed: [bool; 3], expected: &str) {
            let text = "[1, 2, 3]";
            let mut edits = Edits::default();
            edits.remove(&items(text.as_bytes(), 0), &removed);
            let changed = edits.apply(text.as_bytes());
            assert_eq!(String::from_utf8(changed).unwrap(), expected, "{removed:?}");
        }
        check([false, false, false], "[1, 2, 3]");
        check([true, false, false], "[2, 3]");
        check([false, true, false], "[1, 3]");
        check([false, false, true], "[1, 2]");
        check([true, true, false], "[3]");
        check([false, true, true], "[1]");
        check([true, false, true], "[2]");
        check([true, true, true], "[]");
    }

    proptest! {
        #[test]
        fn no_text_does_harm(text: Vec<u8>) {
            members(&text, 0);
            items(&text, 0);
        }

        #[test]
        fn punctuation_does_no_harm(text in "[{}\\[\\]:,\"\\\\ a1]{0,40}") {
            members(text.as_bytes(), 0);
            items(text.as_bytes(), 0);
        }
    }
}
