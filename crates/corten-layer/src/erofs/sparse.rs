//! Sparse files in chunks: holes stay holes, however large the file.

use corten_tar::Segment;

use crate::erofs::format::{BLOCK, BLOCK_BITS};

/// The largest chunk that EROFS knows, as a power of two of blocks.
const MAX_BITS: u8 = 31;
/// How many chunks the files of a tree may have, whatever they hold, one at most a quarter of them: they
/// cost 8 bytes each, and a layer can tell of a file in a few bytes.
const FREE_CHUNKS: u64 = 1 << 18;
/// How many every file may have.
const LEAST_CHUNKS: u64 = 16;
/// A further chunk for this many stored bytes.
const BYTES_A_CHUNK: u64 = 4096;
/// How many chunks of the largest size a file may have, which is 2^60 bytes.
const MAX_CHUNKS: u64 = 1 << 20;

/// The chunks that the files of a tree may yet have beyond those for what they store.
#[derive(Debug)]
pub(super) struct Budget(u64);

impl Default for Budget {
    fn default() -> Self {
        Self(FREE_CHUNKS)
    }
}

impl Budget {
    /// Returns the size of the chunks of the next file, as [`chunk_bits`] does. A file takes a quarter of
    /// what is left at most, so that there is always something left.
    pub(super) fn chunk_bits(&mut self, size: u64, segments: &[Segment]) -> Option<u8> {
        let bits = chunk_bits(size, segments, (self.0 / 4).max(LEAST_CHUNKS))?;
        let n_chunks = size.div_ceil(len_of(bits));
        let paid_for = stored(segments) / BYTES_A_CHUNK;
        self.0 = self.0.saturating_sub(n_chunks.saturating_sub(paid_for));
        Some(bits)
    }
}

/// What is in a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chunk {
    /// Nothing.
    Hole,
    /// Nothing but data: that many bytes, which begin there in the stored bytes of the file.
    Data { stored_at: u64, len: u64 },
    /// Holes and data.
    Mixed,
}

/// A piece of data in a chunk that is [`Chunk::Mixed`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    /// Where it begins in the file.
    pub(super) at: u64,
    /// Where it begins in the stored bytes of the file.
    pub(super) stored_at: u64,
    pub(super) len: u64,
}

/// Returns the size of the chunks of a file, as a power of two of blocks, if it may have `n_free` of
/// them whatever it stores; `None` if the file is too long.
///
/// Chunks are as large as the holes allow, so that none is mixed; but a file of terabytes that holds
/// ten bytes must not have a table of gigabytes.
fn chunk_bits(size: u64, segments: &[Segment], n_free: u64) -> Option<u8> {
    let most = n_free + stored(segments) / BYTES_A_CHUNK;
    let least_bits = (0..MAX_BITS).find(|&bits| size.div_ceil(len_of(bits)) <= most);
    let least_bits = least_bits.unwrap_or(MAX_BITS);
    if size.div_ceil(len_of(least_bits)) > most.max(MAX_CHUNKS) {
        return None;
    }
    let ends = segments
        .iter()
        .map(|segment| segment.offset + segment.length);
    let edges = segments
        .iter()
        .map(|segment| segment.offset)
        .chain(ends.filter(|&end| end != size));
    let aligned = edges.fold(0, |bits, edge| bits | edge).trailing_zeros();
    let bits = aligned
        .saturating_sub(u32::from(BLOCK_BITS))
        .min(u32::from(MAX_BITS));
    Some(least_bits.max(u8::try_from(bits).unwrap_or(MAX_BITS)))
}

fn stored(segments: &[Segment]) -> u64 {
    segments
        .iter()
        .map(|segment| segment.length)
        .fold(0, u64::saturating_add)
}

/// Returns how long a chunk is.
pub(super) fn len_of(bits: u8) -> u64 {
    BLOCK << bits
}

/// Returns the chunks of a file, in order.
pub(super) fn chunks(
    size: u64,
    segments: &[Segment],
    bits: u8,
) -> impl Iterator<Item = (Chunk, Vec<Piece>)> {
    let len = len_of(bits);
    let mut rest = segments;
    let mut stored = 0;
    (0..size.div_ceil(len)).map(move |number| {
        let start = number * len;
        let end = (start + len).min(size);
        while let Some((segment, after)) = rest.split_first()
            && segment.offset + segment.length <= start
        {
            stored += segment.length;
            rest = after;
        }
        let mut pieces = Vec::new();
        let mut stored_here = stored;
        for segment in rest.iter().take_while(|segment| segment.offset < end) {
            let at = segment.offset.max(start);
            pieces.push(Piece {
                at,
                stored_at: stored_here + (at - segment.offset),
                len: (segment.offset + segment.length).min(end) - at,
            });
            stored_here += segment.length;
        }
        let chunk = match pieces.as_slice() {
            [] => Chunk::Hole,
            [piece] if piece.len == end - start => Chunk::Data {
                stored_at: piece.stored_at,
                len: piece.len,
            },
            _ => Chunk::Mixed,
        };
        (chunk, pieces)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(offset: u64, length: u64) -> Segment {
        Segment { offset, length }
    }

    #[test]
    fn chunks_follow_the_holes() {
        let segments = [segment(512, 512), segment(1500, 100), segment(2048, 300)];
        let kinds: Vec<Chunk> = chunks(2348, &segments, 0).map(|(chunk, _)| chunk).collect();
        let data = |stored_at, len| Chunk::Data { stored_at, len };
        assert_eq!(
            kinds,
            [
                Chunk::Hole,
                data(0, 512),
                Chunk::Mixed,
                Chunk::Mixed,
                data(612, 300)
            ]
        );
        let pieces: Vec<Piece> = chunks(2348, &segments, 0).nth(3).unwrap().1;
        let piece = Piece {
            at: 1536,
            stored_at: 548,
            len: 64,
        };
        assert_eq!(pieces, [piece]);
    }

    #[test]
    fn chunks_are_large_where_holes_are() {
        #[track_caller]
        fn check(size: u64, segments: &[Segment], expected: Option<u8>) {
            let bits = Budget::default().chunk_bits(size, segments);
            assert_eq!(bits, expected, "{size} {segments:?}");
        }
        check(4096, &[segment(512, 512)], Some(0));
        check(4096, &[segment(1, 1)], Some(0));
        check(1 << 20, &[segment(8192, 4096)], Some(3));
        check(1 << 20, &[segment(1 << 19, 1 << 19)], Some(10));
        check((1 << 20) + 5, &[segment(1 << 19, (1 << 19) + 5)], Some(10));
        check(1 << 20, &[], Some(31));
        // 2^42 bytes, one of them stored: 2^16 chunks of 2^26 bytes.
        check(1 << 42, &[segment((1 << 42) - 1, 1)], Some(17));
        check(1 << 62, &[segment(1, 1)], None);
    }

    #[test]
    fn many_files_have_few_chunks_together() {
        let mut budget = Budget::default();
        let mut n_chunks = 0;
        for _ in 0..1000 {
            let bits = budget.chunk_bits(32 << 20, &[segment(512, 1)]).unwrap();
            n_chunks += (32_u64 << 20).div_ceil(len_of(bits));
        }
        let most = FREE_CHUNKS + 1000 * LEAST_CHUNKS;
        assert!(n_chunks <= most, "{n_chunks} of {most}");
        // What is stored has its chunks whatever came before.
        let data = segment(512, 32 << 20);
        let bits = budget.chunk_bits(64 << 20, &[data]).unwrap();
        assert!(len_of(bits) <= 16 << 10, "{bits}");
    }
}
