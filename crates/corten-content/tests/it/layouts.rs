//! Image layouts as other tools write them, and as we do.

use std::fs;
use std::path::Path;

use corten_content::{CopyOptions, Durability, Error, Layout, Sink, Source, Store, copy, read};
use corten_spec::annotations::REF_NAME;
use corten_spec::{Descriptor, Digest, Platform, media_type};
use corten_testing::Image;
use tempfile::TempDir;

const VERSION: &str = r#"{"imageLayoutVersion":"1.0.0","x-extra":true}"#;
const EMPTY: &str = r#"{"schemaVersion":2,"manifests":[]}"#;

#[expect(clippy::disallowed_methods, reason = "a fixture need not be atomic")]
fn write(dir: &Path, name: &str, bytes: impl AsRef<[u8]>) {
    let path = dir.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn write_blob(dir: &Path, media_type: &str, bytes: &[u8]) -> Descriptor {
    let content = Descriptor::of(media_type, bytes);
    write(
        dir,
        &format!("blobs/sha256/{}", content.digest.encoded()),
        bytes,
    );
    content
}

fn foreign_layout(entries: &[Descriptor]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "oci-layout", VERSION);
    let index = serde_json::json!({"schemaVersion": 2, "manifests": entries});
    write(dir.path(), "index.json", index.to_string());
    write(dir.path(), "manifest.json", "[]");
    fs::create_dir_all(dir.path().join("blobs/sha256")).unwrap();
    dir
}

#[test]
fn what_is_a_layout() {
    #[track_caller]
    fn check(files: &[(&str, &str)], expected: Option<&str>) {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            match name.strip_suffix('/') {
                Some(name) => fs::create_dir_all(dir.path().join(name)).unwrap(),
                None => write(dir.path(), name, text),
            }
        }
        let opened = Layout::open(dir.path()).and_then(|layout| layout.entries());
        match (expected, opened) {
            (None, Ok(entries)) => assert_eq!(entries, []),
            (Some(part), Err(error)) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                let text = format!("{error}: {}", cause.unwrap_or_default());
                assert!(text.contains(part), "{text}");
            }
            (expected, opened) => panic!("{files:?}: {expected:?} {opened:?}"),
        }
    }
    let blobs = ("blobs/", "");
    let (version, index) = (("oci-layout", VERSION), ("index.json", EMPTY));
    check(&[blobs, version, index], None);
    check(&[blobs, version, index, ("repositories", "{}")], None);
    check(&[version, index], Some("no directory `blobs`"));
    check(&[blobs, index], Some("no file `oci-layout`"));
    check(&[blobs, version], Some("no file `index.json`"));
    check(
        &[blobs, ("oci-layout", "[]"), index],
        Some("not valid JSON"),
    );
    check(
        &[blobs, ("oci-layout", "{}"), index],
        Some("imageLayoutVersion"),
    );
    let newer = ("oci-layout", r#"{"imageLayoutVersion":"2.0.0"}"#);
    check(&[blobs, newer, index], Some("`2.0.0`, expected `1.0.0`"));
    let manifest = r#"{"schemaVersion":2,"config":{},"layers":[]}"#;
    check(
        &[blobs, version, ("index.json", manifest)],
        Some("manifests"),
    );
}

#[test]
fn names_that_several_entries_share() {
    let tagged = |text: &str, on: Option<&str>| {
        let mut entry = Descriptor::of(media_type::OCI_MANIFEST, text.as_bytes());
        entry.annotations.insert(REF_NAME.into(), "v1".into());
        entry.platform = on.map(|on| on.parse().unwrap());
        entry
    };
    let amd64: Platform = "linux/amd64".parse().unwrap();
    let s390x: Platform = "linux/s390x".parse().unwrap();

    let two = [
        tagged("a", Some("linux/amd64")),
        tagged("b", Some("linux/arm64")),
    ];
    let dir = foreign_layout(&two);
    let layout = Layout::open(dir.path()).unwrap();
    assert!(matches!(layout.resolve("v1"), Err(Error::Ambiguous { .. })));
    assert_eq!(layout.resolve_for("v1", &amd64).unwrap(), two[0]);
    let error = layout.resolve_for("v1", &s390x).unwrap_err();
    assert!(matches!(error, Error::NoPlatform { .. }), "{error:?}");

    let equal = [
        tagged("a", Some("linux/amd64")),
        tagged("b", Some("linux/amd64")),
    ];
    let dir = foreign_layout(&equal);
    let error = Layout::open(dir.path())
        .unwrap()
        .resolve_for("v1", &amd64)
        .unwrap_err();
    let Error::Ambiguous { candidates, .. } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(candidates.len(), 2);

    let repeated = [tagged("a", None), tagged("a", None)];
    let dir = foreign_layout(&repeated);
    let layout = Layout::open(dir.path()).unwrap();
    assert_eq!(layout.resolve("v1").unwrap(), repeated[0]);
    assert_eq!(layout.resolve("").unwrap(), repeated[0]);
}

#[test]
fn unknown_types_and_missing_blobs_do_not_stop_a_listing() {
    let dir = tempfile::tempdir().unwrap();
    let xml = write_blob(dir.path(), "application/xml", b"<x/>");
    let absent = Descriptor::of(media_type::OCI_MANIFEST, b"absent");
    let layout_dir = foreign_layout(&[xml.clone(), absent.clone()]);
    write_blob(layout_dir.path(), "application/xml", b"<x/>");
    let layout = Layout::open(layout_dir.path()).unwrap();
    assert_eq!(layout.entries().unwrap(), [xml.clone(), absent.clone()]);
    let sink = corten_content::Memory::new();
    copy(&layout, &sink, &xml, &CopyOptions::default()).unwrap();
    let error = read(&layout, &absent, 100).unwrap_err();
    assert!(error.is_not_found(), "{error:?}");
    assert!(
        error.to_string().contains(absent.digest.as_str()),
        "{error}"
    );
}

#[test]
fn damaged_blobs_are_named() {
    let dir = foreign_layout(&[]);
    let content = Descriptor::of("a/b", b"hello");
    let path = format!("blobs/sha256/{}", content.digest.encoded());
    for damaged in [&b"hellp"[..], b"hell", b"hello!"] {
        write(dir.path(), &path, damaged);
        let layout = Layout::open(dir.path()).unwrap();
        let error = read(&layout, &content, 100).unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(error.is_corrupt(), "{error:?}");
        assert!(cause.contains(content.digest.as_str()), "{cause}");
        let error = corten_content::store::verify_blob(&dir.path().join(&path)).unwrap_err();
        assert!(error.is_corrupt(), "{error:?}");
    }
    write(dir.path(), &path, b"hello");
    let size = corten_content::store::verify_blob(&dir.path().join(&path)).unwrap();
    assert_eq!(size, 5);
    write(dir.path(), "blobs/sha256/UPPER", b"");
    let path = dir.path().join("blobs/sha256/UPPER");
    let error = corten_content::store::verify_blob(&path).unwrap_err();
    assert!(matches!(error, Error::Unusable { .. }), "{error:?}");
}

#[test]
fn what_we_write_is_a_plain_layout() {
    let dir = tempfile::tempdir().unwrap();
    let image = Image::builder().layer(b"one").build();
    let layout = Layout::create(&dir.path().join("new/layout"), Durability::Full).unwrap();
    copy(
        &image.content,
        &layout,
        &image.manifest,
        &CopyOptions::default(),
    )
    .unwrap();
    layout.tag("v1", &image.manifest).unwrap();
    layout.tag("v1", &image.manifest).unwrap();
    let root = dir.path().join("new/layout");
    drop(layout);
    let mut names: Vec<_> = fs::read_dir(&root)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["blobs", "index.json", "oci-layout"]);
    let layout = Layout::open(&root).unwrap();
    assert_eq!(layout.entries().unwrap().len(), 1);
    assert_eq!(
        layout.resolve("@").unwrap_err().to_string(),
        format!("`@` is not in oci:{}", root.display())
    );
    layout.untag("v1").unwrap();
    assert!(layout.resolve("v1").unwrap_err().is_not_found());
    assert!(layout.untag("v1").unwrap_err().is_not_found());
}

#[test]
fn a_store_is_a_layout_to_read_and_not_to_write() {
    let dir = tempfile::tempdir().unwrap();
    let image = Image::builder().layer(b"one").build();
    let store = Store::open(dir.path()).unwrap();
    copy(
        &image.content,
        &store,
        &image.manifest,
        &CopyOptions::default(),
    )
    .unwrap();
    store.tag("debian:12", &image.manifest).unwrap();
    let layout = Layout::open(dir.path()).unwrap();
    for name in ["docker.io/library/debian:12", "debian:12", "12", ""] {
        assert_eq!(layout.resolve(name).unwrap().digest, image.manifest.digest);
    }
    let error = layout.tag("v1", &image.manifest).unwrap_err();
    assert!(matches!(error, Error::Unusable { .. }), "{error:?}");
    drop(layout);
    assert!(dir.path().join("ingest").is_dir());
}

#[test]
fn referrers_by_subject_and_by_the_fallback_tag() {
    let dir = tempfile::tempdir().unwrap();
    let image = Image::builder().layer(b"one").build();
    let mut signature = image.value.clone();
    signature.subject = Some(image.manifest.bare());
    signature.artifact_type = Some("application/vnd.acme.signature".into());
    let bytes = corten_spec::document::to_bytes(&signature);
    let signature = image.content.add(media_type::OCI_MANIFEST, &bytes);
    let layout = Layout::create(dir.path(), Durability::None).unwrap();
    for root in [&image.manifest, &signature] {
        copy(&image.content, &layout, root, &CopyOptions::default()).unwrap();
        layout.add(root).unwrap();
    }
    let found = layout.referrers(&image.manifest.digest).unwrap();
    let [found] = found.as_slice() else {
        panic!("{found:?}");
    };
    assert_eq!(found.digest, signature.digest);
    let artifact_type = found.artifact_type.as_deref();
    assert_eq!(artifact_type, Some("application/vnd.acme.signature"));
    assert_eq!(
        image
            .content
            .referrers(&image.manifest.digest)
            .unwrap()
            .len(),
        1
    );
    assert_eq!(layout.referrers(&Digest::sha256(b"none")).unwrap(), []);
}
