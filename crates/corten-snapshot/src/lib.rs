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
pub mod encoding;
pub mod erofs;
pub mod error;
pub mod excerpts;
pub mod files;
mod mount_records;
mod mountinfo;
pub mod mounting;
mod node;
pub mod pack;
mod readahead;
pub mod receive;
mod removal;
pub mod roots;
pub mod snapshots;
mod spool;
#[expect(
    unsafe_code,
    reason = "mount namespaces and attributes have no safe wrapper"
)]
mod sys;
mod table;
mod unfinished;
mod verified;

pub use bytes::{Bytes, ComingLayers};
pub use check::{Derived, DerivedState, DerivedUsage};
pub use erofs::ErofsRoot;
pub use error::{Error, Result};
pub use excerpts::Excerpts;
pub use files::{DirectoryNumber, FileTable, Stored};
pub use mounting::{Access, MountRequest, Mounted};
pub use pack::{PackOptions, Packer, SpooledPack, SpooledTar, spooled};
pub use receive::Receiving;
pub use roots::{PreparedRoot, RootFiles, RootKind};
pub use snapshots::{LayerRef, LayerSource, Snapshots, SweepReport, layers_of};
pub use spool::Room;
