//! One case or more for each rule about layers that we write (layers.md section 11).

use corten_layer::bytes::TreeContents;
use corten_layer::diff::diff;
use corten_layer::{Change, Changeset, Contents, File, Item, Meta, Put, Tree, emit};
use corten_tar::{EntryKind, Located, Timestamp};

use crate::host::OPTIONS;
use crate::random::{Chain, Piece, read};
use crate::section11;
use crate::sketch::resolve;

/// Returns an entry as `sketch` writes it, with what is not usual.
fn line(located: &Located) -> String {
    let entry = &located.entry;
    let kind = match entry.kind {
        EntryKind::File => 'f',
        EntryKind::Directory => 'd',
        EntryKind::Symlink => 'l',
        EntryKind::HardLink => 'h',
        EntryKind::CharDevice | EntryKind::BlockDevice => 'c',
        EntryKind::Fifo => 'p',
    };
    let mut line = format!("{kind} {}", entry.path.escape_ascii());
    if !entry.link.is_empty() {
        line += &format!(" -> {}", entry.link.escape_ascii());
    }
    if !matches!(
        (entry.kind, entry.mode),
        (EntryKind::Directory, 0o755) | (_, 0o644)
    ) {
        line += &format!(" {:o}", entry.mode);
    }
    if (entry.uid, entry.gid) != (0, 0) {
        line += &format!(" {}:{}", entry.uid, entry.gid);
    }
    if entry.mtime.seconds != 0 {
        line += &format!(" @{}", entry.mtime.seconds);
    }
    for (name, _) in &entry.xattrs {
        line += &format!(" {}", name.escape_ascii());
    }
    line
}

struct Empty;

impl Contents for Empty {
    fn open<'a>(&'a self, _: &'a File) -> std::io::Result<Box<dyn std::io::Read + Send + 'a>> {
        Ok(Box::new(std::io::empty()))
    }
}

/// The layer that makes the tree of the layers `upper` of that of `lower` holds `expected`.
#[track_caller]
fn check(lower: &[&[&str]], upper: &[&[&str]], expected: &[&str]) {
    let (lower, upper) = (resolve(lower).unwrap(), resolve(upper).unwrap());
    let changes = diff(&lower, &upper, &|old: &File, new: &File| Ok(old == new)).unwrap();
    let mut tar = Vec::new();
    emit::write_changeset(&lower, &changes, &Empty, &mut tar).unwrap();
    let entries = read(&tar);
    section11::check(&lower, &entries);
    let lines: Vec<String> = entries.iter().map(line).collect();
    assert_eq!(lines, expected);
    // Two blocks of zeros, and nothing more (rule 94).
    assert!(tar.ends_with(&corten_tar::END));
    let end = entries
        .last()
        .map_or(0, |last| last.offset + last.stored_size);
    assert_eq!(tar.len() as u64, end.next_multiple_of(512) + 1024);
}

#[test]
fn entries_and_their_order() {
    // Sorted by component, not by byte.
    check(
        &[],
        &[&["f a.b", "f a-b", "d a", "f a/b", "f B", "f \u{e9}"]],
        &["f B", "d a/", "f a/b", "f a-b", "f a.b", "f \\xc3\\xa9"],
    );
    // Every ancestor of a change, with its true attributes; the root only if it changed.
    let old = [
        "d a mode=0700 owner=1:2 mtime=9",
        "d a/b mode=0711",
        "f a/b/c",
        "f a/x",
    ];
    check(
        &[&old],
        &[&old, &["f a/b/c mode=0600"]],
        &["d a/ 700 1:2 @9", "d a/b/ 711", "f a/b/c 600"],
    );
    check(&[&old], &[&old, &["d . mode=0700"]], &["d ./ 700"]);
    check(&[&old], &[&old], &[]);
    check(
        &[&old, &["f b/c/d"]],
        &[&old, &["f b/c/d"], &["f .wh.b", "f a/.wh.x"]],
        &["f .wh.b 0", "d a/ 700 1:2 @9", "f a/.wh.x 0"],
    );
}

#[test]
fn deletions() {
    let old = ["d d", "f d/a", "d d/s", "f d/s/x", "f d/z", "f e"];
    // Only the topmost deleted path.
    check(&[&old], &[&["f e"]], &["f .wh.d 0"]);
    // Right after the entry of the directory, before what else is in it.
    check(
        &[&old],
        &[&old, &["f d/.wh.z", "f d/.wh.s", "f d/A"]],
        &["d d/", "f d/.wh.s 0", "f d/.wh.z 0", "f d/A"],
    );
    // A change of type is just the new entry.
    check(&[&old], &[&old, &["f d"]], &["f d"]);
    check(&[&old], &[&old, &["d e", "f e/x"]], &["d e/", "f e/x"]);
    check(&[&old], &[&old, &["l d -> e"]], &["l d -> e"]);
    // Made anew: what is gone is named, and there are no opaque whiteouts.
    check(
        &[&old],
        &[&old, &["f .wh.d", "d d mode=0700", "f d/z"]],
        &["d d/ 700", "f d/.wh.a 0", "f d/.wh.s 0", "f d/z"],
    );
    check(
        &[&old],
        &[&old, &["f d/.wh..wh..opq", "f d/s/y"]],
        &[
            "d d/",
            "f d/.wh.a 0",
            "f d/.wh.z 0",
            "d d/s/",
            "f d/s/.wh.x 0",
            "f d/s/y",
        ],
    );
    check(&[&old], &[&[]], &["f .wh.d 0", "f .wh.e 0"]);
}

#[test]
fn hard_links() {
    let old = ["f a mode=4755", "h b -> a", "h d/c -> a"];
    check(
        &[],
        &[&["f z mtime=5", "h b -> z", "h a -> b"]],
        &["f a @5", "h b -> a @5", "h z -> a @5"],
    );
    // All names of a file are written when one is new, and those that stay are not when one goes.
    check(
        &[&old],
        &[&old, &["h new -> b"]],
        &[
            "f a 4755",
            "h b -> a 4755",
            "d d/",
            "h d/c -> a 4755",
            "h new -> a 4755",
        ],
    );
    check(&[&old], &[&old, &["f .wh.a"]], &["f .wh.a 0"]);
    check(&[&old], &[&old, &["f a"]], &["f a"]);
    // Links of what is no regular file.
    check(
        &[],
        &[&["p p", "h q -> p", "l s -> p", "h t -> s"]],
        &["p p", "h q -> p", "l s -> p", "h t -> s"],
    );
}

#[test]
fn attributes_that_no_layer_has() {
    let mut meta = Meta::new(0o644, 0, 0, Timestamp::default());
    let names = [
        "security.selinux",
        "trusted.overlay.opaque",
        "user.k",
        "user.overlay.redirect",
    ];
    let xattrs = names.map(|name| (name.into(), b"v".to_vec()));
    meta = meta.with_extended(xattrs.to_vec(), Vec::new());
    let mut changes = Changeset::default();
    let put = Put {
        item: Item::Fifo,
        meta,
        group: None,
    };
    changes.put(b"a", put).unwrap();
    let mut tar = Vec::new();
    let written = emit::write_changeset(&Tree::new(), &changes, &Empty, &mut tar).unwrap();
    assert_eq!(line(&written[0]), "p a user.k");
    assert_eq!(read(&tar), written);
}

#[test]
fn changes_that_make_no_sense() {
    let tree = resolve(&[&["d d", "f d/a", "l s -> d", "f f"]]).unwrap();
    let fifo = || Put {
        item: Item::Fifo,
        meta: Meta::new(0o644, 0, 0, Timestamp::default()),
        group: None,
    };
    let directory = || Put::directory(Meta::new(0o700, 0, 0, Timestamp::default()));
    let write = |changes: &Changeset| {
        emit::write_changeset(&tree, changes, &Empty, &mut Vec::new())
            .map(|entries| entries.iter().map(line).collect::<Vec<_>>())
            .map_err(|error| error.to_string())
    };
    let with = |puts: &[(&str, Option<Put>)]| {
        let mut changes = Changeset::default();
        for (path, put) in puts {
            match put {
                Some(put) => changes.put(path.as_bytes(), put.clone()).unwrap(),
                None => changes.remove(path.as_bytes()).unwrap(),
            }
        }
        write(&changes)
    };
    // No component is a link, and nothing lies below what is no directory or is deleted.
    assert_eq!(
        with(&[("s/x", Some(fifo()))]).unwrap_err(),
        "`s` is not a directory"
    );
    assert_eq!(
        with(&[("f/x", Some(fifo()))]).unwrap_err(),
        "`f` is not a directory"
    );
    assert_eq!(
        with(&[("no/x", Some(fifo()))]).unwrap_err(),
        "`no` is not in the image"
    );
    let below = [("d", None), ("d/x", Some(fifo()))];
    assert_eq!(with(&below).unwrap_err(), "`d` is not a directory");
    // A deletion of nothing is left out, also where a link leads to something of that name.
    assert_eq!(with(&[("no", None), ("d/no", None)]).unwrap(), [""; 0]);
    let in_link = [("s", Some(directory())), ("s/a", None)];
    assert_eq!(with(&in_link).unwrap(), ["d s/ 700"]);
    // The root can be changed, not deleted or replaced.
    let mut changes = Changeset::default();
    assert!(changes.remove(b"").is_err());
    assert!(changes.put(b"", fifo()).is_err());
    changes.put(b"", directory()).unwrap();
    assert_eq!(write(&changes).unwrap(), ["d ./ 700"]);
}

#[test]
fn times_are_clamped() {
    let mut changes = Changeset::default();
    let at = |seconds| Put::directory(Meta::new(0o755, 0, 0, Timestamp::from_seconds(seconds)));
    for (path, seconds) in [("a", 5), ("b", 10), ("c", 15)] {
        changes.put(path.as_bytes(), at(seconds)).unwrap();
    }
    changes.clamp(Timestamp::from_seconds(10));
    let found: Vec<i64> = changes
        .iter()
        .map(|(_, change)| match change {
            Change::Put(put) => put.meta.mtime.seconds,
            Change::Remove => panic!("nothing is deleted"),
        })
        .collect();
    assert_eq!(found, [5, 10, 10]);
}

#[test]
fn content_that_changes_meanwhile() {
    let chain = Chain::new(&[vec![Piece::of("f some/file")]]);
    let tree = chain.last();
    let error = emit::write_tree(tree, &Empty, &mut Vec::new()).unwrap_err();
    let expected = "`some/file` changed while it was read: it was 9 bytes long";
    assert_eq!(error.to_string(), expected);
    let contents = TreeContents {
        tree,
        bytes: &corten_layer::bytes::MemoryLayers::default(),
    };
    let error = emit::write_tree(tree, &contents, &mut Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "cannot read the content of `some/file`");
}

#[test]
fn overlays_hold_no_device_of_theirs() {
    let tree = resolve(&[&["d d", "c d/null"]]).unwrap();
    let changes = diff(&Tree::new(), &tree, &|_: &File, _: &File| Ok(true)).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let root = corten_layer::beneath::Root::open(scratch.path()).unwrap();
    let written =
        corten_layer::directory::write_overlay(&Tree::new(), &changes, &Empty, &root, &OPTIONS);
    let expected =
        "`d/null` cannot be put into a layer: overlayfs would take the device 0:0 for a deletion";
    assert_eq!(written.unwrap_err().to_string(), expected);
}
