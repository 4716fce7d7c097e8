//! Writing what was laid out.

use std::io::{self, Seek, Write};

use crate::erofs::format::{self, BLOCK, Content, Inode, Slot, Superblock};
use crate::erofs::layout::{Layout, Place, Placed, address, path_of};
use crate::erofs::output::Output;
use crate::erofs::sparse::{Chunk, Piece, chunks, len_of};
use crate::erofs::{IndexReport, directory, xattrs};
use crate::{Data, Error, File, Kind, LayerBytes, NodeId, Result, Tree};

/// How many bytes of a file are copied at once.
const COPIED: usize = 64 << 10;

/// Writes everything in its place, from front to back.
pub(super) fn write<W: Write + Seek>(
    layout: &Layout<'_>,
    bytes: &dyn LayerBytes,
    out: W,
) -> Result<IndexReport> {
    let mut writer = Writer {
        layout,
        bytes,
        out: Output::new(out),
        slots: layout.slots(),
        buf: vec![0; COPIED],
        copied_bytes: 0,
    };
    writer.head()?;
    for (number, placed) in layout.inodes.iter().enumerate() {
        writer.inode(number, placed)?;
    }
    for placed in &layout.inodes {
        writer.blocks(placed)?;
    }
    writer.out.advance(layout.n_blocks() * BLOCK);
    let copied_bytes = writer.copied_bytes;
    let size = writer.out.finish().map_err(failed)?;
    Ok(IndexReport {
        devices: layout
            .devices
            .table()
            .map(|(device, _)| device.diff_id.clone())
            .collect(),
        n_inodes: layout.inodes.len() as u64,
        size,
        copied_bytes,
        xattrs_refused: layout.refused.shown(layout.tree),
        n_xattrs_refused: layout.refused.count,
    })
}

fn failed(source: io::Error) -> Error {
    Error::IndexOutput { source }
}

struct Writer<'a, W: Write + Seek> {
    layout: &'a Layout<'a>,
    bytes: &'a dyn LayerBytes,
    out: Output<W>,
    slots: Vec<Slot<'a>>,
    buf: Vec<u8>,
    copied_bytes: u64,
}

impl<W: Write + Seek> Writer<'_, W> {
    fn head(&mut self) -> Result<()> {
        let superblock = Superblock {
            n_inodes: self.layout.inodes.len() as u64,
            blocks: address(self.layout.n_blocks()),
            n_devices: u16::try_from(self.slots.len()).unwrap_or(u16::MAX),
            uuid: self.layout.uuid(),
        };
        self.out
            .write(&format::head(&superblock, &self.slots))
            .map_err(failed)
    }

    fn inode(&mut self, number: usize, placed: &Placed) -> Result<()> {
        let tree = self.layout.tree;
        let node = tree.node(placed.node);
        let unfit = |reason| Error::Unindexable {
            path: path_of(tree, placed.node),
            reason,
        };
        let attributes = xattrs::encode(&node.meta, &node.kind, &mut |_| {}).map_err(unfit)?;
        let entries = match node.kind {
            Kind::Directory(_) => directory::entries(tree, placed.node, placed.parent),
            Kind::File(_) | Kind::Symlink(_) | Kind::Device { .. } | Kind::Fifo => Vec::new(),
        };
        let inode = Inode {
            mode: mode(&node.kind, node.meta.mode),
            n_links: n_links(tree, placed.node),
            uid: node.meta.uid,
            gid: node.meta.gid,
            mtime: node.meta.mtime,
            size: match &node.kind {
                Kind::File(file) => file.size,
                Kind::Directory(_) => directory::size(&entries),
                Kind::Symlink(target) => target.len() as u64,
                Kind::Device { .. } | Kind::Fifo => 0,
            },
            content: self.content(placed, &node.kind),
            xattrs: attributes.len() as u64,
            number: u32::try_from(number + 1).unwrap_or(u32::MAX),
        };
        let start = self.layout.inodes_at() + placed.offset;
        self.out.advance(start);
        self.out.write(&inode.encode()).map_err(failed)?;
        self.out.write(&attributes).map_err(failed)?;
        match (&node.kind, placed.content) {
            (Kind::Symlink(target), Place::Inline) => self.out.write(target).map_err(failed),
            (Kind::Directory(_), Place::Inline) => self.directory(&entries),
            (Kind::File(file), Place::Chunks(bits, first)) => {
                let end = start + format::INODE + attributes.len() as u64;
                self.out.advance(end.next_multiple_of(8));
                self.chunk_table(file, bits, first)
            }
            _ => Ok(()),
        }
    }

    fn content(&self, placed: &Placed, kind: &Kind) -> Content {
        match (placed.content, kind) {
            (Place::Nowhere, &Kind::Device { major, minor, .. }) => {
                Content::Device(format::device_number(major, minor))
            }
            (Place::Nowhere, _) => Content::Blocks(0),
            (Place::Inline, _) => Content::Inline,
            (Place::Blocks(first), _) => {
                Content::Blocks(address(self.layout.first_block() + first))
            }
            (Place::Device(device, block), _) => {
                let number = self.layout.devices.number_of(device);
                let base = self
                    .slots
                    .get(usize::from(number).wrapping_sub(1))
                    .map_or(0, |slot| slot.address);
                Content::Blocks(base.saturating_add(address(block)))
            }
            (Place::Chunks(bits, _), _) => Content::Chunks(bits),
        }
    }

    fn chunk_table(&mut self, file: &File, bits: u8, first: u64) -> Result<()> {
        let segments = file.sparse.as_deref().unwrap_or_default();
        let mut next = self.layout.first_block() + first;
        for (chunk, _) in chunks(file.size, segments, bits) {
            let place = match self.pointer(file, chunk) {
                Some(place) => Some(place),
                None if chunk == Chunk::Hole => None,
                None => {
                    next += len_of(bits) / BLOCK;
                    Some((0, address(next - len_of(bits) / BLOCK)))
                }
            };
            self.out.write(&format::chunk(place)).map_err(failed)?;
        }
        Ok(())
    }

    /// Returns where a chunk lies in a device, if it does.
    fn pointer(&self, file: &File, chunk: Chunk) -> Option<(u16, u32)> {
        let Chunk::Data { stored_at, len } = chunk else {
            return None;
        };
        let (device, block) = self.layout.devices.point_at(file, stored_at, len)?;
        Some((self.layout.devices.number_of(device), address(block)))
    }

    fn blocks(&mut self, placed: &Placed) -> Result<()> {
        let (Place::Blocks(first) | Place::Chunks(_, first)) = placed.content else {
            return Ok(());
        };
        let start = (self.layout.first_block() + first) * BLOCK;
        let tree = self.layout.tree;
        match (&tree.node(placed.node).kind, placed.content) {
            (Kind::Symlink(target), _) => {
                self.out.advance(start);
                self.out.write(target).map_err(failed)
            }
            (Kind::Directory(_), _) => {
                self.out.advance(start);
                let entries = directory::entries(tree, placed.node, placed.parent);
                self.directory(&entries)
            }
            (Kind::File(file), Place::Chunks(bits, _)) => self.mixed_chunks(file, bits, start),
            (Kind::File(file), _) => {
                let whole = Piece {
                    at: 0,
                    stored_at: 0,
                    len: file.size,
                };
                self.copy(file, &whole, start)
            }
            (Kind::Device { .. } | Kind::Fifo, _) => Ok(()),
        }
    }

    fn directory(&mut self, entries: &[(&[u8], NodeId)]) -> Result<()> {
        let layout = self.layout;
        let mut room = 0;
        for block in directory::blocks(entries) {
            self.out.advance(self.out.position() + room);
            let bytes = directory::encode(layout.tree, block, &|node| layout.number(node));
            room = BLOCK - bytes.len() as u64;
            self.out.write(&bytes).map_err(failed)?;
        }
        Ok(())
    }

    fn mixed_chunks(&mut self, file: &File, bits: u8, start: u64) -> Result<()> {
        let segments = file.sparse.as_deref().unwrap_or_default();
        let mut chunk_at = start;
        for (number, (chunk, pieces)) in (0..).zip(chunks(file.size, segments, bits)) {
            if chunk == Chunk::Hole || self.pointer(file, chunk).is_some() {
                continue;
            }
            let in_file: u64 = number * len_of(bits);
            for piece in pieces {
                self.copy(file, &piece, chunk_at + (piece.at - in_file))?;
            }
            chunk_at += len_of(bits);
        }
        Ok(())
    }

    /// Copies a piece of `file` to `position`.
    fn copy(&mut self, file: &File, piece: &Piece, position: u64) -> Result<()> {
        let Data::Layer { layer, offset } = file.data else {
            return Ok(());
        };
        let layer = self
            .layout
            .tree
            .layer(layer)
            .ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
        self.out.advance(position);
        let mut at = offset.saturating_add(piece.stored_at);
        let mut left = piece.len;
        while left > 0 {
            let len = usize::try_from(left).unwrap_or(COPIED).min(COPIED);
            let part = self.buf.get_mut(..len).unwrap_or_default();
            self.bytes.read_at(layer, at, part)?;
            self.out.write(part).map_err(failed)?;
            at = at.saturating_add(len as u64);
            left -= len as u64;
        }
        self.copied_bytes += piece.len;
        Ok(())
    }
}

fn mode(kind: &Kind, permissions: u32) -> u16 {
    let (kind, permissions) = match kind {
        Kind::File(_) => (0o100_000, permissions),
        Kind::Directory(_) => (0o040_000, permissions),
        Kind::Symlink(_) => (0o120_000, 0o777),
        Kind::Device { block: false, .. } => (0o020_000, permissions),
        Kind::Device { block: true, .. } => (0o060_000, permissions),
        Kind::Fifo => (0o010_000, permissions),
    };
    u16::try_from(kind | (permissions & 0o7777)).unwrap_or_default()
}

/// A directory is linked from its parent, itself, and each directory in it.
fn n_links(tree: &Tree, node: NodeId) -> u32 {
    if !tree.is_directory(node) {
        return tree.node(node).n_links;
    }
    let n_directories = tree
        .children(node)
        .filter(|(_, child)| tree.is_directory(*child))
        .count();
    u32::try_from(n_directories + 2).unwrap_or(u32::MAX)
}
