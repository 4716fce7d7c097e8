//! The headers of an entry, as they are written.
//!
//! The same entry gives the same bytes everywhere: USTAR if everything fits, otherwise one PAX
//! header with its keys in a fixed order, then USTAR. There are no GNU types, no base-256 numbers,
//! no sparse files, no names of users and no times of access, so that the strictest reader and the
//! laziest see the same.

use std::borrow::Cow;

use crate::entry::{Entry, EntryKind, MAX_MAJOR, MAX_MINOR};
use crate::error::{Error, Result};
use crate::header::{self, BLOCK, Block};
use crate::number::write_octal;
use crate::pax;

/// The name of the header that holds PAX records, for readers that know no such thing.
const PAX_NAME: &[u8] = b"PaxHeaders.0";
/// What our own reader takes by default, and others take at all.
const MAX_PAX: usize = 1 << 20;
const MAX_COMPONENT: usize = 255;
/// The largest number in a field of 8 bytes.
const MAX_OCTAL_7: u64 = 0o777_7777;
/// The largest number in a field of 12 bytes.
const MAX_OCTAL_11: u64 = 0o777_7777_7777;
/// Attributes that mean something else in another place: overlay's own, and labels of a policy.
const UNWRITTEN_XATTRS: [&[u8]; 2] = [b"trusted.overlay.", b"user.overlay."];
const UNWRITTEN_XATTR: &[u8] = b"security.selinux";

/// Returns the number of zeros that follow a body of `size` bytes: it ends with a block.
#[expect(clippy::cast_possible_truncation, reason = "it is less than a block")]
pub const fn padding(size: u64) -> usize {
    (size.wrapping_neg() % BLOCK as u64) as usize
}

/// Appends the header, or headers, of `entry` to `out`.
///
/// Paths and targets of hard links are written without empty and `.` components; a directory's ends
/// in a slash, and that of the root is `./`. Holes are not written: the body that follows is
/// [`Entry::size`] bytes long. Attributes of overlay file systems and `security.selinux` are left out.
///
/// # Errors
/// [`Error::Unrepresentable`] for a `..` in a name, a component over 255 bytes, a NUL in a name or
/// key, an id of 2^32 − 1, a link without a target, a size on something that has no content, a
/// device number that Linux truncates, and over 1 MiB of attributes. `out` is then as it was.
pub fn write_header(entry: &Entry, out: &mut Vec<u8>) -> Result<()> {
    let unrepresentable = |problem| Error::Unrepresentable {
        path: entry.path.clone(),
        problem,
    };
    check(entry).map_err(unrepresentable)?;
    let path = written_path(entry).map_err(unrepresentable)?;
    let link = written_link(entry).map_err(unrepresentable)?;
    let mut records = Vec::new();
    let header = ustar(entry, &path, &link, &mut records);
    write_attributes(entry, &mut records).map_err(unrepresentable)?;
    if records.len() > MAX_PAX {
        return Err(unrepresentable("its attributes are over 1 MiB"));
    }
    if !records.is_empty() {
        write_extended(&records, out);
    }
    out.extend_from_slice(&header);
    Ok(())
}

fn check(entry: &Entry) -> Result<(), &'static str> {
    if entry.uid == u32::MAX || entry.gid == u32::MAX {
        return Err("4294967295 is no user or group");
    }
    if entry.device.0 > MAX_MAJOR || entry.device.1 > MAX_MINOR {
        return Err("its device number is out of range");
    }
    if entry.mtime.nanoseconds >= 1_000_000_000 {
        return Err("its mtime has a second of nanoseconds");
    }
    if entry.size > 0 && entry.kind != EntryKind::File {
        return Err("only regular files have content");
    }
    if entry.size > i64::MAX as u64 {
        return Err("its size is out of range");
    }
    Ok(())
}

fn written_path(entry: &Entry) -> Result<Cow<'_, [u8]>, &'static str> {
    let path = canonical(&entry.path)?;
    match entry.kind {
        EntryKind::Directory if path.is_empty() => Ok(Cow::Borrowed(b"./")),
        EntryKind::Directory => {
            // The usual spelling is the one to be written: keep it.
            if entry
                .path
                .strip_suffix(b"/")
                .is_some_and(|rest| rest.len() == path.len())
            {
                return Ok(Cow::Borrowed(&entry.path));
            }
            let mut path = path.into_owned();
            path.push(b'/');
            Ok(Cow::Owned(path))
        }
        EntryKind::File
        | EntryKind::HardLink
        | EntryKind::Symlink
        | EntryKind::CharDevice
        | EntryKind::BlockDevice
        | EntryKind::Fifo => {
            if path.is_empty() {
                Err("its path is that of the root")
            } else {
                Ok(path)
            }
        }
    }
}

fn written_link(entry: &Entry) -> Result<Cow<'_, [u8]>, &'static str> {
    let link = match entry.kind {
        EntryKind::HardLink => canonical(&entry.link)?,
        EntryKind::Symlink if entry.link.contains(&0) => return Err("its target holds a NUL"),
        EntryKind::Symlink => Cow::Borrowed(&entry.link[..]),
        EntryKind::File
        | EntryKind::CharDevice
        | EntryKind::BlockDevice
        | EntryKind::Directory
        | EntryKind::Fifo => return Ok(Cow::Borrowed(b"")),
    };
    if link.is_empty() {
        Err("its target is empty")
    } else {
        Ok(link)
    }
}

/// Returns the path without empty and `.` components.
pub(crate) fn canonical(path: &[u8]) -> Result<Cow<'_, [u8]>, &'static str> {
    let mut regular = true;
    for name in path.split(|byte| *byte == b'/') {
        regular &= !matches!(name, b"" | b".");
        if name == b".." {
            return Err("its path or target holds `..`");
        }
        if name.len() > MAX_COMPONENT {
            return Err("a component of its path or target is over 255 bytes");
        }
        if name.contains(&0) {
            return Err("its path or target holds a NUL");
        }
    }
    if regular {
        return Ok(Cow::Borrowed(path));
    }
    let names = path
        .split(|byte| *byte == b'/')
        .filter(|name| !matches!(*name, b"" | b"."));
    Ok(Cow::Owned(names.collect::<Vec<_>>().join(&b'/')))
}

/// Returns the USTAR header, and adds what does not fit to `records`, in their fixed order.
fn ustar(entry: &Entry, path: &[u8], link: &[u8], records: &mut Vec<u8>) -> Block {
    let mut block = [0; BLOCK];
    if let Some((prefix, name)) = split(path) {
        put(&mut block[header::PREFIX], prefix);
        put(&mut block[header::NAME], name);
    } else {
        put(&mut block[header::NAME], path);
        pax::write_record(records, &[b"path"], path);
    }
    put(&mut block[header::LINK], link);
    if link.len() > header::LINK.len() || !link.is_ascii() {
        pax::write_record(records, &[b"linkpath"], link);
    }
    let numbers: [(_, &[u8], u64, u64); 3] = [
        (header::SIZE, b"size", entry.size, MAX_OCTAL_11),
        (header::UID, b"uid", entry.uid.into(), MAX_OCTAL_7),
        (header::GID, b"gid", entry.gid.into(), MAX_OCTAL_7),
    ];
    for (range, key, value, maximum) in numbers {
        if value > maximum {
            pax::write_record(records, &[key], value.to_string().as_bytes());
        }
        // Who reads no PAX gets the last user there is, rather than root.
        write_octal(&mut block[range], value.min(maximum));
    }
    let seconds = u64::try_from(entry.mtime.seconds)
        .ok()
        .filter(|value| *value <= MAX_OCTAL_11);
    if seconds.is_none() || entry.mtime.nanoseconds > 0 {
        let mut time = Vec::new();
        entry.mtime.write_pax(&mut time);
        pax::write_record(records, &[b"mtime"], &time);
    }
    write_octal(&mut block[header::MTIME], seconds.unwrap_or_default());
    write_octal(&mut block[header::MODE], (entry.mode & 0o7777).into());
    write_octal(&mut block[header::MAJOR], entry.device.0.into());
    write_octal(&mut block[header::MINOR], entry.device.1.into());
    finish_block(&mut block, flag(entry.kind));
    block
}

/// Appends a header and body that hold `records`.
fn write_extended(records: &[u8], out: &mut Vec<u8>) {
    let mut block = [0; BLOCK];
    put(&mut block[header::NAME], PAX_NAME);
    for (range, value) in [
        (header::MODE, 0o644),
        (header::UID, 0),
        (header::GID, 0),
        (header::SIZE, records.len() as u64),
        (header::MTIME, 0),
        (header::MAJOR, 0),
        (header::MINOR, 0),
    ] {
        write_octal(&mut block[range], value);
    }
    finish_block(&mut block, b'x');
    out.extend_from_slice(&block);
    out.extend_from_slice(records);
    out.resize(out.len() + padding(records.len() as u64), 0);
}

fn finish_block(block: &mut Block, flag: u8) {
    block[header::FLAG] = flag;
    block[header::MAGIC].copy_from_slice(b"ustar\x0000");
    let sum = header::checksum(block);
    let field = &mut block[header::CHECKSUM];
    write_octal(&mut field[..7], sum.into());
    field[7] = b' ';
}

fn write_attributes(entry: &Entry, records: &mut Vec<u8>) -> Result<(), &'static str> {
    for (name, value) in in_order(&entry.xattrs)? {
        if name.contains(&b'=') {
            return Err("an attribute's name holds a `=`");
        }
        let unwritten = UNWRITTEN_XATTRS
            .iter()
            .any(|prefix| name.starts_with(prefix));
        if !unwritten && name != UNWRITTEN_XATTR {
            pax::write_record(records, &[pax::SCHILY, name], value);
        }
    }
    for (key, value) in in_order(&entry.records)? {
        if key.contains(&b'=') || pax::is_represented(key) {
            return Err("a record has a key that is not its own");
        }
        pax::write_record(records, &[key], value);
    }
    Ok(())
}

/// A name or key, and its value.
type Pair<'a> = (&'a [u8], &'a [u8]);

/// Returns the pairs sorted by their names, which must be valid and different.
fn in_order(pairs: &[(Vec<u8>, Vec<u8>)]) -> Result<Vec<Pair<'_>>, &'static str> {
    let mut sorted: Vec<_> = pairs
        .iter()
        .map(|(name, value)| (&name[..], &value[..]))
        .collect();
    sorted.sort_unstable();
    if sorted.windows(2).any(|two| two[0].0 == two[1].0) {
        return Err("it has two attributes or records of one name");
    }
    if sorted
        .iter()
        .any(|(name, _)| name.is_empty() || name.contains(&0))
    {
        return Err("an attribute or record has no valid name");
    }
    Ok(sorted)
}

/// Splits a path into what goes into the prefix and name fields; `None` if it cannot be.
///
/// Of several places the last is taken, as GNU tar does.
fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if !path.is_ascii() {
        return None;
    }
    if path.len() <= header::NAME.len() {
        return Some((b"", path));
    }
    let end = path.len().min(header::PREFIX.len() + 1);
    // The slash at the end of a directory's path is not a place to split.
    let end = end.min(path.len() - 1);
    let slash = path[..end].iter().rposition(|byte| *byte == b'/')?;
    let (prefix, name) = (&path[..slash], &path[slash + 1..]);
    (name.len() <= header::NAME.len() && !prefix.is_empty()).then_some((prefix, name))
}

/// Copies as much of `text` as fits.
fn put(field: &mut [u8], text: &[u8]) {
    let len = text.len().min(field.len());
    field[..len].copy_from_slice(&text[..len]);
}

fn flag(kind: EntryKind) -> u8 {
    match kind {
        EntryKind::File => b'0',
        EntryKind::HardLink => b'1',
        EntryKind::Symlink => b'2',
        EntryKind::CharDevice => b'3',
        EntryKind::BlockDevice => b'4',
        EntryKind::Directory => b'5',
        EntryKind::Fifo => b'6',
    }
}
