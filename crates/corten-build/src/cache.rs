//! Build records: which layer a step made, by the key of everything it depended on.
//!
//! ```text
//! cache/sha256-…      one record, JSON:
//!                     {"version":2,"layer":{"blob":…,"diffId":…}|null,"created":"…","below":[…]}
//! ```
//!
//! A record is written to a temporary name and renamed, and not synced: one that a power failure
//! damaged is no hit. It may be deleted at any time, and one whose blob is gone is no hit either.

use std::fs;
use std::io;
use std::path::PathBuf;

use corten_content::{Sink, Store, atomic};
use corten_snapshot::LayerRef;
use corten_spec::{Descriptor, DiffId, Digest};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// What a step made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The layer; `None` if the step changed no file.
    pub(crate) layer: Option<LayerRef>,
    /// When, RFC 3339: an image that is built again without any change is the same image.
    pub(crate) created: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    version: u32,
    layer: Option<RecordLayer>,
    created: String,
    /// The DiffIDs of the layers beneath, base first.
    below: Vec<DiffId>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RecordLayer {
    blob: Descriptor,
    diff_id: DiffId,
}

const VERSION: u32 = 2;

fn path_of(store: &Store, key: &Digest) -> PathBuf {
    store
        .cache_dir()
        .join(format!("{}-{}", key.algorithm_name(), key.encoded()))
}

/// Returns what was recorded for `key`, if its layer is still in the store.
pub(crate) fn look_up(store: &Store, key: &Digest) -> Result<Option<Outcome>> {
    let path = path_of(store, key);
    let bytes = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        bytes => bytes.map_err(Error::system("read", &path))?,
    };
    // A record of another version, or a damaged one, is no hit.
    let Some(record) = parse(&bytes) else {
        return Ok(None);
    };
    let layer = record.layer.map(|layer| LayerRef {
        blob: layer.blob,
        diff_id: layer.diff_id,
    });
    let created = record.created;
    match &layer {
        Some(layer) if !store.contains(&layer.blob)? => Ok(None),
        _ => Ok(Some(Outcome { layer, created })),
    }
}

fn parse(bytes: &[u8]) -> Option<Record> {
    let record: Record = serde_json::from_slice(bytes).ok()?;
    (record.version == VERSION).then_some(record)
}

/// Records what a step on top of `below` made.
pub(crate) fn record(
    store: &Store,
    key: &Digest,
    outcome: &Outcome,
    below: &[LayerRef],
) -> Result<()> {
    let layer = outcome.layer.clone();
    let record = Record {
        version: VERSION,
        layer: layer.map(|layer| RecordLayer {
            blob: layer.blob,
            diff_id: layer.diff_id,
        }),
        created: outcome.created.clone(),
        below: below.iter().map(|layer| layer.diff_id.clone()).collect(),
    };
    let bytes = corten_spec::document::to_bytes(&record);
    let directory = store.cache_dir();
    if !directory.is_dir() {
        fs::create_dir_all(&directory).map_err(Error::system("create", &directory))?;
    }
    Ok(atomic::write_unsynced(&path_of(store, key), &bytes)?)
}

/// Returns the layers that build records name, each with the stack of DiffIDs that it ends: what gc
/// must spare.
pub fn cached_layers(store: &Store) -> Result<Vec<(Descriptor, Vec<DiffId>)>> {
    let mut layers = Vec::new();
    for path in records(store)? {
        let bytes = fs::read(&path).map_err(Error::system("read", &path))?;
        let Some(Record {
            layer: Some(layer),
            mut below,
            ..
        }) = parse(&bytes)
        else {
            continue;
        };
        below.push(layer.diff_id);
        layers.push((layer.blob, below));
    }
    Ok(layers)
}

/// Forgets every build record, and returns how many there were.
pub fn prune(store: &Store) -> Result<usize> {
    let records = records(store)?;
    for path in &records {
        fs::remove_file(path).map_err(Error::system("remove", path))?;
    }
    Ok(records.len())
}

fn records(store: &Store) -> Result<Vec<PathBuf>> {
    let directory = store.cache_dir();
    let entries = match fs::read_dir(&directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(Error::system("list", &directory))?,
    };
    let paths = entries.map(|entry| Ok(entry.map_err(Error::system("list", &directory))?.path()));
    paths.collect()
}
