//! A bundle that was changed on the disk becomes an image: the one it was made from, with one more
//! layer.

use std::collections::HashSet;
use std::path::Path;

use corten_content::{ImageDocuments, put};
use corten_image::import::rfc_3339;
use corten_layer::beneath::Root;
use corten_layer::bytes::TreeContents;
use corten_layer::changeset::Change;
use corten_layer::diff::{SameContent, diff};
use corten_layer::scan::Found;
use corten_layer::{Changeset, Data, Shown, Tree, emit, path};
use corten_snapshot::{Bytes, LayerRef, PackOptions, Packer, Snapshots, layers_of};
use corten_spec::{Descriptor, Family, History, document, media_type};
use corten_tar::Timestamp;

use crate::clock::Clock;
use crate::config::ROOTFS;
use crate::edits::{EditedContents, Sources, edited_tree};
use crate::ids::DiskIds;
use crate::masks::{Masks, VolumeMasks};
use crate::record::{Record, is_same};
use crate::survey::{Survey, sort, survey};
use crate::{Error, Result};

pub use crate::clock::Pending;
pub use crate::record::Origin;

/// How a bundle is packed.
#[derive(Debug, Clone)]
pub struct RepackOptions {
    /// Paths of the container, absolute, that are left as the image has them, with all in them. Those
    /// of `/dev`, `/proc` and `/sys` always are.
    pub masks: Vec<String>,
    /// What becomes of the image's volumes.
    pub volumes: VolumeMasks,
    /// When the image was made, and the latest time that a file of the new layer has; by default the
    /// newest time of any file in it.
    pub created: Option<Timestamp>,
    /// What the history says made the layer.
    pub created_by: String,
    /// Whether the bundle becomes one of the new image.
    pub refresh: Refresh,
    /// How the layer is stored.
    pub pack: PackOptions,
}

impl Default for RepackOptions {
    fn default() -> Self {
        Self {
            masks: Vec::new(),
            volumes: VolumeMasks::Mask,
            created: None,
            created_by: "corten repack".to_owned(),
            refresh: Refresh::No,
            pack: PackOptions::default(),
        }
    }
}

/// What a bundle is one of when its changes were packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refresh {
    /// The image that it was unpacked from: another layer would hold these changes again.
    No,
    /// The new image: another layer holds only what changes from now on. [`Repacked::refreshed`] does
    /// it, when the image has a name.
    Yes,
}

/// What became of a bundle.
#[derive(Debug)]
pub struct Repacked {
    /// The manifest of the image, which has no name yet; that of the old one if nothing was changed.
    pub manifest: Descriptor,
    /// The new layer, unless nothing was changed.
    pub layer: Option<LayerRef>,
    /// How many paths it changes or deletes.
    pub n_changes: usize,
    /// Sockets, which no layer can hold (rule 97).
    pub sockets: Vec<Shown>,
    /// Directories that could not be listed; they are as in the old image.
    pub unreadable: Vec<Shown>,
    /// What makes the bundle one of the new image, if [`RepackOptions::refresh`] says so: for its
    /// caller to write after the image was given a name. A bundle of an image that has none is lost
    /// with the next garbage collection.
    pub refreshed: Option<Pending>,
}

/// Makes what was changed in the root of `bundle` since it was unpacked from `image` a layer on top of
/// it.
///
/// The bundle is read beneath a handle of its root, and no link of it is followed. The same files give
/// the same bytes.
///
/// # Errors
/// Fails if the bundle was made from another image or by another program, if a file belongs to
/// somebody whom its maps do not have, if no layer can hold a name in it, or if it changes meanwhile.
/// Nothing that has a name is stored then.
pub fn repack(
    snapshots: &Snapshots<'_>,
    image: &ImageDocuments,
    bundle: &Path,
    options: &RepackOptions,
) -> Result<Repacked> {
    let record = Record::read(bundle)?;
    check_origin(&record, image)?;
    let layers = layers_of(image)?;
    let lower = snapshots.tree(&layers)?;
    let bytes = Bytes::new(snapshots.clone(), &layers);
    let masks = Masks::new(&image.config.value, &lower, &options.masks, options.volumes)?;
    let root = Root::open(&bundle.join(ROOTFS))?;
    let clock = match options.refresh {
        Refresh::No => None,
        Refresh::Yes => Some(Clock::start(bundle)?),
    };
    let seen = look(&root, &masks)?;
    let contents = EditedContents {
        lower: TreeContents {
            tree: &lower,
            bytes: &bytes,
        },
        root: &root,
        survey: &seen,
    };
    let edited = edited_tree(&Sources {
        lower: &lower,
        record: &record,
        survey: &seen,
        ids: &DiskIds::new(&record.origin.ids)?,
        masks: &masks,
        contents: &contents,
    })?;
    let changes = changes(&lower, &edited.tree, &contents, options.created)?;
    let layer = if changes.is_empty() {
        None
    } else {
        Some(pack(snapshots, &lower, &changes, &contents, options)?)
    };
    check_unchanged(&root, &masks, &seen)?;
    let manifest = match &layer {
        None => image.manifest.descriptor.clone(),
        Some(layer) => store_image(snapshots, image, layer, &changes, options)?,
    };
    let refreshed = clock.map(|clock| {
        let origin = Origin {
            image: manifest.clone(),
            ..record.origin.clone()
        };
        clock.record(origin, refreshed_paths(&record, &seen, &masks))
    });
    Ok(Repacked {
        manifest,
        layer,
        n_changes: changes.len(),
        sockets: edited.sockets,
        unreadable: shown(&seen.unreadable),
        refreshed: refreshed.transpose()?,
    })
}

/// Returns what the record of a refreshed bundle has: what was seen, and of what was not looked at,
/// which is in the new image as it was in the old one, what it was after unpacking.
fn refreshed_paths(record: &Record, seen: &Survey, masks: &Masks) -> Vec<(Vec<u8>, Found)> {
    let mut paths = seen.found.clone();
    let left_out: HashSet<&[u8]> = seen.left_out.iter().map(|(path, _)| &**path).collect();
    let known: HashSet<&[u8]> = paths_of(&seen.found).collect();
    let is_unseen = |path: &[u8]| {
        let mut within = path;
        while masks.covers(within) && !left_out.contains(within) {
            within = path::split(within).0;
        }
        masks.covers(within) || seen.unreadable.iter().any(|dir| path::is_within(path, dir))
    };
    let kept = record.paths.iter();
    let kept = kept.filter(|(path, _)| !known.contains(&**path) && is_unseen(path));
    paths.extend(kept.cloned());
    let recorded: HashSet<&[u8]> = paths_of(&record.paths).collect();
    // Mount points that were made since: the next time of their directory is a change of it.
    let made = seen.left_out.iter();
    let made = made.filter(|(path, _)| !recorded.contains(&**path));
    paths.extend(made.filter_map(|(path, found)| Some((path.clone(), found.clone()?))));
    sort(&mut paths);
    paths
}

fn paths_of(found: &[(Vec<u8>, Found)]) -> impl Iterator<Item = &[u8]> {
    found.iter().map(|(path, _)| path.as_slice())
}

fn check_origin(record: &Record, image: &ImageDocuments) -> Result<()> {
    let (expected, received) = (
        &record.origin.image.digest,
        &image.manifest.descriptor.digest,
    );
    if expected == received {
        return Ok(());
    }
    Err(Error::OtherImage {
        expected: expected.clone(),
        received: received.clone(),
    })
}

fn look(root: &Root, masks: &Masks) -> Result<Survey> {
    survey(root, &|path| masks.covers(path))
}

fn changes(
    lower: &Tree,
    edited: &Tree,
    contents: &EditedContents<'_>,
    latest: Option<Timestamp>,
) -> Result<Changeset> {
    let same = |old: &corten_layer::File, new: &corten_layer::File| -> corten_layer::Result<bool> {
        let Data::External(number) = new.data else {
            return Ok(old.data == new.data);
        };
        let number = usize::try_from(number).unwrap_or(usize::MAX);
        let path = contents
            .survey
            .found
            .get(number)
            .map_or(&[][..], |(path, _)| path);
        contents.are_same(path, old, new)
    };
    let mut changes = diff(lower, edited, &same as &dyn SameContent)?;
    if let Some(latest) = latest {
        changes.clamp(latest);
    }
    Ok(changes)
}

fn pack(
    snapshots: &Snapshots<'_>,
    lower: &Tree,
    changes: &Changeset,
    contents: &EditedContents<'_>,
    options: &RepackOptions,
) -> Result<LayerRef> {
    let mut packer = Packer::new(snapshots.store(), &options.pack)?;
    let entries = emit::write_changeset(lower, changes, contents, &mut packer)?;
    let layer = packer.finish()?;
    snapshots.put_entries(&layer.diff_id, &entries)?;
    Ok(layer)
}

/// Looks again: a layer is of one moment, or it is none.
fn check_unchanged(root: &Root, masks: &Masks, seen: &Survey) -> Result<()> {
    let again = look(root, masks)?;
    let pairs = seen.found.iter().zip(&again.found);
    let mut differing = pairs
        .filter(|((path, one), (other_path, other))| path != other_path || !is_same(one, other));
    let longer = if seen.found.len() < again.found.len() {
        &again
    } else {
        seen
    };
    let common = seen.found.len().min(again.found.len());
    let changed = differing
        .next()
        .map(|(one, _)| one)
        .or_else(|| longer.found.get(common));
    match changed {
        None => Ok(()),
        Some((path, _)) => Err(Error::ChangedMeanwhile {
            path: root.shown(path),
        }),
    }
}

/// Stores the documents of `image` with `layer` on top. What is not about the layer stays, the family
/// of media types too.
fn store_image(
    snapshots: &Snapshots<'_>,
    image: &ImageDocuments,
    layer: &LayerRef,
    changes: &Changeset,
    options: &RepackOptions,
) -> Result<Descriptor> {
    let created = options.created.unwrap_or_else(|| newest(changes));
    let created = Some(rfc_3339(created));
    let mut config = image.config.value.clone();
    // Without a history, as some tools leave it, one entry would be one too few.
    if !config.history.is_empty() || config.rootfs.diff_ids.is_empty() {
        config.history.push(History {
            created: created.clone(),
            created_by: Some(options.created_by.clone()),
            ..History::default()
        });
    }
    config.created = created;
    config.rootfs.diff_ids.push(layer.diff_id.clone());
    let config_type = &image.manifest.value.config.media_type;
    let put = |media_type: &str, bytes: &[u8]| {
        put(snapshots.store(), media_type, bytes).map_err(corten_image::Error::from)
    };
    let config = put(config_type, &document::to_bytes(&config))?;
    let mut manifest = image.manifest.value.clone();
    let manifest_type = &image.manifest.descriptor.media_type;
    manifest
        .layers
        .push(if manifest_type == media_type::DOCKER_MANIFEST {
            Family::Docker.describe(&layer.blob)
        } else {
            layer.blob.clone()
        });
    manifest.config = config;
    let platform = Some(image.config.value.platform());
    let manifest = put(manifest_type, &document::to_bytes(&manifest))?;
    Ok(Descriptor {
        platform,
        ..manifest
    })
}

fn newest(changes: &Changeset) -> Timestamp {
    let times = changes.iter().filter_map(|(_, change)| match change {
        Change::Put(put) => Some(put.meta.mtime),
        Change::Remove => None,
    });
    times.max().unwrap_or_default()
}

fn shown(paths: &[Vec<u8>]) -> Vec<Shown> {
    paths.iter().map(|path| path.as_slice().into()).collect()
}
