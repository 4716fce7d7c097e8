//! The `index.json` of a layout: read as it comes, changed entry by entry.

use std::borrow::Cow;
use std::collections::BTreeMap;

use corten_spec::{Descriptor, DocumentType, Index, json, media_type};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{Error, Result};

/// An `index.json` that can be changed. What is not changed keeps its bytes, so fields that we do
/// not know stay in the entries that have them.
///
/// Entries are parsed only when they are looked at: among 10,000 names that is what costs.
#[derive(Debug)]
pub(crate) struct LayoutIndex<'a> {
    fields: BTreeMap<String, &'a RawValue>,
    entries: Vec<Cow<'a, RawValue>>,
    changed: bool,
}

#[derive(Deserialize)]
struct Entries<'a> {
    #[serde(borrow)]
    manifests: Vec<&'a RawValue>,
}

/// Reads the entries of the `index.json` that `what` names in messages.
pub fn entries(bytes: &[u8], what: &str) -> Result<Vec<Descriptor>> {
    parse(bytes)
        .map(|index| index.manifests)
        .map_err(|source| invalid(what, source))
}

/// Reads only those entries whose text holds `text`, and perhaps some more.
pub(crate) fn entries_mentioning(bytes: &[u8], text: &str, what: &str) -> Result<Vec<Descriptor>> {
    let entries: Entries<'_> =
        serde_json::from_slice(bytes).map_err(|error| unreadable(what, &error))?;
    let likely = entries.manifests.into_iter();
    likely
        .filter(|raw| may_be(raw, |found| found.contains(text)))
        .map(|raw| parse_entry(raw, what))
        .collect()
}

fn parse(bytes: &[u8]) -> corten_spec::Result<Index> {
    let index: Index = json::parse("index.json", bytes)?;
    let own = index.media_type.clone();
    index.check(own.as_deref().unwrap_or(media_type::OCI_INDEX))?;
    Ok(index)
}

pub(super) fn parse_entry(raw: &RawValue, what: &str) -> Result<Descriptor> {
    let parsed = json::parse("entry of index.json", raw.get().as_bytes());
    let checked = parsed.and_then(|entry: Descriptor| {
        let index = Index::oci(vec![entry]);
        index.check(media_type::OCI_INDEX)?;
        Ok(index.manifests)
    });
    let mut entries = checked.map_err(|source| invalid(what, source))?;
    Ok(entries.remove(0))
}

/// Tells whether the entry may be a likely one; text with escapes could say anything.
fn may_be(raw: &RawValue, likely: impl Fn(&str) -> bool) -> bool {
    likely(raw.get()) || raw.get().contains('\\')
}

impl<'a> LayoutIndex<'a> {
    /// Reads `bytes` for a change.
    pub(crate) fn parse(bytes: &'a [u8], what: &str) -> Result<Self> {
        // Read twice, as a map keeps the last of equal names and a struct refuses them.
        let entries: Entries<'_> =
            serde_json::from_slice(bytes).map_err(|error| unreadable(what, &error))?;
        let fields = serde_json::from_slice(bytes).map_err(|error| unreadable(what, &error))?;
        Ok(Self {
            fields,
            entries: entries.manifests.into_iter().map(Cow::Borrowed).collect(),
            changed: false,
        })
    }

    /// Adds an entry at the end.
    pub(crate) fn push(&mut self, descriptor: &Descriptor) {
        let raw = serde_json::value::to_raw_value(descriptor)
            .expect("a descriptor has string keys and no failing serializer");
        self.entries.push(Cow::Owned(raw));
        self.changed = true;
    }

    /// Removes the entries that `is_meant` says, and tells how many those are. Only entries whose
    /// text is `likely` to be meant are parsed and asked about.
    pub(crate) fn remove(
        &mut self,
        likely: impl Fn(&str) -> bool,
        what: &str,
        is_meant: impl Fn(&Descriptor) -> bool,
    ) -> Result<usize> {
        let mut kept = Vec::with_capacity(self.entries.len());
        let mut n_removed = 0;
        for raw in std::mem::take(&mut self.entries) {
            if may_be(&raw, &likely) && is_meant(&parse_entry(&raw, what)?) {
                n_removed += 1;
            } else {
                kept.push(raw);
            }
        }
        self.entries = kept;
        self.changed |= n_removed > 0;
        Ok(n_removed)
    }

    /// Tells whether there is an entry that `is_meant` says and whose text holds `text`.
    pub(crate) fn has(
        &self,
        text: &str,
        what: &str,
        is_meant: impl Fn(&Descriptor) -> bool,
    ) -> Result<bool> {
        for raw in &self.entries {
            if may_be(raw, |found| found.contains(text)) && is_meant(&parse_entry(raw, what)?) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Returns the new file, or `None` if nothing was changed.
    pub(crate) fn into_bytes(self, what: &str) -> Result<Option<Vec<u8>>> {
        if !self.changed {
            return Ok(None);
        }
        let manifests = serde_json::value::to_raw_value(&self.entries)
            .expect("raw values are written as they are");
        let mut fields: BTreeMap<&str, &RawValue> = BTreeMap::new();
        fields.extend(self.fields.iter().map(|(name, raw)| (name.as_str(), *raw)));
        fields.insert(MANIFESTS, &manifests);
        let bytes = serde_json::to_vec(&fields).expect("raw values are written as they are");
        // One entry more than can be read back would lose all of them.
        let size = bytes.len() as u64;
        let limit = Index::limit();
        if size > limit.bytes {
            let source = corten_spec::Error::TooLarge {
                document: "index.json",
                size,
                limit,
            };
            return Err(invalid(what, source));
        }
        Ok(Some(bytes))
    }
}

const MANIFESTS: &str = "manifests";

fn unreadable(what: &str, error: &serde_json::Error) -> Error {
    let source = corten_spec::Error::InvalidJson {
        document: "index.json",
        reason: error.to_string(),
    };
    invalid(what, source)
}

fn invalid(what: &str, source: corten_spec::Error) -> Error {
    Error::Invalid {
        what: what.into(),
        source: Box::new(source),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_keeps_what_it_does_not_know() {
        let digest = corten_spec::Digest::sha256(b"");
        let old = format!(
            r#"{{"x-field": [1.50], "schemaVersion":2,"manifests":[{{"mediaType":"a/b", "digest":"{digest}", "size":0, "x-entry": 1.50}}]}}"#
        );
        let mut index = LayoutIndex::parse(old.as_bytes(), "it").unwrap();
        index.push(&Descriptor::of("c/d", b"new"));
        let bytes = index.into_bytes("it").unwrap().unwrap();
        let text = String::from_utf8(bytes.clone()).unwrap();
        assert!(text.contains(r#""x-entry": 1.50}"#), "{text}");
        assert!(text.contains(r#""x-field":[1.50]"#), "{text}");
        assert_eq!(entries(&bytes, "it").unwrap().len(), 2);
    }

    #[test]
    fn escapes_do_not_hide_a_name() {
        let digest = corten_spec::Digest::sha256(b"");
        let entry = |name: &str| {
            format!(
                r#"{{"mediaType":"a/b","digest":"{digest}","size":0,"annotations":{{"n":"{name}"}}}}"#
            )
        };
        let (plain, escaped, other) = (entry("acme/app"), entry(r"acme\/app"), entry("other"));
        let text = format!(r#"{{"schemaVersion":2,"manifests":[{plain},{escaped},{other}]}}"#);
        let bytes = text.as_bytes();
        assert_eq!(
            entries_mentioning(bytes, "acme/app", "it").unwrap().len(),
            2
        );
        let mut index = LayoutIndex::parse(bytes, "it").unwrap();
        let is_meant = |entry: &Descriptor| entry.annotations["n"] == "acme/app";
        assert!(index.has("acme/app", "it", is_meant).unwrap());
        assert_eq!(
            index
                .remove(|text| text.contains("acme/app"), "it", is_meant)
                .unwrap(),
            2
        );
        let bytes = index.into_bytes("it").unwrap().unwrap();
        assert_eq!(entries(&bytes, "it").unwrap().len(), 1);
    }

    #[test]
    fn a_change_of_a_file_with_two_lists_is_refused() {
        let text = r#"{"schemaVersion":2,"manifests":[],"manifests":[]}"#;
        let error = LayoutIndex::parse(text.as_bytes(), "it").unwrap_err();
        assert!(matches!(error, Error::Invalid { .. }), "{error:?}");
    }

    #[test]
    fn an_index_that_is_none() {
        #[track_caller]
        fn check(text: &str) {
            let error = entries(text.as_bytes(), "`index.json`").unwrap_err();
            assert!(matches!(error, Error::Invalid { .. }), "{text}: {error:?}");
        }
        check("");
        check("[]");
        check(r#"{"schemaVersion":2}"#);
        check(r#"{"schemaVersion":2,"config":{},"layers":[]}"#);
        check(
            r#"{"schemaVersion":2,"manifests":[{"mediaType":"a/b","digest":"sha256:../../x","size":0}]}"#,
        );
    }
}
