//! `--metadata-file`: what was built, in the words of buildx.

use corten_build::Built;
use corten_content::{Source, Store, load};
use corten_spec::{Descriptor, Document, Manifest, Reference};
use serde_json::{Map, Value, json};

use crate::error::CommandError;

/// Returns the keys that buildx writes for an image.
pub(super) fn of(store: &Store, built: &Built, names: &[Reference]) -> Result<Value, CommandError> {
    let manifest: Document<Manifest> =
        load(store as &dyn Source, &built.manifest).map_err(CommandError::caused)?;
    Ok(Value::Object(keys(
        built.root(),
        &manifest.value.config,
        names,
    )))
}

fn keys(manifest: &Descriptor, config: &Descriptor, names: &[Reference]) -> Map<String, Value> {
    let mut keys = Map::new();
    let mut put = |key: &str, value: Value| drop(keys.insert(key.to_owned(), value));
    put(
        "containerimage.config.digest",
        json!(config.digest.as_str()),
    );
    put("containerimage.descriptor", json!(manifest));
    put("containerimage.digest", json!(manifest.digest.as_str()));
    if !names.is_empty() {
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        put("image.name", json!(names.join(",")));
    }
    keys
}
