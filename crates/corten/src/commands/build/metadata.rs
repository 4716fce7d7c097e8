//! `--metadata-file`: what was built, in the words of buildx.

use serde_json::{Map, Value, json};

use super::outcome::Outcome;

/// Returns what buildx writes: the keys of the image, or those of each target under its name.
pub(super) fn of(outcomes: &[Outcome]) -> Value {
    if let [one] = outcomes {
        return Value::Object(keys(one));
    }
    let of_target = |outcome: &Outcome| {
        let stage = outcome.wanted.stage.clone().unwrap_or_default();
        (stage, Value::Object(keys(outcome)))
    };
    Value::Object(outcomes.iter().map(of_target).collect())
}

/// Images of several platforms have no config in common, and so there is no key for one.
fn keys(outcome: &Outcome) -> Map<String, Value> {
    let descriptor = &outcome.root;
    let mut keys = Map::new();
    let mut put = |key: &str, value: Value| drop(keys.insert(key.to_owned(), value));
    if let Some(image) = outcome.only_image() {
        let config = &image.built.image_id;
        put("containerimage.config.digest", json!(config.to_string()));
    }
    put("containerimage.descriptor", json!(descriptor));
    put("containerimage.digest", json!(descriptor.digest.as_str()));
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
