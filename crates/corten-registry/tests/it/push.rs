//! Writing to a registry that behaves.

use std::io::Write;

use corten_content::traits::MountSource;
use corten_content::{IngestPlan, Sink};
use corten_spec::{Algorithm, Descriptor, Digest, Hasher, media_type};

use crate::fake::{Fake, Quirks};
use crate::pull::INDEX;
use crate::{push, repository};

/// Bytes that differ from each other, `len` of them.
pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(len).collect()
}

#[test]
fn blobs_of_known_digest() {
    #[track_caller]
    fn check(single_post: bool, len: usize, n_requests: usize) {
        let fake = Fake::start(Quirks::default());
        fake.change(|options| options.single_post = single_post);
        let sink = repository(&fake);
        let bytes = noise(len);
        let content = Descriptor::of("a/b", &bytes);
        assert!(!sink.contains(&content).unwrap());
        let written = push(&sink, &content, &bytes).unwrap();
        assert_eq!(written, (content.digest.clone(), content.size), "{len}");
        assert!(sink.contains(&content).unwrap());
        assert_eq!(fake.blob("acme/app", &content.digest), Some(bytes));
        assert_eq!(fake.lines().len(), n_requests, "{:?}", fake.lines());
        assert_eq!(fake.n_uploads_open(), 0);
    }
    // HEAD, POST, HEAD; where the registry opens an upload instead, a PUT, too.
    for (single_post, n_requests) in [(true, 3), (false, 4)] {
        check(single_post, 0, n_requests);
        check(single_post, 1, n_requests);
        check(single_post, 1 << 20, n_requests);
        check(single_post, (1 << 20) + 1, 4);
        check(single_post, (3 << 20) + 12345, 4);
    }
}

#[test]
fn blobs_of_unknown_digest() {
    #[track_caller]
    fn check(len: usize, n_patches: usize) {
        let fake = Fake::start(Quirks::default());
        let sink = repository(&fake);
        let bytes = noise(len);
        let mut ingest = sink.ingest(&IngestPlan::unknown()).unwrap();
        ingest.write_all(&bytes).unwrap();
        let (digest, size) = ingest.commit(None).unwrap();
        assert_eq!((&digest, size), (&Digest::sha256(&bytes), len as u64));
        assert_eq!(fake.blob("acme/app", &digest), Some(bytes));
        let found = fake
            .lines()
            .iter()
            .filter(|line| line.starts_with("PATCH"))
            .count();
        assert_eq!(found, n_patches, "{len}");
    }
    check(0, 0);
    check(1 << 20, 0);
    check((1 << 20) + 1, 1);
    check((8 << 20) + 1, 2);
}

#[test]
fn chunks_are_as_long_as_the_registry_wants() {
    let fake = Fake::start(Quirks {
        chunk_min: Some(9 << 20),
        ..Quirks::default()
    });
    let sink = repository(&fake);
    let mut ingest = sink.ingest(&IngestPlan::unknown()).unwrap();
    ingest.write_all(&noise(10 << 20)).unwrap();
    ingest.commit(None).unwrap();
    let ranges: Vec<String> = fake
        .log()
        .iter()
        .filter_map(|seen| seen.headers.get("content-range").cloned())
        .collect();
    assert_eq!(ranges, ["0-9437183", "9437184-10485759"]);
}

#[test]
fn a_broken_chunk_goes_on_where_the_registry_is() {
    let fake = Fake::start(Quirks {
        n_halves: 2,
        half_method: "PATCH",
        ..Quirks::default()
    });
    let sink = repository(&fake);
    let bytes = noise(2 << 20);
    let mut ingest = sink.ingest(&IngestPlan::unknown()).unwrap();
    ingest.write_all(&bytes).unwrap();
    let (digest, _) = ingest.commit(None).unwrap();
    assert_eq!(fake.blob("acme/app", &digest), Some(bytes));
}

#[test]
fn a_broken_stream_goes_on_where_the_registry_is() {
    #[track_caller]
    fn check(len: usize, n_halves: usize) {
        let fake = Fake::start(Quirks {
            n_halves,
            half_method: "PUT",
            ..Quirks::default()
        });
        let mut bytes = vec![0; len];
        bytes[len / 2..len / 2 + 1000].copy_from_slice(&noise(1000));
        let content = Descriptor::of("a/b", &bytes);
        push(&repository(&fake), &content, &bytes).unwrap();
        assert!(
            fake.blob("acme/app", &content.digest) == Some(bytes),
            "{len}"
        );
        assert_eq!(fake.n_uploads_open(), 0);
    }
    check(2 << 20, 3);
    check(20 << 20, 1);
}

#[test]
fn small_blobs_survive_an_unavailable_registry() {
    let fake = Fake::start(Quirks {
        n_unavailable_puts: 2,
        ..Quirks::default()
    });
    let content = Descriptor::of("a/b", b"small");
    push(&repository(&fake), &content, b"small").unwrap();
    assert!(fake.blob("acme/app", &content.digest).is_some());
}

#[test]
fn blobs_that_are_not_what_was_announced() {
    #[track_caller]
    fn check(announced: &[u8], written: &[u8]) {
        let fake = Fake::start(Quirks::default());
        let sink = repository(&fake);
        let content = Descriptor::of("a/b", announced);
        let error = push(&sink, &content, written).unwrap_err();
        assert!(error.is_corrupt(), "{error}");
        assert_eq!(fake.blob("acme/app", &content.digest), None);
        assert_eq!(fake.blob("acme/app", &Digest::sha256(written)), None);
        assert_eq!(fake.n_uploads_open(), 0, "the upload was not cancelled");
        // Nothing was sent to its end, so nothing could be taken for complete.
        assert!(
            !fake.lines().iter().any(|line| line.starts_with("PUT")),
            "{:?}",
            fake.lines()
        );
    }
    check(b"abc", b"abd");
    check(b"abc", b"ab");
    check(b"abc", b"abcd");
    let large = noise(2 << 20);
    let mut other = large.clone();
    other[1_000_000] ^= 1;
    check(&large, &other);
    check(&large, &large[..large.len() - 1]);
}

#[test]
fn an_abandoned_upload_is_cancelled() {
    for len in [10, 2 << 20] {
        let fake = Fake::start(Quirks::default());
        let sink = repository(&fake);
        let content = Descriptor::of("a/b", &noise(len));
        let mut ingest = sink.ingest(&IngestPlan::of(&content).unwrap()).unwrap();
        ingest.write_all(&noise(len)).unwrap();
        drop(ingest);
        assert_eq!(fake.n_uploads_open(), 0);
        assert_eq!(fake.blob("acme/app", &content.digest), None);
    }
}

#[test]
fn mounting() {
    #[track_caller]
    fn check(quirks: Quirks, from: &str, expected_offset: u64, n_posts: usize) {
        let fake = Fake::start(quirks);
        let sink = repository(&fake);
        let content = Descriptor::of("a/b", b"shared");
        fake.put_blob("acme/base", b"shared");
        let mut plan = IngestPlan::of(&content).unwrap();
        plan.mount = Some(MountSource {
            registry: fake.host.clone(),
            repository: from.into(),
        });
        let mut ingest = sink.ingest(&plan).unwrap();
        assert_eq!(ingest.offset(), expected_offset);
        ingest
            .write_all(&b"shared"[usize::try_from(expected_offset).unwrap()..])
            .unwrap();
        assert_eq!(
            ingest.commit(Some(&content)).unwrap(),
            (content.digest.clone(), 6)
        );
        assert_eq!(fake.blob("acme/app", &content.digest).unwrap(), b"shared");
        let found = fake
            .lines()
            .iter()
            .filter(|line| line.starts_with("POST"))
            .count();
        assert_eq!(found, n_posts, "{:?}", fake.lines());
    }
    check(Quirks::default(), "acme/base", 6, 1);
    check(Quirks::default(), "acme/other", 0, 1);
    check(
        Quirks {
            no_mount: true,
            ..Quirks::default()
        },
        "acme/base",
        0,
        1,
    );
}

#[test]
fn other_algorithms_are_announced() {
    #[track_caller]
    fn check(len: usize, single_post: bool) {
        let fake = Fake::start(Quirks::default());
        fake.change(|options| options.single_post = single_post);
        let sink = repository(&fake);
        let bytes = noise(len);
        let mut hasher = Hasher::new(Algorithm::Sha512);
        hasher.update(&bytes);
        let content = Descriptor::new("a/b", hasher.finish(), bytes.len() as u64);
        push(&sink, &content, &bytes).unwrap();
        let line = fake.lines()[0].clone();
        assert!(
            line.contains("/blobs/uploads/?digest-algorithm=sha512"),
            "{line}"
        );
        assert!(fake.blob("acme/app", &content.digest).is_some());
    }
    for single_post in [true, false] {
        check(6, single_post);
        check(2 << 20, single_post);
    }
}

#[test]
fn manifests_and_tags() {
    let fake = Fake::start(Quirks::default());
    let sink = repository(&fake);
    let content = Descriptor::of(media_type::OCI_INDEX, INDEX);
    push(&sink, &content, INDEX).unwrap();
    sink.tag("1.2", &content).unwrap();
    assert_eq!(fake.manifest("acme/app", "1.2").unwrap(), INDEX);
    let put = fake.log()[0].clone();
    assert_eq!(put.headers["content-type"], media_type::OCI_INDEX);
    assert_eq!(fake.lines().len(), 2, "{:?}", fake.lines());
    assert!(sink.tag("../x", &content).is_err());
    // Who did not push it has to read it first.
    repository(&fake).tag("latest", &content).unwrap();
    assert_eq!(fake.manifest("acme/app", "latest").unwrap(), INDEX);
    assert!(push(&sink, &content, b"{}").unwrap_err().is_corrupt());
    sink.delete_manifest(&content.digest).unwrap();
    assert_eq!(fake.manifest("acme/app", "latest"), None);
}

#[test]
fn a_repository_that_has_to_be_made_first_is_no_missing_blob() {
    // Amazon's registry makes none by itself.
    let fake = Fake::start(Quirks {
        no_repository: true,
        ..Quirks::default()
    });
    let content = Descriptor::of("a/b", b"x");
    let error = push(&repository(&fake), &content, b"x").unwrap_err();
    assert!(!error.is_not_found(), "{error:?}");
    assert!(
        crate::chain(&error).contains("refused: 404 NAME_UNKNOWN"),
        "{}",
        crate::chain(&error)
    );
}

#[test]
fn a_stream_waits_when_there_are_too_many() {
    let fake = Fake::start(Quirks {
        n_too_many_puts: 2,
        ..Quirks::default()
    });
    let bytes = noise(2 << 20);
    let content = Descriptor::of("a/b", &bytes);
    push(&repository(&fake), &content, &bytes).unwrap();
    assert!(fake.blob("acme/app", &content.digest) == Some(bytes));
}

fn n_posts(fake: &Fake) -> usize {
    let lines = fake.lines();
    lines.iter().filter(|line| line.starts_with("POST")).count()
}

#[test]
fn a_registry_is_asked_once_whether_it_takes_blobs_at_once() {
    let fake = Fake::start(Quirks::default());
    fake.change(|options| options.single_post = false);
    let sink = repository(&fake);
    for bytes in [b"a", b"b", b"c"] {
        push(&sink, &Descriptor::of("a/b", bytes), bytes).unwrap();
    }
    let with_body: Vec<bool> = fake
        .log()
        .iter()
        .filter(|request| request.method == "POST")
        .map(|request| !request.body.is_empty())
        .collect();
    assert_eq!(with_body, [true, false, false]);
    assert_eq!(fake.n_uploads_open(), 0);
}

#[test]
fn a_blob_that_any_repository_has_is_mounted() {
    #[track_caller]
    fn check(len: usize, anonymous_mount: bool, is_mounted: bool) {
        let fake = Fake::start(Quirks::default());
        fake.change(|options| options.anonymous_mount = anonymous_mount);
        let bytes = noise(len);
        fake.put_blob("somebody/else", &bytes);
        let content = Descriptor::of("a/b", &bytes);
        let sink = repository(&fake);
        let mut ingest = sink.ingest(&IngestPlan::of(&content).unwrap()).unwrap();
        assert_eq!(ingest.offset() == content.size, is_mounted);
        if !is_mounted {
            ingest.write_all(&bytes).unwrap();
        }
        ingest.commit(Some(&content)).unwrap();
        assert!(fake.blob("acme/app", &content.digest) == Some(bytes));
        assert_eq!(n_posts(&fake), 1, "{:?}", fake.lines());
        assert_eq!(fake.n_uploads_open(), 0);
    }
    check(2 << 20, true, true);
    check(2 << 20, false, false);
}
