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

/// An archive made by hand, for what no writer of ours writes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Raw(pub(crate) Vec<u8>);

impl Raw {
    /// Adds a header of a type, with fields overwritten at their offsets.
    pub(crate) fn header(mut self, name: &str, flag: u8, fields: &[(usize, &[u8])]) -> Self {
        let mut block = [0; 512];
        let defaults: [(usize, &[u8]); 6] = [
            (0, name.as_bytes()),
            (100, b"0000644\0"),
            (108, b"0000000\0"),
            (116, b"0000000\0"),
            (156, &[flag]),
            (257, b"ustar\x0000"),
        ];
        for (start, bytes) in defaults.iter().chain(fields) {
            block[*start..start + bytes.len()].copy_from_slice(bytes);
        }
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        self.0.extend_from_slice(&block);
        self
    }

    /// Adds an entry with a body.
    pub(crate) fn file(self, name: &str, flag: u8, body: &[u8]) -> Self {
        let size = format!("{:011o}\0", body.len());
        self.header(name, flag, &[(124, size.as_bytes())])
            .body(body)
    }

    /// Adds bytes and fills up the block.
    pub(crate) fn body(mut self, body: &[u8]) -> Self {
        self.0.extend_from_slice(body);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    /// Adds an extended header, of two blocks.
    pub(crate) fn pax(self, flag: u8, key: &str, value: &str) -> Self {
        self.records(flag, &[(key, value)])
    }

    /// Adds an extended header of several records.
    pub(crate) fn records(self, flag: u8, records: &[(&str, &str)]) -> Self {
        let record = |(key, value): &(&str, &str)| {
            let rest = key.len() + value.len() + 3;
            let length = (rest..rest + 9)
                .find(|len| len - rest == len.to_string().len())
                .unwrap();
            format!("{length} {key}={value}\n")
        };
        let body: String = records.iter().map(record).collect();
        self.file("pax", flag, body.as_bytes())
    }

    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&corten_tar::END);
        self.0
    }
}
