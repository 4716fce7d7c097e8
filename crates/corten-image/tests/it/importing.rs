use std::fs::File;
use std::io::{Cursor, Seek, SeekFrom, Write};

use corten_content::{Store, load_image};
use corten_image::{Archive, ImportOptions, ValidateOptions, import, validate};
use corten_snapshot::{Snapshots, layers_of};
use corten_spec::{Descriptor, Platform};
use corten_tar::{Compression, EntryKind, Timestamp};

use crate::archive::{Item, compress, directory, file, link, tar};

fn items() -> Vec<Item> {
    vec![
        directory("etc"),
        file("etc/passwd", "root:x:0:0::/root:/bin/sh\n"),
        file("etc/motd", "hello"),
        directory("usr"),
        directory("usr/bin"),
        file("usr/bin/tool", "#!/bin/sh\n"),
        link(EntryKind::HardLink, "usr/bin/same", "usr/bin/tool"),
        link(EntryKind::Symlink, "bin", "usr/bin"),
    ]
}

fn options() -> ImportOptions {
    ImportOptions::new(Platform::new("linux", "arm64"))
}

fn import_stream(store: &Store, bytes: Vec<u8>) -> corten_image::Result<Descriptor> {
    import(
        store,
        Archive::Stream(Box::new(Cursor::new(bytes))),
        &options(),
    )
}

fn import_file(store: &Store, bytes: &[u8]) -> Descriptor {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    import(store, Archive::File(file), &options()).unwrap()
}

#[test]
fn the_same_files_give_the_same_image() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let plain = tar(&items());
    let expected = import_stream(&store, plain.clone()).unwrap();

    // Only the hard link must stay behind its target.
    let mut other_order = items();
    other_order[..6].reverse();
    assert_eq!(import_stream(&store, tar(&other_order)).unwrap(), expected);
    let mut other_names = items();
    for Item(entry, _) in &mut other_names {
        entry.path = [b"./", entry.path.as_slice()].concat();
    }
    assert_eq!(import_stream(&store, tar(&other_names)).unwrap(), expected);
    for compression in [Compression::Gzip, Compression::Zstd] {
        let compressed = compress(&plain, compression);
        assert_eq!(
            import_stream(&store, compressed.clone()).unwrap(),
            expected,
            "{compression:?}"
        );
        assert_eq!(
            import_file(&store, &compressed),
            expected,
            "{compression:?}"
        );
    }
    assert_eq!(import_file(&store, &plain), expected);
    let left: Vec<_> = std::fs::read_dir(dir.path().join("layers/tmp"))
        .unwrap()
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn what_the_image_says() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let manifest = import_stream(&store, tar(&items())).unwrap();
    let platform = Platform::new("linux", "arm64");
    assert_eq!(manifest.platform.as_ref(), Some(&platform));
    let image = load_image(&store, &manifest, &platform).unwrap();
    let config = &image.config.value;
    assert_eq!(config.created.as_deref(), Some("2020-09-13T12:26:40Z"));
    assert_eq!(config.platform(), platform);
    let [history] = config.history.as_slice() else {
        panic!("{:?}", config.history)
    };
    assert_eq!(history.created_by.as_deref(), Some("corten import"));
    assert_eq!(history.created, config.created);

    let tree = Snapshots::new(&store)
        .tree(&layers_of(&image).unwrap())
        .unwrap();
    let paths: Vec<String> = tree
        .walk()
        .map(|(path, _)| String::from_utf8(path).unwrap())
        .collect();
    let expected = [
        "bin",
        "etc",
        "etc/motd",
        "etc/passwd",
        "usr",
        "usr/bin",
        "usr/bin/same",
        "usr/bin/tool",
    ];
    assert_eq!(paths, expected);
    assert_eq!(tree.exact(b"usr/bin/same"), tree.exact(b"usr/bin/tool"));
    let found = validate(&store, &manifest, &ValidateOptions::default()).unwrap();
    assert_eq!(found, []);
}

#[test]
fn times_can_be_given() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let options = ImportOptions {
        created: Some(Timestamp::from_seconds(0)),
        ..options()
    };
    let archive = Archive::Stream(Box::new(Cursor::new(tar(&items()))));
    let manifest = import(&store, archive, &options).unwrap();
    let image = load_image(&store, &manifest, &options.platform).unwrap();
    assert_eq!(
        image.config.value.created.as_deref(),
        Some("1970-01-01T00:00:00Z")
    );
}

#[test]
fn archives_that_are_refused() {
    #[track_caller]
    fn check(bytes: Vec<u8>, expected: &str) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let error = import_stream(&store, bytes).unwrap_err();
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        assert!(text.contains(expected), "{text}");
        assert_eq!(store.blobs().unwrap(), Vec::<std::path::PathBuf>::new());
        let left = std::fs::read_dir(dir.path().join("layers/tmp")).map_or(0, Iterator::count);
        assert_eq!(left, 0, "{text}");
    }
    check(
        tar(&[file("a/.wh.b", "")]),
        "`a/.wh.b`, since `.wh.` means a deletion",
    );
    check(tar(&[file(".wh..wh..opq", "")]), "means a deletion");
    check(tar(&[file(".wh.dir/b", "")]), "means a deletion");
    check(
        tar(&[link(EntryKind::HardLink, "a", "missing")]),
        "the target of the hard link is not there",
    );
    let whole = tar(&[file("a", "some content")]);
    check(whole[..514].to_vec(), "inside an entry");
    let compressed = compress(&whole, Compression::Gzip);
    check(
        compressed[..compressed.len() - 9].to_vec(),
        "gzip stream is damaged",
    );
    check(
        b"not a tar, but text that is longer than nothing".repeat(30),
        "malformed",
    );
}

#[test]
fn a_file_is_read_from_its_start_whatever_its_position() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let expected = import_stream(&store, tar(&items())).unwrap();
    let path = dir.path().join("root.tar");
    File::create(&path)
        .unwrap()
        .write_all(&tar(&items()))
        .unwrap();
    let mut file = File::open(&path).unwrap();
    file.seek(SeekFrom::End(0)).unwrap();
    assert_eq!(
        import(&store, Archive::File(file), &options()).unwrap(),
        expected
    );
}
