//! Image manifests, OCI's and Docker's schema 2 (manifest.md, manifest-v2-2.md).

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::annotations::Annotations;
use crate::{Bound, Descriptor, DocumentLimits, DocumentType, Error, Result, media_type};

/// One config and the layers it belongs to, in order from the base up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", remote = "Self")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u32,
    /// The document's own media type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The type of the artifact, when this is no image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The config.
    pub config: Descriptor,
    /// The layers, base first.
    pub layers: Vec<Descriptor>,
    /// Another manifest that this one is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Annotations of the manifest.
    #[serde(default, skip_serializing_if = "Annotations::is_empty")]
    pub annotations: Annotations,
}

crate::json::only_objects!(Manifest);

impl Manifest {
    /// Returns an OCI manifest of `config` and `layers`.
    pub fn oci(config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(media_type::OCI_MANIFEST.to_owned()),
            artifact_type: None,
            config,
            layers,
            subject: None,
            annotations: Annotations::new(),
        }
    }
}

impl DocumentType for Manifest {
    const NAME: &'static str = "manifest";
    const FOREIGN_FIELDS: &'static [&'static str] = &["manifests", "fsLayers"];

    fn limit() -> Bound {
        DocumentLimits::installed().manifest()
    }

    fn check(&self, expected: &str) -> Result<()> {
        check_header(
            Self::NAME,
            self.schema_version,
            self.media_type.as_deref(),
            expected,
        )?;
        if let Some(artifact_type) = &self.artifact_type {
            media_type::check(artifact_type)?;
        }
        [&self.config]
            .into_iter()
            .chain(&self.layers)
            .chain(&self.subject)
            .try_for_each(Descriptor::check)
    }
}

/// Checks what manifests and indexes have in common.
///
/// A document's own media type must be that of the descriptor it was fetched by, or it could be
/// one thing to a verifier and another to a user (CVE-2021-41190).
pub(crate) fn check_header(
    document: &'static str,
    schema_version: u32,
    media_type: Option<&str>,
    expected: &str,
) -> Result<()> {
    let invalid = |reason| Err(Error::InvalidDocument { document, reason });
    if schema_version != 2 {
        return invalid(format!("`schemaVersion` is {schema_version}, expected 2"));
    }
    let expected = media_type::without_parameters(expected);
    match media_type {
        Some(found) if found != expected => invalid(format!(
            "its `mediaType` is `{found}`, expected `{expected}`"
        )),
        _ => Ok(()),
    }
}

/// Returns the media type of a manifest or index that came without a descriptor.
///
/// `claimed` is what a server's `Content-Type` or an archive's layout says; the document's own
/// `mediaType` must agree with it (MT-06). Documents that could be both kinds are refused.
pub fn detect_media_type(bytes: &[u8], claimed: Option<&str>) -> Result<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Shape<'a> {
        schema_version: Option<u32>,
        media_type: Option<String>,
        #[serde(borrow)]
        manifests: Option<&'a RawValue>,
        #[serde(borrow)]
        layers: Option<&'a RawValue>,
        #[serde(borrow)]
        config: Option<&'a RawValue>,
    }
    const DOCUMENT: &str = "manifest or index";
    let invalid = |reason: String| Error::InvalidDocument {
        document: DOCUMENT,
        reason,
    };
    crate::json::parse::<serde::de::IgnoredAny>(DOCUMENT, bytes)?;
    let shape: Shape<'_> = serde_json::from_slice(bytes).map_err(|error| Error::InvalidJson {
        document: DOCUMENT,
        reason: error.to_string(),
    })?;
    let claimed = claimed
        .map(media_type::without_parameters)
        .filter(|claimed| crate::Kind::of(claimed) != crate::Kind::Other);
    let own = shape.media_type.as_deref();
    if let (Some(own), Some(claimed)) = (own, claimed)
        && own != claimed
    {
        return Err(invalid(format!(
            "its `mediaType` is `{own}`, but it came as `{claimed}`"
        )));
    }
    if shape.schema_version == Some(1) {
        let media_type = own
            .or(claimed)
            .unwrap_or(media_type::DOCKER_SCHEMA1)
            .to_owned();
        return Err(Error::Schema1 { media_type });
    }
    let is_manifest = shape.layers.is_some() || shape.config.is_some();
    match (shape.manifests.is_some(), is_manifest) {
        (true, true) => Err(invalid(
            "it has both `manifests` and `config` or `layers`".into(),
        )),
        (false, false) => Err(invalid(
            "it has neither `manifests` nor `config` and `layers`".into(),
        )),
        (true, false) => Ok(own.or(claimed).unwrap_or(media_type::OCI_INDEX).to_owned()),
        (false, true) => Ok(own
            .or(claimed)
            .unwrap_or(media_type::OCI_MANIFEST)
            .to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Document;

    const CONFIG: &str = r#""config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2}"#;

    #[test]
    fn what_a_manifest_may_be() {
        #[track_caller]
        fn check(json: &str, valid: bool) {
            let json = json.replace("CONFIG", CONFIG);
            let result =
                Document::<Manifest>::from_bytes(media_type::OCI_MANIFEST, json.clone().into());
            assert_eq!(result.is_ok(), valid, "{json}: {result:?}");
        }
        check(r#"{"schemaVersion":2,CONFIG,"layers":[]}"#, true);
        check(r#"{"schemaVersion":2,CONFIG,"layers":[],"new":{}}"#, true);
        check(r#"{"schemaVersion":1,CONFIG,"layers":[]}"#, false);
        check(r#"{"schemaVersion":"2",CONFIG,"layers":[]}"#, false);
        check(r#"{CONFIG,"layers":[]}"#, false);
        check(r#"{"schemaVersion":2,"layers":[]}"#, false);
        check(r#"{"schemaVersion":2,CONFIG}"#, false);
        check(r#"{"schemaVersion":2,CONFIG,"layers":null}"#, false);
        check(r#"{"schemaVersion":2,CONFIG,"layers":["x"]}"#, false);
        check(
            r#"{"schemaVersion":2,CONFIG,"layers":[],"annotations":{"a":1}}"#,
            false,
        );
        check(
            r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json",CONFIG,"layers":[]}"#,
            false,
        );
        check(
            r#"{"schemaVersion":2,CONFIG,"layers":[["a/b","foo:x",0]]}"#,
            false,
        );
        // What one reader takes for a manifest, another may take for an index (CVE-2021-41190).
        check(
            r#"{"schemaVersion":2,CONFIG,"layers":[],"manifests":[]}"#,
            false,
        );
        check(
            r#"{"schemaVersion":2,CONFIG,"layers":[],"fsLayers":[]}"#,
            false,
        );
    }

    #[test]
    fn a_document_without_a_descriptor() {
        #[track_caller]
        fn check(json: &str, claimed: Option<&str>, expected: Option<&str>) {
            let json = json.replace("CONFIG", CONFIG);
            let found = detect_media_type(json.as_bytes(), claimed);
            assert_eq!(
                found.as_deref().ok(),
                expected,
                "{json} {claimed:?}: {found:?}"
            );
        }
        let manifest = r#"{"schemaVersion":2,CONFIG,"layers":[]}"#;
        check(manifest, None, Some(media_type::OCI_MANIFEST));
        check(
            manifest,
            Some(media_type::DOCKER_MANIFEST),
            Some(media_type::DOCKER_MANIFEST),
        );
        check(manifest, Some("text/plain"), Some(media_type::OCI_MANIFEST));
        check(
            r#"{"schemaVersion":2,"manifests":[]}"#,
            None,
            Some(media_type::OCI_INDEX),
        );
        check(
            r#"{"schemaVersion":2,"manifests":[],"layers":[]}"#,
            None,
            None,
        );
        check(r#"{"schemaVersion":2}"#, None, None);
        check(r#"{"schemaVersion":1,"fsLayers":[]}"#, None, None);
        check(
            r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#,
            Some(media_type::OCI_MANIFEST),
            None,
        );
    }
}
