//! A broken proxy between us and a registry, at every request in turn: a copy ends right or fails
//! clearly, and the next one goes on.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use corten_content::{CopyOptions, Durability, Memory, Sink, Source, Store, children, copy, read};
use corten_registry::{Chunks, Settings};
use corten_spec::{Descriptor, Digest, Index, Manifest, document, media_type};
use corten_testing::Registry;
use corten_testing::registry::{Interposer, Reading, Request, Response, Step};

use crate::push::noise;
use crate::{chain, repository_with, settings};

/// What the proxy does to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Ends the connection and passes nothing on.
    Drop,
    /// Passes half of the body on, and ends the connection.
    HalfRequest,
    /// Passes it on, and the answer gets lost.
    LoseAnswer,
    /// Passes half of the answer's body on.
    Truncate,
    /// Never answers.
    Stall,
    /// Changes a byte of the answer's body.
    Corrupt,
    /// Passes it on twice.
    Repeat,
    /// Sends the client to another path.
    Redirect,
    /// Answers in the registry's place.
    Status(u16),
    /// Says that the answer is longer, or shorter, than it is.
    Longer,
    Shorter,
}

const FAULTS: [Fault; 15] = [
    Fault::Drop,
    Fault::HalfRequest,
    Fault::LoseAnswer,
    Fault::Truncate,
    Fault::Stall,
    Fault::Corrupt,
    Fault::Repeat,
    Fault::Redirect,
    Fault::Status(429),
    Fault::Status(500),
    Fault::Status(502),
    Fault::Status(503),
    Fault::Status(404),
    Fault::Longer,
    Fault::Shorter,
];

/// Does something to the request number `first`.
struct Proxy {
    fault: Fault,
    first: usize,
    seen: usize,
    is_hit: bool,
}

impl Interposer for Proxy {
    fn reading(&mut self, _: &Request) -> Reading {
        self.is_hit = self.seen == self.first;
        self.seen += 1;
        match self.fault {
            Fault::Drop if self.is_hit => Reading::Nothing,
            Fault::HalfRequest if self.is_hit => Reading::Half,
            _ => Reading::Whole,
        }
    }

    fn before(&mut self, request: &mut Request) -> Step {
        if let Some(rest) = request.target.strip_prefix("/moved") {
            request.target = rest.to_owned();
        }
        match self.fault {
            _ if !self.is_hit => Step::Pass,
            Fault::Stall => Step::Stall,
            Fault::Repeat => Step::Twice,
            Fault::Redirect => {
                let moved = format!("/moved{}", request.target);
                Step::Answer(Response::new(307).with("Location", moved))
            }
            Fault::Status(status) => {
                let page = b"<html>proxy</html>".to_vec();
                Step::Answer(Response::new(status).with_body(page))
            }
            _ => Step::Pass,
        }
    }

    fn after(&mut self, _: &Request, response: &mut Response) {
        let len = response.body.len();
        match self.fault {
            _ if !self.is_hit => {}
            Fault::LoseAnswer => response.lose = true,
            Fault::Truncate => response.cut = Some(len / 2),
            Fault::Corrupt => {
                if let Some(byte) = response.body.get_mut(len / 2) {
                    *byte ^= 1;
                }
            }
            Fault::Longer => response.told_length = Some(len + 10),
            Fault::Shorter => response.told_length = Some(len.saturating_sub(1)),
            _ => {}
        }
    }
}

/// Settings under which nothing is waited for long.
fn hasty(patience: Duration) -> Settings {
    let mut settings = settings();
    (settings.timeouts.stall, settings.timeouts.answer) = (patience, patience);
    settings.chunks = Chunks {
        connections: 3,
        from: 500_000,
        length: 200_000,
    };
    settings
}

/// An image for one platform in an index, with a small and a large layer, in memory.
fn image() -> (Memory, Descriptor) {
    let memory = Memory::new();
    let config = memory.add(media_type::OCI_CONFIG, b"{}");
    let small = memory.add(media_type::OCI_LAYER, &noise(1000));
    let large = memory.add(media_type::OCI_LAYER, &noise(1_500_000));
    let manifest = document::to_bytes(&Manifest::oci(config, vec![small, large]));
    let manifest = memory.add(media_type::OCI_MANIFEST, &manifest);
    let index = document::to_bytes(&Index::oci(vec![manifest]));
    let index = memory.add(media_type::OCI_INDEX, &index);
    (memory, index)
}

fn options() -> CopyOptions<'static> {
    CopyOptions {
        jobs: 2,
        ..CopyOptions::default()
    }
}

/// Returns all that `root` leads to, and itself.
fn walked(source: &Memory, root: &Descriptor) -> Vec<Descriptor> {
    let mut found = vec![root.clone()];
    for child in children(source, root).unwrap() {
        found.extend(walked(source, &child));
    }
    found
}

/// What a copy may fail with is something that says what happened: to which host, and what.
#[track_caller]
fn assert_clear(error: &corten_content::Error, registry: &Registry, context: &str) {
    let text = chain(error);
    assert!(text.contains(registry.host()), "{context}: {text}");
    let is_named = [
        "refused: ",
        "stalled",
        "the connection broke",
        "breaks the protocol",
        "does not match its digest",
        "expected",
        "is not in",
        "redirects",
        "cannot be used",
    ];
    assert!(
        is_named.iter().any(|part| text.contains(part)),
        "{context}: {text}"
    );
}

/// Does `work` with every fault at every request, and again where it failed.
#[track_caller]
fn check(
    set_up: impl Fn() -> Registry + Sync,
    work: impl Fn(&Registry, Settings) -> Result<(), corten_content::Error> + Sync,
    verify: impl Fn(&Registry, &str) + Sync,
) {
    let registry = set_up();
    registry.take_log();
    work(&registry, hasty(PATIENT)).unwrap();
    let n_requests = registry.take_log().len();
    let (n_right, n_failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let go_wrong = |fault: Fault, first: usize| {
        let registry = set_up();
        let context = format!("{fault:?} at {first}");
        registry.interpose(Proxy {
            fault,
            first,
            seen: 0,
            is_hit: false,
        });
        let worked = work(&registry, hasty(IMPATIENT));
        registry.behave();
        match worked {
            Ok(()) => n_right.fetch_add(1, Ordering::Relaxed),
            Err(error) => {
                assert_clear(&error, &registry, &context);
                // The next one goes on where this one ended.
                work(&registry, hasty(PATIENT))
                    .unwrap_or_else(|error| panic!("{context}: {}", chain(&error)));
                n_failed.fetch_add(1, Ordering::Relaxed)
            }
        };
        verify(&registry, &context);
    };
    // What they do is mostly waiting.
    std::thread::scope(|scope| {
        for fault in FAULTS {
            let go_wrong = &go_wrong;
            scope.spawn(move || (0..n_requests).for_each(|first| go_wrong(fault, first)));
        }
    });
    let (n_right, n_failed) = (n_right.into_inner(), n_failed.into_inner());
    assert_eq!(n_right + n_failed, FAULTS.len() * n_requests);
    assert!(
        n_right > 3 * n_failed,
        "{n_right} ended right, {n_failed} failed: most faults pass"
    );
}

/// How long an answer is waited for where one comes, and where none may.
const PATIENT: Duration = Duration::from_secs(20);
const IMPATIENT: Duration = Duration::from_millis(300);

#[test]
fn every_request_of_a_push_may_go_wrong() {
    let (memory, index) = image();
    let push = |registry: &Registry, settings: Settings| {
        let sink = repository_with(settings, registry.host(), "acme/app");
        copy(&memory, &sink, &index, &options())?;
        sink.tag("1", &index)
    };
    let verify = |registry: &Registry, context: &str| {
        let there = registry.manifest("acme/app", "1").unwrap();
        assert_eq!(Digest::sha256(&there), index.digest, "{context}");
        for content in walked(&memory, &index) {
            let blob = registry.blob("acme/app", &content.digest);
            let there = blob.or_else(|| registry.manifest("acme/app", content.digest.as_str()));
            assert_eq!(Digest::sha256(&there.unwrap()), content.digest, "{context}");
        }
    };
    check(Registry::start, push, verify);
}

#[test]
fn every_request_of_a_pull_may_go_wrong() {
    let (memory, index) = image();
    let set_up = || {
        let registry = Registry::start();
        for content in walked(&memory, &index) {
            let bytes = read(&memory, &content, 1 << 30).unwrap();
            if content.kind().has_children() {
                registry.put_manifest("acme/app", "1", &content.media_type, &bytes);
            } else {
                registry.put_blob("acme/app", &bytes);
            }
        }
        let bytes = read(&memory, &index, 1 << 30).unwrap();
        registry.put_manifest("acme/app", "1", &index.media_type, &bytes);
        registry
    };
    let dir = tempfile::tempdir().unwrap();
    // A store for each run, found again by the second attempt.
    let store =
        |registry: &Registry| Store::open_with(&dir.path().join(registry.host()), Durability::None);
    let pull = |registry: &Registry, settings: Settings| {
        let store = store(registry)?;
        let source = repository_with(settings, registry.host(), "acme/app");
        let content = source.resolve("1")?;
        copy(&source, &store, &content, &options())?;
        store.tag("1", &content)
    };
    let verify = |registry: &Registry, context: &str| {
        let store = store(registry).unwrap();
        assert_eq!(
            store.resolve("1").unwrap().digest,
            index.digest,
            "{context}"
        );
        for content in walked(&memory, &index) {
            let bytes = read(&store, &content, 1 << 30);
            bytes.unwrap_or_else(|error| panic!("{context}: {}", chain(&error)));
        }
    };
    check(set_up, pull, verify);
}
