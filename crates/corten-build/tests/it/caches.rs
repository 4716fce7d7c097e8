//! Caches elsewhere: what they know is a hit, and their layers come only when they are needed.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use corten_build::caches::{
    CONFIG_TYPE, CacheSource, Caches, Exported, MANIFEST_TYPE, Mode, WithCaches, export,
};
use corten_build::request::LayersOf;
use corten_build::{Built, Named};
use corten_content::{
    CopyOptions, Durability, Error, IngestPlan, Layout, Memory, Sink, Store, copy, load,
};
use corten_snapshot::LayerSource;
use corten_spec::{Descriptor, Manifest, document, media_type};

use crate::site::{Site, chain};
use crate::sketch;

const DOCKERFILE: &str = "
    FROM base AS first
    COPY d /out/
    WORKDIR /w
    FROM base
    COPY --from=first /out/sub /x
    COPY f /y
";
const CONTEXT: &str = "file 644 f F\nfile 644 d/a A\nfile 644 d/sub/b B";

/// A site that notes what it could give to caches, and takes from those in `sources`.
fn site(sources: Vec<CacheSource>) -> (Site, Vec<String>) {
    let mut site = Site::new(CONTEXT).clamp(sketch::TIME);
    let (caches, warnings) = Caches::read(sources, &site.request.platform);
    site.request.caches = Some(Arc::new(caches));
    (site, warnings)
}

fn directory(path: &Path) -> CacheSource {
    CacheSource {
        name: "cache".into(),
        place: Box::new(Layout::create(path, Durability::None).unwrap()),
        tag: "latest".into(),
    }
}

fn send(site: &Site, mode: &Mode, target: &CacheSource) -> Result<Exported, Error> {
    let caches = site.request.caches.as_ref().unwrap();
    export(caches, mode, &site.store, target, &CopyOptions::default())
}

fn cached(site: &Site) -> usize {
    let events = site.events();
    events
        .iter()
        .filter(|event| event.ends_with(" CACHED"))
        .count()
}

/// Returns how many layers of `built` are in the store of `site`.
fn layers_here(site: &Site, built: &Built) -> usize {
    let layers = site.layers(built).into_iter();
    layers
        .filter(|layer| site.store.contains(&layer.blob).unwrap())
        .count()
}

#[test]
fn another_machine_takes_everything_from_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let target = directory(dir.path());
    let (first, _) = site(Vec::new());
    let built = first.build(DOCKERFILE);
    let sent = send(&first, &Mode::Max, &target).unwrap();
    // The copy from a stage has two keys. The config, the manifest and four layers.
    assert_eq!((sent.n_records, sent.sent), (5, 6), "{sent:?}");
    // Whoever gives the same again sends nothing.
    let again = send(&first, &Mode::Max, &target).unwrap();
    assert_eq!((again.sent, again.manifest), (0, sent.manifest.clone()));

    let (second, warnings) = site(vec![directory(dir.path())]);
    assert_eq!(warnings, [""; 0]);
    assert_eq!(second.build(DOCKERFILE), built);
    assert_eq!(cached(&second), 4, "{:?}", second.events());
    assert_eq!(layers_here(&second, &built), 3);
    // Layers of the first stage were not needed.
    let place = target.place.as_source();
    let manifest: Manifest = load(place, &sent.manifest).unwrap().value;
    assert_eq!(manifest.artifact_type.as_deref(), Some(MANIFEST_TYPE));
    assert_eq!(manifest.config.media_type, CONFIG_TYPE);
    let of_image = second.layers(&built);
    for layer in &manifest.layers {
        let is_of_image = of_image
            .iter()
            .any(|other| other.blob.digest == layer.digest);
        assert_eq!(second.store.contains(layer).unwrap(), is_of_image);
    }
    // From now on the store knows what it has the layers of.
    let mut second = second;
    second.request.caches = None;
    assert_eq!(second.build(DOCKERFILE), built);
    assert_eq!(cached(&second), 2, "{:?}", second.events());
}

#[test]
fn the_smallest_cache_has_the_layers_of_the_image() {
    let dir = tempfile::tempdir().unwrap();
    let (first, _) = site(Vec::new());
    let built = first.build(DOCKERFILE);
    let mode = Mode::Min(first.layers(&built));
    let sent = send(&first, &mode, &directory(dir.path())).unwrap();
    assert_eq!(sent.n_records, 3);
    let (second, _) = site(vec![directory(dir.path())]);
    assert_eq!(second.build(DOCKERFILE), built);
    assert_eq!(cached(&second), 2, "{:?}", second.events());
}

#[test]
fn layers_come_when_they_are_needed() {
    let dir = tempfile::tempdir().unwrap();
    let (first, _) = site(Vec::new());
    let built = first.build(DOCKERFILE);
    send(&first, &Mode::Max, &directory(dir.path())).unwrap();

    let (mut second, _) = site(vec![directory(dir.path())]);
    second.request.layers = LayersOf::Anywhere;
    assert_eq!(second.build(DOCKERFILE), built);
    assert_eq!(layers_here(&second, &built), 1, "only the base");
    // The image can go elsewhere as if it were here.
    let source = WithCaches {
        store: Store::open(second.store.root()).unwrap(),
        caches: Arc::clone(second.request.caches.as_ref().unwrap()),
        pushed_to: None,
    };
    let there = Memory::new();
    let copied = copy(&source, &there, &built.manifest, &CopyOptions::default()).unwrap();
    assert_eq!(copied.sent, 5);
    // A registry that has the layers is sent the documents alone.
    let mut first_layers = first.layers(&built);
    let layouts = Layout::open(dir.path()).unwrap();
    copy(
        &first.store,
        &layouts,
        &first_layers.remove(0).blob,
        &CopyOptions::default(),
    )
    .unwrap();
    let copied = copy(&source, &layouts, &built.manifest, &CopyOptions::default()).unwrap();
    assert_eq!((copied.sent, copied.present), (2, 3));

    // A step that has to be made needs what is beneath it, and nothing of other stages.
    sketch::write(&second.path("f"), b"changed");
    let changed = second.build(DOCKERFILE);
    assert_eq!(cached(&second), 3);
    assert_eq!(layers_here(&second, &changed), 3);
}

/// The registry of a base that lets nobody in any more.
#[derive(Debug)]
struct Refusing;

impl LayerSource for Refusing {
    fn bring(&self, _: &Store, _: &Descriptor) -> Result<(), Error> {
        Err(Error::Place {
            place: "the registry".to_owned(),
            source: "401".into(),
        })
    }
}

#[test]
fn what_a_registry_refuses_comes_from_a_cache() {
    let dir = tempfile::tempdir().unwrap();
    let (first, _) = site(Vec::new());
    let built = first.build(DOCKERFILE);
    send(&first, &Mode::Max, &directory(dir.path())).unwrap();
    let (mut second, _) = site(vec![directory(dir.path())]);
    second.layers = Some(&Refusing);
    assert_eq!(second.build(DOCKERFILE), built);
    assert_eq!(cached(&second), 4, "{:?}", second.events());

    // Where nobody else has it, the refusal is what is told.
    let (mut third, _) = site(Vec::new());
    third.layers = Some(&Refusing);
    let Named::Image(base) = third.named("base") else {
        panic!("the base is an image");
    };
    let base = &base.documents.manifest.value.layers[0];
    let path = third.store.root().join("blobs/sha256");
    fs::remove_file(path.join(base.digest.encoded())).unwrap();
    let error = third.try_build(DOCKERFILE).unwrap_err();
    assert!(
        chain(&error).contains("the registry failed"),
        "{}",
        chain(&error)
    );
}

#[test]
fn what_cannot_be_used_is_a_warning_and_a_miss() {
    #[track_caller]
    fn check(expected: &str, prepare: impl FnOnce(&Layout)) {
        let dir = tempfile::tempdir().unwrap();
        let source = directory(dir.path());
        prepare(&Layout::open(dir.path()).unwrap());
        let (site, warnings) = site(vec![source]);
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].contains(expected), "{warnings:?}");
        site.build(DOCKERFILE);
        assert_eq!(cached(&site), 0);
    }
    fn put(layout: &Layout, media_type: &str, bytes: &[u8]) -> Descriptor {
        let content = Descriptor::of(media_type, bytes);
        let mut ingest = layout.ingest(&IngestPlan::of(&content).unwrap()).unwrap();
        ingest.write_all(bytes).unwrap();
        ingest.commit(None).unwrap();
        content
    }
    fn manifest(config_type: &'static str, config: &'static str) -> impl FnOnce(&Layout) {
        move |layout| {
            let config = put(layout, config_type, config.as_bytes());
            let manifest = document::to_bytes(&Manifest::oci(config, Vec::new()));
            let manifest = put(layout, media_type::OCI_MANIFEST, &manifest);
            layout.tag("latest", &manifest).unwrap();
        }
    }
    check("there is no cache `cache` yet", |_| {});
    check(
        "BuildKit",
        manifest("application/vnd.buildkit.cacheconfig.v0", "{}"),
    );
    check("damaged", manifest(CONFIG_TYPE, "{\"version\":1"));
    check(
        "another version",
        manifest(CONFIG_TYPE, "{\"version\":9,\"records\":[]}"),
    );
    check("of type `text/plain`", manifest("text/plain", "hello"));
    let image = "{\"os\":\"linux\",\"architecture\":\"amd64\",\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[]}}";
    check("without records", manifest(media_type::OCI_CONFIG, image));
    check("not used", |layout| {
        let manifest = put(layout, media_type::OCI_MANIFEST, b"[]");
        layout.tag("latest", &manifest).unwrap();
    });
}

#[test]
fn layers_that_are_lost_or_damaged_are_made_again() {
    #[track_caller]
    fn check(n_warnings: usize, n_cached: usize, damage: impl Fn(&Path)) {
        let dir = tempfile::tempdir().unwrap();
        let (first, _) = site(Vec::new());
        // Small blobs are looked at so closely that they are not there when they are damaged.
        let large: Vec<u8> = (0..40_000_u32)
            .flat_map(|number| number.wrapping_mul(0x9e37_79b1).to_le_bytes())
            .collect();
        sketch::write(&first.path("f"), &large);
        let built = first.build(DOCKERFILE);
        send(&first, &Mode::Max, &directory(dir.path())).unwrap();
        let last = first.layers(&built).pop().unwrap();
        damage(
            &Layout::open(dir.path())
                .unwrap()
                .blob_path(&last.blob.digest),
        );
        let (second, _) = site(vec![directory(dir.path())]);
        sketch::write(&second.path("f"), &large);
        assert_eq!(second.build(DOCKERFILE), built);
        let n_told = second
            .events()
            .iter()
            .filter(|event| event.starts_with("warning"))
            .count();
        assert_eq!(
            (n_told, cached(&second)),
            (n_warnings, n_cached),
            "{:?}",
            second.events()
        );
        assert_eq!(layers_here(&second, &built), 3);
    }
    check(0, 3, |path| fs::remove_file(path).unwrap());
    check(1, 3, |path| {
        let mut bytes = fs::read(path).unwrap();
        bytes[2000] ^= 1;
        fs::remove_file(path).unwrap();
        sketch::write(path, &bytes);
    });
}

#[test]
fn an_image_is_a_cache_of_its_own_layers() {
    let (mut first, _) = site(Vec::new());
    first.request.inline_cache = true;
    let dockerfile = "FROM base\nCOPY d /out/\nWORKDIR /w\nCOPY f /y\n";
    let built = first.build(dockerfile);
    // It is the same image when all of it was cached.
    assert_eq!(first.build(dockerfile), built);
    let dir = tempfile::tempdir().unwrap();
    let source = directory(dir.path());
    let place = source.place.as_sink();
    copy(
        &first.store,
        place,
        &built.manifest,
        &CopyOptions::default(),
    )
    .unwrap();
    place.tag("latest", &built.manifest).unwrap();

    let (mut second, warnings) = site(vec![source]);
    assert_eq!(warnings, [""; 0]);
    second.request.inline_cache = true;
    assert_eq!(second.build(dockerfile), built);
    assert_eq!(cached(&second), 3);
    // Who does not want records gets none, not even those of the base.
    second.request.inline_cache = false;
    let plain = second.build(dockerfile);
    assert_ne!(plain, built);
}

#[test]
fn builders_add_to_a_cache() {
    let dir = tempfile::tempdir().unwrap();
    let (first, _) = site(Vec::new());
    first.build("FROM base\nCOPY d /out/\n");
    send(&first, &Mode::Max, &directory(dir.path())).unwrap();
    let (other, _) = site(Vec::new());
    other.build("FROM base\nCOPY f /y\n");
    let sent = send(&other, &Mode::Max, &directory(dir.path())).unwrap();
    assert_eq!(sent.n_records, 2);
    let (third, _) = site(vec![directory(dir.path())]);
    third.build("FROM base\nCOPY d /out/\n");
    assert_eq!(cached(&third), 1);
    third.build("FROM base\nCOPY f /y\n");
    assert_eq!(cached(&third), 1);
}

#[test]
fn no_cache_replaces_an_image() {
    let dir = tempfile::tempdir().unwrap();
    let (first, _) = site(Vec::new());
    let built = first.build(DOCKERFILE);
    let target = directory(dir.path());
    let place = target.place.as_sink();
    copy(
        &first.store,
        place,
        &built.manifest,
        &CopyOptions::default(),
    )
    .unwrap();
    place.tag("latest", &built.manifest).unwrap();
    let error = send(&first, &Mode::Max, &target).unwrap_err();
    assert!(error.to_string().contains("it is an image"), "{error}");
    let there = target.place.resolve("latest").unwrap();
    assert_eq!(there.digest, built.manifest.digest);
}
