//! What every place that content can be written to and read from must do.

use std::io::Write;
use std::path::Path;

use corten_content::{CopyOptions, IngestPlan, Sink, Source, copy, read, walk};
use corten_spec::{Algorithm, Descriptor, Digest, Hasher};

use crate::Image;
use crate::image::index;

/// Runs all cases against the backend that `new` makes.
///
/// `new` is given a directory of its own each time, and may ignore it.
///
/// # Panics
/// Panics at the first case that the backend fails.
pub fn content_suite<B: Source + Sink>(new: impl Fn(&Path) -> B) {
    let cases: [Case<B>; 10] = [
        ("what is committed can be read", committed),
        ("nothing is visible before the commit", invisible),
        ("wrong bytes never become visible", wrong_bytes),
        ("an interrupted write goes on", resumes),
        ("a damaged leftover is thrown away", damaged_leftover),
        ("unknown content is named by what was written", unknown),
        ("reading starts where asked", offsets),
        ("tags move, digests resolve", tags),
        ("what is not here is not found", absent),
        ("whole images are copied", images),
    ];
    for (name, case) in cases {
        let dir = tempfile::tempdir().expect("the system has a temporary directory");
        let backend = new(dir.path());
        let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| case(&backend)));
        if let Err(cause) = ran {
            let text = cause.downcast_ref::<String>().cloned();
            let text = text.or_else(|| cause.downcast_ref::<&str>().map(ToString::to_string));
            panic!("{name}: {}", text.unwrap_or_default());
        }
    }
}

/// What is tested, and how.
type Case<B> = (&'static str, fn(&B));

const TYPE: &str = "text/plain";
const LIMIT: u64 = 1 << 20;

#[track_caller]
fn put(sink: &dyn Sink, bytes: &[u8]) -> Descriptor {
    let content = Descriptor::of(TYPE, bytes);
    let plan = IngestPlan::of(&content).expect("sha256 is known");
    let mut ingest = sink.ingest(&plan).expect("an ingest starts");
    assert_eq!(ingest.offset(), 0, "nothing is there yet");
    ingest.write_all(bytes).expect("bytes are taken");
    let committed = ingest.commit(Some(&content)).expect("the bytes are right");
    assert_eq!(committed, (content.digest.clone(), content.size));
    content
}

fn contains(sink: &dyn Sink, content: &Descriptor) -> bool {
    sink.contains(content).expect("a place can be asked")
}

fn committed<B: Source + Sink>(backend: &B) {
    for bytes in [&b"hello"[..], b"", &vec![7; 300_000]] {
        let content = put(backend, bytes);
        assert!(contains(backend, &content));
        assert_eq!(read(backend, &content, LIMIT).expect("it is here"), bytes);
        // A second write of the same is no error: two may be copying at once.
        put(backend, bytes);
    }
    let mut content = Descriptor::of(TYPE, b"hello");
    content.size += 1;
    assert!(!contains(backend, &content), "that is not this content");
}

fn invisible<B: Source + Sink>(backend: &B) {
    let content = Descriptor::of(TYPE, b"half");
    let plan = IngestPlan::of(&content).expect("sha256 is known");
    let mut ingest = backend.ingest(&plan).expect("an ingest starts");
    ingest.write_all(b"half").expect("bytes are taken");
    assert!(!contains(backend, &content));
    assert!(read(backend, &content, LIMIT).is_err());
    drop(ingest);
    assert!(!contains(backend, &content));
}

fn wrong_bytes<B: Source + Sink>(backend: &B) {
    for wrong in [&b"herro"[..], b"hell", b"hello!"] {
        let content = Descriptor::of(TYPE, b"hello");
        let plan = IngestPlan::of(&content).expect("sha256 is known");
        let mut ingest = backend.ingest(&plan).expect("an ingest starts");
        assert_eq!(ingest.offset(), 0, "a refused write leaves nothing");
        ingest.write_all(wrong).expect("bytes are taken");
        let error = ingest
            .commit(Some(&content))
            .expect_err("the bytes are wrong");
        assert!(error.is_corrupt(), "{error:?}");
        assert!(!contains(backend, &content));
        assert!(!contains(backend, &Descriptor::of(TYPE, wrong)));
    }
}

/// Backends may forget an interrupted write; those that keep it must go on rightly.
fn resumes<B: Source + Sink>(backend: &B) {
    let bytes = b"first half, second half";
    let content = Descriptor::of(TYPE, bytes);
    let plan = IngestPlan::of(&content).expect("sha256 is known");
    let mut ingest = backend.ingest(&plan).expect("an ingest starts");
    ingest.write_all(b"first half").expect("bytes are taken");
    drop(ingest);
    let mut ingest = backend.ingest(&plan).expect("an ingest goes on");
    let offset = usize::try_from(ingest.offset()).expect("it is small");
    assert!(offset == 0 || offset == 10, "{offset}");
    ingest
        .write_all(bytes.get(offset..).unwrap_or_default())
        .expect("bytes are taken");
    ingest.commit(Some(&content)).expect("the bytes are right");
    assert_eq!(read(backend, &content, LIMIT).expect("it is here"), bytes);
}

fn damaged_leftover<B: Source + Sink>(backend: &B) {
    let source = corten_content::Memory::new();
    let content = source.add(TYPE, b"the right bytes");
    let plan = IngestPlan::of(&content).expect("sha256 is known");
    let mut ingest = backend.ingest(&plan).expect("an ingest starts");
    ingest.write_all(b"the wrong").expect("bytes are taken");
    drop(ingest);
    copy(&source, backend, &content, &CopyOptions::default()).expect("a copy starts over");
    assert!(contains(backend, &content));
}

fn unknown<B: Source + Sink>(backend: &B) {
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512, Algorithm::Blake3] {
        let plan = IngestPlan {
            algorithm,
            ..IngestPlan::unknown()
        };
        let mut hasher = Hasher::new(algorithm);
        hasher.update(b"made here");
        let mut ingest = backend.ingest(&plan).expect("an ingest starts");
        ingest.write_all(b"made here").expect("bytes are taken");
        let (digest, size) = ingest.commit(None).expect("anything is right");
        assert_eq!((&digest, size), (&hasher.finish(), 9));
        let content = Descriptor::new(TYPE, digest, size);
        assert_eq!(
            read(backend, &content, LIMIT).expect("it is here"),
            b"made here"
        );
    }
}

fn offsets<B: Source + Sink>(backend: &B) {
    let content = put(backend, b"0123456789");
    for (offset, expected) in [(0, "0123456789"), (4, "456789"), (10, "")] {
        let mut rest = String::new();
        let mut reader = backend.fetch(&content, offset).expect("it is here");
        std::io::Read::read_to_string(&mut reader, &mut rest).expect("it can be read");
        assert_eq!(rest, expected, "from {offset}");
    }
}

fn tags<B: Source + Sink>(backend: &B) {
    let make = |tar: &[u8]| {
        let image = Image::builder().layer(tar).build();
        let options = CopyOptions::default();
        copy(&image.content, backend, &image.manifest, &options).expect("it can be copied");
        image.manifest
    };
    let resolve = |name: &str| backend.resolve(name).map(|found| found.bare());
    let (first, second) = (make(b"one"), make(b"two"));
    backend.tag("v1", &first).expect("it is here");
    backend.tag("v2", &first).expect("it is here");
    assert_eq!(resolve("v1").expect("tagged"), first.bare());
    backend.tag("v1", &second).expect("it is here");
    assert_eq!(resolve("v1").expect("tagged"), second.bare());
    assert_eq!(resolve("v2").expect("tagged"), first.bare());
    let digest = first.digest.as_str();
    assert_eq!(resolve(digest).expect("a manifest"), first.bare());
}

fn absent<B: Source + Sink>(backend: &B) {
    let content = Descriptor::of(TYPE, b"never written");
    let digest = Digest::sha256(b"never written");
    assert!(!contains(backend, &content));
    let not_found = |error: corten_content::Error| assert!(error.is_not_found(), "{error:?}");
    not_found(read(backend, &content, LIMIT).expect_err("it is not here"));
    not_found(backend.resolve("absent").expect_err("it is not here"));
    not_found(
        backend
            .resolve(digest.as_str())
            .expect_err("it is not here"),
    );
    not_found(backend.tag("absent", &content).expect_err("it is not here"));
}

fn images<B: Source + Sink>(backend: &B) {
    let image = Image::builder().layer(b"one").layer(b"two").build();
    let other = Image::builder()
        .layer(b"one")
        .layer(b"three")
        .build_in(&image.content);
    let root = index(&image.content, vec![image.manifest.clone(), other]);
    let options = CopyOptions::default();
    let report = copy(&image.content, backend, &root, &options).expect("it can be copied");
    // Three layers, as one is shared, two configs, two manifests, one index.
    assert_eq!(report.sent + report.present, 8, "{report:?}");
    let mut n_read = 0;
    walk(backend, &root, &mut |content| {
        n_read += 1;
        read(backend, content, LIMIT).map(drop)
    })
    .expect("everything is here");
    assert_eq!(n_read, 8);
    let again = copy(&image.content, backend, &root, &options).expect("it can be copied");
    assert_eq!((again.sent, again.bytes, again.present), (0, 0, 8));
}
