//! What is derived from layers: exact tars, header indexes, directories, mounts.
//!
//! Everything here can be made again from the blobs in the store, and may be deleted while nobody
//! uses it.
//!
//! ```
//! # let dir = tempfile::tempdir().unwrap();
//! use corten_content::Store;
//! use corten_snapshot::{PackOptions, Packer, Snapshots};
//! use std::io::Write;
//!
//! let store = Store::open(dir.path())?;
//! let snapshots = Snapshots::new(&store);
//! let mut packer = Packer::new(&store, &PackOptions::default())?;
//! packer.write_all(&[0; 1024]).unwrap();
//! let layer = packer.finish()?;
//! assert_eq!(snapshots.tree(&[layer])?.n_paths(), 0);
//! # Ok::<(), corten_snapshot::Error>(())
//! ```

pub mod bytes;
pub mod check;
pub mod derive;
pub mod directories;
pub mod error;
pub mod excerpts;
pub mod files;
pub mod pack;
mod readahead;
pub mod receive;
mod record;
mod removal;
pub mod snapshots;
mod table;

pub use bytes::Bytes;
pub use check::{Derived, DerivedState, DerivedUsage};
pub use error::{Error, Result};
pub use excerpts::Excerpts;
pub use files::{DirectoryNumber, FileTable, Stored};
pub use pack::{PackOptions, Packer};
pub use receive::Receiving;
pub use snapshots::{LayerRef, Snapshots, SweepReport, layers_of};
