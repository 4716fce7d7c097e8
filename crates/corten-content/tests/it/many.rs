//! Many writers at once. Threads with a store each are to the locks what processes are.

use std::io::Write;
use std::path::Path;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use corten_content::{
    CopyOptions, Durability, GcRoots, IngestPlan, Layout, Sink, Source, Store, copy, read, walk,
};
use corten_spec::Descriptor;
use corten_testing::Image;

const N_WRITERS: usize = 8;

fn open(dir: &Path) -> Store {
    Store::open_with(dir, Durability::None).unwrap()
}

fn tag_from_many_threads(make: impl Fn() -> Box<dyn Sink> + Sync, image: &Descriptor) {
    thread::scope(|scope| {
        for writer in 0..N_WRITERS {
            let make = &make;
            scope.spawn(move || {
                let sink = make();
                for idx in 0..50 {
                    let name = format!("docker.io/acme/app-{writer}:{idx}");
                    sink.tag(&name, image).unwrap();
                }
            });
        }
    });
}

#[test]
fn no_name_is_lost_in_a_store() {
    let dir = tempfile::tempdir().unwrap();
    let image = Image::builder().layer(b"one").build();
    let options = CopyOptions::default();
    copy(&image.content, &open(dir.path()), &image.manifest, &options).unwrap();
    tag_from_many_threads(|| Box::new(open(dir.path())), &image.manifest);
    assert_eq!(open(dir.path()).list().unwrap().len(), N_WRITERS * 50);
}

#[test]
fn no_name_is_lost_in_a_layout() {
    let dir = tempfile::tempdir().unwrap();
    let image = Image::builder().layer(b"one").build();
    let create = || Layout::create(dir.path(), Durability::None).unwrap();
    let options = CopyOptions::default();
    copy(&image.content, &create(), &image.manifest, &options).unwrap();
    tag_from_many_threads(|| Box::new(create()), &image.manifest);
    assert_eq!(create().entries().unwrap().len(), N_WRITERS * 50);
}

#[test]
fn a_store_is_made_once_by_many() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("new/store");
    let image = Image::builder().layer(b"one").build();
    let barrier = Barrier::new(N_WRITERS);
    thread::scope(|scope| {
        for writer in 0..N_WRITERS {
            let (path, image, barrier) = (&path, &image, &barrier);
            scope.spawn(move || {
                barrier.wait();
                let store = open(path);
                copy(
                    &image.content,
                    &store,
                    &image.manifest,
                    &CopyOptions::default(),
                )
                .unwrap();
                store
                    .tag(&format!("app-{writer}"), &image.manifest)
                    .unwrap();
            });
        }
    });
    assert_eq!(open(&path).list().unwrap().len(), N_WRITERS);
}

#[test]
fn one_blob_from_many_writers() {
    let dir = tempfile::tempdir().unwrap();
    let bytes: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
    let content = Descriptor::of("a/b", &bytes);
    let plan = IngestPlan::of(&content).unwrap();
    let barrier = Barrier::new(N_WRITERS);
    thread::scope(|scope| {
        for _ in 0..N_WRITERS {
            scope.spawn(|| {
                let store = open(dir.path());
                barrier.wait();
                let mut ingest = store.ingest(&plan).unwrap();
                let start = usize::try_from(ingest.offset()).unwrap();
                for piece in bytes[start..].chunks(10_000) {
                    ingest.write_all(piece).unwrap();
                }
                ingest.commit(Some(&content)).unwrap();
            });
        }
    });
    let store = open(dir.path());
    assert_eq!(read(&store, &content, 1 << 20).unwrap(), bytes);
    assert_eq!(store.gc(&GcRoots::default()).unwrap().removed_ingests, 0);
}

#[test]
fn gc_beside_writers_never_takes_what_they_need() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let n_writing = AtomicUsize::new(4);
    thread::scope(|scope| {
        for writer in 0..4 {
            let (dir, n_writing) = (&dir, &n_writing);
            scope.spawn(move || {
                for round in 0..30 {
                    // A store a round: each time the lease of the one before is gone.
                    let store = open(dir.path());
                    let tar = format!("{} of {writer}", round % 3);
                    let image = Image::builder()
                        .layer(b"shared by all")
                        .layer(tar.as_bytes())
                        .build();
                    let options = CopyOptions {
                        jobs: 2,
                        ..CopyOptions::default()
                    };
                    copy(&image.content, &store, &image.manifest, &options).unwrap();
                    let name = format!("app-{writer}");
                    store.tag(&name, &image.manifest).unwrap();
                    let found = store.resolve(&name).unwrap();
                    if round % 2 == 0 {
                        store.untag(&name).unwrap();
                    }
                    // Also without a name, what was resolved stays for this process.
                    walk(&store, &found, &mut |content| {
                        read(&store, content, 1 << 20).map(drop)
                    })
                    .unwrap();
                }
                n_writing.fetch_sub(1, Ordering::Relaxed);
            });
        }
        let store = open(dir.path());
        let mut n_removed = 0;
        while n_writing.load(Ordering::Relaxed) > 0 {
            let report = store.gc(&GcRoots::default()).unwrap();
            assert_eq!(report.problems.len(), 0, "{report:?}");
            n_removed += report.removed_blobs;
        }
        assert!(n_removed > 0, "gc had nothing to do");
    });
    let store = open(dir.path());
    let images = store.list().unwrap();
    assert_eq!(images.len(), 4);
    for image in images {
        walk(&store, &image.descriptor, &mut |content| {
            read(&store, content, 1 << 20).map(drop)
        })
        .unwrap();
    }
}
