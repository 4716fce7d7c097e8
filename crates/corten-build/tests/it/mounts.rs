//! What `RUN --mount=type=cache` keeps, carried between stores: what is foreign stays where it belongs.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};

use corten_build::caches::CacheSource;
use corten_build::caches::mounts::{
    CONFIG_TYPE, ExportedMounts, ImportedMount, MANIFEST_TYPE, Put, export_mounts, import_mounts,
};
use corten_build::{Result, run_caches};
use corten_content::{CopyOptions, Durability, Layout, Store, put};
use corten_snapshot::PackOptions;
use corten_spec::{Descriptor, Digest, Manifest, document, media_type};
use corten_tar::{EntryKind, LayerLimits};
use rustix::fs::{FlockOperation, flock};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A store, and a directory that caches are carried through.
struct Place {
    dir: TempDir,
    store: Store,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store")).unwrap();
        Self { dir, store }
    }

    /// Makes the directory `number` of the cache `id`, with one file.
    fn keep(&self, id: &str, number: u32, text: &str) -> PathBuf {
        let name = Digest::sha256(id.as_bytes());
        let cache = self.dir.path().join("store/run-caches");
        let cache = cache.join(format!("sha256-{}", name.encoded()));
        let directory = cache.join(number.to_string());
        let mut make = fs::DirBuilder::new();
        make.recursive(true).mode(0o700).create(&directory).unwrap();
        corten_content::atomic::write(&cache.join("id"), id.as_bytes()).unwrap();
        corten_content::atomic::write(&directory.join("f"), text.as_bytes()).unwrap();
        directory
    }

    fn cache(&self) -> CacheSource {
        let path = self.dir.path().join("cache");
        CacheSource {
            name: "cache".into(),
            place: Box::new(Layout::create(&path, Durability::None).unwrap()),
            tag: "latest-mounts".into(),
        }
    }

    fn export(&self, to: &CacheSource) -> ExportedMounts {
        let options = CopyOptions::default();
        export_mounts(
            &self.store,
            &|_| true,
            to,
            &PackOptions::default(),
            &options,
        )
        .unwrap()
    }

    fn import(&self, from: &CacheSource, replace: bool) -> Result<Vec<ImportedMount>> {
        let limits = LayerLimits::default();
        import_mounts(&self.store, from, &|_, _| true, replace, &limits)
    }

    /// Returns the file of the cache `id`.
    fn text(&self, id: &str) -> Option<String> {
        let mounts = run_caches(&self.store).unwrap();
        let mount = mounts.iter().find(|mount| mount.id == id)?;
        Some(fs::read_to_string(mount.path.join("f")).unwrap())
    }
}

fn puts(imported: &[ImportedMount]) -> Vec<Put> {
    imported.iter().map(|mount| mount.put).collect()
}

#[test]
fn what_others_wrote_stays() {
    let (first, second, third) = (Place::new(), Place::new(), Place::new());
    let cache = first.cache();
    first.keep("/a", 0, "a of the first");
    first.keep("/b", 0, "b");
    assert_eq!(first.export(&cache).ids, ["a", "b"]);
    second.keep("/a", 0, "a of the second");
    second.keep("/c", 0, "c");
    let done = second.export(&cache);
    assert_eq!(done.exported.unwrap().n_records, 3);
    assert_eq!(puts(&third.import(&cache, false).unwrap()), [Put::Made; 3]);
    let text = |id| third.text(id).unwrap();
    assert_eq!(text("/a"), "a of the second");
    assert_eq!((text("/b"), text("/c")), ("b".into(), "c".into()));
    assert_eq!(
        puts(&first.import(&cache, false).unwrap()),
        [Put::Kept, Put::Kept, Put::Made]
    );
    assert_eq!(first.text("/a").unwrap(), "a of the first");
}

#[test]
fn what_a_command_uses_is_neither_read_nor_replaced() {
    let place = Place::new();
    let cache = place.cache();
    let directory = place.keep("/a", 0, "whole");
    place.export(&cache);
    corten_content::atomic::write(&directory.join("f"), b"half").unwrap();
    let lock = fs::File::create(directory.with_extension("lock")).unwrap();
    flock(&lock, FlockOperation::LockShared).unwrap();
    let done = place.export(&cache);
    assert!(done.exported.is_none());
    assert_eq!(
        done.left_out,
        [("a".to_owned(), "a command uses it".to_owned())]
    );
    assert_eq!(puts(&place.import(&cache, true).unwrap()), [Put::InUse]);
    assert_eq!(place.text("/a").unwrap(), "half");
    // A further directory may have been made because the first was in use, and have hardly anything.
    place.keep("/a", 1, "hardly anything");
    assert_eq!(place.export(&cache).ids, [""; 0]);
    drop(lock);
    assert_eq!(puts(&place.import(&cache, true).unwrap()), [Put::Replaced]);
    assert_eq!(place.text("/a").unwrap(), "whole");
    assert!(!directory.with_extension("new").exists());
}

#[test]
fn a_file_that_no_layer_can_hold_leaves_its_cache_out() {
    let place = Place::new();
    let directory = place.keep("/a", 0, "a");
    place.keep("/b", 0, "b");
    corten_content::atomic::write(&directory.join(".wh.f"), b"").unwrap();
    let done = place.export(&place.cache());
    assert_eq!(done.ids, ["b"]);
    let [(id, reason)] = &done.left_out[..] else {
        panic!("{done:?}");
    };
    assert_eq!(id, "a");
    assert!(reason.contains(".wh.f"), "{reason}");
}

/// Writes a cache whose one layer is `tar`, said to have `diff_id`.
fn forge(cache: &CacheSource, tar: &[u8], diff_id: &Digest) -> Digest {
    let name = Digest::sha256(b"/a");
    let sink = cache.place.as_sink();
    let layer = put(sink, media_type::OCI_LAYER, tar).unwrap();
    let record = json!({
        "name": name, "id": "/a", "layer": 0, "diffId": diff_id, "used": 1,
    });
    let config = json!({ "version": 1, "mounts": [record] });
    publish(cache, &config, vec![layer]);
    name
}

fn publish(cache: &CacheSource, config: &Value, layers: Vec<Descriptor>) {
    let sink = cache.place.as_sink();
    let config = put(sink, CONFIG_TYPE, &document::to_bytes(config)).unwrap();
    let mut manifest = Manifest::oci(config, layers);
    manifest.artifact_type = Some(MANIFEST_TYPE.to_owned());
    let manifest = put(
        sink,
        media_type::OCI_MANIFEST,
        &document::to_bytes(&manifest),
    )
    .unwrap();
    cache.place.tag(&cache.tag, &manifest).unwrap();
}

/// Returns a tar of headers as nobody of ours would write them.
fn tar(entries: &[(EntryKind, &str, &str)]) -> Vec<u8> {
    let mut tar = Vec::new();
    for (kind, path, link) in entries {
        let mut header = [0; 512];
        let mut put = |at: usize, text: &str| {
            header[at..at + text.len()].copy_from_slice(text.as_bytes());
        };
        put(0, path);
        for (at, text) in [(100, "0000755"), (108, "0000000"), (116, "0000000")] {
            put(at, text);
        }
        put(124, "00000000000");
        put(136, "00000000000");
        put(148, "        ");
        put(
            156,
            match kind {
                EntryKind::HardLink => "1",
                EntryKind::Symlink => "2",
                EntryKind::BlockDevice => "4",
                EntryKind::Directory => "5",
                _ => "0",
            },
        );
        put(157, link);
        put(257, "ustar\x0000");
        put(329, "0000010");
        put(337, "0000000");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        tar.extend(header);
    }
    tar.extend([0; 1024]);
    tar
}

/// Imports a forged tar, and returns what is in the mount then; nothing outside it changed.
fn import_forged(entries: &[(EntryKind, &str, &str)]) -> Option<Vec<String>> {
    let place = Place::new();
    let outside = place.dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    let cache = place.cache();
    let tar = tar(entries);
    forge(&cache, &tar, &Digest::sha256(&tar));
    let imported = place.import(&cache, false);
    assert_eq!(names(&outside), [""; 0], "{entries:?}");
    let above = place.dir.path().join("store/run-caches");
    if imported.is_err() {
        assert_eq!(names(&above), [""; 0], "{entries:?}");
        return None;
    }
    for entry in fs::read_dir(&above).unwrap() {
        let mut left = names(&entry.unwrap().path());
        left.retain(|name| !["0", "0.lock", "id", "lock"].contains(&name.as_str()));
        assert_eq!(left, [""; 0], "{entries:?}");
    }
    let mounts = run_caches(&place.store).unwrap();
    Some(names(&mounts.first().unwrap().path))
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort_unstable();
    names
}

#[test]
fn hostile_layers_do_not_leave_their_directory() {
    use EntryKind::{BlockDevice, Directory, File, HardLink, Symlink};
    #[track_caller]
    fn check(entries: &[(EntryKind, &str, &str)], expected: Option<&[&str]>) {
        let found = import_forged(entries);
        let found = found.as_deref().map(|names| names.join(" "));
        assert_eq!(found, expected.map(|names| names.join(" ")), "{entries:?}");
    }
    check(&[(File, "f", "")], Some(&["f"]));
    // Nothing is above the directory, as nothing is above a root.
    check(&[(File, "../../../../outside/f", "")], Some(&["outside"]));
    check(&[(File, "/f", "")], Some(&["f"]));
    check(&[(BlockDevice, "sda", ""), (File, "f", "")], Some(&["f"]));
    check(&[(HardLink, "f", "/etc/passwd")], None);
    check(&[(HardLink, "f", "../../../id")], None);
    // A link is one of the mount, and what is below it is written where it leads in there.
    let link = (Symlink, "s", "../../../../outside");
    let found = import_forged(&[link, (Directory, "s/", ""), (File, "s/f", "")]);
    assert!(found.is_none_or(|names| names.contains(&"s".to_owned())));
}

#[test]
fn what_does_not_verify_is_no_mount() {
    let place = Place::new();
    let cache = place.cache();
    let tar = tar(&[(EntryKind::File, "f", "")]);
    forge(&cache, &tar, &Digest::sha256(b"another tar"));
    assert!(place.import(&cache, false).is_err());
    assert_eq!(names(&place.dir.path().join("store/run-caches")), [""; 0]);
    // Something else under its name is not taken for a cache, and not replaced.
    let other = put(cache.place.as_sink(), media_type::OCI_CONFIG, b"{}").unwrap();
    let other = document::to_bytes(&Manifest::oci(other, Vec::new()));
    let other = put(cache.place.as_sink(), media_type::OCI_MANIFEST, &other).unwrap();
    cache.place.tag(&cache.tag, &other).unwrap();
    assert!(place.import(&cache, false).is_err());
    place.keep("/a", 0, "a");
    let pack = PackOptions::default();
    let options = CopyOptions::default();
    assert!(export_mounts(&place.store, &|_| true, &cache, &pack, &options).is_err());
    assert_eq!(
        cache.place.resolve(&cache.tag).unwrap().digest,
        other.digest
    );
}

#[test]
fn what_commands_find_first_is_what_is_replaced() {
    let place = Place::new();
    let cache = place.cache();
    place.keep("/a", 1, "of another machine");
    place.export(&cache);
    let directory = place.keep("/a", 1, "of this machine");
    assert_eq!(puts(&place.import(&cache, false).unwrap()), [Put::Kept]);
    place.keep("/a", 2, "further");
    let lock = fs::File::create(directory.with_extension("lock")).unwrap();
    flock(&lock, FlockOperation::LockShared).unwrap();
    assert_eq!(puts(&place.import(&cache, true).unwrap()), [Put::InUse]);
    drop(lock);
    assert_eq!(puts(&place.import(&cache, true).unwrap()), [Put::Replaced]);
    assert_eq!(place.text("/a").unwrap(), "of another machine");
}

#[test]
fn what_is_in_a_mount_belongs_to_whom_it_belonged() {
    let place = Place::new();
    let directory = place.keep("/a", 0, "a");
    let owned = directory.join("owned");
    symlink("f", &owned).unwrap();
    std::os::unix::fs::lchown(&owned, Some(7), Some(8)).unwrap();
    let cache = place.cache();
    place.export(&cache);
    let second = Place::new();
    second.import(&cache, false).unwrap();
    let mounts = run_caches(&second.store).unwrap();
    let found = fs::symlink_metadata(mounts[0].path.join("owned")).unwrap();
    assert_eq!((found.uid(), found.gid()), (7, 8));
}
