//! A provenance as buildx writes it to a file of metadata: in the words of SLSA 0.2, whatever version the
//! one beside the image has.

use serde_json::{Map, Value, json};

use super::{Detail, predicate};
use crate::{BuildRequest, Built};

/// Returns it as buildx 0.38 has it; in [`Detail::Min`] nothing is said of the steps.
pub fn recorded(request: &BuildRequest, built: &Built, detail: Detail) -> Value {
    let mut predicate = predicate(request, built, detail);
    let mut take = |path: &str| predicate.pointer_mut(path).map_or(Value::Null, Value::take);
    let source = take("/buildDefinition/externalParameters/configSource");
    let request = take("/buildDefinition/externalParameters/request");
    let platform = take("/buildDefinition/internalParameters/builderPlatform");
    let materials = take("/buildDefinition/resolvedDependencies");
    let builder = take("/runDetails/builder");
    let completeness = take("/runDetails/metadata/buildkit_completeness");
    let steps = take("/runDetails/metadata/buildkit_metadata");
    let mut recorded = Map::new();
    let mut put = |key: &str, value: Value| drop(recorded.insert(key.to_owned(), value));
    put("builder", builder);
    put("buildType", json!("https://mobyproject.org/buildkit@v1"));
    put("materials", materials);
    put(
        "invocation",
        json!({
            "configSource": { "entryPoint": source["path"] },
            "parameters": request,
            "environment": { "platform": platform },
        }),
    );
    if detail == Detail::Max {
        put(
            "metadata",
            json!({
                "completeness": {
                    "parameters": completeness["request"],
                    "environment": true,
                    "materials": completeness["resolvedDependencies"],
                },
                "reproducible": false,
                "https://mobyproject.org/buildkit@v1#metadata": steps,
            }),
        );
    }
    Value::Object(recorded)
}
