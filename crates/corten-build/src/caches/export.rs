//! Writing caches: what is there already stays in them.

use std::collections::{BTreeMap, HashSet};
use std::io::Read;
use std::time::SystemTime;

use corten_content::{
    CopyOptions, Error, Ingest, IngestPlan, Memory, MountSource, Result, Sink, Source, copy,
};
use corten_snapshot::LayerRef;
use corten_spec::{Descriptor, Digest, Manifest, Platform, document, media_type};

use crate::caches::format::{self, CONFIG_TYPE, Known, MANIFEST_TYPE, MOST_RECORDS};
use crate::caches::import::{Found, find};
use crate::caches::{CachePlace, CacheSource, Caches};

/// Which steps a cache gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// Those whose layers the image has; these are its layers.
    Min(Vec<LayerRef>),
    /// All.
    Max,
}

/// What an export did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// The manifest of the cache.
    pub manifest: Descriptor,
    /// How many records it has.
    pub n_records: usize,
    /// How many blobs were sent.
    pub sent: usize,
    /// How many bytes those were.
    pub bytes: u64,
}

/// How often an export begins again because somebody else wrote meanwhile.
const ATTEMPTS: usize = 5;

/// Writes what the build of `caches` made or found to `target`, beside what is there; layers come from
/// `source`.
///
/// Other builders may write at the same time: what the tag stands for is looked at again before it is
/// changed. Between that look and the change somebody can still be overtaken, as registries have no way
/// to change a tag only if it is the expected one; records are lost then, and never wrong.
///
/// # Errors
/// An image is not replaced by a cache, since its name was probably given by mistake.
pub fn export(
    caches: &Caches,
    mode: &Mode,
    source: &dyn Source,
    target: &CacheSource,
    options: &CopyOptions<'_>,
) -> Result<Exported> {
    let mine = mine(caches, mode);
    publish(target, options, &|| {
        Ok(of_steps(theirs(target)?, mine.clone(), source))
    })
}

/// Writes what `documents` makes of what is at `target`, as often as somebody else was quicker.
pub(super) fn publish<'a>(
    target: &CacheSource,
    options: &CopyOptions<'_>,
    documents: &dyn Fn() -> Result<Documents<'a>>,
) -> Result<Exported> {
    let (mut sent, mut bytes) = (0, 0);
    let mut before = at(target)?;
    for attempt in 1.. {
        let documents = documents()?;
        let sink = Holding {
            place: &*target.place,
            there: &documents.there,
        };
        let copied = copy(&documents, &sink, &documents.manifest, options)?;
        sent += copied.sent;
        bytes += copied.bytes;
        let now = at(target)?;
        if now == before || attempt == ATTEMPTS {
            if now.as_ref() != Some(&documents.manifest.digest) {
                target.place.tag(&target.tag, &documents.manifest)?;
            }
            return Ok(Exported {
                manifest: documents.manifest,
                n_records: documents.n_records,
                sent,
                bytes,
            });
        }
        before = now;
    }
    unreachable!("the last attempt returns")
}

fn at(target: &CacheSource) -> Result<Option<Digest>> {
    match target.place.resolve(&target.tag) {
        Err(error) if error.is_not_found() => Ok(None),
        content => Ok(Some(content?.digest)),
    }
}

fn theirs(target: &CacheSource) -> Result<BTreeMap<Digest, Known>> {
    match find(target.place.as_source(), &target.tag, &Platform::host())? {
        Found::Cache(records) => Ok(records),
        Found::Nothing | Found::Foreign(_) => Ok(BTreeMap::new()),
        Found::Image(_) => Err(Error::Unusable {
            place: format!("`{}`", target.name),
            reason: "it is an image, which a cache does not replace; choose another name".into(),
        }),
    }
}

fn mine(caches: &Caches, mode: &Mode) -> BTreeMap<Digest, Known> {
    let today = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let days = today.unwrap_or_default().as_secs() / (24 * 60 * 60);
    let used = u32::try_from(days).unwrap_or(u32::MAX);
    let caches = caches.used();
    let wanted = caches
        .iter()
        .filter(|(_, outcome)| match (mode, &outcome.layer) {
            (Mode::Max, _) | (_, None) => true,
            (Mode::Min(layers), Some(layer)) => layers.contains(layer),
        });
    let known = wanted.map(|(key, outcome)| {
        let outcome = outcome.clone();
        (key.clone(), Known { outcome, used })
    });
    known.collect()
}

/// Returns the documents of a cache of steps.
fn of_steps(
    theirs: BTreeMap<Digest, Known>,
    mine: BTreeMap<Digest, Known>,
    source: &dyn Source,
) -> Documents<'_> {
    let layers = theirs
        .values()
        .filter_map(|known| known.outcome.layer.as_ref());
    let there = layers.map(|layer| layer.blob.digest.clone()).collect();
    let merged = format::merge(mine, theirs, MOST_RECORDS);
    let (layers, config) = format::write(&merged);
    let config = document::to_bytes(&config);
    let documents = Documents::new(source, MANIFEST_TYPE, (CONFIG_TYPE, &config), layers);
    Documents {
        n_records: merged.len(),
        there,
        ..documents
    }
}

/// A cache to be written: its documents from memory, its layers from where they are.
pub(super) struct Documents<'a> {
    memory: Memory,
    source: &'a dyn Source,
    manifest: Descriptor,
    pub(super) n_records: usize,
    /// The layers that the former cache had, in the very same place.
    pub(super) there: HashSet<Digest>,
}

impl<'a> Documents<'a> {
    /// Returns the documents of a cache of `layers`, whose config is of the type and the bytes given.
    pub(super) fn new(
        source: &'a dyn Source,
        artifact_type: &str,
        config: (&str, &[u8]),
        mut layers: Vec<Descriptor>,
    ) -> Self {
        let memory = Memory::new();
        let config = memory.add(config.0, config.1);
        if layers.is_empty() {
            // Some registries take no manifest without a layer (image-spec, guidelines for artifacts).
            layers.push(memory.add(media_type::OCI_EMPTY, b"{}"));
        }
        let mut manifest = Manifest::oci(config, layers);
        manifest.artifact_type = Some(artifact_type.to_owned());
        let manifest = memory.add(media_type::OCI_MANIFEST, &document::to_bytes(&manifest));
        Self {
            memory,
            source,
            manifest,
            n_records: 0,
            there: HashSet::new(),
        }
    }
}

impl Source for Documents<'_> {
    fn place(&self) -> String {
        self.source.place()
    }

    fn resolve(&self, name: &str) -> Result<Descriptor> {
        self.source.resolve(name)
    }

    fn fetch(&self, content: &Descriptor, offset: u64) -> Result<Box<dyn Read + Send + '_>> {
        match self.memory.fetch(content, offset) {
            Err(error) if error.is_not_found() => self.source.fetch(content, offset),
            found => found,
        }
    }

    fn mountable_for(&self, content: &Descriptor) -> Option<MountSource> {
        self.source.mountable_for(content)
    }
}

/// A place that is not asked for the layers that its cache names: there may be thousands.
struct Holding<'a> {
    place: &'a dyn CachePlace,
    there: &'a HashSet<Digest>,
}

impl Sink for Holding<'_> {
    fn place(&self) -> String {
        Sink::place(self.place.as_sink())
    }

    fn contains(&self, content: &Descriptor) -> Result<bool> {
        Ok(self.there.contains(&content.digest) || self.place.contains(content)?)
    }

    fn ingest(&self, plan: &IngestPlan) -> Result<Box<dyn Ingest + '_>> {
        self.place.ingest(plan)
    }

    fn tag(&self, tag: &str, content: &Descriptor) -> Result<()> {
        self.place.tag(tag, content)
    }

    fn takes_foreign_layers(&self) -> bool {
        self.place.takes_foreign_layers()
    }
}
