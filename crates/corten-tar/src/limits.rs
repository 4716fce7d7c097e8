//! How much an archive may ask for.

use crate::error::{Error, Result};

/// Bounds on what a [`Reader`](crate::Reader) accepts.
///
/// An error names the field that was exceeded. A layer of one KiB can stand for hundreds of MiB, so
/// there are bounds by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the uncompressed stream, and bytes of all files with holes counted: 64 GiB.
    pub total_bytes: u64,
    /// Bytes of one file, holes counted: 64 GiB.
    pub file_bytes: u64,
    /// Entries, extended headers not counted: 4 million.
    pub entries: u64,
    /// Bytes of one path or link target: 64 KiB.
    pub path_bytes: u64,
    /// Components of one path: 8,192.
    pub path_depth: u64,
    /// Bytes of one PAX extended header: 1 MiB.
    pub pax_bytes: u64,
    /// Data segments of one sparse file: 1,048,576 (16 MiB of memory).
    pub sparse_segments: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            total_bytes: 64 << 30,
            file_bytes: 64 << 30,
            entries: 4_000_000,
            path_bytes: 64 << 10,
            path_depth: 8192,
            pax_bytes: 1 << 20,
            sparse_segments: 1 << 20,
        }
    }
}

/// Bounds on what a [`Decoder`](crate::Decoder) accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Bytes of output for one byte of input, once `expansion_after` has passed: 1,100.
    ///
    /// Deflate itself cannot do more than 1,032.
    pub expansion: u64,
    /// Bytes of output that are not counted for `expansion`: 64 MiB.
    pub expansion_after: u64,
    /// Bytes of the largest window a zstd or xz stream may ask for: 128 MiB.
    pub window_bytes: u64,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self {
            expansion: 1100,
            expansion_after: 64 << 20,
            window_bytes: 128 << 20,
        }
    }
}

/// Everything that reading one layer is bounded by.
///
/// ```
/// let mut limits = corten_tar::LayerLimits::default();
/// assert!(limits.set("entries", 10_000_000));
/// assert_eq!(limits.archive.entries, 10_000_000);
/// assert!(!limits.set("entrees", 1), "there is no such limit");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LayerLimits {
    /// What its tar may ask for.
    pub archive: Limits,
    /// What its compression may ask for.
    pub decoding: DecodeLimits,
}

impl LayerLimits {
    /// The names of all limits, as errors have them.
    pub const NAMES: [&str; 10] = [
        "total_bytes",
        "file_bytes",
        "entries",
        "path_bytes",
        "path_depth",
        "pax_bytes",
        "sparse_segments",
        "expansion",
        "expansion_after",
        "window_bytes",
    ];

    /// Sets the limit called `name`, and tells whether there is one.
    pub fn set(&mut self, name: &str, value: u64) -> bool {
        let Self { archive, decoding } = self;
        let field = match name {
            "total_bytes" => &mut archive.total_bytes,
            "file_bytes" => &mut archive.file_bytes,
            "entries" => &mut archive.entries,
            "path_bytes" => &mut archive.path_bytes,
            "path_depth" => &mut archive.path_depth,
            "pax_bytes" => &mut archive.pax_bytes,
            "sparse_segments" => &mut archive.sparse_segments,
            "expansion" => &mut decoding.expansion,
            "expansion_after" => &mut decoding.expansion_after,
            "window_bytes" => &mut decoding.window_bytes,
            _ => return false,
        };
        *field = value;
        true
    }
}

/// Fails when `value` is over `maximum`, the limit called `limit`.
pub(crate) fn check(limit: &'static str, value: u64, maximum: u64) -> Result<()> {
    if value > maximum {
        Err(Error::Limit { limit, maximum })
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_sets_a_limit_of_its_own() {
        let mut limits = LayerLimits::default();
        for (number, name) in (1..).zip(LayerLimits::NAMES) {
            assert!(limits.set(name, number), "{name}");
        }
        let LayerLimits { archive, decoding } = limits;
        let expected = Limits {
            total_bytes: 1,
            file_bytes: 2,
            entries: 3,
            path_bytes: 4,
            path_depth: 5,
            pax_bytes: 6,
            sparse_segments: 7,
        };
        assert_eq!(archive, expected);
        let expected = DecodeLimits {
            expansion: 8,
            expansion_after: 9,
            window_bytes: 10,
        };
        assert_eq!(decoding, expected);
    }
}
