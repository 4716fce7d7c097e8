//! The ids in access control lists, as they are in extended attributes (acl(5)): a version, then for
//! each entry its type and its rights, 16 bits each, and an id of 32 bits, all little-endian.

/// The attributes that hold lists.
const NAMES: [&[u8]; 2] = [b"system.posix_acl_access", b"system.posix_acl_default"];

const VERSION: [u8; 4] = 2_u32.to_le_bytes();
const ENTRY_LEN: usize = 8;
/// The types of the entries that name somebody: `ACL_USER` and `ACL_GROUP`.
const USER: [u8; 2] = 2_u16.to_le_bytes();
const GROUP: [u8; 2] = 8_u16.to_le_bytes();

/// Whose an id is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    User,
    Group,
}

pub(super) fn is_list(name: &[u8]) -> bool {
    NAMES.contains(&name)
}

/// Gives each id in the list `value` the one that `map` says. What is no list stays as it is: the
/// kernel refuses it, or whoever made it knows what it is.
pub(super) fn map_ids<E>(
    value: &mut [u8],
    map: impl Fn(Kind, u32) -> Result<u32, E>,
) -> Result<(), E> {
    let Some((version, entries)) = value.split_at_mut_checked(VERSION.len()) else {
        return Ok(());
    };
    if *version != VERSION || !entries.len().is_multiple_of(ENTRY_LEN) {
        return Ok(());
    }
    for entry in entries.chunks_exact_mut(ENTRY_LEN) {
        let [low, high, _, _, id @ ..] = entry else {
            continue;
        };
        let kind = match [*low, *high] {
            USER => Kind::User,
            GROUP => Kind::Group,
            _ => continue,
        };
        if let Ok(old) = <[u8; 4]>::try_from(&*id) {
            id.copy_from_slice(&map(kind, u32::from_le_bytes(old))?.to_le_bytes());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_named_users_and_groups_are_mapped() {
        #[track_caller]
        fn check(version: u32, kind: u16, expected: u32) {
            let list = |id: u32| {
                let mut list = version.to_le_bytes().to_vec();
                list.extend_from_slice(&kind.to_le_bytes());
                list.extend_from_slice(&6_u16.to_le_bytes());
                list.extend_from_slice(&id.to_le_bytes());
                list
            };
            let mut value = list(5);
            let map = |kind, id| match kind {
                Kind::User => Ok::<u32, ()>(id + 1000),
                Kind::Group => Ok(id + 2000),
            };
            map_ids(&mut value, map).unwrap();
            assert_eq!(value, list(expected), "{version} {kind}");
        }
        check(2, 0x01, 5);
        check(2, 0x02, 1005);
        check(2, 0x04, 5);
        check(2, 0x08, 2005);
        check(2, 0x10, 5);
        check(2, 0x20, 5);
        check(1, 0x02, 5);
    }

    #[test]
    fn damage_does_no_harm() {
        for len in 0..40 {
            let mut value = vec![2; len];
            if let Some(version) = value.first_chunk_mut() {
                *version = VERSION;
            }
            map_ids(&mut value, |_, id| Ok::<u32, ()>(id)).unwrap();
            assert_eq!(value.len(), len);
        }
    }
}
