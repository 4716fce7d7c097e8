//! The files of an image as one tar.

use std::collections::HashMap;
use std::io::Write;

use corten_layer::bytes::TreeContents;
use corten_layer::path::is_within;
use corten_layer::{Put, Tree, TreeBuilder, emit};
use corten_snapshot::{Bytes, LayerRef, Snapshots};

use crate::{Error, Found, Result};

/// Writes the files that `layers` amount to as one tar, each once and without any whiteout, in a fixed
/// order: the same layers give the same bytes.
///
/// With `part`, a path of the image, only what is there is written, under the names it has in the image,
/// with the directories that it is in.
pub fn export(
    snapshots: &Snapshots<'_>,
    layers: &[LayerRef],
    part: Option<&Found>,
    out: &mut dyn Write,
) -> Result<()> {
    let tree = snapshots.tree(layers)?;
    let bytes = Bytes::new(snapshots.clone(), layers);
    let contents = TreeContents {
        tree: &tree,
        bytes: &bytes,
    };
    let exported = part.map(|part| part_of(&tree, &part.path));
    exported
        .transpose()
        .and_then(|part| emit::write_tree(part.as_ref().unwrap_or(&tree), &contents, out))
        .map(drop)
        .map_err(|source| Error::Export { source })
}

/// Returns the tree of what is at the canonical `path`, and of the directories above it.
fn part_of(tree: &Tree, path: &[u8]) -> corten_layer::Result<Tree> {
    let mut builder = TreeBuilder::new(tree.node(Tree::ROOT).meta.clone());
    // Names of one inode are told by a number.
    let mut groups = HashMap::new();
    for (found, id) in tree.walk() {
        if is_within(&found, path) || is_within(path, &found) {
            let next = groups.len() as u64;
            let group = *groups.entry(id).or_insert(next);
            builder.add(&found, Put::of_node(tree.node(id), group))?;
        }
    }
    Ok(builder.finish())
}
