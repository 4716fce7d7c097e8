//! Directories as layers, and layers as directories.

use std::path::Path;

use corten_content::Store;
use corten_layer::beneath::Root;
use corten_layer::bytes::TreeContents;
use corten_layer::directory::{Devices, DirectoryOptions, Owners, write_tree};
use corten_layer::{Tree, emit, path};
use corten_snapshot::{Bytes, LayerRef, PackOptions, Packer, Snapshots};
use corten_spec::Digest;
use corten_tar::LayerLimits;

use crate::context::HostTree;
use crate::run::caches;
use crate::{Error, Result};

/// Packs the directory of the cache `name` that commands find first into a layer of the store, and
/// returns it behind its id; `None` if it is in use.
///
/// The same files with the same times make the same layer. Sockets, which no layer can hold, are left
/// out.
pub(super) fn pack(
    store: &Store,
    name: &Digest,
    options: &PackOptions,
) -> Result<Option<(String, LayerRef)>> {
    let Some(held) = caches::hold_idle(store, name)? else {
        return Ok(None);
    };
    let host = HostTree::with_owners(&held.directory)?;
    check_names(&host.tree)?;
    let mut packer = Packer::new(store, options)?;
    let entries = emit::write_tree(&host.tree, &host.files, &mut packer)?;
    let layer = packer.finish()?;
    Snapshots::new(store).put_entries(&layer.diff_id, &entries)?;
    Ok(Some((held.id, layer)))
}

/// Refuses a name that would be a deletion to whoever reads the layer (image-spec layer.md#whiteouts).
fn check_names(tree: &Tree) -> Result<()> {
    for (path, _) in tree.walk() {
        if path::split(&path).1.starts_with(path::WHITEOUT_PREFIX) {
            return Err(Error::Layer(corten_layer::Error::Unrepresentable {
                path: path.as_slice().into(),
                reason: "in a layer, its name says that another file is deleted",
            }));
        }
    }
    Ok(())
}

/// Writes `layer`, which is in the store, to the directory `path`, which is not there.
pub(super) fn unpack(
    store: &Store,
    layer: &LayerRef,
    path: &Path,
    limits: &LayerLimits,
) -> Result<()> {
    let snapshots = Snapshots::new(store).with_limits(*limits);
    let layers = [layer.clone()];
    let tree = snapshots.tree(&layers)?;
    let bytes = Bytes::new(snapshots, &layers);
    let contents = TreeContents {
        tree: &tree,
        bytes: &bytes,
    };
    std::fs::create_dir(path).map_err(Error::system("create", path))?;
    // Device nodes would be live: nothing says `nodev` of a directory of the store.
    let options = DirectoryOptions {
        owners: Owners::Set,
        devices: Devices::Skip,
        threads: 2,
    };
    write_tree(&tree, &contents, &Root::open(path)?, &options)?;
    Ok(())
}
