//! A sorted table in a file: values are found by their keys in a few reads, however many there are.
//!
//! ```text
//! "CTNTABL1"              magic with the version of the format
//! leaf*                   blocks of about 8 KiB, sorted
//! branch*                 blocks that say where others begin, level by level, the root last
//! trailer                 offset u64, length u32, CRC-32 u32 of the root; levels u32; CRC-32 u32 of
//!                         the trailer
//!
//! block                   (key length u16, value length u32, key, value)*
//! value of a branch       offset u64, length u32, CRC-32 u32
//! ```
//!
//! Numbers are little-endian. Each block's checksum is in what points to it, so a lookup checks all that
//! it relies on and reads nothing else; a single checksum of the whole would have to read all of it.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};

use libdeflater::crc32;

const MAGIC: &[u8; 8] = b"CTNTABL1";
const TRAILER: usize = 24;
/// Small enough that a lookup reads little, large enough for a hundred names or more.
const BLOCK: usize = 8 << 10;
/// More than any file can have: branches have a hundred children or more.
const MAX_LEVELS: u32 = 16;

/// Where a block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pointer {
    offset: u64,
    len: u32,
    crc: u32,
}

/// Writes a table, key by key.
pub(crate) struct TableWriter<W> {
    out: W,
    position: u64,
    /// The block that is being filled, and its first key.
    block: Vec<u8>,
    first: Vec<u8>,
    /// The blocks of this level.
    written: Vec<(Vec<u8>, Pointer)>,
}

impl<W: Write> TableWriter<W> {
    pub(crate) fn new(mut out: W) -> io::Result<Self> {
        out.write_all(MAGIC)?;
        Ok(Self {
            out,
            position: MAGIC.len() as u64,
            block: Vec::new(),
            first: Vec::new(),
            written: Vec::new(),
        })
    }

    /// Adds a key that is greater than all before it.
    pub(crate) fn add(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        if self.block.is_empty() {
            self.first = key.to_vec();
        }
        let key_len = u16::try_from(key.len()).map_err(io::Error::other)?;
        let value_len = u32::try_from(value.len()).map_err(io::Error::other)?;
        self.block.extend_from_slice(&key_len.to_le_bytes());
        self.block.extend_from_slice(&value_len.to_le_bytes());
        self.block.extend_from_slice(key);
        self.block.extend_from_slice(value);
        if self.block.len() >= BLOCK {
            self.end_block()?;
        }
        Ok(())
    }

    /// Writes the branches and the trailer.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        let mut n_levels = 1_u32;
        loop {
            if !self.block.is_empty() || self.written.is_empty() {
                self.end_block()?;
            }
            if self.written.len() == 1 {
                break;
            }
            n_levels += 1;
            for (key, pointer) in std::mem::take(&mut self.written) {
                self.add(&key, &pointer.to_bytes())?;
            }
        }
        let root = self.written.first().map(|(_, root)| root.to_bytes());
        let mut trailer = root.unwrap_or_default().to_vec();
        trailer.extend_from_slice(&n_levels.to_le_bytes());
        trailer.extend_from_slice(&crc32(&trailer).to_le_bytes());
        self.out.write_all(&trailer)?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn end_block(&mut self) -> io::Result<()> {
        let pointer = Pointer {
            offset: self.position,
            len: u32::try_from(self.block.len()).map_err(io::Error::other)?,
            crc: crc32(&self.block),
        };
        self.out.write_all(&self.block)?;
        self.position += self.block.len() as u64;
        self.block.clear();
        self.written
            .push((std::mem::take(&mut self.first), pointer));
        Ok(())
    }
}

impl Pointer {
    fn to_bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.offset.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.len.to_le_bytes());
        bytes[12..].copy_from_slice(&self.crc.to_le_bytes());
        bytes
    }

    fn of_bytes(bytes: &[u8]) -> Option<Self> {
        let (offset, rest) = bytes.split_first_chunk()?;
        let (len, rest) = rest.split_first_chunk()?;
        Some(Self {
            offset: u64::from_le_bytes(*offset),
            len: u32::from_le_bytes(*len),
            crc: u32::from_le_bytes(rest.try_into().ok()?),
        })
    }
}

/// A table that is open for reading.
#[derive(Debug)]
pub(crate) struct Table {
    file: File,
    size: u64,
    root: Pointer,
    n_levels: u32,
    n_read: AtomicU64,
}

/// A table is not what was written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TableError {
    #[error("the table is damaged")]
    Damaged,
    #[error("the table cannot be read")]
    Io(#[source] io::Error),
}

type Result<T> = std::result::Result<T, TableError>;

/// A key and its value.
pub(crate) type Pair = (Vec<u8>, Vec<u8>);

/// What is called with each key and its value.
pub(crate) type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> Result<()> + 'a;

impl Table {
    /// Opens a table.
    pub(crate) fn open(file: File) -> Result<Self> {
        let size = file.metadata().map_err(TableError::Io)?.len();
        let trailer_at = size.checked_sub(TRAILER as u64);
        let trailer_at = trailer_at.ok_or(TableError::Damaged)?;
        let mut magic = [0; MAGIC.len()];
        let mut trailer = [0; TRAILER];
        file.read_exact_at(&mut magic, 0).map_err(TableError::Io)?;
        file.read_exact_at(&mut trailer, trailer_at)
            .map_err(TableError::Io)?;
        let (body, crc) = trailer.split_at(TRAILER - 4);
        let (root, levels) = body.split_at(16);
        let n_levels = levels
            .try_into()
            .map_or(0, |levels: [u8; 4]| u32::from_le_bytes(levels));
        let root = Pointer::of_bytes(root).ok_or(TableError::Damaged)?;
        if magic != *MAGIC || crc != crc32(body).to_le_bytes() || n_levels > MAX_LEVELS {
            return Err(TableError::Damaged);
        }
        Ok(Self {
            file,
            size,
            root,
            n_levels,
            n_read: AtomicU64::new((MAGIC.len() + TRAILER) as u64),
        })
    }

    /// Returns how many bytes of the file were read.
    pub(crate) fn n_read(&self) -> u64 {
        self.n_read.load(Ordering::Relaxed)
    }

    /// Returns the value of `key`.
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let found = self.floor(key)?;
        Ok(found.and_then(|(found, value)| (found == key).then_some(value)))
    }

    /// Returns the greatest key that is not greater than `key`, with its value.
    pub(crate) fn floor(&self, key: &[u8]) -> Result<Option<Pair>> {
        let mut block = self.block(self.root)?;
        for _ in 1..self.n_levels {
            let mut next = None;
            for pair in Pairs(&block) {
                let (first, value) = pair?;
                if first > key {
                    break;
                }
                next = Some(Pointer::of_bytes(value).ok_or(TableError::Damaged)?);
            }
            let Some(next) = next else { return Ok(None) };
            block = self.block(next)?;
        }
        let mut last = None;
        for pair in Pairs(&block) {
            let pair = pair?;
            if pair.0 > key {
                break;
            }
            last = Some(pair);
        }
        Ok(last.map(|(key, value)| (key.to_vec(), value.to_vec())))
    }

    /// Calls `visit` for every key that begins with `prefix`, in order.
    pub(crate) fn scan(&self, prefix: &[u8], visit: &mut Visit<'_>) -> Result<()> {
        self.scan_below(self.root, self.n_levels, prefix, visit)
    }

    /// Recurses no deeper than [`MAX_LEVELS`].
    fn scan_below(
        &self,
        at: Pointer,
        n_levels: u32,
        prefix: &[u8],
        visit: &mut Visit<'_>,
    ) -> Result<()> {
        let block = self.block(at)?;
        if n_levels <= 1 {
            for pair in Pairs(&block) {
                let (key, value) = pair?;
                if key.starts_with(prefix) {
                    visit(key, value)?;
                }
            }
            return Ok(());
        }
        let children: Vec<(&[u8], &[u8])> = Pairs(&block).collect::<Result<_>>()?;
        for (number, &(first, value)) in children.iter().enumerate() {
            // The last child that begins before the prefix may end behind it.
            let next = children.get(number + 1).map(|&(first, _)| first);
            if next.is_some_and(|next| next <= prefix && !next.starts_with(prefix)) {
                continue;
            }
            if first > prefix && !first.starts_with(prefix) {
                break;
            }
            let child = Pointer::of_bytes(value).ok_or(TableError::Damaged)?;
            self.scan_below(child, n_levels - 1, prefix, visit)?;
        }
        Ok(())
    }

    fn block(&self, at: Pointer) -> Result<Vec<u8>> {
        let len = u64::from(at.len);
        if at.offset.checked_add(len).is_none_or(|end| end > self.size) {
            return Err(TableError::Damaged);
        }
        let mut block = vec![0; at.len as usize];
        self.file
            .read_exact_at(&mut block, at.offset)
            .map_err(TableError::Io)?;
        self.n_read.fetch_add(len, Ordering::Relaxed);
        if crc32(&block) == at.crc {
            Ok(block)
        } else {
            Err(TableError::Damaged)
        }
    }
}

/// The pairs of a block.
struct Pairs<'a>(&'a [u8]);

impl<'a> Pairs<'a> {
    fn pair(&mut self) -> Option<(&'a [u8], &'a [u8])> {
        let (key_len, rest) = self.0.split_first_chunk()?;
        let (value_len, rest) = rest.split_first_chunk()?;
        let (key, rest) = rest.split_at_checked(u16::from_le_bytes(*key_len).into())?;
        let value_len = u32::from_le_bytes(*value_len) as usize;
        let (value, rest) = rest.split_at_checked(value_len)?;
        self.0 = rest;
        Some((key, value))
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = Result<(&'a [u8], &'a [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let pair = self.pair();
        if pair.is_none() {
            self.0 = &[];
        }
        Some(pair.ok_or(TableError::Damaged))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table_of(pairs: &[Pair]) -> File {
        let mut writer = TableWriter::new(tempfile::tempfile().unwrap()).unwrap();
        for (key, value) in pairs {
            writer.add(key, value).unwrap();
        }
        writer.finish().unwrap()
    }

    fn pairs(count: u32) -> Vec<Pair> {
        (0..count)
            .map(|number| {
                let key = (2 * number).to_be_bytes().to_vec();
                (key, vec![number.to_le_bytes()[0]; (number % 90) as usize])
            })
            .collect()
    }

    fn scanned(table: &Table, prefix: &[u8]) -> Vec<Pair> {
        let mut found = Vec::new();
        table
            .scan(prefix, &mut |key, value| {
                found.push((key.to_vec(), value.to_vec()));
                Ok(())
            })
            .unwrap();
        found
    }

    #[test]
    fn what_is_in_it_is_found_and_nothing_else() {
        for count in [0, 1, 2, 150, 151, 5000, 60_000] {
            let expected = pairs(count);
            let table = Table::open(table_of(&expected)).unwrap();
            assert_eq!(scanned(&table, b""), expected, "{count}");
            for (key, value) in expected.iter().step_by(97) {
                assert_eq!(table.get(key).unwrap().as_ref(), Some(value));
                let next =
                    (u32::from_be_bytes(key.as_slice().try_into().unwrap()) + 1).to_be_bytes();
                assert_eq!(table.get(&next).unwrap(), None);
                let floor = table.floor(&next).unwrap().unwrap();
                assert_eq!(floor, (key.clone(), value.clone()));
            }
            assert_eq!(table.floor(b"").unwrap(), None);
            for prefix in [&[0, 0][..], &[0, 0, 1], &[0, 1, 0], &[1]] {
                let within = expected.iter().filter(|(key, _)| key.starts_with(prefix));
                assert_eq!(scanned(&table, prefix), within.cloned().collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn a_lookup_reads_as_many_blocks_as_there_are_levels() {
        for (count, n_levels) in [(10, 1), (5000, 2), (60_000, 3)] {
            let table = Table::open(table_of(&pairs(count))).unwrap();
            assert_eq!(table.n_levels, n_levels, "{count}");
            table.get(&8_u32.to_be_bytes()).unwrap().unwrap();
            let most = u64::from(n_levels) * (BLOCK as u64 + 200) + 64;
            assert!(table.n_read() < most, "{count}: {}", table.n_read());
        }
    }

    #[test]
    fn every_damaged_byte_is_noticed() {
        let file = table_of(&pairs(600));
        let size = file.metadata().unwrap().len();
        for at in (0..size).step_by(7) {
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ 1], at).unwrap();
            let read = Table::open(file.try_clone().unwrap())
                .and_then(|table| table.scan(b"", &mut |_, _| Ok(())));
            assert!(read.is_err(), "byte {at}");
            file.write_all_at(&byte, at).unwrap();
        }
        for len in [0, 8, 31, 32, size - 1] {
            file.set_len(len).unwrap();
            assert!(
                Table::open(file.try_clone().unwrap()).is_err(),
                "cut at {len}"
            );
        }
    }
}
