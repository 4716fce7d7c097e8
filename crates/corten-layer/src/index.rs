//! The header index of a layer: its entries and where their data lies, without the data.
//!
//! It is derived from the tar and may be deleted at any time. The checksum tells a damaged one, which
//! is made again, from one to believe: a single wrong bit could make a file set-user-ID. The format:
//!
//! ```text
//! "CTNINDX2"                      magic with the version of the format
//! count                           number of entries
//! entry*                          kind, path, link, mode, uid, gid, mtime, size, device,
//!                                 xattrs, records, sparse, offset, stored size
//! checksum                        SHA-256 of everything before, 64 hexadecimal digits
//! ```
//!
//! Numbers are LEB128, signed ones zigzag; byte strings are a length and the bytes.

use corten_spec::Digest;
use corten_tar::{Entry, EntryKind, Located, Segment, Timestamp};

use crate::{Error, Result};

const MAGIC: &[u8; 8] = b"CTNINDX2";
const CHECKSUM_LEN: usize = 64;

const KINDS: [EntryKind; 7] = [
    EntryKind::File,
    EntryKind::HardLink,
    EntryKind::Symlink,
    EntryKind::CharDevice,
    EntryKind::BlockDevice,
    EntryKind::Directory,
    EntryKind::Fifo,
];

/// Returns `entries` as bytes.
pub fn encode(entries: &[Located]) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 * entries.len() + 16);
    out.extend_from_slice(MAGIC);
    put_number(&mut out, entries.len() as u64);
    for located in entries {
        put_entry(&mut out, located);
    }
    let checksum = Digest::sha256(&out);
    out.extend_from_slice(checksum.encoded().as_bytes());
    out
}

/// Reads what [`encode`] wrote.
///
/// # Errors
/// Fails on anything else; nothing is allocated by a number that the bytes name.
pub fn decode(bytes: &[u8]) -> Result<Vec<Located>> {
    let (body, checksum) = bytes
        .len()
        .checked_sub(CHECKSUM_LEN)
        .and_then(|end| bytes.split_at_checked(end))
        .ok_or(Error::DamagedIndex)?;
    if Digest::sha256(body).encoded().as_bytes() != checksum {
        return Err(Error::DamagedIndex);
    }
    let mut input = Input(
        body.strip_prefix(MAGIC.as_slice())
            .ok_or(Error::DamagedIndex)?,
    );
    let n_entries = input.number()?;
    let mut entries = Vec::new();
    for _ in 0..n_entries {
        entries.push(input.entry()?);
    }
    if input.0.is_empty() {
        Ok(entries)
    } else {
        Err(Error::DamagedIndex)
    }
}

fn put_entry(out: &mut Vec<u8>, located: &Located) {
    let entry = &located.entry;
    let kind = KINDS
        .iter()
        .position(|kind| *kind == entry.kind)
        .unwrap_or_default();
    put_number(out, kind as u64);
    put_bytes(out, &entry.path);
    put_bytes(out, &entry.link);
    for number in [entry.mode, entry.uid, entry.gid] {
        put_number(out, u64::from(number));
    }
    put_number(out, zigzag(entry.mtime.seconds));
    put_number(out, u64::from(entry.mtime.nanoseconds));
    put_number(out, entry.size);
    put_number(out, u64::from(entry.device.0));
    put_number(out, u64::from(entry.device.1));
    for pairs in [&entry.xattrs, &entry.records] {
        put_number(out, pairs.len() as u64);
        for (name, value) in pairs {
            put_bytes(out, name);
            put_bytes(out, value);
        }
    }
    // 0 is no map at all, n + 1 a map of n segments.
    put_number(
        out,
        entry
            .sparse
            .as_ref()
            .map_or(0, |segments| segments.len() as u64 + 1),
    );
    for segment in entry.sparse.iter().flatten() {
        put_number(out, segment.offset);
        put_number(out, segment.length);
    }
    put_number(out, located.offset);
    put_number(out, located.stored_size);
}

fn put_number(out: &mut Vec<u8>, mut number: u64) {
    loop {
        let [low, ..] = number.to_le_bytes();
        number >>= 7;
        if number == 0 {
            return out.push(low);
        }
        out.push(low | 0x80);
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn entry(&mut self) -> Result<Located> {
        let kind = usize::try_from(self.number()?)
            .ok()
            .and_then(|kind| KINDS.get(kind));
        let mut entry = Entry::new(*kind.ok_or(Error::DamagedIndex)?, self.bytes()?);
        entry.link = self.bytes()?.to_vec();
        entry.mode = self.small()?;
        entry.uid = self.small()?;
        entry.gid = self.small()?;
        entry.mtime = Timestamp {
            seconds: unzigzag(self.number()?),
            nanoseconds: self.small()?,
        };
        if entry.mtime.nanoseconds >= 1_000_000_000 {
            return Err(Error::DamagedIndex);
        }
        entry.size = self.number()?;
        entry.device = (self.small()?, self.small()?);
        entry.xattrs = self.pairs()?;
        entry.records = self.pairs()?;
        if let Some(n_segments) = self.number()?.checked_sub(1) {
            let mut segments = Vec::new();
            for _ in 0..n_segments {
                segments.push(Segment {
                    offset: self.number()?,
                    length: self.number()?,
                });
            }
            entry.sparse = Some(segments);
        }
        Ok(Located {
            entry,
            offset: self.number()?,
            stored_size: self.number()?,
        })
    }

    fn pairs(&mut self) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let mut pairs = Vec::new();
        for _ in 0..self.number()? {
            pairs.push((self.bytes()?.to_vec(), self.bytes()?.to_vec()));
        }
        Ok(pairs)
    }

    fn number(&mut self) -> Result<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first().ok_or(Error::DamagedIndex)?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Error::DamagedIndex)
    }

    fn small(&mut self) -> Result<u32> {
        u32::try_from(self.number()?).map_err(|_| Error::DamagedIndex)
    }

    fn bytes(&mut self) -> Result<&'a [u8]> {
        let len = usize::try_from(self.number()?).map_err(|_| Error::DamagedIndex)?;
        let (bytes, rest) = self.0.split_at_checked(len).ok_or(Error::DamagedIndex)?;
        self.0 = rest;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn located() -> Located {
        let mut entry = Entry::new(EntryKind::File, *b"a/\xff");
        entry.mtime = Timestamp {
            seconds: -5,
            nanoseconds: 999_999_999,
        };
        entry.uid = u32::MAX - 1;
        entry.size = u64::MAX;
        entry.xattrs = vec![(b"user.a".to_vec(), b"\0".to_vec())];
        entry.sparse = Some(vec![Segment {
            offset: 1,
            length: 2,
        }]);
        Located {
            entry,
            offset: 512,
            stored_size: 2,
        }
    }

    #[test]
    fn what_was_written_is_read_back() {
        let mut entries = vec![located(), located()];
        for (entry, kind) in entries.iter_mut().zip(KINDS) {
            entry.entry.kind = kind;
        }
        entries.push(Located {
            entry: Entry::new(EntryKind::Fifo, *b"f"),
            offset: 0,
            stored_size: 0,
        });
        assert_eq!(decode(&encode(&entries)).unwrap(), entries);
    }

    #[test]
    fn damage_is_an_error() {
        let bytes = encode(&[located()]);
        for len in 0..bytes.len() {
            assert!(decode(&bytes[..len]).is_err(), "cut at {len}");
        }
        assert!(decode(&[bytes.clone(), vec![0]].concat()).is_err());
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert!(decode(&damaged).is_err(), "a wrong bit in byte {at}");
        }
        let sealed = |mut body: Vec<u8>| {
            let checksum = Digest::sha256(&body);
            body.extend_from_slice(checksum.encoded().as_bytes());
            body
        };
        let body = &bytes[..bytes.len() - CHECKSUM_LEN];
        assert_eq!(sealed(body.to_vec()), bytes);
        for len in 0..body.len() {
            assert!(
                decode(&sealed(body[..len].to_vec())).is_err(),
                "cut at {len}"
            );
        }
        let count = b"CTNINDX2\xff\xff\xff\xff\xff\xff\xff\xff\x7f";
        assert!(decode(&sealed(count.to_vec())).is_err());
    }
}
