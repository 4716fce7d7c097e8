//! What was unpacked, as it was on the disk right after: how [`repack`](crate::repack()) tells what
//! changed since.
//!
//! It lies beside `config.json`, as `corten-record`:
//!
//! ```text
//! "CTNUNPK1"                      magic with the version of the format
//! origin                          the image and how it was unpacked, JSON
//! count                           number of paths
//! path*                           kind, bytes shared with the path before, the rest, mode, uid,
//!                                 gid, size, mtime, ctime, inode, link, device, xattrs
//! "sha256:…"                      the digest of all before it, 71 bytes
//! ```
//!
//! Numbers are LEB128, signed ones zigzag; byte strings and the origin are a length and the bytes.

use std::fs::OpenOptions;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use corten_layer::scan::{Found, FoundKind};
use corten_spec::{Descriptor, Digest};
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use crate::ids::IdMaps;
use crate::{Error, Result};

mod code;

use code::{Damaged, Input, Output};

/// The name of the record in a bundle.
pub(crate) const FILE: &str = "corten-record";

const MAGIC: &[u8; 8] = b"CTNUNPK1";

/// How long a record may be: one of some ten million paths.
const LEN_MAX: u64 = 1 << 30;

/// How many bytes its paths may have together. Since they share what they begin with, few bytes could
/// make many.
const PATHS_LEN_MAX: usize = 1 << 30;

/// The length of the digest's text.
const DIGEST_LEN: usize = 71;

/// The image that a bundle was made from, and how it was unpacked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The image's manifest.
    pub image: Descriptor,
    /// Which ids of the host the image's are on the disk.
    pub ids: IdMaps,
    /// Whether all files were given to whoever unpacked, so that the image's owners are not on the
    /// disk.
    pub rootless: bool,
}

impl Origin {
    /// Reads what the bundle in `bundle` was made from.
    ///
    /// # Errors
    /// Fails if it was not made by [`unpack`](crate::unpack()), or its record is damaged.
    pub fn of(bundle: &Path) -> Result<Self> {
        Record::read(bundle).map(|record| record.origin)
    }
}

/// What was on the disk.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) origin: Origin,
    /// When the clock of the file system stood before the paths were looked at: what has changed
    /// since then has a time that is not earlier.
    pub(crate) taken: (i64, u32),
    /// Every path, the root as the empty one, parents first; sockets and what is in directories that
    /// could not be listed are not there.
    pub(crate) paths: Vec<(Vec<u8>, Found)>,
}

impl Record {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Output(MAGIC.to_vec());
        let origin = serde_json::to_vec(&self.origin)
            .expect("an origin has string keys and no failing serializer");
        out.bytes(&origin);
        out.time(self.taken);
        out.number(self.paths.len() as u64);
        let mut previous: &[u8] = b"";
        for (path, found) in &self.paths {
            out.path(previous, path, found);
            previous = path;
        }
        let digest = Digest::sha256(&out.0);
        out.0.extend_from_slice(digest.as_str().as_bytes());
        out.0
    }

    pub(crate) fn read(bundle: &Path) -> Result<Self> {
        let path = bundle.join(FILE);
        let damaged = |Damaged| Error::DamagedRecord { path: path.clone() };
        // Whoever can write into a bundle can put a pipe or a device there.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mut options = OpenOptions::new();
        let options = options.read(true).custom_flags(flags.bits().cast_signed());
        let file = match options.open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::NoRecord {
                    bundle: bundle.to_owned(),
                });
            }
            file => file.map_err(Error::system("read", &path))?,
        };
        let metadata = file.metadata().map_err(Error::system("examine", &path))?;
        if !metadata.is_file() || metadata.len() > LEN_MAX {
            return Err(damaged(Damaged));
        }
        let mut bytes = Vec::new();
        file.take(LEN_MAX)
            .read_to_end(&mut bytes)
            .map_err(Error::system("read", &path))?;
        Self::decode(&bytes, PATHS_LEN_MAX).map_err(damaged)
    }

    /// Reads what [`Self::encode`] wrote, if its paths have no more than `n_max` bytes together.
    fn decode(bytes: &[u8], mut n_max: usize) -> std::result::Result<Self, Damaged> {
        let len = bytes.len().checked_sub(DIGEST_LEN).ok_or(Damaged)?;
        let (bytes, digest) = bytes.split_at_checked(len).ok_or(Damaged)?;
        if Digest::sha256(bytes).as_str().as_bytes() != digest {
            return Err(Damaged);
        }
        let mut input = Input(bytes.strip_prefix(MAGIC.as_slice()).ok_or(Damaged)?);
        let origin = serde_json::from_slice(input.bytes()?).map_err(|_| Damaged)?;
        let taken = input.time()?;
        let mut paths: Vec<(Vec<u8>, Found)> = Vec::new();
        for _ in 0..input.number()? {
            let previous = paths.last().map_or(&[][..], |(path, _)| path);
            let next = input.path(previous)?;
            n_max = n_max.checked_sub(next.0.len()).ok_or(Damaged)?;
            paths.push(next);
        }
        input.0.is_empty().then_some(()).ok_or(Damaged)?;
        Ok(Self {
            origin,
            taken,
            paths,
        })
    }

    /// Tells whether `found` is the very file of `recorded`, which nobody has touched: a change of
    /// anything sets the ctime, which no program can set to another value. What had the time of the
    /// record itself may have changed in the same tick of the clock, so it is not believed.
    pub(crate) fn is_untouched(&self, recorded: &Found, found: &Found) -> bool {
        found.ctime == recorded.ctime
            && found.ctime < self.taken
            && found.inode.1 == recorded.inode.1
            && found.size == recorded.size
            && found.kind == recorded.kind
            && found.meta == recorded.meta
    }
}

/// Tells whether two looks at a path saw the same, the device number aside: it is another one after
/// each mount of some file systems.
pub(crate) fn is_same(one: &Found, other: &Found) -> bool {
    one.kind == other.kind
        && one.meta == other.meta
        && one.size == other.size
        && one.inode.1 == other.inode.1
        && (one.ctime == other.ctime || one.kind == FoundKind::Directory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use corten_layer::Meta;
    use corten_tar::Timestamp;

    fn found(kind: FoundKind, seconds: i64) -> Found {
        let meta = Meta::new(0o640, 7, 4_294_967_294, Timestamp::from_seconds(seconds));
        Found {
            kind,
            meta: meta.with_extended(vec![(b"user.a".to_vec(), vec![0, 255])], Vec::new()),
            unreadable_xattrs: Vec::new(),
            size: 1 << 40,
            inode: (0, u64::MAX),
            n_links: 0,
            ctime: (seconds, 999_999_999),
        }
    }

    fn record() -> Record {
        let device = FoundKind::Device {
            block: true,
            major: 4095,
            minor: 1 << 19,
        };
        let kinds = [
            ("", FoundKind::Directory),
            ("etc", FoundKind::Directory),
            ("etc/motd", FoundKind::File),
            ("etc/mtab", FoundKind::Symlink(b"../proc/\xff"[..].into())),
            ("pipe", FoundKind::Fifo),
            ("sda", device),
        ];
        Record {
            origin: Origin {
                image: Descriptor::of("a/b", b"x"),
                ids: IdMaps::single(1000, 100),
                rootless: true,
            },
            taken: (5, 6),
            paths: kinds
                .map(|(path, kind)| (path.as_bytes().to_vec(), found(kind, -3)))
                .to_vec(),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let record = record();
        let read = Record::decode(&record.encode(), 100).unwrap();
        assert_eq!((read.origin, read.taken), (record.origin.clone(), (5, 6)));
        assert_eq!(read.paths.len(), record.paths.len());
        for ((path, found), (expected_path, expected)) in read.paths.iter().zip(&record.paths) {
            assert_eq!(path, expected_path);
            assert!(is_same(found, expected), "{found:?}");
        }
    }

    #[test]
    fn any_damage_is_noticed() {
        let bytes = record().encode();
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert!(Record::decode(&damaged, 100).is_err(), "{at}");
            assert!(Record::decode(&bytes[..at], 100).is_err(), "{at}");
        }
    }

    #[test]
    fn paths_are_bounded_together() {
        let bytes = record().encode();
        let n_bytes = "etcetc/motdetc/mtabpipesda".len();
        assert!(Record::decode(&bytes, n_bytes).is_ok());
        assert!(Record::decode(&bytes, n_bytes - 1).is_err());
    }

    proptest::proptest! {
        /// Whoever can write a record can give it a right digest.
        #[test]
        fn no_content_does_harm(content in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let mut out = Output(MAGIC.to_vec());
            out.bytes(br#"{"image":{"mediaType":"a/b","digest":"sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881","size":1},"ids":{"uids":[],"gids":[]},"rootless":false}"#);
            out.0.extend_from_slice(&content);
            let digest = Digest::sha256(&out.0);
            out.0.extend_from_slice(digest.as_str().as_bytes());
            Record::decode(&out.0, 100).ok();
        }
    }

    #[test]
    fn what_is_untouched() {
        #[track_caller]
        fn check(change: impl Fn(&mut Found), expected: bool) {
            let recorded = found(FoundKind::File, 4);
            let mut now = recorded.clone();
            change(&mut now);
            assert_eq!(record().is_untouched(&recorded, &now), expected, "{now:?}");
        }
        check(|_| {}, true);
        check(|now| now.inode.0 = 7, true);
        check(|now| now.inode.1 = 7, false);
        check(|now| now.ctime.1 -= 1, false);
        check(|now| now.size += 1, false);
        check(|now| now.meta.mode = 0o600, false);
        let recent = found(FoundKind::File, 5);
        assert!(!record().is_untouched(&recent, &recent));
    }
}
