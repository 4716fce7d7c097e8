//! Reading from a registry that behaves.

use std::io::Read;

use corten_content::Source;
use corten_registry::Mirror;
use corten_spec::{Descriptor, media_type};

use crate::fake::{Fake, Quirks};
use crate::{chain, repository, repository_with};

pub(crate) const INDEX: &[u8] = br#"{"schemaVersion":2,"manifests":[]}"#;

#[test]
fn a_tag_becomes_a_descriptor_then_bytes() {
    #[track_caller]
    fn check(quirks: &Quirks, n_requests: usize) {
        let fake = Fake::start(quirks.clone());
        let digest = fake.put_manifest("acme/app", "1", media_type::OCI_INDEX, INDEX);
        let source = repository(&fake);
        let found = source.resolve("1").unwrap();
        assert_eq!(
            found,
            Descriptor::of(media_type::OCI_INDEX, INDEX),
            "{quirks:?}"
        );
        assert_eq!(source.resolve(digest.as_str()).unwrap(), found);
        assert_eq!(corten_content::read(&source, &found, 1000).unwrap(), INDEX);
        assert_eq!(fake.lines().len(), n_requests, "{:?}", fake.lines());
    }
    // HEAD, HEAD, GET.
    check(&Quirks::default(), 3);
    check(
        &Quirks {
            charset: true,
            ..Quirks::default()
        },
        3,
    );
    // HEAD and GET twice; what GET brought is kept.
    check(
        &Quirks {
            no_head: true,
            ..Quirks::default()
        },
        4,
    );
    check(
        &Quirks {
            content_type: Some("text/plain"),
            ..Quirks::default()
        },
        4,
    );
}

#[test]
fn what_is_not_there() {
    let fake = Fake::start(Quirks::default());
    let source = repository(&fake);
    let error = source.resolve("missing").unwrap_err();
    assert!(error.is_not_found());
    assert_eq!(
        error.to_string(),
        format!("`missing` is not in {}/acme/app", fake.host)
    );
    let absent = Descriptor::of("a/b", b"absent");
    assert!(source.fetch(&absent, 0).err().unwrap().is_not_found());
    for name in ["../x", "a b", "sha256:1", "a?b"] {
        assert!(source.resolve(name).is_err(), "{name:?}");
    }
    assert_eq!(fake.lines().len(), 2);
}

#[test]
fn a_blob_from_an_offset() {
    #[track_caller]
    fn check(quirks: &Quirks, offset: u64, expected: &[u8]) {
        let fake = Fake::start(quirks.clone());
        fake.put_blob("acme/app", b"0123456789");
        let source = repository(&fake);
        let content = Descriptor::of("a/b", b"0123456789");
        let mut bytes = Vec::new();
        source
            .fetch(&content, offset)
            .unwrap()
            .read_to_end(&mut bytes)
            .unwrap();
        assert_eq!(bytes, expected, "{offset} {quirks:?}");
    }
    let no_ranges = || Quirks {
        no_ranges: true,
        ..Quirks::default()
    };
    let short = || Quirks {
        short_blobs: true,
        ..Quirks::default()
    };
    check(&Quirks::default(), 0, b"0123456789");
    check(&Quirks::default(), 4, b"456789");
    check(&Quirks::default(), 10, b"");
    check(&no_ranges(), 4, b"456789");
    check(&short(), 9, b"");
}

#[test]
fn tags_come_page_by_page() {
    let fake = Fake::start(Quirks {
        page: Some(2),
        ..Quirks::default()
    });
    for tag in ["a", "b", "c", "d", "e"] {
        fake.put_manifest("acme/app", tag, media_type::OCI_INDEX, INDEX);
    }
    assert_eq!(repository(&fake).tags().unwrap(), ["a", "b", "c", "d", "e"]);
    assert_eq!(fake.lines().len(), 3);
}

#[test]
fn a_mirror_is_asked_first_and_the_registry_after_it() {
    let (mirror, origin) = (
        Fake::start(Quirks::default()),
        Fake::start(Quirks::default()),
    );
    mirror.put_blob("acme/app", b"mirrored");
    origin.put_blob("acme/app", b"only here");
    let mut settings = crate::settings();
    settings.mirrors.push(Mirror {
        of: origin.host.clone(),
        base: format!("http://{}", mirror.host),
        prefix: String::new(),
    });
    settings
        .logins
        .insert(origin.host.clone(), crate::login(crate::password("s3cret")));
    let source = repository_with(settings, &origin.host, "acme/app");
    for bytes in [&b"mirrored"[..], b"only here"] {
        let content = Descriptor::of("a/b", bytes);
        assert_eq!(corten_content::read(&source, &content, 100).unwrap(), bytes);
    }
    let asked = mirror.log().clone();
    assert_eq!(asked.len(), 2);
    assert!(
        asked[0].target.ends_with(&format!("?ns={}", origin.host)),
        "{}",
        asked[0].target
    );
    assert_eq!(origin.lines().len(), 1);
    // The mirror asks for a password, and must not get the registry's.
    mirror.quirks().auth = crate::fake::Auth::Basic;
    let content = Descriptor::of("a/b", b"only here");
    corten_content::read(&source, &content, 100).unwrap();
    let asked = mirror.log().clone();
    assert!(
        asked
            .iter()
            .all(|seen| !seen.headers.contains_key("authorization"))
    );
    let error = source.resolve("missing").unwrap_err();
    assert!(chain(&error).contains(&origin.host), "{error}");
}

#[test]
fn a_mirror_has_names_of_its_own_and_may_be_the_only_one_asked() {
    let (mirror, origin) = (
        Fake::start(Quirks::default()),
        Fake::start(Quirks::default()),
    );
    mirror.put_blob("group/proxy/acme/app", b"mirrored");
    origin.put_blob("acme/app", b"only here");
    let mut settings = crate::settings();
    settings.only_mirrors = true;
    settings.mirrors.push(Mirror {
        of: origin.host.clone(),
        base: format!("http://{}", mirror.host),
        prefix: "group/proxy".into(),
    });
    let source = repository_with(settings, &origin.host, "acme/app");
    let content = Descriptor::of("a/b", b"mirrored");
    assert_eq!(
        corten_content::read(&source, &content, 100).unwrap(),
        b"mirrored"
    );
    let error = source.resolve("missing").unwrap_err();
    assert!(error.is_not_found(), "{}", chain(&error));
    let content = Descriptor::of("a/b", b"only here");
    corten_content::read(&source, &content, 100).unwrap_err();
    assert_eq!(origin.lines(), Vec::<String>::new());
}

#[test]
fn configuration_leads_to_other_places() {
    let (mirror, origin) = (
        Fake::start(Quirks::default()),
        Fake::start(Quirks::default()),
    );
    let digest = mirror.put_manifest("hub/app", "1", media_type::OCI_INDEX, INDEX);
    origin.put_manifest("internal/app", "1", media_type::OCI_INDEX, INDEX);
    let mut settings = crate::settings();
    let conf = format!(
        "[[registry]]\nprefix = \"example.com/acme\"\nlocation = \"{}/internal\"\n\
         [[registry.mirror]]\nlocation = \"{}/hub\"\npull-from-mirror = \"digest-only\"\n\
         [[registry]]\nlocation = \"example.com/acme/secret\"\nblocked = true\n",
        origin.host, mirror.host
    );
    settings.rules.read(&conf).unwrap();
    let source = repository_with(settings.clone(), "example.com", "acme/app");
    source.resolve("1").unwrap();
    assert_eq!((mirror.lines().len(), origin.lines().len()), (0, 1));
    source.resolve(digest.as_str()).unwrap();
    assert_eq!((mirror.lines().len(), origin.lines().len()), (1, 1));
    // What is pushed goes to where the registry is.
    let content = Descriptor::of("a/b", b"x");
    crate::push(&source, &content, b"x").unwrap();
    assert!(origin.blob("internal/app", &content.digest).is_some());
    let client = corten_registry::Client::new(settings).unwrap();
    let blocked = "example.com/acme/secret".parse().unwrap();
    let error = corten_registry::Repository::new(&client, &blocked).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("is blocked by the configuration"),
        "{error}"
    );
}

#[test]
fn a_mirror_that_fails_is_told_once() {
    #[track_caller]
    fn check(quirks: Quirks, is_alive: bool, expected: &str) {
        let (mirror, origin) = (Fake::start(quirks), Fake::start(Quirks::default()));
        origin.put_manifest("acme/app", "1", media_type::OCI_INDEX, INDEX);
        origin.put_blob("acme/app", b"hello");
        let host = if is_alive {
            mirror.host.clone()
        } else {
            // Nobody listens at a port that was just given back.
            let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            port.local_addr().unwrap().to_string()
        };
        let mut settings = crate::settings();
        settings.mirrors.push(Mirror {
            of: origin.host.clone(),
            base: format!("http://{host}"),
            prefix: String::new(),
        });
        let client = corten_registry::Client::new(settings).unwrap();
        let reference = format!("{}/acme/app", origin.host).parse().unwrap();
        let source = corten_registry::Repository::new(&client, &reference).unwrap();
        source.resolve("1").unwrap();
        let content = Descriptor::of("a/b", b"hello");
        assert_eq!(
            corten_content::read(&source, &content, 100).unwrap(),
            b"hello"
        );
        let warnings = client.warnings();
        if expected.is_empty() {
            assert_eq!(warnings, []);
            return;
        }
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert_eq!(warnings[0].host, host);
        let text = &warnings[0].text;
        let start = format!("passed over as a mirror of `{}`: ", origin.host);
        assert!(text.starts_with(&start), "{text}");
        assert!(text.contains(expected), "{text}");
    }
    check(Quirks::default(), false, "refused");
    let closed = Quirks {
        auth: crate::fake::Auth::Basic,
        ..Quirks::default()
    };
    check(closed, true, "there are none");
    // It has nothing, which is no failure.
    check(Quirks::default(), true, "");
}

#[test]
fn warnings_are_collected_once_each() {
    let fake = Fake::start(Quirks {
        warning: Some(r#"299 - "this repository moves""#),
        ..Quirks::default()
    });
    fake.put_manifest("acme/app", "1", media_type::OCI_INDEX, INDEX);
    let client = corten_registry::Client::new(crate::settings()).unwrap();
    let reference = format!("{}/acme/app", fake.host).parse().unwrap();
    let source = corten_registry::Repository::new(&client, &reference).unwrap();
    source.resolve("1").unwrap();
    source.resolve("1").unwrap();
    let warnings = client.warnings();
    assert_eq!(warnings.len(), 1);
    assert_eq!(warnings[0].text, "this repository moves");
}

/// A registry whose list of tags has no end.
struct Endless(std::sync::atomic::AtomicUsize);

impl corten_registry::Transport for Endless {
    fn send(
        &self,
        _: corten_registry::transport::Request,
    ) -> corten_registry::Result<corten_registry::transport::Response> {
        let page = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        assert!(page < 100, "nobody gives up");
        let tags = ["a".repeat(15 << 20)];
        let body = serde_json::json!({ "tags": tags }).to_string().into_bytes();
        Ok(corten_registry::transport::Response {
            status: 200,
            headers: corten_registry::transport::Headers::new()
                .with("Link", format!("</v2/a/tags/list?last={page}>; rel=next")),
            body: Box::new(std::io::Cursor::new(body)),
        })
    }
}

#[test]
fn a_list_without_an_end_is_given_up() {
    let transport = std::sync::Arc::new(Endless(std::sync::atomic::AtomicUsize::new(0)));
    let client = corten_registry::Client::over(crate::settings(), transport);
    let reference = "registry.example/a".parse().unwrap();
    let source = corten_registry::Repository::new(&client, &reference).unwrap();
    let error = source.tags().unwrap_err();
    assert!(
        chain(&error).contains("longer than 67108864 bytes"),
        "{}",
        chain(&error)
    );
}

#[test]
fn what_is_there_is_told_without_its_bytes() {
    #[track_caller]
    fn check(quirks: Quirks, expected: &[&str]) {
        let fake = Fake::start(quirks);
        let digest = fake.put_blob("acme/app", b"hello");
        let source = repository(&fake);
        let there = Descriptor::new("application/octet-stream", digest, 5);
        let absent = Descriptor::of("application/octet-stream", b"absent");
        assert!(source.holds(&there).unwrap());
        assert!(!source.holds(&absent).unwrap());
        let lines = fake.lines();
        let methods: Vec<_> = lines
            .iter()
            .map(|line| line.split_once(' ').unwrap().0)
            .collect();
        assert_eq!(methods, expected);
    }
    check(Quirks::default(), &["HEAD", "HEAD"]);
    let no_head = Quirks {
        no_head: true,
        ..Quirks::default()
    };
    check(no_head, &["HEAD", "GET", "HEAD", "GET"]);
}

/// Nothing says how long the manifest of a tag will be.
#[test]
fn a_manifest_without_an_end_names_the_limit() {
    let transport = std::sync::Arc::new(Long);
    let client = corten_registry::Client::over(crate::settings(), transport);
    let reference = "registry.example/a:1".parse().unwrap();
    let source = corten_registry::Repository::new(&client, &reference).unwrap();
    let error = source.resolve("1").unwrap_err();
    assert!(
        chain(&error).contains("is longer than 16777216 bytes"),
        "{}",
        chain(&error)
    );
}

struct Long;

impl corten_registry::transport::Transport for Long {
    fn send(
        &self,
        _request: corten_registry::transport::Request,
    ) -> corten_registry::Result<corten_registry::transport::Response> {
        let page = corten_registry::transport::Headers::new()
            .with("Content-Type", "application/vnd.oci.image.index.v1+json");
        Ok(corten_registry::transport::Response {
            status: 200,
            headers: page,
            body: Box::new(std::io::repeat(b' ')),
        })
    }
}
