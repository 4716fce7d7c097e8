//! What takes space: shared, of one image alone, needed by nobody.

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;

use corten_content::usage::{Space, Usage};
use corten_content::{CopyOptions, GcRoots, IngestPlan, Sink, Store, copy};
use corten_spec::{Descriptor, media_type};
use corten_testing::Image;

const BLOCK: usize = 4096;

#[test]
fn who_takes_what() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let layer = |text: &[u8], n_blocks: usize| text.repeat(n_blocks * BLOCK);
    let (base, one) = (layer(b"b", 40), layer(b"1", 8));
    let first = Image::builder().layer(&base).layer(&one).build();
    let second = Image::builder().layer(&base).layer(&layer(b"2", 4)).build();
    for (name, image) in [("first", &first), ("again", &first), ("second", &second)] {
        let options = CopyOptions::default();
        copy(&image.content, &store, &image.manifest, &options).unwrap();
        store.tag(name, &image.manifest).unwrap();
    }
    let put = |text: &[u8]| {
        let mut ingest = store.ingest(&IngestPlan::unknown()).unwrap();
        ingest.write_all(text).unwrap();
        let (digest, size) = ingest.commit(None).unwrap();
        Descriptor::new(media_type::OCI_LAYER, digest, size)
    };
    let cached = put(&layer(b"c", 16));
    put(&layer(b"u", 2));
    let (cached, store) = (cached, store);
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    let left = dir.path().join("ingest/left");
    corten_content::atomic::write(&left, &layer(b"l", 3)).unwrap();

    let roots = GcRoots {
        descriptors: vec![cached],
    };
    let measure = || -> Usage { store.begin_gc().unwrap().usage(&roots).unwrap() };
    let usage = measure();
    let kib = |space: Space| (space.count, space.disk_bytes / 1024);
    let names: Vec<usize> = usage.images.iter().map(|image| image.names.len()).collect();
    assert_eq!(names, [2, 1]);
    let [first, second] = &usage.images[..] else {
        panic!("{usage:?}")
    };
    // A manifest, a config and two layers each; the documents take a block each.
    assert_eq!(kib(first.shared), (1, 160));
    assert_eq!(kib(second.shared), (1, 160));
    assert_eq!(kib(first.unique), (3, 32 + 8));
    assert_eq!(kib(second.unique), (3, 16 + 8));
    assert_eq!(kib(first.total), (4, 160 + 32 + 8));
    assert_eq!(kib(usage.cached), (1, 64));
    assert_eq!(kib(usage.unneeded), (1, 8));
    assert_eq!(kib(usage.leftovers), (1, 12));
    assert_eq!(usage.writing.count, 0);
    assert_eq!(kib(usage.blobs), (9, 160 + 32 + 16 + 4 * 4 + 64 + 8));

    // What gc takes is what was said.
    let report = store.gc(&roots).unwrap();
    assert_eq!((report.removed_blobs, report.removed_ingests), (1, 1));
    let after = measure();
    assert_eq!((after.unneeded.count, after.leftovers.count), (0, 0));

    // A second name of a file takes nothing.
    let large = store.blobs().unwrap().into_iter();
    let large = large.max_by_key(|path| fs::metadata(path).unwrap().blocks());
    let other = dir.path().join("blobs/sha256").join("0".repeat(64));
    fs::hard_link(large.unwrap(), other).unwrap();
    let with_link = measure();
    assert_eq!(with_link.blobs.disk_bytes, after.blobs.disk_bytes);
    assert_eq!(with_link.blobs.count, after.blobs.count + 1);
}
