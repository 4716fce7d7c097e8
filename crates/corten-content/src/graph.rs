//! The graph that content forms: an index refers to manifests, a manifest to a config and layers.

use std::collections::HashSet;

use corten_spec::{
    Descriptor, Digest, Document, DocumentType, ImageConfig, Index, Kind, Manifest, Platform,
    manifest, platform,
};

use crate::{Error, Result, Source, load};

/// How deep indexes may be nested in each other; real ones are two deep.
pub const MAX_DEPTH: usize = 32;

/// Bytes of all documents that one search or one copy reads: a hostile index could otherwise fill
/// the memory with what it leads to. Real images need less than a thousandth.
const MAX_DOCUMENT_BYTES: u64 = 256 << 20;

/// An image's two documents.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageDocuments {
    /// What names the config and the layers.
    pub manifest: Document<Manifest>,
    /// What the image is and how it is run.
    pub config: Document<ImageConfig>,
}

/// A document that refers to other content.
#[derive(Debug)]
pub(crate) enum Parent {
    Index(Box<Document<Index>>),
    Manifest(Box<Document<Manifest>>),
}

impl Parent {
    /// Reads the document, or returns `None` if `content` is bytes that refer to nothing.
    pub(crate) fn load(source: &dyn Source, content: &Descriptor) -> Result<Option<Self>> {
        match content.kind() {
            Kind::Index => {
                load(source, content).map(|document| Some(Self::Index(Box::new(document))))
            }
            // Loading a manifest of schema 1 fails with the error that says so.
            Kind::Manifest | Kind::Schema1 => {
                load(source, content).map(|document| Some(Self::Manifest(Box::new(document))))
            }
            Kind::Config | Kind::Layer { .. } | Kind::Other => Ok(None),
        }
    }

    pub(crate) fn children(&self) -> Vec<Descriptor> {
        match self {
            Self::Index(index) => index.value.manifests.clone(),
            Self::Manifest(manifest) => {
                let layers = manifest.value.layers.iter();
                [&manifest.value.config]
                    .into_iter()
                    .chain(layers)
                    .cloned()
                    .collect()
            }
        }
    }

    pub(crate) fn subject(&self) -> Option<&Descriptor> {
        match self {
            Self::Index(index) => index.value.subject.as_ref(),
            Self::Manifest(manifest) => manifest.value.subject.as_ref(),
        }
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        match self {
            Self::Index(index) => index.bytes,
            Self::Manifest(manifest) => manifest.bytes,
        }
    }
}

/// Lists what `content` refers to: an index its manifests, a manifest its config and layers,
/// anything else nothing. A subject is no child.
pub fn children(source: &dyn Source, content: &Descriptor) -> Result<Vec<Descriptor>> {
    let parent = Parent::load(source, content)?;
    Ok(parent.map_or_else(Vec::new, |parent| parent.children()))
}

/// Calls `visit` with `root` and with everything it refers to, parents before children and each
/// digest once.
///
/// # Errors
/// Stops at the first document that cannot be read, at the first error of `visit`, and where
/// indexes are nested more than [`MAX_DEPTH`] deep.
pub fn walk(
    source: &dyn Source,
    root: &Descriptor,
    visit: &mut dyn FnMut(&Descriptor) -> Result<()>,
) -> Result<()> {
    let mut seen = HashSet::new();
    let mut pending = vec![(root.clone(), 0)];
    while let Some((content, depth)) = pending.pop() {
        if !seen.insert(content.digest.clone()) {
            continue;
        }
        check_depth(source, &content, depth)?;
        visit(&content)?;
        let children = children(source, &content)?.into_iter().rev();
        pending.extend(children.map(|child| (child, depth + 1)));
    }
    Ok(())
}

/// Returns the manifest for `platform` that `content`, a manifest or an index, leads to.
///
/// A manifest is returned whatever its platform: whoever names it has chosen. In an index, nested
/// ones are searched too, and those that are not here are passed over if something else fits.
pub fn resolve_manifest(
    source: &dyn Source,
    content: &Descriptor,
    platform: &Platform,
) -> Result<Document<Manifest>> {
    if content.kind() != Kind::Index {
        return load(source, content);
    }
    let mut found = Leaves::default();
    found.collect(source, content, 0)?;
    if let Some(chosen) = platform::select(&found.manifests, platform) {
        return load(source, chosen);
    }
    match found.missing {
        Some(error) => Err(error),
        None => Err(Error::NoPlatform {
            wanted: Box::new(platform.clone()),
            name: content.digest.to_string(),
            offered: platforms(&found.manifests),
        }),
    }
}

/// Reads the documents of the image for `platform` that `content`, a manifest or an index, leads
/// to.
///
/// # Errors
/// Fails on an artifact, that is a manifest whose config is no image config, and on an image whose
/// manifest and config disagree about the number of layers.
pub fn load_image(
    source: &dyn Source,
    content: &Descriptor,
    platform: &Platform,
) -> Result<ImageDocuments> {
    let manifest = resolve_manifest(source, content, platform)?;
    let invalid = |reason: String| Error::Invalid {
        what: format!(
            "manifest `{}` from {}",
            manifest.descriptor.digest,
            source.place()
        ),
        source: Box::new(corten_spec::Error::InvalidDocument {
            document: Manifest::NAME,
            reason,
        }),
    };
    let config = &manifest.value.config;
    if config.kind() != Kind::Config {
        let artifact = manifest.value.artifact_type.as_ref();
        let kind = artifact.unwrap_or(&config.media_type);
        return Err(invalid(format!("it is no image but an artifact, `{kind}`")));
    }
    let config: Document<ImageConfig> = load(source, config)?;
    let (n_layers, n_ids) = (
        manifest.value.layers.len(),
        config.value.rootfs.diff_ids.len(),
    );
    if n_layers != n_ids {
        return Err(invalid(format!(
            "it has {n_layers} layers, but its config has {n_ids} DiffIDs"
        )));
    }
    Ok(ImageDocuments { manifest, config })
}

/// The manifests of an index and of those nested in it.
#[derive(Default)]
struct Leaves {
    manifests: Vec<Descriptor>,
    missing: Option<Error>,
    seen: HashSet<Digest>,
    n_bytes: u64,
}

impl Leaves {
    fn collect(&mut self, source: &dyn Source, index: &Descriptor, depth: usize) -> Result<()> {
        check_depth(source, index, depth)?;
        if !self.seen.insert(index.digest.clone()) {
            return Ok(());
        }
        let document = match load::<Index>(source, index) {
            Err(error) if depth > 0 && error.is_not_found() => {
                self.missing.get_or_insert(error);
                return Ok(());
            }
            other => other?,
        };
        self.n_bytes += document.bytes.len() as u64;
        check_document_bytes(source, index, self.n_bytes)?;
        for mut entry in document.value.manifests {
            // A nested index says for all its entries what they run on, unless they say so.
            entry.platform = entry.platform.or_else(|| index.platform.clone());
            if entry.kind() == Kind::Index {
                self.collect(source, &entry, depth + 1)?;
            } else {
                self.manifests.push(entry);
            }
        }
        Ok(())
    }
}

/// Lists the platforms of `entries`, each once, for people.
pub(crate) fn platforms(entries: &[Descriptor]) -> Vec<String> {
    let mut shown = Vec::new();
    for platform in entries.iter().filter_map(|entry| entry.platform.as_ref()) {
        let text = platform.to_string();
        // BuildKit stores attestations beside images as manifests for this platform.
        if text != "unknown/unknown" && !shown.contains(&text) {
            shown.push(text);
        }
    }
    shown
}

/// Returns the descriptor of the manifest or index `bytes` that is stored under `digest`.
pub fn describe(digest: &Digest, bytes: &[u8], place: &str) -> Result<Descriptor> {
    let media_type = manifest::detect_media_type(bytes, None).map_err(|source| Error::Invalid {
        what: format!("`{digest}` from {place}"),
        source: Box::new(source),
    })?;
    Ok(Descriptor::new(
        &media_type,
        digest.clone(),
        bytes.len() as u64,
    ))
}

/// Returns `content` as an entry of the referrers of `subject`, if it is one
/// (distribution-spec, Listing Referrers).
pub fn referrer(
    source: &dyn Source,
    content: &Descriptor,
    subject: &Digest,
) -> Result<Option<Descriptor>> {
    let Some(parent) = Parent::load(source, content)? else {
        return Ok(None);
    };
    if parent.subject().map(|subject| &subject.digest) != Some(subject) {
        return Ok(None);
    }
    let (artifact_type, annotations) = match parent {
        Parent::Index(index) => (index.value.artifact_type, index.value.annotations),
        Parent::Manifest(manifest) => {
            let manifest = manifest.value;
            let artifact_type = manifest.artifact_type.or(Some(manifest.config.media_type));
            (artifact_type, manifest.annotations)
        }
    };
    Ok(Some(Descriptor {
        artifact_type,
        annotations,
        ..content.bare()
    }))
}

/// Checks what was written against what was expected: the length first, as that says more.
pub(crate) fn compare(
    expected: &Descriptor,
    digest: &Digest,
    size: u64,
    place: &str,
) -> Result<()> {
    let compared = if size == expected.size {
        expected.digest.compare(digest)
    } else {
        Err(corten_spec::Error::SizeMismatch {
            digest: expected.digest.clone(),
            expected: expected.size,
            received: size,
        })
    };
    compared.map_err(|source| Error::Corrupt {
        place: place.into(),
        source: Box::new(source),
    })
}

pub(crate) fn check_document_bytes(
    source: &dyn Source,
    content: &Descriptor,
    n_bytes: u64,
) -> Result<()> {
    if n_bytes <= MAX_DOCUMENT_BYTES {
        return Ok(());
    }
    Err(Error::Unusable {
        place: source.place(),
        reason: format!(
            "what led to `{}` leads to more than {MAX_DOCUMENT_BYTES} bytes of documents",
            content.digest
        ),
    })
}

pub(crate) fn check_depth(source: &dyn Source, content: &Descriptor, depth: usize) -> Result<()> {
    if depth <= MAX_DEPTH {
        return Ok(());
    }
    Err(Error::Unusable {
        place: format!("`{}` from {}", content.digest, source.place()),
        reason: format!("indexes are nested more than {MAX_DEPTH} deep"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Memory;
    use corten_spec::{document, media_type};

    #[test]
    fn the_search_through_indexes_is_bounded() {
        let content = Memory::new();
        let bytes = document::to_bytes(&Index::oci(Vec::new()));
        let root = content.add(media_type::OCI_INDEX, &bytes);
        let mut found = Leaves {
            n_bytes: MAX_DOCUMENT_BYTES - bytes.len() as u64,
            ..Leaves::default()
        };
        found.collect(&content, &root, 0).unwrap();
        found.seen.clear();
        let error = found.collect(&content, &root, 0).unwrap_err();
        assert!(error.to_string().contains("bytes of documents"), "{error}");
    }
}
