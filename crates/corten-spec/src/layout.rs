//! The `oci-layout` file of an image layout (image-layout.md).

use serde::{Deserialize, Serialize};

use crate::{Bound, DocumentType, Error, Result};

/// The content of `oci-layout`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", remote = "Self")]
pub struct Layout {
    /// The layout's version, `1.0.0`.
    pub image_layout_version: String,
}

crate::json::only_objects!(Layout);

impl Layout {
    /// The name of the file.
    pub const FILE: &'static str = "oci-layout";
    /// The name of the index beside it.
    pub const INDEX_FILE: &'static str = "index.json";
    /// The only version there is.
    pub const VERSION: &'static str = "1.0.0";

    /// Returns the current layout.
    pub fn current() -> Self {
        Self {
            image_layout_version: Self::VERSION.to_owned(),
        }
    }
}

impl DocumentType for Layout {
    const NAME: &'static str = "oci-layout file";

    fn limit() -> Bound {
        Bound::from(64 << 10)
    }

    fn check(&self, _media_type: &str) -> Result<()> {
        if self.image_layout_version == Self::VERSION {
            return Ok(());
        }
        let found = crate::digest::shorten(&self.image_layout_version);
        let reason = format!(
            "`imageLayoutVersion` is `{found}`, expected `{}`",
            Self::VERSION
        );
        Err(Error::InvalidDocument {
            document: Self::NAME,
            reason,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Document, media_type};

    #[test]
    fn versions() {
        #[track_caller]
        fn check(json: &str, valid: bool) {
            let result = Document::<Layout>::from_bytes(media_type::OCI_LAYOUT, json.into());
            assert_eq!(result.is_ok(), valid, "{json}: {result:?}");
        }
        check(r#"{"imageLayoutVersion":"1.0.0"}"#, true);
        check(r#"{"imageLayoutVersion":"1.0.0","extra":[1]}"#, true);
        check(r#"{"imageLayoutVersion":"2.0.0"}"#, false);
        check("{}", false);
        check("[]", false);
        check(r#"["1.0.0"]"#, false);
        check(r#""1.0.0""#, false);
    }
}
