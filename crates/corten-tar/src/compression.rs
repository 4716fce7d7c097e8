//! The compressed forms there are, and telling them apart.

use std::fmt;

/// Names the zstd compressor, its version and its parameters other than the level.
///
/// Part of the keys of caches that hold compressed layers: other bytes, another name.
pub const ZSTD_NAME: &str = "zstd-1.5.7-jobs-4MiB";

/// A form that layers are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    /// The archive as it is.
    None,
    /// Independent members of 1 MiB each.
    Gzip,
    /// One frame.
    Zstd,
}

/// A form that archives are read in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// Not compressed, as far as can be seen.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
    /// For `ADD` of local archives: no layer has it.
    Xz,
    /// For `ADD` of local archives: no layer has it.
    Bzip2,
}

/// The bytes that [`sniff`] looks at.
pub(crate) const MAX_MAGIC: usize = 10;

/// Tells the form of a stream by its first 10 bytes, or fewer if there are no more.
///
/// A media type is a hint at most: plain archives come under the name of gzip.
pub fn sniff(prefix: &[u8]) -> Encoding {
    match prefix {
        [0x1f, 0x8b, 8, ..] => Encoding::Gzip,
        // A frame, or a skippable one before it.
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Encoding::Zstd,
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Encoding::Xz,
        // A file name may begin with `BZh9`: the first block has a magic of its own.
        [b'B', b'Z', b'h', b'1'..=b'9', block @ ..]
            if block.starts_with(b"1AY&SY") || block.starts_with(b"\x17\x72\x45\x38\x50\x90") =>
        {
            Encoding::Bzip2
        }
        _ => Encoding::Identity,
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Identity => "uncompressed",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Xz => "xz",
            Self::Bzip2 => "bzip2",
        })
    }
}

impl From<Compression> for Encoding {
    fn from(compression: Compression) -> Self {
        match compression {
            Compression::None => Self::Identity,
            Compression::Gzip => Self::Gzip,
            Compression::Zstd => Self::Zstd,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn magics() {
        #[track_caller]
        fn check(prefix: &[u8], expected: Encoding) {
            assert_eq!(sniff(prefix), expected, "{}", prefix.escape_ascii());
        }
        check(b"", Encoding::Identity);
        check(b"\x1f\x8b\x08\0", Encoding::Gzip);
        check(b"\x1f\x8b", Encoding::Identity);
        check(b"\x1f\x8b\x07", Encoding::Identity);
        check(b"\x28\xb5\x2f\xfd\0", Encoding::Zstd);
        check(b"\x5f\x2a\x4d\x18\0", Encoding::Zstd);
        check(b"\x60\x2a\x4d\x18\0", Encoding::Identity);
        check(b"\xfd7zXZ\0", Encoding::Xz);
        check(b"BZh91AY&SY", Encoding::Bzip2);
        check(b"BZh9\x17\x72\x45\x38\x50\x90", Encoding::Bzip2);
        check(b"BZh9/file\0", Encoding::Identity);
        check(b"etc/passwd", Encoding::Identity);
    }
}
