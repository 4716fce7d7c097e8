//! Packing: an uncompressed tar becomes a layer in the store, digests computed on the way.

use std::io::{self, Write};

use corten_content::{Ingest, IngestPlan, Sink, Store};
use corten_spec::{Algorithm, Descriptor, DiffId, Hasher, media_type};
use corten_tar::{Compression, Encoder, Limits};

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
    store: &'a Store,
    encoder: Encoder<Box<dyn Ingest + 'a>>,
    diff_id: Hasher,
    compression: Compression,
    left: u64,
    max_bytes: u64,
}

impl std::fmt::Debug for Packer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packer")
            .field("compression", &self.compression)
            .finish_non_exhaustive()
    }
}

impl<'a> Packer<'a> {
    /// Starts a layer in `store`.
    pub fn new(store: &'a Store, options: &PackOptions) -> Result<Self> {
        let ingest = store.ingest(&IngestPlan::unknown())?;
        let PackOptions {
            compression,
            level,
            threads,
            max_bytes,
        } = *options;
        let encoder = Encoder::new(ingest, compression, level, threads)
            .map_err(|source| Error::Compress { source })?;
        Ok(Self {
            store,
            encoder,
            diff_id: Hasher::new(Algorithm::Sha256),
            compression,
            left: max_bytes,
            max_bytes,
        })
    }

    /// Stores the layer and returns what names it.
    pub fn finish(self) -> Result<LayerRef> {
        let points = self.encoder.seek_points();
        let ingest = self
            .encoder
            .finish()
            .map_err(|error| corten_content::Error::stream("store the layer", error))?;
        let (digest, size) = ingest.commit(None)?;
        let blob = Descriptor::new(media_type_of(self.compression), digest, size);
        let layer = LayerRef {
            blob,
            diff_id: DiffId(self.diff_id.finish()),
        };
        Snapshots::new(self.store).put_seek_points(&layer, &points.to_vec())?;
        Ok(layer)
    }
}

impl Write for Packer<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        // A sparse file of a RUN costs no space where it is, and all of it here.
        if buf.len() as u64 > self.left {
            let error = corten_tar::Error::Limit {
                limit: "total_bytes",
                maximum: self.max_bytes,
            };
            return Err(error.into());
        }
        let n_written = self.encoder.write(buf)?;
        self.left -= n_written as u64;
        self.diff_id
            .update(buf.get(..n_written).unwrap_or_default());
        Ok(n_written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.encoder.flush()
    }
}

fn media_type_of(compression: Compression) -> &'static str {
    match compression {
        Compression::None => media_type::OCI_LAYER,
        Compression::Gzip => media_type::OCI_LAYER_GZIP,
        Compression::Zstd => media_type::OCI_LAYER_ZSTD,
    }
}
