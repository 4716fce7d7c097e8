//! Tar headers in and out, lossless, and compression streams.
//!
//! This crate knows no image: it says what an archive holds, not what a layer means. Names stay
//! bytes, as they were written; nothing touches a file system.
//!
//! ```
//! use std::io::Write as _;
//! use corten_tar::{
//!     Compression, DecodeLimits, Decoder, Encoder, Entry, EntryKind, Limits, Reader, Writer,
//! };
//!
//! let encoder = Encoder::new(Vec::new(), Compression::Gzip, None, 2)?;
//! let mut writer = Writer::new(encoder);
//! writer.entry(&Entry::new(EntryKind::Directory, "etc"), &mut std::io::empty())?;
//! let compressed = writer.finish()?.finish().unwrap();
//!
//! let decoder = Decoder::new(Box::new(&compressed[..]), DecodeLimits::default())?;
//! let mut reader = Reader::new(decoder, Limits::default());
//! let located = reader.next_entry()?.expect("there is one entry");
//! assert_eq!(located.entry.path, b"etc/");
//! reader.finish()?;
//! # Ok::<(), corten_tar::Error>(())
//! ```

mod assemble;
mod compression;
mod decode;
mod encode;
mod entry;
mod error;
mod expand;
mod gzip;
mod header;
mod inflate;
mod input;
mod limits;
mod number;
mod pax;
mod quirk;
mod read;
mod seek;
mod sparse;
mod timestamp;
mod ustar;
mod write;

pub use compression::{Compression, Encoding, ZSTD_NAME, sniff};
pub use decode::Decoder;
pub use encode::Encoder;
pub use entry::{Entry, EntryKind, Segment};
pub use error::{Error, Result};
pub use expand::Expand;
pub use gzip::GZIP_NAME;
pub use limits::{DecodeLimits, LayerLimits, Limits};
pub use quirk::{Ending, Quirk};
pub use read::{Body, Located, Reader};
pub use seek::{SeekPoint, SeekPoints};
pub use timestamp::Timestamp;
pub use ustar::{padding, write_header};
pub use write::{END, Writer};
