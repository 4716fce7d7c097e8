//! Indexes: one small EROFS image that shows a whole tree, its bytes left where they are.
//!
//! Linux mounts an EROFS image straight from a file (6.12 and newer), and the image may name other
//! files, *extra devices*, that hold the data. The data of a file in a tar begins at a multiple of 512
//! bytes, so with blocks of that size the exact tars of an image's layers are such devices as they are:
//! nothing is unpacked, and deletions are resolved before the kernel sees anything.
//!
//! ```text
//! 0      nothing
//! 1024   superblock, 128 bytes
//! 1152   device table, 128 bytes for each tar that is used
//!        inodes, the root first: 64 bytes, then extended attributes, then the target of a short link,
//!        a small directory, or the chunks of a sparse file
//!        blocks: larger directories, long targets, and content that is in no tar as a whole block
//! ```
//!
//! Content is copied into the image where it cannot be pointed at: in a layer whose tar is not a
//! device, at an odd offset, in the last piece of a tar that ends in the middle of a block, or around
//! the edges of holes.

mod directory;
mod format;
mod layout;
mod output;
mod sparse;
mod write;
mod xattrs;

use std::io::{Read, Seek, Write};

use corten_spec::DiffId;

use crate::{LayerBytes, Result, Shown, Tree};

/// The version of what [`write_index`] writes: images of another version are to be made again.
pub const VERSION: u32 = 1;

/// The exact tar of a layer, for the index to point into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// The layer.
    pub diff_id: DiffId,
    /// The bytes of its tar. Only whole blocks of 512 are used.
    pub size: u64,
}

/// A tar as an index names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceSlot {
    /// The digest of the tar without its algorithm, 64 bytes of it at most.
    pub tag: String,
    /// How many blocks of 512 bytes the tar must have.
    pub blocks: u32,
}

impl DeviceSlot {
    /// Tells whether the index means the tar of `layer`.
    pub fn is_of(&self, layer: &DiffId) -> bool {
        self.tag.as_bytes() == tag(layer)
    }
}

/// What was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IndexReport {
    /// The layers whose tars are to be given when the index is mounted, in this order: those of
    /// `devices` that the index points into.
    pub devices: Vec<DiffId>,
    /// How many inodes there are.
    pub n_inodes: u64,
    /// The length of the image.
    pub size: u64,
    /// How many bytes of files are in the image itself.
    pub copied_bytes: u64,
    /// The first 100 of the extended attributes that file systems refuse, as path and name (rule 62);
    /// they are left out.
    pub xattrs_refused: Vec<Shown>,
    /// How many there are of these.
    pub n_xattrs_refused: u64,
}

/// Writes the index of `tree` to `out`, which is empty.
///
/// `devices` are the tars that the index may point into, at most 65,535 of 2 TiB together; content in
/// other layers is read through `bytes` and copied. Equal arguments give equal bytes. What
/// overlayfs would take for its own never gets in, since an index is made to be the lower of an
/// overlay: its attributes are left out, and the character device 0:0 is an error that names the path
/// (rules 61 and 64).
pub fn write_index<W: Write + Seek>(
    tree: &Tree,
    devices: &[Device],
    bytes: &dyn LayerBytes,
    out: W,
) -> Result<IndexReport> {
    let layout = layout::plan(tree, devices)?;
    write::write(&layout, bytes, out)
}

/// Returns which tars the index at the start of `image` wants, in the order in which they are given to
/// the kernel.
///
/// # Errors
/// Fails with [`Error::DamagedIndex`](crate::Error::DamagedIndex) unless it is an index that
/// [`write_index`] has begun to write.
pub fn device_table(image: &mut dyn Read) -> Result<Vec<DeviceSlot>> {
    format::read_device_table(image)
}

fn tag(layer: &DiffId) -> &[u8] {
    let encoded = layer.0.encoded().as_bytes();
    encoded.get(..format::TAG).unwrap_or(encoded)
}
