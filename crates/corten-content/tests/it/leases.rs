//! What gc removes and what it spares.

use std::fs;
use std::io::Write;

use corten_content::{
    CopyOptions, GcRoots, IngestPlan, Memory, Sink, Source, Store, copy, read, walk,
};
use corten_spec::{Descriptor, Manifest, document, media_type};
use corten_testing::Image;
use corten_testing::image::index;
use tempfile::TempDir;

fn store() -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    (dir, store)
}

fn import(store: &Store, content: &Memory, root: &Descriptor) {
    copy(content, store, root, &CopyOptions::default()).unwrap();
}

#[track_caller]
fn assert_whole(store: &Store, root: &Descriptor) {
    walk(store, root, &mut |content| {
        read(store, content, 1 << 20).map(drop)
    })
    .unwrap();
}

#[test]
fn what_is_not_reached_goes_and_what_is_stays() {
    let (dir, store) = store();
    let kept = Image::builder().layer(b"one").layer(b"kept").build();
    let gone = Image::builder().layer(b"one").layer(b"gone").build();
    let root = index(&kept.content, vec![kept.manifest.clone()]);
    import(&store, &kept.content, &root);
    import(&store, &gone.content, &gone.manifest);
    store.tag("kept", &root).unwrap();
    store.tag("gone", &gone.manifest).unwrap();
    store.untag("gone").unwrap();

    // This store's own lease still covers everything that it wrote.
    let report = store.gc(&GcRoots::default()).unwrap();
    assert_eq!((report.removed_blobs, report.kept_blobs), (0, 8));
    drop(store);

    let store = Store::open(dir.path()).unwrap();
    let report = store.gc(&GcRoots::default()).unwrap();
    assert_eq!((report.removed_blobs, report.kept_blobs), (3, 5));
    assert_eq!(report.problems.len(), 0);
    assert_whole(&store, &root);
}

#[test]
fn roots_of_the_caller_are_kept_whole() {
    let (dir, store) = store();
    let image = Image::builder().layer(b"one").build();
    import(&store, &image.content, &image.manifest);
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    let roots = GcRoots {
        descriptors: vec![image.manifest.clone()],
    };
    let mut guard = store.begin_gc().unwrap();
    let report = guard.sweep(&roots).unwrap();
    assert_eq!((report.removed_blobs, report.kept_blobs), (0, 3));
    assert!(guard.is_reached(&image.value.layers[0].digest));
}

#[test]
fn a_lease_covers_the_whole_of_what_was_resolved() {
    let (dir, store) = store();
    let image = Image::builder().layer(b"one").build();
    import(&store, &image.content, &image.manifest);
    store.tag("app", &image.manifest).unwrap();
    drop(store);

    let (reader, other) = (
        Store::open(dir.path()).unwrap(),
        Store::open(dir.path()).unwrap(),
    );
    let resolved = reader.resolve("app").unwrap();
    reader.protect("layer:sha256:1").unwrap();
    other.untag("app").unwrap();
    let guard = other.begin_gc().unwrap();
    assert!(guard.is_protected("layer:sha256:1"));
    assert!(!guard.is_protected("layer:sha256:2"));
    drop(guard);
    let report = other.gc(&GcRoots::default()).unwrap();
    assert_eq!((report.removed_blobs, report.live_leases), (0, 1));
    assert_whole(&reader, &resolved);
    drop(reader);
    let report = other.gc(&GcRoots::default()).unwrap();
    assert_eq!((report.removed_blobs, report.live_leases), (3, 0));
    assert!(reader_of(&dir).resolve("app").unwrap_err().is_not_found());
}

fn reader_of(dir: &TempDir) -> Store {
    Store::open(dir.path()).unwrap()
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a fixture need not be atomic")]
fn leftovers_of_the_dead_go_and_those_of_the_living_stay() {
    let (dir, store) = store();
    let content = Descriptor::of("a/b", b"hello");
    let plan = IngestPlan::of(&content).unwrap();
    let mut writing = store.ingest(&plan).unwrap();
    writing.write_all(b"hel").unwrap();
    for name in [
        "ingest/sha256-0000",
        "ingest/.tmp-1",
        "locks/leases/1-0-0",
        ".tmp-2",
    ] {
        fs::write(dir.path().join(name), "content:sha256:00\n").unwrap();
    }
    let report = store.gc(&GcRoots::default()).unwrap();
    assert_eq!((report.removed_ingests, report.removed_leases), (2, 1));
    assert!(!dir.path().join(".tmp-2").exists());
    writing.write_all(b"lo").unwrap();
    writing.commit(Some(&content)).unwrap();
    assert_eq!(read(&store, &content, 10).unwrap(), b"hello");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a fixture need not be atomic")]
fn an_unreadable_manifest_holds_everything_back() {
    let (dir, store) = store();
    let image = Image::builder().layer(b"one").build();
    let other = Image::builder().layer(b"two").build();
    import(&store, &image.content, &image.manifest);
    import(&store, &other.content, &other.manifest);
    store.tag("app", &image.manifest).unwrap();
    let path = store.blob_path(&image.manifest.digest);
    drop(store);
    fs::remove_file(&path).unwrap();
    fs::write(&path, "damaged").unwrap();
    let store = Store::open(dir.path()).unwrap();
    let report = store.gc(&GcRoots::default()).unwrap();
    assert!(report.held_back);
    assert_eq!((report.removed_blobs, report.problems.len()), (0, 1));
    assert_eq!(report.problems[0].content, image.manifest.digest);
    // So does one that is gone: a name stands for what it refers to.
    fs::remove_file(&path).unwrap();
    let report = store.gc(&GcRoots::default()).unwrap();
    assert!(report.held_back);
    assert_eq!((report.removed_blobs, report.problems.len()), (0, 1));
    store.untag("app").unwrap();
    assert_eq!(store.gc(&GcRoots::default()).unwrap().removed_blobs, 5);
}

#[test]
fn a_referrer_lives_as_long_as_its_subject() {
    let (dir, store) = store();
    let image = Image::builder().layer(b"one").build();
    let content = &image.content;
    let refer = |subject: &Descriptor, text: &str| {
        let config = content.add(media_type::OCI_EMPTY, b"{}");
        let layer = content.add("text/plain", text.as_bytes());
        let mut manifest = Manifest::oci(config, vec![layer]);
        manifest.subject = Some(subject.bare());
        content.add(media_type::OCI_MANIFEST, &document::to_bytes(&manifest))
    };
    let sbom = refer(&image.manifest, "sbom");
    let signature = refer(&sbom, "signature of the sbom");
    // The order in the index does not matter.
    for root in [&signature, &sbom] {
        import(&store, content, root);
        store.add(root).unwrap();
    }
    import(&store, content, &image.manifest);
    store.tag("app", &image.manifest).unwrap();
    drop(store);

    let store = Store::open(dir.path()).unwrap();
    let report = store.gc(&GcRoots::default()).unwrap();
    assert_eq!((report.removed_blobs, report.problems.len()), (0, 0));
    assert_eq!(store.referrers(&image.manifest.digest).unwrap().len(), 1);
    store.untag("app").unwrap();
    drop(store);

    let store = Store::open(dir.path()).unwrap();
    let report = store.gc(&GcRoots::default()).unwrap();
    assert_eq!((report.removed_blobs, report.kept_blobs), (8, 0));
    assert_eq!(store.referrers(&image.manifest.digest).unwrap(), []);
}

#[test]
fn documents_of_unknown_types_keep_what_they_name() {
    let (dir, store) = store();
    let content = Memory::new();
    let blob = content.add("text/plain", b"kept");
    let old_artifact = serde_json::json!({"blobs": [blob]}).to_string();
    let old_artifact = content.add(
        "application/vnd.oci.artifact.manifest.v1+json",
        old_artifact.as_bytes(),
    );
    for root in [&blob, &old_artifact] {
        import(&store, &content, root);
    }
    store.tag("artifact", &old_artifact).unwrap();
    drop(store);
    let report = reader_of(&dir).gc(&GcRoots::default()).unwrap();
    assert_eq!((report.removed_blobs, report.kept_blobs), (0, 2));
}

#[test]
fn a_lease_covers_what_a_long_index_lists() {
    let (dir, store) = store();
    let image = Image::builder().layer(b"one").build();
    let mut long = corten_spec::Index::oci(vec![image.manifest.clone()]);
    long.annotations.insert("x".into(), "x".repeat(5 << 20));
    let root = image
        .content
        .add(media_type::OCI_INDEX, &document::to_bytes(&long));
    import(&store, &image.content, &root);
    store.tag("app", &root).unwrap();
    drop(store);

    let (reader, other) = (
        Store::open(dir.path()).unwrap(),
        Store::open(dir.path()).unwrap(),
    );
    assert_eq!(reader.resolve("app").unwrap().digest, root.digest);
    other.untag("app").unwrap();
    let report = other.gc(&GcRoots::default()).unwrap();
    assert_eq!((report.removed_blobs, report.kept_blobs), (0, 4));
}

#[test]
fn a_wrong_size_in_the_index_holds_nothing_back() {
    let (dir, store) = store();
    let kept = Image::builder().layer(b"kept").build();
    let gone = Image::builder().layer(b"gone").build();
    let root = index(&kept.content, vec![kept.manifest.clone()]);
    import(&store, &kept.content, &root);
    import(&store, &gone.content, &gone.manifest);
    store.tag("kept", &root).unwrap();
    drop(store);
    let path = dir.path().join("index.json");
    let text = fs::read_to_string(&path).unwrap();
    let right = format!("\"size\":{}", root.size);
    assert!(text.contains(&right), "{text}");
    let wrong = text.replace(&right, "\"size\":7");
    corten_content::atomic::write(&path, wrong.as_bytes()).unwrap();

    let store = Store::open(dir.path()).unwrap();
    let report = store.gc(&GcRoots::default()).unwrap();
    assert_eq!((report.removed_blobs, report.kept_blobs), (3, 4));
    assert_eq!((report.problems.len(), report.held_back), (1, false));
    assert_whole(&store, &root);
}
