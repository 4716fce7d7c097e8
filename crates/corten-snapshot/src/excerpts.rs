//! Single files out of layers, without inflating the rest.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use corten_content::Source as _;
use corten_layer::LayerBytes;
use corten_spec::DiffId;
use corten_tar::{Decoder, SeekPoint};

use crate::bytes::{ComingLayers, Layers};
use crate::snapshots::{Shelf, boot};
use crate::table::{Table, TableWriter};
use crate::{Error, LayerRef, Result, Snapshots};

/// Reads the layers of an image here and there, each in the cheapest way there is: from its exact tar
/// if that is kept, else from the blob, starting at the member that holds the bytes. Where that would
/// mean to inflate more than a few MiB for nothing, as in a large layer of one member, the tar is made
/// and kept.
///
/// For reading most of a layer there is [`Bytes`](crate::Bytes).
pub struct Excerpts<'a> {
    snapshots: Snapshots<'a>,
    layers: Layers,
    open: Mutex<HashMap<DiffId, Opened<'a>>>,
    n_inflated: AtomicU64,
}

/// A layer that is open.
enum Opened<'a> {
    /// Its exact tar.
    Tar(File),
    /// Its blob, with the places where decompression can start, if there is more than its start.
    Blob(Option<Table>, Option<Box<Cursor<'a>>>),
}

/// A decompressor amid a layer.
struct Cursor<'a> {
    decoder: Decoder<'a>,
    position: u64,
}

/// What may be inflated and dropped to get at some bytes. A member of ours holds 1 MiB.
const MOST_SKIPPED: u64 = 4 << 20;

impl std::fmt::Debug for Excerpts<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Excerpts").finish_non_exhaustive()
    }
}

impl<'a> Excerpts<'a> {
    /// Returns a reader of `layers`.
    pub fn new(snapshots: Snapshots<'a>, layers: &[LayerRef]) -> Self {
        Self {
            snapshots,
            layers: Layers::new(layers),
            open: Mutex::default(),
            n_inflated: AtomicU64::new(0),
        }
    }

    /// Returns a reader of `layers`, which waits for those that it needs.
    pub fn of_coming(snapshots: Snapshots<'a>, layers: Arc<dyn ComingLayers>) -> Self {
        Self {
            snapshots,
            layers: Layers::Coming(layers),
            open: Mutex::default(),
            n_inflated: AtomicU64::new(0),
        }
    }

    /// Returns how many bytes were inflated so far.
    pub fn n_inflated(&self) -> u64 {
        self.n_inflated.load(Ordering::Relaxed)
    }

    fn read(&self, diff_id: &DiffId, offset: u64, buf: &mut [u8]) -> Result<()> {
        let layer = &self.layers.get(diff_id)?;
        let mut open = self.open.lock().expect("no panic holds it");
        let opened = match open.remove(diff_id) {
            Some(opened) => opened,
            None => self.open_layer(layer)?,
        };
        let opened = self.read_from(opened, layer, offset, buf)?;
        open.insert(diff_id.clone(), opened);
        Ok(())
    }

    fn open_layer(&self, layer: &LayerRef) -> Result<Opened<'a>> {
        let snapshots = &self.snapshots;
        if layer.blob.digest == layer.diff_id.0 {
            // It is not compressed: the blob is the tar.
            snapshots.check_blob(layer)?;
            let path = snapshots.store().blob_path(&layer.blob.digest);
            let file = File::open(&path).map_err(Error::system("open", path))?;
            return Ok(Opened::Tar(file));
        }
        let path = snapshots.place(Shelf::Tar, &layer.diff_id.0)?;
        // A tar of an earlier boot would have to be hashed first, which reads all of it.
        let is_of_this_boot =
            fs::read(path.with_extension("boot")).is_ok_and(|made| made == boot());
        if is_of_this_boot && let Ok(file) = File::open(path) {
            return Ok(Opened::Tar(file));
        }
        snapshots.check_blob(layer)?;
        Ok(Opened::Blob(snapshots.seek_table(layer)?, None))
    }

    fn read_from(
        &self,
        opened: Opened<'a>,
        layer: &LayerRef,
        offset: u64,
        buf: &mut [u8],
    ) -> Result<Opened<'a>> {
        let (table, cursor) = match opened {
            Opened::Tar(file) => {
                file.read_exact_at(buf, offset).map_err(read_error(layer))?;
                return Ok(Opened::Tar(file));
            }
            Opened::Blob(table, cursor) => (table, cursor),
        };
        let start = floor(table.as_ref(), offset);
        let cursor = cursor.filter(|cursor| (start.plain..=offset).contains(&cursor.position));
        let from = cursor
            .as_ref()
            .map_or(start.plain, |cursor| cursor.position);
        if offset - from > MOST_SKIPPED {
            let path = self.snapshots.tar(layer)?;
            let file = File::open(&path).map_err(Error::system("open", path))?;
            return self.read_from(Opened::Tar(file), layer, offset, buf);
        }
        let mut cursor = match cursor {
            Some(cursor) => cursor,
            None => Box::new(self.cursor(layer, start)?),
        };
        let mut skipped = (&mut cursor.decoder).take(offset - from);
        let n_skipped = io::copy(&mut skipped, &mut io::sink()).map_err(read_error(layer))?;
        if n_skipped == offset - from {
            cursor.decoder.read_exact(buf).map_err(read_error(layer))?;
        } else {
            return Err(read_error(layer)(io::ErrorKind::UnexpectedEof.into()));
        }
        cursor.position = offset.saturating_add(buf.len() as u64);
        let n_inflated = cursor.position - from;
        self.n_inflated.fetch_add(n_inflated, Ordering::Relaxed);
        Ok(Opened::Blob(table, Some(cursor)))
    }

    fn cursor(&self, layer: &LayerRef, start: SeekPoint) -> Result<Cursor<'a>> {
        let blob = self.snapshots.store().fetch(&layer.blob, start.stored)?;
        let limits = self.snapshots.limits().decoding;
        let decoder = Decoder::new(blob, limits).map_err(corten_layer::Error::from)?;
        Ok(Cursor {
            decoder,
            position: start.plain,
        })
    }
}

impl LayerBytes for Excerpts<'_> {
    fn read_at(&self, layer: &DiffId, offset: u64, buf: &mut [u8]) -> corten_layer::Result<()> {
        self.read(layer, offset, buf)
            .map_err(|error| corten_layer::Error::Content {
                path: layer.0.as_str().as_bytes().into(),
                source: io::Error::other(error),
            })
    }
}

fn read_error(layer: &LayerRef) -> impl FnOnce(io::Error) -> Error + use<> {
    let path = layer.blob.digest.as_str().to_owned();
    move |source| Error::system("read", path)(source)
}

/// Returns the last place at or before `offset`; without a table, or with one that does not hold, the
/// start.
fn floor(table: Option<&Table>, offset: u64) -> SeekPoint {
    let found = table.and_then(|table| table.floor(&offset.to_be_bytes()).ok().flatten());
    let point = found.and_then(|(plain, stored)| {
        Some(SeekPoint {
            plain: u64::from_be_bytes(plain.try_into().ok()?),
            stored: u64::from_le_bytes(stored.try_into().ok()?),
        })
    });
    point.unwrap_or(SeekPoint {
        plain: 0,
        stored: 0,
    })
}

/// The key under which a table of places names the blob that they are places of: a layer can be stored
/// in several compressions.
const BLOB: &[u8] = b"";

impl Snapshots<'_> {
    /// Stores the places in the blob of `layer`, all of which was just read and verified, where
    /// decompression can start. One that has none but its start needs no table.
    pub(crate) fn put_seek_points(&self, layer: &LayerRef, points: &[SeekPoint]) -> Result<()> {
        self.mark_blob(layer)?;
        if points.len() < 2 {
            return Ok(());
        }
        let path = self.place(Shelf::Seek, &layer.diff_id.0)?;
        let temporary = self.unfinished()?;
        let write = || {
            let mut writer = TableWriter::new(Vec::new())?;
            writer.add(BLOB, layer.blob.digest.as_str().as_bytes())?;
            for point in points {
                writer.add(&point.plain.to_be_bytes(), &point.stored.to_le_bytes())?;
            }
            #[expect(
                clippy::disallowed_methods,
                reason = "a temporary name, renamed when it is whole"
            )]
            fs::write(&*temporary, writer.finish()?)
        };
        write().map_err(Error::system("write", &*temporary))?;
        temporary.rename(&path)
    }

    /// Returns the places of the blob of `layer`. What is damaged or of another blob is none.
    fn seek_table(&self, layer: &LayerRef) -> Result<Option<Table>> {
        let path = self.place(Shelf::Seek, &layer.diff_id.0)?;
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(Error::system("open", path))?,
        };
        let table = Table::open(file).ok();
        let is_of_this_blob = |table: &Table| {
            let blob = table.get(BLOB).ok().flatten();
            blob.is_some_and(|blob| blob == layer.blob.digest.as_str().as_bytes())
        };
        Ok(table.filter(is_of_this_blob))
    }
}
