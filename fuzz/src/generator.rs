//! Layers out of the fuzzer's bytes: a few names, so that most entries meet others.
//!
//! A target that wants layers asks for [`layers`], makes a [`Chain`] of them, and has trees with contents.

use arbitrary::{Result, Unstructured};
use corten_layer::bytes::{MemoryLayers, TreeContents};
use corten_layer::{Contents, File, Resolver, Tree};
use corten_spec::{DiffId, Digest};
use corten_tar::{Entry, EntryKind, Located, Segment, Timestamp};

/// A layer: its entries, and the bytes that their offsets are in.
#[derive(Debug, Default)]
pub(crate) struct Layer {
    pub(crate) entries: Vec<Located>,
    pub(crate) bytes: Vec<u8>,
}

/// Trees, each one layer more than the one before; the first is empty.
#[derive(Debug)]
pub(crate) struct Chain {
    pub(crate) trees: Vec<Tree>,
    pub(crate) bytes: MemoryLayers,
}

const KINDS: [EntryKind; 12] = [
    EntryKind::File,
    EntryKind::File,
    EntryKind::File,
    EntryKind::Directory,
    EntryKind::Directory,
    EntryKind::Symlink,
    EntryKind::Symlink,
    EntryKind::HardLink,
    EntryKind::HardLink,
    EntryKind::Fifo,
    EntryKind::CharDevice,
    EntryKind::BlockDevice,
];

const NAMES: [&[u8]; 12] = [
    b"a",
    b"b",
    b"c",
    b"a",
    b"b",
    b"d",
    b"..",
    b".",
    b"",
    b"\xff\n\\",
    b".wh..wh..opq",
    b".wh..wh.plnk",
];

/// Returns up to four layers of up to twelve entries.
pub(crate) fn layers(data: &[u8]) -> Result<Vec<Layer>> {
    let mut input = Unstructured::new(data);
    let mut layers = vec![Layer::default()];
    while !input.is_empty() && layers.len() <= 4 {
        let layer = layers.last_mut().expect("there is a first");
        if layer.entries.len() == 12 || input.ratio(1_u8, 8_u8)? {
            layers.push(Layer::default());
            continue;
        }
        let located = entry(&mut input, &mut layer.bytes)?;
        layer.entries.push(located);
    }
    Ok(layers)
}

fn entry(input: &mut Unstructured<'_>, bytes: &mut Vec<u8>) -> Result<Located> {
    let kind = *input.choose(&KINDS)?;
    let mut entry = Entry::new(kind, path(input)?);
    if matches!(kind, EntryKind::HardLink | EntryKind::Symlink) {
        entry.link = path(input)?;
        if input.ratio(1_u8, 4_u8)? {
            entry.link.insert(0, b'/');
        }
    }
    if input.ratio(1_u8, 2_u8)? {
        entry.mode = u32::from(input.arbitrary::<u16>()?) & 0o7777;
        entry.uid = *input.choose(&[0, 0, 1000, 3_000_000, u32::MAX - 1])?;
        entry.gid = *input.choose(&[0, 0, 1000, u32::MAX - 1])?;
        entry.mtime = Timestamp {
            // What ext4 can keep: other file systems keep more.
            seconds: i64::from(input.arbitrary::<i32>()?),
            nanoseconds: *input.choose(&[0, 1, 500_000_000, 999_999_999])?,
        };
        entry.xattrs = xattrs(kind, input.arbitrary()?);
    }
    if matches!(kind, EntryKind::CharDevice | EntryKind::BlockDevice) {
        // Numbers of no device that there is, and never overlay's whiteout, 0:0.
        entry.device = (240 + u32::from(input.arbitrary::<u8>()? % 10), 70_000);
    }
    let offset = bytes.len() as u64;
    if kind == EntryKind::File {
        content(input, &mut entry, bytes)?;
    }
    Ok(Located {
        entry,
        offset,
        stored_size: bytes.len() as u64 - offset,
    })
}

fn content(input: &mut Unstructured<'_>, entry: &mut Entry, bytes: &mut Vec<u8>) -> Result<()> {
    let length = *input.choose(&[0_u64, 1, 300, 4096, 5000])?;
    let byte = input.arbitrary::<u8>()?;
    entry.size = length;
    bytes.extend((0..length).map(|at| byte ^ (at >> 9).to_le_bytes()[0]));
    if length > 2 && input.ratio(1_u8, 4_u8)? {
        let hole = u64::from(input.arbitrary::<u16>()?);
        let first = u64::from(input.arbitrary::<u8>()?);
        let segments = [
            Segment {
                offset: first,
                length: 2,
            },
            Segment {
                offset: first + 2 + hole,
                length: length - 2,
            },
        ];
        entry.size = segments[1].offset + segments[1].length + hole % 5000;
        entry.sparse = Some(segments.to_vec());
    }
    Ok(())
}

fn path(input: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let mut names: Vec<Vec<u8>> = Vec::new();
    for _ in 0..=input.int_in_range(0_u8..=3)? {
        let name = match input.int_in_range(0_u8..=15)? {
            // Names of the fuzzer's own: a NUL ends a name in every archive.
            0 => input
                .arbitrary::<[u8; 3]>()?
                .map(|byte| byte.max(1))
                .to_vec(),
            1 | 2 => [b".wh.", *input.choose(&NAMES)?].concat(),
            3 => vec![b'n'; 120],
            number => NAMES[usize::from(number) % NAMES.len()].to_vec(),
        };
        names.push(name);
    }
    Ok(names.join(&b'/'))
}

fn xattrs(kind: EntryKind, which: u8) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut xattrs = Vec::new();
    if which & 1 != 0 {
        xattrs.push((b"trusted.t".to_vec(), b"\0=\n".to_vec()));
    }
    if which & 2 != 0 && matches!(kind, EntryKind::File | EntryKind::Directory) {
        xattrs.push((b"user.k".to_vec(), vec![b'v'; usize::from(which)]));
    }
    xattrs
}

impl Chain {
    /// Applies layers one after the other; an entry that is refused is left out of its layer.
    pub(crate) fn new(layers: Vec<Layer>) -> Self {
        let mut chain = Self {
            trees: vec![Tree::new()],
            bytes: MemoryLayers::default(),
        };
        for (number, layer) in layers.into_iter().enumerate() {
            let Layer { mut entries, bytes } = layer;
            // Layers are told apart by their digests: equal ones are one.
            let id = DiffId(Digest::sha256(format!("layer {number}").as_bytes()));
            let tree = loop {
                let mut resolver = Resolver::new(chain.last().clone(), id.clone());
                let refused = entries
                    .iter()
                    .position(|entry| resolver.apply(entry).is_err());
                match refused {
                    None => break resolver.finish().0,
                    Some(refused) => drop(entries.remove(refused)),
                }
            };
            chain.bytes.0.insert(id, bytes);
            chain.trees.push(tree);
        }
        chain
    }

    /// Returns the tree of all layers.
    pub(crate) fn last(&self) -> &Tree {
        self.trees
            .last()
            .expect("the first is there from the start")
    }

    /// Returns the contents of the files of `tree`.
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
            let (left, right) = (self.contents(left), self.contents(right));
            let mut old = left.open(old).expect("it is in memory");
            let mut new = right.open(new).expect("it is in memory");
            Ok(corten_layer::diff::same_bytes(&mut *old, &mut *new).expect("it is in memory"))
        }
    }
}
