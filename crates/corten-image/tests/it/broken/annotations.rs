//! Annotations and labels.

use serde_json::{Value, json};

use super::{Case, config, index, layout, manifest, set};
use crate::layouts;

pub(super) fn cases() -> Vec<Case> {
    let labels = |expected, key: &str, value: Value| {
        let labels = json!({key: value});
        config(expected, set("/config/Labels", labels))
    };
    vec![
        labels("must ANN-01 /config/Labels/a~1b", "a/b", json!(1)),
        manifest(
            "must ANN-01 /annotations/a.b",
            set("/annotations", json!({"a.b": null})),
        ),
        manifest(
            "note ANN-04 /annotations/key",
            set("/annotations", json!({"key": ""})),
        ),
        manifest(
            "should ANN-05 /annotations/org.opencontainers.mine",
            set("/annotations", json!({"org.opencontainers.mine": ""})),
        ),
        index("must ANN-06 /annotations", set("/annotations", json!(null))),
        labels(
            "should ANN-08 /config/Labels/org.opencontainers.image.licenses",
            "org.opencontainers.image.licenses",
            json!("MIT License"),
        ),
        labels(
            "should ANN-08 /config/Labels/org.opencontainers.image.url",
            "org.opencontainers.image.url",
            json!("example.com"),
        ),
        labels(
            "should ANN-09 /config/Labels/org.opencontainers.image.created",
            "org.opencontainers.image.created",
            json!("Mon Jan  1 00:00:00 UTC 2020"),
        ),
        index(
            "note ANN-10 /manifests/0/annotations/org.opencontainers.image.ref.name",
            set(
                "/manifests/0/annotations",
                json!({"org.opencontainers.image.ref.name": "a"}),
            ),
        ),
        layout(
            "should ANN-11 index.json#/manifests/0/annotations/org.opencontainers.image.ref.name",
            |dir, _| layouts::change_index(dir, |index| layouts::rename(index, "a b")),
        ),
        layout(
            "should ANN-12 index.json#/manifests/0/annotations/org.opencontainers.image.ref.name",
            |dir, _| layouts::change_index(dir, |index| layouts::rename(index, "a_/b")),
        ),
        labels(
            "should ANN-13 /config/Labels/org.opencontainers.image.base.digest",
            "org.opencontainers.image.base.digest",
            json!("debian"),
        ),
        labels(
            "should ANN-14 /config/Labels/org.opencontainers.image.base.name",
            "org.opencontainers.image.base.name",
            json!("debian"),
        ),
    ]
}
