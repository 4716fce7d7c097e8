//! Fewer layers, the same files: all of an image's layers, or the topmost ones, become one.
//!
//! The new layer is the difference between the tree of the layers that stay and the tree of all of them,
//! so it holds what changed in between and nothing that a later layer took back, with whiteouts where a
//! layer that stays has something that is gone.

use std::collections::BTreeMap;

use corten_content::{ImageDocuments, Store, load, load_image, put};
use corten_layer::bytes::TreeContents;
use corten_layer::diff::{diff, same_bytes};
use corten_layer::{Contents, File, emit};
use corten_snapshot::{Bytes, LayerRef, PackOptions, Packer, Snapshots, layers_of};
use corten_spec::{
    Descriptor, Digest, Family, History, Index, Kind, Manifest, Platform, document, media_type,
};

use crate::{Error, Result};

/// How layers are squashed.
#[derive(Debug, Clone)]
pub struct SquashOptions {
    /// How many layers stay as they are, counted from the base; 0 makes one layer of all.
    pub n_kept: usize,
    /// What the history says made the layer.
    pub created_by: String,
    /// How the layer is stored.
    pub pack: PackOptions,
}

/// Makes one layer of those of `image` that do not stay, stores the result, which has no name yet, and
/// returns the descriptor of its manifest.
///
/// The config stays as it is but for its layers, with one entry of the history for the new one; entries
/// that made no layer stay too. The manifest is an OCI one and keeps its annotations. The same image
/// gives the same result.
///
/// # Errors
/// [`Error::TooFewLayers`] if more layers are to stay than there are.
pub fn squash(
    store: &Store,
    image: &ImageDocuments,
    options: &SquashOptions,
) -> Result<Descriptor> {
    let layers = layers_of(image)?;
    let Some((kept, squashed)) = layers.split_at_checked(options.n_kept) else {
        return Err(Error::TooFewLayers {
            n_layers: layers.len(),
            n_kept: options.n_kept,
        });
    };
    let snapshots = Snapshots::new(store);
    let layer = pack_difference(&snapshots, kept, squashed, &options.pack)?;

    let mut config = image.config.value.clone();
    let digest = &image.manifest.descriptor.digest;
    let entry = History {
        created: config.created.clone(),
        created_by: Some(options.created_by.clone()),
        comment: Some(format!("{} layers of {digest}", squashed.len())),
        ..History::default()
    };
    config.history = history(&config.history, layers.len(), kept.len(), entry);
    config.rootfs.diff_ids.truncate(kept.len());
    config.rootfs.diff_ids.push(layer.diff_id);
    let platform = config.platform();
    let config = put(store, media_type::OCI_CONFIG, &document::to_bytes(&config))?;

    let blobs = kept.iter().map(|layer| Family::Oci.describe(&layer.blob));
    let blobs = blobs.chain([layer.blob]).collect();
    let manifest = Manifest {
        annotations: image.manifest.value.annotations.clone(),
        ..Manifest::oci(config, blobs)
    };
    let manifest = put(
        store,
        media_type::OCI_MANIFEST,
        &document::to_bytes(&manifest),
    )?;
    Ok(Descriptor {
        platform: Some(platform),
        ..manifest
    })
}

fn pack_difference(
    snapshots: &Snapshots<'_>,
    kept: &[LayerRef],
    squashed: &[LayerRef],
    pack: &PackOptions,
) -> Result<LayerRef> {
    let lower = snapshots.tree(kept)?;
    let upper = snapshots.extend(lower.clone(), squashed)?;
    let all: Vec<LayerRef> = kept.iter().chain(squashed).cloned().collect();
    let bytes = Bytes::new(snapshots.clone(), &all);
    let contents = |tree| TreeContents {
        tree,
        bytes: &bytes,
    };
    let (old_contents, new_contents) = (contents(&lower), contents(&upper));
    let same = |old: &File, new: &File| {
        // A file that was written again with the bytes it had has not changed.
        Ok(old.data == new.data || same_content(&old_contents, old, &new_contents, new)?)
    };
    let written = |source| Error::Write { source };
    let changes = diff(&lower, &upper, &same).map_err(written)?;
    let mut packer = Packer::new(snapshots.store(), pack)?;
    let entries =
        emit::write_changeset(&lower, &changes, &new_contents, &mut packer).map_err(written)?;
    let layer = packer.finish()?;
    snapshots.put_entries(&layer.diff_id, &entries)?;
    Ok(layer)
}

fn same_content(
    old_contents: &TreeContents<'_>,
    old: &File,
    new_contents: &TreeContents<'_>,
    new: &File,
) -> corten_layer::Result<bool> {
    let compare = || same_bytes(&mut *old_contents.open(old)?, &mut *new_contents.open(new)?);
    compare().map_err(|source| corten_layer::diff::content_error(b"", source))
}

/// Returns the history with `entry` in the place of the layers that do not stay.
///
/// Entries that made no layer tell what the config was set to, which is still true. A history that does
/// not fit its layers tells nothing about those that stay.
fn history(old: &[History], n_layers: usize, n_kept: usize, entry: History) -> Vec<History> {
    if old.iter().filter(|entry| !entry.empty_layer).count() != n_layers {
        return if n_kept == 0 { vec![entry] } else { Vec::new() };
    }
    let mut history = Vec::new();
    let mut entry = Some(entry);
    let mut n_seen = 0;
    for old in old {
        n_seen += usize::from(!old.empty_layer);
        let stays = old.empty_layer || n_seen <= n_kept;
        if stays {
            history.push(old.clone());
        } else {
            history.extend(entry.take());
        }
    }
    // The image has no layers above those that stay.
    history.extend(entry);
    history
}

/// Calls `change` for each image that `content`, an index or a manifest in `store`, leads to, and stores
/// the index of the results in its place. Entries that are no images, such as attestations, are about
/// what they were made with, and left out; `left_out` is called for each.
///
/// # Errors
/// Fails where indexes are nested more than a few deep, and where an image of the index is not in the
/// store.
pub fn for_each_platform<E: From<Error>>(
    store: &Store,
    content: &Descriptor,
    change: &mut dyn FnMut(&ImageDocuments) -> std::result::Result<Descriptor, E>,
    left_out: &mut dyn FnMut(&Descriptor),
) -> std::result::Result<Descriptor, E> {
    let mut platforms = Platforms {
        store,
        change,
        left_out,
        made: BTreeMap::new(),
    };
    platforms.within(content, MOST_NESTED)
}

/// Nobody nests them more than once.
const MOST_NESTED: usize = 4;

struct Platforms<'a, E> {
    store: &'a Store,
    change: &'a mut dyn FnMut(&ImageDocuments) -> std::result::Result<Descriptor, E>,
    left_out: &'a mut dyn FnMut(&Descriptor),
    /// What became of each document. Indexes that list one another again and again lead to it in more
    /// ways than can be gone.
    made: BTreeMap<Digest, Descriptor>,
}

impl<E: From<Error>> Platforms<'_, E> {
    fn within(&mut self, content: &Descriptor, depth: usize) -> std::result::Result<Descriptor, E> {
        if let Some(made) = self.made.get(&content.digest) {
            return Ok(made.clone());
        }
        let made = if content.kind() == Kind::Index {
            self.index(content, depth)?
        } else {
            let platform = content.platform.clone().unwrap_or_else(Platform::host);
            let image = load_image(self.store, content, &platform).map_err(Error::from)?;
            (self.change)(&image)?
        };
        self.made.insert(content.digest.clone(), made.clone());
        Ok(made)
    }

    fn index(&mut self, content: &Descriptor, depth: usize) -> std::result::Result<Descriptor, E> {
        let Some(depth) = depth.checked_sub(1) else {
            let digest = content.digest.clone();
            return Err(Error::NestedIndexes { digest }.into());
        };
        let index = load::<Index>(self.store, content).map_err(Error::from)?;
        let mut manifests = Vec::new();
        for entry in &index.value.manifests {
            if !is_image(entry) {
                (self.left_out)(entry);
                continue;
            }
            let changed = self.within(entry, depth)?;
            manifests.push(Descriptor {
                platform: entry.platform.clone().or(changed.platform),
                annotations: entry.annotations.clone(),
                ..changed
            });
        }
        let index = Index {
            annotations: index.value.annotations,
            ..Index::oci(manifests)
        };
        let index = document::to_bytes(&index);
        let index = put(self.store, media_type::OCI_INDEX, &index).map_err(Error::from)?;
        Ok(index)
    }
}

/// `BuildKit` puts attestations into indexes as manifests for the platform `unknown/unknown`.
fn is_image(entry: &Descriptor) -> bool {
    let is_unknown = |platform: &Platform| platform.os == "unknown";
    match entry.kind() {
        Kind::Index => true,
        Kind::Manifest => {
            entry.artifact_type.is_none() && !entry.platform.as_ref().is_some_and(is_unknown)
        }
        Kind::Config | Kind::Layer { .. } | Kind::Schema1 | Kind::Other => false,
    }
}

/// Returns how many layers of `image` are those of `base`, if they are its first ones.
///
/// # Errors
/// [`Error::NotItsBase`] says how many they have in common.
pub fn layers_of_base(image: &ImageDocuments, base: &ImageDocuments) -> Result<usize> {
    let (all, below) = (
        &image.config.value.rootfs.diff_ids,
        &base.config.value.rootfs.diff_ids,
    );
    let n_common = all
        .iter()
        .zip(below)
        .take_while(|(one, other)| one == other)
        .count();
    if n_common == below.len() {
        Ok(n_common)
    } else {
        Err(Error::NotItsBase {
            n_base: below.len(),
            n_common,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_history_says() {
        #[track_caller]
        fn check(old: &str, n_layers: usize, n_kept: usize, expected: &str) {
            // Capitals made a layer.
            let entry = |name: char| History {
                created_by: Some(name.to_string()),
                empty_layer: name.is_lowercase(),
                ..History::default()
            };
            let old: Vec<History> = old.chars().map(entry).collect();
            let found = history(&old, n_layers, n_kept, entry('!'));
            let found: Option<String> = found.into_iter().map(|entry| entry.created_by).collect();
            assert_eq!(found.as_deref(), Some(expected));
        }
        check("ABC", 3, 0, "!");
        check("aAbBc", 2, 0, "a!bc");
        check("aAbBcCd", 3, 1, "aAb!cd");
        check("AbB", 2, 2, "AbB!");
        check("Ab", 1, 1, "Ab!");
        check("", 0, 0, "!");
        check("", 2, 0, "!");
        check("AB", 3, 1, "");
    }
}
