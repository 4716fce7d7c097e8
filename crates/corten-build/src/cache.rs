//! Build records: which layer a step made, by the key of everything it depended on.
//!
//! ```text
//! cache/sha256-…      one record, JSON:
//!                     {"version":2,"layer":{"blob":…,"diffId":…}|null,"created":"…","below":[…]}
//! cache/digests/…     digests of files of contexts
//! cache/explain/…     what went into the latest keys, to tell what changed
//! ```
//!
//! A record is written to a temporary name and renamed, and not synced: one that a power failure
//! damaged is no hit. It may be deleted at any time, and one whose blob is gone is no hit either.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use corten_content::{Sink, Store, atomic};
use corten_snapshot::LayerRef;
use corten_spec::{Descriptor, DiffId, Digest};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// What a step made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome<L = LayerRef> {
    /// The layer; `None` if the step changed no file.
    pub(crate) layer: Option<L>,
    /// When, RFC 3339: an image that is built again without any change is the same image.
    pub(crate) created: String,
    /// Other keys of the same step, which make the same.
    pub(crate) also: Vec<Digest>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    version: u32,
    layer: Option<RecordLayer>,
    created: String,
    /// The DiffIDs of the layers beneath, base first.
    below: Vec<DiffId>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    also: Vec<Digest>,
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
    let (created, also) = (record.created, record.also);
    match &layer {
        Some(layer) if !store.contains(&layer.blob)? => Ok(None),
        _ => {
            touch(&path, SystemTime::now());
            Ok(Some(Outcome {
                layer,
                created,
                also,
            }))
        }
    }
}

/// Tells whether there is a record of `key`, of whatever use it is.
pub(crate) fn is_recorded(store: &Store, key: &Digest) -> bool {
    path_of(store, key).exists()
}

/// Notes that a record is used, for [`prune`]. Not every time: who builds all day writes little.
fn touch(path: &Path, now: SystemTime) {
    let noted = fs::metadata(path).and_then(|metadata| metadata.modified());
    if noted.is_ok_and(|noted| {
        now.duration_since(noted)
            .is_ok_and(|age| age > TOUCHED_EVERY)
    }) {
        // A store that cannot be written to forgets nothing, either.
        let file = fs::File::options().append(true).open(path);
        file.and_then(|file| file.set_modified(now)).ok();
    }
}

/// How exactly is known when a record was last used.
const TOUCHED_EVERY: Duration = Duration::from_hours(1);

fn parse(bytes: &[u8]) -> Option<Record> {
    let record: Record = serde_json::from_slice(bytes).ok()?;
    (record.version == VERSION).then_some(record)
}

/// Records what a step on top of the layers `below` made.
pub(crate) fn record(
    store: &Store,
    key: &Digest,
    outcome: &Outcome,
    below: &[DiffId],
) -> Result<()> {
    let layer = outcome.layer.clone();
    let record = Record {
        version: VERSION,
        layer: layer.map(|layer| RecordLayer {
            blob: layer.blob,
            diff_id: layer.diff_id,
        }),
        created: outcome.created.clone(),
        below: below.to_vec(),
        also: outcome.also.clone(),
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

/// Forgets the build records that were not used for longer than `max_age`, up to about an hour, and
/// returns how many those are.
pub fn prune(store: &Store, max_age: Duration) -> Result<usize> {
    let now = SystemTime::now();
    let mut n_removed = 0;
    for path in records(store)?.into_iter().chain(notes(store)?) {
        let Some(metadata) = still_there(fs::metadata(&path), "read", &path)? else {
            continue;
        };
        let used = metadata.modified().map_err(Error::system("read", &path))?;
        // One from the future is as good as new.
        let age = now.duration_since(used).unwrap_or_default();
        let is_old = if is_temporary(&path) {
            age > ABANDONED_AFTER
        } else {
            max_age.is_zero() || age > max_age
        };
        if is_old && still_there(fs::remove_file(&path), "remove", &path)?.is_some() {
            n_removed += usize::from(is_record(&path));
        }
    }
    Ok(n_removed)
}

/// A build record, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheEntry {
    /// The key of the step.
    pub key: Digest,
    /// What the step made; `None` if it changed no file.
    pub layer: Option<Descriptor>,
    /// When it made that, RFC 3339.
    pub created: String,
    /// When the record was last used, up to about an hour.
    pub used: SystemTime,
}

/// Lists the build records that can be read, the one used last first.
pub fn list_cache(store: &Store) -> Result<Vec<CacheEntry>> {
    let mut entries = Vec::new();
    for path in records(store)? {
        let (Some(key), Ok(bytes)) = (key_of(&path), fs::read(&path)) else {
            continue;
        };
        let used = fs::metadata(&path).and_then(|metadata| metadata.modified());
        if let (Some(record), Ok(used)) = (parse(&bytes), used) {
            entries.push(CacheEntry {
                key,
                layer: record.layer.map(|layer| layer.blob),
                created: record.created,
                used,
            });
        }
    }
    entries.sort_by(|one, other| (other.used, &other.key).cmp(&(one.used, &one.key)));
    Ok(entries)
}

/// Forgets the records of `keys`; what is not there is no error. What they alone name is for `gc` to
/// remove.
pub fn forget(store: &Store, keys: &[Digest]) -> Result<()> {
    let paths = keys.iter().map(|key| (path_of(store, key), String::new()));
    remove_records(&paths.collect::<Vec<_>>())
}

fn key_of(path: &Path) -> Option<Digest> {
    let name = path.file_name()?.to_str()?;
    Digest::known(&name.replacen('-', ":", 1))
}

/// The build records, looked at as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CacheReport {
    /// How many there are.
    pub n_records: usize,
    /// How many bytes of the disk they take.
    pub disk_bytes: u64,
    /// The layers that they name.
    pub layers: Vec<Descriptor>,
    /// Records that will never be a hit, with the reason.
    pub useless: Vec<(PathBuf, String)>,
}

/// Looks at all build records.
pub fn check_cache(store: &Store) -> Result<CacheReport> {
    let mut report = CacheReport::default();
    for path in notes(store)? {
        if let Some(metadata) = still_there(fs::metadata(&path), "read", &path)? {
            report.disk_bytes += metadata.blocks() * 512;
        }
    }
    for path in records(store)? {
        let metadata = fs::metadata(&path).map_err(Error::system("read", &path))?;
        report.n_records += 1;
        // The unit of `st_blocks`, whatever the blocks of the file system are.
        report.disk_bytes += metadata.blocks() * 512;
        let bytes = fs::read(&path).map_err(Error::system("read", &path))?;
        let Some(record) = parse(&bytes) else {
            let reason = "it is damaged, or of another version".to_owned();
            report.useless.push((path, reason));
            continue;
        };
        let Some(RecordLayer { blob, .. }) = record.layer else {
            continue;
        };
        if !store.blob_path(&blob.digest).exists() {
            let reason = format!("its layer, `{}`, is not there", blob.digest);
            report.useless.push((path, reason));
        }
        report.layers.push(blob);
    }
    Ok(report)
}

/// Removes records that [`check_cache`] calls useless.
pub fn remove_records(useless: &[(PathBuf, String)]) -> Result<()> {
    for (path, _) in useless {
        match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other.map_err(Error::system("remove", path))?,
        }
    }
    Ok(())
}

/// Lists the records; directories beside them hold what may be forgotten.
fn records(store: &Store) -> Result<Vec<PathBuf>> {
    let mut paths = list(&store.cache_dir())?;
    paths.retain(|path| is_record(path));
    Ok(paths)
}

fn is_record(path: &Path) -> bool {
    let name = path.file_name().and_then(OsStr::to_str);
    name.is_some_and(|name| name.starts_with("sha256-"))
}

/// Builds write and replace their notes whenever they like: returns `None` for one that is gone.
fn still_there<T>(done: io::Result<T>, act: &'static str, path: &Path) -> Result<Option<T>> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        done => Ok(Some(done.map_err(Error::system(act, path))?)),
    }
}

/// Tells whether a build is writing the file, or was when it was killed.
fn is_temporary(path: &Path) -> bool {
    let name = path.file_name().and_then(OsStr::to_str);
    name.is_some_and(|name| name.starts_with(".tmp-"))
}

/// Nobody takes this long to write a note.
const ABANDONED_AFTER: Duration = Duration::from_hours(1);

/// Lists what makes builds quicker or tells about them, and is no record.
fn notes(store: &Store) -> Result<Vec<PathBuf>> {
    let mut paths = list(&crate::digests::directory(store))?;
    paths.extend(list(&crate::downloads::directory(store))?);
    paths.extend(list(&crate::explain::directory(store))?);
    paths.extend(list(&crate::remembered::directory(store))?);
    Ok(paths)
}

fn list(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(Error::system("list", directory))?,
    };
    let paths = entries.map(|entry| Ok(entry.map_err(Error::system("list", directory))?.path()));
    paths.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    fn set_age(path: &Path, age: Duration) {
        let file = fs::File::options().append(true).open(path).unwrap();
        file.set_modified(SystemTime::now() - age).unwrap();
    }

    #[test]
    fn records_that_nobody_uses_expire() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let keys = [Digest::sha256(b"a"), Digest::sha256(b"b")];
        let outcome = Outcome {
            layer: None,
            created: "1970-01-01T00:00:00Z".into(),
            also: Vec::new(),
        };
        for key in &keys {
            record(&store, key, &outcome, &[]).unwrap();
            set_age(&path_of(&store, key), DAY * 40);
        }
        let [used, unused] = &keys;
        assert_eq!(prune(&store, DAY * 41).unwrap(), 0);
        // A hit makes it young again.
        assert_eq!(look_up(&store, used).unwrap(), Some(outcome.clone()));
        assert_eq!(prune(&store, DAY * 30).unwrap(), 1);
        assert_eq!(look_up(&store, unused).unwrap(), None);
        assert_eq!(look_up(&store, used).unwrap(), Some(outcome));
        assert_eq!(prune(&store, Duration::ZERO).unwrap(), 1);
        assert_eq!(check_cache(&store).unwrap(), CacheReport::default());
    }

    #[test]
    fn notes_that_are_being_written_stay() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let directory = crate::downloads::directory(&store);
        fs::create_dir_all(&directory).unwrap();
        let names = [".tmp-new", ".tmp-old", "note"];
        for name in names {
            fs::File::create(directory.join(name)).unwrap();
        }
        set_age(&directory.join(".tmp-old"), DAY);
        // As is found of one that is gone when it is looked at.
        std::os::unix::fs::symlink("nowhere", directory.join("gone")).unwrap();
        let left = |max_age| {
            assert_eq!(prune(&store, max_age).unwrap(), 0);
            check_cache(&store).unwrap();
            names.map(|name| directory.join(name).exists())
        };
        assert_eq!(left(DAY * 2), [true, false, true]);
        assert_eq!(left(Duration::ZERO), [true, false, false]);
    }

    #[test]
    fn records_are_listed_and_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let keys = [Digest::sha256(b"a"), Digest::sha256(b"b")];
        let outcome = Outcome {
            layer: None,
            created: "1970-01-01T00:00:00Z".into(),
            also: Vec::new(),
        };
        for key in &keys {
            record(&store, key, &outcome, &[]).unwrap();
        }
        set_age(&path_of(&store, &keys[0]), DAY);
        let listed = list_cache(&store).unwrap();
        let found: Vec<_> = listed.iter().map(|entry| entry.key.clone()).collect();
        assert_eq!(found, [keys[1].clone(), keys[0].clone()]);
        forget(&store, &keys[..1]).unwrap();
        assert_eq!(list_cache(&store).unwrap().len(), 1);
    }

    #[test]
    fn records_without_a_use_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let layer = |text: &str| LayerRef {
            blob: Descriptor::of("a/b", text.as_bytes()),
            diff_id: DiffId(Digest::sha256(text.as_bytes())),
        };
        let outcome = Outcome {
            layer: Some(layer("gone")),
            created: String::new(),
            also: Vec::new(),
        };
        record(&store, &Digest::sha256(b"a"), &outcome, &[]).unwrap();
        let damaged = path_of(&store, &Digest::sha256(b"b"));
        atomic::write(&damaged, b"{").unwrap();
        let report = check_cache(&store).unwrap();
        assert_eq!(
            (report.n_records, report.useless.len()),
            (2, 2),
            "{report:?}"
        );
        assert_eq!(report.layers, [layer("gone").blob]);
        assert!(report.disk_bytes > 0);
        remove_records(&report.useless).unwrap();
        assert_eq!(check_cache(&store).unwrap().n_records, 0);
    }
}
