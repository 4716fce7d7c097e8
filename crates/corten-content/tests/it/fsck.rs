//! What fsck finds in a store that was damaged on purpose, and how it is repaired.

mod index;

use std::fs;
use std::path::{Path, PathBuf};

use corten_content::fsck::{Damage, Doubting, Finding, Survey, refetch};
use corten_content::{CopyOptions, GcRoots, Sink, Store, atomic, copy, read, walk};
use corten_spec::{Descriptor, Digest};
use corten_testing::Image;
use corten_testing::image::index;
use tempfile::TempDir;

/// A store with the image `app`: an index of one manifest, with one layer of its own.
struct Site {
    dir: TempDir,
    image: Image,
    root: Descriptor,
    layer: Descriptor,
}

const APP: &str = "docker.io/library/app:latest";

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        // Too large to be hashed whenever somebody asks for it.
        let image = Image::builder().layer(&vec![b'x'; 70_000]).build();
        let root = index(&image.content, vec![image.manifest.clone()]);
        let store = Store::open(dir.path()).unwrap();
        copy(&image.content, &store, &root, &CopyOptions::default()).unwrap();
        store.tag(APP, &root).unwrap();
        let layer = corten_content::children(&image.content, &image.manifest)
            .unwrap()
            .remove(1);
        Self {
            dir,
            image,
            root,
            layer,
        }
    }

    /// Another manifest.
    fn other(&self) -> Descriptor {
        let other = Image::builder().layer(b"other");
        other.build_in(&self.image.content)
    }

    /// Gives the name to an index of both manifests.
    fn with_other(&self) -> Descriptor {
        let manifests = vec![self.image.manifest.clone(), self.other()];
        let root = index(&self.image.content, manifests);
        let store = self.store();
        copy(&self.image.content, &store, &root, &CopyOptions::default()).unwrap();
        store.tag(APP, &root).unwrap();
        root
    }

    fn store(&self) -> Store {
        Store::open_damaged(self.dir.path()).unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn blob(&self, content: &Descriptor) -> PathBuf {
        self.store().blob_path(&content.digest)
    }

    fn survey(&self) -> Survey {
        Survey::take(&self.store(), Vec::new(), 2).unwrap()
    }

    /// Flips a bit of a file.
    fn damage(path: &Path) {
        let mut bytes = fs::read(path).unwrap();
        bytes[3] ^= 1;
        replace(path, &bytes);
    }

    fn repair(&self, survey: &Survey) -> corten_content::fsck::Repaired {
        self.store().begin_gc().unwrap().repair(survey).unwrap()
    }
}

fn replace(path: &Path, bytes: &[u8]) {
    atomic::write(path, bytes).unwrap();
}

#[track_caller]
fn assert_whole(store: &Store, root: &Descriptor) {
    walk(store, root, &mut |content| {
        read(store, content, 1 << 20).map(drop)
    })
    .unwrap();
}

/// Returns the blobs that are lost, by their digests, with whether they are missing.
fn lost(survey: &Survey) -> Vec<(Digest, bool, usize)> {
    let findings = survey.findings().into_iter();
    findings
        .filter_map(|finding| match finding {
            Finding::Blob(lost) => Some((
                lost.content.digest,
                lost.damage == Damage::Missing,
                lost.needed_by.len(),
            )),
            _ => None,
        })
        .collect()
}

#[test]
fn a_whole_store_has_nothing_to_find() {
    let site = Site::new();
    let survey = site.survey();
    assert_eq!(survey.findings(), []);
    assert_eq!(survey.blobs().0, 4);
}

#[test]
fn damaged_and_missing_blobs_come_back_from_elsewhere() {
    for is_missing in [false, true] {
        let site = Site::new();
        let everything = [&site.layer, &site.image.manifest, &site.root];
        for content in everything {
            let path = site.blob(content);
            if is_missing {
                fs::remove_file(path).unwrap();
            } else {
                Site::damage(&path);
            }
        }
        let store = site.store();
        let mut survey = site.survey();
        // What is behind a lost document shows up when that is back.
        let mut n_rounds = 0;
        loop {
            let all = survey.lost_by(Some(APP));
            if all.is_empty() {
                break;
            }
            for content in &all {
                refetch(
                    &site.image.content,
                    &store,
                    content,
                    &CopyOptions::default(),
                )
                .unwrap();
            }
            let changed: Vec<Digest> = all.into_iter().map(|content| content.digest).collect();
            survey.update(&store, &changed).unwrap();
            n_rounds += 1;
        }
        assert_eq!(n_rounds, 3, "the index, its manifest, the layer");
        assert_eq!(survey.findings(), []);
        assert_eq!(site.survey().findings(), []);
        assert_whole(&store, &site.root);
    }
}

#[test]
fn a_place_with_other_bytes_repairs_nothing() {
    let site = Site::new();
    let path = site.blob(&site.layer);
    Site::damage(&path);
    let damaged = fs::read(&path).unwrap();
    let other = Store::open(&site.path("other")).unwrap();
    copy(
        &site.image.content,
        &other,
        &site.layer,
        &CopyOptions::default(),
    )
    .unwrap();
    replace(&other.blob_path(&site.layer.digest), &damaged);
    let error = refetch(&other, &site.store(), &site.layer, &CopyOptions::default()).unwrap_err();
    assert!(error.is_corrupt(), "{error:?}");
    assert_eq!(fs::read(&path).unwrap(), damaged);
}

#[test]
fn copying_again_replaces_what_is_known_to_be_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let large = vec![7; 100_000];
    let image = Image::builder().layer(&large).build();
    let again = |sink: &dyn Sink| {
        let options = CopyOptions::default();
        copy(&image.content, sink, &image.manifest, &options).unwrap()
    };
    again(&store);
    let parts = corten_content::children(&image.content, &image.manifest).unwrap();
    let flip = |content: &Descriptor| {
        let path = store.blob_path(&content.digest);
        let mut bytes = fs::read(&path).unwrap();
        bytes[3] ^= 1;
        replace(&path, &bytes);
    };
    // What is small is looked at, and so is the length of what is not.
    flip(&image.manifest);
    flip(&parts[0]);
    replace(&store.blob_path(&parts[1].digest), &large[1..]);
    assert_eq!(again(&store).sent, 3);
    assert_whole(&store, &image.manifest);
    // The rest takes somebody who doubts.
    flip(&parts[1]);
    assert_eq!(again(&store).sent, 0);
    assert_eq!(again(&Doubting(&store)).sent, 1);
    assert_whole(&store, &image.manifest);
    assert_eq!(again(&Doubting(&store)).sent, 0);
}

#[test]
fn damaged_blobs_are_set_aside_and_gc_takes_them() {
    let site = Site::new();
    Site::damage(&site.blob(&site.layer));
    let survey = site.survey();
    assert_eq!(lost(&survey), [(site.layer.digest.clone(), false, 1)]);
    let repaired = site.repair(&survey);
    assert_eq!(repaired.set_aside, std::slice::from_ref(&site.layer.digest));
    assert!(!site.store().contains(&site.layer).unwrap());
    let survey = site.survey();
    assert_eq!(lost(&survey), [(site.layer.digest.clone(), true, 1)]);
    assert!(
        matches!(&survey.findings()[1], Finding::Leftover(_)),
        "{survey:?}"
    );

    // A pull is all that it takes.
    let store = site.store();
    copy(
        &site.image.content,
        &store,
        &site.root,
        &CopyOptions::default(),
    )
    .unwrap();
    assert_eq!(store.gc(&GcRoots::default()).unwrap().removed_ingests, 1);
    assert_eq!(site.survey().findings(), []);
}

/// Beneath a document that was set aside, everything may be whole.
#[test]
fn gc_waits_for_documents_that_were_set_aside() {
    #[track_caller]
    fn check(is_manifest: bool) {
        let site = Site::new();
        // Another manifest of the index is here, so that it is a sparse one.
        let (other, root) = (site.other(), site.with_other());
        let damaged = if is_manifest {
            &site.image.manifest
        } else {
            &root
        };
        Site::damage(&site.blob(damaged));
        let survey = site.survey();
        assert_eq!(
            site.repair(&survey).set_aside,
            std::slice::from_ref(&damaged.digest)
        );
        let store = site.store();
        // The second time, too.
        for _ in 0..2 {
            let report = store.gc(&GcRoots::default()).unwrap();
            assert!(report.held_back, "{report:?}");
            assert_eq!((report.removed_blobs, report.removed_ingests), (0, 0));
        }
        copy(&site.image.content, &store, &root, &CopyOptions::default()).unwrap();
        assert_whole(&store, &root);
        assert_whole(&store, &other);
        drop(store);
        let report = site.store().gc(&GcRoots::default()).unwrap();
        assert!(!report.held_back, "{report:?}");
        assert_eq!(report.removed_ingests, 1);
        assert_whole(&site.store(), &root);
    }
    check(true);
    check(false);
}

#[test]
fn documents_that_nothing_needs_are_not_waited_for() {
    let site = Site::new();
    Site::damage(&site.blob(&site.image.manifest));
    site.repair(&site.survey());
    let store = site.store();
    store.untag(APP).unwrap();
    let report = store.gc(&GcRoots::default()).unwrap();
    assert!(!report.held_back, "{report:?}");
    assert_eq!((report.kept_blobs, report.removed_ingests), (0, 1));
}

#[test]
fn what_cannot_be_read_is_not_set_aside() {
    let site = Site::new();
    // As a device with a bad sector, this is there and gives no bytes.
    let path = site.blob(&site.layer);
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let survey = site.survey();
    assert_eq!(lost(&survey), [(site.layer.digest.clone(), false, 1)]);
    assert_eq!(site.repair(&survey).set_aside, []);
    assert!(path.is_dir());
}

#[test]
fn what_a_running_process_relies_on_stays() {
    let site = Site::new();
    Site::damage(&site.blob(&site.layer));
    let running = site.store();
    assert!(running.contains(&site.layer).unwrap());
    let survey = site.survey();
    let repaired = site.repair(&survey);
    assert_eq!(repaired.in_use, std::slice::from_ref(&site.layer.digest));
    assert_eq!(repaired.set_aside, []);
    drop(running);
    assert_eq!(
        site.repair(&survey).set_aside,
        std::slice::from_ref(&site.layer.digest)
    );
    // Once more changes nothing.
    assert_eq!(site.repair(&survey).set_aside, []);
}

#[test]
fn pipes_are_not_waited_for() {
    let site = Site::new();
    let make_pipe = |name: &str| {
        let status = std::process::Command::new("mkfifo")
            .arg(site.path(name))
            .status();
        assert!(status.unwrap().success(), "{name}");
    };
    fs::remove_file(site.path("oci-layout")).unwrap();
    fs::create_dir_all(site.path("ingest")).unwrap();
    make_pipe("oci-layout");
    make_pipe("ingest/pipe");
    let found = site.survey().findings();
    assert!(
        matches!(
            &found[..],
            [Finding::File {
                name: "oci-layout",
                ..
            }]
        ),
        "{found:?}"
    );
    fs::remove_file(site.path("oci-layout")).unwrap();
    assert!(site.repair(&site.survey()).header);
    assert!(site.store().gc(&GcRoots::default()).is_ok());
}

#[test]
fn what_does_not_belong_here_is_told_and_left_alone() {
    let site = Site::new();
    for name in ["notes.txt", "blobs/x", "blobs/sha256/short"] {
        replace(&site.path(name), b"x");
    }
    replace(&site.path("ingest/sha256-abc"), b"1234");
    let survey = site.survey();
    let found = survey.findings();
    assert_eq!(found.len(), 4, "{found:?}");
    assert!(!found.iter().any(Finding::is_damage), "{found:?}");
    site.repair(&survey);
    assert_eq!(site.survey().findings(), found);
}
