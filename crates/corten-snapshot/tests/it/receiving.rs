//! A layer that arrives is ready when it is there, and only then.

use std::io::Write;

use corten_content::{IngestPlan, Sink, Source, Store};
use corten_snapshot::{Error, Receiving, Snapshots};
use corten_spec::{Descriptor, Digest};

use crate::{Place, content, tar};

/// Returns a layer made in another store, with its blob.
fn arriving(files: &[(&str, &str)]) -> (corten_snapshot::LayerRef, Vec<u8>) {
    let elsewhere = Place::new();
    let layer = elsewhere.layer(files);
    let mut blob = Vec::new();
    let mut reader = elsewhere.store.fetch(&layer.blob, 0).unwrap();
    std::io::copy(&mut reader, &mut blob).unwrap();
    drop(reader);
    (layer, blob)
}

fn send(
    sink: &dyn Sink,
    descriptor: &Descriptor,
    blob: &[u8],
) -> corten_content::Result<(Digest, u64)> {
    let mut ingest = sink.ingest(&IngestPlan::of(descriptor)?).unwrap();
    for piece in blob.chunks(7) {
        ingest.write_all(piece).unwrap();
    }
    ingest.commit(Some(descriptor))
}

fn leftovers(place: &Place) -> usize {
    place.derived("tmp").len()
}

#[test]
fn what_is_derived_is_there_with_the_blob_and_exact() {
    let place = Place::new();
    let files = [("a", "one"), ("b", "two")];
    let (layer, blob) = arriving(&files);
    send(
        &Receiving::new(Snapshots::new(&place.store)),
        &layer.blob,
        &blob,
    )
    .unwrap();

    let [tar_path] = place.derived("tar").try_into().unwrap();
    assert_eq!(std::fs::read(tar_path).unwrap(), tar(&files));
    assert_eq!(place.derived("index").len(), 1);
    assert_eq!(leftovers(&place), 0);
    // It is what is used: the blob is not needed any more.
    let blobs = place.root.path().join("blobs/sha256");
    std::fs::remove_file(blobs.join(layer.blob.digest.encoded())).unwrap();
    let snapshots = Snapshots::new(&place.store);
    assert_eq!(content(&snapshots, &[layer], "b").as_deref(), Some("two"));
}

#[test]
fn a_layer_that_does_not_verify_leaves_nothing() {
    let place = Place::new();
    let (layer, _) = arriving(&[("a", "one")]);
    let (_, other) = arriving(&[("a", "another")]);
    send(
        &Receiving::new(Snapshots::new(&place.store)),
        &layer.blob,
        &other,
    )
    .unwrap_err();
    assert_eq!(place.derived("tar").len(), 0);
    assert_eq!(place.derived("index").len(), 0);
    assert_eq!(leftovers(&place), 0);
}

#[test]
fn a_write_that_is_given_up_leaves_nothing_derived_and_is_resumed_without() {
    let place = Place::new();
    let (layer, blob) = arriving(&[("a", "one")]);
    let receiving = Receiving::new(Snapshots::new(&place.store));
    let plan = IngestPlan::of(&layer.blob).unwrap();
    let mut ingest = receiving.ingest(&plan).unwrap();
    ingest.write_all(&blob[..10]).unwrap();
    drop(ingest);
    assert_eq!(leftovers(&place), 0);

    let mut ingest = receiving.ingest(&plan).unwrap();
    assert_eq!(ingest.offset(), 10);
    ingest.write_all(&blob[10..]).unwrap();
    ingest.commit(Some(&layer.blob)).unwrap();
    assert_eq!(place.derived("tar").len(), 0);
}

#[test]
fn a_blob_that_is_no_layer_of_ours_is_stored_as_it_is() {
    let place = Place::new();
    let garbage = vec![7; 100_000];
    let descriptor = Descriptor {
        digest: Digest::sha256(&garbage),
        size: garbage.len() as u64,
        ..arriving(&[("a", "one")]).0.blob
    };
    send(
        &Receiving::new(Snapshots::new(&place.store)),
        &descriptor,
        &garbage,
    )
    .unwrap();
    assert!(place.store.contains(&descriptor).unwrap());
    assert_eq!(place.derived("tar").len(), 0);
    assert_eq!(leftovers(&place), 0);
}

/// A file system of a few megabytes, for as long as this lives.
pub(crate) struct SmallDisk(pub(crate) tempfile::TempDir);

impl SmallDisk {
    pub(crate) fn new(size: &std::ffi::CStr) -> Self {
        let at = tempfile::tempdir().unwrap();
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("tmpfs", at.path(), "tmpfs", flags, size).unwrap();
        Self(at)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        rustix::mount::unmount(self.0.path(), rustix::mount::UnmountFlags::DETACH).unwrap();
    }
}

/// Returns 2 MiB that compress to three quarters of that.
pub(crate) fn noise() -> String {
    let mut state = 1_u32;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from(b'0' + u8::try_from(state >> 26).unwrap())
    })
    .take(2 << 20)
    .collect()
}

/// What is derived is a head start: it must not take the room that the blob needs.
#[test]
fn a_blob_arrives_on_a_disk_too_small_for_its_tar() {
    let (layer, blob) = arriving(&[("zeros", &"0".repeat(16 << 20)), ("noise", &noise())]);
    let disk = SmallDisk::new(c"size=3m");
    assert!((1 << 20..3 << 20).contains(&blob.len()), "{}", blob.len());
    let store = Store::open(disk.0.path()).unwrap();
    let receiving = Receiving::new(Snapshots::new(&store));
    let plan = IngestPlan::of(&layer.blob).unwrap();
    let mut ingest = receiving.ingest(&plan).unwrap();
    for piece in blob.chunks(4 << 10) {
        ingest.write_all(piece).unwrap();
    }
    ingest.commit(Some(&layer.blob)).unwrap();
    assert!(store.contains(&layer.blob).unwrap());
    for kind in ["tar", "tmp"] {
        let left = std::fs::read_dir(disk.0.path().join("layers").join(kind));
        assert_eq!(left.into_iter().flatten().count(), 0, "{kind}");
    }
}

/// The layer is as it should be: it is the disk that has a problem.
#[test]
fn a_disk_too_small_for_a_tar_is_told_as_that() {
    let (layer, blob) = arriving(&[("zeros", &"0".repeat(16 << 20))]);
    let disk = SmallDisk::new(c"size=3m");
    let store = Store::open(disk.0.path()).unwrap();
    let mut ingest = store.ingest(&IngestPlan::of(&layer.blob).unwrap()).unwrap();
    ingest.write_all(&blob).unwrap();
    ingest.commit(Some(&layer.blob)).unwrap();
    let error = Snapshots::new(&store).tar(&layer).unwrap_err();
    let Error::System { path, source, .. } = error else {
        panic!("{error:?}");
    };
    assert!(path.starts_with(disk.0.path()), "{}", path.display());
    assert_eq!(source.kind(), std::io::ErrorKind::StorageFull);
}

#[test]
fn more_layers_at_once_than_processors_all_arrive() {
    let place = Place::new();
    let receiving = Receiving::new(Snapshots::new(&place.store));
    std::thread::scope(|scope| {
        for number in 0..24 {
            let receiving = &receiving;
            scope.spawn(move || {
                let (layer, blob) = arriving(&[("a", &number.to_string())]);
                send(receiving, &layer.blob, &blob).unwrap();
            });
        }
    });
    assert_eq!(leftovers(&place), 0);
    let derived = place.derived("tar").len();
    assert!((1..=24).contains(&derived), "{derived}");
    assert_eq!(place.derived("index").len(), derived);
}
