//! The client against a registry that answers whatever the fuzzer wrote.

use std::collections::VecDeque;
use std::io::Read;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use corten_content::{CopyOptions, Memory, Sink, Source, copy, read};
use corten_registry::retry::RetryPolicy;
use corten_registry::transport::{Body, Headers, Request, Response, Transport};
use corten_registry::{Client, Credentials, Login, Repository, Result, Secret, Settings};
use corten_spec::{Manifest, document, media_type};

/// What one test may ask at most: the script has ten answers, and each may be asked for again.
const MOST_REQUESTS: usize = 400;
const PASSWORD: &str = "correct-horse";

struct Script {
    answers: Mutex<VecDeque<Vec<u8>>>,
    n_requests: Mutex<usize>,
}

/// Answers divided as in `parts`: a line with the status, lines of headers, an empty line, the body.
/// When they are used up, everything is not found.
pub(crate) fn registry(data: &[u8]) {
    let script = Arc::new(Script {
        answers: Mutex::new(crate::parts::parts(data).into()),
        n_requests: Mutex::new(0),
    });
    let mut settings = Settings {
        retry: RetryPolicy {
            limit: 2,
            base: Duration::ZERO,
            cap: Duration::ZERO,
        },
        ..Settings::default()
    };
    let credentials = Credentials::Basic {
        username: "u".into(),
        password: Secret::new(PASSWORD.into()),
    };
    let login = Login {
        credentials,
        origin: "test".into(),
    };
    settings.logins.insert("registry.example".into(), login);
    let client = Client::over(settings, Arc::clone(&script) as Arc<dyn Transport>);
    let reference = "registry.example/acme/app:1.2".parse().expect("it is one");
    let repository = Repository::new(&client, &reference).expect("it is a good name");
    match data.last().copied().unwrap_or_default() % 3 {
        0 => pull(&repository),
        1 => push(&repository),
        _ => {
            drop(client.ping("registry.example"));
            drop(repository.tags());
        }
    }
}

fn pull(repository: &Repository) {
    let Ok(found) = repository.resolve("1.2") else {
        return;
    };
    if let Ok(bytes) = read(repository, &found, 1 << 20) {
        assert!(found.verify(&bytes).is_ok(), "what is read is verified");
    }
    drop(copy(
        repository,
        &Memory::new(),
        &found,
        &CopyOptions::default(),
    ));
    drop(repository.referrers(&found.digest));
}

fn push(repository: &Repository) {
    let here = Memory::new();
    let config = here.add(media_type::OCI_EMPTY, b"{}");
    let manifest = document::to_bytes(&Manifest::oci(config, Vec::new()));
    let manifest = here.add(media_type::OCI_MANIFEST, &manifest);
    if copy(&here, repository, &manifest, &CopyOptions::default()).is_ok() {
        drop(repository.tag("1.2", &manifest));
    }
}

impl Transport for Script {
    fn send(&self, request: Request) -> Result<Response> {
        let mut n_requests = self.n_requests.lock().expect("nobody panicked");
        *n_requests += 1;
        assert!(*n_requests <= MOST_REQUESTS, "it does not end");
        let authorization = request.headers.value("authorization").unwrap_or_default();
        assert!(
            request.url.is_secure() || !authorization.starts_with("Basic"),
            "a password in the clear, to {:?}",
            request.url
        );
        assert!(
            !format!("{request:?}").contains(PASSWORD),
            "a password in a message"
        );
        if let Body::Stream { mut reader, .. } = request.body {
            let mut sent = Vec::new();
            drop((&mut reader).take(1 << 20).read_to_end(&mut sent));
        }
        let next = self.answers.lock().expect("nobody panicked").pop_front();
        Ok(next.map_or_else(|| answer(b"404\n"), |text| answer(&text)))
    }
}

fn answer(text: &[u8]) -> Response {
    let (head, body) = crate::parts::cut(text, b"\n\n");
    let head = String::from_utf8_lossy(head);
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.trim().parse().ok());
    let mut headers = Headers::new();
    for line in lines {
        if let Some((name, value)) = line.split_once(':') {
            headers.add(name.trim(), value.trim());
        }
    }
    Response {
        status: status.unwrap_or(200),
        headers,
        body: Box::new(std::io::Cursor::new(body.unwrap_or_default().to_vec())),
    }
}
