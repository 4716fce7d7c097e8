//! A registry in this process, right unless it is told to misbehave.

mod answer;

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use corten_spec::{Algorithm, Digest};

/// How the registry differs from the specification, or uses a freedom that it leaves.
#[derive(Debug, Clone, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an independent switch"
)]
pub(crate) struct Quirks {
    pub(crate) auth: Auth,
    /// Requests whose target contains this are read and never answered.
    pub(crate) stall_on: Option<&'static str>,
    /// Blobs are served with their first byte changed.
    pub(crate) wrong_bytes: bool,
    /// Blobs are served without their last byte, with the length to match.
    pub(crate) short_blobs: bool,
    /// So many blob answers break off in the middle.
    pub(crate) n_drops: usize,
    /// `Range` is ignored.
    pub(crate) no_ranges: bool,
    /// So many requests get 429.
    pub(crate) n_too_many: usize,
    /// Where blobs really are.
    pub(crate) redirect_blobs: Option<String>,
    /// Refusals are web pages.
    pub(crate) html_errors: bool,
    /// What manifests are said to hash to.
    pub(crate) lying_digest: Option<String>,
    /// HEAD is not allowed.
    pub(crate) no_head: bool,
    /// What manifests are said to be.
    pub(crate) content_type: Option<&'static str>,
    /// Manifests come with `; charset=utf-8`.
    pub(crate) charset: bool,
    /// So many times somebody else adds to an index that has a tag just before it is written.
    pub(crate) others_write: usize,
    /// There is no list of referrers.
    pub(crate) no_referrers: bool,
    /// The list of referrers is a web page with status 200.
    pub(crate) html_referrers: bool,
    /// Lists are served in pages of so many entries.
    pub(crate) page: Option<usize>,
    /// Nothing can be mounted.
    pub(crate) no_mount: bool,
    /// `OCI-Chunk-Min-Length`.
    pub(crate) chunk_min: Option<usize>,
    /// So many requests of this method are half taken, then break off.
    pub(crate) n_halves: usize,
    pub(crate) half_method: &'static str,
    /// So many closing requests get 503.
    pub(crate) n_unavailable_puts: usize,
    /// So many closing requests get 429.
    pub(crate) n_too_many_puts: usize,
    /// Where uploads go on.
    pub(crate) upload_base: Option<String>,
    /// Where the token server really is.
    pub(crate) redirect_token: Option<String>,
    /// What the token server answers.
    pub(crate) token_status: Option<u16>,
    /// Nothing can be uploaded, for want of a repository.
    pub(crate) no_repository: bool,
    /// A `Warning` on every answer.
    pub(crate) warning: Option<&'static str>,
}

#[derive(Debug, Clone, Default)]
pub(crate) enum Auth {
    #[default]
    Open,
    Basic,
    /// A token for everyone to pull; to push, one for `me` with `s3cret`.
    Bearer,
    /// Tokens, but none without the password.
    Closed,
    /// A token server that gives its tokens for the identity token `id-t0ken`.
    Identity,
}

#[derive(Default)]
struct Repo {
    blobs: HashMap<String, Vec<u8>>,
    manifests: HashMap<String, (String, Vec<u8>)>,
    tags: BTreeMap<String, String>,
}

#[derive(Default)]
pub(crate) struct State {
    repos: HashMap<String, Repo>,
    uploads: HashMap<String, (Algorithm, Vec<u8>)>,
    n_uploads: usize,
    pub(crate) quirks: Quirks,
    pub(crate) log: Vec<Seen>,
}

/// A request that arrived.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.method, self.target)
    }
}

pub(crate) struct Fake {
    pub(crate) host: String,
    state: Arc<Mutex<State>>,
}

struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// Break off after so many bytes of the body.
    cut: Option<usize>,
}

impl Answer {
    fn new(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
            cut: None,
        }
    }

    fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    fn body(mut self, body: Vec<u8>) -> Self {
        self.body = body;
        self
    }
}

impl Fake {
    pub(crate) fn start(quirks: Quirks) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let state = Arc::new(Mutex::new(State {
            quirks,
            ..State::default()
        }));
        let (shared, own) = (Arc::clone(&state), host.clone());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (shared, own) = (Arc::clone(&shared), own.clone());
                thread::spawn(move || serve(&stream, &shared, &own));
            }
        });
        Self { host, state }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn put_blob(&self, repo: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::sha256(bytes);
        let mut state = self.state();
        let repo = state.repos.entry(repo.into()).or_default();
        repo.blobs.insert(digest.to_string(), bytes.to_vec());
        digest
    }

    pub(crate) fn put_manifest(
        &self,
        repo: &str,
        tag: &str,
        media_type: &str,
        bytes: &[u8],
    ) -> Digest {
        let digest = Digest::sha256(bytes);
        let mut state = self.state();
        let repo = state.repos.entry(repo.into()).or_default();
        repo.manifests
            .insert(digest.to_string(), (media_type.into(), bytes.to_vec()));
        repo.tags.insert(tag.into(), digest.to_string());
        digest
    }

    pub(crate) fn blob(&self, repo: &str, digest: &Digest) -> Option<Vec<u8>> {
        self.state()
            .repos
            .get(repo)?
            .blobs
            .get(digest.as_str())
            .cloned()
    }

    /// The bytes of the manifest that `name`, a tag or a digest, stands for.
    pub(crate) fn manifest(&self, repo: &str, name: &str) -> Option<Vec<u8>> {
        let state = self.state();
        let repo = state.repos.get(repo)?;
        let digest = repo.tags.get(name).map_or(name, String::as_str);
        repo.manifests.get(digest).map(|(_, bytes)| bytes.clone())
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.state().log.iter().map(Seen::line).collect()
    }

    pub(crate) fn n_uploads_open(&self) -> usize {
        self.state().uploads.len()
    }
}

fn serve(stream: &TcpStream, state: &Mutex<State>, host: &str) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut seen = read_head(&mut reader)?;
        let len: usize = seen
            .headers
            .get("content-length")
            .map_or(0, |len| len.parse().unwrap());
        let is_half = {
            let mut state = state.lock().unwrap();
            let is_half = seen.method == state.quirks.half_method && state.quirks.n_halves > 0;
            if is_half {
                state.quirks.n_halves -= 1;
                seen.headers.insert("x-half".into(), String::new());
            }
            is_half
        };
        seen.body = vec![0; if is_half { len / 2 } else { len }];
        reader.read_exact(&mut seen.body).ok()?;
        let stalls = {
            let mut state = state.lock().unwrap();
            state.log.push(seen.clone());
            state
                .quirks
                .stall_on
                .is_some_and(|part| seen.target.contains(part))
        };
        if stalls {
            // Until the client gives up and closes the connection.
            drop(reader.read(&mut [0]));
            return None;
        }
        let answer = {
            let mut state = state.lock().unwrap();
            let answer = answer::answer(&mut state, &seen, host);
            match &state.quirks.warning {
                Some(warning) => answer.with("Warning", *warning),
                None => answer,
            }
        };
        if is_half {
            return None;
        }
        write(stream, &seen, &answer)?;
    }
}

fn read_head(reader: &mut impl BufRead) -> Option<Seen> {
    let mut line = String::new();
    reader
        .read_line(&mut line)
        .ok()
        .filter(|&n_read| n_read > 0)?;
    let mut words = line.split_ascii_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    Some(Seen {
        method,
        target,
        headers,
        body: Vec::new(),
    })
}

fn write(mut stream: &TcpStream, seen: &Seen, answer: &Answer) -> Option<()> {
    let mut head = format!("HTTP/1.1 {} X\r\n", answer.status);
    let length = ("Content-Length".to_owned(), answer.body.len().to_string());
    let length = Some(&length).filter(|_| answer.status != 204);
    for (name, value) in answer.headers.iter().chain(length) {
        head.extend([name, ": ", value, "\r\n"]);
    }
    head.push_str("\r\n");
    let mut bytes = head.into_bytes();
    if seen.method != "HEAD" {
        bytes.extend(&answer.body[..answer.cut.unwrap_or(answer.body.len())]);
    }
    stream.write_all(&bytes).ok()?;
    answer.cut.is_none().then_some(())
}
