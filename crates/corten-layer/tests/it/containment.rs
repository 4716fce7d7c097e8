//! Layers that try to get out, and layers that are too deep: nothing beside the root changes.

use std::fs;
use std::process::Command;

use corten_layer::beneath::{Links, Root};
use corten_layer::diff::diff;
use corten_layer::directory::{DirectoryOptions, Owners, write_overlay, write_tree};
use corten_layer::{Changeset, Contents, File, Meta, Put, Tree};
use corten_tar::Timestamp;
use rustix::fs::OFlags;

use crate::host::OPTIONS;
use crate::random::{Chain, Piece};
use crate::snapshot::{assert_same, of_directory, of_tree};

const LEAVE: DirectoryOptions = DirectoryOptions {
    owners: Owners::Leave,
    ..OPTIONS
};

const HOSTILE: [&[&str]; 12] = [
    &["l a -> ../canary", "f a/file"],
    &["l a -> ../canary", "d a", "f a/file"],
    &["l a -> /../../../../../../../../tmp", "f a/file"],
    &[
        "l a -> ..",
        "l b -> a/../canary",
        "f b/file",
        "f a/canary/file",
    ],
    &[
        "f ../canary/file",
        "f /../../canary/file",
        "d ../canary mode=0",
    ],
    &["d d", "l d -> ../canary", "f d/file", "f d/.wh.file"],
    &["l a -> ../canary/file", "f a"],
    &["l a -> ../canary/file", "h b -> a", "f b"],
    &["h a -> ../canary/file"],
    &["f file", "h a -> ../../file", "f a"],
    &["l a -> /proc/self/root/tmp", "f a/x", "f a/.wh..wh..opq"],
    &[
        "l root -> ../canary",
        "f root/.wh.file",
        "f .wh.root",
        "f root",
    ],
];

#[test]
fn nothing_outside_the_root_changes() {
    #[track_caller]
    fn check(pieces: &[&[&str]]) {
        let scratch = tempfile::tempdir().unwrap();
        let canary = scratch.path().join("canary");
        fs::create_dir(&canary).unwrap();
        fs::write(canary.join("file"), "canary").unwrap();
        let before = of_directory(&canary);
        let pieces = pieces
            .iter()
            .map(|layer| layer.iter().map(|text| spelt(text)).collect());
        let chain = Chain::new(&pieces.collect::<Vec<_>>());
        let tree = chain.last();
        let contents = chain.contents(tree);
        for name in ["root", "root2"] {
            let path = scratch.path().join(name);
            fs::create_dir(&path).unwrap();
            let root = Root::open(&path).unwrap();
            if name == "root" {
                write_tree(tree, &contents, &root, &LEAVE).unwrap();
                let mut found = of_directory(&path);
                let mut expected = of_tree(tree, &contents);
                for snapshot in [&mut found, &mut expected] {
                    snapshot.remove("/");
                }
                if rustix::process::geteuid().is_root() {
                    assert_same(&expected, &found, "what is inside");
                }
            } else {
                let below = Tree::new();
                let changes = diff(&below, tree, &chain.same(&below, tree)).unwrap();
                write_overlay(&below, &changes, &contents, &root, &LEAVE).unwrap();
            }
        }
        assert_same(&before, &of_directory(&canary), "the canary");
        let beside = fs::read_dir(scratch.path()).unwrap().count();
        assert_eq!(beside, 3, "something new beside the root");
    }
    for layer in HOSTILE {
        check(&[layer]);
        for second in HOSTILE {
            check(&[layer, second]);
        }
    }
}

/// An entry whose path may hold `..`, which our writer of tars refuses to write.
fn spelt(text: &str) -> Piece {
    match text.split_once(" ../") {
        Some((kind, rest)) if !kind.contains(' ') => {
            let mut piece = Piece::of(&format!("{kind} {rest}"));
            piece.spelling = 6;
            piece
        }
        _ => match text.split_once(" -> ../") {
            Some((start, rest)) if text.starts_with('h') => {
                let mut piece =
                    Piece::of(&format!("{start} -> {}", rest.trim_start_matches("../")));
                piece.link = Some([b"../../../", piece.entry.link.as_slice()].concat());
                piece
            }
            _ => Piece::of(&text.replace(" /../../", " ")),
        },
    }
}

#[test]
fn changes_have_no_way_out() {
    #[track_caller]
    fn refused(path: &str) {
        let put = Put::directory(Meta::new(0o755, 0, 0, Timestamp::default()));
        let mut changes = Changeset::default();
        assert!(changes.put(path.as_bytes(), put).is_err(), "{path:?}");
        assert!(changes.remove(path.as_bytes()).is_err(), "{path:?}");
    }
    for path in [
        "..",
        "a/../b",
        "/a",
        "a/",
        "a//b",
        ".",
        "a/.",
        "a/\0",
        ".wh.a",
        "a/.wh.b/c",
    ] {
        refused(path);
    }
}

#[test]
fn links_on_the_way_are_refused_or_stay_inside() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("root");
    fs::create_dir(&path).unwrap();
    fs::create_dir(path.join("d")).unwrap();
    fs::write(scratch.path().join("canary"), "outside").unwrap();
    fs::write(path.join("canary"), "inside").unwrap();
    for (name, target) in [
        ("out", ".."),
        ("abs", "/"),
        ("in", "d"),
        ("far", "d/../../../.."),
    ] {
        std::os::unix::fs::symlink(target, path.join(name)).unwrap();
    }
    let root = Root::open(&path).unwrap();
    for name in ["out", "abs", "far"] {
        let path = format!("{name}/canary").into_bytes();
        assert!(root.open_at(&path, OFlags::RDONLY, Links::Refuse).is_err());
        let fd = root
            .open_at(&path, OFlags::RDONLY, Links::FollowInside)
            .unwrap();
        let content = std::io::read_to_string(fs::File::from(fd)).unwrap();
        assert_eq!(content, "inside", "{name}");
    }
    for path in ["in", "../root/d", "/", "d/../../root"] {
        assert!(root.directory(path.as_bytes()).is_err(), "{path}");
    }
}

/// A tree of directories in directories, with a link in the last.
fn deep(depth: usize) -> Tree {
    let path = "d/".repeat(depth);
    let entries = [
        crate::sketch::entry(&format!("d {path}")),
        crate::sketch::entry(&format!("l {path}link -> x")),
    ];
    Tree::new()
        .apply(&crate::sketch::diff_id(9), &entries)
        .unwrap()
        .0
}

#[test]
fn deep_trees_are_written() {
    // Deeper than a path that the kernel takes, and than a process may have open files.
    #[track_caller]
    fn check(depth: usize, write: impl FnOnce(&Tree, &dyn Contents, &Root)) {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("root");
        fs::create_dir(&path).unwrap();
        let (tree, chain) = (deep(depth), Chain::default());
        write(&tree, &chain.contents(&tree), &Root::open(&path).unwrap());
        assert_eq!(of_directory(&path).len(), depth + 2);
        // Neither the library's removal nor that of the temporary directory goes so deep.
        let removed = Command::new("rm").arg("-rf").arg(&path).status();
        assert!(removed.unwrap().success());
    }
    check(5000, |tree, contents, root| {
        write_tree(tree, contents, root, &LEAVE).unwrap();
    });
    check(2500, |tree, contents, root| {
        let below = Tree::new();
        let changes = diff(&below, tree, &|_: &File, _: &File| Ok(true)).unwrap();
        write_overlay(&below, &changes, contents, root, &LEAVE).unwrap();
    });
}

#[test]
fn long_names_are_refused_or_written() {
    let name = "n".repeat(255);
    let chain = Chain::new(&[vec![Piece::of(&format!("f {name}"))]]);
    let tree = chain.last();
    let scratch = tempfile::tempdir().unwrap();
    let root = Root::open(scratch.path()).unwrap();
    write_tree(tree, &chain.contents(tree), &root, &LEAVE).unwrap();
    assert!(scratch.path().join(&name).exists());
    // A whiteout of it would be too long a name: no layer can delete it.
    let mut changes = Changeset::default();
    changes.remove(name.as_bytes()).unwrap();
    let written =
        corten_layer::emit::write_changeset(tree, &changes, &chain.contents(tree), &mut Vec::new());
    let error = written.unwrap_err().to_string();
    assert!(
        error.contains("its whiteout's name is longer than 255 bytes"),
        "{error}"
    );
    let too_long = "n".repeat(256);
    assert!(changes.remove(too_long.as_bytes()).is_err());
}
