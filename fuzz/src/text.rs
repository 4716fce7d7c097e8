//! The texts that name things: digests, references, platforms, media types.

use corten_spec::{Digest, Platform, Reference, media_type as types, reference};

/// Digests: what is accepted is of the specification's grammar and is shown as it was written.
pub(crate) fn digest(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let Ok(digest) = text.parse::<Digest>() else {
        return;
    };
    assert_eq!(digest.to_string(), text);
    let (algorithm, encoded) = text.split_once(':').expect("a digest has a colon");
    assert_eq!(
        (digest.algorithm_name(), digest.encoded()),
        (algorithm, encoded)
    );
    // descriptor.md#digests: components of [a-z0-9]+ with single separators.
    let is_component = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    assert!(algorithm.split(['+', '.', '_', '-']).all(is_component));
    assert!(!encoded.is_empty());
    assert!(
        encoded
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"=_-".contains(&byte))
    );
    if let Some(known) = digest.algorithm() {
        assert_eq!(known.name(), algorithm);
        assert!(
            encoded
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        );
        assert!(digest.hasher().is_ok());
    }
    drop(Digest::known(text));
    drop(digest.verify(data));
}

/// References: what is accepted means the same when it is written in full, and when it is written
/// the familiar way.
pub(crate) fn reference(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let is_tag = reference::is_tag(text);
    let Ok(parsed) = text.parse::<Reference>() else {
        return;
    };
    for written in [parsed.to_string(), parsed.familiar()] {
        let again: Reference = written.parse().expect("what is shown is read");
        assert_eq!(again, parsed, "{written}");
    }
    assert!(parsed.tag().is_none_or(reference::is_tag));
    assert!(!is_tag || parsed.tag().is_none());
    let latest = parsed.clone().or_latest();
    assert!(!latest.identifier().is_empty());
    assert_eq!(latest.name(), parsed.name());
}

/// Platforms, both those of images and those of Dockerfiles.
pub(crate) fn platform(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let default = corten_dockerfile::Platform::new("linux", "amd64", "");
    drop(corten_dockerfile::Platform::parse(text, &default));
    let Ok(platform) = text.parse::<Platform>() else {
        return;
    };
    let normalized = platform.normalized();
    assert_eq!(normalized.normalized(), normalized);
    let again: Platform = platform.to_string().parse().expect("what is shown is read");
    assert_eq!(again.normalized(), normalized, "{platform}");
}

/// Media types.
pub(crate) fn media_type(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let bare = types::without_parameters(text);
    assert_eq!(types::without_parameters(bare), bare);
    assert_eq!(corten_spec::Kind::of(bare), corten_spec::Kind::of(text));
    if types::check(text).is_ok() {
        assert_eq!(bare, text);
        assert!(text.len() <= 255 && text.is_ascii());
    }
}
