//! Indexes.

use corten_spec::{Digest, media_type};
use serde_json::json;

use super::{Case, index, remove, set};

pub(super) fn cases() -> Vec<Case> {
    let gone = json!({"mediaType": media_type::OCI_MANIFEST, "digest": Digest::sha256(b"gone"), "size": 4});
    vec![
        index(
            "must IDX-02 /schemaVersion",
            set("/schemaVersion", json!(3)),
        ),
        index(
            "must IDX-02 /schemaVersion",
            set("/schemaVersion", json!("2")),
        ),
        index("should IDX-03 /mediaType", remove("/mediaType")),
        index(
            "must IDX-04 /mediaType",
            set("/mediaType", json!(media_type::DOCKER_INDEX)),
        ),
        index(
            "must IDX-05 /artifactType",
            set("/artifactType", json!("a/b/c")),
        ),
        index("must IDX-06 /manifests", set("/manifests", json!(null))),
        index("must IDX-06 /manifests", remove("/manifests")),
        index(
            "should IDX-07 /manifests/0/platform",
            set("/manifests/0/platform/architecture", json!("s390x")),
        ),
        index("note IDX-15 /manifests/1/platform", |index| {
            let (mut entry, platform) = (gone.clone(), &index["manifests"][0]["platform"]);
            entry["platform"] = platform.clone();
            index["manifests"].as_array_mut().unwrap().push(entry);
        }),
        index("should LAY-13", |index| {
            index["manifests"]
                .as_array_mut()
                .unwrap()
                .push(gone.clone());
        }),
        index(
            "note IDX-17 /manifests/0/mediaType",
            set("/manifests/0/mediaType", json!("text/plain")),
        ),
        index("must IDX-19 /annotations", set("/annotations", json!("x"))),
        index("must MT-03 /layers", set("/layers", json!([]))),
        index(
            "must V2S2-09",
            set("/manifests/0/mediaType", json!(media_type::DOCKER_SCHEMA1)),
        ),
    ]
}
