//! Manifests and indexes (manifest.md, image-index.md).

use corten_spec::{Descriptor, Document, DocumentType, Index, Kind, Manifest, media_type};
use serde_json::Value;

use super::fields::{
    HeaderRules, check_annotations, check_descriptor, check_header, check_type, child, shown,
};
use super::{Report, must, note, should};

/// What a manifest leads to.
#[derive(Debug, Default)]
pub(super) struct ManifestParts {
    pub(super) config: Option<Descriptor>,
    /// The layers; `None` for one that cannot be followed.
    pub(super) layers: Vec<Option<Descriptor>>,
}

/// Checks the bytes of a manifest, whose digest is right.
pub(super) fn check_manifest(
    report: &mut Report<'_>,
    descriptor: &Descriptor,
    bytes: &[u8],
) -> ManifestParts {
    let mut parts = ManifestParts::default();
    let Some(value) = parse(report, Manifest::NAME, bytes) else {
        return parts;
    };
    let rules = HeaderRules {
        version: "MAN-02",
        has_type: "MAN-03",
        right_type: "MAN-04",
    };
    check_header(report, &value, &descriptor.media_type, &rules);
    if value.get("manifests").is_some() {
        let rule =
            must("MT-03").advise("a document that could be two things is refused (CVE-2021-41190)");
        report.pointer(
            "/manifests",
            rule,
            "a manifest has it, although only an index may",
        );
    }
    check_type(report, "/artifactType", value.get("artifactType"), "MAN-06");
    check_annotations(report, "/annotations", value.get("annotations"), "MAN-25");
    match value.get("config") {
        None => report.pointer("/config", must("MAN-08"), "it is not there"),
        Some(config) => parts.config = check_descriptor(report, "/config", config),
    }
    match value.get("layers") {
        Some(Value::Array(layers)) => {
            if layers.is_empty() {
                report.pointer("/layers", should("MAN-12"), "it is empty");
            }
            for (layer_idx, layer) in layers.iter().enumerate() {
                let at = format!("/layers/{layer_idx}");
                parts.layers.push(check_descriptor(report, &at, layer));
            }
        }
        found => {
            let found = shown(found.unwrap_or(&Value::Null));
            report.pointer(
                "/layers",
                must("MAN-11"),
                format!("it is {found}, expected an array"),
            );
        }
    }
    if let Some(subject) = value.get("subject") {
        check_descriptor(report, "/subject", subject);
    }
    check_kinds(report, &value, &parts);
    conclude::<Manifest>(report, descriptor, bytes);
    parts
}

/// Checks what the types of config and layers are.
fn check_kinds(report: &mut Report<'_>, value: &Value, parts: &ManifestParts) {
    let Some(config) = &parts.config else { return };
    if config.media_type == media_type::OCI_EMPTY && value.get("artifactType").is_none() {
        let message = "it is not there, although the config is empty";
        report.pointer("/artifactType", must("MAN-05"), message);
    }
    if config.kind() != Kind::Config {
        return;
    }
    for (layer_idx, layer) in parts.layers.iter().enumerate() {
        let Some(layer) = layer else { continue };
        let at = format!("/layers/{layer_idx}/mediaType");
        match layer.kind() {
            Kind::Layer { foreign: false, .. } => {}
            Kind::Layer { foreign: true, .. } => {
                report.pointer(
                    &at,
                    note("LYR-50"),
                    "the layer is one that may not be distributed",
                );
            }
            Kind::Index | Kind::Manifest | Kind::Config | Kind::Schema1 | Kind::Other => {
                let message = format!("`{}` is no layer of an image", layer.media_type);
                report.pointer(&at, note("MAN-20"), message);
            }
        }
    }
}

/// Checks the bytes of an index, whose digest is right, and returns its entries that can be followed,
/// each with its number.
pub(super) fn check_index(
    report: &mut Report<'_>,
    descriptor: &Descriptor,
    bytes: &[u8],
) -> Vec<(usize, Descriptor)> {
    let Some(value) = parse(report, Index::NAME, bytes) else {
        return Vec::new();
    };
    let rules = HeaderRules {
        version: "IDX-02",
        has_type: "IDX-03",
        right_type: "IDX-04",
    };
    check_header(report, &value, &descriptor.media_type, &rules);
    for name in ["config", "layers"] {
        if value.get(name).is_some() {
            let rule = must("MT-03")
                .advise("a document that could be two things is refused (CVE-2021-41190)");
            report.pointer(
                &child("", name),
                rule,
                "an index has it, although only a manifest may",
            );
        }
    }
    check_type(report, "/artifactType", value.get("artifactType"), "IDX-05");
    check_annotations(report, "/annotations", value.get("annotations"), "IDX-19");
    if let Some(subject) = value.get("subject") {
        check_descriptor(report, "/subject", subject);
    }
    let mut entries = Vec::new();
    match value.get("manifests") {
        Some(Value::Array(manifests)) => {
            for (entry_idx, entry) in manifests.iter().enumerate() {
                let at = format!("/manifests/{entry_idx}");
                let Some(entry) = check_descriptor(report, &at, entry) else {
                    continue;
                };
                if !entry.kind().has_children() {
                    let message =
                        format!("`{}` is neither a manifest nor an index", entry.media_type);
                    report.pointer(&child(&at, "mediaType"), note("IDX-17"), message);
                }
                entries.push((entry_idx, entry));
            }
        }
        found => {
            let found = shown(found.unwrap_or(&Value::Null));
            report.pointer(
                "/manifests",
                must("IDX-06"),
                format!("it is {found}, expected an array"),
            );
        }
    }
    conclude::<Index>(report, descriptor, bytes);
    entries
}

/// Parses JSON as considerations.md asks for it.
pub(super) fn parse(report: &mut Report<'_>, name: &'static str, bytes: &[u8]) -> Option<Value> {
    match corten_spec::json::parse::<Value>(name, bytes) {
        Ok(value) if value.is_object() => Some(value),
        Ok(value) => {
            report.whole(
                must("MAN-01"),
                format!("it is {}, expected an object", shown(&value)),
            );
            None
        }
        Err(error) => {
            let text = error.to_string();
            let id = if text.contains("occurs twice") {
                "CNS-07"
            } else {
                "CNS-04"
            };
            report.whole(must(id), text);
            None
        }
    }
}

/// Has the parser that everything else uses say what the rules here have missed, so that nothing is
/// found to be valid that cannot be used.
pub(super) fn conclude<T: DocumentType>(
    report: &mut Report<'_>,
    descriptor: &Descriptor,
    bytes: &[u8],
) {
    if report.is_broken {
        return;
    }
    if let Err(error) = Document::<T>::from_bytes(&descriptor.media_type, bytes.to_vec()) {
        report.whole(must("CNS-04"), super::chain(&error));
    }
}
