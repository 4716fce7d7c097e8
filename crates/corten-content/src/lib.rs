//! Where content lives and how it moves: sources, sinks, verification, copying, the local store.
//!
//! ```
//! use corten_content::{CopyOptions, Memory, Sink, Source, copy, read};
//! use corten_spec::{Manifest, document, media_type};
//!
//! let here = Memory::new();
//! let config = here.add(media_type::OCI_EMPTY, b"{}");
//! let layer = here.add("text/plain", b"hello");
//! let manifest = document::to_bytes(&Manifest::oci(config, vec![layer.clone()]));
//! let manifest = here.add(media_type::OCI_MANIFEST, &manifest);
//!
//! let there = Memory::new();
//! copy(&here, &there, &manifest, &CopyOptions::default())?;
//! there.tag("v1", &manifest)?;
//!
//! assert_eq!(there.resolve("v1")?, manifest);
//! assert_eq!(read(&there, &layer, 100)?, b"hello");
//! # Ok::<(), corten_content::Error>(())
//! ```

pub mod atomic;
pub mod copy;
pub mod error;
mod files;
pub mod fsck;
pub mod gc;
pub mod graph;
pub mod layout;
mod lease;
mod lock;
pub mod memory;
pub mod progress;
pub mod put;
pub mod referrers;
pub mod store;
pub mod traits;
pub mod unfinished;
pub mod usage;
pub mod verified;

pub use copy::{CopyOptions, CopyReport, Sparse, copy};
pub use error::{Error, Result};
pub use files::Durability;
pub use gc::{GcGuard, GcReport, GcRoots};
pub use graph::{ImageDocuments, children, load_image, resolve_manifest, walk};
pub use layout::Layout;
pub use memory::Memory;
pub use progress::{Progress, Silent};
pub use put::put;
pub use referrers::{Referrer, referrers};
pub use store::{NamedImage, Store};
pub use traits::{Ingest, IngestPlan, MountSource, Sink, Source};
pub use verified::{Verified, load, open, read};
