//! The `manifest.json` of `docker save`: which members are an image.
//!
//! ```text
//! [{"Config":"<hex>.json","RepoTags":["debian:12"],"Layers":["<hex>/layer.tar"]}]
//! ```
//!
//! Names of members mean nothing beyond that. The digest of a layer that is not compressed is its
//! `DiffID`; that of another has to be computed.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, ErrorKind, Read};

use corten_content::layout::names;
use corten_spec::{
    Algorithm, Descriptor, DiffId, Digest, Document, DocumentType, Hasher, ImageConfig, Manifest,
    Platform, Reference, document, json, media_type,
};
use corten_tar::{Encoding, sniff};
use serde::{Deserialize, Serialize};

use crate::archive::{Blob, read_member};
use crate::members::{Extent, Members};
use crate::{Error, Result};

/// The name of the file.
pub(crate) const FILE: &str = "manifest.json";
/// The largest size in bytes that is read.
const LIMIT: u64 = 16 << 20;
/// How many images, names and layers it may list, together: each takes more memory than it does
/// text.
const MAX_ITEMS: usize = 100_000;

/// An image in `manifest.json`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct SavedImage {
    /// The member that is the config.
    pub(crate) config: String,
    /// The names, familiar or full; `null` is written for none.
    #[serde(default)]
    pub(crate) repo_tags: Option<Vec<String>>,
    /// The members that are the layers, base first.
    #[serde(default)]
    pub(crate) layers: Option<Vec<String>>,
}

/// What the images of an archive are found by.
pub(crate) type Content = (Vec<Descriptor>, BTreeMap<Digest, Blob>);

/// Makes manifests for all images of `manifest.json`, but for those that `known` has, by the
/// digests of their configs.
pub(crate) fn read(
    members: &Members,
    place: &str,
    known: &HashMap<Digest, Descriptor>,
) -> Result<Content> {
    let bytes = read_member(members, place, FILE, LIMIT)?;
    let images: Vec<SavedImage> =
        json::parse(FILE, &bytes)
            .and_then(bounded)
            .map_err(|source| Error::Document {
                place: place.into(),
                member: FILE.into(),
                source: Box::new(source),
            })?;
    let mut reading = Reading {
        members,
        place,
        known,
        configs: HashMap::new(),
        layers: HashMap::new(),
        blobs: BTreeMap::new(),
    };
    let mut entries = Vec::new();
    for image in images {
        entries.extend(reading.image(&image)?);
    }
    Ok((entries, reading.blobs))
}

fn bounded(images: Vec<SavedImage>) -> corten_spec::Result<Vec<SavedImage>> {
    let count = |list: &Option<Vec<String>>| list.as_ref().map_or(0, Vec::len);
    let items = |image: &SavedImage| 1 + count(&image.repo_tags) + count(&image.layers);
    let n_items: usize = images.iter().map(items).sum();
    if n_items <= MAX_ITEMS {
        return Ok(images);
    }
    Err(corten_spec::Error::InvalidDocument {
        document: FILE,
        reason: format!("it lists {n_items} images, names and layers; the limit is {MAX_ITEMS}"),
    })
}

struct Reading<'a> {
    members: &'a Members,
    place: &'a str,
    known: &'a HashMap<Digest, Descriptor>,
    /// Configs and compressed layers by their offsets, so that each is read once however often it
    /// is named.
    configs: HashMap<u64, Config>,
    layers: HashMap<u64, Digest>,
    blobs: BTreeMap<Digest, Blob>,
}

#[derive(Clone)]
struct Config {
    content: Descriptor,
    diff_ids: Vec<DiffId>,
    platform: Platform,
}

impl<'a> Reading<'a> {
    /// Returns the entries of one image, one a name.
    fn image(&mut self, image: &SavedImage) -> Result<Vec<Descriptor>> {
        let config = self.config(&image.config)?;
        let mut content = match self.known.get(&config.content.digest) {
            Some(known) => known.bare(),
            None => self.manifest(&config, image.layers.as_deref().unwrap_or_default())?,
        };
        content.platform = Some(config.platform);
        let tags = image.repo_tags.as_deref().unwrap_or_default();
        if tags.is_empty() {
            return Ok(vec![content]);
        }
        Ok(tags.iter().map(|tag| tagged(&content, tag)).collect())
    }

    /// Makes a manifest of the members `paths` as they are.
    fn manifest(&mut self, config: &Config, paths: &[String]) -> Result<Descriptor> {
        let (n_layers, n_ids) = (paths.len(), config.diff_ids.len());
        if n_layers != n_ids {
            let source = corten_spec::Error::InvalidDocument {
                document: FILE,
                reason: format!(
                    "an image has {n_layers} layers, but its config has {n_ids} DiffIDs"
                ),
            };
            return Err(self.invalid(FILE, source));
        }
        let mut layers = Vec::new();
        for (path, diff_id) in paths.iter().zip(&config.diff_ids) {
            layers.push(self.layer(path, diff_id)?);
        }
        let manifest = Manifest {
            media_type: Some(media_type::DOCKER_MANIFEST.into()),
            ..Manifest::oci(config.content.clone(), layers)
        };
        let bytes = document::to_bytes(&manifest);
        let content = Descriptor::of(media_type::DOCKER_MANIFEST, &bytes);
        self.blobs
            .insert(content.digest.clone(), Blob::Bytes(bytes));
        Ok(content)
    }

    fn config(&mut self, path: &str) -> Result<Config> {
        let extent = self.find(path)?;
        if let Some(known) = self.configs.get(&extent.offset) {
            return Ok(known.clone());
        }
        let bytes = read_member(self.members, self.place, path, ImageConfig::limit())?;
        let document = Document::<ImageConfig>::from_bytes(media_type::DOCKER_CONFIG, bytes)
            .map_err(|source| self.invalid(path, source))?;
        let config = Config {
            content: document.descriptor,
            platform: document.value.platform(),
            diff_ids: document.value.rootfs.diff_ids,
        };
        self.configs.insert(extent.offset, config.clone());
        self.keep(config.content.digest.clone(), extent);
        Ok(config)
    }

    fn layer(&mut self, path: &str, diff_id: &DiffId) -> Result<Descriptor> {
        let extent = self.find(path)?;
        let media_type = match self.encoding(extent)? {
            Encoding::Identity => media_type::DOCKER_LAYER,
            Encoding::Gzip => media_type::DOCKER_LAYER_GZIP,
            Encoding::Zstd => media_type::DOCKER_LAYER_ZSTD,
            encoding @ (Encoding::Xz | Encoding::Bzip2) => {
                return Err(Error::Compression {
                    place: self.place.into(),
                    member: path.into(),
                    encoding,
                });
            }
        };
        let digest = match (media_type, self.layers.get(&extent.offset)) {
            (media_type::DOCKER_LAYER, _) => diff_id.0.clone(),
            (_, Some(known)) => known.clone(),
            (_, None) => {
                let digest = self.hash(extent)?;
                self.layers.insert(extent.offset, digest.clone());
                digest
            }
        };
        let content = Descriptor::new(media_type, digest.clone(), extent.size);
        self.keep(digest, extent);
        Ok(content)
    }

    fn keep(&mut self, digest: Digest, extent: &Extent) {
        // Equal content may be stored twice; either copy will do, and is verified.
        self.blobs
            .entry(digest)
            .or_insert_with(|| Blob::Member(extent.clone()));
    }

    fn find(&self, path: &str) -> Result<&'a Extent> {
        self.members.find(path).ok_or_else(|| Error::Missing {
            place: self.place.into(),
            member: path.into(),
        })
    }

    fn encoding(&self, extent: &Extent) -> Result<Encoding> {
        let mut prefix = Vec::new();
        self.members
            .open(extent, 0)
            .and_then(|reader| reader.take(10).read_to_end(&mut prefix))
            .map_err(|error| self.unreadable(extent, error))?;
        Ok(sniff(&prefix))
    }

    fn hash(&self, extent: &Extent) -> Result<Digest> {
        let hash = || {
            let mut reader = self.members.open(extent, 0)?;
            let mut hasher = Hasher::new(Algorithm::Sha256);
            let mut buf = vec![0; 256 << 10];
            loop {
                match reader.read(&mut buf) {
                    Ok(0) => return Ok(hasher.finish()),
                    Ok(n_read) => hasher.update(buf.get(..n_read).unwrap_or_default()),
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
        };
        hash().map_err(|error| self.unreadable(extent, error))
    }

    fn unreadable(&self, extent: &Extent, error: io::Error) -> Error {
        Error::Read {
            place: self.place.into(),
            source: corten_tar::Error::read(extent.offset, error),
        }
    }

    fn invalid(&self, member: &str, source: corten_spec::Error) -> Error {
        Error::Document {
            place: self.place.into(),
            member: member.into(),
            source: Box::new(source),
        }
    }
}

/// Returns `content` as the entry for one of its `RepoTags`, which Docker writes in the familiar
/// form.
fn tagged(content: &Descriptor, tag: &str) -> Descriptor {
    match tag.parse::<Reference>() {
        Ok(reference) => names::named(content, &reference.or_latest().to_string()),
        Err(_) => names::named(content, tag),
    }
}
