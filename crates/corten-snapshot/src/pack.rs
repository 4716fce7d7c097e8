//! Packing: an uncompressed tar becomes a layer in the store, digests computed on the way.

use std::io::{self, Read, Write};
use std::sync::Arc;

use corten_content::{Ingest, IngestPlan, Sink, Store};
use corten_spec::{Algorithm, Descriptor, DiffId, Hasher, media_type};
use corten_tar::{Compression, Encoder, Limits};

use crate::spool::{Room, SpoolReader, SpoolWriter, spool};
use crate::{Error, LayerRef, Result, Snapshots};

/// How a layer is stored.
#[derive(Debug, Clone, Copy)]
pub struct PackOptions {
    /// The compression.
    pub compression: Compression,
    /// Its level; `None` is the one that was measured to be the best bargain.
    pub level: Option<i32>,
    /// How many threads compress. The bytes do not depend on it.
    pub threads: usize,
    /// How many bytes of tar it may have: 64 GiB, so that what is written can be read again.
    pub max_bytes: u64,
}

impl Default for PackOptions {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            compression: Compression::Gzip,
            level: None,
            threads,
            max_bytes: Limits::default().total_bytes,
        }
    }
}

/// A layer being packed: write its uncompressed tar, then call [`finish`](Self::finish).
///
/// Dropped before, it leaves nothing visible.
pub struct Packer<'a> {
    tar: TarCount,
    blob: Compressing<'a>,
}

impl std::fmt::Debug for Packer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packer")
            .field("compression", &self.blob.compression)
            .finish_non_exhaustive()
    }
}

impl<'a> Packer<'a> {
    /// Starts a layer in `store`.
    pub fn new(store: &'a Store, options: &PackOptions) -> Result<Self> {
        Ok(Self {
            tar: TarCount::new(options),
            blob: Compressing::new(store, options)?,
        })
    }

    /// Stores the layer and returns what names it.
    pub fn finish(self) -> Result<LayerRef> {
        self.blob.finish(self.tar.finish())
    }
}

impl Write for Packer<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.tar.check(buf)?;
        let n_written = self.blob.encoder.write(buf)?;
        self.tar.add(buf.get(..n_written).unwrap_or_default());
        Ok(n_written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.blob.encoder.flush()
    }
}

/// Starts a layer whose tar is written by one thread and packed by another, which may be behind: what
/// waits in between takes `room`, of memory first and then of the disk of the store.
pub fn spooled(
    snapshots: &Snapshots<'_>,
    options: &PackOptions,
    room: &Arc<Room>,
) -> Result<(SpooledTar, SpooledPack)> {
    let (writer, reader) = spool(Arc::clone(room), snapshots.temporary()?);
    let tar = SpooledTar {
        tar: TarCount::new(options),
        spool: writer,
    };
    let pack = SpooledPack {
        spool: reader,
        options: *options,
    };
    Ok((tar, pack))
}

/// The tar of a layer that another thread packs: write it, then call [`finish`](Self::finish).
///
/// Where packing has failed, what is written goes nowhere: who packs knows why.
#[derive(Debug)]
pub struct SpooledTar {
    tar: TarCount,
    spool: SpoolWriter<DiffId>,
}

impl SpooledTar {
    /// Ends the tar and returns its digest.
    ///
    /// # Errors
    /// What has to wait on the disk could not be written there.
    pub fn finish(self) -> Result<DiffId> {
        let diff_id = self.tar.finish();
        let finished = self.spool.finish(diff_id.clone());
        finished.map_err(|error| corten_content::Error::stream("keep a layer", error))?;
        Ok(diff_id)
    }
}

impl Write for SpooledTar {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.tar.check(buf)?;
        let n_written = self.spool.write(buf)?;
        self.tar.add(buf.get(..n_written).unwrap_or_default());
        Ok(n_written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A layer to be packed while its tar arrives.
#[derive(Debug)]
pub struct SpooledPack {
    spool: SpoolReader<DiffId>,
    options: PackOptions,
}

impl SpooledPack {
    /// Packs the layer, stores it and returns what names it; `None` if its tar was not finished, or once
    /// `is_stopped` says so.
    pub fn pack(
        mut self,
        store: &Store,
        is_stopped: &dyn Fn() -> bool,
    ) -> Result<Option<LayerRef>> {
        let mut blob = Compressing::new(store, &self.options)?;
        let mut buf = vec![0; 128 << 10];
        loop {
            if is_stopped() {
                return Ok(None);
            }
            match self.spool.read(&mut buf) {
                Ok(0) => break,
                Ok(n_read) => blob
                    .encoder
                    .write_all(buf.get(..n_read).unwrap_or_default())
                    .map_err(|error| corten_content::Error::stream("store the layer", error))?,
                Err(_) if self.spool.is_abandoned() => return Ok(None),
                Err(error) => {
                    let error = corten_content::Error::stream("read what waits of a layer", error);
                    return Err(error.into());
                }
            }
        }
        match self.spool.into_end() {
            Some(diff_id) => blob.finish(diff_id).map(Some),
            None => Ok(None),
        }
    }
}

/// A tar as it is written: its digest, and how much more it may have.
#[derive(Debug)]
struct TarCount {
    hasher: Hasher,
    left: u64,
    max_bytes: u64,
}

impl TarCount {
    fn new(options: &PackOptions) -> Self {
        Self {
            hasher: Hasher::new(Algorithm::Sha256),
            left: options.max_bytes,
            max_bytes: options.max_bytes,
        }
    }

    /// A sparse file of a RUN costs no space where it is, and all of it here.
    fn check(&self, buf: &[u8]) -> io::Result<()> {
        if buf.len() as u64 <= self.left {
            return Ok(());
        }
        let error = corten_tar::Error::Limit {
            limit: "total_bytes",
            maximum: self.max_bytes,
        };
        Err(error.into())
    }

    fn add(&mut self, written: &[u8]) {
        self.left -= written.len() as u64;
        self.hasher.update(written);
    }

    fn finish(self) -> DiffId {
        DiffId(self.hasher.finish())
    }
}

/// A blob that is written compressed.
struct Compressing<'a> {
    store: &'a Store,
    encoder: Encoder<Box<dyn Ingest + 'a>>,
    compression: Compression,
}

impl<'a> Compressing<'a> {
    fn new(store: &'a Store, options: &PackOptions) -> Result<Self> {
        let ingest = store.ingest(&IngestPlan::unknown())?;
        let PackOptions {
            compression,
            level,
            threads,
            ..
        } = *options;
        let encoder = Encoder::new(ingest, compression, level, threads)
            .map_err(|source| Error::Compress { source })?;
        Ok(Self {
            store,
            encoder,
            compression,
        })
    }

    fn finish(self, diff_id: DiffId) -> Result<LayerRef> {
        let points = self.encoder.seek_points();
        let ingest = self
            .encoder
            .finish()
            .map_err(|error| corten_content::Error::stream("store the layer", error))?;
        let (digest, size) = ingest.commit(None)?;
        let blob = Descriptor::new(media_type_of(self.compression), digest, size);
        let layer = LayerRef { blob, diff_id };
        Snapshots::new(self.store).put_seek_points(&layer, &points.to_vec())?;
        Ok(layer)
    }
}

fn media_type_of(compression: Compression) -> &'static str {
    match compression {
        Compression::None => media_type::OCI_LAYER,
        Compression::Gzip => media_type::OCI_LAYER_GZIP,
        Compression::Zstd => media_type::OCI_LAYER_ZSTD,
    }
}
