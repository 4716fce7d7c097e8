//! What all documents share: JSON itself, headers, pointers.

use corten_spec::{Descriptor, Document, DocumentType, media_type};
use serde_json::Value;

use super::annotations::{Holder, check_annotations};
use super::finding::Fault;
use super::report::{Report, chain, must, should};

/// The rules of the fields that manifests and indexes share, which each has under ids of its own.
pub(super) struct HeaderRules {
    pub(super) version: &'static str,
    pub(super) has_type: &'static str,
    pub(super) right_type: &'static str,
    /// What to say of fields that only other documents may have.
    pub(super) foreign: &'static str,
    pub(super) artifact_type: &'static str,
    pub(super) annotations: &'static str,
}

/// Checks the fields that manifests and indexes share: the types, against that of the descriptor, and
/// annotations.
pub(super) fn check_header<T: DocumentType>(
    report: &mut Report<'_>,
    document: &Value,
    expected: &str,
    rules: &HeaderRules,
) {
    check_version(report, document, rules);
    check_own_type(report, document, expected, rules);
    for name in T::FOREIGN_FIELDS {
        if document.get(name).is_some() {
            report.pointer(&child("", name), must("MT-03"), rules.foreign);
        }
    }
    let artifact_type = document.get("artifactType");
    check_type(report, "/artifactType", artifact_type, rules.artifact_type);
    let holder = (rules.annotations, Holder::Other);
    let annotations = document.get("annotations");
    check_annotations(report, "/annotations", annotations, holder);
}

fn check_version(report: &mut Report<'_>, document: &Value, rules: &HeaderRules) {
    match document.get("schemaVersion") {
        Some(found) if found.as_u64() == Some(2) => {}
        Some(found) => {
            let fault = Fault::differs(shown(found), "2");
            report.pointer("/schemaVersion", must(rules.version), fault);
        }
        None => report.pointer("/schemaVersion", must(rules.version), Fault::missing("2")),
    }
}

fn check_own_type(report: &mut Report<'_>, document: &Value, expected: &str, rules: &HeaderRules) {
    let expected = media_type::without_parameters(expected);
    match document.get("mediaType") {
        // Docker's types have been told apart by this field alone.
        None if expected.starts_with("application/vnd.docker.") => {
            report.pointer("/mediaType", should("V2S2-02"), Fault::missing(expected));
        }
        None => report.pointer(
            "/mediaType",
            should(rules.has_type),
            Fault::missing(expected),
        ),
        Some(found) if found != expected => {
            let fault = Fault::differs(shown(found), format!("`{expected}`"));
            let message = format!(
                "it is {}, but its descriptor says `{expected}`",
                shown(found)
            );
            report.pointer("/mediaType", must(rules.right_type), fault.saying(message));
        }
        Some(_) => {}
    }
}

/// Checks an optional media type.
pub(super) fn check_type(
    report: &mut Report<'_>,
    pointer: &str,
    value: Option<&Value>,
    id: &'static str,
) {
    let Some(value) = value else { return };
    let is_type = |text| media_type::check(text).is_ok();
    if !value.as_str().is_some_and(is_type) {
        let fault = Fault::differs(shown(value), "a media type such as `text/plain`");
        report.pointer(pointer, must(id), fault);
    }
}

/// Checks that an optional value is a string, and returns it.
pub(super) fn check_text<'a>(
    report: &mut Report<'_>,
    pointer: &str,
    value: Option<&'a Value>,
    id: &'static str,
) -> Option<&'a str> {
    let value = value?;
    let text = value.as_str();
    if text.is_none() {
        let fault = Fault::differs(shown(value), "a string");
        report.pointer(pointer, must(id), fault);
    }
    text
}

/// Checks that an optional value is an array of strings, and returns those that are.
pub(super) fn check_texts<'a>(
    report: &mut Report<'_>,
    pointer: &str,
    value: Option<&'a Value>,
    id: &'static str,
) -> Vec<(usize, &'a str)> {
    let Some(value) = value else {
        return Vec::new();
    };
    let Some(items) = value.as_array() else {
        let fault = Fault::differs(shown(value), "an array of strings");
        report.pointer(pointer, must(id), fault);
        return Vec::new();
    };
    let mut texts = Vec::new();
    for (item_idx, item) in items.iter().enumerate() {
        let at = child(pointer, &item_idx.to_string());
        let text = check_text(report, &at, Some(item), id);
        texts.extend(text.map(|text| (item_idx, text)));
    }
    texts
}

/// Parses JSON as considerations.md asks for it, an object.
pub(super) fn parse<T: DocumentType>(report: &mut Report<'_>, bytes: &[u8]) -> Option<Value> {
    let is_utf8 = std::str::from_utf8(bytes).is_ok();
    if !is_utf8 || bytes.starts_with(b"\xef\xbb\xbf") {
        let received = if is_utf8 {
            "text after a byte order mark"
        } else {
            "bytes that are not UTF-8"
        };
        report.whole(must("CNS-05"), Fault::differs(received, "plain UTF-8"));
        return None;
    }
    match corten_spec::json::parse::<Value>(T::NAME, bytes) {
        Ok(value) if value.is_object() => {
            check_values(report, &value);
            Some(value)
        }
        Ok(value) => {
            let fault = Fault::differs(shown(&value), "an object");
            report.whole(must("MAN-01"), fault);
            None
        }
        Err(error) => {
            let text = error.to_string();
            let id = if text.contains("occurs twice") {
                "CNS-07"
            } else if text.contains("recursion limit") {
                "CNS-09"
            } else {
                "CNS-04"
            };
            report.whole(must(id), text);
            None
        }
    }
}

/// The largest integer that every reader of JSON holds exactly (RFC 7493 section 2.2).
const EXACT: u64 = 1 << 53;

/// Checks all strings and numbers of a document, which the parser has bounded in depth.
fn check_values(report: &mut Report<'_>, document: &Value) {
    let mut todo = vec![(String::new(), document)];
    while let Some((pointer, value)) = todo.pop() {
        match value {
            Value::String(text) => check_characters(report, &pointer, text),
            Value::Number(number) => {
                let magnitude = number
                    .as_u64()
                    .or_else(|| number.as_i64().map(i64::unsigned_abs));
                if magnitude.is_some_and(|magnitude| magnitude > EXACT) {
                    let fault = Fault::differs(number.to_string(), "at most 2^53");
                    report.pointer(&pointer, should("CNS-06"), fault);
                }
            }
            Value::Array(items) => {
                let items = items.iter().enumerate().rev();
                todo.extend(items.map(|(idx, item)| (format!("{pointer}/{idx}"), item)));
            }
            Value::Object(fields) => {
                for name in fields.keys() {
                    check_characters(report, &pointer, name);
                }
                let fields = fields.iter().rev();
                todo.extend(fields.map(|(name, value)| (child(&pointer, name), value)));
            }
            Value::Null | Value::Bool(_) => {}
        }
    }
}

fn check_characters(report: &mut Report<'_>, pointer: &str, text: &str) {
    let is_noncharacter = |letter: char| {
        let code = u32::from(letter);
        code & 0xfffe == 0xfffe || (0xfdd0..=0xfdef).contains(&code)
    };
    if let Some(letter) = text.chars().find(|letter| is_noncharacter(*letter)) {
        let message = format!(
            "it holds U+{:04X}, which is no character (RFC 7493 section 2.1)",
            u32::from(letter)
        );
        report.pointer(pointer, must("CNS-04"), message);
    }
}

/// Has the parser that everything else uses say what the rules here have missed, so that nothing is
/// found to be valid that cannot be used.
pub(super) fn conclude<T: DocumentType>(
    report: &mut Report<'_>,
    descriptor: &Descriptor,
    bytes: &[u8],
) {
    if report.is_broken {
        return;
    }
    if let Err(error) = Document::<T>::from_bytes(&descriptor.media_type, bytes.to_vec()) {
        let message = format!("it cannot be used: {}", chain(&error));
        report.whole(must("CNS-04"), message);
    }
}

/// Returns the JSON pointer of `name` in what `pointer` points to (RFC 6901).
pub(super) fn child(pointer: &str, name: &str) -> String {
    format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// Returns a value for a message: short, and on one line.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(value) => value.to_string(),
        Value::String(text) => quoted(text),
        Value::Array(_) => "an array".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

/// Returns a text for a message: short, and on one line.
pub(super) fn quoted(text: &str) -> String {
    let mut short: String = text.chars().take(80).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("`{}`", short.escape_debug())
}
