//! Descriptors, wherever they are (descriptor.md).

use corten_spec::{Descriptor, Digest, media_type};
use serde_json::Value;

use super::annotations::{Holder, check_annotations};
use super::fields::{check_text, check_texts, check_type, child, quoted, shown};
use super::finding::Fault;
use super::platform::{self, check_fields};
use super::report::{Report, must, should};
use super::uri;

/// The size and the digest of `{}` (manifest.md#guidance-for-an-empty-descriptor).
const EMPTY: (u64, &str) = (
    2,
    "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
);

/// Checks a descriptor field by field, and returns it if it can be followed.
pub(super) fn check_descriptor(
    report: &mut Report<'_>,
    pointer: &str,
    value: &Value,
    holder: Holder,
) -> Option<Descriptor> {
    let Some(fields) = value.as_object() else {
        let fault = Fault::differs(shown(value), "a descriptor");
        report.pointer(pointer, must("DSC-01"), fault);
        return None;
    };
    for name in ["mediaType", "digest", "size"] {
        if !fields.contains_key(name) {
            let fault = Fault::missing(format!("`{name}`")).saying(format!("it has no `{name}`"));
            report.pointer(pointer, must("DSC-01"), fault);
        }
    }
    let at = |name: &str| child(pointer, name);
    check_type(report, &at("mediaType"), fields.get("mediaType"), "DSC-02");
    check_type(
        report,
        &at("artifactType"),
        fields.get("artifactType"),
        "DSC-12",
    );
    if let Some(digest) = check_text(report, &at("digest"), fields.get("digest"), "DSC-14") {
        check_digest(report, &at("digest"), digest);
    }
    if let Some(size) = fields.get("size") {
        check_size(report, &at("size"), size);
    }
    check_urls(report, &at("urls"), fields.get("urls"));
    check_annotations(
        report,
        &at("annotations"),
        fields.get("annotations"),
        ("DSC-09", holder),
    );
    if let Some(platform) = fields.get("platform") {
        if platform.is_object() {
            check_fields(report, &at("platform"), platform, &platform::OF_DESCRIPTOR);
        } else {
            let fault = Fault::differs(shown(platform), "an object");
            report.pointer(&at("platform"), must("IDX-09"), fault);
        }
    }
    check_text(report, &at("data"), fields.get("data"), "DSC-10");
    let descriptor = followed(value)?;
    let is_empty = (descriptor.size, descriptor.digest.as_str()) == EMPTY;
    if descriptor.media_type == media_type::OCI_EMPTY && !is_empty {
        let received = format!("`{}` of {} bytes", descriptor.digest, descriptor.size);
        let fault = Fault::differs(received, format!("`{}` of {} bytes", EMPTY.1, EMPTY.0));
        report.pointer(&at("digest"), should("MAN-22"), fault);
    }
    check_data(report, &at("data"), fields.get("data"), &descriptor);
    Some(descriptor)
}

/// Returns what is needed to read the content, whatever else is wrong with the descriptor.
fn followed(value: &Value) -> Option<Descriptor> {
    let descriptor: Result<Descriptor, _> = serde_json::from_value(value.clone());
    if let Ok(descriptor) = descriptor {
        return Some(descriptor);
    }
    let media_type = value.get("mediaType")?.as_str()?;
    let digest = value.get("digest")?.as_str()?.parse().ok()?;
    Some(Descriptor::new(
        media_type,
        digest,
        value.get("size")?.as_u64()?,
    ))
}

/// Checks a digest: the grammar of all, and the encodings of those that are registered.
pub(super) fn check_digest(report: &mut Report<'_>, pointer: &str, text: &str) -> Option<Digest> {
    let error = match text.parse::<Digest>() {
        Ok(digest) => return Some(digest),
        Err(error) => error,
    };
    let (id, expected) = match text.split_once(':') {
        Some(("sha256", encoded)) if is_encoded(encoded) => {
            ("DSC-21", "64 digits of `0` to `9` and `a` to `f`")
        }
        Some(("sha512", encoded)) if is_encoded(encoded) => {
            ("DSC-21", "128 digits of `0` to `9` and `a` to `f`")
        }
        Some(("blake3", encoded)) if is_encoded(encoded) => {
            ("DSC-21", "64 digits of `0` to `9` and `a` to `f`")
        }
        _ => ("DSC-14", "a digest, `ALGORITHM:ENCODED`"),
    };
    let fault = Fault::differs(quoted(text), expected);
    report.pointer(pointer, must(id), fault.saying(error.to_string()));
    None
}

fn is_encoded(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"=_-".contains(&byte);
    !text.is_empty() && text.bytes().all(is_allowed)
}

fn check_size(report: &mut Report<'_>, pointer: &str, size: &Value) {
    // What no integer holds was read as the nearest other number.
    let is_huge = size.as_f64().is_some_and(|size| size >= f64::powi(2.0, 63));
    let (id, expected) = match (size.as_u64(), size.as_i64()) {
        (Some(length), _) if i64::try_from(length).is_ok() => return,
        _ if is_huge => ("DSC-05", "at most 2^63-1"),
        (_, Some(_)) => ("DSC-06", "a length of 0 or more"),
        _ => ("DSC-05", "a whole number"),
    };
    report.pointer(pointer, must(id), Fault::differs(shown(size), expected));
}

fn check_urls(report: &mut Report<'_>, pointer: &str, urls: Option<&Value>) {
    for (url_idx, url) in check_texts(report, pointer, urls, "DSC-07") {
        let at = child(pointer, &url_idx.to_string());
        let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme);
        if !uri::is_uri(url) {
            let fault = Fault::differs(quoted(url), "a URI");
            report.pointer(&at, must("DSC-07"), fault);
        } else if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
            let fault = Fault::differs(quoted(url), "a URL of http or https");
            report.pointer(&at, should("DSC-08"), fault);
        }
    }
}

fn check_data(
    report: &mut Report<'_>,
    pointer: &str,
    data: Option<&Value>,
    descriptor: &Descriptor,
) {
    let Some(Value::String(data)) = data else {
        return;
    };
    let with_data = Descriptor {
        data: Some(data.clone()),
        ..descriptor.bare()
    };
    let Err(error) = with_data.embedded() else {
        return;
    };
    match &error {
        corten_spec::Error::DigestMismatch { expected, received } => {
            let fault = Fault::differs(format!("`{received}`"), format!("`{expected}`"));
            report.pointer(pointer, must("DSC-11"), fault.saying(error.to_string()));
        }
        corten_spec::Error::SizeMismatch {
            expected, received, ..
        } => {
            let fault = Fault::differs(format!("{received} bytes"), format!("{expected} bytes"));
            report.pointer(pointer, must("DSC-11"), fault.saying(error.to_string()));
        }
        // What is embedded cannot be verified, as little as the content itself.
        corten_spec::Error::UnsupportedAlgorithm { .. } => {}
        _ => {
            let fault = Fault::differs(quoted(data), "base64 with padding");
            report.pointer(pointer, must("DSC-10"), fault);
        }
    }
}
