//! A pull that is killed in the middle of a blob goes on where it was.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use corten_spec::{Descriptor, ImageConfig, Manifest, document, media_type};

use crate::program::Program;

/// A registry that has one image, notes which bytes of its layer are asked for, and can be told to
/// fall silent in the middle of them.
struct Registry {
    address: String,
    layer: Descriptor,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// How much of the layer is sent before silence, if there is to be any.
    silent_after: Option<usize>,
    /// The `Range` of each request for the layer.
    ranges: Vec<Option<String>>,
}

type Contents = Vec<(String, &'static str, Vec<u8>)>;

impl Registry {
    fn start() -> Self {
        let tar: Vec<u8> = (0..500_000_u32).flat_map(u32::to_le_bytes).collect();
        let layer = Descriptor::of(media_type::OCI_LAYER, &tar);
        let config = ImageConfig::default();
        let config = document::to_bytes(&config);
        let config_descriptor = Descriptor::of(media_type::OCI_CONFIG, &config);
        let manifest = Manifest::oci(config_descriptor.clone(), vec![layer.clone()]);
        let manifest = document::to_bytes(&manifest);
        let contents: Contents = vec![
            (
                "manifests/1".into(),
                media_type::OCI_MANIFEST,
                manifest.clone(),
            ),
            (
                format!("manifests/{}", Descriptor::of("", &manifest).digest),
                media_type::OCI_MANIFEST,
                manifest,
            ),
            (
                format!("blobs/{}", config_descriptor.digest),
                "application/octet-stream",
                config,
            ),
            (
                format!("blobs/{}", layer.digest),
                "application/octet-stream",
                tar,
            ),
        ];
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = Arc::new(Mutex::new(State::default()));
        let (shared, name) = (Arc::clone(&state), format!("blobs/{}", layer.digest));
        // It ends with the test's process.
        std::thread::spawn(move || {
            let contents = Arc::new(contents);
            for stream in listener.incoming() {
                let (contents, shared) = (Arc::clone(&contents), Arc::clone(&shared));
                let name = name.clone();
                std::thread::spawn(move || serve(stream.unwrap(), &contents, &shared, &name));
            }
        });
        Self {
            address,
            layer,
            state,
        }
    }

    fn ranges(&self) -> Vec<Option<String>> {
        std::mem::take(&mut self.state.lock().unwrap().ranges)
    }

    fn set_silent_after(&self, silent_after: Option<usize>) {
        self.state.lock().unwrap().silent_after = silent_after;
    }
}

/// Answers one request a connection; a client that is gone ends it.
fn serve(stream: TcpStream, contents: &Contents, state: &Mutex<State>, layer: &str) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut request = String::new();
    reader.read_line(&mut request).ok()?;
    let mut range = None;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim();
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(": ")?;
        if name.eq_ignore_ascii_case("range") {
            range = Some(value.to_owned());
        }
    }
    let found = contents
        .iter()
        .find(|(name, ..)| request.contains(&format!("/{name} ")));
    let mut stream = stream;
    let Some((name, media_type, bytes)) = found else {
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
        return stream.write_all(answer.as_bytes()).ok();
    };
    let start = range.as_ref().map_or(0, |range| {
        let start = range.strip_prefix("bytes=").unwrap().strip_suffix('-');
        start.unwrap().parse().unwrap()
    });
    let status = match &range {
        None => "200 OK".to_owned(),
        Some(_) => format!(
            "206 Partial Content\r\nContent-Range: bytes {start}-{}/{}",
            bytes.len() - 1,
            bytes.len()
        ),
    };
    let body = &bytes[start..];
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {media_type}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).ok()?;
    if request.starts_with("HEAD ") {
        return Some(());
    }
    let mut silent_after = None;
    if name == layer {
        let mut state = state.lock().unwrap();
        state.ranges.push(range);
        silent_after = state.silent_after;
    }
    let Some(silent_after) = silent_after else {
        return stream.write_all(body).ok();
    };
    stream.write_all(&body[..silent_after]).ok()?;
    // Until the client is dead.
    stream.read(&mut [0]).ok().map(drop)
}

/// Starts a pull, kills it when `len` bytes of the layer are in the store, and returns the file that
/// they are in.
fn pull_and_kill(program: &Program, registry: &Registry, len: usize) -> std::path::PathBuf {
    registry.set_silent_after(Some(len));
    let name = format!("{}/app:1", registry.address);
    let mut child = program
        .command(&["pull", &name])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let file = format!("store/ingest/sha256-{}", registry.layer.digest.encoded());
    let file = program.path(&file);
    while fs::metadata(&file).map_or(0, |metadata| metadata.len()) < len as u64 {
        assert!(
            child.try_wait().unwrap().is_none(),
            "the pull ended by itself"
        );
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(fs::metadata(&file).unwrap().len(), len as u64);
    registry.set_silent_after(None);
    file
}

const HALF: usize = 1_000_000;

#[test]
fn a_killed_pull_asks_for_the_rest_alone() {
    let (program, registry) = (Program::new(), Registry::start());
    pull_and_kill(&program, &registry, HALF);
    assert_eq!(registry.ranges(), [None]);
    program.ok(&["pull", "-q", &format!("{}/app:1", registry.address)]);
    assert_eq!(registry.ranges(), [Some(format!("bytes={HALF}-"))]);
    program.ok(&["fsck", "-q"]);
}

#[test]
fn what_a_power_failure_damaged_is_fetched_once_more_as_a_whole() {
    let (program, registry) = (Program::new(), Registry::start());
    let file = pull_and_kill(&program, &registry, HALF);
    registry.ranges();
    // The length reached the disk, and the last bytes did not.
    let mut bytes = fs::read(&file).unwrap();
    bytes[HALF - 4096..].fill(0);
    let mut opened = fs::File::options().write(true).open(&file).unwrap();
    opened.write_all(&bytes).unwrap();
    program.ok(&["pull", "-q", &format!("{}/app:1", registry.address)]);
    assert_eq!(registry.ranges(), [Some(format!("bytes={HALF}-")), None]);
    program.ok(&["fsck", "-q"]);
}

#[test]
fn gc_takes_what_a_killed_pull_left() {
    let (program, registry) = (Program::new(), Registry::start());
    let file = pull_and_kill(&program, &registry, HALF);
    registry.ranges();
    program.ok(&["gc", "-q"]);
    assert!(!file.exists());
    program.ok(&["pull", "-q", &format!("{}/app:1", registry.address)]);
    assert_eq!(registry.ranges(), [None]);
}
