//! Archives made by hand, byte by byte.

use std::io::Read as _;

use corten_tar::{Entry, Error, Limits, Located, Reader};

/// The magics of the formats.
pub(crate) const USTAR: &[u8] = b"ustar\x0000";
pub(crate) const GNU: &[u8] = b"ustar  \0";
pub(crate) const V7: &[u8] = b"";

/// An archive under construction.
#[derive(Debug, Clone, Default)]
pub(crate) struct Archive(pub(crate) Vec<u8>);

impl Archive {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds a header with its checksum, fields overwritten at their offsets.
    pub(crate) fn header(mut self, magic: &[u8], flag: u8, fields: &[(usize, &[u8])]) -> Self {
        let mut block = [0; 512];
        let defaults: [(usize, &[u8]); 6] = [
            (0, b"name"),
            (100, b"0000644\0"),
            (108, b"0001750\0"),
            (116, b"0001751\0"),
            (156, &[flag]),
            (257, magic),
        ];
        for (start, bytes) in defaults.iter().chain(fields) {
            if *start == 0 {
                block[..100].fill(0);
            }
            block[*start..start + bytes.len()].copy_from_slice(bytes);
        }
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        self.0.extend_from_slice(&block);
        self
    }

    /// Adds a header with a name, and a body of which it says the size.
    pub(crate) fn file(self, magic: &[u8], flag: u8, name: &[u8], body: &[u8]) -> Self {
        let size = format!("{:011o}\0", body.len());
        self.header(magic, flag, &[(0, name), (124, size.as_bytes())])
            .body(body)
    }

    /// Adds bytes and fills up the block.
    pub(crate) fn body(mut self, body: &[u8]) -> Self {
        self.0.extend_from_slice(body);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    /// Adds an extended header.
    pub(crate) fn pax(self, flag: u8, records: &[(&str, &[u8])]) -> Self {
        let mut body = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let length = (rest..rest + 9)
                .find(|len| len - rest == len.to_string().len())
                .unwrap();
            body.extend_from_slice(format!("{length} {key}=").as_bytes());
            body.extend_from_slice(value);
            body.push(b'\n');
        }
        self.file(USTAR, flag, b"pax", &body)
    }

    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&corten_tar::END);
        self.0
    }
}

/// Reads all entries with their stored bodies.
pub(crate) fn read_with(archive: &[u8], limits: Limits) -> Result<Vec<(Located, Vec<u8>)>, Error> {
    let mut reader = Reader::new(archive, limits);
    let mut entries = Vec::new();
    while let Some(located) = reader.next_entry()? {
        let mut body = Vec::new();
        reader
            .read_body()
            .read_to_end(&mut body)
            .map_err(|error| Error::read(0, error))?;
        assert_eq!(body.len() as u64, located.stored_size);
        let start = usize::try_from(located.offset).unwrap();
        assert_eq!(
            body,
            archive[start..start + body.len()],
            "the body is where it is said to be"
        );
        entries.push((located, body));
    }
    reader.finish()?;
    Ok(entries)
}

pub(crate) fn read(archive: &[u8]) -> Result<Vec<(Located, Vec<u8>)>, Error> {
    read_with(archive, Limits::default())
}

/// Reads an archive of one entry.
#[track_caller]
pub(crate) fn only(archive: &[u8]) -> Entry {
    let mut entries = read(archive).unwrap();
    assert_eq!(entries.len(), 1, "{entries:?}");
    entries.remove(0).0.entry
}

/// Prints an error and its causes on one line.
pub(crate) fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
