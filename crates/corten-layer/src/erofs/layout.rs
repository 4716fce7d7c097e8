//! Where everything in an index goes, decided before anything is written.

use std::collections::HashMap;

use corten_spec::{Algorithm, DiffId, Hasher};

use crate::erofs::format::{BLOCK, INODE, Slot, blocks_of, inode_number, inodes_at};
use crate::erofs::sparse::{Budget, Chunk, chunks, len_of};
use crate::erofs::{Device, VERSION, directory, xattrs};
use crate::{Data, Error, File, Kind, NodeId, Result, Shown, Tree};

/// Where everything goes.
#[derive(Debug)]
pub(super) struct Layout<'a> {
    pub(super) tree: &'a Tree,
    pub(super) devices: Devices<'a>,
    /// In the order in which they are written.
    pub(super) inodes: Vec<Placed>,
    /// For each node of the tree, the place in `inodes`.
    places: Vec<u32>,
    /// The bytes that inodes take.
    inodes_len: u64,
    /// The blocks behind the inodes.
    n_blocks: u64,
    /// What sparse files may yet have.
    chunks: Budget,
    pub(super) refused: Refused<'a>,
}

/// Attributes that are left out: the first with the nodes that have them, and how many there are.
#[derive(Debug, Default)]
pub(super) struct Refused<'a> {
    first: Vec<(NodeId, &'a [u8])>,
    pub(super) count: u64,
}

/// An inode and its place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Placed {
    pub(super) node: NodeId,
    pub(super) parent: NodeId,
    /// Where it begins, in bytes behind the first one.
    pub(super) offset: u64,
    pub(super) content: Place,
}

/// Where the content of an inode goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// There is none.
    Nowhere,
    /// Behind the inode.
    Inline,
    /// Into the image, from this block behind the inodes on.
    Blocks(u64),
    /// It is where it is: at a block of a device, by its number in [`Devices`].
    Device(usize, u64),
    /// Into chunks of that size; what is mixed goes from this block behind the inodes on.
    Chunks(u8, u64),
}

/// The tars that may be pointed into.
#[derive(Debug)]
pub(super) struct Devices<'a> {
    all: &'a [Device],
    /// For each layer of the tree its device.
    of_layers: Vec<Option<usize>>,
    /// For each device whether anything is in it, and once the layout is made its number on disk.
    used: Vec<Option<u16>>,
}

/// How many refused attributes are told: a layer may have millions.
const TOLD: usize = 100;

/// The first block of 32 bits that cannot be addressed.
const MAX_BLOCKS: u64 = u32::MAX as u64;

/// Decides where everything goes.
pub(super) fn plan<'a>(tree: &'a Tree, devices: &'a [Device]) -> Result<Layout<'a>> {
    let mut layout = Layout {
        tree,
        devices: Devices::new(tree, devices),
        inodes: Vec::new(),
        places: vec![u32::MAX; tree.nodes.len()],
        inodes_len: 0,
        n_blocks: 0,
        chunks: Budget::default(),
        refused: Refused::default(),
    };
    let mut stack = vec![(Tree::ROOT, Tree::ROOT)];
    while let Some((node, parent)) = stack.pop() {
        if layout.places[node.0 as usize] != u32::MAX {
            continue;
        }
        layout.place(node, parent)?;
        let first = stack.len();
        stack.extend(tree.children(node).map(|(_, child)| (child, node)));
        // The first name comes first.
        stack[first..].reverse();
    }
    layout.devices.number()?;
    layout.check_size()?;
    Ok(layout)
}

impl<'a> Layout<'a> {
    fn place(&mut self, node: NodeId, parent: NodeId) -> Result<()> {
        let Self { tree, .. } = *self;
        let unfit = |reason| Error::Unindexable {
            path: path_of(tree, node),
            reason,
        };
        let (kind, meta) = (&tree.node(node).kind, &tree.node(node).meta);
        let refused = &mut self.refused;
        let attributes = xattrs::encode(meta, kind, &mut |name| refused.add(node, name));
        let head = INODE + attributes.map_err(unfit)?.len() as u64;
        let mut tail = 0;
        let content = match kind {
            Kind::File(file) => self.place_file(file).map_err(unfit)?,
            Kind::Directory(_) => {
                let entries = directory::entries(tree, node, parent);
                if entries.iter().any(|(name, _)| name.len() > 255) {
                    return Err(unfit("a name in it is over 255 bytes long"));
                }
                tail = directory::size(&entries);
                Place::Inline
            }
            Kind::Symlink(target) => {
                tail = target.len() as u64;
                if tail == 0 || tail >= 4096 {
                    return Err(unfit("a link's target has 1 to 4,095 bytes"));
                }
                Place::Inline
            }
            Kind::Device {
                block: false,
                major: 0,
                minor: 0,
            } => return Err(unfit("overlayfs would take the device 0:0 for a deletion")),
            Kind::Device { .. } | Kind::Fifo => Place::Nowhere,
        };
        let content = match content {
            Place::Inline if head + tail > BLOCK => {
                Place::Blocks(self.allocate(blocks_of(std::mem::take(&mut tail))))
            }
            Place::Inline => {
                // What is inline may not cross the end of a block.
                if self.inodes_len % BLOCK + head + tail > BLOCK {
                    self.inodes_len = self.inodes_len.next_multiple_of(BLOCK);
                }
                Place::Inline
            }
            Place::Chunks(bits, _) => {
                let Kind::File(file) = kind else {
                    return Err(unfit("it has chunks and is no file"));
                };
                tail = head.next_multiple_of(8) - head + file.size.div_ceil(len_of(bits)) * 8;
                content
            }
            Place::Nowhere | Place::Blocks(_) | Place::Device(..) => content,
        };
        self.places[node.0 as usize] = u32::try_from(self.inodes.len()).unwrap_or(u32::MAX);
        self.inodes.push(Placed {
            node,
            parent,
            offset: self.inodes_len,
            content,
        });
        // An inode may not cross the end of a block either.
        self.inodes_len = (self.inodes_len + head + tail).next_multiple_of(INODE);
        Ok(())
    }

    fn place_file(&mut self, file: &File) -> std::result::Result<Place, &'static str> {
        if let Data::External(_) = file.data {
            return Err("its content is in no layer");
        }
        if file.size == 0 {
            return Ok(Place::Nowhere);
        }
        let Some(segments) = &file.sparse else {
            return Ok(match self.devices.point_at(file, 0, file.size) {
                Some((device, block)) => {
                    self.devices.used[device] = Some(0);
                    Place::Device(device, block)
                }
                None => Place::Blocks(self.allocate(blocks_of(file.size))),
            });
        };
        let bits = self.chunks.chunk_bits(file.size, segments);
        let bits = bits.ok_or("it is too long")?;
        let first = self.n_blocks;
        for (chunk, _) in chunks(file.size, segments, bits) {
            match chunk {
                Chunk::Hole => {}
                Chunk::Data { stored_at, len }
                    if let Some((device, _)) = self.devices.point_at(file, stored_at, len) =>
                {
                    self.devices.used[device] = Some(0);
                }
                Chunk::Data { .. } | Chunk::Mixed => {
                    self.allocate(len_of(bits) / BLOCK);
                }
            }
        }
        Ok(Place::Chunks(bits, first))
    }

    fn allocate(&mut self, n_blocks: u64) -> u64 {
        let first = self.n_blocks;
        self.n_blocks = first.saturating_add(n_blocks);
        first
    }

    fn check_size(&self) -> Result<()> {
        let devices = self.devices.table().map(|(device, _)| device.size / BLOCK);
        let all = devices.fold(
            self.first_block().saturating_add(self.n_blocks),
            u64::saturating_add,
        );
        if all >= MAX_BLOCKS {
            return Err(Error::IndexLimit {
                what: "blocks of 512 bytes",
                maximum: MAX_BLOCKS - 1,
            });
        }
        Ok(())
    }

    /// Returns the number on disk of a node.
    pub(super) fn number(&self, node: NodeId) -> u64 {
        let place = self.places[node.0 as usize] as usize;
        inode_number(self.inodes[place].offset)
    }

    /// Returns the first byte of the inodes.
    pub(super) fn inodes_at(&self) -> u64 {
        inodes_at(self.devices.table().count())
    }

    /// Returns the first of the blocks behind the inodes.
    pub(super) fn first_block(&self) -> u64 {
        blocks_of(self.inodes_at() + self.inodes_len)
    }

    /// Returns how many blocks there are in all.
    pub(super) fn n_blocks(&self) -> u64 {
        self.first_block() + self.n_blocks
    }

    /// Returns the device table, with the addresses that all devices share.
    pub(super) fn slots(&self) -> Vec<Slot<'a>> {
        let mut address = address(self.n_blocks());
        let mut slots = Vec::new();
        for (device, _) in self.devices.table() {
            let blocks = self::address(device.size / BLOCK);
            slots.push(Slot {
                tag: super::tag(&device.diff_id),
                blocks,
                address,
            });
            address = address.saturating_add(blocks);
        }
        slots
    }

    /// Returns what tells this index from all others: the digest of what it is made from.
    pub(super) fn uuid(&self) -> [u8; 16] {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(&VERSION.to_le_bytes());
        for layer in &self.tree.layers {
            hasher.update(layer.0.as_str().as_bytes());
            hasher.update(b"\n");
        }
        for (device, _) in self.devices.table() {
            hasher.update(format!("{} {}\n", device.diff_id.0, device.size).as_bytes());
        }
        let digest = hasher.finish();
        let mut uuid = [0; 16];
        for (byte, digits) in uuid.iter_mut().zip(digest.encoded().as_bytes().chunks(2)) {
            let digits = str::from_utf8(digits).unwrap_or_default();
            *byte = u8::from_str_radix(digits, 16).unwrap_or_default();
        }
        uuid
    }
}

impl<'a> Refused<'a> {
    fn add(&mut self, node: NodeId, name: &'a [u8]) {
        self.count += 1;
        if self.first.len() < TOLD {
            self.first.push((node, name));
        }
    }

    /// Returns the first as path and name. The paths are found in one walk, since each walk of its own
    /// would take as long as the tree is large.
    pub(super) fn shown(&self, tree: &Tree) -> Vec<Shown> {
        let mut paths: HashMap<NodeId, Option<Vec<u8>>> =
            self.first.iter().map(|&(node, _)| (node, None)).collect();
        paths.insert(Tree::ROOT, Some(Vec::new()));
        let mut n_left = paths.len() - 1;
        let mut walk = tree.walk();
        while n_left > 0
            && let Some((path, node)) = walk.next()
        {
            if let Some(first @ None) = paths.get_mut(&node) {
                *first = Some(path);
                n_left -= 1;
            }
        }
        let shown = self.first.iter().map(|&(node, name)| {
            let path = paths.get(&node).and_then(Option::as_deref);
            [path.unwrap_or_default(), b" ", name]
                .concat()
                .as_slice()
                .into()
        });
        shown.collect()
    }
}

impl<'a> Devices<'a> {
    fn new(tree: &Tree, all: &'a [Device]) -> Self {
        let numbers: HashMap<&DiffId, usize> = all
            .iter()
            .enumerate()
            .map(|(number, device)| (&device.diff_id, number))
            .collect();
        Self {
            all,
            of_layers: tree
                .layers
                .iter()
                .map(|layer| numbers.get(layer).copied())
                .collect(),
            used: vec![None; all.len()],
        }
    }

    /// Returns the device and the block of `len` of the stored bytes of `file` from `from` on; `None`
    /// if they are in no device, or not in whole blocks.
    pub(super) fn point_at(&self, file: &File, from: u64, len: u64) -> Option<(usize, u64)> {
        let Data::Layer { layer, offset } = file.data else {
            return None;
        };
        let number = (*self
            .of_layers
            .get(usize::try_from(layer).ok()?.checked_sub(1)?)?)?;
        let start = offset.checked_add(from)?;
        let end = start.checked_add(len)?.checked_next_multiple_of(BLOCK)?;
        let is_there = start.is_multiple_of(BLOCK) && end <= self.all.get(number)?.size;
        is_there.then_some((number, start / BLOCK))
    }

    /// Gives numbers to the devices that are used.
    fn number(&mut self) -> Result<()> {
        let limit = Error::IndexLimit {
            what: "layers with files",
            maximum: u16::MAX.into(),
        };
        for (number, used) in self.used.iter_mut().flatten().enumerate() {
            // 0 is the image itself.
            match u16::try_from(number + 1) {
                Ok(number) => *used = number,
                Err(_) => return Err(limit),
            }
        }
        Ok(())
    }

    /// Returns the number on disk of a device.
    pub(super) fn number_of(&self, device: usize) -> u16 {
        self.used[device].unwrap_or_default()
    }

    /// Returns the devices that are used, with their numbers on disk.
    pub(super) fn table(&self) -> impl Iterator<Item = (&'a Device, u16)> {
        self.all
            .iter()
            .zip(&self.used)
            .filter_map(|(device, used)| Some((device, (*used)?)))
    }
}

/// Returns a block number in its 32 bits; that all of them fit was checked.
pub(super) fn address(block: u64) -> u32 {
    u32::try_from(block).unwrap_or(u32::MAX)
}

/// Returns the first path of a node, for messages.
pub(super) fn path_of(tree: &Tree, node: NodeId) -> Shown {
    let path = tree.walk().find(|(_, found)| *found == node);
    path.map_or_else(Vec::new, |(path, _)| path)
        .as_slice()
        .into()
}
