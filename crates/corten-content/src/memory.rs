//! Content in memory: the backend of tests, and of images that are made and sent on at once.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Cursor, Read, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use corten_spec::{Descriptor, Digest, Hasher};

use crate::graph::{self, referrer};
use crate::{Error, Ingest, IngestPlan, Result, Sink, Source};

/// A place in memory.
///
/// ```
/// use corten_content::{Memory, Sink, Source, read};
///
/// let memory = Memory::new();
/// let content = memory.add("text/plain", b"hello");
/// memory.tag("greeting", &content)?;
/// assert_eq!(memory.resolve("greeting")?, content);
/// assert_eq!(read(&memory, &content, 100)?, b"hello");
/// # Ok::<(), corten_content::Error>(())
/// ```
#[derive(Default)]
pub struct Memory {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    blobs: BTreeMap<Digest, Arc<[u8]>>,
    partial: BTreeMap<Digest, Vec<u8>>,
    tags: BTreeMap<String, Descriptor>,
}

const PLACE: &str = "memory";

impl Memory {
    /// Returns an empty place.
    pub fn new() -> Self {
        Self::default()
    }

    /// Stores `bytes` and returns their descriptor.
    pub fn add(&self, media_type: &str, bytes: &[u8]) -> Descriptor {
        let content = Descriptor::of(media_type, bytes);
        self.state()
            .blobs
            .insert(content.digest.clone(), bytes.into());
        content
    }

    /// Stores `bytes` under `digest` whatever they hash to: what a broken place looks like.
    pub fn add_unchecked(&self, digest: &Digest, bytes: &[u8]) {
        self.state().blobs.insert(digest.clone(), bytes.into());
    }

    /// Removes the blob that `digest` names; tells whether it was there.
    pub fn remove(&self, digest: &Digest) -> bool {
        self.state().blobs.remove(digest).is_some()
    }

    /// Returns the digests of all blobs, in order.
    pub fn digests(&self) -> Vec<Digest> {
        self.state().blobs.keys().cloned().collect()
    }

    /// Returns all tags with what they point at, in order.
    pub fn tags(&self) -> Vec<(String, Descriptor)> {
        self.state().tags.clone().into_iter().collect()
    }

    fn blob(&self, digest: &Digest) -> Result<Arc<[u8]>> {
        let blob = self.state().blobs.get(digest).cloned();
        blob.ok_or_else(|| not_found(digest.as_str()))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No operation leaves the maps half changed, so a panic elsewhere does no harm to them.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("Memory")
            .field("blobs", &state.blobs.keys())
            .field("tags", &state.tags.keys())
            .finish_non_exhaustive()
    }
}

impl Source for Memory {
    fn place(&self) -> String {
        PLACE.into()
    }

    fn resolve(&self, name: &str) -> Result<Descriptor> {
        if let Some(content) = self.state().tags.get(name) {
            return Ok(content.clone());
        }
        let digest = name.strip_prefix('@').unwrap_or(name).parse::<Digest>();
        let digest = digest.map_err(|_| not_found(name))?;
        graph::describe(&digest, &self.blob(&digest)?, PLACE)
    }

    fn fetch(&self, content: &Descriptor, offset: u64) -> Result<Box<dyn Read + Send + '_>> {
        let mut reader = Cursor::new(self.blob(&content.digest)?);
        reader.set_position(offset);
        Ok(Box::new(reader))
    }

    fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>> {
        let blobs = self.state().blobs.clone();
        let describe = |(digest, bytes): (&Digest, &Arc<[u8]>)| {
            let content = graph::describe(digest, bytes, PLACE).ok()?;
            referrer(self, &content, subject).ok()?
        };
        Ok(blobs.iter().filter_map(describe).collect())
    }
}

impl Sink for Memory {
    fn place(&self) -> String {
        PLACE.into()
    }

    fn contains(&self, content: &Descriptor) -> Result<bool> {
        let state = self.state();
        let blob = state.blobs.get(&content.digest);
        Ok(blob.is_some_and(|blob| blob.len() as u64 == content.size))
    }

    fn ingest(&self, plan: &IngestPlan) -> Result<Box<dyn Ingest + '_>> {
        let key = plan.content.as_ref().map(|content| content.digest.clone());
        let partial = key
            .as_ref()
            .and_then(|key| self.state().partial.remove(key));
        Ok(Box::new(MemoryIngest {
            memory: self,
            hasher: Hasher::new(plan.algorithm),
            key,
            bytes: partial.unwrap_or_default(),
        }))
    }

    fn tag(&self, tag: &str, content: &Descriptor) -> Result<()> {
        if !self.contains(content)? {
            return Err(not_found(content.digest.as_str()));
        }
        self.state().tags.insert(tag.into(), content.clone());
        Ok(())
    }
}

struct MemoryIngest<'a> {
    memory: &'a Memory,
    hasher: Hasher,
    key: Option<Digest>,
    bytes: Vec<u8>,
}

impl Write for MemoryIngest<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.bytes.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Ingest for MemoryIngest<'_> {
    fn offset(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn commit(mut self: Box<Self>, expected: Option<&Descriptor>) -> Result<(Digest, u64)> {
        self.key = None;
        let bytes = std::mem::take(&mut self.bytes);
        self.hasher.update(&bytes);
        let digest = self.hasher.clone().finish();
        let size = bytes.len() as u64;
        if let Some(expected) = expected {
            graph::compare(expected, &digest, size, PLACE)?;
        }
        self.memory
            .state()
            .blobs
            .insert(digest.clone(), bytes.into());
        Ok((digest, size))
    }
}

impl Drop for MemoryIngest<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            let bytes = std::mem::take(&mut self.bytes);
            self.memory.state().partial.insert(key, bytes);
        }
    }
}

fn not_found(name: &str) -> Error {
    Error::NotFound {
        name: name.into(),
        place: PLACE.into(),
    }
}
