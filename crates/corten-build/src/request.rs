//! What is to be built.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use corten_dockerfile::{Check, Ignore};
use corten_sandbox::{Cancel, Isolation, Limits};
use corten_snapshot::PackOptions;
use corten_spec::Platform;
use corten_tar::LayerLimits;

use crate::caches::Caches;
use crate::run::options::RunOptions;

/// What is to be built, and how.
#[derive(Debug, Clone)]
pub struct BuildRequest {
    /// What messages call the Dockerfile.
    pub file_name: String,
    /// Its text.
    pub text: String,
    /// The directory that COPY and ADD take files from, or an uncompressed tar.
    pub context: PathBuf,
    /// What is left out of the context, if it is a directory.
    pub ignore: Ignore,
    /// Where `ignore` was read from, for messages.
    pub ignore_file: String,
    /// The stage that is wanted; the last one if `None`.
    pub target: Option<String>,
    /// Further stages that are built in the same run; see [`build_all`](crate::build_all).
    pub more_targets: Vec<String>,
    /// Values for ARG, by name.
    pub build_args: BTreeMap<String, String>,
    /// The names of named contexts, as short as they can be written: each takes the place of the stage
    /// of that name. What they are is asked of [`Bases`](crate::Bases).
    pub contexts: BTreeSet<String>,
    /// What the image is for.
    pub platform: Platform,
    /// Which checks are made; `None` for what the arguments or the Dockerfile say.
    pub check: Option<Check>,
    /// Annotations of the manifest.
    pub annotations: BTreeMap<String, String>,
    /// Labels that the image gets besides those of the Dockerfile.
    pub labels: BTreeMap<String, String>,
    /// Whether steps are looked up in the cache.
    pub cache: CacheUse,
    /// The names of stages whose steps are never looked up there, in any case.
    pub uncached_stages: Vec<String>,
    /// Whether it is told why a step was no hit, by [`Event::Missed`](crate::Event::Missed).
    pub explain: bool,
    /// Caches elsewhere, and what is noted for them.
    pub caches: Option<Arc<Caches>>,
    /// Where layers of the image may be.
    pub layers: LayersOf,
    /// Whether the image's config tells which step made which layer, so that other builders can use the
    /// image as a cache.
    pub inline_cache: bool,
    /// How commands may be isolated.
    pub isolation: Isolations,
    /// What a command may use of the machine; what cannot be limited is an error before anything is
    /// done.
    pub run_limits: Limits,
    /// What ends the build and the commands that run, on request of another thread.
    pub cancel: Option<Cancel>,
    /// What times become.
    pub clamp: Option<Clamp>,
    /// How layers are compressed.
    pub pack: PackOptions,
    /// What commands get and may do.
    pub run: RunOptions,
    /// What a layer of a base image, or an archive that ADD unpacks, may ask for.
    pub limits: LayerLimits,
}

/// Which ways of isolation the commands of a build may get. What they leave is the same in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolations {
    /// The best there is.
    Any,
    /// This one, or the build fails before anything is done.
    Only(Isolation),
    /// None: there may be no RUN.
    None,
}

/// Whether results of earlier builds are used. New ones are recorded all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheUse {
    /// They are.
    Use,
    /// They are not.
    Ignore,
}

/// Where the layers of an image that was built are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayersOf {
    /// In the store, all of them.
    Store,
    /// In the store or in a cache elsewhere: the image is not whole in the store then, and must get no
    /// name there. See [`WithCaches`](crate::caches::WithCaches).
    Anywhere,
}

/// The latest time that anything in the image may have, in seconds since 1970; the image itself is
/// made at that time (`SOURCE_DATE_EPOCH`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clamp(pub i64);

impl BuildRequest {
    /// Returns the stages that are wanted, as they are called; none for the last one.
    pub fn targets(&self) -> Vec<&str> {
        let more = self.more_targets.iter().map(String::as_str);
        self.target.as_deref().into_iter().chain(more).collect()
    }

    /// Returns a request with everything at its usual value, for this machine's platform.
    pub fn new(file_name: &str, text: &str, context: &Path) -> Self {
        Self {
            file_name: file_name.to_owned(),
            text: text.to_owned(),
            context: context.to_path_buf(),
            ignore: Ignore::default(),
            ignore_file: ".dockerignore".to_owned(),
            target: None,
            more_targets: Vec::new(),
            build_args: BTreeMap::new(),
            contexts: BTreeSet::new(),
            platform: Platform::host(),
            check: None,
            annotations: BTreeMap::new(),
            labels: BTreeMap::new(),
            cache: CacheUse::Use,
            uncached_stages: Vec::new(),
            explain: false,
            caches: None,
            layers: LayersOf::Store,
            inline_cache: false,
            isolation: Isolations::Any,
            run_limits: Limits::default(),
            cancel: None,
            clamp: None,
            pack: PackOptions::default(),
            run: RunOptions::default(),
            limits: LayerLimits::default(),
        }
    }
}
