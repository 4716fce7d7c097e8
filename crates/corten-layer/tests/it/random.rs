//! Random layers: real tars over a few names, so that most entries meet others.

use std::fmt;

use corten_layer::bytes::{MemoryLayers, TreeContents};
use corten_layer::{Contents, File, Resolver, Tree};
use corten_spec::{DiffId, Digest};
use corten_tar::{Entry, EntryKind, Limits, Located, Reader, Timestamp, padding, write_header};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// An entry with its content, and the segments that this is made of if the file is sparse.
#[derive(Clone)]
pub(crate) struct Piece {
    pub(crate) entry: Entry,
    pub(crate) content: Vec<u8>,
    pub(crate) sparse: bool,
    pub(crate) spelling: u8,
    /// The target as it is read, if it is one that our writer of tars would not write.
    pub(crate) link: Option<Vec<u8>>,
}

/// Where the entries are to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum For {
    /// A tree and a tar, which hold everything.
    Tars,
    /// A directory of the host, which holds what a file system can.
    Disks,
}

impl Piece {
    /// Returns an entry as `sketch` writes it; a file's content is its path.
    pub(crate) fn of(text: &str) -> Self {
        let entry = crate::sketch::entry(text).entry;
        let content = match entry.kind {
            EntryKind::File => entry.path.clone(),
            _ => Vec::new(),
        };
        Self {
            entry,
            content,
            sparse: false,
            spelling: 0,
            link: None,
        }
    }
}

impl fmt::Debug for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entry = &self.entry;
        let (path, link) = (entry.path.escape_ascii(), entry.link.escape_ascii());
        write!(f, "{:?} {path} -> {link} {:o}", entry.kind, entry.mode)?;
        write!(f, " {}:{} {:?}", entry.uid, entry.gid, entry.device)?;
        write!(f, " {}+{}", entry.mtime.seconds, entry.mtime.nanoseconds)?;
        for (name, _) in &entry.xattrs {
            write!(f, " {}", name.escape_ascii())?;
        }
        write!(f, " {} bytes, sparse: {}", self.content.len(), self.sparse)
    }
}

/// Trees, each one layer more than the one before; the first is empty.
#[derive(Debug, Default)]
pub(crate) struct Chain {
    pub(crate) trees: Vec<Tree>,
    pub(crate) bytes: MemoryLayers,
}

const NAMES: [&[u8]; 6] = [b"a", b"b", b"c", b"d", b"\xff\n\\", &[b'n'; 120]];

/// A capability set of version 2: `cap_net_raw+ep`.
const CAPABILITY: [u8; 20] = [
    1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
];

pub(crate) fn layers(target: For, maximum: usize) -> impl Strategy<Value = Vec<Vec<Piece>>> {
    vec(vec(piece(target), 1..14), 1..=maximum)
}

fn names() -> impl Strategy<Value = Vec<u8>> {
    let weighted = prop_oneof![
        6 => select(&NAMES[..4]),
        1 => select(&NAMES[..]),
    ];
    vec(weighted, 1..=4).prop_map(|names| names.join(&b'/'))
}

fn piece(target: For) -> impl Strategy<Value = Piece> {
    let kind = prop_oneof![
        6 => Just(EntryKind::File),
        4 => Just(EntryKind::Directory),
        2 => Just(EntryKind::Symlink),
        3 => Just(EntryKind::HardLink),
        1 => Just(EntryKind::Fifo),
        1 => Just(EntryKind::CharDevice),
        1 => Just(EntryKind::BlockDevice),
    ];
    let attributes = (mode(), owner(), owner(), mtime(), 0..16_u8);
    let body = (
        any::<u8>(),
        select(vec![0, 3, 700, 5000, 150_000]),
        0..10_u8,
    );
    (
        names(),
        decoration(),
        kind,
        (names(), 0..4_u8),
        attributes,
        body,
    )
        .prop_map(move |(path, decoration, kind, link, attributes, body)| {
            let mut entry = Entry::new(kind, decorate(&path, decoration));
            entry.link = match (kind, link.1) {
                (EntryKind::HardLink, _) | (EntryKind::Symlink, 0) => link.0,
                (EntryKind::Symlink, 1) => [b"/", link.0.as_slice()].concat(),
                (EntryKind::Symlink, 2) => [b"../", link.0.as_slice()].concat(),
                (EntryKind::Symlink, _) => link.0[..1].to_vec(),
                _ => Vec::new(),
            };
            (entry.mode, entry.uid, entry.gid, entry.mtime, _) = attributes;
            entry.xattrs = xattrs(target, kind, attributes.4);
            if matches!(kind, EntryKind::CharDevice | EntryKind::BlockDevice) {
                entry.device = (250 - u32::from(body.2), u32::from(body.0) << 8);
            }
            let content = match kind {
                EntryKind::File => (0..body.1)
                    .map(|at: usize| body.0 ^ (at >> 9).to_le_bytes()[0])
                    .collect(),
                _ => Vec::new(),
            };
            let sparse = body.2 == 0 && kind == EntryKind::File && content.len() > 600;
            let spelling = if target == For::Tars { decoration } else { 0 };
            Piece {
                entry,
                content,
                sparse,
                spelling,
                link: None,
            }
        })
}

/// What is done to the last name of a path, and how it is spelt.
fn decoration() -> impl Strategy<Value = u8> {
    prop_oneof![14 => Just(0), 4 => Just(1), 1 => Just(2), 2 => 3..7_u8]
}

fn decorate(path: &[u8], decoration: u8) -> Vec<u8> {
    let (directory, name) = corten_layer::path::split(path);
    let name = match decoration {
        1 => [b".wh.", name].concat(),
        2 => b".wh..wh..opq".to_vec(),
        _ => name.to_vec(),
    };
    corten_layer::path::join(directory, &name)
}

fn mode() -> impl Strategy<Value = u32> {
    prop_oneof![
        select(vec![0o644, 0o755, 0, 0o4755, 0o2711, 0o1777]),
        0..=0o7777_u32
    ]
}

fn owner() -> impl Strategy<Value = u32> {
    select(vec![0, 0, 0, 1000, 3_000_000, u32::MAX - 1])
}

fn mtime() -> impl Strategy<Value = Timestamp> {
    let seconds = prop_oneof![Just(0_i64), -2_000_000_000..0_i64, 0..8_000_000_000_i64];
    let nanoseconds = prop_oneof![Just(0_u32), 0..1_000_000_000_u32];
    (seconds, nanoseconds).prop_map(|(seconds, nanoseconds)| Timestamp {
        seconds,
        nanoseconds,
    })
}

fn xattrs(target: For, kind: EntryKind, which: u8) -> Vec<(Vec<u8>, Vec<u8>)> {
    let has_user = match kind {
        EntryKind::File | EntryKind::Directory => true,
        _ => target == For::Tars,
    };
    let has_capability = kind == EntryKind::File || target == For::Tars;
    let mut xattrs = Vec::new();
    if which == 1 && has_capability {
        xattrs.push((b"security.capability".to_vec(), CAPABILITY.to_vec()));
    }
    if matches!(which, 1 | 2) {
        xattrs.push((b"trusted.t".to_vec(), b"\0=\n".to_vec()));
    }
    if matches!(which, 2 | 3) && has_user {
        xattrs.push((b"user.k".to_vec(), vec![b'v'; 300]));
    }
    if which == 4 && target == For::Tars {
        xattrs.push((b"trusted.overlay.opaque".to_vec(), b"y".to_vec()));
    }
    xattrs
}

/// Returns a tar of `pieces`: duplicates and all, which our writer would refuse.
pub(crate) fn tar_of(pieces: &[Piece]) -> Vec<u8> {
    let mut tar = Vec::new();
    for Piece {
        entry,
        content,
        sparse,
        ..
    } in pieces
    {
        let mut entry = entry.clone();
        entry.size = content.len() as u64;
        if *sparse {
            // The first 100 bytes and the rest, each behind a hole, and a hole at the end.
            let rest = content.len() - 100;
            let map = format!("1000,100,{},{rest}", 70_000);
            sparse_header(&mut tar, &map, 70_000 + rest + 5000);
            entry.xattrs.clear();
            entry.mtime.nanoseconds = 0;
            entry.mtime.seconds = entry.mtime.seconds.max(0);
            (entry.uid, entry.gid) = (0, 0);
            entry.path = b"sparse".to_vec();
        }
        write_header(&entry, &mut tar).unwrap();
        tar.extend_from_slice(content);
        tar.resize(tar.len() + padding(content.len() as u64), 0);
    }
    tar.extend_from_slice(&corten_tar::END);
    tar
}

fn sparse_header(tar: &mut Vec<u8>, map: &str, size: usize) {
    let mut records = Vec::new();
    for (key, value) in [
        ("GNU.sparse.size", size.to_string().as_str()),
        ("GNU.sparse.map", map),
    ] {
        let rest = format!(" {key}={value}\n");
        let digits = if rest.len() + 2 > 99 { 3 } else { 2 };
        records.extend_from_slice(format!("{}{rest}", rest.len() + digits).as_bytes());
    }
    let start = tar.len();
    let mut entry = Entry::new(EntryKind::File, "pax");
    entry.size = records.len() as u64;
    write_header(&entry, tar).unwrap();
    let header = &mut tar[start..];
    header[156] = b'x';
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    tar.extend_from_slice(&records);
    tar.resize(tar.len() + padding(records.len() as u64), 0);
}

pub(crate) fn read(tar: &[u8]) -> Vec<Located> {
    let mut reader = Reader::new(tar, Limits::default());
    let mut located = Vec::new();
    while let Some(next) = reader.next_entry().unwrap() {
        located.push(next);
    }
    located
}

pub(crate) fn diff_id(tar: &[u8]) -> DiffId {
    DiffId(Digest::sha256(tar))
}

impl Chain {
    /// Applies layers one after the other; entries that are refused are left out of theirs.
    pub(crate) fn new(layers: &[Vec<Piece>]) -> Self {
        let mut chain = Self {
            trees: vec![Tree::new()],
            bytes: MemoryLayers::default(),
        };
        for (number, pieces) in layers.iter().enumerate() {
            let mut tar = tar_of(pieces);
            // Layers are told apart by their digests: equal ones are one.
            tar.extend_from_slice(&number.to_le_bytes());
            let mut entries = read(&tar);
            for (located, piece) in entries.iter_mut().zip(pieces) {
                located.entry.path = spell(&piece.entry.path, piece.spelling);
                if let Some(link) = &piece.link {
                    located.entry.link.clone_from(link);
                }
            }
            chain.push(tar, entries);
        }
        chain
    }

    fn push(&mut self, tar: Vec<u8>, mut entries: Vec<Located>) {
        let id = diff_id(&tar);
        let below = self.last().clone();
        let tree = loop {
            let mut resolver = Resolver::new(below.clone(), id.clone());
            match entries
                .iter()
                .position(|entry| resolver.apply(entry).is_err())
            {
                None => break resolver.finish().0,
                Some(refused) => drop(entries.remove(refused)),
            }
        };
        self.bytes.0.insert(id, tar);
        self.trees.push(tree);
    }

    pub(crate) fn last(&self) -> &Tree {
        self.trees.last().unwrap()
    }

    pub(crate) fn contents<'a>(&'a self, tree: &'a Tree) -> TreeContents<'a> {
        TreeContents {
            tree,
            bytes: &self.bytes,
        }
    }

    /// Compares the content of a file of `left` with that of one of `right`.
    pub(crate) fn same<'a>(
        &'a self,
        left: &'a Tree,
        right: &'a Tree,
    ) -> impl Fn(&File, &File) -> corten_layer::Result<bool> + 'a {
        move |old, new| {
            let (old_contents, new_contents) = (self.contents(left), self.contents(right));
            let mut old = old_contents.open(old).unwrap();
            let mut new = new_contents.open(new).unwrap();
            Ok(corten_layer::diff::same_bytes(&mut *old, &mut *new).unwrap())
        }
    }
}

fn spell(path: &[u8], spelling: u8) -> Vec<u8> {
    let prefix: &[u8] = match spelling {
        3 => b"./",
        4 => b"//",
        5 => b"x/../",
        6 => b"../../",
        _ => b"",
    };
    [prefix, path].concat()
}
