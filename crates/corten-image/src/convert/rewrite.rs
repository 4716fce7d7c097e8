//! One document in the other family: values in, bytes out.

use std::collections::BTreeMap;
use std::ops::Range;

use corten_spec::document::to_bytes;
use corten_spec::media_type::OCI_MANIFEST;
use corten_spec::{Descriptor, Digest, Document, Family, Index, Kind, Manifest, Platform};
use serde_json::Value;

use crate::convert::Loss;
use crate::convert::splice::{Edits, Member, items, members};
use crate::{Error, Result};

/// Where BuildKit's attestations say which manifest they are about.
const REFERENCE: &str = "vnd.docker.reference.digest";

/// What Docker's documents have no place for.
const OF_DOCUMENT: &[&str] = &["artifactType", "subject", "annotations"];
/// What Docker's descriptors have no place for.
const OF_DESCRIPTOR: &[&str] = &["annotations", "data", "artifactType"];

/// A document that was changed.
#[derive(Debug)]
pub(super) struct Rewritten {
    /// What it is now; `None` if nothing had to be changed.
    pub(super) bytes: Option<Vec<u8>>,
    /// The media type that it has now.
    pub(super) media_type: &'static str,
    /// What had no place.
    pub(super) losses: Vec<Loss>,
}

/// What becomes of an entry of an index.
#[derive(Debug)]
pub(super) enum Entry {
    /// It is not in the new index.
    LeftOut,
    /// It is there.
    Kept {
        /// What the content is now.
        made: Box<Descriptor>,
        /// The platform to add.
        platform: Option<Platform>,
    },
}

/// Returns `document` as a manifest of the family `to`.
pub(super) fn manifest(document: &Document<Manifest>, to: Family) -> Result<Rewritten> {
    let value = &document.value;
    if let Some(kind) = artifact_kind(value) {
        // In OCI's format an artifact is what it is already.
        if to == Family::Oci && document.descriptor.media_type == OCI_MANIFEST {
            return Ok(Rewritten {
                bytes: None,
                media_type: OCI_MANIFEST,
                losses: Vec::new(),
            });
        }
        return Err(Error::Artifact {
            digest: document.descriptor.digest.clone(),
            kind: kind.to_owned(),
            family: to,
        });
    }
    let mut draft = Draft::new(&document.bytes, &document.descriptor, to)?;
    let config = draft.value("config").unwrap_or_default();
    draft.descriptor(config, "/config", name_in(to, &value.config)?);
    let layers = draft.value("layers").unwrap_or_default();
    let layers = items(draft.text, layers.start);
    for (layer_idx, (layer, range)) in value.layers.iter().zip(layers).enumerate() {
        let pointer = format!("/layers/{layer_idx}");
        draft.descriptor(range, &pointer, name_in(to, layer)?);
    }
    Ok(draft.finish())
}

/// Returns `document` as an index of the family `to`, whose entries have become `entries`.
pub(super) fn index(
    document: &Document<Index>,
    to: Family,
    entries: &[Entry],
) -> Result<Rewritten> {
    let mut draft = Draft::new(&document.bytes, &document.descriptor, to)?;
    let list = draft.value("manifests").unwrap_or_default();
    let ranges = items(draft.text, list.start);
    let originals = &document.value.manifests;
    let renamed: BTreeMap<&Digest, &Digest> = originals
        .iter()
        .zip(entries)
        .filter_map(|(original, entry)| match entry {
            Entry::LeftOut => None,
            Entry::Kept { made, .. } => Some((&original.digest, &made.digest)),
        })
        .collect();
    for (entry_idx, (entry, range)) in entries.iter().zip(&ranges).enumerate() {
        let (Entry::Kept { made, platform }, Some(original)) = (entry, originals.get(entry_idx))
        else {
            continue;
        };
        let pointer = format!("/manifests/{entry_idx}");
        draft.entry(range.start, &pointer, original, made, &renamed);
        if let Some(platform) = platform {
            let text = String::from_utf8_lossy(&to_bytes(platform)).into_owned();
            let fields = members(draft.text, range.start);
            // It may be there and say nothing, `null`.
            if let Some(field) = find(&fields, "platform") {
                draft.edits.replace(field.value.clone(), text);
                continue;
            }
            let end = fields.last().map_or(range.start + 1, |last| last.whole.end);
            draft.edits.insert(end, format!(",\"platform\":{text}"));
        }
    }
    let is_left_out: Vec<bool> = entries
        .iter()
        .map(|entry| matches!(entry, Entry::LeftOut))
        .collect();
    draft.edits.remove(&ranges, &is_left_out);
    Ok(draft.finish())
}

/// Returns what an artifact calls itself; `None` for an image.
fn artifact_kind(manifest: &Manifest) -> Option<&str> {
    let is_layer = |layer: &&Descriptor| matches!(layer.kind(), Kind::Layer { .. });
    let odd_layer = manifest.layers.iter().find(|layer| !is_layer(layer));
    if let Some(kind) = &manifest.artifact_type {
        return Some(kind);
    }
    if manifest.config.kind() != Kind::Config {
        return Some(&manifest.config.media_type);
    }
    odd_layer.map(|layer| layer.media_type.as_str())
}

fn name_in(family: Family, content: &Descriptor) -> Result<&'static str> {
    let name = family.name_for(&content.media_type);
    name.ok_or_else(|| Error::NoCounterpart {
        digest: content.digest.clone(),
        media_type: content.media_type.clone(),
        family,
    })
}

/// A document in the making.
struct Draft<'a> {
    text: &'a [u8],
    fields: Vec<Member>,
    edits: Edits,
    losses: Vec<Loss>,
    digest: &'a Digest,
    media_type: &'static str,
    to: Family,
}

impl<'a> Draft<'a> {
    fn new(text: &'a [u8], content: &'a Descriptor, to: Family) -> Result<Self> {
        let mut draft = Self {
            text,
            fields: members(text, 0),
            edits: Edits::default(),
            losses: Vec::new(),
            digest: &content.digest,
            media_type: name_in(to, content)?,
            to,
        };
        draft.header();
        Ok(draft)
    }

    fn value(&self, name: &str) -> Option<Range<usize>> {
        let field = self.fields.iter().find(|field| field.name == name);
        field.map(|field| field.value.clone())
    }

    /// Docker's documents must say what they are, OCI's should.
    fn header(&mut self) {
        let own = quoted(self.media_type);
        match self.value("mediaType") {
            Some(range) => self.set(range, own),
            None if self.to == Family::Docker => {
                let version = self.value("schemaVersion").unwrap_or_default();
                self.edits
                    .insert(version.end, format!(",\"mediaType\":{own}"));
            }
            None => {}
        }
        let fields = std::mem::take(&mut self.fields);
        self.drop_unplaced(&fields, "", OF_DOCUMENT);
        self.fields = fields;
    }

    /// Changes the media type of the descriptor in `range`.
    fn descriptor(&mut self, range: Range<usize>, pointer: &str, media_type: &str) {
        let fields = members(self.text, range.start);
        if let Some(field) = find(&fields, "mediaType") {
            self.set(field.value.clone(), quoted(media_type));
        }
        self.drop_unplaced(&fields, pointer, OF_DESCRIPTOR);
    }

    /// Changes the entry that begins at `start` from `original` to `made`.
    fn entry(
        &mut self,
        start: usize,
        pointer: &str,
        original: &Descriptor,
        made: &Descriptor,
        renamed: &BTreeMap<&Digest, &Digest>,
    ) {
        let fields = members(self.text, start);
        let values = [
            ("mediaType", quoted(&made.media_type)),
            ("digest", quoted(made.digest.as_str())),
            ("size", made.size.to_string()),
        ];
        for (name, value) in values {
            if let Some(field) = find(&fields, name) {
                self.set(field.value.clone(), value);
            }
        }
        if self.to == Family::Docker {
            self.drop_unplaced(&fields, pointer, OF_DESCRIPTOR);
            return;
        }
        if let Some(annotations) = find(&fields, "annotations") {
            let annotations = members(self.text, annotations.value.start);
            let named = original.annotations.get(REFERENCE);
            let named = named.and_then(|digest| digest.parse::<Digest>().ok());
            let new = named.and_then(|digest| renamed.get(&digest).copied());
            if let (Some(field), Some(new)) = (find(&annotations, REFERENCE), new) {
                self.set(field.value.clone(), quoted(new.as_str()));
            }
        }
        // A copy of content that is no longer what the entry names is no loss.
        if original.digest != made.digest {
            self.remove(&fields, |field| field.name == "data");
        }
    }

    /// Takes the fields `names` out where Docker's format has no place for them.
    fn drop_unplaced(&mut self, fields: &[Member], pointer: &str, names: &[&str]) {
        if self.to == Family::Oci {
            return;
        }
        let is_unplaced = |field: &Member| names.contains(&field.name.as_str());
        for field in fields.iter().filter(|field| is_unplaced(field)) {
            let value = self.text.get(field.value.clone()).unwrap_or_default();
            if value == b"{}" {
                continue;
            }
            let keys = members(self.text, field.value.start);
            let is_map = field.name == "annotations";
            self.losses.push(Loss {
                document: self.digest.clone(),
                pointer: format!("{pointer}/{}", field.name),
                said: keys
                    .into_iter()
                    .filter(|_| is_map)
                    .map(|key| key.name)
                    .collect(),
            });
        }
        self.remove(fields, is_unplaced);
    }

    fn remove(&mut self, fields: &[Member], is_removed: impl Fn(&Member) -> bool) {
        let ranges: Vec<_> = fields.iter().map(|field| field.whole.clone()).collect();
        let is_removed: Vec<_> = fields.iter().map(is_removed).collect();
        self.edits.remove(&ranges, &is_removed);
    }

    /// Puts `value` there, unless it is there already in whatever spelling.
    fn set(&mut self, range: Range<usize>, value: String) {
        let parse = |text: &[u8]| serde_json::from_slice::<Value>(text).ok();
        let old = self.text.get(range.clone()).unwrap_or_default();
        if parse(old) != parse(value.as_bytes()) {
            self.edits.replace(range, value);
        }
    }

    fn finish(self) -> Rewritten {
        let bytes = self.edits.apply(self.text);
        Rewritten {
            bytes: (bytes != self.text).then_some(bytes),
            media_type: self.media_type,
            losses: self.losses,
        }
    }
}

fn find<'a>(fields: &'a [Member], name: &str) -> Option<&'a Member> {
    fields.iter().find(|field| field.name == name)
}

fn quoted(text: &str) -> String {
    // Media types and digests hold nothing that JSON escapes.
    format!("\"{text}\"")
}
