//! `copy`: what is sent, in which order, and what happens when something is wrong.

use std::io::{self, Read};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use corten_content::progress::Outcome;
use corten_content::{
    CopyOptions, CopyReport, Error, Ingest, IngestPlan, Memory, MountSource, Progress, Result,
    Sink, Source, Sparse, copy,
};
use corten_spec::{Descriptor, Digest, Index, Manifest, document, media_type};
use corten_testing::Image;
use corten_testing::image::index;

/// A place that records, and that can be told to misbehave.
#[derive(Default)]
struct Probe {
    inner: Memory,
    events: Mutex<Vec<(String, Digest)>>,
    refuses_foreign: bool,
    endless: Option<Digest>,
    started: AtomicUsize,
}

impl Probe {
    fn record(&self, event: impl Into<String>, content: &Descriptor) {
        let event = (event.into(), content.digest.clone());
        self.events.lock().unwrap().push(event);
    }

    fn count(&self, event: &str) -> usize {
        let events = self.events.lock().unwrap();
        events.iter().filter(|(name, _)| name == event).count()
    }

    fn position(&self, event: &str, content: &Descriptor) -> usize {
        let events = self.events.lock().unwrap();
        let wanted = (event.to_owned(), content.digest.clone());
        events.iter().position(|event| *event == wanted).unwrap()
    }
}

/// Zeros without end, in small pieces.
struct Endless<'a>(&'a AtomicUsize);

impl Read for Endless<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.fetch_add(1, Ordering::Relaxed);
        buf[0] = 0;
        Ok(1)
    }
}

impl Source for Probe {
    fn place(&self) -> String {
        "the probe".into()
    }

    fn resolve(&self, name: &str) -> Result<Descriptor> {
        self.inner.resolve(name)
    }

    fn fetch(&self, content: &Descriptor, offset: u64) -> Result<Box<dyn Read + Send + '_>> {
        self.record(format!("fetch {offset}"), content);
        if self.endless.as_ref() == Some(&content.digest) {
            return Ok(Box::new(Endless(&self.started)));
        }
        self.inner.fetch(content, offset)
    }

    fn mountable(&self) -> Option<MountSource> {
        Some(MountSource {
            registry: "registry.example".into(),
            repository: "acme/app".into(),
        })
    }
}

impl Sink for Probe {
    fn place(&self) -> String {
        "the probe".into()
    }

    fn contains(&self, content: &Descriptor) -> Result<bool> {
        self.inner.contains(content)
    }

    fn ingest(&self, plan: &IngestPlan) -> Result<Box<dyn Ingest + '_>> {
        let content = plan.content.as_ref().unwrap();
        let mount = plan.mount.as_ref().map(|from| from.repository.clone());
        self.record(format!("ingest {}", mount.unwrap_or_default()), content);
        self.record("ingest", content);
        self.inner.ingest(plan)
    }

    fn tag(&self, tag: &str, content: &Descriptor) -> Result<()> {
        self.inner.tag(tag, content)
    }

    fn takes_foreign_layers(&self) -> bool {
        !self.refuses_foreign
    }
}

fn plain_copy(source: &dyn Source, sink: &dyn Sink, root: &Descriptor) -> Result<CopyReport> {
    copy(source, sink, root, &CopyOptions::default())
}

fn causes(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[test]
fn children_come_before_parents_and_equal_blobs_once() {
    let image = Image::builder()
        .layer(b"same")
        .layer(b"same")
        .layer(b"own")
        .build();
    let root = index(
        &image.content,
        vec![image.manifest.clone(), image.manifest.clone()],
    );
    for jobs in [0, 1, 8] {
        let sink = Probe::default();
        let options = CopyOptions {
            jobs,
            ..CopyOptions::default()
        };
        let report = copy(&image.content, &sink, &root, &options).unwrap();
        assert_eq!((report.sent, sink.count("ingest")), (5, 5), "{jobs} jobs");
        for layer in &image.value.layers {
            assert!(sink.position("ingest", layer) < sink.position("ingest", &image.manifest));
        }
        assert!(sink.position("ingest", &image.manifest) < sink.position("ingest", &root));
    }
}

#[test]
fn an_interrupted_copy_reads_on_from_where_it_was() {
    let (source, sink) = (Probe::default(), Memory::new());
    let content = source.inner.add("a/b", &vec![5; 300_000]);
    let plan = IngestPlan::of(&content).unwrap();
    let mut ingest = sink.ingest(&plan).unwrap();
    ingest.write_all(&vec![5; 200_000]).unwrap();
    drop(ingest);
    let report = plain_copy(&source, &sink, &content).unwrap();
    assert_eq!((report.sent, report.bytes), (1, 100_000));
    assert_eq!(source.count("fetch 200000"), 1);
    assert_eq!(source.count("fetch 0"), 0);
}

#[test]
fn what_is_wrong_with_the_source_is_said() {
    #[track_caller]
    fn check(stored: &[u8], named: &[u8], expected: &str) {
        let (source, sink) = (Probe::default(), Memory::new());
        let content = Descriptor::of("a/b", named);
        source.inner.add_unchecked(&content.digest, stored);
        let error = plain_copy(&source, &sink, &content).unwrap_err();
        let text = causes(&error);
        assert!(error.is_corrupt(), "{text}");
        assert!(text.contains("the probe on the way to memory"), "{text}");
        assert!(text.contains(content.digest.as_str()), "{text}");
        assert!(text.contains(expected), "{text}");
        assert!(!sink.contains(&content).unwrap());
    }
    check(b"herro", b"hello", "does not match its digest");
    check(b"hell", b"hello", "expected 5 bytes, received 4");
    check(b"hello!", b"hello", "expected 5 bytes, received 6");

    let (source, sink) = (Memory::new(), Memory::new());
    let image = Image::builder().layer(b"one").build();
    let layer = &image.value.layers[0];
    image.content.remove(&layer.digest);
    let error = plain_copy(&image.content, &sink, &image.manifest).unwrap_err();
    let expected = format!(
        "`{}`, which `{}` refers to, is not in memory",
        layer.digest, image.manifest.digest
    );
    assert_eq!(error.to_string(), expected);
    assert!(!sink.contains(&image.manifest).unwrap());

    let mut odd = Descriptor::of("a/b", b"x");
    odd.digest = "blake9:0123abcd".parse().unwrap();
    let error = plain_copy(&source, &sink, &odd).unwrap_err();
    let text = causes(&error);
    assert!(text.contains("cannot verify `blake9:0123abcd`"), "{text}");
}

#[test]
fn sparse_indexes() {
    let image = Image::builder().layer(b"one").build();
    let other = Image::builder().layer(b"two").build();
    let root = index(
        &image.content,
        vec![image.manifest.clone(), other.manifest.clone()],
    );
    let sink = Memory::new();
    let error = plain_copy(&image.content, &sink, &root).unwrap_err();
    assert!(matches!(&error, Error::Missing { digest, .. } if *digest == other.manifest.digest));
    assert!(!sink.contains(&root).unwrap());
    let options = CopyOptions {
        sparse: Sparse::Allow,
        ..CopyOptions::default()
    };
    let report = copy(&image.content, &sink, &root, &options).unwrap();
    assert_eq!(report.absent, 1);
    assert!(sink.contains(&root).unwrap());

    // A missing layer is no sparse index.
    image.content.remove(&image.value.layers[0].digest);
    let error = copy(&image.content, &Memory::new(), &root, &options).unwrap_err();
    assert!(matches!(error, Error::Missing { .. }), "{error:?}");
}

#[test]
fn foreign_layers_go_where_they_are_taken() {
    let content = Memory::new();
    let config = content.add(media_type::OCI_EMPTY, b"{}");
    let foreign = content.add(media_type::DOCKER_LAYER_FOREIGN, b"not for you");
    let manifest = document::to_bytes(&Manifest::oci(config, vec![foreign.clone()]));
    let root = content.add(media_type::OCI_MANIFEST, &manifest);
    for refuses_foreign in [false, true] {
        let sink = Probe {
            refuses_foreign,
            ..Probe::default()
        };
        let report = plain_copy(&content, &sink, &root).unwrap();
        assert_eq!(report.skipped, usize::from(refuses_foreign));
        assert_eq!(sink.contains(&foreign).unwrap(), !refuses_foreign);
    }
    // It need not even be there.
    content.remove(&foreign.digest);
    let sink = Probe {
        refuses_foreign: true,
        ..Probe::default()
    };
    plain_copy(&content, &sink, &root).unwrap();
}

#[test]
fn blobs_are_offered_for_mounting_and_documents_are_not() {
    let (source, sink) = (Probe::default(), Probe::default());
    let image = Image::builder().layer(b"one").build_in(&source.inner);
    plain_copy(&source, &sink, &image).unwrap();
    assert_eq!(sink.count("ingest acme/app"), 2);
    assert_eq!(sink.count("ingest "), 1);
}

#[test]
fn embedded_data_is_not_fetched() {
    let (source, sink) = (Probe::default(), Memory::new());
    let mut config = Descriptor::of(media_type::OCI_EMPTY, b"{}");
    config.data = Some("e30=".into());
    let manifest = document::to_bytes(&Manifest::oci(config.clone(), vec![]));
    let root = source.inner.add(media_type::OCI_MANIFEST, &manifest);
    plain_copy(&source, &sink, &root).unwrap();
    assert!(sink.contains(&config).unwrap());
    assert_eq!(source.count("fetch 0"), 1);
}

#[test]
fn one_failure_stops_the_others() {
    let mut source = Probe::default();
    let endless = Descriptor::new("a/b", Digest::sha256(b"never"), i64::MAX.unsigned_abs());
    source.endless = Some(endless.digest.clone());
    let config = source.inner.add(media_type::OCI_EMPTY, b"{}");
    let absent = Descriptor::of("a/b", b"absent");
    let manifest = Manifest::oci(config, vec![endless, absent.clone()]);
    let root = source
        .inner
        .add(media_type::OCI_MANIFEST, &document::to_bytes(&manifest));
    let error = plain_copy(&source, &Memory::new(), &root).unwrap_err();
    assert!(matches!(error, Error::Missing { digest, .. } if digest == absent.digest));
}

#[test]
fn a_copy_can_be_cancelled() {
    struct CancelAtFirstByte(AtomicBool);
    impl Progress for CancelAtFirstByte {
        fn begin(&self, _: &Descriptor, _: u64) {}
        fn advance(&self, _: &Descriptor, _: u64) {
            self.0.store(true, Ordering::Relaxed);
        }
        fn end(&self, _: &Descriptor, _: Outcome) {}
    }
    let mut source = Probe::default();
    let endless = Descriptor::new("a/b", Digest::sha256(b"never"), i64::MAX.unsigned_abs());
    source.endless = Some(endless.digest.clone());
    let progress = CancelAtFirstByte(AtomicBool::new(false));
    let options = CopyOptions {
        progress: &progress,
        cancel: &progress.0,
        ..CopyOptions::default()
    };
    let error = copy(&source, &Memory::new(), &endless, &options).unwrap_err();
    assert!(matches!(error, Error::Cancelled), "{error:?}");
}

#[test]
fn indexes_are_not_followed_for_ever() {
    let content = Memory::new();
    let mut root = content.add(
        media_type::OCI_INDEX,
        &document::to_bytes(&Index::oci(vec![])),
    );
    for _ in 0..40 {
        root = index(&content, vec![root]);
    }
    let error = plain_copy(&content, &Memory::new(), &root).unwrap_err();
    assert!(
        causes(&error).contains("nested more than 32 deep"),
        "{error:?}"
    );
}

#[test]
fn old_manifests_are_refused_by_name() {
    let content = Memory::new();
    let root = content.add(media_type::DOCKER_SCHEMA1_SIGNED, b"{}");
    let error = plain_copy(&content, &Memory::new(), &root).unwrap_err();
    assert!(causes(&error).contains("schema 1"), "{error:?}");
}

/// A place that has no room for anything, and says so by "not found", as registries do whose
/// repositories have to be made first.
struct Nowhere;

impl Sink for Nowhere {
    fn place(&self) -> String {
        "nowhere".into()
    }

    fn contains(&self, _: &Descriptor) -> Result<bool> {
        Ok(false)
    }

    fn ingest(&self, _: &IngestPlan) -> Result<Box<dyn Ingest + '_>> {
        Err(Error::NotFound {
            name: "the repository".into(),
            place: "nowhere".into(),
        })
    }

    fn tag(&self, _: &str, _: &Descriptor) -> Result<()> {
        Ok(())
    }
}

#[test]
fn what_the_sink_lacks_is_not_missing_in_the_source() {
    let content = Memory::new();
    let image = Image::builder().layer(b"one").build_in(&content);
    let root = index(&content, vec![image]);
    for sparse in [Sparse::Refuse, Sparse::Allow] {
        let options = CopyOptions {
            sparse,
            ..CopyOptions::default()
        };
        let error = copy(&content, &Nowhere, &root, &options).unwrap_err();
        assert!(!error.is_not_found(), "{sparse:?}: {error:?}");
        assert!(
            causes(&error).contains("`the repository` is not in nowhere"),
            "{}",
            causes(&error)
        );
    }
}
