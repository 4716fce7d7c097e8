//! What a tree, or a directory of the host, amounts to: one line for each path.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Read;
use std::path::Path;

use corten_layer::beneath::{Links, Root};
use corten_layer::scan::{Descend, Found, FoundKind, Xattrs, inspect_root, scan};
use corten_layer::{Contents, Kind, Meta, Shown, Tree};
use rustix::fs::OFlags;

/// Paths, escaped, and what is there: type, attributes, content, and the first name of its inode.
pub(crate) type Snapshot = BTreeMap<String, String>;

pub(crate) fn of_tree(tree: &Tree, contents: &dyn Contents) -> Snapshot {
    let mut snapshot = Snapshot::new();
    let mut first_names = HashMap::new();
    for (path, id) in std::iter::once((Vec::new(), Tree::ROOT)).chain(tree.walk()) {
        let node = tree.node(id);
        let shown = Shown::from(path.as_slice()).to_string();
        let kind = match &node.kind {
            Kind::File(file) => content(file.size, &mut *contents.open(file).unwrap()),
            Kind::Directory(_) => "directory".into(),
            Kind::Symlink(target) => format!("-> {}", target.escape_ascii()),
            Kind::Device {
                block,
                major,
                minor,
            } => format!("device {block} {major}:{minor}"),
            Kind::Fifo => "fifo".into(),
        };
        let is_link = matches!(node.kind, Kind::Symlink(_));
        let mut line = kind + &attributes(&node.meta, is_link);
        let first = first_names.entry(id).or_insert_with(|| shown.clone());
        if *first != shown {
            line += &format!(" = {first}");
        }
        snapshot.insert(shown, line);
    }
    snapshot
}

pub(crate) fn of_directory(path: &Path) -> Snapshot {
    of_directory_as(path, &|_, _| {})
}

/// Returns what `path` holds where everything found is taken for what `restore` makes of it.
pub(crate) fn of_directory_as(path: &Path, restore: &dyn Fn(&[u8], &mut Found)) -> Snapshot {
    let root = Root::open(path).unwrap();
    let mut all = vec![(Vec::new(), inspect_root(&root, Xattrs::Read).unwrap())];
    scan(&root, b"", Xattrs::Read, &mut |path, found| {
        all.push((path.to_vec(), found));
        Ok(Descend::Into)
    })
    .unwrap();
    all.sort_by(|(left, _), (right, _)| corten_layer::path::compare(left, right));
    let mut first_names = HashMap::new();
    let mut snapshot = Snapshot::new();
    for (path, mut found) in all {
        restore(&path, &mut found);
        let shown = Shown::from(path.as_slice()).to_string();
        let is_link = matches!(found.kind, FoundKind::Symlink(_));
        let mut line = kind_found(&root, &path, &found) + &attributes(&found.meta, is_link);
        let first = first_names
            .entry(found.inode)
            .or_insert_with(|| shown.clone());
        if *first != shown {
            line += &format!(" = {first}");
        }
        snapshot.insert(shown, line);
    }
    snapshot
}

fn kind_found(root: &Root, path: &[u8], found: &Found) -> String {
    match &found.kind {
        FoundKind::File => {
            let fd = root.open_at(path, OFlags::RDONLY, Links::Refuse).unwrap();
            content(found.size, &mut fs::File::from(fd))
        }
        FoundKind::Directory => "directory".into(),
        FoundKind::Symlink(target) => format!("-> {}", target.escape_ascii()),
        FoundKind::Device {
            block,
            major,
            minor,
        } => format!("device {block} {major}:{minor}"),
        FoundKind::Fifo => "fifo".into(),
        FoundKind::Socket => "socket".into(),
    }
}

pub(crate) fn content(size: u64, reader: &mut dyn Read) -> String {
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes.len() as u64, size);
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    format!("file {size} {:016x}", hasher.finish())
}

pub(crate) fn attributes(meta: &Meta, is_link: bool) -> String {
    let mut text = String::new();
    if !is_link {
        // Linux has no modes of symbolic links.
        text += &format!(" {:04o}", meta.mode);
    }
    let (mtime, xattrs) = (meta.mtime, meta.xattrs());
    text += &format!(" {}:{} ", meta.uid, meta.gid);
    text += &format!("{}+{}ns", mtime.seconds, mtime.nanoseconds);
    for (name, value) in xattrs {
        text += &format!(" {}={}", name.escape_ascii(), value.escape_ascii());
    }
    text
}

/// Asserts that two snapshots are equal, and shows only where they differ.
#[track_caller]
pub(crate) fn assert_same(left: &Snapshot, right: &Snapshot, about: &str) {
    let mut differences = Vec::new();
    for (path, line) in left {
        if right.get(path) != Some(line) {
            differences.push(format!("- {path}: {line}"));
        }
    }
    for (path, line) in right {
        if left.get(path) != Some(line) {
            differences.push(format!("+ {path}: {line}"));
        }
    }
    assert!(
        differences.is_empty(),
        "{about}:\n{}",
        differences.join("\n")
    );
}
