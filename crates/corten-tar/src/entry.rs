//! What an archive says about one file.

use crate::timestamp::Timestamp;

/// One entry of an archive, without its content.
///
/// Names are bytes, as they were written: nothing is said about their encoding, and making one path
/// of its spellings is the caller's work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name, prefix and extended headers applied.
    pub path: Vec<u8>,
    /// The target of a hard or symbolic link; empty for others.
    pub link: Vec<u8>,
    /// What it is.
    pub kind: EntryKind,
    /// Permissions, set-id and sticky bits: `0o7777` at most.
    pub mode: u32,
    /// The owner, less than 2^32 − 1.
    pub uid: u32,
    /// The group, less than 2^32 − 1.
    pub gid: u32,
    /// When the content last changed.
    pub mtime: Timestamp,
    /// Bytes of a regular file, holes counted; 0 for others.
    pub size: u64,
    /// Major and minor number of a device; zeros for others.
    pub device: (u32, u32),
    /// Extended attributes, name and value, sorted by name.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// PAX records that no other field stands for, such as `MSWINDOWS.fileattr`, sorted by key.
    pub records: Vec<(Vec<u8>, Vec<u8>)>,
    /// Where the data of a sparse file is, in order and without overlap; `None` if all of it is
    /// stored.
    pub sparse: Option<Vec<Segment>>,
}

/// The type of an [`Entry`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// A regular file, the only kind with content.
    File,
    /// Another name for an earlier file.
    HardLink,
    /// A symbolic link.
    Symlink,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A directory.
    Directory,
    /// A named pipe.
    Fifo,
}

/// A run of data in a sparse file; what is between runs is a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Where it begins in the file.
    pub offset: u64,
    /// Its bytes, never 0.
    pub length: u64,
}

/// The largest major number that Linux does not truncate.
pub(crate) const MAX_MAJOR: u32 = (1 << 12) - 1;
/// The largest minor number that Linux does not truncate.
pub(crate) const MAX_MINOR: u32 = (1 << 20) - 1;

impl Entry {
    /// Returns an entry of the given kind: root's, mode 0644 or 0755, of 1970, and empty.
    pub fn new(kind: EntryKind, path: impl Into<Vec<u8>>) -> Self {
        Self {
            path: path.into(),
            link: Vec::new(),
            kind,
            mode: if kind == EntryKind::Directory {
                0o755
            } else {
                0o644
            },
            uid: 0,
            gid: 0,
            mtime: Timestamp::default(),
            size: 0,
            device: (0, 0),
            xattrs: Vec::new(),
            records: Vec::new(),
            sparse: None,
        }
    }
}
