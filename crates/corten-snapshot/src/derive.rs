//! Reading a layer's blob once: its headers, and its exact tar where that is wanted.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use corten_content::{Source, open};
use corten_spec::{DiffId, Hasher};
use corten_tar::{Decoder, LayerLimits, Located, Reader, SeekPoint};

use crate::encoding;
use crate::readahead::ReadAhead;
use crate::snapshots::{Shelf, boot, remove};
use crate::unfinished::Unfinished;
use crate::{Error, LayerRef, Result, Snapshots};

/// What is wanted of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Its entries alone.
    Index,
    /// Its tar too.
    Tar,
}

impl Snapshots<'_> {
    /// Returns the path of the exact tar of a layer; it is made if it is not there.
    pub fn tar(&self, layer: &LayerRef) -> Result<PathBuf> {
        let path = self.place(Shelf::Tar, &layer.diff_id.0)?;
        if self.is_whole_tar(&path, &layer.diff_id)?
            || (self.bring(layer)? && self.is_whole_tar(&path, &layer.diff_id)?)
        {
            return Ok(path);
        }
        let entries = derive(self, layer, Keep::Tar)?;
        self.put_entries(&layer.diff_id, &entries)?;
        Ok(path)
    }

    /// A tar that was made in this boot is whole; another is hashed once, since a power failure may
    /// have taken its end.
    fn is_whole_tar(&self, path: &std::path::Path, diff_id: &DiffId) -> Result<bool> {
        if !path.exists() {
            return Ok(false);
        }
        let marker = path.with_extension("boot");
        if fs::read(&marker).is_ok_and(|made| made == boot()) {
            return Ok(true);
        }
        let mut hasher = diff_id.0.hasher().map_err(corten_content::Error::from)?;
        let mut file = File::open(path).map_err(Error::system("open", path))?;
        let mut buf = vec![0; 256 << 10];
        loop {
            match file.read(&mut buf).map_err(Error::system("read", path))? {
                0 => break,
                n_read => hasher.update(buf.get(..n_read).unwrap_or_default()),
            }
        }
        if hasher.finish() != diff_id.0 {
            remove(path)?;
            return Ok(false);
        }
        self.mark(path)?;
        Ok(true)
    }

    /// Gives a tar that was just written its name.
    pub(crate) fn put_tar(&self, temporary: &Unfinished, diff_id: &DiffId) -> Result<()> {
        let path = self.place(Shelf::Tar, &diff_id.0)?;
        let read_only = fs::Permissions::from_mode(0o444);
        fs::set_permissions(&**temporary, read_only)
            .map_err(Error::system("set the mode of", &**temporary))?;
        temporary.rename(&path)?;
        self.mark(&path)
    }

    /// Writes down the boot in which something got its name or was looked at.
    pub(crate) fn mark(&self, tar: &std::path::Path) -> Result<()> {
        let (marker, temporary) = (tar.with_extension("boot"), self.unfinished()?);
        #[expect(
            clippy::disallowed_methods,
            reason = "a temporary name, renamed when it is whole"
        )]
        fs::write(&*temporary, boot()).map_err(Error::system("write", &*temporary))?;
        temporary.rename(&marker)
    }
}

/// Reads the blob of `layer` once and returns its entries; the DiffID is checked, which covers every
/// byte, so the blob's own digest is not computed again.
pub(crate) fn derive(
    snapshots: &Snapshots<'_>,
    layer: &LayerRef,
    keep: Keep,
) -> Result<Vec<Located>> {
    let temporary = snapshots.unfinished()?;
    let tar = match keep {
        Keep::Index => None,
        Keep::Tar => {
            let file = File::create(&*temporary).map_err(Error::system("create", &*temporary))?;
            Some((file, temporary.to_owned()))
        }
    };
    let blob = snapshots.store().fetch(&layer.blob, 0)?;
    let read = hasher_of(&layer.diff_id)
        .and_then(|hasher| read_layer(blob, tar, hasher, snapshots.limits()))
        .and_then(|read| read.checked(&layer.diff_id))
        .map_err(|error| blame(snapshots, layer, error))?;
    snapshots.put_seek_points(layer, &read.points)?;
    if keep == Keep::Tar {
        snapshots.put_tar(&temporary, &layer.diff_id)?;
    }
    Ok(read.entries)
}

/// Returns why a layer could not be read: its blob was damaged in the store, or what was verified when it
/// came is wrong.
fn blame(snapshots: &Snapshots<'_>, layer: &LayerRef, error: Error) -> Error {
    if !matches!(error, Error::Layer(_) | Error::DiffIdMismatch { .. }) {
        return error;
    }
    let hash = || {
        let mut blob = open(snapshots.store(), &layer.blob)?;
        io::copy(&mut blob, &mut io::sink())
    };
    match hash() {
        Ok(_) => error,
        Err(_) => Error::DamagedBlob {
            digest: layer.blob.digest.clone(),
            source: Box::new(error),
        },
    }
}

fn hasher_of(diff_id: &DiffId) -> Result<Hasher> {
    Ok(diff_id.0.hasher().map_err(corten_content::Error::from)?)
}

/// What the bytes of a layer turned out to be.
pub(crate) struct ReadLayer {
    pub(crate) diff_id: DiffId,
    pub(crate) entries: Vec<Located>,
    /// Where the compressed bytes can be entered.
    pub(crate) points: Vec<SeekPoint>,
}

impl ReadLayer {
    fn checked(self, expected: &DiffId) -> Result<Self> {
        if self.diff_id != *expected {
            return Err(Error::DiffIdMismatch {
                expected: expected.clone(),
                received: self.diff_id,
            });
        }
        Ok(self)
    }
}

/// Reads a layer to its end, and writes its `tar` to that file; `hasher` computes the DiffID.
///
/// One thread reads and decompresses, one writes the tar, one hashes and parses: whichever of these
/// is the slowest on a machine, two processors stay busy.
pub(crate) fn read_layer(
    blob: Box<dyn Read + Send + '_>,
    tar: Option<(File, PathBuf)>,
    hasher: Hasher,
    limits: &LayerLimits,
) -> Result<ReadLayer> {
    let decoder = Decoder::new(blob, limits.decoding).map_err(corten_layer::Error::from)?;
    encoding::check(decoder.encoding())?;
    let points = decoder.seek_points();
    std::thread::scope(|scope| {
        let unpacked = ReadAhead::spawn(scope, decoder);
        let tee = Hashing {
            inner: match tar {
                None => unpacked,
                Some((file, path)) => ReadAhead::spawn(
                    scope,
                    Storing {
                        inner: unpacked,
                        file,
                        path,
                    },
                ),
            },
            hasher,
        };
        let mut reader = Reader::new(tee, limits.archive);
        let mut entries = Vec::new();
        while let Some(located) = reader.next_entry().map_err(not_read)? {
            entries.push(located);
        }
        let tee = reader.finish().map_err(not_read)?;
        Ok(ReadLayer {
            diff_id: DiffId(tee.hasher.finish()),
            entries,
            points: points.to_vec(),
        })
    })
}

/// Takes an error of ours that travelled through the reader out again: a tar that cannot be written is
/// no fault of the layer's.
fn not_read(error: corten_tar::Error) -> Error {
    let error = match error {
        corten_tar::Error::Read { offset, source } => match source.downcast() {
            Ok(error) => return error,
            Err(source) => corten_tar::Error::Read { offset, source },
        },
        error => error,
    };
    corten_layer::Error::from(error).into()
}

/// Hashes what is read through it.
struct Hashing {
    inner: ReadAhead,
    hasher: Hasher,
}

impl Read for Hashing {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n_read = self.inner.read(buf)?;
        self.hasher.update(buf.get(..n_read).unwrap_or_default());
        Ok(n_read)
    }
}

/// Writes what is read through it to a file.
struct Storing {
    inner: ReadAhead,
    file: File,
    path: PathBuf,
}

impl Read for Storing {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n_read = self.inner.read(buf)?;
        let written = self.file.write_all(buf.get(..n_read).unwrap_or_default());
        let failed = |error: io::Error| {
            io::Error::new(error.kind(), Error::system("write", &self.path)(error))
        };
        written.map_err(failed)?;
        Ok(n_read)
    }
}
