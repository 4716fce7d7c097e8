//! Descriptors: what names content (descriptor.md).

use base64::Engine as _;
use serde::{Deserialize, Serialize};

use crate::annotations::Annotations;
use crate::{Digest, Error, Kind, Platform, Result, media_type};

/// Names content by media type, digest and size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", remote = "Self")]
pub struct Descriptor {
    /// What the content is.
    pub media_type: String,
    /// The hash of the content.
    pub digest: Digest,
    /// The content's length in bytes; at most `i64::MAX`.
    pub size: u64,
    /// Where else the content may be had.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// Annotations of this reference to the content.
    #[serde(default, skip_serializing_if = "Annotations::is_empty")]
    pub annotations: Annotations,
    /// The content itself in base64, see [`Descriptor::embedded`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// The platform that the content is for, in an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// The type of the artifact that the content is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
}

crate::json::only_objects!(Descriptor);

impl Descriptor {
    /// Returns a descriptor of `size` bytes of `media_type` named `digest`.
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest,
            size,
            urls: Vec::new(),
            annotations: Annotations::new(),
            data: None,
            platform: None,
            artifact_type: None,
        }
    }

    /// Returns the descriptor of `bytes`, named by their SHA-256 digest.
    pub fn of(media_type: &str, bytes: &[u8]) -> Self {
        Self::new(media_type, Digest::sha256(bytes), bytes.len() as u64)
    }

    /// Returns what the media type says that the content is.
    pub fn kind(&self) -> Kind {
        Kind::of(&self.media_type)
    }

    /// Returns the same content without what one reference to it says beside: annotations,
    /// platform, URLs, embedded data.
    #[must_use]
    pub fn bare(&self) -> Self {
        Self::new(&self.media_type, self.digest.clone(), self.size)
    }

    /// Checks that `bytes` are the content that this descriptor names: the length first, then the
    /// digest (DSC-04).
    pub fn verify(&self, bytes: &[u8]) -> Result<()> {
        let received = bytes.len() as u64;
        if received != self.size {
            return Err(Error::SizeMismatch {
                digest: self.digest.clone(),
                expected: self.size,
                received,
            });
        }
        self.digest.verify(bytes)
    }

    /// Returns the embedded content, verified, if there is any (DSC-10, DSC-11).
    pub fn embedded(&self) -> Result<Option<Vec<u8>>> {
        let Some(data) = &self.data else {
            return Ok(None);
        };
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(data)
            .map_err(|_| self.invalid("`data` is not base64 with padding (RFC 4648 section 4)"))?;
        self.verify(&bytes)?;
        Ok(Some(bytes))
    }

    /// Checks what the grammar of JSON does not: media types, the size's range, URLs.
    pub(crate) fn check(&self) -> Result<()> {
        media_type::check(&self.media_type)?;
        if let Some(artifact_type) = &self.artifact_type {
            media_type::check(artifact_type)?;
        }
        if i64::try_from(self.size).is_err() {
            return Err(self.invalid("`size` is larger than a signed 64-bit number"));
        }
        if !self.urls.iter().all(|url| is_uri(url)) {
            return Err(self.invalid("an entry of `urls` is not a URI (RFC 3986)"));
        }
        Ok(())
    }

    fn invalid(&self, what: &str) -> Error {
        Error::InvalidDocument {
            document: "descriptor",
            reason: format!("{what}, in the descriptor of {}", self.digest),
        }
    }
}

fn is_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else {
        return false;
    };
    let mut scheme_bytes = scheme.bytes();
    scheme_bytes
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic())
        && scheme_bytes.all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
        && !rest.is_empty()
        && rest
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"<>\"{}|\\^`".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Descriptor> {
        let descriptor: Descriptor = crate::json::parse("descriptor", json.as_bytes())?;
        descriptor.check()?;
        descriptor.embedded()?;
        Ok(descriptor)
    }

    #[test]
    fn what_a_descriptor_may_be() {
        const DIGEST: &str =
            "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
        #[track_caller]
        fn check(fields: &str, valid: bool) {
            let json = format!("{{{}}}", fields.replace("DIGEST", DIGEST));
            let result = read(&json);
            assert_eq!(result.is_ok(), valid, "{json}: {result:?}");
        }
        let full = |extra: &str| format!(r#""mediaType":"a/b","digest":"DIGEST","size":2{extra}"#);
        check(&full(""), true);
        check(&full(r#","unknown":{"x":1}"#), true);
        check(r#""digest":"DIGEST","size":2"#, false);
        check(r#""mediaType":"a/b","size":2"#, false);
        check(r#""mediaType":"a/b","digest":"DIGEST""#, false);
        check(r#""mediaType":"invalid","digest":"DIGEST","size":2"#, false);
        check(r#""mediaType":"a/b","digest":"DIGEST","size":-1"#, false);
        check(r#""mediaType":"a/b","digest":"DIGEST","size":"2""#, false);
        check(r#""mediaType":"a/b","digest":"DIGEST","size":2.0"#, false);
        check(r#""mediaType":"a/b","digest":"DIGEST","size":2e0"#, false);
        check(r#""mediaType":"a/b","digest":"DIGEST","size":-0"#, false);
        check(r#""mediaType":"a/b","digest":"DIGEST","size":null"#, false);
        check(
            r#""mediaType":"a/b","digest":"DIGEST","size":18446744073709551616"#,
            false,
        );
        check(
            r#""mediaType":"a/b","digest":"DIGEST","size":9223372036854775808"#,
            false,
        );
        check(&full(r#","urls":["https://a/b"]"#), true);
        check(&full(r#","urls":["not a uri"]"#), false);
        check(&full(r#","annotations":{"a":""}"#), true);
        check(&full(r#","annotations":{"a":1}"#), false);
        check(&full(r#","annotations":null"#), false);
        check(&full(r#","data":"e30=""#), true);
        check(&full(r#","data":"e30""#), false);
        check(&full(r#","data":"e31=""#), false);
        check(&full(r#","artifactType":"x/y""#), true);
        check(&full(r#","artifactType":"x""#), false);
    }
}
