//! The members of a tar by name, for reading them in any order.
//!
//! Names from the archive are only ever looked up here; none becomes a path on disk.

use std::cell::Cell;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use corten_tar::{Entry, EntryKind, Error, Expand, Limits, Located, Reader, Result, Segment};

/// How many links a name may lead through.
const MAX_LINKS: usize = 16;
/// Bytes of all names, link targets and maps of sparse files together: what the table of members
/// takes in memory.
const MAX_NAMES: u64 = 64 << 20;

/// A tar in a file, and what is where in it.
#[derive(Debug)]
pub(crate) struct Members {
    file: File,
    by_name: HashMap<Vec<u8>, Member>,
}

#[derive(Debug)]
enum Member {
    File {
        extent: Extent,
        repeated: bool,
    },
    /// The name of another member, already normal.
    Link(Vec<u8>),
}

/// Where the content of a member is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Where it begins in the tar, after a header of its own, so no two members share it.
    pub(crate) offset: u64,
    stored: u64,
    /// Bytes of the content, holes counted.
    pub(crate) size: u64,
    segments: Option<Vec<Segment>>,
}

impl Members {
    /// Reads all headers of the tar in `file`, which is not compressed.
    pub(crate) fn index(file: File, limits: Limits) -> Result<Self> {
        let len = file
            .metadata()
            .map_err(|source| Error::Read { offset: 0, source })?
            .len();
        let skipped = Cell::new((0, 0));
        let walk = Walk {
            range: Range {
                file: &file,
                position: 0,
                end: len,
            },
            skipped: &skipped,
        };
        let mut reader = Reader::new(walk, limits);
        let mut by_name = HashMap::new();
        let mut n_bytes = 0;
        while let Some(located) = reader.next_entry()? {
            skipped.set((
                located.offset,
                located.offset.saturating_add(located.stored_size).min(len),
            ));
            let Some(name) = normal(&[], &located.entry.path) else {
                continue;
            };
            n_bytes += memory_of(&name, &located.entry);
            if n_bytes > MAX_NAMES {
                return Err(Error::Limit {
                    limit: "path_bytes and sparse_segments of all entries",
                    maximum: MAX_NAMES,
                });
            }
            add(&mut by_name, name, located);
        }
        Ok(Self { file, by_name })
    }

    /// Finds the content of the member `name`, through links, spelt in any way.
    pub(crate) fn find(&self, name: &str) -> Option<&Extent> {
        let name = normal(&[], name.as_bytes())?;
        let mut found = self.by_name.get(&name)?;
        for _ in 0..=MAX_LINKS {
            match found {
                Member::File { extent, .. } => return Some(extent),
                Member::Link(target) => found = self.by_name.get(target)?,
            }
        }
        None
    }

    /// Tells whether there is more than one file of the name `name`.
    pub(crate) fn is_repeated(&self, name: &str) -> bool {
        let member = self.by_name.get(name.as_bytes());
        matches!(member, Some(Member::File { repeated: true, .. }))
    }

    /// Opens the content at `extent`, from `offset` on.
    pub(crate) fn open<'a>(
        &'a self,
        extent: &'a Extent,
        offset: u64,
    ) -> io::Result<Box<dyn Read + Send + 'a>> {
        let skipped = if extent.segments.is_some() { 0 } else { offset };
        let stored = Range {
            file: &self.file,
            position: extent.offset.saturating_add(skipped),
            end: extent.offset.saturating_add(extent.stored),
        };
        let Some(segments) = &extent.segments else {
            return Ok(Box::new(stored));
        };
        let mut expanded = Expand::new(stored, segments, extent.size);
        io::copy(&mut expanded.by_ref().take(offset), &mut io::sink())?;
        Ok(Box::new(expanded))
    }
}

/// Returns about how many bytes an entry takes in the table.
fn memory_of(name: &[u8], entry: &Entry) -> u64 {
    let segments = entry.sparse.as_deref().unwrap_or_default();
    (name.len() + entry.link.len() + size_of_val(segments)) as u64
}

/// Adds a member; of several of one name the last counts, as it does when a tar is unpacked.
fn add(by_name: &mut HashMap<Vec<u8>, Member>, name: Vec<u8>, located: Located) {
    let entry = located.entry;
    let member = match entry.kind {
        EntryKind::File => Member::File {
            extent: Extent {
                offset: located.offset,
                stored: located.stored_size,
                size: entry.size,
                segments: entry.sparse,
            },
            repeated: by_name.contains_key(&name),
        },
        EntryKind::Symlink => {
            let parent = name.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
            match normal(name.get(..parent).unwrap_or_default(), &entry.link) {
                Some(target) => Member::Link(target),
                None => return,
            }
        }
        EntryKind::HardLink => match normal(&[], &entry.link) {
            Some(target) => Member::Link(target),
            None => return,
        },
        EntryKind::CharDevice | EntryKind::BlockDevice | EntryKind::Directory | EntryKind::Fifo => {
            return;
        }
    };
    by_name.insert(name, member);
}

/// Returns `path`, seen from the directory `from`, as one spelling of all that mean the same;
/// `None` if it leads out of the archive.
fn normal(from: &[u8], path: &[u8]) -> Option<Vec<u8>> {
    let from: &[u8] = if path.starts_with(b"/") { &[] } else { from };
    let mut names: Vec<&[u8]> = Vec::new();
    for name in from
        .split(|byte| *byte == b'/')
        .chain(path.split(|byte| *byte == b'/'))
    {
        match name {
            b"" | b"." => {}
            b".." => {
                names.pop()?;
            }
            name => names.push(name),
        }
    }
    Some(names.join(&b'/'))
}

/// Reads a part of a file without moving its position, which others share.
#[derive(Debug)]
pub(crate) struct Range<'a> {
    file: &'a File,
    position: u64,
    end: u64,
}

impl Read for Range<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.position)).unwrap_or(usize::MAX);
        let len = buf.len().min(left);
        let n_read = self.file.read_at(&mut buf[..len], self.position)?;
        self.position += n_read as u64;
        Ok(n_read)
    }
}

/// Reads a tar whose bodies nobody looks at: what is in `skipped` comes as any bytes, unread.
struct Walk<'a> {
    range: Range<'a>,
    skipped: &'a Cell<(u64, u64)>,
}

impl Read for Walk<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let (start, end) = self.skipped.get();
        if !(start..end).contains(&self.range.position) {
            return self.range.read(buf);
        }
        let left = usize::try_from(end - self.range.position).unwrap_or(usize::MAX);
        let len = buf.len().min(left);
        self.range.position += len as u64;
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_of_sparse_files_count() {
        let segment = Segment {
            offset: 0,
            length: 1,
        };
        let entry = Entry {
            sparse: Some(vec![segment; 1000]),
            ..Entry::new(EntryKind::File, "a")
        };
        assert_eq!(memory_of(b"a", &entry), 16_001);
    }

    #[test]
    fn spellings_of_names() {
        #[track_caller]
        fn check(from: &str, path: &str, expected: Option<&str>) {
            let found = normal(from.as_bytes(), path.as_bytes());
            let expected = expected.map(|name| name.as_bytes().to_vec());
            assert_eq!(found, expected, "{path:?} in {from:?}");
        }
        check("", "index.json", Some("index.json"));
        check("", "./blobs//sha256/./a", Some("blobs/sha256/a"));
        check("", "/index.json", Some("index.json"));
        check("a/b", "../../c.tar", Some("c.tar"));
        check("a/b", "../../../c.tar", None);
        check("a", "/c.tar", Some("c.tar"));
        check("", "..", None);
        check("", "a/../../b", None);
        check("", "./", Some(""));
    }
}
