//! Manifests (manifest.md, manifest-v2-2.md).

use corten_spec::media_type::{self, OCI_EMPTY};
use corten_spec::{Descriptor, Kind, Manifest};
use serde_json::Value;

use super::annotations::Holder;
use super::descriptor::check_descriptor;
use super::fields::{HeaderRules, check_header, child, conclude, parse, quoted, shown};
use super::finding::Fault;
use super::report::{Report, must, note, should};

/// What a manifest leads to.
#[derive(Debug, Default)]
pub(super) struct ManifestParts {
    pub(super) config: Option<Descriptor>,
    /// The layers; `None` for one that cannot be followed.
    pub(super) layers: Vec<Option<Descriptor>>,
    /// What the manifest says something about.
    pub(super) subject: Option<Descriptor>,
    /// The type of the artifact, with the fallback that MAN-26 names.
    pub(super) artifact_type: Option<String>,
}

/// Checks the bytes of a manifest, whose digest is right.
pub(super) fn check_manifest(
    report: &mut Report<'_>,
    descriptor: &Descriptor,
    bytes: &[u8],
) -> ManifestParts {
    let mut parts = ManifestParts::default();
    let Some(value) = parse::<Manifest>(report, bytes) else {
        return parts;
    };
    let rules = HeaderRules {
        version: "MAN-02",
        has_type: "MAN-03",
        right_type: "MAN-04",
        foreign: "a manifest has it, although only another kind of document may",
        artifact_type: "MAN-06",
        annotations: "MAN-25",
    };
    check_header::<Manifest>(report, &value, &descriptor.media_type, &rules);
    match value.get("config") {
        None => report.pointer("/config", must("MAN-08"), Fault::missing("a descriptor")),
        Some(config) => {
            parts.config = check_descriptor(report, "/config", config, Holder::Other);
        }
    }
    check_layers(report, value.get("layers"), &mut parts);
    if let Some(subject) = value.get("subject") {
        parts.subject = check_descriptor(report, "/subject", subject, Holder::Other);
    }
    check_kinds(report, &value, &parts);
    if media_type::without_parameters(&descriptor.media_type) == media_type::DOCKER_MANIFEST {
        for name in ["annotations", "artifactType", "subject"] {
            if value.get(name).is_some() {
                let message = "Docker's manifests do not have it, so most tools will not see it";
                report.pointer(&child("", name), note("MT-08"), message);
            }
        }
    }
    let artifact_type = value.get("artifactType").and_then(Value::as_str);
    let config_type = parts
        .config
        .as_ref()
        .map(|config| config.media_type.as_str());
    parts.artifact_type = artifact_type.or(config_type).map(str::to_owned);
    conclude::<Manifest>(report, descriptor, bytes);
    parts
}

fn check_layers(report: &mut Report<'_>, layers: Option<&Value>, parts: &mut ManifestParts) {
    let expected = "an array of descriptors";
    match layers {
        Some(Value::Array(layers)) => {
            if layers.is_empty() {
                check_no_layers(report, parts);
            }
            for (layer_idx, layer) in layers.iter().enumerate() {
                let at = format!("/layers/{layer_idx}");
                let layer = if layer.is_object() {
                    check_descriptor(report, &at, layer, Holder::Other)
                } else {
                    let fault = Fault::differs(shown(layer), "a descriptor");
                    report.pointer(&at, must("MAN-11"), fault);
                    None
                };
                parts.layers.push(layer);
            }
        }
        Some(found) => {
            let fault = Fault::differs(shown(found), expected);
            report.pointer("/layers", must("MAN-11"), fault);
        }
        None => report.pointer("/layers", must("MAN-11"), Fault::missing(expected)),
    }
}

fn check_no_layers(report: &mut Report<'_>, parts: &ManifestParts) {
    let is_image = parts
        .config
        .as_ref()
        .is_none_or(|config| config.kind() == Kind::Config);
    let fault = Fault::differs("empty", "at least one layer");
    if is_image {
        report.pointer("/layers", should("MAN-12"), fault);
    } else {
        report.pointer("/layers", should("MAN-23"), fault);
    }
}

/// Checks what the types of config and layers are together.
fn check_kinds(report: &mut Report<'_>, value: &Value, parts: &ManifestParts) {
    let Some(config) = &parts.config else { return };
    let has_artifact_type = value.get("artifactType").is_some();
    if config.media_type == OCI_EMPTY && !has_artifact_type {
        let fault = Fault::missing("a media type");
        let message = "it is not there, although the config is empty";
        report.pointer("/artifactType", must("MAN-05"), fault.saying(message));
    }
    if config.kind() != Kind::Config {
        return;
    }
    let is_layer = |layer: &Option<Descriptor>| {
        layer
            .as_ref()
            .is_none_or(|layer| matches!(layer.kind(), Kind::Layer { .. }))
    };
    if !parts.layers.is_empty() && !parts.layers.iter().any(is_layer) {
        let at = "/config/mediaType";
        let message =
            "the manifest has no layer of an image, yet says that its config is an image's";
        let fault = Fault::differs(quoted(&config.media_type), "a type of the artifact's own");
        if has_artifact_type {
            report.pointer(at, must("MAN-21"), fault.saying(message));
        } else {
            report.pointer(at, should("ART-02"), fault.saying(message));
        }
        return;
    }
    for (layer_idx, layer) in parts.layers.iter().enumerate() {
        let Some(layer) = layer else { continue };
        let at = format!("/layers/{layer_idx}/mediaType");
        match layer.kind() {
            Kind::Layer { foreign: false, .. } => {}
            Kind::Layer { foreign: true, .. } => {
                let message = "the layer is one that may not be distributed";
                report.pointer(&at, note("LYR-50"), message);
            }
            Kind::Index | Kind::Manifest | Kind::Config | Kind::Schema1 | Kind::Other => {
                let message = format!("{} is no layer of an image", quoted(&layer.media_type));
                report.pointer(&at, note("MAN-20"), message);
            }
        }
    }
}
