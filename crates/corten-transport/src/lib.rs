//! Archives as sources and sinks: image layouts in a tar, and what `docker save` writes.
//!
//! ```
//! use corten_content::{CopyOptions, Memory, Sink, Source, copy};
//! use corten_spec::{Manifest, document, media_type};
//! use corten_transport::{Archive, ArchiveWriter, Format, ReadOptions};
//!
//! let here = Memory::new();
//! let config = here.add(media_type::OCI_EMPTY, b"{}");
//! let manifest = document::to_bytes(&Manifest::oci(config, Vec::new()));
//! let manifest = here.add(media_type::OCI_MANIFEST, &manifest);
//!
//! let dir = tempfile::tempdir()?;
//! let path = dir.path().join("saved.tar");
//! let writer = ArchiveWriter::create(&path, Format::Oci)?;
//! copy(&here, &writer, &manifest, &CopyOptions::default())?;
//! writer.tag("v1", &manifest)?;
//! writer.finish()?;
//!
//! let archive = Archive::open(&path, Format::Oci, &ReadOptions::new(dir.path()))?;
//! assert_eq!(archive.resolve("v1")?.digest, manifest.digest);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod archive;
mod complete;
mod error;
mod members;
mod pack;
mod saved;
mod spool;
mod writer;

pub use archive::{Archive, Format, ReadOptions};
pub use error::{Error, Result};
pub use writer::ArchiveWriter;
