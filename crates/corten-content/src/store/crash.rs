//! What is left when any one step fails, when the disk is full, and when the power goes.

mod faulty;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use corten_spec::{Manifest, document, media_type};

use self::faulty::{Fault, FaultyFiles};
use super::*;
use crate::fsck::Survey;
use crate::{CopyOptions, GcRoots, Memory, copy, read, walk};

const FIRST: &str = "docker.io/library/first:latest";
const SECOND: &str = "docker.io/library/second:latest";

type Names = BTreeMap<String, Digest>;

/// Something done to a store, which is interrupted at every step in turn.
struct Scenario {
    /// Makes the store; nothing goes wrong here.
    prepare: fn(&Images, &Store),
    /// Damages its files by hand.
    damage: fn(&Images, &Path),
    act: fn(&Images, &Store) -> Result<()>,
    /// How many steps it has at least: a scenario that does nothing would always succeed.
    min_steps: usize,
}

/// Two images of three blobs each.
struct Images {
    source: Memory,
    old: Descriptor,
    new: Descriptor,
}

impl Images {
    fn new() -> Self {
        let source = Memory::new();
        let (old, new) = (image(&source, "old "), image(&source, "new "));
        Self { source, old, new }
    }

    fn import(&self, store: &Store, image: &Descriptor, name: &str) -> Result<()> {
        // One job, so that a step's number always means the same.
        let options = CopyOptions {
            jobs: 1,
            ..CopyOptions::default()
        };
        copy(&self.source, store, image, &options)?;
        store.tag(name, image)
    }
}

fn image(source: &Memory, text: &str) -> Descriptor {
    let config = source.add(media_type::OCI_EMPTY, b"{}");
    let layer = source.add("text/plain", text.repeat(1000).as_bytes());
    let manifest = document::to_bytes(&Manifest::oci(config, vec![layer]));
    source.add(media_type::OCI_MANIFEST, &manifest)
}

/// Checks that every name leads to whole content, and returns the names.
#[track_caller]
fn check_visible(store: &Store, context: &str) -> Names {
    let images = store
        .list()
        .unwrap_or_else(|error| panic!("{context}: {error}"));
    for image in &images {
        walk(store, &image.descriptor, &mut |content| {
            read(store, content, 1 << 20).map(drop)
        })
        .unwrap_or_else(|error| panic!("{context}: {}: {error:?}", image.name));
    }
    for path in store.blobs().unwrap() {
        verify_blob(&path).unwrap_or_else(|error| panic!("{context}: {error:?}"));
    }
    let names = images.into_iter();
    names
        .map(|image| (image.name, image.descriptor.digest))
        .collect()
}

fn open(root: &Path) -> Store {
    Store::open_damaged_files(root, Box::new(RealFiles(Durability::None))).unwrap()
}

/// Prepares a store for the scenario, in a new directory.
fn prepare(scenario: &Scenario, images: &Images) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open_with(root.path(), Durability::None).unwrap();
    (scenario.prepare)(images, &store);
    drop(store);
    (scenario.damage)(images, root.path());
    root
}

/// Does the scenario with every fault at every step. Afterwards the names are those from before or
/// those from after, and the latter if it was reported as done; all lead to whole content; and doing
/// it again works.
fn at_every_step(scenario: &Scenario) {
    let images = Images::new();
    let undisturbed = prepare(scenario, &images);
    // A scenario that begins with damage has no names before that lead anywhere.
    let before = Names::clone(&listed(&open(undisturbed.path())));
    (scenario.act)(&images, &open(undisturbed.path())).unwrap();
    let after = check_visible(&open(undisturbed.path()), "undisturbed");
    for fault in Fault::ALL {
        for at_step in 1.. {
            let context = format!("{fault:?} at step {at_step}");
            let root = prepare(scenario, &images);
            let attic = tempfile::tempdir().unwrap();
            let files = FaultyFiles::new(fault, at_step, attic.path());
            let done = Store::open_damaged_files(root.path(), Box::new(files.clone()))
                .and_then(|store| (scenario.act)(&images, &store));
            files.lose_unsynced(root.path());

            let store = open(root.path());
            let names = listed(&store);
            if done.is_ok() {
                assert_eq!(check_visible(&store, &context), after, "{context}");
            }
            // A name never leads to what it never meant.
            for (name, digest) in &names {
                let known = [before.get(name), after.get(name)];
                assert!(known.contains(&Some(digest)), "{context}: {name}");
            }
            for name in before.keys().filter(|name| after.contains_key(*name)) {
                let is_there = names.contains_key(name) || store.dir().entries().is_err();
                assert!(is_there, "{context}: {name} is lost");
            }
            if !files.was_hit() {
                done.unwrap();
                assert!(at_step > scenario.min_steps, "it has {at_step} steps");
                break;
            }
            if let Err(error) = &done {
                check_message(fault, error);
            }
            drop(store);
            // Whatever was left behind, it is in nobody's way.
            (scenario.act)(&images, &open(root.path()))
                .unwrap_or_else(|error| panic!("{context}: {error:?}"));
            let store = open(root.path());
            assert_eq!(check_visible(&store, &context), after, "{context}");
            let report = store.gc(&GcRoots::default()).unwrap();
            assert_eq!(report.problems.len(), 0, "{context}");
            assert_eq!(check_visible(&store, &context), after, "{context}");
            assert_eq!(list_dir(&root.path().join("ingest")).unwrap().len(), 0);
            let survey = Survey::take(&store, Vec::new(), 1).unwrap();
            let damage = survey.findings();
            let damage: Vec<_> = damage.iter().filter(|found| found.is_damage()).collect();
            assert!(damage.is_empty(), "{context}: {damage:?}");
        }
    }
}

/// Returns the names, or none if the index cannot be read.
fn listed(store: &Store) -> Names {
    let images = store.list().unwrap_or_default().into_iter();
    images
        .map(|image| (image.name, image.descriptor.digest))
        .collect()
}

fn check_message(fault: Fault, error: &Error) {
    let mut chain = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        chain = format!("{chain}: {error}");
        cause = error.source();
    }
    match fault {
        Fault::DiskFull | Fault::DiskStaysFull => {
            assert!(chain.contains("No space left on device"), "{chain}");
        }
        _ => assert!(chain.contains("Input/output error"), "{chain}"),
    }
    assert!(chain.contains("cannot "), "{chain}");
}

fn no_damage(_: &Images, _: &Path) {}

fn with_first(images: &Images, store: &Store) {
    images.import(store, &images.old, FIRST).unwrap();
}

#[test]
fn an_import() {
    at_every_step(&Scenario {
        prepare: with_first,
        damage: no_damage,
        act: |images, store| {
            images.import(store, &images.new, SECOND)?;
            store.tag(FIRST, &images.new)
        },
        min_steps: 30,
    });
}

#[test]
fn names_that_move_and_go() {
    at_every_step(&Scenario {
        prepare: |images, store| {
            with_first(images, store);
            images.import(store, &images.new, SECOND).unwrap();
        },
        damage: no_damage,
        act: |images, store| {
            store.tag(FIRST, &images.new)?;
            match store.untag(SECOND) {
                // Where it is done again, it may have been done already.
                Err(error) if error.is_not_found() => Ok(()),
                other => other,
            }
        },
        min_steps: 12,
    });
}

#[test]
fn a_gc() {
    at_every_step(&Scenario {
        prepare: |images, store| {
            with_first(images, store);
            images.import(store, &images.new, SECOND).unwrap();
            // A referrer of what goes, which has to go out of the index, too.
            let source = Memory::new();
            let config = source.add(media_type::OCI_EMPTY, b"{}");
            let mut manifest = Manifest::oci(config, Vec::new());
            manifest.subject = Some(images.new.bare());
            let bytes = document::to_bytes(&manifest);
            let referrer = source.add(media_type::OCI_MANIFEST, &bytes);
            copy(&source, store, &referrer, &CopyOptions::default()).unwrap();
            store.add(&referrer).unwrap();
            store.untag(SECOND).unwrap();
        },
        damage: |_, root| drop(File::create(root.join("ingest/left")).unwrap()),
        act: |_, store| {
            let report = store.gc(&GcRoots::default())?;
            // What is left for lack of room is reported instead of failing the whole.
            match report.problems.into_iter().next() {
                Some(problem) => Err(problem.error),
                None => Ok(()),
            }
        },
        min_steps: 8,
    });
}

fn repair(images: &Images, store: &Store) -> Result<()> {
    let survey = Survey::take(store, Vec::new(), 1)?;
    store.begin_gc()?.repair(&survey)?;
    // What was set aside is pulled again.
    images.import(store, &images.old, FIRST)
}

fn overwrite(path: &Path, change: impl FnOnce(Vec<u8>) -> Vec<u8>) {
    let bytes = change(fs::read(path).unwrap());
    fs::remove_file(path).unwrap();
    std::io::Write::write_all(&mut File::create(path).unwrap(), &bytes).unwrap();
}

#[test]
fn a_repair_of_a_blob_and_of_a_size() {
    at_every_step(&Scenario {
        prepare: with_first,
        damage: |images, root| {
            let layer = crate::children(&images.source, &images.old)
                .unwrap()
                .remove(1);
            overwrite(
                &root.join("blobs/sha256").join(layer.digest.encoded()),
                |mut bytes| {
                    bytes[3] ^= 1;
                    bytes
                },
            );
            overwrite(&root.join("index.json"), |bytes| {
                let text = String::from_utf8(bytes).unwrap();
                let size = format!("\"size\":{}", images.old.size);
                text.replace(&size, "\"size\":7").into_bytes()
            });
        },
        act: repair,
        min_steps: 15,
    });
}

#[test]
fn a_repair_of_the_layout_itself() {
    at_every_step(&Scenario {
        prepare: with_first,
        damage: |_, root| {
            overwrite(&root.join("oci-layout"), |_| Vec::new());
            overwrite(&root.join("index.json"), |bytes| {
                let text = String::from_utf8(bytes).unwrap();
                let list = "\"manifests\":[";
                text.replace(list, &format!("{list}{{\"digest\":1}},"))
                    .into_bytes()
            });
        },
        act: repair,
        min_steps: 15,
    });
}

#[test]
fn a_fault_while_the_store_is_made_does_not_break_it() {
    for fault in Fault::ALL {
        for at_step in 1.. {
            let (root, attic) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            let path = root.path().join("a/b/store");
            let files = FaultyFiles::new(fault, at_step, attic.path());
            let opened = Store::open_files(&path, Box::new(files.clone()));
            files.lose_unsynced(root.path());
            let store = Store::open_with(&path, Durability::None)
                .unwrap_or_else(|error| panic!("{fault:?} at step {at_step}: {error:?}"));
            assert_eq!(store.list().unwrap(), []);
            if !files.was_hit() {
                opened.unwrap();
                break;
            }
        }
    }
}
