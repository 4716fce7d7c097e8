//! A root file system in a tar becomes an image of one layer.
//!
//! The archive is read twice: its headers make a tree, and the tree is written again as a layer, in an
//! order and a form of our own. So the same files give the same image, whatever the order, the format
//! and the compression they came in. Memory grows with the number of files, never with their size.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use corten_content::{Store, put};
use corten_layer::bytes::TreeContents;
use corten_layer::path::WHITEOUT_PREFIX;
use corten_layer::{LayerBytes, Resolver, Tree, emit};
use corten_snapshot::snapshots::remove;
use corten_snapshot::{PackOptions, Packer, Snapshots};
use corten_spec::{
    Descriptor, DiffId, Digest, History, ImageConfig, Manifest, Platform, document, media_type,
};
use corten_tar::{Decoder, Encoding, LayerLimits, Reader, Timestamp, sniff};

use crate::{Error, Result};

/// A root file system in a tar, compressed or not.
pub enum Archive {
    /// A file. If it is a regular one that is not compressed it is read in place.
    File(File),
    /// Anything else that can be read once.
    Stream(Box<dyn Read + Send>),
}

impl std::fmt::Debug for Archive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::File(_) => "File",
            Self::Stream(_) => "Stream",
        })
    }
}

/// What an imported image says about itself, and how it is stored.
#[derive(Debug, Clone)]
pub struct ImportOptions {
    /// What the programs in it run on.
    pub platform: Platform,
    /// When the image was made; by default the newest time of any file in it, so that the same archive
    /// always gives the same image.
    pub created: Option<Timestamp>,
    /// How its layer is stored.
    pub pack: PackOptions,
    /// What the archive may ask for.
    pub limits: LayerLimits,
}

impl ImportOptions {
    /// Returns the options for an image that runs on `platform`.
    pub fn new(platform: Platform) -> Self {
        Self {
            platform,
            created: None,
            pack: PackOptions::default(),
            limits: LayerLimits::default(),
        }
    }
}

/// What the history of an imported image says.
const CREATED_BY: &str = "corten import";

/// Imports `archive` into `store` and returns the descriptor of the image's manifest, which has no name
/// yet.
///
/// # Errors
/// Fails if the archive breaks a rule of layers, or has a name that begins with `.wh.`, which would be
/// a deletion in every layer. Nothing that a name leads to is stored then.
pub fn import(store: &Store, archive: Archive, options: &ImportOptions) -> Result<Descriptor> {
    let snapshots = Snapshots::new(store).with_limits(options.limits);
    let (spool, tree) = Spool::of(&snapshots, archive)?;
    let mut packer = Packer::new(store, &options.pack)?;
    let contents = TreeContents {
        tree: &tree,
        bytes: &spool,
    };
    let entries = emit::write_tree(&tree, &contents, &mut packer)
        .map_err(|source| Error::Write { source })?;
    let layer = packer.finish()?;
    snapshots.put_entries(&layer.diff_id, &entries)?;

    let created = options.created.unwrap_or_else(|| newest(&tree));
    let config = config_of(&options.platform, created, layer.diff_id);
    let config = put(store, media_type::OCI_CONFIG, &document::to_bytes(&config))?;
    let manifest = Manifest::oci(config, vec![layer.blob]);
    let manifest = put(
        store,
        media_type::OCI_MANIFEST,
        &document::to_bytes(&manifest),
    )?;
    Ok(Descriptor {
        platform: Some(options.platform.clone()),
        ..manifest
    })
}

fn config_of(platform: &Platform, created: Timestamp, diff_id: DiffId) -> ImageConfig {
    let created = Some(rfc_3339(created));
    let mut config = ImageConfig::scratch(platform);
    config.os_version.clone_from(&platform.os_version);
    config.os_features.clone_from(&platform.os_features);
    config.created.clone_from(&created);
    config.rootfs.diff_ids = vec![diff_id];
    config.history = vec![History {
        created,
        created_by: Some(CREATED_BY.to_owned()),
        ..History::default()
    }];
    config
}

fn newest(tree: &Tree) -> Timestamp {
    let times = tree.walk().map(|(_, id)| tree.node(id).meta.mtime);
    times.max().unwrap_or_default()
}

/// The years 0 to 9999, which are all that RFC 3339 can say, as far as the library goes.
const YEARS: (i64, i64) = (-62_167_219_200, 253_402_207_199);

/// Returns `time` as RFC 3339 has it, in UTC; of years that it cannot say, the nearest.
pub fn rfc_3339(time: Timestamp) -> String {
    let seconds = time.seconds.clamp(YEARS.0, YEARS.1);
    let nanoseconds = i32::try_from(time.nanoseconds).unwrap_or_default();
    let time = jiff::Timestamp::new(seconds, nanoseconds);
    time.unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string()
}

/// An uncompressed tar in a file.
struct Spool {
    file: File,
    _temporary: Option<Temporary>,
}

/// A file that goes with its owner.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // What cannot be removed now is left to `gc`.
        remove(&self.0).ok();
    }
}

impl Spool {
    fn of(snapshots: &Snapshots<'_>, archive: Archive) -> Result<(Self, Tree)> {
        let limits = snapshots.limits();
        let stream: Box<dyn Read + Send> = match archive {
            Archive::File(file) if is_plain(&file).map_err(read_error)? => {
                let tree = read_tree(&file, limits)?;
                let spool = Self {
                    file,
                    _temporary: None,
                };
                return Ok((spool, tree));
            }
            Archive::File(file) => Box::new(file),
            Archive::Stream(stream) => stream,
        };
        let path = snapshots.temporary()?;
        let options = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path);
        let file = options.map_err(Error::system("create", &path))?;
        let temporary = Some(Temporary(path));
        let inner = Decoder::new(stream, limits.decoding).map_err(Error::archive)?;
        let tree = read_tree(Tee { inner, file: &file }, limits)?;
        let spool = Self {
            file,
            _temporary: temporary,
        };
        Ok((spool, tree))
    }
}

impl LayerBytes for Spool {
    fn read_at(&self, layer: &DiffId, offset: u64, buf: &mut [u8]) -> corten_layer::Result<()> {
        let failed = |source| corten_layer::Error::Content {
            path: layer.0.as_str().as_bytes().into(),
            source,
        };
        self.file.read_exact_at(buf, offset).map_err(failed)
    }
}

/// Tells whether `file` can be read at any place and is no compressed stream; if so, it is at its
/// start.
fn is_plain(mut file: &File) -> io::Result<bool> {
    if !file.metadata()?.is_file() {
        return Ok(false);
    }
    file.seek(SeekFrom::Start(0))?;
    let mut prefix = Vec::new();
    file.take(10).read_to_end(&mut prefix)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(sniff(&prefix) == Encoding::Identity)
}

/// Stores what is read through it.
struct Tee<'a, R> {
    inner: R,
    file: &'a File,
}

impl<R: Read> Read for Tee<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n_read = self.inner.read(buf)?;
        self.file.write_all(buf.get(..n_read).unwrap_or_default())?;
        Ok(n_read)
    }
}

/// Reads the headers of an archive from its start to its end.
fn read_tree(archive: impl Read, limits: &LayerLimits) -> Result<Tree> {
    // The layer that the offsets in the tree are about is the archive, which nobody asks for by name.
    let mut resolver = Resolver::new(Tree::new(), DiffId(Digest::sha256(b"")));
    let mut reader = Reader::new(archive, limits.archive);
    while let Some(located) = reader.next_entry().map_err(Error::archive)? {
        let path = &located.entry.path;
        let mut names = path.split(|&byte| byte == b'/');
        if names.any(|name| name.starts_with(WHITEOUT_PREFIX)) {
            return Err(Error::Whiteout {
                path: path.as_slice().into(),
            });
        }
        resolver.apply(&located).map_err(Error::archive)?;
    }
    reader.finish().map_err(Error::archive)?;
    Ok(resolver.finish().0)
}

fn read_error(source: io::Error) -> Error {
    Error::archive(corten_tar::Error::read(0, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        #[track_caller]
        fn check(seconds: i64, nanoseconds: u32, expected: &str) {
            let time = Timestamp {
                seconds,
                nanoseconds,
            };
            let found = rfc_3339(time);
            assert_eq!(found, expected);
            assert!(found.parse::<jiff::Timestamp>().is_ok(), "{found}");
        }
        check(0, 0, "1970-01-01T00:00:00Z");
        check(1_600_000_000, 500_000_000, "2020-09-13T12:26:40.5Z");
        check(-1, 500_000_000, "1969-12-31T23:59:59.5Z");
        check(i64::MIN, 0, "0000-01-01T00:00:00Z");
        check(i64::MAX, 999_999_999, "9999-12-30T21:59:59.999999999Z");
    }
}
