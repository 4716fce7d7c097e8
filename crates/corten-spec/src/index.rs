//! Image indexes and Docker's manifest lists (image-index.md).

use serde::{Deserialize, Serialize};

use crate::annotations::Annotations;
use crate::manifest::check_header;
use crate::{Bound, Descriptor, DocumentLimits, DocumentType, Result, media_type};

/// A list of manifests, usually one a platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", remote = "Self")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// The document's own media type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The type of the artifact, when this is no image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The entries, of any media type.
    pub manifests: Vec<Descriptor>,
    /// Another manifest that this index is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Annotations of the index.
    #[serde(default, skip_serializing_if = "Annotations::is_empty")]
    pub annotations: Annotations,
}

crate::json::only_objects!(Index);

impl Index {
    /// Returns an OCI index of `manifests`.
    pub fn oci(manifests: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(media_type::OCI_INDEX.to_owned()),
            artifact_type: None,
            manifests,
            subject: None,
            annotations: Annotations::new(),
        }
    }
}

impl DocumentType for Index {
    const NAME: &'static str = "index";
    const FOREIGN_FIELDS: &'static [&'static str] = &["config", "layers", "fsLayers"];

    fn limit() -> Bound {
        DocumentLimits::installed().index()
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
        self.manifests
            .iter()
            .chain(&self.subject)
            .try_for_each(Descriptor::check)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Document;

    #[test]
    fn what_an_index_may_be() {
        #[track_caller]
        fn check(json: &str, valid: bool) {
            let result = Document::<Index>::from_bytes(media_type::OCI_INDEX, json.into());
            assert_eq!(result.is_ok(), valid, "{json}: {result:?}");
        }
        let entry = |fields: &str| {
            format!(
                r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"application/xml","digest":"foo+bar:x","size":0{fields}}}]}}"#
            )
        };
        check(r#"{"schemaVersion":2,"manifests":[]}"#, true);
        check(r#"{"schemaVersion":2,"manifests":null}"#, false);
        check(r#"{"schemaVersion":2}"#, false);
        check(r#"{"schemaVersion":3,"manifests":[]}"#, false);
        check(r#"{"schemaVersion":2,"manifests":[],"layers":[]}"#, false);
        check(r#"{"schemaVersion":2,"manifests":[],"config":null}"#, false);
        check("[2,null,null,[],null,{}]", false);
        check(&entry(r#","platform":["amd64","linux"]"#), false);
        check(&entry(""), true);
        check(
            &entry(r#","platform":{"architecture":"amd64","os":"linux","features":["sse4"]}"#),
            true,
        );
        check(&entry(r#","platform":{"os":"linux"}"#), false);
        check(&entry(r#","platform":{"architecture":"amd64"}"#), false);
        check(
            r#"{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.list.v2+json","manifests":[]}"#,
            false,
        );
    }
}
