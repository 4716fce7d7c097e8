//! What can be wrong with a document, a digest, a reference or a platform.

use crate::{Bound, Digest};

/// The result of reading a value of the specifications.
pub type Result<T> = std::result::Result<T, Error>;

/// What is wrong with a value that claims to be one of the specifications'.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text is no digest (descriptor.md#digests).
    #[error("`{text}` is not a digest: {reason}")]
    InvalidDigest {
        /// What was given.
        text: String,
        /// Which rule of the grammar it breaks.
        reason: &'static str,
    },
    /// The digest is well-formed but its algorithm is not one we can compute.
    #[error(
        "cannot verify `{digest}`: the algorithm is not supported (known: sha256, sha512, blake3)"
    )]
    UnsupportedAlgorithm {
        /// The digest that cannot be verified.
        digest: Digest,
    },
    /// The bytes are not those that the descriptor names.
    #[error("content does not match its digest\n  expected {expected}\n  received {received}")]
    DigestMismatch {
        /// What the descriptor says.
        expected: Digest,
        /// What the bytes hash to.
        received: Digest,
    },
    /// The content is longer or shorter than the descriptor says.
    #[error(
        "content of `{digest}` has the wrong size: expected {expected} bytes, received {received}"
    )]
    SizeMismatch {
        /// The content's name.
        digest: Digest,
        /// What the descriptor says.
        expected: u64,
        /// How many bytes came; at least this many when the content was cut off.
        received: u64,
    },
    /// The bytes are not JSON, or not the I-JSON that considerations.md asks for.
    #[error("the {document} is not valid JSON: {reason}")]
    InvalidJson {
        /// Which document.
        document: &'static str,
        /// What is wrong and where.
        reason: String,
    },
    /// The document breaks a rule of its specification.
    #[error("the {document} is not valid: {reason}")]
    InvalidDocument {
        /// Which document.
        document: &'static str,
        /// Which rule.
        reason: String,
    },
    /// A document larger than anyone should send.
    #[error("the {document} is {size} bytes long; the limit is {limit}")]
    TooLarge {
        /// Which document.
        document: &'static str,
        /// Its size in bytes.
        size: u64,
        /// The limit.
        limit: Bound,
    },
    /// Docker's manifest schema 1.
    #[error(
        "the manifest is of Docker's schema 1 (`{media_type}`), which registries gave up in 2024; \
         push the image again with a current tool"
    )]
    Schema1 {
        /// The media type that was met.
        media_type: String,
    },
    /// The text is no image reference.
    #[error("`{text}` is not an image reference: {reason}")]
    InvalidReference {
        /// What was given.
        text: String,
        /// Which rule it breaks.
        reason: &'static str,
    },
    /// The text is no platform.
    #[error("`{text}` is not a platform: {reason}")]
    InvalidPlatform {
        /// What was given.
        text: String,
        /// What was expected.
        reason: &'static str,
    },
    /// The text is no media type (RFC 6838 section 4.2).
    #[error("`{text}` is not a media type")]
    InvalidMediaType {
        /// What was given.
        text: String,
    },
}

impl Error {
    /// Tells whether content did not match what its descriptor says.
    pub fn is_mismatch(&self) -> bool {
        matches!(
            self,
            Self::DigestMismatch { .. } | Self::SizeMismatch { .. }
        )
    }
}
