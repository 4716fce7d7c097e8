//! The documents: values in, values out.
//!
//! ```text
//! manifest   artifactType application/vnd.corten.run-caches.v1
//!   config   application/vnd.corten.run-caches.config.v1+json
//!              {"version":1,"mounts":[{"name":"sha256:…","id":"/…","layer":0,"diffId":"sha256:…","used":20780}]}
//!   layers   one directory each
//! ```

use std::collections::{BTreeMap, HashMap};
use std::time::SystemTime;

use corten_snapshot::LayerRef;
use corten_spec::{Descriptor, DiffId, Digest};
use serde::{Deserialize, Serialize};

use crate::caches::format::{is_usable, sha256};

/// The artifact type of the manifest.
pub const MANIFEST_TYPE: &str = "application/vnd.corten.run-caches.v1";
/// The media type of its config.
pub const CONFIG_TYPE: &str = "application/vnd.corten.run-caches.config.v1+json";

/// How many directories there are at most: those that were used last stay.
pub(super) const MOST_MOUNTS: usize = 200;
/// No path in a Dockerfile that the kernel takes is longer, and an id is hardly ever more.
const LONGEST_ID: usize = 4096;

const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Document {
    version: u32,
    mounts: Vec<Record>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    name: String,
    /// For people, and for who names a cache by it.
    id: String,
    /// Which layer of the manifest.
    layer: usize,
    diff_id: String,
    /// In days since 1970.
    used: u32,
}

/// What is known of one directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KnownMount {
    pub(super) id: String,
    pub(super) layer: LayerRef,
    /// When it was last used, in days since 1970.
    pub(super) used: u32,
}

/// Returns what `document` says, by the names of caches. What is impossible is left out: it is foreign
/// text, and a command that begins with nothing is all that may come of it. What was used later than
/// `today` was used today, lest it stay for ever.
pub(super) fn read(
    document: Document,
    layers: &[Descriptor],
    today: u32,
) -> Option<BTreeMap<Digest, KnownMount>> {
    if document.version != VERSION {
        return None;
    }
    let records = document.mounts.into_iter().take(MOST_MOUNTS);
    let known = records.filter_map(|record| {
        let name = sha256(&record.name)?;
        let layer = LayerRef {
            blob: layers
                .get(record.layer)
                .filter(|layer| is_usable(layer))?
                .bare(),
            diff_id: DiffId(sha256(&record.diff_id)?),
        };
        let is_text = !record.id.chars().any(misleads);
        let mount = KnownMount {
            id: record.id,
            layer,
            used: record.used.min(today),
        };
        (is_text && mount.id.len() <= LONGEST_ID).then_some((name, mount))
    });
    Some(known.collect())
}

/// Tells whether a terminal shows something else than `char` for it: control characters, and those that
/// are invisible or reorder what is around them (Unicode UAX 9).
fn misleads(char: char) -> bool {
    char.is_control()
        || matches!(
            char,
            '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        )
}

/// Returns the number of this day since 1970.
pub(super) fn today() -> u32 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let days = since.unwrap_or_default().as_secs() / (24 * 60 * 60);
    u32::try_from(days).unwrap_or(u32::MAX)
}

/// Returns the layers and the config of a manifest that has `mounts`.
pub(super) fn write(mounts: &BTreeMap<Digest, KnownMount>) -> (Vec<Descriptor>, Document) {
    let mut layers: Vec<Descriptor> = Vec::new();
    let mut numbers = HashMap::new();
    let records = mounts.iter().map(|(name, mount)| Record {
        name: name.to_string(),
        id: mount.id.clone(),
        layer: *numbers
            .entry(mount.layer.blob.digest.clone())
            .or_insert_with(|| {
                layers.push(mount.layer.blob.bare());
                layers.len() - 1
            }),
        diff_id: mount.layer.diff_id.to_string(),
        used: mount.used,
    });
    let mounts = records.collect();
    let version = VERSION;
    (layers, Document { version, mounts })
}

/// Returns what either has, mine where both do; of too many, mine and those of theirs that were used
/// last.
pub(super) fn merge(
    mine: BTreeMap<Digest, KnownMount>,
    theirs: BTreeMap<Digest, KnownMount>,
) -> BTreeMap<Digest, KnownMount> {
    let mut others: Vec<_> = theirs
        .into_iter()
        .filter(|(name, _)| !mine.contains_key(name))
        .collect();
    others.sort_by_key(|(_, mount)| std::cmp::Reverse(mount.used));
    others.truncate(MOST_MOUNTS.saturating_sub(mine.len()));
    mine.into_iter().chain(others).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(text: &str) -> Digest {
        Digest::sha256(text.as_bytes())
    }

    fn known(text: &str, used: u32) -> (Digest, KnownMount) {
        let layer = LayerRef {
            blob: Descriptor::of(corten_spec::media_type::OCI_LAYER, text.as_bytes()),
            diff_id: DiffId(digest(text)),
        };
        let id = format!("/{text}");
        (digest(text), KnownMount { id, layer, used })
    }

    #[test]
    fn what_is_written_is_read() {
        let mut mounts = BTreeMap::from([known("a", 1), known("b", 2)]);
        let same = mounts[&digest("a")].clone();
        mounts.insert(digest("c"), same);
        let (layers, document) = write(&mounts);
        assert_eq!(layers.len(), 2);
        assert_eq!(read(document, &layers, 9), Some(mounts));
    }

    #[test]
    fn hostile_documents_say_nothing() {
        #[track_caller]
        fn check(name: &str, id: &str, layer: &str, diff_id: &str, expected: usize) {
            let layers = [
                Descriptor::of(corten_spec::media_type::OCI_LAYER, b"x"),
                Descriptor::of("text/plain", b"x"),
            ];
            let text = format!(
                r#"{{"version":1,"mounts":[{{"name":"{name}","id":"{id}","layer":{layer},"diffId":"{diff_id}","used":1}}]}}"#
            );
            let found = serde_json::from_str(&text)
                .ok()
                .and_then(|document| read(document, &layers, 9));
            assert_eq!(found.map_or(0, |found| found.len()), expected, "{text}");
        }
        let name = digest("n").to_string();
        check(&name, "/x", "0", &name, 1);
        check(&name, "/x", "1", &name, 0);
        check(&name, "/x", "2", &name, 0);
        check(&name, "/x", "-1", &name, 0);
        check(&name, "/x", "99999999999999999999", &name, 0);
        check(&name, "\\u001b[2J", "0", &name, 0);
        check(&name, "\u{202e}x", "0", &name, 0);
        check(&name, "a\u{200b}", "0", &name, 0);
        check(&name, "é", "0", &name, 1);
        check(&name, &"x".repeat(5000), "0", &name, 0);
        check("../../etc", "/x", "0", &name, 0);
        check(&name, "/x", "0", "../x", 0);
        let document = Document {
            version: 2,
            mounts: Vec::new(),
        };
        assert_eq!(read(document, &[], 9), None);
    }

    #[test]
    fn merging_keeps_what_was_used_last() {
        let mine = BTreeMap::from([known("a", 9)]);
        let theirs = (0..300)
            .map(|number| known(&number.to_string(), number))
            .chain([known("a", 1)])
            .collect();
        let merged = merge(mine.clone(), theirs);
        assert_eq!(merged.len(), MOST_MOUNTS);
        assert!(!merged.contains_key(&digest("100")) && merged.contains_key(&digest("101")));
        let future = (0..300).map(|number| known(&number.to_string(), u32::MAX));
        assert!(merge(mine.clone(), future.collect()).contains_key(&digest("a")));
        let (layers, document) = write(&BTreeMap::from([known("f", u32::MAX)]));
        let read = read(document, &layers, 9).unwrap();
        assert_eq!(read[&digest("f")].used, 9);
        let few = merge(mine.clone(), BTreeMap::from([known("a", 20)]));
        assert_eq!(few, mine, "it is newer than what was read");
    }
}
