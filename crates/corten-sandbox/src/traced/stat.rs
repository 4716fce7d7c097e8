//! What processes are told of files.

use rustix::fs::{FileType, Stat, makedev};

use crate::records::{FileContent, FileRecord, FileRecords, RecordedDevice};
use crate::traced::ids::Ids;
use crate::traced::world::{World, id_of};

/// The part of a mode that is not the type.
pub(crate) const PERMISSIONS: u32 = 0o7777;

/// Returns what a process is told of a file: what is recorded, or that it is root's.
pub(crate) fn told(world: &World, records: &FileRecords, ids: &Ids, mut stat: Stat) -> Stat {
    if let Some(record) = settled(records, &stat) {
        stat.st_uid = record.uid;
        stat.st_gid = record.gid;
        let kind = match record.device {
            None => stat.st_mode & !PERMISSIONS,
            Some(device) => {
                stat.st_rdev = makedev(device.major, device.minor);
                stat.st_size = 0;
                device_kind(device).as_raw_mode()
            }
        };
        stat.st_mode = kind | record.mode;
        return stat;
    }
    let is_of_tree = stat.st_dev == world.device;
    // A pipe or terminal that was opened before is as much of who looks.
    let (uid, gid) = if is_of_tree {
        (0, 0)
    } else {
        (ids.fs_uid, ids.fs_gid)
    };
    if stat.st_uid == world.uid {
        stat.st_uid = uid;
    }
    if stat.st_gid == world.gid {
        stat.st_gid = gid;
    }
    stat
}

pub(crate) fn device_kind(device: RecordedDevice) -> FileType {
    if device.block {
        FileType::BlockDevice
    } else {
        FileType::CharacterDevice
    }
}

/// Returns the record of a file, or what it would say where there is none.
pub(crate) fn record_of(records: &FileRecords, stat: &Stat) -> FileRecord {
    settled(records, stat).unwrap_or_else(|| FileRecord {
        mode: stat.st_mode & PERMISSIONS,
        ..FileRecord::default()
    })
}

/// Returns the record of a file, if there is one, without what it has lost by being written to.
pub(crate) fn settled(records: &FileRecords, stat: &Stat) -> Option<FileRecord> {
    let record = records.get(id_of(stat)).cloned()?;
    let content = content(stat, false);
    Some(record.settled(content.size, content.modified))
}

/// Returns what a file holds.
pub(crate) fn content(stat: &Stat, by_others: bool) -> FileContent {
    FileContent {
        size: stat.st_size.cast_unsigned(),
        modified: (
            stat.st_mtime,
            u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
        ),
        by_others,
    }
}

/// Returns the mode that a file gets on the disk: its owner there must be able to do what root may.
pub(crate) fn on_disk(mode: u32, kind: FileType) -> u32 {
    let needed = if kind == FileType::Directory {
        0o700
    } else {
        0o600
    };
    mode & 0o777 | needed
}
