//! Layers and trees in a few words.
//!
//! An entry is `KIND PATH [-> TARGET] [mode=0700] [owner=1:2] [mtime=5]`, where the kind is `f`ile,
//! `d`irectory, symbolic `l`ink, `h`ard link, `c`haracter device, `p`ipe. In a tree a file also
//! shows the layer that its bytes come from, `@1`, and a second name shows the first, `= a`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use corten_layer::{Data, Kind, NodeId, Report, Result, Tree};
use corten_spec::{DiffId, Digest};
use corten_tar::{Entry, EntryKind, Located, Timestamp};

pub(crate) fn entry(text: &str) -> Located {
    let mut words = text.split_whitespace();
    let kind = match words.next().unwrap() {
        "f" => EntryKind::File,
        "d" => EntryKind::Directory,
        "l" => EntryKind::Symlink,
        "h" => EntryKind::HardLink,
        "c" => EntryKind::CharDevice,
        "p" => EntryKind::Fifo,
        other => panic!("no such kind: {other}"),
    };
    let mut entry = Entry::new(kind, words.next().unwrap());
    while let Some(word) = words.next() {
        match word.split_once('=') {
            None if word == "->" => entry.link = words.next().unwrap_or_default().into(),
            Some(("mode", mode)) => entry.mode = u32::from_str_radix(mode, 8).unwrap(),
            Some(("mtime", seconds)) => {
                entry.mtime = Timestamp::from_seconds(seconds.parse().unwrap());
            }
            Some(("owner", owner)) => {
                let (uid, gid) = owner.split_once(':').unwrap();
                (entry.uid, entry.gid) = (uid.parse().unwrap(), gid.parse().unwrap());
            }
            Some(("xattr", name)) => entry.xattrs.push((name.into(), b"v".to_vec())),
            _ => panic!("no such word: {word}"),
        }
    }
    Located {
        entry,
        offset: 512,
        stored_size: 0,
    }
}

pub(crate) fn diff_id(number: usize) -> DiffId {
    DiffId(Digest::sha256(format!("layer {number}").as_bytes()))
}

pub(crate) fn apply(tree: Tree, number: usize, layer: &[&str]) -> Result<(Tree, Report)> {
    let entries: Vec<Located> = layer.iter().map(|text| entry(text)).collect();
    tree.apply(&diff_id(number), &entries)
}

pub(crate) fn resolve(layers: &[&[&str]]) -> Result<Tree> {
    layers
        .iter()
        .enumerate()
        .try_fold(Tree::new(), |tree, (number, layer)| {
            Ok(apply(tree, number, layer)?.0)
        })
}

/// Returns the paths of `tree`, one a line; what is usual (0755 or 0644, root's, 1970) is left out.
pub(crate) fn show(tree: &Tree) -> Vec<String> {
    let mut first_names: BTreeMap<NodeId, String> = BTreeMap::new();
    let mut lines = Vec::new();
    for (path, id) in [(b".".to_vec(), Tree::ROOT)].into_iter().chain(tree.walk()) {
        let path = String::from_utf8(path).unwrap();
        let node = tree.node(id);
        let mut line = match &node.kind {
            Kind::File(file) => match file.data {
                Data::Layer { layer, .. } => format!("f {path} @{layer}"),
                Data::External(_) => format!("f {path}"),
            },
            Kind::Directory(_) => format!("d {path}"),
            Kind::Symlink(target) => format!("l {path} -> {}", String::from_utf8_lossy(target)),
            Kind::Device { .. } => format!("c {path}"),
            Kind::Fifo => format!("p {path}"),
        };
        let usual = if matches!(node.kind, Kind::Directory(_)) {
            0o755
        } else {
            0o644
        };
        if node.meta.mode != usual {
            write!(line, " mode={:o}", node.meta.mode).unwrap();
        }
        if (node.meta.uid, node.meta.gid) != (0, 0) {
            write!(line, " owner={}:{}", node.meta.uid, node.meta.gid).unwrap();
        }
        if node.meta.mtime != Timestamp::default() {
            write!(line, " mtime={}", node.meta.mtime.seconds).unwrap();
        }
        for (name, _) in node.meta.xattrs() {
            write!(line, " xattr={}", String::from_utf8_lossy(name)).unwrap();
        }
        if let Some(first) = first_names.get(&id) {
            write!(line, " = {first}").unwrap();
        }
        first_names.entry(id).or_insert(path);
        if line != "d ." {
            lines.push(line);
        }
    }
    lines
}
