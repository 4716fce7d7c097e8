//! One block of 512 bytes: the header of an entry, in any of the formats there are.
//!
//! All of this is pure. The layout is POSIX's (pax, "ustar Interchange Format"), with the two older
//! readings of the bytes after the device numbers.

use std::ops::Range;

use crate::entry::EntryKind;
use crate::number;

/// Bytes of a block.
pub(crate) const BLOCK: usize = 512;
/// The largest size that eleven octal digits hold.
pub(crate) const MAX_SIZE: u64 = (8 << 30) - 1;
/// A block.
pub(crate) type Block = [u8; BLOCK];

pub(crate) const NAME: Range<usize> = 0..100;
pub(crate) const MODE: Range<usize> = 100..108;
pub(crate) const UID: Range<usize> = 108..116;
pub(crate) const GID: Range<usize> = 116..124;
pub(crate) const SIZE: Range<usize> = 124..136;
pub(crate) const MTIME: Range<usize> = 136..148;
pub(crate) const CHECKSUM: Range<usize> = 148..156;
pub(crate) const FLAG: usize = 156;
pub(crate) const LINK: Range<usize> = 157..257;
pub(crate) const MAGIC: Range<usize> = 257..265;
pub(crate) const MAJOR: Range<usize> = 329..337;
pub(crate) const MINOR: Range<usize> = 337..345;
pub(crate) const PREFIX: Range<usize> = 345..500;
/// star's header keeps two times behind a shorter prefix.
const STAR_PREFIX: Range<usize> = 345..476;
const STAR_TRAILER: Range<usize> = 508..512;
/// Four pairs of an offset and a length.
const GNU_SPARSE: Range<usize> = 386..482;
const GNU_EXTENDED: usize = 482;
const GNU_REAL_SIZE: Range<usize> = 483..495;

/// Which fields a header has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    /// Nothing behind the link name.
    V7,
    /// Device numbers and a prefix.
    Ustar,
    /// The same, with a shorter prefix.
    Star,
    /// Device numbers, and no prefix: its bytes hold times and a sparse map.
    Gnu,
}

/// What a typeflag stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flag {
    Entry(EntryKind),
    /// A file with holes, its map in the header.
    GnuSparse,
    /// PAX records for the next entry.
    Extended,
    /// PAX records for all that follow.
    Global,
    /// The body is the name of the next entry.
    LongName,
    /// The body is the link target of the next entry.
    LongLink,
    /// The label of a GNU archive.
    Volume,
    Unknown(u8),
}

/// A header whose checksum is right.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header<'a> {
    block: &'a Block,
    format: Format,
}

impl<'a> Header<'a> {
    /// Takes a block for a header if its checksum says that it is one.
    pub(crate) fn parse(block: &'a Block) -> Result<Self, &'static str> {
        let stored = number::field(&block[CHECKSUM])?;
        // Some old programs summed signed characters.
        if stored != i128::from(checksum(block)) && stored != i128::from(signed_checksum(block)) {
            return Err("its checksum does not match");
        }
        Ok(Self {
            block,
            format: format(block),
        })
    }

    /// Returns what the typeflag stands for; a name that ends in a slash is for
    /// [`Header::directory_by_slash`] to judge.
    pub(crate) fn flag(&self) -> Flag {
        match self.block[FLAG] {
            // 7 is a contiguous file, which is a request to the allocator that nobody honours.
            0 | b'0' | b'7' => Flag::Entry(EntryKind::File),
            b'1' => Flag::Entry(EntryKind::HardLink),
            b'2' => Flag::Entry(EntryKind::Symlink),
            b'3' => Flag::Entry(EntryKind::CharDevice),
            b'4' => Flag::Entry(EntryKind::BlockDevice),
            b'5' => Flag::Entry(EntryKind::Directory),
            b'6' => Flag::Entry(EntryKind::Fifo),
            b'S' if self.format == Format::Gnu => Flag::GnuSparse,
            b'x' => Flag::Extended,
            b'g' => Flag::Global,
            b'L' => Flag::LongName,
            b'K' => Flag::LongLink,
            b'V' => Flag::Volume,
            other => Flag::Unknown(other),
        }
    }

    pub(crate) fn is_contiguous(&self) -> bool {
        self.block[FLAG] == b'7'
    }

    /// Says whether the final `path` makes a directory of what the typeflag calls a file.
    ///
    /// V7 had no type for directories: there, and where the typeflag is NUL, a slash at the end of
    /// the name is what says so. With typeflag 0 it is part of a file's name.
    pub(crate) fn directory_by_slash(&self, path: &[u8]) -> bool {
        let flag = self.block[FLAG];
        let old = flag == 0 || (self.format == Format::V7 && flag == b'0');
        old && path.last() == Some(&b'/')
    }

    /// Returns the name, with the prefix where the format has one.
    pub(crate) fn path(&self) -> Vec<u8> {
        let prefix = match self.format {
            Format::Ustar => text(&self.block[PREFIX]),
            Format::Star => text(&self.block[STAR_PREFIX]),
            Format::V7 | Format::Gnu => b"",
        };
        let name = text(&self.block[NAME]);
        if prefix.is_empty() {
            return name.to_vec();
        }
        let mut path = Vec::with_capacity(prefix.len() + 1 + name.len());
        path.extend_from_slice(prefix);
        path.push(b'/');
        path.extend_from_slice(name);
        path
    }

    pub(crate) fn link(&self) -> &'a [u8] {
        text(&self.block[LINK])
    }

    /// Returns the permission bits: some archives have the type of the file in the others.
    pub(crate) fn mode(&self) -> Result<u32, &'static str> {
        let bits = number::field(&self.block[MODE])? & 0o7777;
        Ok(u32::try_from(bits).expect("twelve bits fit"))
    }

    pub(crate) fn uid(&self) -> Result<i128, &'static str> {
        number::field(&self.block[UID])
    }

    pub(crate) fn gid(&self) -> Result<i128, &'static str> {
        number::field(&self.block[GID])
    }

    pub(crate) fn size(&self) -> Result<u64, &'static str> {
        u64::try_from(number::field(&self.block[SIZE])?).map_err(|_| "its size is out of range")
    }

    /// Returns the time in seconds, clamped to what can be held.
    pub(crate) fn mtime(&self) -> Result<i64, &'static str> {
        let seconds = number::field(&self.block[MTIME])?;
        Ok(i64::try_from(seconds).unwrap_or(if seconds < 0 { i64::MIN } else { i64::MAX }))
    }

    /// Returns major and minor number; V7 has none.
    pub(crate) fn device(&self) -> Result<(i128, i128), &'static str> {
        match self.format {
            Format::V7 => Ok((0, 0)),
            Format::Ustar | Format::Star | Format::Gnu => Ok((
                number::field(&self.block[MAJOR])?,
                number::field(&self.block[MINOR])?,
            )),
        }
    }

    /// Returns the first pairs of an old GNU sparse map, and whether more blocks of it follow.
    pub(crate) fn gnu_sparse(&self) -> (&'a [u8], bool) {
        (&self.block[GNU_SPARSE], self.block[GNU_EXTENDED] != 0)
    }

    pub(crate) fn gnu_real_size(&self) -> Result<u64, &'static str> {
        u64::try_from(number::field(&self.block[GNU_REAL_SIZE])?)
            .map_err(|_| "its real size is out of range")
    }
}

/// Returns the sum of the block's bytes with the checksum field read as spaces.
pub(crate) fn checksum(block: &Block) -> u32 {
    let sum = |bytes: &[u8]| bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>();
    sum(block) - sum(&block[CHECKSUM]) + 8 * u32::from(b' ')
}

fn signed_checksum(block: &Block) -> i32 {
    let sum = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|byte| i32::from(byte.cast_signed()))
            .sum::<i32>()
    };
    sum(block) - sum(&block[CHECKSUM]) + 8 * i32::from(b' ')
}

fn format(block: &Block) -> Format {
    let magic = &block[MAGIC];
    if magic == b"ustar  \0" {
        Format::Gnu
    } else if !magic.starts_with(b"ustar\0") {
        Format::V7
    } else if &block[STAR_TRAILER] == b"tar\0" {
        Format::Star
    } else {
        Format::Ustar
    }
}

/// Returns what stands before the first NUL.
pub(crate) fn text(field: &[u8]) -> &[u8] {
    let end = field
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(field.len());
    &field[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(fields: &[(usize, &[u8])]) -> Block {
        let mut block = [0; BLOCK];
        for (start, bytes) in fields {
            block[*start..start + bytes.len()].copy_from_slice(bytes);
        }
        let sum = format!("{:06o}\0 ", checksum(&block));
        block[CHECKSUM].copy_from_slice(sum.as_bytes());
        block
    }

    #[test]
    fn names_and_prefixes() {
        #[track_caller]
        fn check(magic: &[u8], trailer: &[u8], expected: &[u8]) {
            let block = block(&[
                (0, b"name"),
                (257, magic),
                (345, b"prefix"),
                (476, b"late"),
                (508, trailer),
            ]);
            let path = Header::parse(&block).unwrap().path();
            assert_eq!(
                path.escape_ascii().to_string(),
                expected.escape_ascii().to_string()
            );
        }
        check(b"ustar\x0000", b"", b"prefix/name");
        check(b"ustar\0\0\0", b"", b"prefix/name");
        check(b"ustar\x0000", b"tar\0", b"prefix/name");
        check(b"ustar  \0", b"", b"name");
        check(b"", b"", b"name");
        check(b"USTAR\x0000", b"", b"name");
    }

    #[test]
    fn a_prefix_that_fills_its_field() {
        let prefix = [b'p'; 155];
        let block = block(&[(0, &[b'n'; 100]), (257, b"ustar\x0000"), (345, &prefix)]);
        assert_eq!(Header::parse(&block).unwrap().path().len(), 256);
    }

    #[test]
    fn slashes_that_make_directories() {
        #[track_caller]
        fn check(magic: &[u8], flag: u8, path: &[u8], expected: bool) {
            let block = block(&[(257, magic), (FLAG, &[flag])]);
            let header = Header::parse(&block).unwrap();
            assert_eq!(
                header.directory_by_slash(path),
                expected,
                "{magic:?} {flag}"
            );
        }
        check(b"", 0, b"a/", true);
        check(b"", b'0', b"a/", true);
        check(b"ustar\x0000", 0, b"a/", true);
        check(b"ustar\x0000", b'0', b"a/", false);
        check(b"ustar  \0", b'0', b"a/", false);
        check(b"ustar\x0000", b'7', b"a/", false);
        check(b"", 0, b"a", false);
        check(b"", 0, b"", false);
    }

    #[test]
    fn both_checksums() {
        let mut odd = block(&[(0, b"\xc3\xa4\xff")]);
        assert!(Header::parse(&odd).is_ok());
        let signed = signed_checksum(&odd);
        odd[CHECKSUM].copy_from_slice(format!("{signed:06o}\0 ").as_bytes());
        assert!(Header::parse(&odd).is_ok());
        odd[5] = 1;
        assert_eq!(
            Header::parse(&odd).unwrap_err(),
            "its checksum does not match"
        );
    }

    #[test]
    fn only_gnu_headers_are_sparse() {
        let gnu = block(&[(257, b"ustar  \0"), (FLAG, b"S")]);
        assert_eq!(Header::parse(&gnu).unwrap().flag(), Flag::GnuSparse);
        let ustar = block(&[(257, b"ustar\x0000"), (FLAG, b"S")]);
        assert_eq!(Header::parse(&ustar).unwrap().flag(), Flag::Unknown(b'S'));
    }
}
