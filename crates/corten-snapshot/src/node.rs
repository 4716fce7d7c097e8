//! Inodes as bytes; `files` draws the format.

use corten_layer::{Data, Directory, File, Kind, Meta, Node};
use corten_tar::{Segment, Timestamp};

/// Appends `node`; `number` is the directory that it is, if it is one.
pub(crate) fn write_node(out: &mut Vec<u8>, node: &Node, number: u32) {
    let meta = &node.meta;
    out.push(match &node.kind {
        Kind::File(_) => 0,
        Kind::Directory(_) => 1,
        Kind::Symlink(_) => 2,
        Kind::Device { block: false, .. } => 3,
        Kind::Device { block: true, .. } => 4,
        Kind::Fifo => 5,
    });
    for number in [meta.mode, meta.uid, meta.gid] {
        put_u32(out, number);
    }
    put_u64(out, meta.mtime.seconds.cast_unsigned());
    for number in [meta.mtime.nanoseconds, node.n_links, node.layer] {
        put_u32(out, number);
    }
    match &node.kind {
        Kind::File(file) => put_file(out, file),
        Kind::Directory(_) => put_u32(out, number),
        Kind::Symlink(target) => put_bytes(out, target),
        Kind::Device { major, minor, .. } => {
            put_u32(out, *major);
            put_u32(out, *minor);
        }
        Kind::Fifo => {}
    }
    for pairs in [meta.xattrs(), meta.records()] {
        put_len(out, pairs.len());
        for (name, value) in pairs {
            put_bytes(out, name);
            put_bytes(out, value);
        }
    }
}

fn put_file(out: &mut Vec<u8>, file: &File) {
    put_u64(out, file.size);
    // A tree of layers has no other data.
    let (layer, offset) = match file.data {
        Data::Layer { layer, offset } => (layer, offset),
        Data::External(number) => (0, number),
    };
    put_u32(out, layer);
    put_u64(out, offset);
    put_len(out, file.sparse.as_ref().map_or(0, |map| map.len() + 1));
    for segment in file.sparse.iter().flatten() {
        put_u64(out, segment.offset);
        put_u64(out, segment.length);
    }
}

fn put_u32(out: &mut Vec<u8>, number: u32) {
    out.extend_from_slice(&number.to_le_bytes());
}

fn put_u64(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_le_bytes());
}

/// What a tree holds came through limits that are far below this one.
fn put_len(out: &mut Vec<u8>, len: usize) {
    put_u32(out, u32::try_from(len).unwrap_or(u32::MAX));
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_len(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// Reads what [`write_node`] wrote; `None` for anything else.
pub(crate) fn read_node(record: &[u8]) -> Option<(Node, u32)> {
    let mut input = Input(record);
    let kind = input.take::<1>()?[0];
    let (mode, uid, gid) = (input.u32()?, input.u32()?, input.u32()?);
    let mtime = Timestamp {
        seconds: input.u64()?.cast_signed(),
        nanoseconds: input.u32()?,
    };
    let (n_links, layer) = (input.u32()?, input.u32()?);
    let mut number = 0;
    let kind = match kind {
        0 => Kind::File(input.file()?),
        1 => {
            number = input.u32()?;
            Kind::Directory(Directory::default())
        }
        2 => Kind::Symlink(input.bytes()?.into()),
        3 | 4 => Kind::Device {
            block: kind == 4,
            major: input.u32()?,
            minor: input.u32()?,
        },
        5 => Kind::Fifo,
        _ => return None,
    };
    let (xattrs, records) = (input.pairs()?, input.pairs()?);
    let node = Node {
        kind,
        meta: Meta::new(mode, uid, gid, mtime).with_extended(xattrs, records),
        n_links,
        layer,
    };
    input.0.is_empty().then_some((node, number))
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.u32()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }

    fn file(&mut self) -> Option<File> {
        let size = self.u64()?;
        let data = Data::Layer {
            layer: self.u32()?,
            offset: self.u64()?,
        };
        let mut sparse = None;
        if let Some(n_segments) = self.u32()?.checked_sub(1) {
            let mut segments = Vec::new();
            for _ in 0..n_segments {
                segments.push(Segment {
                    offset: self.u64()?,
                    length: self.u64()?,
                });
            }
            sparse = Some(segments.into());
        }
        Some(File { size, data, sparse })
    }

    fn pairs(&mut self) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
        let mut pairs = Vec::new();
        for _ in 0..self.u32()? {
            pairs.push((self.bytes()?.to_vec(), self.bytes()?.to_vec()));
        }
        Some(pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes() -> Vec<Node> {
        let file = |sparse: Option<Vec<Segment>>| {
            Kind::File(File {
                size: u64::MAX,
                data: Data::Layer {
                    layer: 3,
                    offset: 1 << 40,
                },
                sparse: sparse.map(Into::into),
            })
        };
        let segment = Segment {
            offset: 5,
            length: 7,
        };
        let device = |block| Kind::Device {
            block,
            major: 1,
            minor: 1 << 19,
        };
        let kinds = vec![
            file(None),
            file(Some(Vec::new())),
            file(Some(vec![segment; 2])),
            Kind::Directory(Directory::default()),
            Kind::Symlink(b"a\xff".as_slice().into()),
            device(false),
            device(true),
            Kind::Fifo,
        ];
        let time = Timestamp {
            seconds: -5,
            nanoseconds: 999_999_999,
        };
        let meta = Meta::new(0o4755, u32::MAX - 1, 0, time).with_extended(
            vec![(b"user.a".to_vec(), b"\0".to_vec())],
            vec![(b"KEY".to_vec(), Vec::new())],
        );
        let node = |kind| Node {
            kind,
            meta: meta.clone(),
            n_links: 2,
            layer: 3,
        };
        kinds.into_iter().map(node).collect()
    }

    #[test]
    fn what_was_written_is_read_back_and_nothing_else() {
        for node in nodes() {
            let mut record = Vec::new();
            write_node(&mut record, &node, 9);
            let number = if matches!(node.kind, Kind::Directory(_)) {
                9
            } else {
                0
            };
            assert_eq!(read_node(&record), Some((node, number)));
            for len in 0..record.len() {
                assert_eq!(read_node(&record[..len]), None, "cut at {len}");
            }
            record.push(0);
            assert_eq!(read_node(&record), None);
        }
    }
}
