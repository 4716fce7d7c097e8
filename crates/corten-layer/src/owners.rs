//! What an ordinary user could not give the files of a tree, recorded beside them and read back.
//!
//! A user without further ids can neither give files away nor make device nodes, and may not set
//! `security.capability`. [`write_tree`](crate::directory::write_tree) with
//! [`Owners::Record`](crate::directory::Owners::Record) and
//! [`Devices::Record`](crate::directory::Devices::Record) writes what it can and returns the rest as
//! [`Recorded`]: keep [`encode`](Recorded::encode)d bytes as [`FILE_NAME`] beside the root (never in
//! it), and a scan of the root becomes what the tree was by [`Recorded::restore`].
//!
//! The record is an mtree(5) manifest of the paths that differ from what a file of the caller's
//! stands for, which is one of root:
//!
//! ```text
//! #mtree
//! ./dev/null type=char device=linux,1,3 uid=0 gid=0 mode=0666
//! ./etc/shadow type=file uid=0 gid=42 mode=0640
//! ./usr/bin/ping type=file uid=0 gid=0 mode=0755 xattr.security.capability=AQAAAgAgAAAAAAAAAAAAAAAAAAA=
//! ```
//!
//! Why not an extended attribute of each file, such as `user.rootlesscontainers` of umoci or
//! `user.containers.override_stat` of fuse-overlayfs: the kernel takes no `user.*` on symbolic links
//! and pipes, some file systems take none at all, and what is in the tree gets into images of tools
//! that do not know it.

use std::collections::BTreeMap;
use std::io::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::changeset::{Item, Put};
use crate::scan::{Found, FoundKind};
use crate::{Error, Meta, Result};

/// The name that the record has beside the root.
pub const FILE_NAME: &str = "owners.mtree";

/// What a tree says about the paths that could not be written so.
///
/// ```
/// use corten_layer::owners::Recorded;
///
/// let text = b"#mtree\n./etc/shadow type=file uid=0 gid=42 mode=0640\n";
/// let recorded = Recorded::decode(text)?;
/// assert_eq!(recorded.get(b"etc/shadow").expect("it is recorded").gid, 42);
/// assert_eq!(recorded.encode(), text);
/// # Ok::<(), corten_layer::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recorded {
    records: BTreeMap<Vec<u8>, Record>,
}

/// What the tree says about one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its type in the tree.
    pub kind: RecordedKind,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Permissions, set-id and sticky bits; the disk may lack set-id bits.
    pub mode: u32,
    /// The extended attributes that the file system refused, sorted by name.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The type of a path in the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordedKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A device node; on the disk an empty regular file takes its place.
    Device {
        /// Whether it is a block device.
        block: bool,
        /// Its major number.
        major: u32,
        /// Its minor number.
        minor: u32,
    },
}

impl Recorded {
    /// Returns the record of the canonical `path`; what has none belongs to root and is what it is.
    pub fn get(&self, path: &[u8]) -> Option<&Record> {
        self.records.get(path)
    }

    /// Returns all records, sorted by path.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &Record)> {
        self.records
            .iter()
            .map(|(path, record)| (path.as_slice(), record))
    }

    /// Tells whether everything could be written as the tree says, root its owner.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Makes what was `found` at `path` on the disk what it stands for.
    ///
    /// The owner is the recorded one, or root for what is new. What was changed since on the disk
    /// counts: another type or content of a device's place, other permissions, an extended
    /// attribute that is there.
    pub fn restore(&self, path: &[u8], found: &mut Found) {
        let record = self
            .get(path)
            .filter(|record| record.kind.is_found_as(found));
        let Some(record) = record else {
            found.meta = changed(&found.meta, (0, 0), found.meta.mode, &[]);
            return;
        };
        if let RecordedKind::Device {
            block,
            major,
            minor,
        } = record.kind
        {
            found.kind = FoundKind::Device {
                block,
                major,
                minor,
            };
        }
        let is_as_written = found.meta.mode | (record.mode & SET_ID) == record.mode;
        let mode = if is_as_written {
            record.mode
        } else {
            found.meta.mode
        };
        let owner = (record.uid, record.gid);
        found.meta = changed(&found.meta, owner, mode, &record.xattrs);
    }

    /// Returns the record as an mtree(5) manifest.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = HEADER.to_vec();
        for (path, record) in &self.records {
            out.extend_from_slice(b".");
            if !path.is_empty() {
                out.push(b'/');
            }
            escape(path, &mut out);
            record.encode(&mut out);
            out.push(b'\n');
        }
        out
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// Fails with the number of the first line that is something else.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut records = BTreeMap::new();
        let damaged = |line_idx| Error::DamagedRecord { line: line_idx + 1 };
        let rest = bytes.strip_prefix(HEADER).ok_or_else(|| damaged(0))?;
        let lines = rest.split_inclusive(|&byte| byte == b'\n');
        for (line_idx, line) in lines.enumerate() {
            let parsed = line.strip_suffix(b"\n").and_then(parse_line);
            let (path, record) = parsed.ok_or_else(|| damaged(line_idx + 1))?;
            records.insert(path, record);
        }
        Ok(Self { records })
    }

    /// Remembers what the tree says about `path`; [`Self::forget_needless`] drops it again where the
    /// disk says the same.
    pub(crate) fn add(&mut self, path: &[u8], put: &Put) {
        let kind = match put.item {
            Item::File(_) => RecordedKind::File,
            Item::Directory => RecordedKind::Directory,
            Item::Symlink(_) => RecordedKind::Symlink,
            Item::Fifo => RecordedKind::Fifo,
            Item::Device {
                block,
                major,
                minor,
            } => RecordedKind::Device {
                block,
                major,
                minor,
            },
        };
        let record = Record {
            kind,
            uid: put.meta.uid,
            gid: put.meta.gid,
            mode: put.meta.mode,
            xattrs: Vec::new(),
        };
        if record.is_needed() || !put.meta.xattrs().is_empty() {
            self.records.insert(path.to_vec(), record);
        }
    }

    pub(crate) fn add_xattr(&mut self, path: &[u8], name: &[u8], value: &[u8]) {
        if let Some(record) = self.records.get_mut(path) {
            record.xattrs.push((name.to_vec(), value.to_vec()));
            record.xattrs.sort_unstable();
        }
    }

    /// Gives `path`, a hard link, the extended attributes of `first`.
    pub(crate) fn link(&mut self, first: &[u8], path: &[u8]) {
        if let Some(record) = self.records.get(first).cloned() {
            self.records.insert(path.to_vec(), record);
        }
    }

    pub(crate) fn forget_needless(&mut self) {
        self.records.retain(|_, record| record.is_needed());
    }
}

const HEADER: &[u8] = b"#mtree\n";
/// Set-user-ID and set-group-ID.
pub(crate) const SET_ID: u32 = 0o6000;

impl Record {
    fn is_needed(&self) -> bool {
        let is_of_root = (self.uid, self.gid) == (0, 0);
        // Those of directories mean no owner, and are written.
        let is_whole = self.mode & SET_ID == 0
            || matches!(self.kind, RecordedKind::Directory | RecordedKind::Symlink);
        let is_device = matches!(self.kind, RecordedKind::Device { .. });
        !is_of_root || !is_whole || is_device || !self.xattrs.is_empty()
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let kind = match self.kind {
            RecordedKind::File => "file".to_owned(),
            RecordedKind::Directory => "dir".to_owned(),
            RecordedKind::Symlink => "link".to_owned(),
            RecordedKind::Fifo => "fifo".to_owned(),
            RecordedKind::Device {
                block,
                major,
                minor,
            } => {
                let kind = if block { "block" } else { "char" };
                format!("{kind} device=linux,{major},{minor}")
            }
        };
        let (uid, gid, mode) = (self.uid, self.gid, self.mode);
        write!(out, " type={kind} uid={uid} gid={gid} mode={mode:04o}")
            .expect("memory takes everything");
        for (name, value) in &self.xattrs {
            out.extend_from_slice(b" xattr.");
            escape(name, out);
            out.push(b'=');
            out.extend_from_slice(BASE64_STANDARD.encode(value).as_bytes());
        }
    }
}

impl RecordedKind {
    fn is_found_as(self, found: &Found) -> bool {
        match self {
            Self::File => found.kind == FoundKind::File,
            Self::Directory => found.kind == FoundKind::Directory,
            Self::Symlink => matches!(found.kind, FoundKind::Symlink(_)),
            Self::Fifo => found.kind == FoundKind::Fifo,
            Self::Device { .. } => found.kind == FoundKind::File && found.size == 0,
        }
    }
}

fn changed(meta: &Meta, owner: (u32, u32), mode: u32, more: &[(Vec<u8>, Vec<u8>)]) -> Meta {
    let mut xattrs = meta.xattrs().to_vec();
    for (name, value) in more {
        if !xattrs.iter().any(|(other, _)| other == name) {
            xattrs.push((name.clone(), value.clone()));
        }
    }
    xattrs.sort_unstable();
    Meta::new(mode, owner.0, owner.1, meta.mtime).with_extended(xattrs, meta.records().to_vec())
}

/// Escapes as vis(3) does with `VIS_OCTAL`, which every reader of mtree understands.
fn escape(bytes: &[u8], out: &mut Vec<u8>) {
    for &byte in bytes {
        if byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'#' | b'=') {
            out.push(byte);
        } else {
            write!(out, "\\{byte:03o}").expect("memory takes everything");
        }
    }
}

fn unescape(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(bytes.len());
    while let Some((&byte, rest)) = bytes.split_first() {
        bytes = rest;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let (digits, rest) = rest.split_at_checked(3)?;
        let octal = u32::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()?;
        out.push(u8::try_from(octal).ok()?);
        bytes = rest;
    }
    Some(out)
}

fn parse_line(line: &[u8]) -> Option<(Vec<u8>, Record)> {
    let mut words = line.split(|&byte| byte == b' ');
    let path = words.next()?.strip_prefix(b".")?;
    let path = unescape(path.strip_prefix(b"/").unwrap_or(path))?;
    let (mut kind, mut device) = (None, None);
    let (mut uid, mut gid, mut mode) = (None, None, None);
    let mut xattrs = Vec::new();
    for word in words {
        let equals = word.iter().position(|&byte| byte == b'=')?;
        let (key, value) = (word.get(..equals)?, word.get(equals + 1..)?);
        if let Some(name) = key.strip_prefix(b"xattr.") {
            xattrs.push((unescape(name)?, BASE64_STANDARD.decode(value).ok()?));
            continue;
        }
        let value = std::str::from_utf8(value).ok()?;
        match key {
            b"type" => kind = Some(value),
            b"device" => device = Some(parse_device(value)?),
            b"uid" => uid = Some(value.parse().ok()?),
            b"gid" => gid = Some(value.parse().ok()?),
            b"mode" => mode = u32::from_str_radix(value, 8).ok().filter(|&m| m <= 0o7777),
            _ => return None,
        }
    }
    let device = |block| {
        let (major, minor) = device?;
        Some(RecordedKind::Device {
            block,
            major,
            minor,
        })
    };
    let kind = match kind? {
        "file" => RecordedKind::File,
        "dir" => RecordedKind::Directory,
        "link" => RecordedKind::Symlink,
        "fifo" => RecordedKind::Fifo,
        "char" => device(false)?,
        "block" => device(true)?,
        _ => return None,
    };
    let record = Record {
        kind,
        uid: uid?,
        gid: gid?,
        mode: mode?,
        xattrs,
    };
    Some((path, record))
}

fn parse_device(value: &str) -> Option<(u32, u32)> {
    let (major, minor) = value.strip_prefix("linux,")?.split_once(',')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use corten_tar::Timestamp;

    use super::*;

    fn found(kind: FoundKind, mode: u32) -> Found {
        Found {
            kind,
            meta: Meta::new(mode, 1000, 1000, Timestamp::from_seconds(7)),
            unreadable_xattrs: Vec::new(),
            size: 0,
            inode: (1, 1),
            n_links: 1,
            ctime: (0, 0),
        }
    }

    #[test]
    fn what_was_written_is_read_back() {
        let text = "#mtree\n\
            . type=dir uid=5 gid=6 mode=0755\n\
            ./a\\040b\\134\\377\\012 type=link uid=1 gid=4294967294 mode=0777\n\
            ./dev/sda type=block device=linux,8,0 uid=0 gid=6 mode=0660\n\
            ./p type=fifo uid=1 gid=1 mode=0000\n\
            ./su type=file uid=0 gid=0 mode=4755 xattr.user.a\\075b=AAo= xattr.user.none=\n";
        let recorded = Recorded::decode(text.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(recorded.encode()).unwrap(), text);
        assert!(recorded.get(b"a b\\\xff\n").is_some());
        assert!(recorded.get(b"").is_some());
    }

    #[test]
    fn damage_is_told_with_its_line() {
        #[track_caller]
        fn check(text: &str, expected: usize) {
            match Recorded::decode(text.as_bytes()) {
                Err(Error::DamagedRecord { line }) => assert_eq!(line, expected, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
        check("", 1);
        check("#mtree 2\n", 1);
        for line in [
            "./a type=file uid=0 gid=0 mode=0644",
            "./a type=file uid=0 gid=0\n",
            "./a type=char uid=0 gid=0 mode=0644\n",
            "./a type=file uid=-1 gid=0 mode=0644\n",
            "./a type=file uid=0 gid=0 mode=10000\n",
            "./\\9 type=file uid=0 gid=0 mode=0644\n",
            "./\\777 type=file uid=0 gid=0 mode=0644\n",
            "./a type=file uid=0 gid=0 mode=0644 sha256=00\n",
            "\n",
        ] {
            check(&format!("#mtree\n{line}"), 2);
        }
    }

    #[test]
    fn what_is_found_becomes_what_it_stands_for() {
        let text = b"#mtree\n\
            ./null type=char device=linux,1,3 uid=0 gid=3 mode=0666\n\
            ./su type=file uid=2 gid=0 mode=6755 xattr.user.k=dg==\n";
        let recorded = Recorded::decode(text).unwrap();
        let check = |path: &str, kind: FoundKind, mode: u32, expected: (FoundKind, u32, u32)| {
            let mut found = found(kind, mode);
            recorded.restore(path.as_bytes(), &mut found);
            let meta = &found.meta;
            assert_eq!((found.kind, meta.uid, meta.mode), expected, "{path}");
        };
        let null = FoundKind::Device {
            block: false,
            major: 1,
            minor: 3,
        };
        check("null", FoundKind::File, 0o666, (null, 0, 0o666));
        check("null", FoundKind::Fifo, 0o600, (FoundKind::Fifo, 0, 0o600));
        check("su", FoundKind::File, 0o755, (FoundKind::File, 2, 0o6755));
        check("su", FoundKind::File, 0o700, (FoundKind::File, 2, 0o700));
        check(
            "su",
            FoundKind::Directory,
            0o755,
            (FoundKind::Directory, 0, 0o755),
        );
        check("new", FoundKind::File, 0o600, (FoundKind::File, 0, 0o600));
    }
}
