//! A registry in this process: the whole distribution specification, kept in memory, at a loopback
//! address of its own.
//!
//! It is right by default. What the specification leaves open is in [`Options`]; what it forbids is
//! done by an [`Interposer`], which sees every request and answer.
//!
//! ```
//! use corten_testing::Registry;
//!
//! let registry = Registry::start();
//! let digest = registry.put_blob("acme/app", b"hello");
//! assert_eq!(registry.blob("acme/app", &digest).as_deref(), Some(&b"hello"[..]));
//! ```

mod http;
mod lists;
mod manifests;
mod router;
mod state;
mod uploads;

use std::net::TcpListener;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use corten_spec::Digest;

use state::State;

pub use http::{Request, Response};

/// What the specification leaves to a registry.
#[derive(Debug, Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an independent freedom"
)]
pub struct Options {
    /// Whether it lists referrers.
    pub referrers: bool,
    /// Whether manifests have an `ETag`, and `If-Match` and `If-None-Match` are heeded.
    pub conditions: bool,
    /// Whether a blob may come with the request that opens the upload.
    pub single_post: bool,
    /// Whether blobs of any repository are mounted for who names none.
    pub anonymous_mount: bool,
    /// Whether blobs of other repositories are mounted at all.
    pub mount: bool,
    /// Whether manifests and blobs can be deleted.
    pub deletes: bool,
    /// Whether tags can be deleted.
    pub tag_deletes: bool,
    /// How many entries a list has at most before it goes on elsewhere.
    pub page: usize,
    /// Whether lists that go on say where, in `Link`.
    pub links: bool,
    /// How long chunks have to be, in bytes, but for the last.
    pub chunk_min: Option<usize>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            referrers: true,
            conditions: true,
            single_post: true,
            anonymous_mount: true,
            mount: true,
            deletes: true,
            tag_deletes: true,
            page: 1000,
            links: true,
            chunk_min: None,
        }
    }
}

/// How the body of a request is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reading {
    /// To its end.
    #[default]
    Whole,
    /// To its middle: that half is carried out, and the connection ends without an answer.
    Half,
    /// Not at all: the connection ends.
    Nothing,
}

/// What becomes of a request.
#[derive(Debug, Default)]
pub enum Step {
    /// The registry answers it.
    #[default]
    Pass,
    /// It is carried out twice, and answered as the second time.
    Twice,
    /// It is answered so, and the registry does not see it.
    Answer(Response),
    /// It is never answered: the connection stays open until the client ends it.
    Stall,
}

/// Stands between clients and the registry, as a broken proxy would.
pub trait Interposer: Send {
    /// Decides how the body of `request`, of which only the head is there, is read.
    fn reading(&mut self, request: &Request) -> Reading {
        let _ = request;
        Reading::Whole
    }

    /// Decides what becomes of `request`, and may change it.
    fn before(&mut self, request: &mut Request) -> Step {
        let _ = request;
        Step::Pass
    }

    /// May change the answer to `request`.
    fn after(&mut self, request: &Request, response: &mut Response) {
        let _ = (request, response);
    }
}

/// A registry that is listening. It ends with the process.
#[derive(Clone)]
pub struct Registry {
    host: String,
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry")
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

struct Shared {
    state: Mutex<State>,
    log: Mutex<Vec<Request>>,
    interposer: Mutex<Option<Box<dyn Interposer>>>,
}

impl Registry {
    /// Starts a registry that has everything that a registry may have.
    pub fn start() -> Self {
        Self::with(Options::default())
    }

    /// Starts a registry as `options` say.
    ///
    /// # Panics
    /// Panics if this machine has no loopback address to listen at.
    pub fn with(options: Options) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("it listens somewhere");
        let registry = Self {
            host: address.to_string(),
            shared: Arc::new(Shared {
                state: Mutex::new(State::new(options)),
                log: Mutex::default(),
                interposer: Mutex::default(),
            }),
        };
        let shared = Arc::clone(&registry.shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                thread::spawn(move || http::serve(&stream, &shared));
            }
        });
        registry
    }

    /// Puts `interposer` between clients and the registry, in place of the one before.
    pub fn interpose(&self, interposer: impl Interposer + 'static) {
        *lock(&self.shared.interposer) = Some(Box::new(interposer));
    }

    /// Takes the interposer away.
    pub fn behave(&self) {
        *lock(&self.shared.interposer) = None;
    }

    /// Returns host and port.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Changes what the registry may do.
    pub fn change(&self, change: impl FnOnce(&mut Options)) {
        change(&mut lock(&self.shared.state).options);
    }

    /// Returns every request so far, and forgets them.
    pub fn take_log(&self) -> Vec<Request> {
        std::mem::take(&mut lock(&self.shared.log))
    }

    /// Returns method and target of every request so far.
    pub fn lines(&self) -> Vec<String> {
        lock(&self.shared.log).iter().map(Request::line).collect()
    }

    /// Returns the requests so far, for as long as the guard lives.
    pub fn log(&self) -> MutexGuard<'_, Vec<Request>> {
        lock(&self.shared.log)
    }

    /// Keeps `bytes` as a blob of `repository`.
    pub fn put_blob(&self, repository: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::sha256(bytes);
        let mut state = lock(&self.shared.state);
        state.repository(repository).keep_blob(&digest, bytes);
        digest
    }

    /// Keeps `bytes` as a manifest of `repository` with `tag`, whatever they are.
    pub fn put_manifest(
        &self,
        repository: &str,
        tag: &str,
        media_type: &str,
        bytes: &[u8],
    ) -> Digest {
        let digest = Digest::sha256(bytes);
        let mut state = lock(&self.shared.state);
        let repository = state.repository(repository);
        repository.keep_manifest(&digest, media_type, bytes);
        repository.tags.insert(tag.to_owned(), digest.to_string());
        digest
    }

    /// Returns the blob `digest` of `repository`.
    pub fn blob(&self, repository: &str, digest: &Digest) -> Option<Vec<u8>> {
        let state = lock(&self.shared.state);
        let blobs = &state.repositories.get(repository)?.blobs;
        blobs.get(digest.as_str()).map(|bytes| bytes.to_vec())
    }

    /// Returns the manifest of `repository` that `name`, a tag or a digest, stands for.
    pub fn manifest(&self, repository: &str, name: &str) -> Option<Vec<u8>> {
        let state = lock(&self.shared.state);
        let (_, manifest) = state.repositories.get(repository)?.manifest(name)?;
        Some(manifest.bytes.to_vec())
    }

    /// Returns how many uploads are open.
    pub fn n_uploads_open(&self) -> usize {
        lock(&self.shared.state).uploads.len()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A test that fails while it holds the lock must not make others fail, too.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
