//! Ids inside and outside the user namespace of a container: `--uid-map` and `--gid-map`.

use std::str::FromStr;

use corten_layer::Meta;
use serde::{Deserialize, Serialize};

use crate::spec::IdMapping;
use crate::{Error, Result};

mod acl;

/// Which ids of a container are which ids of the host; every id is its own where there is no range.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMaps {
    /// User ids.
    pub uids: Vec<IdMapping>,
    /// Group ids.
    pub gids: Vec<IdMapping>,
}

impl IdMaps {
    /// Returns the maps of `uids` and `gids`.
    ///
    /// # Errors
    /// Fails if an id is in two ranges, on either side, or is none.
    pub fn new(uids: Vec<IdMapping>, gids: Vec<IdMapping>) -> Result<Self> {
        for ranges in [&uids, &gids] {
            check(ranges, |range| range.container_id)?;
            check(ranges, |range| range.host_id)?;
        }
        Ok(Self { uids, gids })
    }

    /// Returns the map of a container whose root is the user `uid` and the group `gid`, and that has
    /// nobody else.
    pub fn single(uid: u32, gid: u32) -> Self {
        let only = |host_id| {
            vec![IdMapping {
                container_id: 0,
                host_id,
                size: 1,
            }]
        };
        Self {
            uids: only(uid),
            gids: only(gid),
        }
    }

    /// Tells whether every id is its own.
    pub fn is_identity(&self) -> bool {
        self.uids.is_empty() && self.gids.is_empty()
    }

    /// Reads the maps of this process' own user namespace from `/proc/self`.
    pub fn of_this_process() -> Result<Self> {
        let read = |path: &str| {
            std::fs::read_to_string(path)
                .map(|text| parse_proc(&text))
                .map_err(Error::system("read", path))
        };
        Ok(Self {
            uids: read("/proc/self/uid_map")?,
            gids: read("/proc/self/gid_map")?,
        })
    }

    /// Returns the user and the group that `uid` and `gid` of the container are outside of it.
    pub(crate) fn outside(&self, uid: u32, gid: u32) -> std::result::Result<(u32, u32), NoMapping> {
        Ok((
            out(&self.uids, uid).ok_or(NoMapping::uid(uid))?,
            out(&self.gids, gid).ok_or(NoMapping::gid(gid))?,
        ))
    }

    /// Returns the user and the group of the container that `uid` and `gid` outside of it are.
    pub(crate) fn inside(&self, uid: u32, gid: u32) -> std::result::Result<(u32, u32), NoMapping> {
        Ok((
            back(&self.uids, uid).ok_or(NoMapping::uid(uid))?,
            back(&self.gids, gid).ok_or(NoMapping::gid(gid))?,
        ))
    }
}

/// An id that is in no range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoMapping {
    kind: &'static str,
    id: u32,
}

impl NoMapping {
    fn uid(id: u32) -> Self {
        Self {
            kind: "user id",
            id,
        }
    }

    fn gid(id: u32) -> Self {
        Self {
            kind: "group id",
            id,
        }
    }

    pub(crate) fn of(self, path: &[u8], side: &'static str) -> Error {
        Error::UnmappedFile {
            path: path.into(),
            kind: self.kind,
            id: self.id,
            side,
        }
    }

    /// The same for whoever an access control list of `path` names.
    fn of_list(self, path: &[u8], side: &'static str) -> Error {
        Error::UnmappedAccess {
            path: path.into(),
            kind: self.kind,
            id: self.id,
            side,
        }
    }
}

/// How the owners of an image's files and those on the disk correspond, seen from this process.
///
/// So do the ids in access control lists, and capabilities of programs: outside the first user namespace those count that name the root
/// whose they are (revision 3, capabilities(7)), and an image cannot know it.
#[derive(Debug)]
pub(crate) struct DiskIds {
    /// Of the container and of the host.
    maps: IdMaps,
    /// Of this process' user namespace and of the host.
    own: IdMaps,
}

impl DiskIds {
    pub(crate) fn new(maps: &IdMaps) -> Result<Self> {
        Ok(Self {
            maps: maps.clone(),
            own: if maps.is_identity() {
                IdMaps::default()
            } else {
                IdMaps::of_this_process()?
            },
        })
    }

    pub(crate) fn are_identity(&self) -> bool {
        self.maps.is_identity()
    }

    /// Returns the group that the container's root has on the disk.
    pub(crate) fn group_of_root(&self) -> Option<u32> {
        let (uid, gid) = self.maps.outside(0, 0).ok()?;
        self.own.inside(uid, gid).ok().map(|(_, gid)| gid)
    }

    /// Gives the file `path` of the image, with `meta`, the owner that it has on the disk.
    pub(crate) fn to_disk(&self, path: &[u8], meta: &mut Meta) -> Result<()> {
        let inside = |error: NoMapping| error.of(path, "of the image");
        let (uid, gid) = self.maps.outside(meta.uid, meta.gid).map_err(inside)?;
        let own = |error: NoMapping| error.of(path, "of the host");
        (meta.uid, meta.gid) = self.own.inside(uid, gid).map_err(own)?;
        if self.are_identity() {
            return Ok(());
        }
        let is_mapped = |name: &[u8]| name == CAPABILITY || acl::is_list(name);
        if meta.xattrs().iter().any(|(name, _)| is_mapped(name)) {
            let mut xattrs = meta.xattrs().to_vec();
            for (name, value) in &mut xattrs {
                self.xattr_to_disk(path, name, value)?;
            }
            let records = meta.records().to_vec();
            *meta = meta.clone().with_extended(xattrs, records);
        }
        Ok(())
    }

    fn xattr_to_disk(&self, path: &[u8], name: &[u8], value: &mut Vec<u8>) -> Result<()> {
        if let Some(root) = self.root().filter(|_| name == CAPABILITY) {
            give_capability_to(root, value);
        }
        if acl::is_list(name) {
            acl::map_ids(value, |kind, id| {
                let inside = |error: NoMapping| error.of_list(path, "of the image");
                let own = |error: NoMapping| error.of_list(path, "of the host");
                let id = map(&self.maps, kind, id, out).map_err(inside)?;
                map(&self.own, kind, id, back).map_err(own)
            })?;
        }
        Ok(())
    }

    /// Returns the value in the image of an extended attribute that the file `path` has on the disk.
    pub(crate) fn xattr_of_disk(&self, path: &[u8], name: &[u8], value: &[u8]) -> Result<Vec<u8>> {
        let mut value = value.to_vec();
        if let Some(root) = self.root().filter(|_| name == CAPABILITY) {
            take_capability_from(root, &mut value);
        }
        if acl::is_list(name) {
            acl::map_ids(&mut value, |kind, id| {
                let unmapped = |error: NoMapping| error.of_list(path, "of the host");
                let id = map(&self.own, kind, id, out).map_err(unmapped)?;
                map(&self.maps, kind, id, back).map_err(unmapped)
            })?;
        }
        Ok(value)
    }

    /// Returns the user that is root in the container.
    fn root(&self) -> Option<u32> {
        if self.are_identity() {
            return None;
        }
        back(&self.own.uids, out(&self.maps.uids, 0)?)
    }

    /// Returns the owner in the image of the file `path`, which belongs to `uid` and `gid` on the disk.
    pub(crate) fn of_disk(&self, path: &[u8], uid: u32, gid: u32) -> Result<(u32, u32)> {
        let unmapped = |error: NoMapping| error.of(path, "of the host");
        let (uid, gid) = self.own.outside(uid, gid).map_err(unmapped)?;
        self.maps.inside(uid, gid).map_err(unmapped)
    }
}

const CAPABILITY: &[u8] = b"security.capability";
/// The revision is the highest byte of the first number, which is little-endian.
const REVISION: usize = 3;
const REVISION_2: (u8, usize) = (2, 20);
const REVISION_3: (u8, usize) = (3, 24);

fn give_capability_to(root: u32, value: &mut Vec<u8>) {
    if (value.get(REVISION), value.len()) == (Some(&REVISION_2.0), REVISION_2.1) {
        value[REVISION] = REVISION_3.0;
        value.extend_from_slice(&root.to_le_bytes());
    }
}

fn take_capability_from(root: u32, value: &mut Vec<u8>) {
    let is_its = value.ends_with(&root.to_le_bytes());
    if is_its && (value.get(REVISION), value.len()) == (Some(&REVISION_3.0), REVISION_3.1) {
        value[REVISION] = REVISION_2.0;
        value.truncate(REVISION_2.1);
    }
}

/// Maps one id by the ranges of its kind, in the direction that `find` says.
fn map(
    maps: &IdMaps,
    kind: acl::Kind,
    id: u32,
    find: fn(&[IdMapping], u32) -> Option<u32>,
) -> std::result::Result<u32, NoMapping> {
    match kind {
        acl::Kind::User => find(&maps.uids, id).ok_or(NoMapping::uid(id)),
        acl::Kind::Group => find(&maps.gids, id).ok_or(NoMapping::gid(id)),
    }
}

fn out(ranges: &[IdMapping], id: u32) -> Option<u32> {
    find(ranges, id, |range| (range.container_id, range.host_id))
}

fn back(ranges: &[IdMapping], id: u32) -> Option<u32> {
    find(ranges, id, |range| (range.host_id, range.container_id))
}

fn find(ranges: &[IdMapping], id: u32, ends: impl Fn(&IdMapping) -> (u32, u32)) -> Option<u32> {
    if ranges.is_empty() {
        return Some(id);
    }
    ranges.iter().find_map(|range| {
        let (from, to) = ends(range);
        let nth = id.checked_sub(from).filter(|&nth| nth < range.size)?;
        to.checked_add(nth)
    })
}

fn check(ranges: &[IdMapping], start: impl Fn(&IdMapping) -> u32) -> Result<()> {
    let invalid = |range: &IdMapping, reason| Error::InvalidIdMap {
        text: format!("{}:{}:{}", range.container_id, range.host_id, range.size),
        reason,
    };
    let mut sorted: Vec<&IdMapping> = ranges.iter().collect();
    sorted.sort_by_key(|range| start(range));
    let mut end = 0;
    for range in sorted {
        let first = u64::from(start(range));
        if first < end {
            return Err(invalid(range, "an id of it is in another range, too"));
        }
        end = first + u64::from(range.size);
        // 2^32 - 1 means "leave it" to chown(2).
        if end > u64::from(u32::MAX) {
            return Err(invalid(range, "it goes beyond the largest id, 4294967294"));
        }
    }
    Ok(())
}

impl FromStr for IdMapping {
    type Err = Error;

    /// Reads `CONTAINER:HOST[:SIZE]`, as umoci does.
    fn from_str(text: &str) -> Result<Self> {
        let invalid = |reason| Error::InvalidIdMap {
            text: text.to_owned(),
            reason,
        };
        let numbers: std::result::Result<Vec<u32>, _> = text.split(':').map(str::parse).collect();
        let numbers = numbers.map_err(|_| invalid("expected numbers, `CONTAINER:HOST:SIZE`"))?;
        match *numbers.as_slice() {
            [_, _, 0] => Err(invalid("its size is 0")),
            [container_id, host_id] => Ok(Self {
                container_id,
                host_id,
                size: 1,
            }),
            [container_id, host_id, size] => Ok(Self {
                container_id,
                host_id,
                size,
            }),
            _ => Err(invalid("expected `CONTAINER:HOST:SIZE`")),
        }
    }
}

/// Reads `/proc/self/uid_map`; the map of the first user namespace is the identity.
fn parse_proc(text: &str) -> Vec<IdMapping> {
    let ranges = text.lines().filter_map(|line| {
        let mut numbers = line.split_whitespace().map(str::parse);
        match (numbers.next(), numbers.next(), numbers.next()) {
            (Some(Ok(container_id)), Some(Ok(host_id)), Some(Ok(size))) => Some(IdMapping {
                container_id,
                host_id,
                size,
            }),
            _ => None,
        }
    });
    ranges.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(texts: &[&str]) -> Vec<IdMapping> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn arguments() {
        #[track_caller]
        fn check(text: &str, expected: std::result::Result<(u32, u32, u32), &str>) {
            let found = text.parse::<IdMapping>();
            match expected {
                Ok(expected) => {
                    let found = found.unwrap();
                    let found = (found.container_id, found.host_id, found.size);
                    assert_eq!(found, expected, "{text}");
                }
                Err(part) => {
                    let error = found.unwrap_err().to_string();
                    assert!(error.contains(part), "{text}: {error}");
                }
            }
        }
        check("0:1000:1", Ok((0, 1000, 1)));
        check("0:1000", Ok((0, 1000, 1)));
        check("1:100000:65536", Ok((1, 100_000, 65536)));
        check("0", Err("expected `CONTAINER:HOST:SIZE`"));
        check("0:1:2:3", Err("expected `CONTAINER:HOST:SIZE`"));
        check("0:1:0", Err("its size is 0"));
        check("0:-1:1", Err("expected numbers"));
        check("0:4294967296:1", Err("expected numbers"));
    }

    #[test]
    fn ranges_do_not_overlap() {
        #[track_caller]
        fn check(texts: &[&str], expected: Option<&str>) {
            let found = IdMaps::new(Vec::new(), ranges(texts)).err();
            let found = found.map(|error| error.to_string());
            match expected {
                None => assert_eq!(found, None),
                Some(part) => assert!(found.as_ref().unwrap().contains(part), "{found:?}"),
            }
        }
        check(&["1:100000:65536", "0:1000:1"], None);
        check(&["0:0:4294967295"], None);
        check(&["0:1000:2", "1:5000:1"], Some("`1:5000:1`"));
        check(&["0:1000:2", "7:1001:1"], Some("`7:1001:1`"));
        check(&["0:1:4294967295"], Some("largest id"));
    }

    #[test]
    fn both_ways() {
        let uids = ranges(&["0:1000:1", "1:100000:10"]);
        let maps = IdMaps::new(uids, ranges(&["5:50:1"])).unwrap();
        assert_eq!(maps.outside(0, 5), Ok((1000, 50)));
        assert_eq!(maps.outside(10, 5), Ok((100_009, 50)));
        assert_eq!(maps.outside(11, 5), Err(NoMapping::uid(11)));
        assert_eq!(maps.outside(0, 0), Err(NoMapping::gid(0)));
        assert_eq!(maps.inside(100_009, 50), Ok((10, 5)));
        assert_eq!(maps.inside(0, 50), Err(NoMapping::uid(0)));
        assert_eq!(IdMaps::default().outside(7, 8), Ok((7, 8)));
        assert_eq!(parse_proc("  0  1000  1\n"), ranges(&["0:1000:1"]));
    }
}
