//! Reading caches: documents only, no layer.

use std::collections::BTreeMap;

use corten_content::{Source, graph, read as read_content};
use corten_spec::{Digest, Document, ImageConfig, Manifest, Platform};
use serde_json::Value;

use crate::caches::format::{self, CONFIG_TYPE, INLINE_KEY, Known, MANIFEST_TYPE};
use crate::caches::{CacheSource, Caches};

/// What is at a cache's name.
#[derive(Debug)]
pub(crate) enum Found {
    /// Nothing.
    Nothing,
    /// A cache, and what it knows.
    Cache(BTreeMap<Digest, Known>),
    /// An image, and what it knows of its own layers, if anything.
    Image(BTreeMap<Digest, Known>),
    /// Something else, and what.
    Foreign(String),
}

/// A config may take so many bytes.
pub(super) const MOST_CONFIG_BYTES: u64 = 4 << 20;

/// The configs of BuildKit's caches, and where it keeps them in images.
const BUILDKIT_CONFIG: &str = "application/vnd.buildkit.cacheconfig.v0";
const BUILDKIT_INLINE: &str = "moby.buildkit.cache.v0";

impl Caches {
    /// Reads the records of all `sources`; where one has an index, those for `platform`.
    ///
    /// Returns warnings, too: a cache that cannot be used is one that knows nothing.
    pub fn read(sources: Vec<CacheSource>, platform: &Platform) -> (Self, Vec<String>) {
        let mut caches = Self::default();
        let mut warnings = Vec::new();
        for (source_idx, source) in sources.iter().enumerate() {
            let name = &source.name;
            let records = match find(source.place.as_source(), &source.tag, platform) {
                Ok(Found::Image(records)) if records.is_empty() => {
                    warnings.push(format!(
                        "the cache `{name}` is not used: it is an image without records of its steps"
                    ));
                    continue;
                }
                Ok(Found::Cache(records) | Found::Image(records)) => records,
                Ok(Found::Nothing) => {
                    warnings.push(format!("there is no cache `{name}` yet"));
                    continue;
                }
                Ok(Found::Foreign(reason)) => {
                    warnings.push(format!("the cache `{name}` is not used: {reason}"));
                    continue;
                }
                Err(error) => {
                    let reason = chain(&error);
                    warnings.push(format!("the cache `{name}` is not used: {reason}"));
                    continue;
                }
            };
            for (key, Known { outcome, .. }) in records {
                if let Some(layer) = &outcome.layer {
                    let holders = caches.holders.entry(layer.blob.digest.clone());
                    let holders = holders.or_default();
                    if holders.last() != Some(&source_idx) {
                        holders.push(source_idx);
                    }
                }
                let known = caches.records.entry(key).or_default();
                known.push((source_idx, outcome));
            }
        }
        caches.sources = sources;
        (caches, warnings)
    }
}

/// Returns an error with all its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

/// Reads what `tag` stands for.
pub(crate) fn find(
    place: &dyn Source,
    tag: &str,
    platform: &Platform,
) -> corten_content::Result<Found> {
    let content = match place.resolve_for(tag, platform) {
        Err(error) if error.is_not_found() => return Ok(Found::Nothing),
        content => content?,
    };
    let manifest: Document<Manifest> = graph::resolve_manifest(place, &content, platform)?;
    let manifest = &manifest.value;
    let config = &manifest.config;
    if config.media_type == BUILDKIT_CONFIG {
        return Ok(Found::Foreign(
            "it is one of BuildKit's, whose format is not read; write one with `--cache-to`".into(),
        ));
    }
    let bytes = read_content(place, config, MOST_CONFIG_BYTES)?;
    if config.media_type == CONFIG_TYPE || manifest.artifact_type.as_deref() == Some(MANIFEST_TYPE)
    {
        let document = serde_json::from_slice(&bytes).ok();
        let records = document.and_then(|one| format::read(one, &manifest.layers, &[]));
        return Ok(match records {
            Some(records) => Found::Cache(records),
            None => Found::Foreign("its records are damaged or of another version".into()),
        });
    }
    let Ok(image) = serde_json::from_slice::<ImageConfig>(&bytes) else {
        let reason = format!("its config is of type `{}`", config.media_type);
        return Ok(Found::Foreign(reason));
    };
    let of_image = |value: &Value| {
        let document = serde_json::from_value(value.clone()).ok()?;
        format::read(document, &manifest.layers, &image.rootfs.diff_ids)
    };
    match image.extra.get(INLINE_KEY).and_then(of_image) {
        Some(records) => Ok(Found::Image(records)),
        None if image.extra.contains_key(BUILDKIT_INLINE) => Ok(Found::Foreign(
            "it is an image with a cache of BuildKit's, whose format is not read".into(),
        )),
        None => Ok(Found::Image(BTreeMap::new())),
    }
}
