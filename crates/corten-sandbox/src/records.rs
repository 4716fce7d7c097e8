//! What the files of a tree are said to be, where the disk cannot say it: owners, modes, devices and
//! attributes, by inode.

use std::collections::{HashMap, HashSet, VecDeque};

use serde::{Deserialize, Serialize};

/// A file by its device and inode.
pub type FileId = (u64, u64);

/// What a file is said to be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Permissions, set-id and sticky bits.
    pub mode: u32,
    /// The device that a regular file stands for.
    pub device: Option<RecordedDevice>,
    /// Extended attributes that an ordinary user may not set, sorted by name.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// What it held when it got set-id bits or capabilities, if that may have changed since.
    #[serde(default)]
    pub content: Option<FileContent>,
}

/// Bits for `S_ISUID`, `S_ISGID`, and for the group to execute it, without which the second has another
/// meaning.
const SET_UID: u32 = 0o4000;
const SET_GID: u32 = 0o2000;
const GROUP_EXECUTES: u32 = 0o010;

/// The attribute with the capabilities of an executable.
const CAPABILITIES: &[u8] = b"security.capability";

/// What a file holds, as far as it is told that it has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileContent {
    /// Its length in bytes.
    pub size: u64,
    /// When it was written to: seconds and nanoseconds since 1970.
    pub modified: (i64, u32),
    /// Whether who may write to it has no `CAP_FSETID`, and so takes its set-id bits by that.
    pub by_others: bool,
}

impl FileRecord {
    /// Tells whether it has something that a file loses when it is written to.
    pub fn is_privileged(&self) -> bool {
        self.mode & SET_UID != 0
            || self.mode & (SET_GID | GROUP_EXECUTES) == SET_GID | GROUP_EXECUTES
            || self.xattrs.iter().any(|(name, _)| name == CAPABILITIES)
    }

    /// Returns the record of a file that holds this now: without what the kernel would have taken from it
    /// if it was written to (`file_remove_privs`).
    #[must_use]
    pub fn settled(mut self, size: u64, modified: (i64, u32)) -> Self {
        if let Some(content) = self.content
            && (content.size, content.modified) != (size, modified)
        {
            self.strip(content.by_others);
        }
        self
    }

    /// Takes what a write takes: capabilities, and from who has no `CAP_FSETID` also set-id bits.
    pub fn strip(&mut self, by_others: bool) {
        self.xattrs.retain(|(name, _)| name != CAPABILITIES);
        if by_others {
            self.mode &= !SET_UID;
            if self.mode & GROUP_EXECUTES != 0 {
                self.mode &= !SET_GID;
            }
        }
        if !self.is_privileged() {
            self.content = None;
        }
    }
}

/// A device that a regular file stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedDevice {
    /// Whether it is a block device.
    pub block: bool,
    /// Its major number.
    pub major: u32,
    /// Its minor number.
    pub minor: u32,
}

/// What the files of a tree are said to be, for [`RootKind::Traced`](crate::RootKind::Traced).
///
/// A file without a record belongs to root, and its mode is the one on the disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileRecords {
    by_id: HashMap<FileId, FileRecord>,
    /// The files that have no name any more, the oldest first.
    forgotten: VecDeque<FileId>,
}

/// So many files without a name are remembered as long as somebody may have them open.
const MOST_FORGOTTEN: usize = 4096;

impl FileRecords {
    /// Returns what is said of a file.
    pub fn get(&self, id: FileId) -> Option<&FileRecord> {
        self.by_id.get(&id)
    }

    /// Says something of a file, instead of what was said before.
    pub fn insert(&mut self, id: FileId, record: FileRecord) {
        self.by_id.insert(id, record);
    }

    /// Says nothing of a file any more.
    pub fn remove(&mut self, id: FileId) -> Option<FileRecord> {
        self.by_id.remove(&id)
    }

    /// Says of a file that it has lost its last name: nothing is said of it any more as soon as there are
    /// many of them, and nothing by [`encode`](Self::encode). Whoever gives its inode to a new file must say
    /// something of that one.
    pub fn forget(&mut self, id: FileId) {
        if self.by_id.contains_key(&id) {
            self.forgotten.push_back(id);
        }
        if self.forgotten.len() > MOST_FORGOTTEN
            && let Some(oldest) = self.forgotten.pop_front()
        {
            self.by_id.remove(&oldest);
        }
    }

    /// Says of a file that it has just been made: what was said of another with its inode is forgotten.
    pub fn begin(&mut self, id: FileId) {
        if self.by_id.remove(&id).is_some() {
            self.forgotten.retain(|other| *other != id);
        }
    }

    /// Returns bytes from which [`decode`](Self::decode) makes the same.
    pub fn encode(&self) -> Vec<u8> {
        let forgotten: HashSet<&FileId> = self.forgotten.iter().collect();
        let all: Vec<_> = self
            .by_id
            .iter()
            .filter(|(id, _)| !forgotten.contains(id))
            .collect();
        serde_json::to_vec(&all).expect("numbers and bytes can be written")
    }

    /// Reads what [`encode`](Self::encode) wrote; `None` if it did not.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let all: Vec<(FileId, FileRecord)> = serde_json::from_slice(bytes).ok()?;
        Some(Self {
            by_id: all.into_iter().collect(),
            forgotten: VecDeque::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(mode: u32, by_others: bool, modified: (i64, u32), expected: (u32, usize)) {
        let record = FileRecord {
            mode,
            xattrs: vec![
                (CAPABILITIES.to_vec(), vec![1]),
                (b"security.x".to_vec(), vec![2]),
            ],
            content: Some(FileContent {
                size: 3,
                modified: (5, 7),
                by_others,
            }),
            ..FileRecord::default()
        };
        let settled = record.settled(3, modified);
        assert_eq!((settled.mode, settled.xattrs.len()), expected, "{mode:o}");
    }

    #[test]
    fn a_write_takes_capabilities_and_from_others_set_id_bits() {
        check(0o6755, true, (5, 7), (0o6755, 2));
        check(0o6755, false, (5, 8), (0o6755, 1));
        check(0o6755, true, (5, 8), (0o755, 1));
        check(0o6745, true, (6, 7), (0o2745, 1));
    }

    #[test]
    fn what_has_no_name_is_known_until_its_inode_is_another_files() {
        let mut records = FileRecords::default();
        let record = |uid| FileRecord {
            uid,
            ..FileRecord::default()
        };
        records.insert((1, 2), record(7));
        records.forget((1, 2));
        assert_eq!(records.get((1, 2)), Some(&record(7)));
        assert_eq!(
            FileRecords::decode(&records.encode()),
            Some(FileRecords::default())
        );
        records.begin((1, 2));
        records.insert((1, 2), record(8));
        let after = FileRecords::decode(&records.encode()).unwrap();
        assert_eq!(after.get((1, 2)), Some(&record(8)));
        for inode in 0..=MOST_FORGOTTEN as u64 {
            records.insert((3, inode), record(9));
            records.forget((3, inode));
        }
        assert_eq!(records.get((3, 0)), None);
        assert_eq!(records.get((3, 1)), Some(&record(9)));
    }

    #[test]
    fn records_are_read_as_they_were_written() {
        let mut records = FileRecords::default();
        let content = FileContent {
            size: u64::MAX,
            modified: (-1, 999_999_999),
            by_others: true,
        };
        let record = FileRecord {
            content: Some(content),
            mode: 0o4711,
            ..FileRecord::default()
        };
        records.insert((1, 2), record);
        assert_eq!(FileRecords::decode(&records.encode()), Some(records));
    }
}
