//! The documents of a cache: values in, values out.
//!
//! An image manifest whose layers are those that steps made, and whose config says which step made
//! which, by their keys. It is kept short of the limits of registries by leaving out the oldest records.

use std::collections::{BTreeMap, HashMap};

use corten_snapshot::LayerRef;
use corten_spec::{Algorithm, Descriptor, DiffId, Digest, Kind};
use serde::{Deserialize, Serialize};

use crate::cache::Outcome;

/// The artifact type of a cache's manifest.
pub const MANIFEST_TYPE: &str = "application/vnd.corten.cache.v1";
/// The media type of its config.
pub const CONFIG_TYPE: &str = "application/vnd.corten.cache.config.v1+json";
/// The field of an image's config that holds the records of its layers.
pub const INLINE_KEY: &str = "vnd.corten.cache.v1";

/// How many records a cache has at most, and how many are read of one: each takes some 250 bytes, and
/// as much in the manifest if it has a layer; registries take manifests of up to 4 MiB.
pub(crate) const MOST_RECORDS: usize = 5_000;

const VERSION: u32 = 1;

/// The config of a cache.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Document {
    version: u32,
    records: Vec<Record>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    key: String,
    /// Which layer of the manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    layer: Option<usize>,
    /// Absent in an image, whose config has it anyway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    diff_id: Option<String>,
    created: String,
    /// Other keys of the same step.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    also: Vec<String>,
    /// In days since 1970. It is coarse so that a cache that is used again is the same document.
    #[serde(default, skip_serializing_if = "is_zero")]
    used: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde asks for it")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// What a cache knows of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) outcome: Outcome,
    /// When it was last used, in days since 1970.
    pub(crate) used: u32,
}

/// Returns what `document` says, by key. A record that says something impossible is left out: it is
/// foreign text, and a miss is all that may come of it.
pub(crate) fn read(
    document: Document,
    layers: &[Descriptor],
    diff_ids: &[DiffId],
) -> Option<BTreeMap<Digest, Known>> {
    if document.version != VERSION {
        return None;
    }
    let records = document.records.into_iter().take(MOST_RECORDS);
    let known = records.filter_map(|record| {
        let key = sha256(&record.key)?;
        let layer = match record.layer {
            None => None,
            Some(number) => Some(LayerRef {
                blob: layers.get(number).filter(|layer| is_usable(layer))?.bare(),
                diff_id: match &record.diff_id {
                    Some(text) => DiffId(sha256(text)?),
                    None => diff_ids.get(number)?.clone(),
                },
            }),
        };
        let created: jiff::Timestamp = record.created.parse().ok()?;
        let outcome = Outcome {
            layer,
            created: created.to_string(),
            also: record.also.iter().filter_map(|key| sha256(key)).collect(),
        };
        let used = record.used;
        Some((key, Known { outcome, used }))
    });
    Some(known.collect())
}

pub(super) fn sha256(text: &str) -> Option<Digest> {
    Digest::known(text).filter(|digest| digest.algorithm() == Some(Algorithm::Sha256))
}

pub(super) fn is_usable(layer: &Descriptor) -> bool {
    matches!(layer.kind(), Kind::Layer { foreign: false, .. }) && layer.digest.algorithm().is_some()
}

/// Returns the layers and the config of a cache that knows `records`.
pub(crate) fn write(records: &BTreeMap<Digest, Known>) -> (Vec<Descriptor>, Document) {
    let mut layers: Vec<Descriptor> = Vec::new();
    let mut numbers = HashMap::new();
    let mut number_of = |layer: &LayerRef| {
        *numbers.entry(layer.blob.digest.clone()).or_insert_with(|| {
            layers.push(layer.blob.bare());
            layers.len() - 1
        })
    };
    let records = records.iter().map(|(key, known)| Record {
        layer: known.outcome.layer.as_ref().map(&mut number_of),
        diff_id: known
            .outcome
            .layer
            .as_ref()
            .map(|layer| layer.diff_id.to_string()),
        ..record(key, &known.outcome, known.used)
    });
    let records = records.collect();
    let version = VERSION;
    (layers, Document { version, records })
}

/// Returns the records of those layers that an image has, for its config.
pub(crate) fn inline(used: &BTreeMap<Digest, Outcome>, layers: &[LayerRef]) -> Document {
    let records = used.iter().filter_map(|(key, outcome)| {
        let layer = match &outcome.layer {
            None => None,
            Some(layer) => Some(layers.iter().position(|other| other == layer)?),
        };
        Some(Record {
            layer,
            ..record(key, outcome, 0)
        })
    });
    Document {
        version: VERSION,
        records: records.take(MOST_RECORDS).collect(),
    }
}

fn record(key: &Digest, outcome: &Outcome, used: u32) -> Record {
    Record {
        key: key.to_string(),
        layer: None,
        diff_id: None,
        created: outcome.created.clone(),
        also: outcome.also.iter().map(ToString::to_string).collect(),
        used,
    }
}

/// Returns what either knows, the newer where both do; of too many, those that were used last.
pub(crate) fn merge(
    mine: BTreeMap<Digest, Known>,
    theirs: BTreeMap<Digest, Known>,
    most: usize,
) -> BTreeMap<Digest, Known> {
    let mut merged = theirs;
    merged.extend(mine);
    if merged.len() <= most {
        return merged;
    }
    let mut by_use: Vec<_> = merged.into_iter().collect();
    by_use.sort_by_key(|(_, known)| std::cmp::Reverse(known.used));
    by_use.truncate(most);
    by_use.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(text: &str) -> Digest {
        Digest::sha256(text.as_bytes())
    }

    fn known(layer: Option<&str>, used: u32) -> Known {
        let layer = layer.map(|text| LayerRef {
            blob: Descriptor::of(corten_spec::media_type::OCI_LAYER, text.as_bytes()),
            diff_id: DiffId(digest(text)),
        });
        let created = "1970-01-01T00:00:00Z".to_owned();
        let also = vec![digest("also")];
        let outcome = Outcome {
            layer,
            created,
            also,
        };
        Known { outcome, used }
    }

    fn some() -> BTreeMap<Digest, Known> {
        let records = [
            ("a", known(Some("x"), 5)),
            ("b", known(None, 7)),
            ("c", known(Some("x"), 9)),
            ("d", known(Some("y"), 9)),
        ];
        records.map(|(key, known)| (digest(key), known)).into()
    }

    #[test]
    fn what_is_written_is_read() {
        let (layers, document) = write(&some());
        assert_eq!(layers.len(), 2);
        assert_eq!(read(document, &layers, &[]), Some(some()));
    }

    #[test]
    fn inline_records_name_layers_of_the_image() {
        let used = some().into_iter().map(|(key, known)| (key, known.outcome));
        let used: BTreeMap<_, _> = used.collect();
        let image: Vec<_> = ["base", "x"]
            .map(|text| known(Some(text), 0).outcome.layer.unwrap())
            .into();
        let document = inline(&used, &image);
        let layers: Vec<_> = image.iter().map(|layer| layer.blob.clone()).collect();
        let diff_ids: Vec<_> = image.iter().map(|layer| layer.diff_id.clone()).collect();
        let found = read(document, &layers, &diff_ids).unwrap();
        let found: BTreeMap<_, _> = found.into_iter().map(|(key, k)| (key, k.outcome)).collect();
        let expected: BTreeMap<_, _> = used
            .into_iter()
            .filter(|(key, _)| *key != digest("d"))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn hostile_records_are_misses() {
        #[track_caller]
        fn check(text: &str, expected: usize) {
            let layers = [
                Descriptor::of(corten_spec::media_type::OCI_LAYER, b"x"),
                Descriptor::of("text/plain", b"x"),
            ];
            let found = serde_json::from_str(text)
                .ok()
                .and_then(|document| read(document, &layers, &[]));
            assert_eq!(found.map_or(0, |found| found.len()), expected, "{text}");
        }
        let (key, time) = (digest("k").to_string(), "2020-01-01T00:00:00Z");
        let record = |key: &str, layer: &str, diff_id: &str, time: &str| {
            format!(
                r#"{{"version":1,"records":[{{"key":"{key}","layer":{layer},"diffId":"{diff_id}","created":"{time}"}}]}}"#
            )
        };
        check(&record(&key, "0", &key, time), 1);
        check(&record(&key, "null", &key, time), 1);
        check(&record(&key, "1", &key, time), 0);
        check(&record(&key, "2", &key, time), 0);
        check(&record(&key, "-1", &key, time), 0);
        check(&record(&key, "99999999999999999999", &key, time), 0);
        check(&record("../../etc/passwd", "0", &key, time), 0);
        check(&record("sha256:abc", "0", &key, time), 0);
        check(&record(&key, "0", "md5:abc", time), 0);
        check(&record(&key, "0", &key, "yesterday\\u001b[2J"), 0);
        check(r#"{"version":2,"records":[]}"#, 0);
        check(r#"{"version":1}"#, 0);
        check("[]", 0);
    }

    #[test]
    fn merging_keeps_the_newest() {
        let mine = BTreeMap::from([(digest("a"), known(Some("new"), 20))]);
        let merged = merge(mine.clone(), some(), 10);
        assert_eq!(merged.len(), 4);
        assert_eq!(merged[&digest("a")], known(Some("new"), 20));
        let merged = merge(mine, some(), 3);
        assert!(!merged.contains_key(&digest("b")), "it is the oldest");
        assert_eq!(merged.len(), 3);
    }
}
