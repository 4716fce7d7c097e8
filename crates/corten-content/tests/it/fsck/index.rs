//! Damage to the two files that make a directory a store: `index.json` and `oci-layout`.

use std::fs;

use corten_content::fsck::Finding;
use corten_content::{GcRoots, Sink, Source, Store};

use super::{APP, Site, assert_whole, replace};

#[test]
fn a_wrong_size_in_the_index_is_corrected() {
    let site = Site::new();
    let path = site.path("index.json");
    let text = fs::read_to_string(&path).unwrap();
    let right = format!("\"size\":{}", site.root.size);
    replace(&path, text.replace(&right, "\"size\":7").as_bytes());
    let survey = site.survey();
    let found = survey.findings();
    assert!(
        matches!(
            &found[..],
            [Finding::EntrySize { listed: 7, size, .. }] if *size == site.root.size
        ),
        "{found:?}"
    );
    assert_eq!(site.repair(&survey).resized, 1);
    assert_eq!(site.survey().findings(), []);
    assert_eq!(site.store().resolve(APP).unwrap().size, site.root.size);
}

#[test]
fn a_damaged_index_is_replaced_by_what_is_known() {
    #[track_caller]
    fn check(text: Option<&str>, is_named: bool) {
        let site = Site::new();
        let path = site.path("index.json");
        let old = fs::read_to_string(&path).unwrap();
        match text {
            None => fs::remove_file(&path).unwrap(),
            Some(text) => replace(&path, text.replace("OLD", &old).as_bytes()),
        }
        let survey = site.survey();
        let found = survey.findings();
        let is_file = matches!(&found[..], [Finding::File { name, .. }] if *name == "index.json");
        assert!(is_file, "{text:?}: {found:?}");
        let recovered = site.repair(&survey).recovered.unwrap();
        assert_eq!(recovered.entries, 1, "{text:?}");
        assert_eq!(recovered.names, usize::from(is_named), "{text:?}");
        assert!(recovered.gaps == 1, "{text:?}");
        assert_eq!(recovered.old.is_some(), text.is_some(), "{text:?}");
        assert_eq!(site.survey().findings(), [], "{text:?}");
        let store = site.store();
        let names = store.list().unwrap();
        assert_eq!(names.len(), usize::from(is_named), "{text:?}");
        // Even without a name the image is kept, and can be named again.
        drop(store);
        let store = site.store();
        assert_eq!(store.gc(&GcRoots::default()).unwrap().removed_blobs, 0);
        let digest = site.root.digest.as_str();
        let found = store.resolve(digest).unwrap();
        store.tag("again", &found).unwrap();
        assert_whole(&store, &found);
    }
    check(None, false);
    check(Some(""), false);
    check(Some("{"), false);
    // One entry that cannot be read takes nothing with it.
    let damaged = r#"{"schemaVersion":2,"manifests":[{"mediaType":"a/b","digest":"?","size":0}]}"#;
    check(Some(damaged), false);
    let text = {
        let site = Site::new();
        let old = fs::read_to_string(site.path("index.json")).unwrap();
        old.replace("\"manifests\":[", "\"manifests\":[{\"digest\":1},")
    };
    check(Some(&text), true);
}

#[test]
fn names_of_an_index_that_was_cut_are_kept() {
    let site = Site::new();
    let store = site.store();
    let names: Vec<String> = (0..4)
        .map(|idx| format!("docker.io/library/n{idx}:latest"))
        .collect();
    for name in &names {
        store.tag(name, &site.root).unwrap();
    }
    drop(store);
    let path = site.path("index.json");
    let old = fs::read(&path).unwrap();
    let cut = &old[..old.len() - 100];
    replace(&path, cut);
    let recovered = site.repair(&site.survey()).recovered.unwrap();
    // `APP` and all but the last.
    assert_eq!(
        (recovered.entries, recovered.names, recovered.gaps),
        (4, 4, 1)
    );
    let listed = site.store().list().unwrap();
    let listed: Vec<&str> = listed.iter().map(|image| image.name.as_str()).collect();
    assert_eq!(listed, [APP, &names[0], &names[1], &names[2]]);
    let first = recovered.old.unwrap();
    assert_eq!(fs::read(&first).unwrap(), cut);
    assert_eq!(site.survey().findings(), []);

    // Another time, the file of the first is not touched.
    replace(&path, b"{");
    let second = site.repair(&site.survey()).recovered.unwrap().old.unwrap();
    assert_eq!(fs::read(&first).unwrap(), cut);
    assert_eq!(fs::read(&second).unwrap(), b"{");
}

#[test]
fn an_index_that_cannot_be_read_is_not_replaced() {
    let site = Site::new();
    let path = site.path("index.json");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let survey = site.survey();
    site.store()
        .begin_gc()
        .unwrap()
        .repair(&survey)
        .unwrap_err();
    assert!(path.is_dir());
}

#[test]
fn a_damaged_header_is_written_anew() {
    let site = Site::new();
    let path = site.path("oci-layout");
    for text in ["", "{}", r#"{"imageLayoutVersion":"1.0.0"}}}}}}"#] {
        replace(&path, text.as_bytes());
        assert!(Store::open(site.dir.path()).is_err(), "{text:?}");
        let survey = site.survey();
        assert_eq!(survey.findings().len(), 1, "{text:?}: {survey:?}");
        assert!(site.repair(&survey).header);
        assert_eq!(site.survey().findings(), []);
        Store::open(site.dir.path()).unwrap();
    }
}
