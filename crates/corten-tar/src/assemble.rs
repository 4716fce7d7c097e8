//! What a header and the extended headers before it say together.

use crate::entry::{Entry, EntryKind, MAX_MAJOR, MAX_MINOR};
use crate::error::Problem;
use crate::header::Header;
use crate::pax::Extended;
use crate::timestamp::Timestamp;

/// Makes an entry of a header and what came before it; its size and segments are not known yet.
pub(crate) fn assemble(
    header: &Header<'_>,
    kind: EntryKind,
    mut extended: Extended,
) -> Result<Entry, Problem> {
    let path = extended.path.take().unwrap_or_else(|| header.path());
    let kind = if kind == EntryKind::File && header.directory_by_slash(&path) {
        EntryKind::Directory
    } else {
        kind
    };
    let bounded = |field, value: i128, maximum: u32| {
        let fits = u32::try_from(value).ok().filter(|value| *value <= maximum);
        fits.ok_or_else(|| Problem::OutOfRange {
            path: path.clone(),
            field,
            value,
        })
    };
    // −1 means "leave as it is" to chown, and larger values are truncated: both end as root's.
    let id = |field, extended: Option<i128>, header: i128| {
        bounded(field, extended.unwrap_or(header), u32::MAX - 1)
    };
    let uid = id("uid", extended.uid, header.uid()?)?;
    let gid = id("gid", extended.gid, header.gid()?)?;
    let seconds = header.mtime()?;
    let mtime = extended.mtime.unwrap_or(Timestamp::from_seconds(seconds));
    let (link, device) = match kind {
        EntryKind::HardLink | EntryKind::Symlink => (
            extended
                .link
                .take()
                .unwrap_or_else(|| header.link().to_vec()),
            (0, 0),
        ),
        EntryKind::CharDevice | EntryKind::BlockDevice => {
            let (major, minor) = header.device()?;
            let major = bounded("device major number", major, MAX_MAJOR)?;
            (
                Vec::new(),
                (major, bounded("device minor number", minor, MAX_MINOR)?),
            )
        }
        EntryKind::File | EntryKind::Directory | EntryKind::Fifo => (Vec::new(), (0, 0)),
    };
    let mode = header.mode()?;
    let (xattrs, records) = extended.into_attributes();
    Ok(Entry {
        path,
        link,
        kind,
        mode,
        uid,
        gid,
        mtime,
        size: 0,
        device,
        xattrs,
        records,
        sparse: None,
    })
}
