//! Directories in blocks.

use crate::erofs::format::BLOCK;
use crate::{Kind, NodeId, Tree};

/// What each entry takes beside its name.
const ENTRY: usize = 12;

/// The entries of a directory, sorted as the kernel searches them, itself and its parent among them.
pub(super) fn entries(tree: &Tree, directory: NodeId, parent: NodeId) -> Vec<(&[u8], NodeId)> {
    let mut entries: Vec<(&[u8], NodeId)> = tree.children(directory).collect();
    for dots in [(&b"."[..], directory), (b"..", parent)] {
        let place = entries.partition_point(|(name, _)| *name < dots.0);
        entries.insert(place, dots);
    }
    entries
}

/// Splits entries into as many as fit into each block.
pub(super) fn blocks<'a, 'b>(
    entries: &'b [(&'a [u8], NodeId)],
) -> impl Iterator<Item = &'b [(&'a [u8], NodeId)]> {
    let mut rest = entries;
    std::iter::from_fn(move || {
        let mut len = 0;
        let fitting = rest.iter().take_while(|(name, _)| {
            len += ENTRY + name.len();
            len as u64 <= BLOCK
        });
        let (block, left) = rest.split_at_checked(fitting.count().max(1))?;
        rest = left;
        Some(block)
    })
}

/// Returns the length of a directory: whole blocks, and what is used of the last.
pub(super) fn size(entries: &[(&[u8], NodeId)]) -> u64 {
    let (mut n_blocks, mut last) = (0, 0);
    for block in blocks(entries) {
        n_blocks += 1;
        last = block.iter().map(|(name, _)| ENTRY + name.len()).sum();
    }
    (n_blocks - 1_u64) * BLOCK + last as u64
}

/// Returns the bytes of one block, without what is free at its end.
pub(super) fn encode(
    tree: &Tree,
    block: &[(&[u8], NodeId)],
    number_of: &dyn Fn(NodeId) -> u64,
) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(512);
    let mut name_at = block.len() * ENTRY;
    for &(name, node) in block {
        bytes.extend(number_of(node).to_le_bytes());
        bytes.extend(u16::try_from(name_at).unwrap_or_default().to_le_bytes());
        bytes.extend([file_type(&tree.node(node).kind), 0]);
        name_at += name.len();
    }
    for (name, _) in block {
        bytes.extend(*name);
    }
    bytes
}

fn file_type(kind: &Kind) -> u8 {
    match kind {
        Kind::File(_) => 1,
        Kind::Directory(_) => 2,
        Kind::Device { block: false, .. } => 3,
        Kind::Device { block: true, .. } => 4,
        Kind::Fifo => 5,
        Kind::Symlink(_) => 7,
    }
}
