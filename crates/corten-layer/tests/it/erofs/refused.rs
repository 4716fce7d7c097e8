//! What an index cannot hold.

use std::path::Path;

use corten_layer::bytes::MemoryLayers;
use corten_layer::erofs::{Device, IndexReport, write_index};
use corten_layer::{Error, Result, Tree};
use corten_spec::DiffId;
use corten_tar::{Entry, EntryKind, Located, Segment};

use super::{Nowhere, mount, symlink, tree_of, with_xattrs};
use crate::host::is_root;
use crate::sketch;

#[test]
fn what_does_not_fit_is_refused() {
    #[track_caller]
    fn check(entry: Entry, part: &str) {
        check_of(&tree_of(&[entry]), &[], part);
    }
    #[track_caller]
    fn check_of(tree: &Tree, devices: &[Device], part: &str) {
        let written: Result<IndexReport> =
            write_index(tree, devices, &MemoryLayers::default(), Nowhere(0));
        let error = written.unwrap_err();
        assert!(
            matches!(error, Error::Unindexable { .. } | Error::IndexLimit { .. }),
            "{error:?}"
        );
        assert!(error.to_string().contains(part), "{error}");
    }
    check(
        Entry::new(EntryKind::CharDevice, "dev/none"),
        "`dev/none` cannot be put into an EROFS index: overlayfs",
    );
    check(symlink("s", &[b't'; 4096]), "`s`");
    check(with_xattrs(&[("user.k", &vec![0; 65_536])]), "65,535");
    check(
        with_xattrs(&[
            ("user.k", &vec![0; 65_535]),
            ("user.l", &vec![0; 65_535]),
            ("user.m", &vec![0; 65_535]),
            ("user.n", &vec![0; 65_535]),
            ("user.o", &[0; 300]),
        ]),
        "262,148",
    );
    check(
        with_xattrs(&[(&format!("user.{}", "k".repeat(251)), b"")]),
        "255",
    );
    let mut huge = Entry::new(EntryKind::File, "f");
    huge.size = 1 << 41;
    check(huge.clone(), "more than 4294967294 blocks");
    // The tar is there, and with it one block too many.
    let devices = [Device {
        diff_id: sketch::diff_id(0),
        size: 1 << 41,
    }];
    check_of(&tree_of(&[huge]), &devices, "more than 4294967294 blocks");
    let mut sparse = Entry::new(EntryKind::File, "f");
    (sparse.size, sparse.sparse) = (
        1 << 62,
        Some(vec![Segment {
            offset: 1,
            length: 1,
        }]),
    );
    check(sparse, "too long");
    let many: Vec<DiffId> = (0..65_536).map(sketch::diff_id).collect();
    let devices: Vec<Device> = many
        .iter()
        .map(|diff_id| Device {
            diff_id: diff_id.clone(),
            size: 512,
        })
        .collect();
    let mut tree = Tree::new();
    for (number, diff_id) in many.iter().enumerate() {
        let mut entry = Entry::new(EntryKind::File, format!("{number}"));
        entry.size = 1;
        let located = Located {
            entry,
            offset: 0,
            stored_size: 1,
        };
        tree = tree.apply(diff_id, &[located]).unwrap().0;
    }
    check_of(&tree, &devices, "more than 65535 layers with files");
}

#[test]
fn attributes_of_overlayfs_are_left_out_and_unsettable_ones_told() {
    if !is_root("attributes_of_overlayfs_are_left_out_and_unsettable_ones_told") {
        return;
    }
    // Resolving drops them, too; whoever makes a tree otherwise need not.
    let root = corten_layer::Meta::implied_directory(corten_tar::Timestamp::default());
    let mut builder = corten_layer::TreeBuilder::new(root);
    let meta = corten_layer::Meta::new(0o755, 0, 0, corten_tar::Timestamp::default())
        .with_extended(
            vec![
                (b"security.capability".to_vec(), b"x".to_vec()),
                (b"trusted.overlay.opaque".to_vec(), b"y".to_vec()),
                (b"trusted.t".to_vec(), b"v".to_vec()),
                (b"user.overlay.whiteout".to_vec(), b"y".to_vec()),
            ],
            Vec::new(),
        );
    builder
        .add(b"d", corten_layer::Put::directory(meta))
        .unwrap();
    let mounted = mount(&builder.finish(), &MemoryLayers::default(), &[]);
    let refused: Vec<String> = mounted
        .report
        .xattrs_refused
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(refused, ["d security.capability"]);
    let mut names = vec![0; 1000];
    let len = rustix::fs::listxattr(mounted.path.join("d"), &mut names).unwrap();
    assert_eq!(&names[..len], b"trusted.t\0");
    assert!(Path::new(&mounted.path).is_dir());
}

/// A layer may have as many of them as it likes: they cost neither a walk each nor a line each.
#[test]
fn of_many_refused_attributes_the_first_are_told() {
    let root = corten_layer::Meta::implied_directory(corten_tar::Timestamp::default());
    let mut builder = corten_layer::TreeBuilder::new(
        root.clone()
            .with_extended(vec![(b"foo.root".to_vec(), b"v".to_vec())], Vec::new()),
    );
    let meta = root.with_extended(vec![(b"foo.a".to_vec(), b"v".to_vec())], Vec::new());
    for number in 0..20_000 {
        let directory = corten_layer::Put::directory(meta.clone());
        builder
            .add(format!("d{number:05}").as_bytes(), directory)
            .unwrap();
    }
    let out = std::io::Cursor::new(Vec::new());
    let report = write_index(&builder.finish(), &[], &MemoryLayers::default(), out).unwrap();
    assert_eq!(report.n_xattrs_refused, 20_001);
    let refused = &report.xattrs_refused;
    assert_eq!(refused.len(), 100);
    assert_eq!(refused[0].to_string(), " foo.root");
    assert_eq!(refused[1].to_string(), "d00000 foo.a");
    assert_eq!(refused[99].to_string(), "d00098 foo.a");
}
