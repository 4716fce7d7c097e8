//! What of a cache does not fit into a number of bytes: what was used longest ago.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::SystemTime;

use corten_spec::Digest;

use crate::{CacheEntry, RunCache};

/// What is to go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Over {
    /// The keys of build records.
    pub keys: Vec<Digest>,
    /// Directories that `RUN --mount=type=cache` keeps.
    pub run_caches: Vec<PathBuf>,
}

enum Item<'a> {
    Entry(&'a CacheEntry),
    RunCache(&'a RunCache),
}

impl Item<'_> {
    fn used(&self) -> SystemTime {
        match self {
            Self::Entry(entry) => entry.used,
            Self::RunCache(cache) => cache.used,
        }
    }
}

/// Returns what of `entries` and `run_caches` does not fit into `most_bytes`, when what was used last
/// stays. Each layer counts once, as it is stored; a cache of RUN counts what it takes of the disk, and
/// stays while it is in use.
pub fn over_budget(entries: &[CacheEntry], run_caches: &[RunCache], most_bytes: u64) -> Over {
    let entries = entries.iter().map(Item::Entry);
    let mut items: Vec<_> = entries
        .chain(run_caches.iter().map(Item::RunCache))
        .collect();
    items.sort_by_key(|item| std::cmp::Reverse(item.used()));
    let mut layers = HashSet::new();
    let mut total = 0_u64;
    let mut over = Over::default();
    for item in items {
        match item {
            Item::Entry(entry) => {
                if let Some(layer) = &entry.layer
                    && layers.insert(&layer.digest)
                {
                    total = total.saturating_add(layer.size);
                }
                if total > most_bytes {
                    over.keys.push(entry.key.clone());
                }
            }
            Item::RunCache(cache) => {
                total = total.saturating_add(cache.disk_bytes);
                if total > most_bytes && !cache.in_use {
                    over.run_caches.push(cache.path.clone());
                }
            }
        }
    }
    over
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use corten_spec::Descriptor;

    use super::*;

    /// When something was used that was used `age` seconds ago.
    fn used(age: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(100 - age)
    }

    fn entry(name: &str, layer: Option<&[u8]>, age: u64) -> CacheEntry {
        CacheEntry {
            key: Digest::sha256(name.as_bytes()),
            layer: layer.map(|bytes| Descriptor::of("a/b", bytes)),
            created: String::new(),
            used: used(age),
        }
    }

    fn cache(name: &str, disk_bytes: u64, age: u64, in_use: bool) -> RunCache {
        RunCache {
            name: Digest::sha256(name.as_bytes()),
            id: name.to_owned(),
            path: name.into(),
            disk_bytes,
            used: used(age),
            in_use,
        }
    }

    #[track_caller]
    fn check(
        entries: &[CacheEntry],
        caches: &[RunCache],
        most_bytes: u64,
        keys: &[&str],
        run_caches: &[&str],
    ) {
        let keys = keys.iter().map(|name| Digest::sha256(name.as_bytes()));
        let expected = Over {
            keys: keys.collect(),
            run_caches: run_caches.iter().map(PathBuf::from).collect(),
        };
        assert_eq!(
            over_budget(entries, caches, most_bytes),
            expected,
            "{most_bytes}"
        );
    }

    #[test]
    fn what_does_not_fit_is_what_was_used_longest_ago() {
        let entries = [
            entry("a", Some(b"12345"), 0),
            entry("b", Some(b"12345"), 0),
            entry("c", None, 0),
            entry("d", Some(b"123"), 0),
            entry("e", None, 0),
        ];
        check(&entries, &[], 8, &[], &[]);
        check(&entries, &[], 7, &["d", "e"], &[]);
        check(&entries, &[], 0, &["a", "b", "c", "d", "e"], &[]);
    }

    #[test]
    fn both_kinds_share_the_budget() {
        let entries = [
            entry("new", Some(b"12345"), 0),
            entry("old", Some(b"123"), 8),
        ];
        let caches = [
            cache("middle", 100, 4, false),
            cache("used", 100, 6, true),
            cache("oldest", 1, 9, false),
        ];
        check(&entries, &caches, 300, &[], &[]);
        check(&entries, &caches, 208, &[], &["oldest"]);
        check(&entries, &caches, 205, &["old"], &["oldest"]);
        check(&entries, &caches, 105, &["old"], &["oldest"]);
        check(&entries, &caches, 104, &["old"], &["middle", "oldest"]);
        check(&entries, &caches, 0, &["new", "old"], &["middle", "oldest"]);
    }
}
