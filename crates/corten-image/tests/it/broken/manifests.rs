//! Manifests of images and artifacts.

use corten_image::{ValidateOptions, validate};
use corten_spec::{document, media_type};
use corten_testing::Image;
use serde_json::{Value, json};

use super::{Case, also, artifact, base, bytes, case, manifest, remove, set};

pub(super) fn cases() -> Vec<Case> {
    let docker = |value: &mut Value| value["mediaType"] = json!(media_type::DOCKER_MANIFEST);
    let type_of_config = |value: &mut Value| {
        value["config"]["mediaType"] = json!(media_type::OCI_CONFIG);
    };
    // `{}` is no image config either.
    let config = &["CFG-10", "CFG-11", "CFG-30"];
    vec![
        bytes("must MAN-01", b"[]"),
        manifest(
            "must MAN-02 /schemaVersion",
            set("/schemaVersion", json!(1)),
        ),
        manifest("should MAN-03 /mediaType", remove("/mediaType")),
        manifest(
            "must MAN-04 /mediaType",
            set("/mediaType", json!(media_type::OCI_INDEX)),
        ),
        artifact("must MAN-05 /artifactType", remove("/artifactType")),
        manifest(
            "must MAN-06 /artifactType",
            set("/artifactType", json!("x")),
        ),
        manifest("must MAN-08 /config", remove("/config")),
        also(
            &["CFG-33"],
            manifest("must MAN-11 /layers", set("/layers", json!(null))),
        ),
        manifest("must MAN-11 /layers/0", set("/layers/0", json!("x"))),
        also(
            &["CFG-33"],
            manifest("should MAN-12 /layers", set("/layers", json!([]))),
        ),
        manifest("note MAN-20 /layers/1/mediaType", |manifest| {
            let mut other = manifest["layers"][0].clone();
            other["mediaType"] = json!("text/plain");
            manifest["layers"].as_array_mut().unwrap().push(other);
        })
        .with(&["CFG-33"]),
        also(
            config,
            artifact("must MAN-21 /config/mediaType", type_of_config),
        ),
        also(
            config,
            artifact("should ART-02 /config/mediaType", |value| {
                type_of_config(value);
                remove("/artifactType")(value);
            }),
        ),
        artifact("should MAN-23 /layers", set("/layers", json!([]))),
        manifest("must MAN-25 /annotations", set("/annotations", json!([]))),
        manifest("must MT-03 /manifests", set("/manifests", json!([]))),
        manifest("note MT-08 /annotations", |value| {
            docker(value);
            value["annotations"] = json!({"a.b": "c"});
        }),
        v2s2_without_type(),
        manifest(
            "note LYR-50 /layers/0/mediaType",
            set("/layers/0/mediaType", json!(media_type::OCI_LAYER_FOREIGN)),
        ),
        manifest(
            "should LYR-01",
            set("/layers/0/mediaType", json!(media_type::OCI_LAYER_GZIP)),
        ),
    ]
}

fn v2s2_without_type() -> Case {
    let image = Image::builder().layer(&base()).build();
    let mut value = serde_json::to_value(&image.value).unwrap();
    remove("/mediaType")(&mut value);
    let bytes = document::to_bytes(&value);
    let root = image.content.add(media_type::DOCKER_MANIFEST, &bytes);
    let findings = validate(&image.content, &root, &ValidateOptions::default()).unwrap();
    case("should V2S2-02 /mediaType", findings)
}
