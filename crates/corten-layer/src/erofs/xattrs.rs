//! Extended attributes behind an inode.

use crate::apply::is_never_applied;
use crate::erofs::xattrs::Fate::{Kept, Refused};
use crate::{Kind, Meta};

/// The length of what comes before the attributes.
pub(super) const HEADER: u64 = 12;

/// What can be told of a length in an inode, in bytes.
const MAX_LEN: usize = 12 + 4 * (u16::MAX as usize - 1);

/// Names are told by number and rest.
const PREFIXES: [(u8, &[u8]); 5] = [
    (1, b"user."),
    (2, b"system.posix_acl_access"),
    (3, b"system.posix_acl_default"),
    (4, b"trusted."),
    (6, b"security."),
];

/// What becomes of an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate<'a> {
    Kept(u8, &'a [u8]),
    /// The kernel would not set it on any file system.
    Refused,
}

/// Returns the attributes of an inode as they stand behind it, nothing if there are none, and has
/// `refused` told the names of those that no file system would take (rule 62).
///
/// # Errors
/// The reason why an attribute cannot be held.
pub(super) fn encode<'a>(
    meta: &'a Meta,
    kind: &Kind,
    refused: &mut dyn FnMut(&'a [u8]),
) -> Result<Vec<u8>, &'static str> {
    let mut bytes = Vec::new();
    // Overlayfs would follow its own attributes into other directories (rule 61).
    let applied = meta
        .xattrs()
        .iter()
        .filter(|(name, _)| !is_never_applied(name));
    for (name, value) in applied {
        let (index, rest) = match fate(name, value, kind) {
            Kept(index, rest) => (index, rest),
            Refused => {
                refused(name);
                continue;
            }
        };
        if name.len() > 255 {
            return Err("the name of an extended attribute is over 255 bytes long");
        }
        let len = u16::try_from(value.len())
            .map_err(|_| "the value of an extended attribute is over 65,535 bytes long")?;
        if bytes.is_empty() {
            bytes.resize(usize::try_from(HEADER).unwrap_or_default(), 0);
        }
        bytes.extend([u8::try_from(rest.len()).unwrap_or(u8::MAX), index]);
        bytes.extend(len.to_le_bytes());
        bytes.extend(rest);
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        if bytes.len() > MAX_LEN {
            return Err("its extended attributes are over 262,148 bytes long");
        }
    }
    Ok(bytes)
}

/// Decides as the kernel does when the attribute is set: what it refuses there it would not expect to
/// read here, and programs could not be started or files not be copied because of it.
fn fate<'a>(name: &'a [u8], value: &[u8], kind: &Kind) -> Fate<'a> {
    let found = PREFIXES
        .iter()
        .find_map(|&(index, prefix)| Some((index, name.strip_prefix(prefix)?)));
    let Some((index, rest)) = found else {
        return Refused;
    };
    let is_acl = matches!(index, 2 | 3);
    let is_sound = match (index, kind) {
        (1, Kind::File(_) | Kind::Directory(_)) => true,
        (1, Kind::Symlink(_) | Kind::Device { .. } | Kind::Fifo)
        | (2, Kind::Symlink(_))
        | (3, Kind::File(_) | Kind::Symlink(_) | Kind::Device { .. } | Kind::Fifo) => false,
        (2 | 3, _) => is_acl_sound(value),
        (_, _) => name != b"security.capability" || is_capability_sound(value),
    };
    if rest.is_empty() == is_acl && is_sound {
        Kept(index, rest)
    } else {
        Refused
    }
}

/// Tells whether `value` is a set of capabilities of version 2 or 3.
fn is_capability_sound(value: &[u8]) -> bool {
    // The lowest byte says whether they are effective.
    let version = value.get(1..4);
    (value.len() == 20 && version == Some(&[0, 0, 2]))
        || (value.len() == 24 && version == Some(&[0, 0, 3]))
}

/// Tells whether `value` is a list that `posix_acl_valid` of the kernel takes: an entry is a tag, its
/// permissions, and an id, and the order of tags is fixed.
fn is_acl_sound(value: &[u8]) -> bool {
    let Some((&[2, 0, 0, 0], entries)) = value.split_first_chunk::<4>() else {
        return false;
    };
    let (entries, rest) = entries.as_chunks::<8>();
    let mut last_tag = 0;
    let mut tags = 0;
    let sorted = entries.iter().all(|entry| {
        let tag = u16::from_le_bytes([entry[0], entry[1]]);
        let permissions = u16::from_le_bytes([entry[2], entry[3]]);
        let may_repeat = matches!(tag, 0x02 | 0x08);
        let follows = tag > last_tag || (tag == last_tag && may_repeat);
        last_tag = tag;
        tags |= tag;
        follows && permissions <= 7 && tag.is_power_of_two() && tag <= 0x20
    });
    let needs_mask = tags & (0x02 | 0x08) != 0;
    rest.is_empty() && sorted && tags & 0x25 == 0x25 && (!needs_mask || tags & 0x10 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Directory;

    #[test]
    fn what_the_kernel_would_not_set_is_refused() {
        #[track_caller]
        fn check(name: &str, value: &[u8], kind: &Kind, expected: bool) {
            let is_kept = fate(name.as_bytes(), value, kind) != Refused;
            assert_eq!(is_kept, expected, "{name} {value:?} {kind:?}");
        }
        let (directory, link) = (
            Kind::Directory(Directory::default()),
            Kind::Symlink((*b"x").into()),
        );
        check("user.k", b"v", &directory, true);
        check("user.k", b"v", &link, false);
        check("trusted.t", b"v", &link, true);
        check("trusted.t", b"v", &Kind::Fifo, true);
        check("user.", b"v", &directory, false);
        check("foo.bar", b"v", &directory, false);
        check("system.foo", b"v", &directory, false);
        let capability =
            |version, len: usize| [&[1, 0, 0, version][..], &vec![0; len - 4]].concat();
        check("security.capability", &capability(2, 20), &Kind::Fifo, true);
        check("security.capability", &capability(3, 24), &Kind::Fifo, true);
        check(
            "security.capability",
            &capability(3, 20),
            &Kind::Fifo,
            false,
        );
        check("security.capability", b"", &Kind::Fifo, false);
        let acl = |tags: &[u8]| {
            let entries = tags.iter().flat_map(|&tag| [tag, 0, 7, 0, 0, 0, 0, 0]);
            [2, 0, 0, 0].into_iter().chain(entries).collect::<Vec<u8>>()
        };
        let access = "system.posix_acl_access";
        check(access, &acl(&[1, 4, 0x20]), &directory, true);
        check(
            access,
            &acl(&[1, 2, 2, 4, 8, 0x10, 0x20]),
            &Kind::Fifo,
            true,
        );
        check(access, &acl(&[1, 4, 0x20]), &link, false);
        check(access, &acl(&[1, 2, 4, 0x20]), &directory, false);
        check(access, &acl(&[1, 1, 4, 0x20]), &directory, false);
        check(access, &acl(&[4, 1, 0x20]), &directory, false);
        check(access, &acl(&[1, 4]), &directory, false);
        check(access, b"", &directory, false);
        check(
            "system.posix_acl_accessible",
            &acl(&[1, 4, 0x20]),
            &directory,
            false,
        );
        check(
            "system.posix_acl_default",
            &acl(&[1, 4, 0x20]),
            &directory,
            true,
        );
        check(
            "system.posix_acl_default",
            &acl(&[1, 4, 0x20]),
            &Kind::Fifo,
            false,
        );
    }
}
