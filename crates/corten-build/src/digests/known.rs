//! Digests of files of the host that were computed before, so that a context that is still the same is
//! not read again.
//!
//! ```text
//! cache/digests/HEX   one directory of the host: 32 bytes that say where and when it is valid, then
//!                     entries of 81 bytes, sorted: a stamp of 48 bytes, the digest, and 1 if the
//!                     file has no extended attributes, else 0
//! ```
//!
//! A stamp holds device, inode, size, and both times. The numbers of devices mean something until the
//! next boot, and a clock that was set wrong is forgotten by then, too; hence a table is of one boot. It
//! is also of one store: a copy of the store has another inode.
//!
//! A file that changes twice within one tick of the clock has one ctime for two contents, as in git's
//! racy index. A digest is therefore only kept if the file was last changed a while before it was
//! opened. Changing an extended attribute changes the ctime too, so what had none still has none. Writes through a mapping that stays dirty for longer go unseen, as they do for git and rsync.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use corten_content::{Store, atomic};
use corten_layer::beneath::Root;
use corten_spec::Digest;

use crate::explain::Hash;
use crate::{Error, Result};

/// What tells the content of a file from what it was before and from that of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) size: u64,
    pub(crate) mtime: (i64, u32),
    pub(crate) ctime: (i64, u32),
}

/// How long a file must have been left alone: longer than the tick of any clock that file systems
/// take times from, the coarsest of which (FAT, NFS servers with ext3) count in two seconds.
const MARGIN: Duration = Duration::from_secs(3);

/// How many entries a table has at most: 20 MB.
const MOST_ENTRIES: usize = 250_000;

const HEADER: usize = 32;
const STAMP: usize = 48;
const ENTRY: usize = STAMP + 32 + 1;
/// What of a stamp names the file; the rest says whether it is still the same.
const NAME: usize = 16;

/// Returns the directory of the tables.
pub(crate) fn directory(store: &Store) -> PathBuf {
    store.cache_dir().join("digests")
}

impl Stamp {
    /// Returns bytes that sort by device and inode.
    fn encode(&self) -> [u8; STAMP] {
        let mut bytes = [0; STAMP];
        let words = [
            self.device,
            self.inode,
            self.size,
            self.mtime.0.cast_unsigned(),
            self.ctime.0.cast_unsigned(),
            u64::from(self.mtime.1) << 32 | u64::from(self.ctime.1),
        ];
        for (to, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(words) {
            *to = word.to_be_bytes();
        }
        bytes
    }

    /// Tells whether the file was last changed long enough before `read_at` to be the same after it.
    fn is_settled(&self, read_at: SystemTime) -> bool {
        let Ok(seconds) = u64::try_from(self.ctime.0) else {
            return false;
        };
        let changed = Duration::new(seconds, self.ctime.1);
        let read_at = read_at.duration_since(SystemTime::UNIX_EPOCH);
        read_at.is_ok_and(|read_at| changed.saturating_add(MARGIN) <= read_at)
    }
}

/// What is known of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Remembered {
    pub(crate) digest: Hash,
    /// Whether it has no extended attributes of those that count.
    pub(crate) is_plain: bool,
}

/// The digests that are known of one directory.
pub(crate) struct Known {
    /// `None` where no table can be kept.
    place: Option<(PathBuf, Hash)>,
    entries: Vec<u8>,
}

impl Known {
    /// Opens the table; one that is not there, damaged, or of another boot or store is empty.
    pub(crate) fn open(store: &Store, root: &Root) -> Self {
        let place = place(store, root).ok();
        let entries = place.as_ref().and_then(|(path, header)| {
            let mut bytes = fs::read(path).ok()?;
            let is_valid = bytes.get(..HEADER)? == header
                && bytes.len() <= HEADER + MOST_ENTRIES * ENTRY
                && (bytes.len() - HEADER).is_multiple_of(ENTRY);
            is_valid.then(|| bytes.split_off(HEADER))
        });
        let entries = entries.unwrap_or_default();
        Self { place, entries }
    }

    pub(crate) fn find(&self, stamp: &Stamp) -> Option<Remembered> {
        let stamp = stamp.encode();
        let (entries, _) = self.entries.as_chunks::<ENTRY>();
        let found = entries.binary_search_by(|entry| name(entry).cmp(name(&stamp)));
        let (known, rest) = entries.get(found.ok()?)?.split_first_chunk::<STAMP>()?;
        let (digest, is_plain) = rest.split_first_chunk::<32>()?;
        (*known == stamp).then_some(Remembered {
            digest: *digest,
            is_plain: is_plain == [1],
        })
    }

    /// Adds what was read of files after `read_at`. Of two processes that do so at
    /// once, one is not heard.
    pub(crate) fn add(&self, mut new: Vec<(Stamp, Remembered)>, read_at: SystemTime) -> Result<()> {
        new.retain(|(stamp, _)| stamp.is_settled(read_at));
        let Some((path, header)) = self.place.as_ref().filter(|_| !new.is_empty()) else {
            return Ok(());
        };
        let mut entries: Vec<[u8; ENTRY]> = new.iter().map(entry).collect();
        let (old, _) = self.entries.as_chunks::<ENTRY>();
        entries.sort_unstable();
        entries.dedup_by(|one, other| name(one) == name(other));
        let is_new = |old: &&[u8; ENTRY]| {
            let found = entries.binary_search_by(|entry| name(entry).cmp(name(*old)));
            found.is_err()
        };
        // What is no more in the directory goes when there is no room for it.
        if entries.len() + old.len() <= MOST_ENTRIES {
            let kept: Vec<_> = old.iter().filter(is_new).copied().collect();
            entries.extend(kept);
            entries.sort_unstable();
        }
        entries.truncate(MOST_ENTRIES);
        let mut bytes = header.to_vec();
        bytes.extend(entries.as_flattened());
        if let Some(directory) = path.parent().filter(|directory| !directory.is_dir()) {
            fs::create_dir_all(directory).map_err(Error::system("create", directory))?;
        }
        Ok(atomic::write_unsynced(path, &bytes)?)
    }
}

fn name(bytes: &[u8]) -> &[u8] {
    bytes.get(..NAME).unwrap_or_default()
}

fn entry((stamp, remembered): &(Stamp, Remembered)) -> [u8; ENTRY] {
    let mut entry = [0; ENTRY];
    let bytes = stamp.encode().into_iter().chain(remembered.digest);
    let bytes = bytes.chain([u8::from(remembered.is_plain)]);
    entry
        .iter_mut()
        .zip(bytes)
        .for_each(|(to, from)| *to = from);
    entry
}

/// Returns where the table is, and what it must begin with.
fn place(store: &Store, root: &Root) -> io::Result<(PathBuf, Hash)> {
    let stat = rustix::fs::fstat(root)?;
    let (device, inode) = (stat.st_dev, stat.st_ino);
    let context = Digest::sha256(format!("{device} {inode}").as_bytes());
    let boot = fs::read("/proc/sys/kernel/random/boot_id")?;
    let here = fs::metadata(store.cache_dir())?;
    let mut valid = format!("corten digests 2 {} {} ", here.dev(), here.ino()).into_bytes();
    valid.extend(boot);
    let path = directory(store).join(context.encoded());
    Ok((path, *blake3::hash(&valid).as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(inode: u64, seconds: i64) -> Stamp {
        Stamp {
            device: 1,
            inode,
            size: 5,
            mtime: (7, 0),
            ctime: (seconds, 999_999_999),
        }
    }

    fn known(dir: &std::path::Path, header: Hash) -> Known {
        let path = dir.join("table");
        let entries = fs::read(&path).unwrap_or_default();
        Known {
            place: Some((path, header)),
            entries: entries.get(HEADER..).unwrap_or_default().to_vec(),
        }
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn remembered(byte: u8) -> Remembered {
        Remembered {
            digest: [byte; 32],
            is_plain: byte.is_multiple_of(2),
        }
    }

    #[test]
    fn what_was_added_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let table = known(dir.path(), [1; 32]);
        let new = vec![(stamp(9, 10), remembered(9)), (stamp(2, 10), remembered(2))];
        table.add(new, at(100)).unwrap();
        let table = known(dir.path(), [1; 32]);
        assert_eq!(table.find(&stamp(9, 10)), Some(remembered(9)));
        assert_eq!(table.find(&stamp(2, 10)), Some(remembered(2)));
        for other in [
            stamp(3, 10),
            stamp(9, 11),
            Stamp {
                size: 6,
                ..stamp(9, 10)
            },
            Stamp {
                mtime: (7, 1),
                ..stamp(9, 10)
            },
            Stamp {
                device: 2,
                ..stamp(9, 10)
            },
        ] {
            assert_eq!(table.find(&other), None, "{other:?}");
        }
        // A file that changed replaces itself; others stay.
        table
            .add(vec![(stamp(9, 50), remembered(8))], at(100))
            .unwrap();
        let table = known(dir.path(), [1; 32]);
        assert_eq!(table.find(&stamp(9, 50)), Some(remembered(8)));
        assert_eq!(table.find(&stamp(9, 10)), None);
        assert_eq!(table.find(&stamp(2, 10)), Some(remembered(2)));
    }

    #[test]
    fn files_that_may_still_change_are_not_kept() {
        #[track_caller]
        fn check(changed: i64, read_at: u64, expected: bool) {
            let found = stamp(1, changed).is_settled(at(read_at));
            assert_eq!(found, expected, "changed at {changed}, read at {read_at}");
        }
        check(100, 100, false);
        check(100, 103, false);
        check(100, 104, true);
        check(105, 100, false);
        check(-5, 100, false);
    }
}
