//! Registries that are wrong, slow or gone.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;

use corten_content::{IngestPlan, Sink, Source};
use corten_registry::transport::{Body, Headers, Method, Request};
use corten_registry::{Client, Repository, Transport, Url, Wire};
use corten_spec::{Descriptor, Digest, media_type};

use crate::fake::{Fake, Quirks};
use crate::pull::INDEX;
use crate::push::noise;
use crate::{chain, impatient, push, repository, repository_with};

#[test]
fn blobs_that_are_not_what_was_asked_for() {
    #[track_caller]
    fn check(quirks: Quirks, part: &str) {
        let fake = Fake::start(quirks);
        fake.put_blob("acme/app", b"0123456789");
        let content = Descriptor::of("a/b", b"0123456789");
        let error = corten_content::read(&repository(&fake), &content, 100).unwrap_err();
        assert!(error.is_corrupt(), "{error:?}");
        assert!(chain(&error).contains(part), "{}", chain(&error));
    }
    let wrong = Quirks {
        wrong_bytes: true,
        ..Quirks::default()
    };
    check(wrong, "does not match its digest");
    let short = Quirks {
        short_blobs: true,
        ..Quirks::default()
    };
    check(short, "expected 10 bytes, received 9");
}

#[test]
fn a_blob_under_another_name_is_not_read() {
    let fake = Fake::start(Quirks::default());
    fake.put_blob("acme/app", b"0123456789");
    let content = Descriptor::of("a/b", b"0123456789");
    let read = || corten_content::read(&repository(&fake), &content, 100);
    fake.quirks().lying_digest = Some(Digest::sha256(b"lie").to_string());
    let error = read().unwrap_err();
    let expected = format!("it says that it sends `{}`", Digest::sha256(b"lie"));
    assert!(chain(&error).contains(&expected), "{}", chain(&error));
    // Distribution names all content by sha256, whatever it was asked for.
    let other = format!("sha512:{}", "0".repeat(128));
    fake.quirks().lying_digest = Some(other);
    assert_eq!(read().unwrap(), b"0123456789");
}

#[test]
fn manifests_that_are_not_what_was_said() {
    let fake = Fake::start(Quirks {
        no_head: true,
        lying_digest: Some(Digest::sha256(b"lie").to_string()),
        ..Quirks::default()
    });
    fake.put_manifest("acme/app", "1", media_type::OCI_INDEX, INDEX);
    assert!(repository(&fake).resolve("1").unwrap_err().is_corrupt());
    // A lie in the answer to HEAD comes out when the bytes do.
    fake.quirks().no_head = false;
    let source = repository(&fake);
    let believed = source.resolve("1").unwrap();
    assert_eq!(believed.digest, Digest::sha256(b"lie"));
    assert!(corten_content::read(&source, &believed, 100).is_err());
    // For a digest the header is not believed at all.
    let digest = Digest::sha256(INDEX);
    assert!(source.resolve(digest.as_str()).unwrap_err().is_corrupt());
    // CVE-2021-41190: the type in the document is not that of the header.
    let typed = br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
    let fake = Fake::start(Quirks {
        no_head: true,
        ..Quirks::default()
    });
    fake.put_manifest("acme/app", "1", media_type::OCI_MANIFEST, typed);
    let error = repository(&fake).resolve("1").unwrap_err();
    assert!(
        chain(&error).contains("but it came as"),
        "{}",
        chain(&error)
    );
}

#[test]
fn a_blob_goes_on_after_the_connection_broke() {
    #[track_caller]
    fn check(no_ranges: bool) {
        let bytes = noise(300_000);
        let fake = Fake::start(Quirks {
            n_drops: 3,
            no_ranges,
            ..Quirks::default()
        });
        fake.put_blob("acme/app", &bytes);
        let content = Descriptor::of("a/b", &bytes);
        let read = corten_content::read(&repository(&fake), &content, 1 << 20).unwrap();
        assert_eq!(read, bytes, "{no_ranges}");
        assert_eq!(fake.lines().len(), 4);
    }
    check(false);
    check(true);
}

#[test]
fn a_connection_that_always_breaks() {
    let fake = Fake::start(Quirks {
        n_drops: usize::MAX,
        no_ranges: true,
        ..Quirks::default()
    });
    fake.put_blob("acme/app", b"0123456789");
    let content = Descriptor::of("a/b", b"0123456789");
    let error = corten_content::read(&repository(&fake), &content, 100).unwrap_err();
    assert!(
        chain(&error).contains("the connection broke at"),
        "{}",
        chain(&error)
    );
    assert_eq!(fake.lines().len(), 6);
}

#[test]
fn a_registry_that_stalls() {
    #[track_caller]
    fn check(part: &'static str, work: impl Fn(&Repository) -> corten_content::Error) {
        let fake = Fake::start(Quirks {
            stall_on: Some(part),
            ..Quirks::default()
        });
        let repository = repository_with(impatient(), &fake.host, "acme/app");
        let text = chain(&work(&repository));
        assert!(
            text.contains("stalled: nothing came or went for 0.2 s"),
            "{text}"
        );
        assert!(!text.contains('?'), "{text}");
    }
    check("/manifests/", |repository| {
        repository.resolve("1").unwrap_err()
    });
    check("/blobs/", |repository| {
        let content = Descriptor::of("a/b", b"x");
        repository.fetch(&content, 0).err().unwrap()
    });
    check("digest=", |repository| {
        let content = Descriptor::of("a/b", b"x");
        push(repository, &content, b"x").unwrap_err()
    });
    check("digest=", |repository| {
        let bytes = noise(2 << 20);
        push(repository, &Descriptor::of("a/b", &bytes), &bytes).unwrap_err()
    });
}

#[test]
fn a_registry_that_reads_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        let mut location = String::from("/u");
        // Opens the upload, then takes a connection without ever reading from it.
        let mut held = Vec::new();
        for mut stream in listener.incoming().flatten() {
            if location.is_empty() {
                held.push(stream);
                continue;
            }
            drop(stream.read(&mut [0; 4096]));
            let answer = format!(
                "HTTP/1.1 202 X\r\nLocation: {location}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
            drop(stream.write_all(answer.as_bytes()));
            location.clear();
        }
    });
    let repository = repository_with(impatient(), &host, "acme/app");
    // More than the buffers of both ends can hold.
    let bytes = vec![0; 16 << 20];
    let error = push(&repository, &Descriptor::of("a/b", &bytes), &bytes).unwrap_err();
    assert!(chain(&error).contains("stalled"), "{}", chain(&error));
}

#[test]
fn too_many_requests_are_made_again() {
    let fake = Fake::start(Quirks {
        n_too_many: 2,
        ..Quirks::default()
    });
    fake.put_manifest("acme/app", "1", media_type::OCI_INDEX, INDEX);
    repository(&fake).resolve("1").unwrap();
    assert_eq!(fake.lines().len(), 3);
    fake.quirks().n_too_many = usize::MAX;
    let error = repository(&fake)
        .fetch(&Descriptor::of("a/b", b"x"), 0)
        .err()
        .unwrap();
    assert!(
        chain(&error).contains("refused: 429 TOOMANYREQUESTS"),
        "{}",
        chain(&error)
    );
    assert_eq!(fake.lines().len(), 9);
}

#[test]
fn a_web_page_for_an_error() {
    let fake = Fake::start(Quirks {
        html_errors: true,
        n_unavailable_puts: usize::MAX,
        ..Quirks::default()
    });
    fake.change(|options| options.single_post = false);
    let error = push(&repository(&fake), &Descriptor::of("a/b", b"x"), b"x").unwrap_err();
    let expected = "refused: 503, \"<html><h1>Bad Gateway</h1></html>\"";
    assert!(chain(&error).contains(expected), "{}", chain(&error));
}

#[test]
fn redirects_without_an_end() {
    let fake = Fake::start(Quirks::default());
    fake.quirks().redirect_blobs = Some(format!("http://{}", fake.host));
    let error = repository(&fake)
        .fetch(&Descriptor::of("a/b", b"x"), 0)
        .err()
        .unwrap();
    assert!(
        chain(&error).contains("redirects too often; the limit is 10"),
        "{}",
        chain(&error)
    );
    assert_eq!(fake.lines().len(), 11);
}

#[test]
fn nobody_is_there() {
    let host = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let error = repository_with(impatient(), &host, "a")
        .resolve("1")
        .unwrap_err();
    assert!(
        chain(&error).contains(&format!("cannot connect to {host}")),
        "{}",
        chain(&error)
    );
}

#[test]
fn a_registry_that_speaks_no_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .unwrap();
        // Until the client gives up.
        drop(std::io::copy(&mut stream, &mut std::io::sink()));
    });
    let request = Request {
        method: Method::Get,
        url: Url::parse(&format!("https://{host}/v2/")).unwrap(),
        headers: Headers::new(),
        body: Body::Empty,
    };
    let text = chain(&Wire::new(&impatient()).unwrap().send(request).unwrap_err());
    assert!(
        text.starts_with(&format!("cannot make a secure connection to {host}: ")),
        "{text}"
    );
}

#[test]
fn cancelling_ends_what_waits() {
    let fake = Fake::start(Quirks {
        stall_on: Some("/manifests/"),
        ..Quirks::default()
    });
    let mut settings = impatient();
    // Far longer than the test may take: only the cancelling can end it.
    settings.timeouts.stall = std::time::Duration::from_hours(1);
    settings.timeouts.answer = std::time::Duration::from_hours(1);
    let client = Client::new(settings).unwrap();
    let reference = format!("{}/acme/app", fake.host).parse().unwrap();
    let repository = Arc::new(Repository::new(&client, &reference).unwrap());
    let waiting = {
        let repository = Arc::clone(&repository);
        thread::spawn(move || repository.resolve("1").unwrap_err())
    };
    while fake.lines().is_empty() {
        thread::yield_now();
    }
    client.cancel();
    assert!(matches!(
        waiting.join().unwrap(),
        corten_content::Error::Cancelled
    ));
    assert!(matches!(
        repository.resolve("1"),
        Err(corten_content::Error::Cancelled)
    ));
    let content = Descriptor::of("a/b", b"x");
    let mut ingest = repository
        .ingest(&IngestPlan::of(&content).unwrap())
        .unwrap();
    assert!(ingest.write_all(b"x").is_err());
}

#[test]
fn work_ends_by_its_deadline() {
    #[track_caller]
    fn check(part: &'static str) {
        let fake = Fake::start(Quirks {
            stall_on: Some(part),
            ..Quirks::default()
        });
        fake.put_blob("acme/app", b"x");
        let mut settings = crate::settings();
        settings.deadline = Some(std::time::Instant::now() + std::time::Duration::from_millis(300));
        let repository = repository_with(settings, &fake.host, "acme/app");
        let content = Descriptor::of("a/b", b"x");
        let error = loop {
            // What does not stall goes on until the time is over.
            if let Err(error) = corten_content::read(&repository, &content, 100) {
                break error;
            }
        };
        let text = chain(&error);
        assert!(
            text.contains("the time that the work may take is over"),
            "{text}"
        );
    }
    check("/blobs/");
    check("nothing");
}

#[test]
fn one_refusal_holds_everybody_back() {
    let fake = Fake::start(Quirks {
        n_too_many: 1,
        ..Quirks::default()
    });
    fake.put_blob("acme/app", b"x");
    let mut settings = crate::settings();
    settings.retry.cap = std::time::Duration::from_millis(400);
    let repository = repository_with(settings, &fake.host, "acme/app");
    let content = Descriptor::of("a/b", b"x");
    let start = std::time::Instant::now();
    corten_content::read(&repository, &content, 100).unwrap();
    corten_content::read(&repository, &content, 100).unwrap();
    // The registry wants a second, of which we wait as much as we wait at most.
    assert!(start.elapsed() >= std::time::Duration::from_millis(400));
    assert_eq!(fake.lines().len(), 3);
}
