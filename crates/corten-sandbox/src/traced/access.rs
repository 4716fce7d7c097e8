//! What a user may do with a file, by what is recorded of it.

use rustix::fs::{FileType, Stat};

use crate::records::FileRecords;
use crate::traced::ids::Ids;
use crate::traced::resolve::kind;
use crate::traced::world::id_of;

/// As in a mode, and for access(2).
pub(crate) const READ: u32 = 4;
pub(crate) const WRITE: u32 = 2;
pub(crate) const EXECUTE: u32 = 1;

/// Returns whether a thread may do all that is `wanted` with a file.
pub(crate) fn is_permitted(records: &FileRecords, ids: &Ids, stat: &Stat, wanted: u32) -> bool {
    let record = records.get(id_of(stat));
    let mode = record.map_or(stat.st_mode, |record| record.mode);
    if ids.overrides() {
        let is_executable = kind(stat) == FileType::Directory || mode & 0o111 != 0;
        return wanted & EXECUTE == 0 || is_executable;
    }
    let (uid, gid) = record.map_or((0, 0), |record| (record.uid, record.gid));
    let allowed = if ids.fs_uid == uid {
        mode >> 6
    } else if ids.is_in_group(gid) {
        mode >> 3
    } else {
        mode
    };
    (wanted & 7) & !allowed == 0
}

/// Returns whether a thread may change the mode and such of a file.
pub(crate) fn is_owner(records: &FileRecords, ids: &Ids, stat: &Stat) -> bool {
    let uid = records.get(id_of(stat)).map_or(0, |record| record.uid);
    ids.overrides() || ids.fs_uid == uid
}
