//! Trees written into directories of the host, and found there again.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use corten_layer::beneath::Root;
use corten_layer::bytes::TreeContents;
use corten_layer::diff::diff;
use corten_layer::directory::{
    Devices, DirectoryOptions, Owners, Written, write_overlay, write_tree,
};
use corten_layer::{Data, Tree};
use corten_tar::{Entry, EntryKind, Located, Segment};
use proptest::prelude::*;
use tempfile::TempDir;

use crate::random::{Chain, For, layers};
use crate::roundtrip::config;
use crate::snapshot::{assert_same, of_directory, of_tree};

pub(crate) const OPTIONS: DirectoryOptions = DirectoryOptions {
    owners: Owners::Set,
    devices: Devices::Make,
    threads: 2,
};

/// Tells whether the test `name` can run, which takes root; says so if not.
pub(crate) fn is_root(name: &str) -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        println!("not run: {name}: it needs root");
    }
    is_root
}

/// Returns a directory beside a canary; the canary must stay what it is.
pub(crate) fn target() -> (TempDir, Root) {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("root");
    fs::create_dir(&path).unwrap();
    let root = Root::open(&path).unwrap();
    (scratch, root)
}

proptest! {
    #![proptest_config(config(60))]

    #[test]
    fn a_written_tree_is_found_again(layers in layers(For::Disks, 3)) {
        if !is_root("a_written_tree_is_found_again") {
            return Ok(());
        }
        let chain = Chain::new(&layers);
        let tree = chain.last();
        let (_scratch, root) = target();
        let written = write_tree(tree, &chain.contents(tree), &root, &OPTIONS).unwrap();
        assert_eq!(written, Written::default());
        let expected = of_tree(tree, &chain.contents(tree));
        assert_same(&expected, &of_directory(root.path()), "written and scanned");
    }
}

/// Returns a tree of one sparse file with `segments`, and the layer that its bytes are in.
pub(crate) fn sparse_file(size: u64, segments: &[Segment]) -> Chain {
    let mut entry = Entry::new(EntryKind::File, "sparse");
    entry.size = size;
    entry.sparse = Some(segments.to_vec());
    let stored_size = segments.iter().map(|segment| segment.length).sum();
    let stored: Vec<u8> = (0..stored_size).map(|at| (at % 251) as u8 | 1).collect();
    let located = Located {
        entry,
        offset: 0,
        stored_size,
    };
    let id = crate::random::diff_id(&stored);
    let (tree, _) = Tree::new().apply(&id, &[located]).unwrap();
    let mut chain = Chain::default();
    chain.bytes.0.insert(id, stored);
    chain.trees.push(tree);
    chain
}

#[test]
fn holes_are_made() {
    #[track_caller]
    fn check(size: u64, segments: &[Segment], maximum: u64) {
        let chain = sparse_file(size, segments);
        let tree = chain.last();
        let (_scratch, root) = target();
        write_tree(
            tree,
            &chain.contents(tree),
            &root,
            &DirectoryOptions {
                owners: Owners::Leave,
                ..OPTIONS
            },
        )
        .unwrap();
        let path = root.path().join("sparse");
        let found = fs::metadata(&path).unwrap();
        assert_eq!(found.len(), size);
        assert!(found.blocks() * 512 <= maximum, "{} blocks", found.blocks());
        if size < 1 << 30 {
            let mut bytes = Vec::new();
            File::open(&path).unwrap().read_to_end(&mut bytes).unwrap();
            let mut expected = vec![0; bytes.len()];
            let mut stored = 0_u64;
            for segment in segments {
                for at in segment.offset..segment.offset + segment.length {
                    expected[usize::try_from(at).unwrap()] = (stored % 251) as u8 | 1;
                    stored += 1;
                }
            }
            assert!(bytes == expected, "content");
        }
    }
    let segment = |offset, length| Segment { offset, length };
    check(
        64 << 20,
        &[segment(8192, 100), segment((40 << 20) + 5, 5000)],
        32 << 10,
    );
    // A hole within what is copied in one piece is a hole too.
    check(
        256 << 10,
        &[segment(0, 1), segment(64 << 10, 1), segment(200 << 10, 1)],
        16 << 10,
    );
    check(1 << 20, &[], 0);
    check(1 << 42, &[segment((1 << 42) - 1, 1)], 16 << 10);
}

#[test]
fn what_a_user_namespace_cannot_have_is_left_out_and_told() {
    let (tree, _) = crate::sketch::apply(
        Tree::new(),
        0,
        &[
            "c d/null",
            "h d/zero -> d/null",
            "p fifo",
            "l link -> x xattr=user.k",
        ],
    )
    .unwrap();
    let options = DirectoryOptions {
        owners: Owners::Leave,
        devices: Devices::Skip,
        threads: 0,
    };
    let chain = Chain::default();
    let (_scratch, root) = target();
    let written = write_tree(&tree, &chain.contents(&tree), &root, &options).unwrap();
    let told = |shown: &[corten_layer::Shown]| -> Vec<String> {
        shown.iter().map(ToString::to_string).collect()
    };
    assert_eq!(told(&written.devices_skipped), ["d/null", "d/zero"]);
    assert_eq!(told(&written.xattrs_refused), ["link user.k"]);
    assert!(!root.path().join("d/null").exists());
    assert!(root.path().join("fifo").exists());
}

#[test]
fn what_a_device_that_is_left_out_replaces_does_not_show_instead() {
    let (below, _) = crate::sketch::apply(Tree::new(), 0, &["f a", "f b"]).unwrap();
    let (tree, _) = crate::sketch::apply(below.clone(), 1, &["c a", "c new"]).unwrap();
    let changes = diff(
        &below,
        &tree,
        &|old: &corten_layer::File, new: &corten_layer::File| Ok(old.data == new.data),
    )
    .unwrap();
    let options = DirectoryOptions {
        owners: Owners::Leave,
        devices: Devices::Skip,
        threads: 1,
    };
    let chain = Chain::default();
    let (_scratch, root) = target();
    let contents = chain.contents(&tree);
    let written = write_overlay(&below, &changes, &contents, &root, &options).unwrap();
    assert_eq!(written.devices_skipped.len(), 2);
    let whiteout = fs::symlink_metadata(root.path().join("a")).unwrap();
    assert!(whiteout.file_type().is_char_device() && whiteout.rdev() == 0);
    assert!(!root.path().join("new").exists());
}

#[test]
fn the_first_failure_is_told_and_ends_the_writing() {
    #[track_caller]
    fn check(tree: &Tree, path: &Path, part: &str) {
        let contents = TreeContents {
            tree,
            bytes: &corten_layer::bytes::MemoryLayers::default(),
        };
        let root = Root::open(path).unwrap();
        let error = write_tree(tree, &contents, &root, &OPTIONS).unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
    }
    let (tree, _) = crate::sketch::apply(Tree::new(), 0, &["f a", "f b"]).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    File::create(scratch.path().join("b")).unwrap();
    check(&tree, scratch.path(), "cannot create `/");
    let mut entry = Entry::new(EntryKind::File, "f");
    entry.size = 1;
    let located = Located {
        entry,
        offset: 512,
        stored_size: 1,
    };
    let files: Vec<Located> = (0..2000)
        .map(|number| {
            let mut located = located.clone();
            located.entry.path = format!("f{number}").into();
            located
        })
        .collect();
    let (tree, _) = Tree::new()
        .apply(&crate::sketch::diff_id(0), &files)
        .unwrap();
    let scratch = tempfile::tempdir().unwrap();
    check(&tree, scratch.path(), "cannot read the content of `f");
    let corten_layer::Kind::File(file) = &tree.node(tree.exact(b"f7").unwrap()).kind else {
        panic!("it is a file");
    };
    assert_eq!(
        file.data,
        Data::Layer {
            layer: 1,
            offset: 512
        }
    );
}
