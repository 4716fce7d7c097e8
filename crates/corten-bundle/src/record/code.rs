//! The bytes of a record.

use corten_layer::Meta;
use corten_layer::scan::{Found, FoundKind};
use corten_tar::Timestamp;

/// The bytes are no record.
#[derive(Debug)]
pub(super) struct Damaged;

type Result<T> = std::result::Result<T, Damaged>;

/// A record being written.
pub(super) struct Output(pub(super) Vec<u8>);

impl Output {
    pub(super) fn path(&mut self, previous: &[u8], path: &[u8], found: &Found) {
        let n_shared = previous
            .iter()
            .zip(path)
            .take_while(|(a, b)| a == b)
            .count();
        self.number(kind_number(&found.kind));
        self.number(n_shared as u64);
        self.bytes(path.get(n_shared..).unwrap_or_default());
        let meta = &found.meta;
        for number in [meta.mode, meta.uid, meta.gid] {
            self.number(number.into());
        }
        self.number(found.size);
        self.time((meta.mtime.seconds, meta.mtime.nanoseconds));
        self.time(found.ctime);
        self.number(found.inode.1);
        match &found.kind {
            FoundKind::Symlink(target) => self.bytes(target),
            FoundKind::Device { major, minor, .. } => {
                self.number((*major).into());
                self.number((*minor).into());
            }
            FoundKind::File | FoundKind::Directory | FoundKind::Fifo | FoundKind::Socket => {}
        }
        self.number(meta.xattrs().len() as u64);
        for (name, value) in meta.xattrs() {
            self.bytes(name);
            self.bytes(value);
        }
    }

    pub(super) fn number(&mut self, mut number: u64) {
        loop {
            let [low, ..] = number.to_le_bytes();
            number >>= 7;
            if number == 0 {
                return self.0.push(low);
            }
            self.0.push(low | 0x80);
        }
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn time(&mut self, (seconds, nanoseconds): (i64, u32)) {
        self.number(((seconds << 1) ^ (seconds >> 63)).cast_unsigned());
        self.number(nanoseconds.into());
    }
}

fn kind_number(kind: &FoundKind) -> u64 {
    match kind {
        FoundKind::File => 0,
        FoundKind::Directory => 1,
        FoundKind::Symlink(_) => 2,
        FoundKind::Fifo => 3,
        FoundKind::Device { block: false, .. } => 4,
        FoundKind::Device { block: true, .. } => 5,
        FoundKind::Socket => 6,
    }
}

/// A record being read. Nothing is allocated by a number that the bytes name.
pub(super) struct Input<'a>(pub(super) &'a [u8]);

impl<'a> Input<'a> {
    pub(super) fn path(&mut self, previous: &[u8]) -> Result<(Vec<u8>, Found)> {
        let kind = self.number()?;
        let n_shared = usize::try_from(self.number()?).map_err(|_| Damaged)?;
        let shared = previous.get(..n_shared).ok_or(Damaged)?;
        let whole = [shared, self.bytes()?].concat();
        let (mode, uid, gid) = (self.small()?, self.small()?, self.small()?);
        let size = self.number()?;
        let (seconds, nanoseconds) = self.time()?;
        let ctime = self.time()?;
        let inode = (0, self.number()?);
        let kind = match kind {
            0 => FoundKind::File,
            1 => FoundKind::Directory,
            2 => FoundKind::Symlink(self.bytes()?.into()),
            3 => FoundKind::Fifo,
            4 | 5 => FoundKind::Device {
                block: kind == 5,
                major: self.small()?,
                minor: self.small()?,
            },
            6 => FoundKind::Socket,
            _ => return Err(Damaged),
        };
        let mut xattrs = Vec::new();
        for _ in 0..self.number()? {
            xattrs.push((self.bytes()?.to_vec(), self.bytes()?.to_vec()));
        }
        let mtime = Timestamp {
            seconds,
            nanoseconds,
        };
        let mut names = whole.split(|&byte| byte == b'/');
        let is_canonical =
            whole.is_empty() || names.all(|name| !matches!(name, b"" | b"." | b".."));
        if !is_canonical || mode > 0o7777 {
            return Err(Damaged);
        }
        let found = Found {
            kind,
            meta: Meta::new(mode, uid, gid, mtime).with_extended(xattrs, Vec::new()),
            unreadable_xattrs: Vec::new(),
            size,
            inode,
            n_links: 0,
            ctime,
        };
        Ok((whole, found))
    }

    pub(super) fn number(&mut self) -> Result<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first().ok_or(Damaged)?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Damaged)
    }

    pub(super) fn small(&mut self) -> Result<u32> {
        u32::try_from(self.number()?).map_err(|_| Damaged)
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8]> {
        let len = usize::try_from(self.number()?).map_err(|_| Damaged)?;
        let (bytes, rest) = self.0.split_at_checked(len).ok_or(Damaged)?;
        self.0 = rest;
        Ok(bytes)
    }

    pub(super) fn time(&mut self) -> Result<(i64, u32)> {
        let number = self.number()?;
        let seconds = (number >> 1).cast_signed() ^ -(number & 1).cast_signed();
        let nanoseconds = self.small()?;
        if nanoseconds >= 1_000_000_000 {
            return Err(Damaged);
        }
        Ok((seconds, nanoseconds))
    }
}
