//! What an archive does in a way that not every reader understands alike.

/// Something unusual about how an entry is written. The entry means the same; other readers may
/// take it for something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quirk {
    /// A PAX global header stands before it, which this reader applies to nothing.
    GlobalHeader {
        /// Whether it has more than a comment.
        has_meaning: bool,
    },
    /// A GNU volume label stands before it.
    VolumeLabel,
    /// Its type is that of a contiguous file.
    Contiguous,
    /// The header and the extended header say different sizes; the extended one counts.
    SizeDiffers {
        /// What the header says.
        header: u64,
        /// What the extended header says.
        extended: u64,
    },
    /// It has a size, although what it is has no content.
    SizeWithoutBody(u64),
    /// An extended attribute is written in libarchive's way alone.
    LibarchiveXattr,
}

/// How an archive ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ending {
    /// Blocks of the end marker that are there: two in an archive that is whole.
    pub marker_blocks: u8,
    /// Bytes after the end marker.
    pub trailing_bytes: u64,
    /// Whether all of those are zero, as padding is.
    pub trailing_is_zero: bool,
}
