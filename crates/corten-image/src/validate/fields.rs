//! Rules that several documents share: descriptors, annotations, headers.

use corten_spec::{Descriptor, Digest, media_type};
use serde_json::Value;

use super::{Report, must, should};

/// The rules of a document's `schemaVersion` and `mediaType`, which each kind has under ids of its own.
pub(super) struct HeaderRules {
    pub(super) version: &'static str,
    pub(super) has_type: &'static str,
    pub(super) right_type: &'static str,
}

/// Checks `schemaVersion` and `mediaType` against the type of the descriptor.
pub(super) fn check_header(
    report: &mut Report<'_>,
    document: &Value,
    expected: &str,
    rules: &HeaderRules,
) {
    if document.get("schemaVersion") != Some(&Value::from(2)) {
        let found = document.get("schemaVersion").unwrap_or(&Value::Null);
        report.pointer(
            "/schemaVersion",
            must(rules.version),
            format!("it is {}, expected 2", shown(found)),
        );
    }
    match document.get("mediaType") {
        None => report.pointer("/mediaType", should(rules.has_type), "it is not there"),
        Some(found) if found != media_type::without_parameters(expected) => {
            let found = shown(found);
            let message = format!("it is {found}, but its descriptor says `{expected}`");
            report.pointer("/mediaType", must(rules.right_type), message);
        }
        Some(_) => {}
    }
}

/// Checks annotations or labels, which are names and texts (ANN-01 to ANN-06).
pub(super) fn check_annotations(
    report: &mut Report<'_>,
    pointer: &str,
    value: Option<&Value>,
    id: &'static str,
) {
    let Some(value) = value else { return };
    let Some(map) = value.as_object() else {
        report.pointer(
            pointer,
            must(id),
            format!("it is {}, expected an object", shown(value)),
        );
        return;
    };
    for (key, value) in map {
        let at = child(pointer, key);
        if !value.is_string() {
            report.pointer(
                &at,
                must(id),
                format!("it is {}, expected a string", shown(value)),
            );
        }
        if key.is_empty() {
            report.pointer(&at, should("ANN-04"), "the key is empty");
        }
    }
}

/// Checks a descriptor field by field, and returns it if it can be followed.
pub(super) fn check_descriptor(
    report: &mut Report<'_>,
    pointer: &str,
    value: &Value,
) -> Option<Descriptor> {
    let Some(fields) = value.as_object() else {
        let message = format!("it is {}, expected a descriptor", shown(value));
        report.pointer(pointer, must("DSC-01"), message);
        return None;
    };
    for name in ["mediaType", "digest", "size"] {
        if !fields.contains_key(name) {
            report.pointer(pointer, must("DSC-01"), format!("it has no `{name}`"));
        }
    }
    let text = |name: &str| fields.get(name).and_then(Value::as_str);
    check_type(
        report,
        &child(pointer, "mediaType"),
        fields.get("mediaType"),
        "DSC-02",
    );
    check_type(
        report,
        &child(pointer, "artifactType"),
        fields.get("artifactType"),
        "DSC-12",
    );
    if let Some(Err(error)) = text("digest").map(str::parse::<Digest>) {
        report.pointer(&child(pointer, "digest"), must("DSC-14"), error.to_string());
    }
    if let Some(size) = fields.get("size").filter(|size| size.as_u64().is_none()) {
        let (is_negative, at) = (size.as_i64().is_some(), child(pointer, "size"));
        let id = if is_negative { "DSC-06" } else { "DSC-05" };
        report.pointer(
            &at,
            must(id),
            format!("it is {}, expected a length", shown(size)),
        );
    }
    for (url_idx, url) in fields
        .get("urls")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .enumerate()
    {
        let is_web = url
            .as_str()
            .is_some_and(|url| url.starts_with("https://") || url.starts_with("http://"));
        if !is_web {
            let at = child(&child(pointer, "urls"), &url_idx.to_string());
            report.pointer(
                &at,
                should("DSC-08"),
                format!("{} is no http or https URL", shown(url)),
            );
        }
    }
    check_annotations(
        report,
        &child(pointer, "annotations"),
        fields.get("annotations"),
        "DSC-09",
    );
    check_platform(report, &child(pointer, "platform"), fields.get("platform"));
    let descriptor: Descriptor = match serde_json::from_value(value.clone()) {
        Ok(descriptor) => descriptor,
        Err(error) => {
            if !report.is_broken {
                report.pointer(pointer, must("DSC-01"), error.to_string());
            }
            return None;
        }
    };
    if let Err(error) = descriptor.embedded() {
        let id = if error.is_mismatch() {
            "DSC-11"
        } else {
            "DSC-10"
        };
        report.pointer(&child(pointer, "data"), must(id), error.to_string());
        return None;
    }
    Some(descriptor)
}

fn check_platform(report: &mut Report<'_>, pointer: &str, value: Option<&Value>) {
    let Some(value) = value else { return };
    for (name, id) in [("architecture", "IDX-09"), ("os", "IDX-10")] {
        if value
            .get(name)
            .and_then(Value::as_str)
            .is_none_or(str::is_empty)
        {
            report.pointer(&child(pointer, name), must(id), "it is not there");
        }
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
    match value.as_str().map(media_type::check) {
        Some(Ok(())) => {}
        Some(Err(error)) => report.pointer(pointer, must(id), error.to_string()),
        None => report.pointer(
            pointer,
            must(id),
            format!("it is {}, expected a media type", shown(value)),
        ),
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
        Value::String(text) => {
            let mut short: String = text.chars().take(80).collect();
            if short.len() < text.len() {
                short.push('…');
            }
            format!("`{}`", short.escape_debug())
        }
        Value::Array(_) => "an array".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}
