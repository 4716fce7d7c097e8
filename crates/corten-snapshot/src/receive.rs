//! Receiving: a layer is decompressed while its blob arrives, so that it is ready when it is there.

use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use corten_content::{Ingest, IngestPlan, Sink};
use corten_spec::{Algorithm, Descriptor, Digest, Hasher, Kind};

use crate::derive::{ReadLayer, read_layer};
use crate::unfinished::Unfinished;
use crate::{LayerRef, Result, Snapshots};

/// How many writes wait for the decompressor at most, which bounds the memory.
const WRITES: usize = 8;

/// A store that derives the exact tar and the header index of each layer written to it, while it is
/// written.
///
/// Use it as the sink of a copy whose image is needed at once. Nothing derived becomes visible before
/// the blob was verified. It is a head start and no more: where it cannot be had (a resumed write, a
/// damaged layer, a full disk), the blob is stored alone, and whoever needs the layer derives it, or
/// hears why that cannot be.
#[derive(Debug)]
pub struct Receiving<'a> {
    snapshots: Snapshots<'a>,
    n_deriving: AtomicUsize,
    n_processors: usize,
}

impl<'a> Receiving<'a> {
    /// Returns the store of `snapshots` as such a sink.
    pub fn new(snapshots: Snapshots<'a>) -> Self {
        Self {
            snapshots,
            n_deriving: AtomicUsize::new(0),
            n_processors: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }

    fn start(&self) -> Option<Derivation<'_>> {
        // More at once than there are processors would only cost memory.
        let taken = self.n_deriving.fetch_add(1, Ordering::Relaxed);
        let turn = Turn(&self.n_deriving);
        if taken >= self.n_processors {
            return None;
        }
        let temporary = self.snapshots.unfinished().ok()?;
        let file = File::create(&*temporary).ok()?;
        let (sender, receiver) = sync_channel(WRITES);
        // The config, which says the DiffID, may come later; nearly all are of this algorithm.
        let hasher = Hasher::new(Algorithm::Sha256);
        let arriving = Arriving {
            receiver,
            piece: io::Cursor::default(),
        };
        let limits = *self.snapshots.limits();
        let written = file.try_clone().ok()?;
        let tar = (file, temporary.to_owned());
        let derive = move || {
            let result = read_layer(Box::new(arriving), Some(tar), hasher, &limits);
            if result.is_err() {
                // The rest of the blob may need the room.
                written.set_len(0).ok();
            }
            result
        };
        let thread = std::thread::Builder::new().spawn(derive).ok()?;
        Some(Derivation {
            sender: Some(sender),
            thread: Some(thread),
            temporary,
            _turn: turn,
        })
    }
}

impl Sink for Receiving<'_> {
    fn place(&self) -> String {
        self.snapshots.store().place()
    }

    fn contains(&self, content: &Descriptor) -> corten_content::Result<bool> {
        self.snapshots.store().contains(content)
    }

    fn ingest(&self, plan: &IngestPlan) -> corten_content::Result<Box<dyn Ingest + '_>> {
        let inner = self.snapshots.store().ingest(plan)?;
        let is_layer = plan
            .content
            .as_ref()
            .is_some_and(|content| matches!(content.kind(), Kind::Layer { .. }));
        if !is_layer || inner.offset() > 0 {
            return Ok(inner);
        }
        Ok(match self.start() {
            None => inner,
            Some(derivation) => Box::new(ReceivingLayer {
                inner,
                derivation: Some(derivation),
                snapshots: self.snapshots.clone(),
            }),
        })
    }

    fn tag(&self, tag: &str, content: &Descriptor) -> corten_content::Result<()> {
        self.snapshots.store().tag(tag, content)
    }
}

/// A place among those that derive.
struct Turn<'a>(&'a AtomicUsize);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A layer that is written to the store and to the decompressor.
struct ReceivingLayer<'a> {
    inner: Box<dyn Ingest + 'a>,
    /// `None` once it had to make room.
    derivation: Option<Derivation<'a>>,
    snapshots: Snapshots<'a>,
}

impl Write for ReceivingLayer<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n_written = match self.inner.write(buf) {
            Err(error) if is_full(&error) && self.derivation.is_some() => {
                // The blob comes first: what is derived can be had again.
                self.derivation = None;
                self.inner.write(buf)?
            }
            written => written?,
        };
        if let Some(derivation) = &mut self.derivation {
            derivation.feed(buf.get(..n_written).unwrap_or_default());
        }
        Ok(n_written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl Ingest for ReceivingLayer<'_> {
    fn offset(&self) -> u64 {
        self.inner.offset()
    }

    fn commit(
        self: Box<Self>,
        expected: Option<&Descriptor>,
    ) -> corten_content::Result<(Digest, u64)> {
        let Self {
            inner,
            mut derivation,
            snapshots,
        } = *self;
        if let Some(derivation) = &mut derivation {
            derivation.sender = None;
        }
        let committed = inner.commit(expected)?;
        if let Some(mut derivation) = derivation
            && let Some(layer) = derivation.finish()
        {
            // What cannot be kept is derived again by whoever needs it, who hears the reason.
            let _kept = keep(&snapshots, &derivation.temporary, layer, expected);
        }
        Ok(committed)
    }
}

fn is_full(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    let kind = match inner {
        // The store says where it failed, around the failure.
        Some(corten_content::Error::System { source, .. }) => source.kind(),
        _ => error.kind(),
    };
    matches!(
        kind,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

fn keep(
    snapshots: &Snapshots<'_>,
    temporary: &Unfinished,
    layer: ReadLayer,
    blob: Option<&Descriptor>,
) -> Result<()> {
    snapshots.put_tar(temporary, &layer.diff_id)?;
    snapshots.put_entries(&layer.diff_id, &layer.entries)?;
    let Some(blob) = blob.cloned() else {
        return Ok(());
    };
    let diff_id = layer.diff_id;
    snapshots.put_seek_points(&LayerRef { blob, diff_id }, &layer.points)
}

/// A thread that derives what a layer amounts to from what it is fed. Dropping it ends the thread and
/// removes what it left.
struct Derivation<'a> {
    sender: Option<SyncSender<Vec<u8>>>,
    thread: Option<JoinHandle<Result<ReadLayer>>>,
    temporary: Unfinished,
    _turn: Turn<'a>,
}

impl Derivation<'_> {
    fn feed(&mut self, bytes: &[u8]) {
        // A thread that has failed takes no more.
        let is_taken = self
            .sender
            .as_ref()
            .is_some_and(|sender| sender.send(bytes.to_vec()).is_ok());
        if !is_taken {
            self.sender = None;
        }
    }

    /// Returns what the layer is, once the thread has read it to its end.
    fn finish(&mut self) -> Option<ReadLayer> {
        self.sender = None;
        self.thread.take()?.join().ok()?.ok()
    }
}

impl Drop for Derivation<'_> {
    fn drop(&mut self) {
        self.finish();
    }
}

/// What was fed, as a reader.
struct Arriving {
    receiver: Receiver<Vec<u8>>,
    piece: io::Cursor<Vec<u8>>,
}

impl Read for Arriving {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            let n_read = self.piece.read(buf)?;
            if n_read > 0 || buf.is_empty() {
                return Ok(n_read);
            }
            match self.receiver.recv() {
                Ok(piece) => self.piece = io::Cursor::new(piece),
                Err(_) => return Ok(0),
            }
        }
    }
}
