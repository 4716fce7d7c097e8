use corten_content::Memory;
use corten_image::{Finding, Layers, Level, ValidateOptions, Within, validate};
use corten_spec::{Descriptor, Digest, Manifest, Platform, document, media_type};
use corten_tar::{Compression, EntryKind};
use corten_testing::{Image, image};
use serde_json::{Value, json};

use crate::archive::{compress, directory, file, link, tar};

fn findings(content: &Memory, root: &Descriptor) -> Vec<Finding> {
    validate(content, root, &ValidateOptions::default()).unwrap()
}

/// Returns findings as `level requirement place-within`.
fn brief(findings: &[Finding]) -> Vec<String> {
    let show = |finding: &Finding| {
        let within = match &finding.place.within {
            Within::Whole => String::new(),
            Within::Pointer(pointer) => pointer.clone(),
            Within::Entry { path, .. } => path.to_string(),
            Within::Byte(offset) => offset.to_string(),
            Within::File { path, pointer } => format!("{path}#{pointer}"),
        };
        format!("{} {} {within}", finding.level, finding.requirement)
            .trim()
            .to_owned()
    };
    findings.iter().map(show).collect()
}

#[track_caller]
fn expect(content: &Memory, root: &Descriptor, expected: &[&str]) {
    let found = findings(content, root);
    assert_eq!(brief(&found), expected, "{found:#?}");
}

fn small() -> Vec<u8> {
    tar(&[directory("etc"), file("etc/motd", "hello")])
}

/// Makes an image whose documents are changed as JSON, with digests that are right.
fn changed(
    change_config: impl Fn(&mut Value),
    change_manifest: impl Fn(&mut Value),
) -> (Memory, Descriptor) {
    let image = Image::builder().layer(&small()).build();
    let mut config = serde_json::to_value(&image.config).unwrap();
    change_config(&mut config);
    let config = image
        .content
        .add(media_type::OCI_CONFIG, &document::to_bytes(&config));
    let manifest = Manifest::oci(config, image.value.layers.clone());
    let mut manifest = serde_json::to_value(manifest).unwrap();
    change_manifest(&mut manifest);
    let manifest = image
        .content
        .add(media_type::OCI_MANIFEST, &document::to_bytes(&manifest));
    (image.content, manifest)
}

#[test]
fn nothing_is_wrong_with_good_images() {
    let gzip = compress(&small(), Compression::Gzip);
    let zstd = compress(&small(), Compression::Zstd);
    let image = Image::builder()
        .layer(&small())
        .stored_layer(media_type::OCI_LAYER_GZIP, &gzip, &small())
        .stored_layer(media_type::DOCKER_LAYER_ZSTD, &zstd, &small())
        .build();
    expect(&image.content, &image.manifest, &[]);
    let index = image::index(&image.content, vec![image.manifest.clone()]);
    expect(&image.content, &index, &[]);
}

#[test]
fn configs() {
    #[track_caller]
    fn check(change: impl Fn(&mut Value), expected: &[&str]) {
        let (content, manifest) = changed(change, |_| ());
        expect(&content, &manifest, expected);
    }
    let set = |pointer: &'static str, value: Value| {
        move |config: &mut Value| {
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            if parent == "/config" && config.get("config").is_none() {
                config["config"] = json!({});
            }
            config.pointer_mut(parent).unwrap()[name] = value.clone();
        }
    };
    let remove = |name: &'static str| {
        move |config: &mut Value| {
            config.as_object_mut().unwrap().remove(name);
        }
    };
    check(remove("architecture"), &["must CFG-10 /architecture"]);
    check(remove("os"), &["must CFG-11 /os"]);
    check(
        remove("rootfs"),
        &["must CFG-30 /rootfs", "must CFG-33 /layers"],
    );
    check(
        set("/rootfs/type", json!("squash")),
        &["must CFG-31 /rootfs/type"],
    );
    check(
        set("/rootfs/diff_ids", json!(["sha256:zz"])),
        &["must DSC-21 /rootfs/diff_ids/0"],
    );
    check(set("/rootfs/diff_ids", json!([])), &["must CFG-33 /layers"]);
    check(
        set(
            "/rootfs/diff_ids",
            json!([Digest::sha256(b"other").to_string()]),
        ),
        &["must CFG-02"],
    );
    check(
        set("/created", json!("yesterday")),
        &["must CFG-09 /created"],
    );
    check(set("/created", json!("2020-01-01T00:00:00.1+02:00")), &[]);
    check(set("/history", json!([{"created_by": "x"}])), &[]);
    check(set("/history", json!([])), &["should CFG-36 /history"]);
    check(
        set("/history", json!([{"empty_layer": true}, {}, {}])),
        &["should CFG-36 /history"],
    );
    check(
        set("/history", json!([{"created_by": 5}])),
        &["must CFG-35 /history/0/created_by"],
    );
    check(set("/author", Value::Null), &[]);
    check(
        set("/config/Env", json!(["A=b", "=x"])),
        &["must CFG-18 /config/Env/1"],
    );
    check(
        set("/config/Env", json!(["BARE"])),
        &["should CFG-18 /config/Env/0"],
    );
    check(
        set("/config/Labels", json!({"a/b": 1})),
        &["must ANN-01 /config/Labels/a~1b"],
    );
    check(
        set("/config/Volumes", json!(["/a"])),
        &["must CFG-22 /config/Volumes"],
    );
    check(
        set("/config/ExposedPorts", json!({"80/tcp": {}, "1-2": {}})),
        &["should CFG-17 /config/ExposedPorts/1-2"],
    );
    check(
        set("/config/StopSignal", json!("SIGNOPE")),
        &["should CFG-25 /config/StopSignal"],
    );
    check(
        set("/config/WorkingDir", json!("app")),
        &["should CFG-23 /config/WorkingDir"],
    );
    check(
        set("/config/ArgsEscaped", json!(true)),
        &["note CFG-26 /config/ArgsEscaped"],
    );
    check(set("/config/New", json!({"x": 1})), &[]);
    check(
        set("/config/Entrypoint", json!("x")),
        &["must CFG-19 /config/Entrypoint"],
    );
    check(|config| *config = json!([]), &["must MAN-01"]);
}

#[test]
fn manifests() {
    #[track_caller]
    fn check(change: impl Fn(&mut Value), expected: &[&str]) {
        let (content, manifest) = changed(|_| (), change);
        expect(&content, &manifest, expected);
    }
    let set = |name: &'static str, value: Value| {
        move |manifest: &mut Value| manifest[name] = value.clone()
    };
    check(
        set("schemaVersion", json!(1)),
        &["must MAN-02 /schemaVersion"],
    );
    check(
        set("schemaVersion", json!("2")),
        &["must MAN-02 /schemaVersion"],
    );
    check(
        |manifest| drop(manifest.as_object_mut().unwrap().remove("mediaType")),
        &["should MAN-03 /mediaType"],
    );
    check(
        set("mediaType", json!(media_type::OCI_INDEX)),
        &["must MAN-04 /mediaType"],
    );
    check(set("manifests", json!([])), &["must MT-03 /manifests"]);
    check(
        set("layers", Value::Null),
        &["must MAN-11 /layers", "must CFG-33 /layers"],
    );
    check(
        set("layers", json!([])),
        &["should MAN-12 /layers", "must CFG-33 /layers"],
    );
    check(
        set("artifactType", json!("x")),
        &["must MAN-06 /artifactType"],
    );
    check(
        set("annotations", json!({"a.b": 1})),
        &["must ANN-01 /annotations/a.b"],
    );
    check(
        |manifest| drop(manifest.as_object_mut().unwrap().remove("config")),
        &["must MAN-08 /config"],
    );
    check(
        |manifest| manifest["layers"][0]["urls"] = json!(["ftp://x/y"]),
        &["should DSC-08 /layers/0/urls/0"],
    );
    check(
        |manifest| manifest["layers"][0]["size"] = json!(-1),
        &["must DSC-06 /layers/0/size"],
    );
    check(
        |manifest| manifest["layers"][0]["mediaType"] = json!("x"),
        &[
            "must DSC-02 /layers/0/mediaType",
            "should ART-02 /config/mediaType",
        ],
    );
    check(
        |manifest| manifest["layers"][0]["size"] = json!(1),
        &["must DSC-05"],
    );
    check(
        |manifest| manifest["layers"][0]["data"] = json!("e30="),
        &["must DSC-11 /layers/0/data"],
    );
    check(
        |manifest| manifest["layers"][0]["mediaType"] = json!(media_type::OCI_LAYER_GZIP),
        &["should LYR-01"],
    );
    check(
        |manifest| manifest["layers"][0]["mediaType"] = json!(media_type::OCI_LAYER_FOREIGN),
        &["note LYR-50 /layers/0/mediaType"],
    );
    check(
        |manifest| manifest["layers"][0]["mediaType"] = json!("text/plain"),
        &["should ART-02 /config/mediaType"],
    );
}

#[test]
fn names_that_occur_twice() {
    let content = Memory::new();
    let bytes = br#"{"schemaVersion":2,"schemaVersion":2,"layers":[]}"#;
    let manifest = content.add(media_type::OCI_MANIFEST, bytes);
    expect(&content, &manifest, &["must CNS-07"]);
}

#[test]
fn indexes() {
    #[track_caller]
    fn check(change: impl Fn(&mut Value), expected: &[&str]) {
        let image = Image::builder().layer(&small()).build();
        let entry = serde_json::to_value(&image.manifest).unwrap();
        let mut index = json!({
            "schemaVersion": 2,
            "mediaType": media_type::OCI_INDEX,
            "manifests": [entry],
        });
        change(&mut index);
        let index = image
            .content
            .add(media_type::OCI_INDEX, &document::to_bytes(&index));
        expect(&image.content, &index, expected);
    }
    check(|_| (), &[]);
    check(
        |index| index["schemaVersion"] = json!(3),
        &["must IDX-02 /schemaVersion"],
    );
    check(
        |index| index["manifests"] = Value::Null,
        &["must IDX-06 /manifests"],
    );
    check(|index| index["layers"] = json!([]), &["must MT-03 /layers"]);
    check(
        |index| index["manifests"][0]["platform"] = json!({"os": "linux"}),
        &["must IDX-09 /manifests/0/platform/architecture"],
    );
    check(
        |index| index["manifests"][0]["platform"]["architecture"] = json!("s390x"),
        &["should IDX-07 /manifests/0/platform"],
    );
    check(
        |index| {
            let digest = Digest::sha256(b"gone").to_string();
            let gone = json!({"mediaType": media_type::OCI_MANIFEST, "digest": digest, "size": 4});
            index["manifests"].as_array_mut().unwrap().push(gone);
        },
        &["should LAY-13"],
    );
    check(
        |index| index["manifests"][0]["mediaType"] = json!("text/plain"),
        &["note IDX-17 /manifests/0/mediaType"],
    );
    check(
        |index| index["manifests"][0]["mediaType"] = json!(media_type::DOCKER_SCHEMA1),
        &["note IDX-17 /manifests/0/mediaType", "must V2S2-09"],
    );
}

#[test]
fn a_cycle_of_indexes_ends() {
    // No index can hold its own digest, but a place may answer with other bytes.
    let content = Memory::new();
    let digest = Digest::sha256(b"itself");
    let entry = json!({"mediaType": media_type::OCI_INDEX, "digest": digest, "size": 10});
    let bytes = document::to_bytes(&json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_INDEX,
        "manifests": [entry],
    }));
    content.add_unchecked(&digest, &bytes);
    let index = Descriptor::new(media_type::OCI_INDEX, digest, bytes.len() as u64);
    expect(&content, &index, &["must DSC-16"]);
}

#[test]
fn every_layer_is_checked_whatever_the_others_are() {
    let broken = tar(&[file("a/.wh.", "")]);
    let image = Image::builder()
        .layer(&tar(&[directory("etc"), file("etc/a", "1")]))
        .layer(&broken)
        .layer(&tar(&[
            file("b", "2"),
            link(EntryKind::HardLink, "c", "etc/a"),
        ]))
        .build();
    expect(
        &image.content,
        &image.manifest,
        &["must LYR-29 a/.wh.", "note LYR-19 c"],
    );
    // A blob that is gone, one that is not what it says, one with a wrong DiffID: all are told.
    let [first, second, third] = image.value.layers.as_slice() else {
        panic!("three layers")
    };
    image.content.remove(&first.digest);
    image.content.add_unchecked(
        &second.digest,
        &vec![1; usize::try_from(second.size).unwrap()],
    );
    image.content.add_unchecked(&third.digest, b"short");
    expect(
        &image.content,
        &image.manifest,
        &["must LAY-13", "must DSC-16", "must DSC-05"],
    );
}

#[test]
fn layers() {
    #[track_caller]
    fn check(layer: &[u8], expected: &[&str]) {
        let image = Image::builder().layer(&small()).layer(layer).build();
        expect(&image.content, &image.manifest, expected);
    }
    check(&tar(&[file("etc/.wh.motd", "")]), &[]);
    check(
        &tar(&[file("etc/.wh.other", "")]),
        &["note LYR-39 etc/.wh.other"],
    );
    check(&tar(&[file(".wh.x/y", "1")]), &["should LYR-31 .wh.x/y"]);
    check(
        &tar(&[link(EntryKind::HardLink, "x", "missing")]),
        &["must LYR-20 x"],
    );
    let mut cut = small();
    cut.truncate(1026);
    check(&cut, &["must LYR-02 1026"]);
    let duplicate = [&tar(&[file("x", "1")])[..1024], &tar(&[file("x", "2")])].concat();
    check(&duplicate, &["must LYR-04 x"]);
}

#[test]
fn damaged_compression_is_not_a_wrong_digest() {
    let mut gzip = compress(&small(), Compression::Gzip);
    let middle = gzip.len() / 2;
    gzip[middle] ^= 0xff;
    let image = Image::builder()
        .stored_layer(media_type::OCI_LAYER_GZIP, &gzip, &small())
        .build();
    expect(&image.content, &image.manifest, &["must LYR-01"]);
}

#[test]
fn artifacts_are_bytes() {
    let content = Memory::new();
    let config = content.add("application/x.config", &[0xff; 100]);
    let layer = content.add("text/plain", b"hello");
    let manifest = Manifest::oci(config, vec![layer.clone()]);
    let manifest = content.add(media_type::OCI_MANIFEST, &document::to_bytes(&manifest));
    expect(&content, &manifest, &[]);
    content.add_unchecked(&layer.digest, b"jello");
    expect(&content, &manifest, &["must DSC-16"]);
    let empty = content.add(media_type::OCI_EMPTY, b"{}");
    let manifest = Manifest::oci(empty, vec![]);
    let manifest = content.add(media_type::OCI_MANIFEST, &document::to_bytes(&manifest));
    expect(
        &content,
        &manifest,
        &["should MAN-23 /layers", "must MAN-05 /artifactType"],
    );
}

#[test]
fn layers_can_be_left_alone() {
    let image = Image::builder()
        .layer(b"no tar")
        .platform(&Platform::new("linux", "arm64"))
        .build();
    let options = ValidateOptions {
        layers: Layers::Skip,
        ..ValidateOptions::default()
    };
    let found = validate(&image.content, &image.manifest, &options).unwrap();
    assert_eq!(found, []);
    let found = findings(&image.content, &image.manifest);
    assert_eq!(
        found.iter().map(|found| found.level).min(),
        Some(Level::Must)
    );
}
