//! The structures of EROFS on disk, little-endian, as in the kernel's `fs/erofs/erofs_fs.h`.

use std::io::Read;

use corten_tar::Timestamp;

use crate::erofs::DeviceSlot;
use crate::{Error, Result};

/// The block size, and its logarithm. Data in a tar is aligned to no more.
pub(super) const BLOCK: u64 = 1 << BLOCK_BITS;
pub(super) const BLOCK_BITS: u8 = 9;

/// Where the superblock is, which also is the length of it and of each slot of the device table.
const SUPERBLOCK_AT: usize = 1024;
const SLOT: usize = 128;
/// Bytes of a slot that are free for a name.
pub(super) const TAG: usize = 64;

/// The length of the extended form of an inode, the only one that has times and 32-bit owners.
pub(super) const INODE: u64 = INODE_LEN as u64;
const INODE_LEN: usize = 64;
/// What inodes are numbered in.
const INODE_SLOT: u64 = 32;

const MAGIC: u32 = 0xE0F5_E1E2;
const CHUNKED_FILES: u32 = 0x4;
const DEVICE_TABLE: u32 = 0x8;

/// In place of the address of a chunk: there is none.
const HOLE: u32 = u32::MAX;

/// Returns how many blocks hold `len` bytes.
pub(super) fn blocks_of(len: u64) -> u64 {
    len.div_ceil(BLOCK)
}

/// Returns the first byte of the inodes, behind a table of `n_devices`.
pub(super) fn inodes_at(n_devices: usize) -> u64 {
    ((SUPERBLOCK_AT + SLOT + SLOT * n_devices) as u64).next_multiple_of(BLOCK)
}

/// Returns the number of the inode that is `offset` bytes behind the first one.
pub(super) fn inode_number(offset: u64) -> u64 {
    offset / INODE_SLOT
}

/// What the superblock says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Superblock {
    pub(super) n_inodes: u64,
    /// All blocks of the image itself.
    pub(super) blocks: u32,
    pub(super) n_devices: u16,
    pub(super) uuid: [u8; 16],
}

/// A slot of the device table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot<'a> {
    pub(super) tag: &'a [u8],
    pub(super) blocks: u32,
    /// Where the device begins in the addresses that all devices share.
    pub(super) address: u32,
}

/// Returns everything before the inodes.
pub(super) fn head(superblock: &Superblock, devices: &[Slot<'_>]) -> Vec<u8> {
    let inodes_at = inodes_at(devices.len());
    let mut head = vec![0; SUPERBLOCK_AT];
    let features = if devices.is_empty() {
        CHUNKED_FILES
    } else {
        CHUNKED_FILES | DEVICE_TABLE
    };
    head.extend(MAGIC.to_le_bytes());
    head.extend([0; 8]); // checksum, compatible features
    head.extend([BLOCK_BITS, 0]);
    head.extend(0_u16.to_le_bytes()); // the root's number
    head.extend(superblock.n_inodes.to_le_bytes());
    head.extend([0; 12]); // base time of the short form of inodes
    head.extend(superblock.blocks.to_le_bytes());
    head.extend(
        u32::try_from(inodes_at / BLOCK)
            .unwrap_or(HOLE)
            .to_le_bytes(),
    );
    head.extend([0; 4]); // shared attributes
    head.extend(superblock.uuid);
    head.extend([0; 16]); // volume name
    head.extend(features.to_le_bytes());
    head.extend([0; 2]); // compression
    head.extend(superblock.n_devices.to_le_bytes());
    let table = (SUPERBLOCK_AT + SLOT) / SLOT;
    head.extend(u16::try_from(table).unwrap_or_default().to_le_bytes());
    head.resize(head.len() + 38, 0);
    for device in devices {
        let start = head.len();
        head.extend(device.tag);
        head.resize(start + TAG, 0);
        head.extend(device.blocks.to_le_bytes());
        head.extend(device.address.to_le_bytes());
        head.resize(start + SLOT, 0);
    }
    head.resize(usize::try_from(inodes_at).unwrap_or(head.len()), 0);
    head
}

/// Reads what [`head`] wrote of devices.
pub(super) fn read_device_table(image: &mut dyn Read) -> Result<Vec<DeviceSlot>> {
    let mut head = [0; SUPERBLOCK_AT + SLOT];
    image
        .read_exact(&mut head)
        .map_err(|_| Error::DamagedIndex)?;
    let superblock = &head[SUPERBLOCK_AT..];
    if superblock[..4] != MAGIC.to_le_bytes() || superblock[12] != BLOCK_BITS {
        return Err(Error::DamagedIndex);
    }
    let n_devices = u16::from_le_bytes([superblock[86], superblock[87]]);
    let mut slots = Vec::new();
    for _ in 0..n_devices {
        let mut slot = [0; SLOT];
        image
            .read_exact(&mut slot)
            .map_err(|_| Error::DamagedIndex)?;
        let tag = slot[..TAG].split(|&byte| byte == 0).next();
        let tag = str::from_utf8(tag.unwrap_or_default()).map_err(|_| Error::DamagedIndex)?;
        slots.push(DeviceSlot {
            tag: tag.to_owned(),
            blocks: u32::from_le_bytes([slot[64], slot[65], slot[66], slot[67]]),
        });
    }
    Ok(slots)
}

/// Where the content of an inode is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// In blocks one after the other, from this address on.
    Blocks(u32),
    /// Right behind the inode and its attributes.
    Inline,
    /// In chunks of two to the power of this many blocks, which a table behind the inode tells.
    Chunks(u8),
    /// Nowhere: it is a device node with this number.
    Device(u32),
}

/// An inode.
#[derive(Debug, Clone, Copy)]
pub(super) struct Inode {
    pub(super) mode: u16,
    pub(super) n_links: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: Timestamp,
    pub(super) size: u64,
    pub(super) content: Content,
    /// The length of the attributes behind it.
    pub(super) xattrs: u64,
    /// For programs that know 32 bits.
    pub(super) number: u32,
}

impl Inode {
    pub(super) fn encode(&self) -> Vec<u8> {
        let (layout, union) = match self.content {
            Content::Blocks(address) => (0, address),
            Content::Inline => (2, 0),
            Content::Chunks(bits) => (4, u32::from(bits) | 0x20),
            Content::Device(device) => (0, device),
        };
        let format: u16 = 1 | layout << 1;
        let xattrs = match self.xattrs {
            0 => 0,
            len => (len - super::xattrs::HEADER) / 4 + 1,
        };
        let mut inode = Vec::with_capacity(INODE_LEN);
        inode.extend(format.to_le_bytes());
        inode.extend(u16::try_from(xattrs).unwrap_or(u16::MAX).to_le_bytes());
        inode.extend(self.mode.to_le_bytes());
        inode.extend([0; 2]);
        inode.extend(self.size.to_le_bytes());
        inode.extend(union.to_le_bytes());
        inode.extend(self.number.to_le_bytes());
        inode.extend(self.uid.to_le_bytes());
        inode.extend(self.gid.to_le_bytes());
        inode.extend(self.mtime.seconds.to_le_bytes());
        inode.extend(self.mtime.nanoseconds.to_le_bytes());
        inode.extend(self.n_links.to_le_bytes());
        inode.resize(INODE_LEN, 0);
        inode
    }
}

/// Returns the entry of a chunk in the table of its file: the device, 0 for the image itself, and the
/// block in it.
pub(super) fn chunk(place: Option<(u16, u32)>) -> [u8; 8] {
    let (device, block) = place.unwrap_or((0, HOLE));
    let mut entry = [0; 8];
    entry[2..4].copy_from_slice(&device.to_le_bytes());
    entry[4..].copy_from_slice(&block.to_le_bytes());
    entry
}

/// Returns the number of a device as Linux writes it in 32 bits.
pub(super) fn device_number(major: u32, minor: u32) -> u32 {
    (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
}
