//! Archives that ADD unpacks: a tar, compressed or not, as a tree.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Read, Seek as _, Write as _};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use corten_layer::bytes::open_file;
use corten_layer::changeset::check_names;
use corten_layer::tree::File;
use corten_layer::{LayerBytes, Tree, path};
use corten_spec::{DiffId, Digest};
use corten_tar::{Decoder, EntryKind, LayerLimits, Limits, Reader};

/// An archive, uncompressed into a file that has no name.
#[derive(Debug)]
pub(crate) struct Archive {
    pub(crate) tree: Arc<Tree>,
    /// The directories that have an entry of their own.
    directories: HashSet<Vec<u8>>,
    spool: Spool,
}

#[derive(Debug)]
struct Spool(fs::File);

/// Why an archive cannot be unpacked.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How much is looked at to tell an archive from another file: one header, unless that is only about the
/// next one.
const BLOCK: u64 = 512;

impl Archive {
    /// Returns the archive that `content` is, or `None` if it is none.
    ///
    /// As for BuildKit, what decompresses to a valid first header is an archive. Its entries are taken
    /// as those of a file system, not of a layer.
    pub(crate) fn read(
        content: Box<dyn Read + Send + '_>,
        limits: &LayerLimits,
    ) -> Result<Option<Self>, Failure> {
        let Ok(mut decoder) = Decoder::new(content, limits.decoding) else {
            return Ok(None);
        };
        let mut start = Vec::new();
        let mut read = |n_bytes, start: &mut Vec<u8>| {
            let part = decoder.by_ref().take(n_bytes);
            { part }.read_to_end(start).is_ok() && is_header(start)
        };
        let is_archive = read(BLOCK, &mut start)
            || (is_extension(&start)
                && read(limits.archive.pax_bytes.saturating_mul(2), &mut start));
        if !is_archive {
            return Ok(None);
        }
        let failed = |source| crate::Error::System {
            action: "unpack an archive into",
            path: "a temporary file".into(),
            source,
        };
        let mut spool = tempfile::tempfile().map_err(failed)?;
        spool.write_all(&start).map_err(failed)?;
        // The reader finds out what is too much of a tar, but it comes only after the disk.
        let maximum = limits.archive.total_bytes;
        let rest = maximum.saturating_sub(start.len() as u64).saturating_add(1);
        let n_copied = io::copy(&mut (&mut decoder).take(rest), &mut spool).map_err(failed)?;
        if n_copied == rest {
            return Err(Box::new(corten_tar::Error::Limit {
                limit: "total_bytes",
                maximum,
            }));
        }
        Self::of_file(spool, limits).map(Some)
    }

    /// Returns the archive that the uncompressed tar `file` is.
    ///
    /// Its entries are taken as those of a file system, not of a layer.
    pub(crate) fn of_file(mut file: fs::File, limits: &LayerLimits) -> Result<Self, Failure> {
        file.rewind()?;
        let mut reader = Reader::new(io::BufReader::with_capacity(1 << 20, &file), limits.archive);
        let mut entries = Vec::new();
        while let Some(located) = reader.next_entry()? {
            // In a layer such a name would delete another: what is a file here has no place there.
            let name = path::components(&located.entry.path).names.join(&b'/');
            check_names(&name)?;
            // Of the root there is nothing to take, whatever it pretends to be: tar and BuildKit skip it.
            if name.is_empty() && located.entry.kind != EntryKind::Directory {
                continue;
            }
            entries.push(located);
        }
        drop(reader);
        let (tree, _) = Tree::new().apply(&name(), &entries)?;
        let directories = entries
            .iter()
            .filter(|located| located.entry.kind == EntryKind::Directory)
            .map(|located| path::components(&located.entry.path).names.join(&b'/'))
            .collect();
        Ok(Self {
            tree: Arc::new(tree),
            directories,
            spool: Spool(file),
        })
    }

    /// Tells whether the directory at the canonical `path` has an entry of its own.
    pub(crate) fn has_entry(&self, path: &[u8]) -> bool {
        self.directories.contains(path)
    }

    /// Opens a file of the archive.
    pub(crate) fn open<'a>(&'a self, file: &'a File) -> io::Result<Box<dyn Read + Send + 'a>> {
        open_file(&self.tree, &self.spool, file)
    }
}

/// The one "layer" of the archive's tree; its digest is never asked for.
fn name() -> DiffId {
    DiffId(Digest::sha256(b""))
}

impl LayerBytes for Spool {
    fn read_at(&self, layer: &DiffId, offset: u64, buf: &mut [u8]) -> corten_layer::Result<()> {
        let failed = |source| corten_layer::Error::Content {
            path: layer.0.as_str().as_bytes().into(),
            source,
        };
        self.0.read_exact_at(buf, offset).map_err(failed)
    }
}

/// Tells whether `start` begins with what describes another header: PAX records of one file or of all, or
/// a long name of GNU tar. `git archive` and Python begin that way.
fn is_extension(start: &[u8]) -> bool {
    const TYPE: usize = 156;
    start.get(TYPE).is_some_and(|kind| b"xgLK".contains(kind))
}

fn is_header(start: &[u8]) -> bool {
    // An empty archive is one of zeros only, which could be any file.
    start.iter().any(|&byte| byte != 0)
        && Reader::new(start, Limits::default())
            .next_entry()
            .is_ok_and(|entry| entry.is_some())
}
