//! What is in the store: every file looked at, every blob hashed.

use std::collections::{BTreeMap, HashMap};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use corten_spec::{Descriptor, Digest, DocumentType as _, Kind, Layout as Header, json};

use super::repair::OLD_INDEX;
use super::{Damage, Finding};
use crate::files::{open_own, open_regular};
use crate::gc::mark::Unprotected;
use crate::graph::Parent;
use crate::lease;
use crate::lock::{Lock, try_lock};
use crate::store::{blob_name, list_dir};
use crate::{Error, Result, Store};

/// What is in a store.
#[derive(Debug)]
pub struct Survey {
    pub(super) blobs: BTreeMap<Digest, BlobState>,
    /// The entries of `index.json`, or why it has none.
    pub(super) index: std::result::Result<Vec<Descriptor>, String>,
    /// Why `oci-layout` cannot be used, if so.
    pub(super) header: Option<String>,
    /// What each document that is reached refers to, or why it cannot be used.
    pub(super) documents: HashMap<Digest, std::result::Result<Vec<Descriptor>, String>>,
    /// What build records need.
    pub(super) recorded: Vec<Descriptor>,
    pub(super) ingests: Vec<Ingest>,
    pub(super) strays: Vec<PathBuf>,
}

/// What a blob on the disk is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlobState {
    /// Its bytes are those that its name promises.
    Whole {
        /// How many there are.
        size: u64,
    },
    /// They are not.
    Damaged(Damage),
    /// Nobody here can compute its digest.
    Unverifiable {
        /// How many bytes there are.
        size: u64,
    },
}

/// A write in progress or left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ingest {
    /// Its file.
    pub path: PathBuf,
    /// How many bytes were written.
    pub size: u64,
    /// How many bytes of the disk it takes.
    pub disk_bytes: u64,
    /// Whether its writer is still at it.
    pub is_live: bool,
}

/// What belongs into the directory of a store; everything else is a stray.
const OWN: [&str; 9] = [
    Header::FILE,
    Header::INDEX_FILE,
    "blobs",
    "cache",
    "contexts",
    "ingest",
    "layers",
    "locks",
    "run-caches",
];

impl Default for Survey {
    fn default() -> Self {
        Self {
            blobs: BTreeMap::new(),
            index: Ok(Vec::new()),
            header: None,
            documents: HashMap::new(),
            recorded: Vec::new(),
            ingests: Vec::new(),
            strays: Vec::new(),
        }
    }
}

impl Survey {
    /// Looks at everything in `store` and hashes every blob, on `threads` threads at once.
    ///
    /// `recorded` is what build records need. Names may come and go meanwhile; `gc` waits. Blocks
    /// for as long as reading the whole store takes; memory grows with the number of blobs alone.
    pub fn take(store: &Store, recorded: Vec<Descriptor>, threads: usize) -> Result<Self> {
        let _no_gc = Lock::shared(&lease::gc_lock(&store.locks_dir()))?;
        let mut survey = Self {
            recorded,
            header: check_header(store),
            ..Self::default()
        };
        survey.look_around(store)?;
        let mut paths = Vec::new();
        for path in store.blobs()? {
            match blob_name(&path) {
                Some(digest) => paths.push((digest, path)),
                None => survey.strays.push(path),
            }
        }
        survey.blobs = hash_all(&paths, threads);
        survey.read_names(store);
        Ok(survey)
    }

    /// Brings the survey up to date after `changed` blobs were replaced or removed.
    pub fn update(&mut self, store: &Store, changed: &[Digest]) -> Result<()> {
        let _no_gc = Lock::shared(&lease::gc_lock(&store.locks_dir()))?;
        for digest in changed {
            self.blobs.remove(digest);
            self.look_at(store, digest);
        }
        self.header = check_header(store);
        self.strays.clear();
        self.look_around(store)?;
        self.read_names(store);
        Ok(())
    }

    /// Returns the number of blobs, and of the bytes of those that are whole.
    pub fn blobs(&self) -> (usize, u64) {
        let size = |state: &BlobState| match state {
            BlobState::Whole { size } | BlobState::Unverifiable { size } => *size,
            BlobState::Damaged(_) => 0,
        };
        (self.blobs.len(), self.blobs.values().map(size).sum())
    }

    /// Returns the entries of `index.json`; none if it cannot be read.
    pub fn entries(&self) -> &[Descriptor] {
        self.index.as_deref().unwrap_or_default()
    }

    /// Returns what is wrong with the two files of the layout.
    pub(super) fn files(&self) -> impl Iterator<Item = Finding> + '_ {
        let header = self.header.clone().map(|reason| (Header::FILE, reason));
        let index = self.index.as_ref().err().cloned();
        let index = index.map(|reason| (Header::INDEX_FILE, reason));
        let found = header.into_iter().chain(index);
        found.map(|(name, reason)| Finding::File { name, reason })
    }

    /// Reads the names and the documents that they lead to, each once.
    fn read_names(&mut self, store: &Store) {
        self.index = store.dir().entries().map_err(|error| explain(&error));
        self.documents.clear();
        let mut pending = self.entries().to_vec();
        while let Some(content) = pending.pop() {
            let digest = &content.digest;
            if self.documents.contains_key(digest) {
                continue;
            }
            // A pull may have brought it since the blobs were listed.
            if !self.blobs.contains_key(digest) {
                self.look_at(store, digest);
            }
            if !(content.kind().has_children() || content.kind() == Kind::Schema1) {
                continue;
            }
            let Some(BlobState::Whole { size }) = self.blobs.get(digest) else {
                continue;
            };
            // Who says a wrong size is a finding of its own, and hides nothing.
            let real = Descriptor {
                size: *size,
                ..content.bare()
            };
            let children = Parent::load(&Unprotected(store.dir()), &real)
                .map(|parent| parent.map_or_else(Vec::new, |parent| parent.children()));
            if let Ok(children) = &children {
                pending.extend(children.iter().cloned());
            }
            let children = children.map_err(|error| explain(&error));
            self.documents.insert(digest.clone(), children);
        }
    }

    fn look_at(&mut self, store: &Store, digest: &Digest) {
        if let Some(state) = hash(digest, &store.blob_path(digest)) {
            self.blobs.insert(digest.clone(), state);
        }
    }

    /// Finds unfinished writes and what does not belong here.
    fn look_around(&mut self, store: &Store) -> Result<()> {
        for path in list_dir(store.root())? {
            let name = path.file_name().and_then(|name| name.to_str());
            // The old index may be the only place that has the names: it belongs here.
            let is_own = |name: &str| OWN.contains(&name) || name.starts_with(OLD_INDEX);
            if !name.is_some_and(is_own) {
                self.strays.push(path);
            }
        }
        for path in list_dir(&store.dir().blobs_dir())? {
            if !path.is_dir() {
                self.strays.push(path);
            }
        }
        self.ingests = ingests(store)?;
        Ok(())
    }
}

/// Returns the writes in progress and those that were left behind.
pub(crate) fn ingests(store: &Store) -> Result<Vec<Ingest>> {
    let dir = store.dir().ingest_dir();
    let mut found = Vec::new();
    if !dir.is_dir() {
        return Ok(found);
    }
    for path in list_dir(&dir)? {
        // A pipe that somebody put there is not waited for.
        let Ok(file) = open_own(&path) else {
            continue;
        };
        let metadata = file.metadata().map_err(Error::system("read", &path))?;
        let is_live = !try_lock(&file).map_err(Error::system("lock", &path))?;
        found.push(Ingest {
            path,
            size: metadata.len(),
            disk_bytes: metadata.blocks() * 512,
            is_live,
        });
    }
    Ok(found)
}

fn check_header(store: &Store) -> Option<String> {
    let bytes = match store.dir().read_own(Header::FILE, Header::limit()) {
        Ok(bytes) => bytes,
        Err(error) => return Some(explain(&error)),
    };
    let header: corten_spec::Result<Header> = json::parse(Header::NAME, &bytes);
    let checked = header.and_then(|header| header.check(""));
    checked.err().map(|error| error.to_string())
}

/// Hashes the blobs. Who is done with one takes the next, whatever their sizes.
fn hash_all(paths: &[(Digest, PathBuf)], threads: usize) -> BTreeMap<Digest, BlobState> {
    let next = AtomicUsize::new(0);
    let states = Mutex::new(BTreeMap::new());
    let work = || {
        while let Some((digest, path)) = paths.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Some(state) = hash(digest, path) {
                let mut states = states.lock().unwrap_or_else(PoisonError::into_inner);
                states.insert(digest.clone(), state);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
    states.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Tells what the blob at `path` is; `None` if there is nothing.
pub(crate) fn hash(digest: &Digest, path: &Path) -> Option<BlobState> {
    let unreadable = |error: std::io::Error| {
        let reason = error.to_string();
        BlobState::Damaged(Damage::Unreadable { reason })
    };
    let (mut file, size) = match open_regular(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        Err(error) => return Some(unreadable(error)),
        Ok(opened) => opened,
    };
    let Ok(mut hasher) = digest.hasher() else {
        return Some(BlobState::Unverifiable { size });
    };
    let mut buf = vec![0; 256 << 10];
    loop {
        match file.read(&mut buf) {
            Ok(0) => break,
            Ok(n_read) => hasher.update(buf.get(..n_read).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Some(unreadable(error)),
        }
    }
    let received = hasher.finish();
    Some(if received == *digest {
        BlobState::Whole { size }
    } else {
        BlobState::Damaged(Damage::WrongBytes { received, size })
    })
}

/// Returns an error with its causes, in one line.
pub(super) fn explain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
