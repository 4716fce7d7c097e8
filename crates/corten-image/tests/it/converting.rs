//! Docker's format and OCI's into each other.

use corten_content::{CopyOptions, Memory, copy, load_image, read};
use corten_image::{ConvertOptions, Converted, Error, Unplaced, convert};
use corten_spec::media_type::{
    DOCKER_CONFIG, DOCKER_INDEX, DOCKER_LAYER, DOCKER_LAYER_FOREIGN, DOCKER_LAYER_GZIP,
    DOCKER_MANIFEST, DOCKER_SCHEMA1_SIGNED, OCI_CONFIG, OCI_EMPTY, OCI_INDEX, OCI_LAYER,
    OCI_LAYER_FOREIGN, OCI_LAYER_FOREIGN_GZIP, OCI_LAYER_GZIP, OCI_LAYER_ZSTD, OCI_MANIFEST,
};
use corten_spec::{Descriptor, Family, Platform};
use corten_testing::Image;
use proptest::prelude::*;
use serde_json::{Value, json};

fn try_to<'a>(
    content: &'a Memory,
    root: &Descriptor,
    to: Family,
    unplaced: Unplaced,
) -> corten_image::Result<Converted<'a>> {
    convert(content, root, &ConvertOptions { to, unplaced })
}

/// Converts and copies, and returns where the result is and its descriptor.
#[track_caller]
fn convert_to(content: &Memory, root: &Descriptor, to: Family) -> (Memory, Descriptor) {
    let converted = try_to(content, root, to, Unplaced::Refuse).unwrap();
    let there = Memory::new();
    copy(&converted, &there, &converted.root, &CopyOptions::default()).unwrap();
    (there, converted.root)
}

fn text(content: &Memory, named: &Descriptor) -> String {
    String::from_utf8(read(content, named, 1 << 20).unwrap()).unwrap()
}

fn value(content: &Memory, named: &Descriptor) -> Value {
    serde_json::from_str(&text(content, named)).unwrap()
}

fn entry(media_type: &str, content: &Descriptor) -> Value {
    json!({"mediaType": media_type, "digest": content.digest, "size": content.size})
}

/// An image whose config has fields of Docker's and fields of nobody's.
const CONFIG: &str = r#"{ "architecture":"amd64","os":"linux","config":{"Healthcheck":{"Test":["CMD","x"],"StartInterval":5},"OnBuild":["RUN y"],"Shell":["/bin/z"],"New":1},
  "moby.x":[],"rootfs":{"type":"layers","diff_ids":["sha256:6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"]}}"#;

#[test]
fn only_media_types_change() {
    let content = Memory::new();
    let config = content.add(OCI_CONFIG, CONFIG.as_bytes());
    let layer = content.add(OCI_LAYER, b"\0");
    let written = |types: [&str; 3]| {
        let [own, of_config, of_layer] = types;
        format!(
            "{{\n  \"new\": [\"{OCI_MANIFEST}\"],\n  \"layers\": [ {{\"size\" :1, \"digest\":\"{}\",\n\"urls\":[\"https://x.io/\"],\"mediaType\":\"{of_layer}\"}} ],\n  \"config\": {{\"mediaType\": \"{of_config}\", \"size\": {}, \"digest\": \"{}\", \"odd\": null}},\n  \"mediaType\": \"{own}\",\n  \"schemaVersion\": 2\n}}\n",
            layer.digest, config.size, config.digest
        )
    };
    let oci = written([OCI_MANIFEST, OCI_CONFIG, OCI_LAYER]);
    let docker = written([DOCKER_MANIFEST, DOCKER_CONFIG, DOCKER_LAYER]);
    let root = content.add(OCI_MANIFEST, oci.as_bytes());

    let (there, converted) = convert_to(&content, &root, Family::Docker);
    assert_eq!(text(&there, &converted), docker);
    assert_eq!(
        converted,
        Descriptor::of(DOCKER_MANIFEST, docker.as_bytes())
    );
    // The config has the same bytes, hence the image the same id.
    let image = load_image(&there, &converted, &Platform::host()).unwrap();
    assert_eq!(image.config.bytes, CONFIG.as_bytes());

    let (back, again) = convert_to(&there, &converted, Family::Oci);
    assert_eq!(text(&back, &again), oci);
    assert_eq!(again, root.bare());
}

#[test]
fn a_platform_that_is_null_is_given() {
    let image = Image::builder().layer(b"\0").build();
    let mut of_image = entry(OCI_MANIFEST, &image.manifest);
    of_image["platform"] = Value::Null;
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [of_image]});
    let root = image.content.add(OCI_INDEX, index.to_string().as_bytes());
    let (there, converted) = convert_to(&image.content, &root, Family::Docker);
    let platform = &value(&there, &converted)["manifests"][0]["platform"];
    assert_eq!(platform["architecture"], image.config.architecture);
    assert_eq!(platform["os"], image.config.os);
}

#[test]
fn what_is_of_the_family_already_stays() {
    let image = Image::builder().layer(b"\0").build();
    let (content, root) = convert_to(&image.content, &image.manifest, Family::Oci);
    assert_eq!(root, image.manifest);
    let (docker, first) = convert_to(&content, &root, Family::Docker);
    let (_, second) = convert_to(&docker, &first, Family::Docker);
    assert_eq!(first, second);
}

#[test]
fn types_of_layers() {
    #[track_caller]
    fn check(oci: &'static str, docker: Option<&str>) {
        let image = Image::builder().stored_layer(oci, b"\0", b"\0").build();
        let converted = try_to(
            &image.content,
            &image.manifest,
            Family::Docker,
            Unplaced::LeaveOut,
        );
        let Some(docker) = docker else {
            let error = converted.unwrap_err();
            assert!(
                matches!(&error, Error::NoCounterpart { media_type, .. } if media_type == oci),
                "{error}"
            );
            return;
        };
        let converted = converted.unwrap();
        let there = Memory::new();
        copy(&converted, &there, &converted.root, &CopyOptions::default()).unwrap();
        assert_eq!(
            value(&there, &converted.root)["layers"][0]["mediaType"],
            docker
        );
    }
    check(OCI_LAYER, Some(DOCKER_LAYER));
    check(OCI_LAYER_GZIP, Some(DOCKER_LAYER_GZIP));
    check(OCI_LAYER_FOREIGN_GZIP, Some(DOCKER_LAYER_FOREIGN));
    check(
        OCI_LAYER_FOREIGN,
        Some("application/vnd.docker.image.rootfs.foreign.diff.tar"),
    );
    check(DOCKER_LAYER_GZIP, Some(DOCKER_LAYER_GZIP));
    check(OCI_LAYER_ZSTD, None);
}

#[test]
fn indexes_with_all_that_is_in_them() {
    let content = Memory::new();
    let image = Image::builder().layer(b"one").build_in(&content);
    let arm = Platform::new("linux", "arm64");
    let other = Image::builder()
        .layer(b"two")
        .platform(&arm)
        .build_in(&content);
    let nested = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry(OCI_MANIFEST, &other)]});
    let nested = content.add(OCI_INDEX, nested.to_string().as_bytes());
    let mut first = entry(OCI_MANIFEST, &image);
    first["platform"] =
        json!({"architecture": "amd64", "os": "linux", "features": ["sse4"], "new": 1});
    // Twice the same, as in layouts with several tags.
    let index = json!({
        "schemaVersion": 2, "mediaType": OCI_INDEX,
        "manifests": [first, entry(OCI_INDEX, &nested), entry(OCI_MANIFEST, &image)],
    });
    let root = content.add(OCI_INDEX, index.to_string().as_bytes());

    let (there, converted) = convert_to(&content, &root, Family::Docker);
    let list = value(&there, &converted);
    assert_eq!(list["mediaType"], DOCKER_INDEX);
    let entries = list["manifests"].as_array().unwrap();
    assert_eq!(entries[0]["mediaType"], DOCKER_MANIFEST);
    assert_eq!(entries[0]["platform"], index["manifests"][0]["platform"]);
    assert_eq!(entries[0]["digest"], entries[2]["digest"]);
    // A list says for each entry what it is for; this one did not.
    let platform = json!({"architecture": "amd64", "os": "linux"});
    assert_eq!(entries[2]["platform"], platform);
    assert_eq!(entries[1]["mediaType"], DOCKER_INDEX);
    let found = load_image(&there, &converted, &arm).unwrap();
    assert_eq!(found.manifest.value.layers[0].media_type, DOCKER_LAYER);
    assert_eq!(found.config.value.architecture, "arm64");
}

#[test]
fn what_has_no_place_is_refused_or_left_out() {
    #[track_caller]
    fn check(change: impl Fn(&mut Value), lost: &[&str]) {
        let image = Image::builder().layer(b"\0").build();
        let mut manifest = serde_json::to_value(&image.value).unwrap();
        change(&mut manifest);
        let root = image
            .content
            .add(OCI_MANIFEST, manifest.to_string().as_bytes());
        let error = try_to(&image.content, &root, Family::Docker, Unplaced::Refuse).unwrap_err();
        let Error::Unplaced { losses, .. } = &error else {
            panic!("{error}");
        };
        let shown: Vec<String> = losses.iter().map(ToString::to_string).collect();
        let expected: Vec<String> = lost
            .iter()
            .map(|text| text.replace("ROOT", root.digest.as_str()))
            .collect();
        assert_eq!(shown, expected);
        assert!(error.to_string().contains(&expected[0]), "{error}");

        let converted = try_to(&image.content, &root, Family::Docker, Unplaced::LeaveOut).unwrap();
        assert_eq!(&converted.losses, losses);
        let there = Memory::new();
        copy(&converted, &there, &converted.root, &CopyOptions::default()).unwrap();
        let mut plain = serde_json::to_value(&image.value).unwrap();
        plain["mediaType"] = DOCKER_MANIFEST.into();
        plain["config"]["mediaType"] = DOCKER_CONFIG.into();
        plain["layers"][0]["mediaType"] = DOCKER_LAYER.into();
        assert_eq!(value(&there, &converted.root), plain);
    }
    check(
        |manifest| manifest["annotations"] = json!({"a.b": "", "c": "d"}),
        &["`/annotations` of ROOT (a.b, c)"],
    );
    check(
        |manifest| manifest["layers"][0]["annotations"] = json!({"a": "b"}),
        &["`/layers/0/annotations` of ROOT (a)"],
    );
    check(
        |manifest| {
            manifest["subject"] = manifest["config"].clone();
            manifest["config"]["annotations"] = json!({"x": "y"});
        },
        &["`/subject` of ROOT", "`/config/annotations` of ROOT (x)"],
    );
}

#[test]
fn a_document_that_does_not_say_what_it_is() {
    let image = Image::builder().layer(b"\0").build();
    let mut manifest = serde_json::to_value(&image.value).unwrap();
    manifest.as_object_mut().unwrap().remove("mediaType");
    let root = image
        .content
        .add(OCI_MANIFEST, manifest.to_string().as_bytes());
    let (there, converted) = convert_to(&image.content, &root, Family::Docker);
    assert_eq!(value(&there, &converted)["mediaType"], DOCKER_MANIFEST);
    let (same, unchanged) = convert_to(&image.content, &root, Family::Oci);
    assert_eq!(unchanged, root);
    assert_eq!(value(&same, &unchanged), manifest);
}

#[test]
fn artifacts_are_refused() {
    let image = Image::builder().layer(b"\0").build();
    let content = &image.content;
    let blob = content.add("text/plain", b"hello");
    let empty = content.add(OCI_EMPTY, b"{}");
    let artifact = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": "x/y",
        "config": entry(OCI_EMPTY, &empty), "layers": [entry("text/plain", &blob)],
    });
    let artifact = content.add(OCI_MANIFEST, artifact.to_string().as_bytes());
    let error = try_to(content, &artifact, Family::Docker, Unplaced::LeaveOut).unwrap_err();
    let expected = format!(
        "`{}` is no image but an artifact, `x/y`, and cannot be converted to Docker's format",
        artifact.digest
    );
    assert_eq!(error.to_string(), expected);
    let (_, same) = convert_to(content, &artifact, Family::Oci);
    assert_eq!(same, artifact);

    // Beside an image, it is left out if that is what is wanted.
    let index = json!({
        "schemaVersion": 2,
        "manifests": [entry(OCI_MANIFEST, &artifact), entry(OCI_MANIFEST, &image.manifest), entry("x/y", &blob)],
    });
    let index = content.add(OCI_INDEX, index.to_string().as_bytes());
    let error = try_to(content, &index, Family::Docker, Unplaced::Refuse).unwrap_err();
    assert!(matches!(error, Error::Artifact { .. }), "{error}");
    let converted = try_to(content, &index, Family::Docker, Unplaced::LeaveOut).unwrap();
    let pointers: Vec<_> = converted.losses.iter().map(|loss| &loss.pointer).collect();
    assert_eq!(pointers, ["/manifests/0", "/manifests/2"]);
    let there = Memory::new();
    copy(&converted, &there, &converted.root, &CopyOptions::default()).unwrap();
    let list = value(&there, &converted.root);
    assert_eq!(list["manifests"].as_array().unwrap().len(), 1);

    // A plugin of Docker's has a manifest of Docker's, and is no image either.
    let plugin = json!({
        "schemaVersion": 2, "mediaType": DOCKER_MANIFEST, "layers": [],
        "config": entry("application/vnd.docker.plugin.v1+json", &empty),
    });
    let plugin = content.add(DOCKER_MANIFEST, plugin.to_string().as_bytes());
    let error = try_to(content, &plugin, Family::Oci, Unplaced::LeaveOut).unwrap_err();
    assert!(matches!(error, Error::Artifact { .. }), "{error}");
}

#[test]
fn attestations_follow_their_image() {
    let content = Memory::new();
    let image = Image::builder().layer(b"one").build_in(&content);
    let (docker, image) = convert_to(&content, &image, Family::Docker);
    let note = docker.add("application/vnd.in-toto+json", b"{}");
    let config = docker.add(OCI_CONFIG, CONFIG.as_bytes());
    let attestation = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": entry(OCI_CONFIG, &config),
        "layers": [entry("application/vnd.in-toto+json", &note)],
    });
    let attestation = docker.add(OCI_MANIFEST, attestation.to_string().as_bytes());
    let mut beside = entry(OCI_MANIFEST, &attestation);
    beside["annotations"] = json!({"vnd.docker.reference.digest": image.digest});
    let index = json!({"schemaVersion": 2, "manifests": [entry(DOCKER_MANIFEST, &image), beside]});
    let index = docker.add(OCI_INDEX, index.to_string().as_bytes());
    let (there, converted) = convert_to(&docker, &index, Family::Oci);
    let entries = &value(&there, &converted)["manifests"];
    assert_eq!(
        entries[1]["annotations"]["vnd.docker.reference.digest"],
        entries[0]["digest"]
    );
    assert_ne!(entries[0]["digest"], image.digest.as_str());
    assert_eq!(entries[1]["digest"], attestation.digest.as_str());
}

#[test]
fn embedded_copies_do_not_outlive_what_they_copy() {
    let content = Memory::new();
    let image = Image::builder().layer(b"one").build_in(&content);
    let (docker, image) = convert_to(&content, &image, Family::Docker);
    let mut embedded = entry(DOCKER_MANIFEST, &image);
    embedded["data"] = "e30=".into();
    let right = {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(text(&docker, &image))
    };
    embedded["data"] = right.into();
    let index = json!({"schemaVersion": 2, "manifests": [embedded]});
    let index = docker.add(OCI_INDEX, index.to_string().as_bytes());
    let (there, converted) = convert_to(&docker, &index, Family::Oci);
    assert_eq!(value(&there, &converted)["manifests"][0].get("data"), None);
}

#[test]
fn schema_1_is_refused_by_name() {
    let content = Memory::new();
    let old = content.add(
        DOCKER_SCHEMA1_SIGNED,
        br#"{"schemaVersion":1,"fsLayers":[]}"#,
    );
    let error = try_to(&content, &old, Family::Oci, Unplaced::Refuse).unwrap_err();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    assert!(text.contains("of Docker's schema 1"), "{text}");
    assert!(text.contains(DOCKER_SCHEMA1_SIGNED), "{text}");
}

/// Fields that no specification names, in any order and with any white space.
fn extra_fields() -> impl Strategy<Value = Value> {
    let value = prop_oneof![
        Just(json!(null)),
        Just(json!([1.5, "a,\"}", {}])),
        Just(json!({"mediaType": OCI_LAYER, "x": OCI_MANIFEST})),
        any::<i64>().prop_map(|number| json!(number)),
    ];
    proptest::collection::btree_map("[x-z\"\\\\{]{1,4}", value, 0..3)
        .prop_map(|fields| serde_json::to_value(fields).unwrap())
}

fn merged(mut document: Value, extra: &Value) -> Value {
    let fields = document.as_object_mut().unwrap();
    fields.extend(extra.as_object().unwrap().clone());
    document
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn there_and_back_gives_the_same_bytes(
        layers in proptest::collection::vec((0..4_usize, any::<u8>(), extra_fields()), 0..4),
        of_manifest in extra_fields(),
        of_index in extra_fields(),
        is_pretty: bool,
    ) {
        const TYPES: [&str; 4] = [OCI_LAYER, OCI_LAYER_GZIP, OCI_LAYER_FOREIGN, OCI_LAYER_FOREIGN_GZIP];
        let content = Memory::new();
        let write = |value: &Value| if is_pretty {
            format!("{value:#}\n")
        } else {
            value.to_string()
        };
        let config = content.add(OCI_CONFIG, CONFIG.as_bytes());
        let layers: Vec<Value> = layers
            .iter()
            .map(|(kind, byte, extra)| {
                let layer = content.add(TYPES[*kind], &[*byte]);
                merged(entry(TYPES[*kind], &layer), extra)
            })
            .collect();
        let manifest = merged(json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST,
            "config": entry(OCI_CONFIG, &config), "layers": layers,
        }), &of_manifest);
        let manifest = content.add(OCI_MANIFEST, write(&manifest).as_bytes());
        let mut listed = entry(OCI_MANIFEST, &manifest);
        listed["platform"] = json!({"os": "linux", "architecture": "amd64", "features": ["f"]});
        let index = merged(json!({
            "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [listed],
        }), &of_index);
        let index = content.add(OCI_INDEX, write(&index).as_bytes());

        let (docker, converted) = convert_to(&content, &index, Family::Docker);
        prop_assert_ne!(&converted.digest, &index.digest);
        let (back, again) = convert_to(&docker, &converted, Family::Oci);
        prop_assert_eq!(&again, &index);
        prop_assert_eq!(text(&back, &again), text(&content, &index));
        prop_assert!(read(&back, &manifest, 1 << 20).is_ok());
    }
}
