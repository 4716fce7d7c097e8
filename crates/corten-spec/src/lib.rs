//! The image, distribution and Docker formats as data: no function here does I/O.
//!
//! Documents (manifest, index, config, layout) are views of bytes that are kept beside them in a
//! [`Document`]; what we did not change is never serialised again, because the bytes are the
//! identity.
//!
//! ```
//! use corten_spec::{Digest, Document, Index};
//!
//! let bytes = br#"{"schemaVersion":2,"manifests":[]}"#.to_vec();
//! let index = Document::<Index>::from_bytes(corten_spec::media_type::OCI_INDEX, bytes)?;
//! assert_eq!(index.descriptor.digest, Digest::sha256(&index.bytes));
//! assert!(index.value.manifests.is_empty());
//! # Ok::<(), corten_spec::Error>(())
//! ```

pub mod annotations;
pub mod chain;
pub mod config;
pub mod descriptor;
pub mod differences;
pub mod digest;
pub mod document;
pub mod error;
pub mod family;
pub mod index;
pub mod json;
pub mod layout;
pub mod limits;
pub mod manifest;
pub mod media_type;
pub mod platform;
pub mod reference;

pub use chain::{ChainId, DiffId, ImageId};
pub use config::{History, ImageConfig, RunConfig};
pub use descriptor::Descriptor;
pub use digest::{Algorithm, Digest, Hasher};
pub use document::{Document, DocumentType};
pub use error::{Error, Result};
pub use family::Family;
pub use index::Index;
pub use layout::Layout;
pub use limits::{Bound, DocumentLimits};
pub use manifest::Manifest;
pub use media_type::Kind;
pub use platform::Platform;
pub use reference::Reference;
