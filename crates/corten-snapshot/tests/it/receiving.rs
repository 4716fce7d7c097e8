//! A layer that arrives is ready when it is there, and only then.

use std::io::Write;

use corten_content::{IngestPlan, Sink, Source};
use corten_snapshot::{Receiving, Snapshots};
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
