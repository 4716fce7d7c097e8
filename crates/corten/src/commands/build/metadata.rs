//! `--metadata-file`: what was built, in the words of buildx.

use corten_build::provenance::{Detail, recorded};
use serde_json::{Map, Value, json};

use super::outcome::Outcome;
use crate::context::Context;
use crate::error::CommandError;

/// Returns how much of the provenance is in the file, as `$BUILDX_METADATA_PROVENANCE` says.
pub(super) fn provenance(ctx: &Context) -> Result<Option<Detail>, CommandError> {
    match ctx.env.metadata_provenance.as_deref() {
        None | Some("min") => Ok(Some(Detail::Min)),
        Some("max") => Ok(Some(Detail::Max)),
        Some("disabled" | "false" | "0") => Ok(None),
        Some(other) => Err(CommandError::usage(format!(
            "`BUILDX_METADATA_PROVENANCE` is `{other}`; expected `min`, `max` or `disabled`"
        ))),
    }
}

/// Returns what buildx writes: the keys of the image, or those of each target under its name.
pub(super) fn of(outcomes: &[Outcome], provenance: Option<Detail>) -> Value {
    if let [one] = outcomes {
        return Value::Object(keys(one, provenance));
    }
    let of_target = |outcome: &Outcome| {
        let stage = outcome.wanted.stage.clone().unwrap_or_default();
        (stage, Value::Object(keys(outcome, provenance)))
    };
    Value::Object(outcomes.iter().map(of_target).collect())
}

/// Images of several platforms have no config in common, and so there is no key for one.
fn keys(outcome: &Outcome, provenance: Option<Detail>) -> Map<String, Value> {
    let descriptor = &outcome.root;
    let mut keys = Map::new();
    let mut put = |key: &str, value: Value| drop(keys.insert(key.to_owned(), value));
    if let Some(image) = outcome.only_image() {
        let config = &image.built.image_id;
        put("containerimage.config.digest", json!(config.to_string()));
    }
    put("containerimage.descriptor", json!(descriptor));
    put("containerimage.digest", json!(descriptor.digest.as_str()));
    if let Some(detail) = provenance {
        for image in &outcome.images {
            let key = match outcome.only_image() {
                Some(_) => "buildx.build.provenance".to_owned(),
                None => format!("buildx.build.provenance/{}", image.request.platform),
            };
            put(&key, recorded(&image.request, &image.built, detail));
        }
    }
    let names: Vec<_> = outcome
        .wanted
        .names
        .iter()
        .map(ToString::to_string)
        .collect();
    if !names.is_empty() {
        put("image.name", json!(names.join(",")));
    }
    keys
}
