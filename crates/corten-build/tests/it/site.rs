//! A place to build in: a store, a context, and what names stand for.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use corten_build::request::CacheUse;
use corten_build::{
    BaseImage, Bases, BuildRequest, Built, Clamp, Error, Event, Named, Remotes, build,
};
use corten_content::{Durability, IngestPlan, Sink, Store, load_image};
use corten_dockerfile::Ignore;
use corten_layer::bytes::TreeContents;
use corten_layer::{Tree, emit};
use corten_snapshot::{Bytes, LayerRef, LayerSource, PackOptions, Packer, Snapshots, layers_of};
use corten_spec::{Descriptor, ImageConfig, Manifest, Platform, document, media_type};
use serde_json::Value;
use tempfile::TempDir;

use crate::addresses::Web;
use crate::sketch;

/// Where one test builds.
pub(crate) struct Site {
    pub(crate) dir: TempDir,
    pub(crate) store: Store,
    pub(crate) request: BuildRequest,
    names: HashMap<String, Named>,
    pub(crate) web: Web,
    /// What has layers that are not in the store.
    pub(crate) layers: Option<&'static dyn LayerSource>,
    happened: Mutex<Happened>,
    /// Which names were asked for.
    asked: Mutex<Vec<String>>,
}

/// What a build told.
#[derive(Default)]
struct Happened {
    warnings: Vec<String>,
    /// Why steps were no hits, in the order in which they ended.
    reasons: Vec<String>,
    /// Stage and number of each step, by its number in the build.
    places: HashMap<usize, Place>,
    steps: BTreeMap<Place, String>,
}

/// Whether the stage has no name, its name or number, and the step's number in it.
type Place = (bool, String, usize);

/// The image `base` of every site: a merged `/usr`, users, and a directory of a user.
pub(crate) const BASE: &str = "
    link bin usr/bin
    file 644 etc/group root:x:0:\\nstaff:x:50:app\\n
    file 644 etc/passwd root:x:0:0::/:\\napp:x:1000:1001::/home/app:/bin/sh\\n
    file 644 etc/old old
    dir 700 1000:1001 home/app
    link lib usr/lib
    link nowhere none/at/all
    link toold etc/old
    dir 1777 tmp
    file 755 usr/bin/sh shell
    file 644 usr/lib/libc.so libc
";

impl Site {
    /// Makes a site whose context holds what `context` says.
    pub(crate) fn new(context: &str) -> Self {
        let dir = TempDir::new().unwrap();
        let store = Store::open_with(&dir.path().join("store"), Durability::None).unwrap();
        let path = dir.path().join("context");
        fs::create_dir(&path).unwrap();
        sketch::make(&path, context);
        let mut request = BuildRequest::new("Dockerfile", "", &path);
        request.platform = Platform::new("linux", "amd64");
        let mut site = Self {
            dir,
            store,
            request,
            names: HashMap::new(),
            web: Web::default(),
            layers: None,
            happened: Mutex::default(),
            asked: Mutex::default(),
        };
        site.image("base", &[BASE], |_| {});
        site
    }

    /// Gives `name` to an image of `layers`, whose config `configure` changes.
    pub(crate) fn image(
        &mut self,
        name: &str,
        layers: &[&str],
        configure: impl FnOnce(&mut ImageConfig),
    ) {
        let mut config = ImageConfig::scratch(&Platform::new("linux", "amd64"));
        let mut blobs = Vec::new();
        let mut lower = Tree::new();
        for text in layers {
            let (changes, texts) = sketch::changes(text);
            let mut packer = Packer::new(&self.store, &PackOptions::default()).unwrap();
            let entries = emit::write_changeset(&lower, &changes, &texts, &mut packer).unwrap();
            let layer = packer.finish().unwrap();
            lower = lower.apply(&layer.diff_id, &entries).unwrap().0;
            config.rootfs.diff_ids.push(layer.diff_id);
            blobs.push(layer.blob);
        }
        configure(&mut config);
        let config = self.put(media_type::OCI_CONFIG, &document::to_bytes(&config));
        let manifest = document::to_bytes(&Manifest::oci(config, blobs));
        let manifest = self.put(media_type::OCI_MANIFEST, &manifest);
        let platform = Platform::new("linux", "amd64");
        let documents = load_image(&self.store, &manifest, &platform).unwrap();
        let image = BaseImage {
            documents,
            reference: None,
            digest: manifest.digest,
        };
        self.names
            .insert(name.to_owned(), Named::Image(Box::new(image)));
    }

    /// Makes the image called `name` one that a registry has under `reference`.
    pub(crate) fn name_in_registry(&mut self, name: &str, reference: &str) -> String {
        let Some(Named::Image(image)) = self.names.get_mut(name) else {
            panic!("no image is called {name}");
        };
        image.reference = Some(reference.to_owned());
        image.digest.to_string()
    }

    /// Gives `name` to a directory that holds what `text` says.
    pub(crate) fn directory(&mut self, name: &str, text: &str) {
        let path = self.dir.path().join(name);
        fs::create_dir(&path).unwrap();
        sketch::make(&path, text);
        self.names.insert(
            name.to_owned(),
            Named::Directory {
                path,
                ignore: Ignore::default(),
            },
        );
    }

    /// Returns what is called `name`.
    pub(crate) fn named(&self, name: &str) -> Named {
        self.names[name].clone()
    }

    /// Calls something `name`.
    pub(crate) fn name(&mut self, name: &str, named: Named) {
        self.names.insert(name.to_owned(), named);
    }

    /// Returns everything that an image holds.
    pub(crate) fn whole(&self, built: &Built) -> String {
        sketch::difference(&self.show(&self.layers(built)), &BTreeMap::new())
    }

    fn put(&self, media_type: &str, bytes: &[u8]) -> Descriptor {
        let content = Descriptor::of(media_type, bytes);
        let mut ingest = self
            .store
            .ingest(&IngestPlan::of(&content).unwrap())
            .unwrap();
        ingest.write_all(bytes).unwrap();
        ingest.commit(Some(&content)).unwrap();
        content
    }

    /// Returns the path of something in the context.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.request.context.join(path)
    }

    /// Makes more in the context.
    pub(crate) fn add(&self, text: &str) {
        sketch::make(&self.request.context, text);
    }

    /// Leaves out of the context what the ignore file `text` says.
    pub(crate) fn ignore(mut self, text: &str) -> Self {
        self.request.ignore = Ignore::parse(text.as_bytes()).unwrap();
        self
    }

    /// Lets no time be later than `seconds`.
    pub(crate) fn clamp(mut self, seconds: i64) -> Self {
        self.request.clamp = Some(Clamp(seconds));
        self
    }

    /// Builds without looking into the cache.
    pub(crate) fn without_cache(mut self) -> Self {
        self.request.cache = CacheUse::Ignore;
        self
    }

    /// Sets a build argument.
    pub(crate) fn arg(mut self, name: &str, value: &str) -> Self {
        self.request.build_args.insert(name.into(), value.into());
        self
    }

    /// Wants the stage `name`.
    pub(crate) fn target(mut self, name: &str) -> Self {
        self.request.target = Some(name.to_owned());
        self
    }

    /// Builds `dockerfile`, whose lines may be indented.
    pub(crate) fn try_build(&self, dockerfile: &str) -> Result<Built, Error> {
        let request = BuildRequest {
            text: lines(dockerfile),
            ..self.request.clone()
        };
        *self.happened.lock().unwrap() = Happened::default();
        self.asked.lock().unwrap().clear();
        build(&self.store, &request, self, &|event| self.note(event))
    }

    #[track_caller]
    pub(crate) fn build(&self, dockerfile: &str) -> Built {
        match self.try_build(dockerfile) {
            Ok(built) => built,
            Err(error) => panic!("{dockerfile}\n{}", chain(&error)),
        }
    }

    fn note(&self, event: Event<'_>) {
        let mut happened = self.happened.lock().unwrap();
        match event {
            Event::Step {
                step,
                stage,
                number,
                text,
                ..
            } => {
                let is_unnamed = stage.parse::<usize>().is_ok();
                let place = (is_unnamed, stage.to_owned(), number);
                happened.places.insert(step, place.clone());
                happened.steps.insert(place, text.to_owned());
            }
            Event::Cached { step } => {
                let place = happened.places[&step].clone();
                happened.steps.get_mut(&place).unwrap().push_str(" CACHED");
            }
            Event::Missed { reasons, .. } => happened
                .reasons
                .extend(reasons.iter().map(ToString::to_string)),
            Event::Warning(text) => happened.warnings.push(format!("warning: {text}")),
            Event::Done { .. }
            | Event::Failed { .. }
            | Event::Output { .. }
            | Event::Isolated { .. }
            | Event::Detail(_) => {}
        }
    }

    /// Returns what happened in the last build: warnings, then the instruction of each step, by the
    /// names of the stages, those without last, with ` CACHED` behind it.
    pub(crate) fn events(&self) -> Vec<String> {
        let happened = self.happened.lock().unwrap();
        let steps = happened.steps.values();
        happened.warnings.iter().chain(steps).cloned().collect()
    }

    /// Returns why steps of the last build were no hits, if the request wants to know.
    pub(crate) fn reasons(&self) -> Vec<String> {
        self.happened.lock().unwrap().reasons.clone()
    }

    /// Returns which names the last build asked for.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    /// Returns the layers of an image.
    pub(crate) fn layers(&self, built: &Built) -> Vec<LayerRef> {
        let platform = Platform::new("linux", "amd64");
        layers_of(&load_image(&self.store, &built.manifest, &platform).unwrap()).unwrap()
    }

    /// Returns what an image holds, by path.
    pub(crate) fn show(&self, layers: &[LayerRef]) -> BTreeMap<String, String> {
        let snapshots = Snapshots::new(&self.store);
        let tree = snapshots.tree(layers).unwrap();
        let bytes = Bytes::new(snapshots, layers);
        let contents = TreeContents {
            tree: &tree,
            bytes: &bytes,
        };
        sketch::show(&tree, &contents)
    }

    /// Returns what an image holds besides what `base` does.
    pub(crate) fn listing(&self, built: &Built) -> String {
        let layers = self.layers(built);
        let Some(Named::Image(base)) = self.names.get("base") else {
            panic!("there is no base");
        };
        let base = layers_of(&base.documents).unwrap();
        let base = if layers.starts_with(&base) {
            self.show(&base)
        } else {
            BTreeMap::new()
        };
        sketch::difference(&self.show(&layers), &base)
    }

    /// Returns a document of an image.
    pub(crate) fn document(&self, digest: &corten_spec::Digest) -> Value {
        serde_json::from_slice(&fs::read(self.store.blob_path(digest)).unwrap()).unwrap()
    }

    /// Returns the config of an image.
    pub(crate) fn config(&self, built: &Built) -> Value {
        self.document(&built.image_id.0)
    }
}

impl Bases for Site {
    fn find(
        &self,
        name: &str,
        _platform: &Platform,
    ) -> Result<Named, Box<dyn std::error::Error + Send + Sync>> {
        self.asked.lock().unwrap().push(name.to_owned());
        let named = self.names.get(name).cloned();
        named.ok_or_else(|| format!("there is no image `{name}`").into())
    }

    fn layers(&self) -> Option<&dyn LayerSource> {
        self.layers
    }

    fn remotes(&self) -> &dyn Remotes {
        &self.web
    }
}

/// Returns `text` with the indentation of its first line taken from every line.
pub(crate) fn lines(text: &str) -> String {
    let text = text.strip_prefix('\n').unwrap_or(text);
    let indentation = text.len() - text.trim_start_matches(' ').len();
    let lines = text
        .lines()
        .map(|line| line.get(indentation..).unwrap_or(line.trim_start()));
    lines.fold(String::new(), |text, line| text + line + "\n")
}

/// Returns an error and all its causes, a line each.
pub(crate) fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text = format!("{text}\n{error}");
        source = error.source();
    }
    text
}

/// Builds `FROM base` with `instructions` and compares what was added.
#[track_caller]
pub(crate) fn check(instructions: &str, context: &str, expected: &str) {
    check_in(&Site::new(context), instructions, expected);
}

/// As [`check`], in a site that was prepared.
#[track_caller]
pub(crate) fn check_in(site: &Site, instructions: &str, expected: &str) {
    let dockerfile = format!("FROM base\n{}", lines(instructions));
    let built = site.build(&dockerfile);
    let listing = site.listing(&built);
    let expected = sketch::trimmed(expected);
    assert_eq!(
        listing, expected,
        "{dockerfile}\nfound:\n{listing}\nexpected:\n{expected}"
    );
}

/// Builds `FROM base` with `instructions` and compares the error with all its causes.
#[track_caller]
pub(crate) fn check_error(instructions: &str, context: &str, expected: &str) {
    check_error_in(&Site::new(context), instructions, expected);
}

/// As [`check_error`], in a site that was prepared.
#[track_caller]
pub(crate) fn check_error_in(site: &Site, instructions: &str, expected: &str) {
    let dockerfile = format!("FROM base\n{}", lines(instructions));
    let found = site.try_build(&dockerfile).map_err(|error| chain(&error));
    let found = found.expect_err(&dockerfile);
    let expected = lines(expected);
    assert_eq!(
        found.trim_end(),
        expected.trim_end(),
        "{dockerfile}\nfound:\n{found}"
    );
}

/// Returns the names in a directory of the store.
pub(crate) fn names_in(path: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(path) else {
        return Vec::new();
    };
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
