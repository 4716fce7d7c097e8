//! Base images come when they are needed, and builds are the same as with bases that were pulled before.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use corten_spec::{Descriptor, DiffId, ImageConfig, Manifest, Platform, document, media_type};
use corten_tar::{Entry, EntryKind, Timestamp, Writer};
use proptest::prelude::*;

use crate::program::Program;

/// A registry that only answers what it is asked for, and counts that.
struct Registry {
    address: String,
    /// How often each blob was sent.
    sent: Arc<Mutex<BTreeMap<String, usize>>>,
    layers: Vec<String>,
    is_stopped: Arc<AtomicBool>,
    listening: Option<std::thread::JoinHandle<()>>,
}

type Contents = BTreeMap<String, (&'static str, Vec<u8>)>;

impl Registry {
    /// Starts one that has the image `base:1`, which is `base:2`, too, of two layers.
    fn start() -> Self {
        let mut contents = Contents::new();
        let mut add = |kind: &'static str, bytes: Vec<u8>| {
            let descriptor = Descriptor::of(kind, &bytes);
            contents.insert(
                format!("blobs/{}", descriptor.digest),
                ("application/octet-stream", bytes),
            );
            descriptor
        };
        let tars = [("etc/motd", "hello\n"), ("etc/passwd", "app:x:7:8::/:\n")].map(tar);
        let mut config = ImageConfig::scratch(&Platform::host());
        let layers = tars.map(|tar| add(media_type::OCI_LAYER, tar));
        config.rootfs.diff_ids = layers
            .iter()
            .map(|layer| DiffId(layer.digest.clone()))
            .collect();
        let config = add(media_type::OCI_CONFIG, document::to_bytes(&config));
        let manifest = document::to_bytes(&Manifest::oci(config, layers.to_vec()));
        let digest = Descriptor::of("", &manifest).digest;
        let names = ["manifests/1", "manifests/2"].map(str::to_owned);
        for name in names.into_iter().chain([format!("manifests/{digest}")]) {
            contents.insert(name, (media_type::OCI_MANIFEST, manifest.clone()));
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let sent = Arc::new(Mutex::new(BTreeMap::new()));
        let (shared, contents) = (Arc::clone(&sent), Arc::new(contents));
        let is_stopped = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&is_stopped);
        // It ends with the test's process, if not before.
        let listening = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (contents, shared) = (Arc::clone(&contents), Arc::clone(&shared));
                std::thread::spawn(move || serve(&stream.unwrap(), &contents, &shared));
            }
        });
        Self {
            address,
            sent,
            layers: layers.map(|layer| layer.digest.to_string()).to_vec(),
            is_stopped,
            listening: Some(listening),
        }
    }

    /// Lets nobody connect any more.
    fn stop(&mut self) {
        self.is_stopped.store(true, Ordering::SeqCst);
        TcpStream::connect(&self.address).unwrap();
        self.listening.take().unwrap().join().unwrap();
    }

    fn base(&self) -> String {
        format!("{}/base:1", self.address)
    }

    /// Returns how many layers were sent since the last call.
    fn n_layers_sent(&self) -> usize {
        let sent = std::mem::take(&mut *self.sent.lock().unwrap());
        let layers = self.layers.iter();
        layers
            .filter_map(|layer| sent.get(&format!("blobs/{layer}")))
            .sum()
    }
}

/// Answers one request a connection; a client that is gone ends it.
fn serve(
    mut stream: &TcpStream,
    contents: &Contents,
    sent: &Mutex<BTreeMap<String, usize>>,
) -> Option<()> {
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next()?.ok()?;
    while !lines.next()?.ok()?.is_empty() {}
    let found = contents
        .iter()
        .find(|(name, _)| request.contains(&format!("/{name} ")));
    let (name, kind, bytes): (_, _, &[u8]) = match found {
        Some((name, (kind, bytes))) => (name.as_str(), *kind, bytes),
        None => ("", "application/json", b"{}"),
    };
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        bytes.len()
    );
    stream.write_all(head.as_bytes()).ok()?;
    if request.starts_with("HEAD ") {
        return Some(());
    }
    *sent.lock().unwrap().entry(name.to_owned()).or_default() += 1;
    stream.write_all(bytes).ok()
}

fn tar((path, content): (&str, &str)) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    let mut entry = Entry::new(EntryKind::File, path);
    entry.mtime = Timestamp::from_seconds(1000);
    entry.size = content.len() as u64;
    writer.entry(&entry, &mut content.as_bytes()).unwrap();
    writer.finish().unwrap()
}

const BUILD: [&str; 5] = ["build", "-q", "--timestamp=2000", "--tag=app", "context"];

fn built(program: &Program) -> String {
    program.ok(&BUILD)
}

/// What is derived from layers, or in the store as blobs.
fn n_files(program: &Program, directory: &str) -> usize {
    let files = std::fs::read_dir(program.path("store").join(directory));
    files.map_or(0, Iterator::count)
}

#[test]
fn a_cached_build_downloads_and_unpacks_nothing() {
    let (program, registry) = (Program::new(), Registry::start());
    let base = registry.base();
    program.write("context/f", "F");
    let dockerfile =
        format!("FROM {base} AS one\nCOPY --chown=app f /f\nFROM scratch\nCOPY --from=one /f /\n");
    program.write("context/Dockerfile", &dockerfile);
    let first = built(&program);
    assert_eq!(registry.n_layers_sent(), 2);
    // It was needed, so that it is there by its name.
    assert!(program.ok(&["images"]).contains("base:1"));

    program.ok(&["rm", &base]);
    program.ok(&["gc"]);
    let (n_blobs, n_tars) = (
        n_files(&program, "blobs/sha256"),
        n_files(&program, "layers/tar"),
    );
    assert_eq!(built(&program), first);
    assert_eq!(registry.n_layers_sent(), 0);
    assert_eq!(n_files(&program, "blobs/sha256"), n_blobs);
    assert_eq!(n_files(&program, "layers/tar"), n_tars);
    assert_eq!(n_files(&program, "layers/dir"), 0);
    assert!(!program.ok(&["images"]).contains("base:1"));
    program.ok(&["fsck"]);

    program.write("context/f", "G");
    assert_ne!(built(&program), first);
    assert_eq!(registry.n_layers_sent(), 2);
    assert!(program.ok(&["images"]).contains("base:1"));
}

/// BuildKit asks for a tag every time: <https://github.com/moby/buildkit/issues/1904>
#[test]
fn a_cached_build_needs_no_network() {
    let (program, mut registry) = (Program::new(), Registry::start());
    let base = registry.base();
    program.write("context/f", "F");
    let dockerfile =
        format!("FROM {base} AS one\nCOPY --chown=app f /f\nFROM scratch\nCOPY --from=one /f /\n");
    program.write("context/Dockerfile", &dockerfile);
    let first = built(&program);
    program.ok(&["rm", &base]);
    program.ok(&["gc"]);
    registry.stop();
    let ran = program.run(&BUILD);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(
        ran.stderr.contains("is taken to be what it was"),
        "{}",
        ran.stderr
    );
    assert_eq!(built(&program), first);

    let mut args = BUILD.to_vec();
    args.push("--pull");
    assert_eq!(program.run(&args).code, 1);
    // A step that needs a layer says so, and how to have it.
    program.write("context/f", "G");
    let ran = program.run(&BUILD);
    assert_eq!(ran.code, 1);
    let hint = format!(
        "hint: a base image comes into the local store only when a step needs it; `corten pull {base}`"
    );
    assert!(
        ran.stderr
            .contains(&format!("the layers of `{base}` are needed"))
            && ran.stderr.contains(&hint),
        "{}",
        ran.stderr
    );
}

/// Whoever asks for the registry's image does not go back to an older one without.
#[test]
fn a_name_is_that_of_the_image_that_was_asked_for() {
    let (program, registry) = (Program::with_base(), Registry::start());
    let base = registry.base();
    program.write("context/f", "F");
    let dockerfile = format!("FROM {base} AS one\nCOPY f /f\nFROM scratch\nCOPY --from=one /f /\n");
    program.write("context/Dockerfile", &dockerfile);
    let first = built(&program);
    // An older image has the name.
    program.write_tar("old.tar", &[("etc/motd", b"old\n", 0o644)]);
    program.ok(&["import", "old.tar", "-t", &base]);
    program.ok(&["gc"]);
    assert_eq!(program.ok(&["cat", &base, "/etc/motd"]), "old");
    let mut args = BUILD.to_vec();
    args.push("--pull");
    assert_eq!(program.ok(&args), first);
    assert_eq!(program.ok(&["cat", &base, "/etc/motd"]), "hello");
}

/// A build without network is told how to have what it needs.
#[test]
fn a_base_out_of_reach() {
    let program = Program::new();
    program.write("context/Dockerfile", "FROM 127.0.0.1:1/base:1\nENV A=1\n");
    let ran = program.run(&["build", "context"]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.stderr.contains("which is not in the local store")
            && ran.stderr.contains("`corten pull 127.0.0.1:1/base:1`"),
        "{}",
        ran.stderr
    );
}

#[test]
fn an_image_whose_layers_came_with_another_has_its_name() {
    let (program, registry) = (Program::new(), Registry::start());
    let base = registry.base();
    let other = base.replace("base:1", "base:2");
    program.write("context/f", "F");
    let dockerfile =
        format!("FROM {base} AS one\nFROM {other}\nCOPY --from=one /etc/motd /x\nCOPY f /f\n");
    program.write("context/Dockerfile", &dockerfile);
    built(&program);
    assert_eq!(registry.n_layers_sent(), 2);
    let images = program.ok(&["images"]);
    assert!(
        images.contains("base:1") && images.contains("base:2"),
        "{images}"
    );
}

/// What an image in the store is made of is in the store, whether a step needed it or not.
#[test]
fn an_image_of_the_config_alone_is_whole_in_the_store() {
    let (program, registry) = (Program::new(), Registry::start());
    let dockerfile = format!("FROM {}\nENV A=1\n", registry.base());
    program.write("context/Dockerfile", &dockerfile);
    let built = built(&program);
    assert_eq!(registry.n_layers_sent(), 2);
    program.ok(&["gc"]);
    program.ok(&["fsck"]);
    program.ok(&["validate", built.trim()]);
}

/// A build for a registry leaves there what is there, and takes nothing here.
#[test]
fn a_base_that_nothing_is_based_on_does_not_come() {
    let (program, registry) = (Program::new(), Registry::start());
    let dockerfile = format!(
        "FROM {} AS unused\nFROM scratch\nENV A=1\n",
        registry.base()
    );
    program.write("context/Dockerfile", &dockerfile);
    built(&program);
    assert_eq!(registry.n_layers_sent(), 0);
}

const INSTRUCTIONS: [&str; 9] = [
    "COPY f /f",
    "COPY --chown=app f /g",
    "COPY --link f /h",
    "WORKDIR /work",
    "ENV A=1",
    "USER app",
    "LABEL a=b",
    "FROM BASE AS other",
    "FROM scratch",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn builds_are_those_of_a_base_that_was_pulled(
        instructions in prop::collection::vec(prop::sample::select(&INSTRUCTIONS[..]), 1..6),
    ) {
        let registry = Registry::start();
        // Nobody has a name in an empty image.
        let mut is_empty = false;
        let mut dockerfile = "FROM BASE\n".to_owned();
        for instruction in instructions {
            is_empty = match instruction {
                "FROM scratch" => true,
                from if from.starts_with("FROM") => false,
                _ => is_empty,
            };
            if !(is_empty && instruction.contains("app")) {
                dockerfile.push_str(instruction);
                dockerfile.push('\n');
            }
        }
        let dockerfile = dockerfile.replace("BASE", &registry.base());
        let [lazily, at_once] = [false, true].map(|is_pulled| {
            let program = Program::new();
            program.write("context/f", "F");
            program.write("context/Dockerfile", &dockerfile);
            if is_pulled {
                program.ok(&["pull", "-q", &registry.base()]);
            }
            built(&program)
        });
        prop_assert_eq!(lazily, at_once, "{}", dockerfile);
    }
}
