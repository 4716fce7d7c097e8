//! Indexes and manifest lists (image-index.md, manifest-v2-2.md).

use std::collections::HashMap;

use corten_spec::{Descriptor, Index, Kind, Platform, annotations::REF_NAME};
use serde_json::Value;

use super::annotations::Holder;
use super::descriptor::check_descriptor;
use super::fields::{HeaderRules, check_header, child, conclude, parse, quoted, shown};
use super::finding::Fault;
use super::report::{Report, must, note, should};

/// What an index leads to.
#[derive(Debug, Default)]
pub(super) struct IndexParts {
    /// The entries that can be followed.
    pub(super) entries: Vec<IndexEntry>,
    /// What the index says something about.
    pub(super) subject: Option<Descriptor>,
    /// Its own type of artifact.
    pub(super) artifact_type: Option<String>,
}

/// An entry of an index.
#[derive(Debug)]
pub(super) struct IndexEntry {
    /// Its place in `manifests`.
    pub(super) number: usize,
    pub(super) descriptor: Descriptor,
    /// Whether it says anything of a platform, be it right or wrong.
    pub(super) has_platform: bool,
}

/// Checks the bytes of an index, whose digest is right.
pub(super) fn check_index(
    report: &mut Report<'_>,
    descriptor: &Descriptor,
    bytes: &[u8],
    holder: Holder,
) -> IndexParts {
    let mut parts = IndexParts::default();
    let Some(value) = parse::<Index>(report, bytes) else {
        return parts;
    };
    if is_manifest(&value) && holder == Holder::LayoutEntry {
        let fault = Fault::differs("a manifest", "an index");
        report.pointer("", must("LAY-08"), fault);
        return parts;
    }
    let rules = HeaderRules {
        version: "IDX-02",
        has_type: "IDX-03",
        right_type: "IDX-04",
        foreign: "an index has it, although only a manifest may",
        artifact_type: "IDX-05",
        annotations: "IDX-19",
    };
    check_header::<Index>(report, &value, &descriptor.media_type, &rules);
    if let Some(subject) = value.get("subject") {
        parts.subject = check_descriptor(report, "/subject", subject, Holder::Other);
    }
    let artifact_type = value.get("artifactType").and_then(Value::as_str);
    parts.artifact_type = artifact_type.map(str::to_owned);
    let expected = "an array of descriptors";
    match value.get("manifests") {
        Some(Value::Array(manifests)) => {
            for (number, entry) in manifests.iter().enumerate() {
                let at = format!("/manifests/{number}");
                if let Some(descriptor) = check_descriptor(report, &at, entry, holder) {
                    check_entry(report, &at, &descriptor);
                    parts.entries.push(IndexEntry {
                        number,
                        descriptor,
                        has_platform: entry.get("platform").is_some(),
                    });
                }
            }
        }
        Some(found) => {
            let fault = Fault::differs(shown(found), expected);
            report.pointer("/manifests", must("IDX-06"), fault);
        }
        None => report.pointer("/manifests", must("IDX-06"), Fault::missing(expected)),
    }
    check_choices(report, &parts.entries, holder);
    conclude::<Index>(report, descriptor, bytes);
    parts
}

fn is_manifest(value: &Value) -> bool {
    value.get("manifests").is_none()
        && value.get("config").is_some()
        && value.get("layers").is_some()
}

fn check_entry(report: &mut Report<'_>, pointer: &str, entry: &Descriptor) {
    if !entry.kind().has_children() {
        let message = format!(
            "{} is neither a manifest nor an index",
            quoted(&entry.media_type)
        );
        report.pointer(&child(pointer, "mediaType"), note("IDX-17"), message);
    }
}

/// What an entry is chosen by.
#[derive(PartialEq, Eq, Hash)]
struct Choice<'a> {
    platform: Option<Platform>,
    name: Option<&'a str>,
}

/// Checks that no two entries are the same choice: the second is never made (IDX-15, LAY-17).
fn check_choices(report: &mut Report<'_>, entries: &[IndexEntry], holder: Holder) {
    let mut first: HashMap<Choice<'_>, (usize, &Descriptor)> = HashMap::new();
    for IndexEntry {
        number,
        descriptor: entry,
        ..
    } in entries
    {
        let name = entry.annotations.get(REF_NAME).map(String::as_str);
        let is_unknown = |platform: &Platform| platform.os == "unknown";
        let is_choice = match holder {
            Holder::LayoutEntry => name.is_some(),
            Holder::Other | Holder::Labels => {
                entry.platform.as_ref().is_some_and(|it| !is_unknown(it))
                    && entry.artifact_type.is_none()
                    && entry.kind() == Kind::Manifest
            }
        };
        if !is_choice {
            continue;
        }
        let platform = entry.platform.as_ref().map(Platform::normalized);
        let name = name.filter(|_| holder == Holder::LayoutEntry);
        let choice = Choice { platform, name };
        let (first_idx, same) = *first.entry(choice).or_insert((*number, entry));
        if same.digest == entry.digest {
            continue;
        }
        let at = format!("/manifests/{number}");
        if holder == Holder::LayoutEntry {
            let message = format!("entry {first_idx} has the same name and platform");
            report.pointer(&at, should("LAY-17"), message);
        } else {
            let message = format!("entry {first_idx} has the same platform, and comes first");
            report.pointer(&child(&at, "platform"), note("IDX-15"), message);
        }
    }
}
