//! What is derived from layers: whole, true to the layers, and made again when it is damaged.

#![expect(
    clippy::unwrap_used,
    clippy::format_push_string,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and writes files that only it reads"
)]

mod mounting;
#[path = "../../../corten-layer/tests/it/random.rs"]
#[expect(dead_code, reason = "random layers are for the tests of corten-layer")]
mod random;
#[path = "../../../corten-layer/tests/it/sketch.rs"]
#[expect(dead_code, reason = "trees are shown in the tests of corten-layer")]
mod sketch;
#[path = "../../../corten-layer/tests/it/snapshot.rs"]
mod snapshot;

mod encoding;
mod housekeeping;
mod receiving;
mod spooling;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use corten_content::Store;
use corten_layer::directory::Devices;
use corten_layer::tree::Kind;
use corten_layer::{Data, LayerBytes};
use corten_snapshot::{Bytes, Error, LayerRef, PackOptions, Packer, Snapshots};
use corten_spec::{DiffId, Digest};
use corten_tar::{Compression, Entry, EntryKind, Writer};
use tempfile::TempDir;

struct Place {
    store: Store,
    root: TempDir,
}

impl Place {
    fn new() -> Self {
        let root = TempDir::new().unwrap();
        Self {
            store: Store::open(root.path()).unwrap(),
            root,
        }
    }

    fn layer(&self, files: &[(&str, &str)]) -> LayerRef {
        let mut packer = Packer::new(&self.store, &options(Compression::Gzip)).unwrap();
        packer.write_all(&tar(files)).unwrap();
        packer.finish().unwrap()
    }

    fn derived(&self, shelf: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.root.path().join("layers").join(shelf));
        let mut paths: Vec<PathBuf> = entries
            .into_iter()
            .flatten()
            .map(|entry| entry.unwrap().path())
            .collect();
        paths.retain(|path| path.extension().is_none());
        paths
    }
}

fn options(compression: Compression) -> PackOptions {
    PackOptions {
        compression,
        level: None,
        threads: 2,
        ..PackOptions::default()
    }
}

#[test]
fn a_layer_that_grows_too_large_is_not_packed() {
    let place = Place::new();
    let limited = PackOptions {
        max_bytes: 4096,
        ..options(Compression::Gzip)
    };
    let mut packer = Packer::new(&place.store, &limited).unwrap();
    packer.write_all(&[0; 4096]).unwrap();
    let error = packer.write_all(&[0]).unwrap_err().to_string();
    assert_eq!(error, "the limit `total_bytes` of 4096 is exceeded");
}

fn tar(files: &[(&str, &str)]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (path, content) in files {
        let mut entry = Entry::new(EntryKind::File, *path);
        entry.size = content.len() as u64;
        writer.entry(&entry, &mut content.as_bytes()).unwrap();
    }
    writer.finish().unwrap()
}

fn content(snapshots: &Snapshots<'_>, layers: &[LayerRef], path: &str) -> Option<String> {
    let tree = snapshots.tree(layers).unwrap();
    let id = tree.follow(path.as_bytes()).unwrap()?;
    let Kind::File(file) = &tree.node(id).kind else {
        panic!("{path} is no file")
    };
    let Data::Layer { layer, offset } = file.data else {
        panic!("{path} is not in a layer")
    };
    let mut buf = vec![0; usize::try_from(file.size).unwrap()];
    let bytes = Bytes::new(snapshots.clone(), layers);
    bytes
        .read_at(tree.layer(layer).unwrap(), offset, &mut buf)
        .unwrap();
    Some(String::from_utf8(buf).unwrap())
}

#[test]
fn a_tree_needs_no_tar_and_bytes_do() {
    let place = Place::new();
    let layers = [
        place.layer(&[("a", "one"), ("b", "two")]),
        place.layer(&[(".wh.a", ""), ("c", "three")]),
    ];
    let snapshots = Snapshots::new(&place.store);
    assert_eq!(snapshots.tree(&layers).unwrap().n_paths(), 2);
    assert_eq!(place.derived("tar").len(), 0);
    assert_eq!(place.derived("index").len(), 2);
    assert_eq!(content(&snapshots, &layers, "b").as_deref(), Some("two"));
    assert_eq!(
        place.derived("tar").len(),
        1,
        "only the layer that holds the file"
    );
    assert_eq!(content(&snapshots, &layers, "a"), None);
}

#[test]
fn the_layer_is_the_same_in_every_compression() {
    let place = Place::new();
    let files = [("a", "one")];
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let mut packer = Packer::new(&place.store, &options(compression)).unwrap();
        packer.write_all(&tar(&files)).unwrap();
        let layer = packer.finish().unwrap();
        assert_eq!(
            layer.diff_id.0,
            Digest::sha256(&tar(&files)),
            "{compression:?}"
        );
        let snapshots = Snapshots::new(&place.store);
        assert_eq!(
            content(&snapshots, &[layer], "a").as_deref(),
            Some("one"),
            "{compression:?}"
        );
    }
}

#[test]
fn a_wrong_diff_id_is_refused_and_leaves_nothing() {
    let place = Place::new();
    let good = place.layer(&[("a", "one")]);
    let wrong = LayerRef {
        diff_id: DiffId(Digest::sha256(b"other")),
        ..good.clone()
    };
    let snapshots = Snapshots::new(&place.store);
    let error = snapshots.tree(&[good, wrong.clone()]).unwrap_err();
    assert!(error.is_corrupt());
    let Error::OfImage {
        number: 2,
        n_layers: 2,
        ..
    } = error
    else {
        panic!("{error:?}")
    };
    assert!(snapshots.tar(&wrong).unwrap_err().is_corrupt());
    assert!(
        snapshots
            .directories(&[wrong], Devices::Skip)
            .unwrap_err()
            .is_corrupt()
    );
    assert_eq!(
        (place.derived("tar").len(), place.derived("dir").len()),
        (0, 0)
    );
    assert_eq!(place.derived("tmp").len(), 0);
}

#[test]
fn what_a_power_failure_damaged_is_made_again() {
    let place = Place::new();
    let layer = place.layer(&[("a", "one")]);
    let snapshots = Snapshots::new(&place.store);
    let tar = snapshots.tar(&layer).unwrap();
    let marker = tar.with_extension("boot");

    damage(&tar);
    overwrite(&marker, b"an earlier boot");
    assert_eq!(
        content(&snapshots, std::slice::from_ref(&layer), "a").as_deref(),
        Some("one")
    );

    // A whole tar of an earlier boot is hashed once and kept.
    overwrite(&marker, b"an earlier boot");
    assert_eq!(snapshots.tar(&layer).unwrap(), tar);
    assert_ne!(fs::read(&marker).unwrap(), b"an earlier boot");

    // A wrong bit in the name would be believed if there were no checksum.
    let index = &place.derived("index")[0];
    let mut bytes = fs::read(index).unwrap();
    let name = bytes.iter().position(|&byte| byte == b'a').unwrap();
    bytes[name] = b'b';
    fs::remove_file(index).unwrap();
    overwrite(index, &bytes);
    assert_eq!(
        content(&snapshots, std::slice::from_ref(&layer), "a").as_deref(),
        Some("one")
    );
    assert_ne!(fs::read(index).unwrap(), bytes, "it was made again");

    damage(&place.derived("index")[0]);
    assert_eq!(
        snapshots
            .tree(std::slice::from_ref(&layer))
            .unwrap()
            .n_paths(),
        1
    );

    let directory = snapshots
        .directories(std::slice::from_ref(&layer), Devices::Skip)
        .unwrap()
        .remove(0);
    fs::remove_file(directory.join("a")).unwrap();
    overwrite(
        &directory.parent().unwrap().join("boot"),
        b"an earlier boot",
    );
    snapshots.directories(&[layer], Devices::Skip).unwrap();
    assert_eq!(fs::read(directory.join("a")).unwrap(), b"one");
}

#[expect(
    clippy::disallowed_methods,
    reason = "the test damages files on purpose"
)]
fn overwrite(path: &Path, content: &[u8]) {
    fs::write(path, content).unwrap();
}

fn damage(path: &Path) {
    let whole = fs::read(path).unwrap();
    fs::remove_file(path).unwrap();
    overwrite(path, &whole[..whole.len() / 2]);
}

#[test]
fn directories_hold_what_each_layer_changes() {
    let place = Place::new();
    let layers = [
        place.layer(&[("d/a", "1"), ("d/b", "2")]),
        place.layer(&[("d/b", "3")]),
    ];
    let snapshots = Snapshots::new(&place.store);
    let directories = snapshots.directories(&layers, Devices::Skip).unwrap();
    assert_eq!(directories.len(), 2);
    assert_eq!(
        fs::read(directories[0].join("d/b")).unwrap(),
        b"3",
        "the topmost comes first"
    );
    assert!(!directories[0].join("d/a").exists());
    assert_eq!(fs::read(directories[1].join("d/a")).unwrap(), b"1");
    let again = snapshots.directories(&layers, Devices::Skip).unwrap();
    assert_eq!(again, directories);
}

/// One store may be used by root and from a user namespace.
#[test]
fn directories_without_devices_are_not_for_those_who_want_them() {
    let place = Place::new();
    let mut writer = Writer::new(Vec::new());
    let mut null = Entry::new(EntryKind::CharDevice, "null");
    null.device = (1, 3);
    writer.entry(&null, &mut std::io::empty()).unwrap();
    let mut packer = Packer::new(&place.store, &options(Compression::Gzip)).unwrap();
    packer.write_all(&writer.finish().unwrap()).unwrap();
    let layers = [packer.finish().unwrap()];
    let snapshots = Snapshots::new(&place.store);
    for (devices, expected) in [(Devices::Skip, false), (Devices::Make, true)] {
        let directories = snapshots.directories(&layers, devices).unwrap();
        assert_eq!(directories[0].join("null").exists(), expected);
    }
}

#[test]
fn an_upper_directory_becomes_a_snapshot_without_a_copy() {
    let place = Place::new();
    let layer = place.layer(&[("a", "one")]);
    let top = DiffId(Digest::sha256(b"top"));
    let snapshots = Snapshots::new(&place.store);
    let upper = snapshots.temporary().unwrap();
    fs::create_dir(&upper).unwrap();
    overwrite(&upper.join("new"), b"x");
    snapshots
        .adopt(
            &upper,
            std::slice::from_ref(&layer.diff_id),
            &top,
            Devices::Skip,
        )
        .unwrap();
    let [adopted] = place.derived("dir").try_into().unwrap();
    assert_eq!(fs::read(adopted.join("fs/new")).unwrap(), b"x");
    // It is what is stacked for these layers, which nobody could unpack.
    let top = LayerRef {
        diff_id: top,
        ..layer.clone()
    };
    let stacked = snapshots.directories(&[layer, top], Devices::Skip).unwrap();
    assert_eq!(stacked[0], adopted.join("fs"));
    assert!(!upper.exists());
}

#[test]
fn sweeping_keeps_what_is_needed() {
    let place = Place::new();
    let (kept, gone) = (place.layer(&[("a", "1")]), place.layer(&[("b", "2")]));
    let snapshots = Snapshots::new(&place.store);
    for layer in [&kept, &gone] {
        snapshots.tar(layer).unwrap();
        for devices in [Devices::Make, Devices::Skip] {
            let layers = std::slice::from_ref(layer);
            snapshots.directories(layers, devices).unwrap();
        }
    }
    let nobody = |_: &str| false;
    let everybody = |_: &str| true;
    assert_eq!(snapshots.sweep(&[], &everybody).unwrap().n_removed, 0);
    snapshots
        .sweep(&[vec![kept.diff_id.clone()]], &nobody)
        .unwrap();
    for shelf in ["tar", "index"] {
        let left = place.derived(shelf);
        assert_eq!(left.len(), 1, "{shelf}: {left:?}");
        assert!(
            left[0].to_string_lossy().contains(kept.diff_id.0.encoded()),
            "{left:?}"
        );
    }
    let left = place.derived("dir");
    assert_eq!(left.len(), 2, "{left:?}");
    for devices in [Devices::Make, Devices::Skip] {
        let layers = std::slice::from_ref(&kept);
        let kept = snapshots.directories(layers, devices).unwrap();
        assert!(left.contains(&kept[0].parent().unwrap().to_owned()));
    }
    // Everything can be made again from the blobs.
    assert_eq!(content(&snapshots, &[gone], "b").as_deref(), Some("2"));
}

#[test]
fn threads_that_make_the_same_thing_agree() {
    let place = Place::new();
    let layer = place.layer(&[("d/a", "1")]);
    let root = place.root.path();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let store = Store::open(root).unwrap();
                let snapshots = Snapshots::new(&store);
                let layers = std::slice::from_ref(&layer);
                let directory = snapshots
                    .directories(layers, Devices::Skip)
                    .unwrap()
                    .remove(0);
                assert_eq!(fs::read(directory.join("d/a")).unwrap(), b"1");
            });
        }
    });
    assert_eq!(place.derived("dir").len(), 1);
    assert_eq!(place.derived("tmp").len(), 0);
}

/// A RUN, or an image, can nest directories deeper than a process may have open files.
#[test]
fn directories_of_any_depth_are_removed() {
    let place = Place::new();
    let top = place.root.path().join("top");
    fs::create_dir(&top).unwrap();
    // Names that moving directories up could meet.
    fs::create_dir_all(top.join("0/1")).unwrap();
    fs::File::create(top.join("1")).unwrap();
    std::os::unix::fs::symlink(place.root.path(), top.join("link")).unwrap();
    // Built from the inside out, since no path this long can be named.
    let inner = place.root.path().join("inner");
    fs::create_dir(&inner).unwrap();
    fs::File::create(inner.join("file")).unwrap();
    for _ in 0..3_000 {
        let outer = place.root.path().join("outer");
        fs::create_dir(&outer).unwrap();
        fs::rename(&inner, outer.join("d")).unwrap();
        fs::rename(&outer, &inner).unwrap();
    }
    fs::rename(&inner, top.join("deep")).unwrap();
    // A call for each level would not fit into this stack.
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().stack_size(128 << 10);
        builder
            .spawn_scoped(scope, || corten_snapshot::snapshots::remove(&top).unwrap())
            .unwrap();
    });
    assert!(!top.exists());
    assert!(place.root.path().join("oci-layout").exists());
    corten_snapshot::snapshots::remove(&top).unwrap();
}

#[test]
fn a_blob_that_was_damaged_in_the_store_is_told_from_a_bad_layer() {
    let place = Place::new();
    let layer = place.layer(&[("a", "one")]);
    let path = place
        .root
        .path()
        .join("blobs/sha256")
        .join(layer.blob.digest.encoded());
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x55;
    fs::remove_file(&path).unwrap();
    fs::File::create_new(&path)
        .unwrap()
        .write_all(&bytes)
        .unwrap();
    let error = Snapshots::new(&place.store).tree(&[layer]).unwrap_err();
    assert!(error.is_corrupt(), "{error:?}");
    let Error::OfImage { source, .. } = error else {
        panic!("{error:?}")
    };
    assert!(matches!(*source, Error::DamagedBlob { .. }), "{source:?}");
}
