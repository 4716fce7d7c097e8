//! Packing beside the steps: a layer is compressed and stored while the next step runs.
//!
//! A step ends once its tar is written and hashed, since the DiffID is all that the next one needs. What is
//! recorded of it waits for the blob, so that no record and no manifest names one that is not there.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use corten_sandbox::{Cancel, Held};
use corten_snapshot::{ComingLayers, LayerRef, Room, SpooledPack, SpooledTar, spooled};
use corten_spec::{DiffId, Digest};

use crate::build::Builder;
use crate::cache::{self, Outcome};
use crate::{Error, Result};

/// How many layers are packed at once. Each is compressed by as many threads as are asked for.
const WORKERS: usize = 2;
/// How many layers may be on their way: who makes more waits, as each may have a file open.
const MOST_COMING: usize = 16;
/// How many bytes of tars wait in memory; the rest waits on the disk.
const ROOM: usize = 4 << 20;
/// How many bytes of the disk those leave to blobs that are being packed, and to commands beside them.
const LEFT_FREE: u64 = 256 << 20;

/// A layer of a stage, whose blob may still be on its way.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    pub(crate) diff_id: DiffId,
    blob: Blob,
}

#[derive(Debug, Clone)]
enum Blob {
    Here(Arc<LayerRef>),
    Coming(Arc<Coming>),
}

impl From<LayerRef> for Layer {
    fn from(layer: LayerRef) -> Self {
        Self {
            diff_id: layer.diff_id.clone(),
            blob: Blob::Here(Arc::new(layer)),
        }
    }
}

impl Layer {
    /// Waits until the layer is packed; `None` if that failed, which ends the build.
    fn wait(&self) -> Option<Arc<LayerRef>> {
        match &self.blob {
            Blob::Here(layer) => Some(Arc::clone(layer)),
            Blob::Coming(coming) => coming.wait(),
        }
    }

    /// Says where in the Dockerfile the layer is from, for the message if it cannot be packed.
    pub(crate) fn is_of(&self, location: impl FnOnce() -> String) {
        if let Blob::Coming(coming) = &self.blob {
            coming.lock().location.get_or_insert_with(location);
        }
    }
}

/// Waits until all of `layers` are packed.
///
/// # Errors
/// [`Error::Stopped`] if one of them could not be: why is what the build ends with.
pub(crate) fn packed(layers: &[Layer]) -> Result<Vec<LayerRef>> {
    let layers = layers.iter();
    let all = layers.map(|layer| Some(LayerRef::clone(&*layer.wait()?)));
    all.collect::<Option<_>>().ok_or(Error::Stopped)
}

/// Layers that are waited for one by one.
#[derive(Debug)]
pub(crate) struct Layers(pub(crate) Vec<Layer>);

impl ComingLayers for Layers {
    fn layer(&self, diff_id: &DiffId) -> Option<LayerRef> {
        let layer = self.0.iter().find(|layer| layer.diff_id == *diff_id)?;
        layer.wait().map(Arc::unwrap_or_clone)
    }
}

/// A layer on its way.
#[derive(Debug)]
struct Coming {
    state: Mutex<State>,
    is_over: Condvar,
}

#[derive(Debug)]
struct State {
    progress: Progress,
    /// What is written once the blob is there.
    records: Vec<Record>,
    location: Option<String>,
}

#[derive(Debug)]
enum Progress {
    Coming,
    Here(Arc<LayerRef>),
    Lost,
}

#[derive(Debug)]
struct Record {
    key: Digest,
    created: String,
    also: Vec<Digest>,
    below: Vec<DiffId>,
}

impl Record {
    fn outcome(&self, layer: Option<&LayerRef>) -> Outcome {
        Outcome {
            layer: layer.cloned(),
            created: self.created.clone(),
            also: self.also.clone(),
        }
    }
}

impl Coming {
    fn new() -> Self {
        let state = State {
            progress: Progress::Coming,
            records: Vec::new(),
            location: None,
        };
        Self {
            state: Mutex::new(state),
            is_over: Condvar::new(),
        }
    }

    fn wait(&self) -> Option<Arc<LayerRef>> {
        let is_coming = |state: &mut State| matches!(state.progress, Progress::Coming);
        let waited = self.is_over.wait_while(self.lock(), is_coming);
        let state = waited.unwrap_or_else(PoisonError::into_inner);
        match &state.progress {
            Progress::Here(layer) => Some(Arc::clone(layer)),
            Progress::Coming | Progress::Lost => None,
        }
    }

    fn end(&self, progress: Progress) -> Vec<Record> {
        let mut state = self.lock();
        state.progress = progress;
        let records = std::mem::take(&mut state.records);
        drop(state);
        self.is_over.notify_all();
        records
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The layers of a build that are to be packed.
#[derive(Debug)]
pub(crate) struct Packing {
    queue: Mutex<Queue>,
    changed: Condvar,
    room: Arc<Room>,
    /// What is to be recorded once its layer is there, by key.
    recorded: Mutex<HashMap<Digest, Outcome<Layer>>>,
}

#[derive(Debug, Default)]
struct Queue {
    jobs: VecDeque<Job>,
    /// How many are waiting or being packed.
    n_coming: usize,
    is_closed: bool,
    /// How many were begun.
    n_begun: usize,
    /// Why layers could not be packed, by their numbers: what is told is why the first could not.
    failed: BTreeMap<usize, (Error, Arc<Coming>)>,
}

#[derive(Debug)]
struct Job {
    number: usize,
    pack: SpooledPack,
    coming: Arc<Coming>,
    /// The build does not end before what is half written is gone.
    held: Held,
}

impl Default for Packing {
    fn default() -> Self {
        Self {
            queue: Mutex::default(),
            changed: Condvar::new(),
            room: Arc::new(Room::new(ROOM, LEFT_FREE)),
            recorded: Mutex::default(),
        }
    }
}

impl Packing {
    /// Waits for a turn and takes it.
    fn add(&self, pack: SpooledPack, held: Held) -> Arc<Coming> {
        let is_full = |queue: &mut Queue| queue.n_coming >= MOST_COMING;
        let waited = self.changed.wait_while(self.lock(), is_full);
        let mut queue = waited.unwrap_or_else(PoisonError::into_inner);
        let coming = Arc::new(Coming::new());
        if queue.is_closed {
            coming.end(Progress::Lost);
            return coming;
        }
        queue.n_coming += 1;
        queue.n_begun += 1;
        let number = queue.n_begun;
        queue.jobs.push_back(Job {
            number,
            pack,
            coming: Arc::clone(&coming),
            held,
        });
        drop(queue);
        self.changed.notify_all();
        coming
    }

    /// Returns the next layer, in the order in which they were begun: none waits for a later one, so
    /// that nobody waits for ever. `None` once there are no more.
    fn next(&self) -> Option<Job> {
        let is_waiting = |queue: &mut Queue| queue.jobs.is_empty() && !queue.is_closed;
        let waited = self.changed.wait_while(self.lock(), is_waiting);
        let mut queue = waited.unwrap_or_else(PoisonError::into_inner);
        queue.jobs.pop_front()
    }

    /// Returns what is recorded under `key` in this build, whether its layer is packed or not: a hit must not
    /// depend on which was quicker.
    pub(crate) fn recorded(&self, key: &Digest) -> Option<Outcome<Layer>> {
        self.lock_recorded().get(key).cloned()
    }

    fn note(&self, key: &Digest, outcome: &Outcome<Layer>) {
        self.lock_recorded().insert(key.clone(), outcome.clone());
    }

    fn lock_recorded(&self) -> MutexGuard<'_, HashMap<Digest, Outcome<Layer>>> {
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts a layer as over, whatever became of it.
struct Turn<'a>(&'a Packing, Arc<Coming>);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // Whoever waits for a layer that nobody packs any more must hear it.
        if matches!(self.1.lock().progress, Progress::Coming) {
            self.1.end(Progress::Lost);
        }
        self.0.lock().n_coming -= 1;
        self.0.changed.notify_all();
    }
}

/// No more layers come.
struct Closing<'a>(&'a Packing);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.lock().is_closed = true;
        self.0.changed.notify_all();
    }
}

/// Loses all layers that wait where one who packs them panics, and ends commands that run: the build
/// ends with the panic once nobody waits any more.
struct Alarm<'a>(&'a Packing, &'a Cancel);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        self.1.request();
        let mut queue = self.0.lock();
        queue.is_closed = true;
        let jobs = std::mem::take(&mut queue.jobs);
        queue.n_coming -= jobs.len();
        drop(queue);
        for job in jobs {
            job.coming.end(Progress::Lost);
        }
        self.0.changed.notify_all();
    }
}

impl Builder<'_> {
    /// Does `work` while the layers that it makes are packed, and returns when they are.
    ///
    /// # Errors
    /// Why a layer could not be packed, which is also why `work` may have failed; else its own error.
    /// Layers of steps that succeeded are packed and recorded in any case, unless the whole build is to
    /// end.
    pub(crate) fn while_packing<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let done = std::thread::scope(|scope| {
            for _ in 0..WORKERS {
                scope.spawn(|| self.pack_all());
            }
            let _closing = Closing(&self.packing);
            work()
        });
        let Some((_, (error, coming))) = self.packing.lock().failed.pop_first() else {
            return done;
        };
        let location = coming.lock().location.take();
        Err(match location {
            None => error,
            Some(location) => Error::At {
                location,
                source: Box::new(error),
            },
        })
    }

    fn pack_all(&self) {
        let _alarm = Alarm(&self.packing, &self.cancel);
        while let Some(job) = self.packing.next() {
            let Job {
                number,
                pack,
                coming,
                held,
            } = job;
            let turn = Turn(&self.packing, Arc::clone(&coming));
            if let Err(error) = self.pack_one(pack, &coming) {
                coming.end(Progress::Lost);
                self.packing.lock().failed.insert(number, (error, coming));
                // The first failure ends the build.
                self.cancel.request();
            }
            drop(turn);
            drop(held);
        }
    }

    fn pack_one(&self, pack: SpooledPack, coming: &Coming) -> Result<()> {
        let whole = self.request.cancel.as_ref();
        let is_stopped = || whole.is_some_and(Cancel::is_cancelled);
        let Some(layer) = pack.pack(self.store, &is_stopped)? else {
            coming.end(Progress::Lost);
            return Ok(());
        };
        let layer = Arc::new(layer);
        for record in coming.end(Progress::Here(Arc::clone(&layer))) {
            self.write_record(&record, Some(&layer))?;
        }
        Ok(())
    }

    /// Starts a layer: its tar is to be written, and it is packed meanwhile.
    pub(crate) fn start_layer(&self) -> Result<(SpooledTar, StartedLayer)> {
        let held = self.hold_end()?;
        let (tar, pack) = spooled(&self.snapshots, &self.request.pack, &self.packing.room)?;
        Ok((tar, StartedLayer(self.packing.add(pack, held))))
    }

    /// Records `outcome` under `key`, which is that of a step on top of `below`, as soon as its layer is
    /// there.
    pub(crate) fn record(
        &self,
        key: &Digest,
        outcome: &Outcome<Layer>,
        below: Vec<DiffId>,
    ) -> Result<()> {
        let record = Record {
            key: key.clone(),
            created: outcome.created.clone(),
            also: outcome.also.clone(),
            below,
        };
        let layer = match outcome.layer.as_ref().map(|layer| &layer.blob) {
            None => None,
            Some(Blob::Here(layer)) => Some(Arc::clone(layer)),
            Some(Blob::Coming(coming)) => {
                let mut state = coming.lock();
                match &state.progress {
                    Progress::Coming => {
                        state.records.push(record);
                        self.packing.note(key, outcome);
                        return Ok(());
                    }
                    Progress::Here(layer) => Some(Arc::clone(layer)),
                    // The build ends with the reason.
                    Progress::Lost => return Ok(()),
                }
            }
        };
        self.write_record(&record, layer.as_deref())
    }

    fn write_record(&self, record: &Record, layer: Option<&LayerRef>) -> Result<()> {
        let outcome = record.outcome(layer);
        self.note(&record.key, &outcome);
        cache::record(self.store, &record.key, &outcome, &record.below)
    }
}

/// A layer whose tar is being written.
pub(crate) struct StartedLayer(Arc<Coming>);

impl StartedLayer {
    /// Returns the layer, whose tar turned out to be `diff_id`.
    pub(crate) fn written(self, diff_id: DiffId) -> Layer {
        Layer {
            diff_id,
            blob: Blob::Coming(self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use corten_content::Store;
    use corten_snapshot::{PackOptions, Snapshots};

    use super::*;

    #[test]
    fn what_is_recorded_is_found_before_its_layer_is_packed() {
        let packing = Packing::default();
        let (key, other) = (Digest::sha256(b"key"), Digest::sha256(b"other"));
        let coming = StartedLayer(Arc::new(Coming::new()));
        let diff_id = DiffId(Digest::sha256(b"tar"));
        let outcome = Outcome {
            layer: Some(coming.written(diff_id.clone())),
            created: String::new(),
            also: Vec::new(),
        };
        packing.note(&key, &outcome);
        let found = packing.recorded(&key).and_then(|outcome| outcome.layer);
        assert_eq!(found.map(|layer| layer.diff_id), Some(diff_id));
        assert!(packing.recorded(&other).is_none());
    }

    #[test]
    fn nobody_waits_for_who_panicked() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let snapshots = Snapshots::new(&store);
        let (packing, cancel) = (Packing::default(), Cancel::new().unwrap());
        // Of a build that ends nothing more is held.
        let [first, second] = [(); 2].map(|()| cancel.hold().unwrap());
        let add = |held| {
            let (_, pack) = spooled(&snapshots, &PackOptions::default(), &packing.room).unwrap();
            packing.add(pack, held)
        };
        let waiting = add(first);
        let worker = std::thread::scope(|scope| {
            let panics = || {
                let _alarm = Alarm(&packing, &cancel);
                panic!("as is tested");
            };
            scope.spawn(panics).join()
        });
        worker.unwrap_err();
        assert!(cancel.is_cancelled());
        assert!(waiting.wait().is_none());
        assert!(add(second).wait().is_none());
    }
}
