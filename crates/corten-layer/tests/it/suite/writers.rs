//! Every way in which a chain of layers is written, and what is then found.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::process::Command;

use corten_layer::beneath::Root;
use corten_layer::diff::diff;
use corten_layer::directory::write_tree;
use corten_layer::erofs::write_index;
use corten_layer::{Tree, emit};
use corten_tar::Timestamp;

use crate::host::OPTIONS;
use crate::overlay::{Attributes, Directories};
use crate::owners::{NOBODY, RECORD, as_nobody};
use crate::random::{Chain, diff_id, read};
use crate::section11;
use crate::snapshot::{Snapshot, of_directory, of_directory_as, of_tree};

/// Writes the chain and returns what is found, or why it cannot be written.
pub(super) type Write = fn(&Chain) -> Result<Snapshot, String>;

/// A writer of trees.
pub(super) struct Writer {
    pub(super) name: &'static str,
    pub(super) write: Write,
    /// Whether it holds what file systems refuse, too.
    pub(super) holds_all: bool,
}

const fn writer(name: &'static str, write: Write, holds_all: bool) -> Writer {
    Writer {
        name,
        write,
        holds_all,
    }
}

/// All of them; a new one is a line.
pub(super) const WRITERS: &[Writer] = &[
    writer("tree", tree, true),
    writer("directory", directory, false),
    writer("rootless directory", rootless, true),
    writer(
        "overlay",
        |chain| overlay(chain, Attributes::Trusted),
        false,
    ),
    writer(
        "overlay userxattr",
        |chain| overlay(chain, Attributes::User),
        false,
    ),
    writer("EROFS", erofs, false),
    writer("tar", tar, true),
    writer("GNU tar", gnu_tar, false),
    writer("layers written again", layers, true),
];

#[expect(clippy::unnecessary_wraps, reason = "it has the type of the others")]
fn tree(chain: &Chain) -> Result<Snapshot, String> {
    let tree = chain.last();
    Ok(of_tree(tree, &chain.contents(tree)))
}

fn directory(chain: &Chain) -> Result<Snapshot, String> {
    let tree = chain.last();
    let scratch = tempfile::tempdir().unwrap();
    let root = Root::open(scratch.path()).unwrap();
    write_tree(tree, &chain.contents(tree), &root, &OPTIONS).map_err(|error| error.to_string())?;
    Ok(of_directory(scratch.path()))
}

fn rootless(chain: &Chain) -> Result<Snapshot, String> {
    let tree = chain.last();
    let scratch = tempfile::tempdir().unwrap();
    chown(scratch.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let written = as_nobody(|| {
        let root = Root::open(scratch.path()).unwrap();
        write_tree(tree, &chain.contents(tree), &root, &RECORD)
    });
    let recorded = written.map_err(|error| error.to_string())?.recorded;
    Ok(of_directory_as(scratch.path(), &|path, found| {
        recorded.restore(path, found);
    }))
}

fn overlay(chain: &Chain, attributes: Attributes) -> Result<Snapshot, String> {
    let directories = Directories::write(chain).map_err(|error| error.to_string())?;
    let mounted = directories.mount(attributes, None);
    Ok(of_directory(&mounted.path))
}

fn erofs(chain: &Chain) -> Result<Snapshot, String> {
    let devices = crate::erofs::devices(&chain.bytes);
    let tree = chain.last();
    write_index(
        tree,
        &devices,
        &chain.bytes,
        std::io::Cursor::new(Vec::new()),
    )
    .map_err(|error| error.to_string())?;
    let mounted = crate::erofs::mount(tree, &chain.bytes, &devices);
    Ok(of_directory(&mounted.path))
}

/// Returns the tree as one tar.
fn flat(chain: &Chain) -> Vec<u8> {
    let tree = chain.last();
    let mut tar = Vec::new();
    let written = emit::write_tree(tree, &chain.contents(tree), &mut tar).unwrap();
    section11::check(&Tree::new(), &written);
    tar
}

#[expect(clippy::unnecessary_wraps, reason = "it has the type of the others")]
fn tar(chain: &Chain) -> Result<Snapshot, String> {
    let tar = flat(chain);
    let id = diff_id(&tar);
    let (tree, report) = Tree::new().apply(&id, &read(&tar)).unwrap();
    assert_eq!(report.findings, [], "our own tar");
    let mut again = Chain::default();
    again.bytes.0.insert(id, tar);
    Ok(of_tree(&tree, &again.contents(&tree)))
}

fn gnu_tar(chain: &Chain) -> Result<Snapshot, String> {
    let scratch = tempfile::tempdir().unwrap();
    let (archive, root) = (scratch.path().join("tar"), scratch.path().join("root"));
    fs::create_dir(&root).unwrap();
    fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(&archive, flat(chain)).unwrap();
    let output = Command::new("tar")
        .args(["--numeric-owner", "--xattrs", "--xattrs-include=*", "-xpf"])
        .arg(&archive)
        .arg("-C")
        .arg(&root)
        .output()
        .unwrap();
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let meta = &chain.last().node(Tree::ROOT).meta;
    if *meta == Tree::new().node(Tree::ROOT).meta {
        // The tar says nothing about the root then.
        assert_eq!(meta.mtime, Timestamp::default());
        let epoch = std::time::SystemTime::UNIX_EPOCH;
        fs::File::open(&root).unwrap().set_modified(epoch).unwrap();
    }
    Ok(of_directory(&root))
}

/// Writes each layer anew, from the trees below and above it, and applies what was written; twice
/// the same bytes come out (rules 82 and 98).
#[expect(clippy::unnecessary_wraps, reason = "it has the type of the others")]
fn layers(chain: &Chain) -> Result<Snapshot, String> {
    let mut again = Chain {
        trees: vec![Tree::new()],
        ..Chain::default()
    };
    for pair in chain.trees.windows(2) {
        let (below, tree) = (&pair[0], &pair[1]);
        let write = || {
            let changes = diff(below, tree, &chain.same(below, tree)).unwrap();
            let mut tar = Vec::new();
            emit::write_changeset(below, &changes, &chain.contents(tree), &mut tar).unwrap();
            tar
        };
        let tar = write();
        assert_eq!(tar, write(), "the same bytes");
        let entries = read(&tar);
        section11::check(below, &entries);
        let id = diff_id(&tar);
        let (applied, report) = again.last().clone().apply(&id, &entries).unwrap();
        assert_eq!(report.findings, [], "our own layer");
        again.bytes.0.insert(id, tar);
        again.trees.push(applied);
    }
    Ok(of_tree(again.last(), &again.contents(again.last())))
}
