//! Archives for tests.

use std::io::Write;

use corten_tar::{Compression, Encoder, Entry, EntryKind, Timestamp, Writer};

/// An entry and its content.
#[derive(Debug, Clone)]
pub(crate) struct Item(pub(crate) Entry, pub(crate) &'static str);

pub(crate) fn file(path: &str, content: &'static str) -> Item {
    let mut entry = Entry::new(EntryKind::File, path);
    entry.size = content.len() as u64;
    entry.mtime = Timestamp::from_seconds(1_600_000_000);
    Item(entry, content)
}

pub(crate) fn directory(path: &str) -> Item {
    let mut entry = Entry::new(EntryKind::Directory, path);
    entry.mtime = Timestamp::from_seconds(1_500_000_000);
    Item(entry, "")
}

pub(crate) fn link(kind: EntryKind, path: &str, target: &str) -> Item {
    let mut entry = Entry::new(kind, path);
    entry.link = target.into();
    Item(entry, "")
}

/// Returns a tar of `items`.
pub(crate) fn tar(items: &[Item]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for Item(entry, content) in items {
        writer.entry(entry, &mut content.as_bytes()).unwrap();
    }
    writer.finish().unwrap()
}

pub(crate) fn compress(bytes: &[u8], compression: Compression) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new(), compression, None, 1).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
