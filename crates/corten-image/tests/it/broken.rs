//! For every requirement that a document or a layer can break: content that does, and the finding.

use std::collections::BTreeSet;

use corten_image::{Finding, Level, ValidateOptions, Within, requirements, validate};
use corten_spec::{Descriptor, Digest, document, media_type};
use corten_tar::{Compression, Entry, EntryKind};
use corten_testing::Image;
use serde_json::{Value, json};

use crate::archive::{Item, Raw, compress, directory, file, link, tar};
use crate::layouts;

/// Content that breaks a requirement, and where that is found.
struct Case {
    level: &'static str,
    id: &'static str,
    at: &'static str,
    /// What else must be found, since the one cannot be broken without the other.
    also: &'static [&'static str],
    findings: Vec<Finding>,
}

/// Returns where a finding is, within its content.
pub(crate) fn within(finding: &Finding) -> String {
    match &finding.place.within {
        Within::Whole => String::new(),
        Within::Pointer(pointer) => pointer.clone(),
        Within::Entry { path, offset } => format!("{path}@{offset}"),
        Within::Byte(offset) => format!("@{offset}"),
        Within::File { path, pointer } if pointer.is_empty() => path.clone(),
        Within::File { path, pointer } => format!("{path}#{pointer}"),
    }
}

impl Case {
    /// Returns what is wrong with what was found.
    fn problem(&self) -> Option<String> {
        let Self { level, id, at, .. } = self;
        let is_it = |finding: &&Finding| {
            finding.level.to_string() == *level
                && finding.requirement == *id
                && within(finding) == *at
        };
        let findings = &self.findings;
        let problem = |what| Some(format!("{level} {id} {at}: {what}: {findings:#?}"));
        let Some(found) = findings.iter().find(is_it) else {
            return problem("it is not found".to_owned());
        };
        if found.advice.is_none() || found.message.is_empty() {
            return problem("it does not say what to do".to_owned());
        }
        for other in findings {
            let is_expected = other.requirement == *id || self.also.contains(&other.requirement);
            if !is_expected && other.level == Level::Must {
                return problem(format!("{} is found, too", other.requirement));
            }
        }
        let is_missing = |id: &&&str| !findings.iter().any(|other| other.requirement == **id);
        let missing = self.also.iter().find(is_missing)?;
        problem(format!("{missing} is not found"))
    }
}

/// Splits `LEVEL ID AT`.
fn case(expected: &'static str, findings: Vec<Finding>) -> Case {
    let mut words = expected.splitn(3, ' ');
    Case {
        level: words.next().unwrap(),
        id: words.next().unwrap(),
        at: words.next().unwrap_or_default(),
        also: &[],
        findings,
    }
}

fn also(also: &'static [&'static str], case: Case) -> Case {
    Case { also, ..case }
}

fn base() -> Vec<u8> {
    tar(&[directory("etc"), file("etc/motd", "hello")])
}

/// Validates an index of an image, its documents changed one after the other.
fn documents(
    config: impl FnOnce(&mut Value),
    manifest: impl FnOnce(&mut Value),
    index: impl FnOnce(&mut Value),
) -> Vec<Finding> {
    let image = Image::builder().layer(&base()).build();
    let other: Digest = "foo+bar:x".parse().unwrap();
    image.content.add_unchecked(&other, &base());
    let mut value = serde_json::to_value(&image.config).unwrap();
    value["config"] = json!({});
    config(&mut value);
    let stored = image
        .content
        .add(media_type::OCI_CONFIG, &document::to_bytes(&value));
    let mut value = serde_json::to_value(&image.value).unwrap();
    value["config"] = serde_json::to_value(stored).unwrap();
    manifest(&mut value);
    let manifest_type = value["mediaType"]
        .as_str()
        .unwrap_or(media_type::OCI_MANIFEST);
    let is_docker = manifest_type == media_type::DOCKER_MANIFEST;
    let manifest_type = if is_docker {
        media_type::DOCKER_MANIFEST
    } else {
        media_type::OCI_MANIFEST
    };
    let stored = image
        .content
        .add(manifest_type, &document::to_bytes(&value));
    let mut value = json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_INDEX,
        "manifests": [stored],
    });
    value["manifests"][0]["platform"] = json!({"os": "linux", "architecture": "amd64"});
    index(&mut value);
    let index = document::to_bytes(&value);
    let index = image.content.add(media_type::OCI_INDEX, &index);
    validate(&image.content, &index, &ValidateOptions::default()).unwrap()
}

fn config(expected: &'static str, change: impl FnOnce(&mut Value)) -> Case {
    case(expected, documents(change, |_| (), |_| ()))
}

fn manifest(expected: &'static str, change: impl FnOnce(&mut Value)) -> Case {
    case(expected, documents(|_| (), change, |_| ()))
}

fn index(expected: &'static str, change: impl FnOnce(&mut Value)) -> Case {
    case(expected, documents(|_| (), |_| (), change))
}

/// Sets the value at `pointer`, whose parent is there.
fn set(pointer: &'static str, value: Value) -> impl FnOnce(&mut Value) {
    move |document| {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        match document.pointer_mut(parent) {
            Some(Value::Object(fields)) => drop(fields.insert(name.to_owned(), value)),
            Some(Value::Array(items)) => items[name.parse::<usize>().unwrap()] = value,
            other => panic!("{parent} is {other:?}"),
        }
    }
}

fn remove(pointer: &'static str) -> impl FnOnce(&mut Value) {
    move |document| {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        let fields = document
            .pointer_mut(parent)
            .unwrap()
            .as_object_mut()
            .unwrap();
        fields.remove(name).unwrap();
    }
}

/// Validates bytes that are to be a manifest.
fn bytes(expected: &'static str, bytes: &[u8]) -> Case {
    let content = corten_content::Memory::new();
    let manifest = content.add(media_type::OCI_MANIFEST, bytes);
    let findings = validate(&content, &manifest, &ValidateOptions::default()).unwrap();
    case(expected, findings)
}

/// Validates a layer on top of another.
fn layer(expected: &'static str, tar: &[u8]) -> Case {
    stored_layer(expected, media_type::OCI_LAYER, tar, tar)
}

fn raw(expected: &'static str, archive: Raw) -> Case {
    layer(expected, &archive.end())
}

fn items(expected: &'static str, items: &[Item]) -> Case {
    layer(expected, &tar(items))
}

fn stored_layer(expected: &'static str, media_type: &'static str, blob: &[u8], tar: &[u8]) -> Case {
    let image = Image::builder()
        .layer(&base())
        .stored_layer(media_type, blob, tar)
        .build();
    let findings = validate(&image.content, &image.manifest, &ValidateOptions::default());
    case(expected, findings.unwrap())
}

/// Validates an artifact with a config and layers of these types.
fn artifact(expected: &'static str, change: impl FnOnce(&mut Value)) -> Case {
    let content = corten_content::Memory::new();
    let empty = content.add(media_type::OCI_EMPTY, b"{}");
    content.add(media_type::OCI_CONFIG, b"{}");
    let mut value = json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_MANIFEST,
        "artifactType": "application/x",
        "config": empty,
        "layers": [content.add("text/plain", b"hello")],
    });
    change(&mut value);
    let manifest = content.add(media_type::OCI_MANIFEST, &document::to_bytes(&value));
    let findings = validate(&content, &manifest, &ValidateOptions::default()).unwrap();
    case(expected, findings)
}

fn layout(expected: &'static str, damage: impl Fn(&std::path::Path, &Image)) -> Case {
    case(expected, layouts::damaged(damage))
}

fn descriptors() -> Vec<Case> {
    let long = format!("sha256:{}", "a".repeat(65));
    vec![
        manifest("must DSC-01 /config", set("/config", json!({}))),
        manifest(
            "must DSC-02 /layers/0/mediaType",
            set("/layers/0/mediaType", json!("x")),
        ),
        manifest(
            "must DSC-02 /layers/0/mediaType",
            set("/layers/0/mediaType", json!(null)),
        ),
        manifest("must DSC-05", set("/layers/0/size", json!(7))),
        manifest(
            "must DSC-05 /layers/0/size",
            set("/layers/0/size", json!("12")),
        ),
        manifest(
            "must DSC-05 /layers/0/size",
            set("/layers/0/size", json!(1_u64 << 63)),
        ),
        index(
            "must DSC-06 /manifests/0/size",
            set("/manifests/0/size", json!(-1)),
        ),
        manifest(
            "must DSC-07 /layers/0/urls/0",
            set("/layers/0/urls", json!(["a b"])),
        ),
        manifest(
            "should DSC-08 /layers/0/urls/0",
            set("/layers/0/urls", json!(["ftp://x/y"])),
        ),
        manifest(
            "must DSC-09 /config/annotations",
            set("/config/annotations", json!([])),
        ),
        index(
            "must DSC-10 /manifests/0/data",
            set("/manifests/0/data", json!("e30")),
        ),
        manifest(
            "must DSC-11 /layers/0/data",
            set("/layers/0/data", json!("e30=")),
        ),
        index(
            "must DSC-12 /manifests/0/artifactType",
            set("/manifests/0/artifactType", json!("x")),
        ),
        index(
            "should DSC-12 /manifests/0/artifactType",
            set("/manifests/0/artifactType", json!("x/y")),
        ),
        index("note DSC-13 /manifests/0", remove("/manifests/0/platform")),
        manifest(
            "must DSC-14 /layers/0/digest",
            set("/layers/0/digest", json!("sha256")),
        ),
        manifest(
            "must DSC-14 /layers/0/digest",
            set("/layers/0/digest", json!("sha256+foo+-b:x")),
        ),
        manifest("should DSC-15", set("/layers/0/digest", json!("foo+bar:x"))),
        also(
            &["LAY-13"],
            manifest(
                "must LAY-13",
                set("/layers/0/digest", json!(Digest::sha256(b"gone"))),
            ),
        ),
        manifest(
            "must DSC-21 /layers/0/digest",
            set("/layers/0/digest", json!(long)),
        ),
        manifest(
            "must DSC-21 /layers/0/digest",
            set(
                "/layers/0/digest",
                json!(format!("sha256:{}", "A".repeat(64))),
            ),
        ),
        manifest(
            "must DSC-21 /layers/0/digest",
            set(
                "/layers/0/digest",
                json!(format!("sha512:{}", "a".repeat(64))),
            ),
        ),
        index(
            "must IDX-09 /manifests/0/platform/architecture",
            remove("/manifests/0/platform/architecture"),
        ),
        index(
            "must IDX-09 /manifests/0/platform",
            set("/manifests/0/platform", json!(null)),
        ),
        index(
            "should IDX-09 /manifests/0/platform/architecture",
            set("/manifests/0/platform/architecture", json!("x86_64")),
        ),
        index(
            "must IDX-10 /manifests/0/platform/os",
            remove("/manifests/0/platform/os"),
        ),
        index(
            "should IDX-10 /manifests/0/platform/os",
            set("/manifests/0/platform/os", json!("Linux")),
        ),
        index(
            "must IDX-11 /manifests/0/platform/os.version",
            set("/manifests/0/platform/os.version", json!(1)),
        ),
        index(
            "must IDX-12 /manifests/0/platform/os.features",
            set("/manifests/0/platform/os.features", json!("x")),
        ),
        index(
            "should IDX-12 /manifests/0/platform/os.features/0",
            set(
                "/manifests/0/platform",
                json!({"os":"windows","architecture":"amd64","os.features":["x"]}),
            ),
        ),
        index(
            "should IDX-13 /manifests/0/platform/variant",
            set("/manifests/0/platform/variant", json!("3")),
        ),
        index(
            "must IDX-13 /manifests/0/platform/variant",
            set("/manifests/0/platform/variant", json!(3)),
        ),
        manifest(
            "should MAN-22 /layers/0/digest",
            set("/layers/0/mediaType", json!(media_type::OCI_EMPTY)),
        ),
    ]
}

fn indexes() -> Vec<Case> {
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

fn manifests() -> Vec<Case> {
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

impl Case {
    fn with(self, others: &'static [&'static str]) -> Self {
        also(others, self)
    }
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

fn configs() -> Vec<Case> {
    let other = json!([Digest::sha256(b"other")]);
    vec![
        config("must CFG-02", set("/rootfs/diff_ids", other)),
        config("must CFG-06 /author", set("/author", json!(5))),
        config("must CFG-09 /created", set("/created", json!("yesterday"))),
        config("must CFG-09 /created", set("/created", json!("2020-01-01"))),
        config("must CFG-10 /architecture", remove("/architecture")),
        config(
            "should CFG-10 /architecture",
            set("/architecture", json!("aarch64")),
        ),
        config("must CFG-11 /os", set("/os", json!(null))),
        config("must CFG-12 /os.version", set("/os.version", json!([]))),
        config("must CFG-13 /os.features", set("/os.features", json!({}))),
        config("should CFG-14 /variant", set("/variant", json!("v9"))),
        config("must CFG-15 /config", set("/config", json!([]))),
        config("must CFG-16 /config/User", set("/config/User", json!(0))),
        config(
            "should CFG-16 /config/User",
            set("/config/User", json!("a:b:c")),
        ),
        config(
            "must CFG-17 /config/ExposedPorts",
            set("/config/ExposedPorts", json!(["80"])),
        ),
        config(
            "must CFG-17 /config/ExposedPorts/80",
            set("/config/ExposedPorts", json!({"80": null})),
        ),
        config(
            "should CFG-17 /config/ExposedPorts/1-2~1tcp",
            set("/config/ExposedPorts", json!({"1-2/tcp": {}})),
        ),
        config(
            "must CFG-18 /config/Env/1",
            set("/config/Env", json!(["A=b", "=x"])),
        ),
        config(
            "must CFG-18 /config/Env",
            set("/config/Env", json!({"A": "b"})),
        ),
        config(
            "should CFG-18 /config/Env/0",
            set("/config/Env", json!(["BARE"])),
        ),
        config(
            "must CFG-19 /config/Entrypoint",
            set("/config/Entrypoint", json!("x")),
        ),
        config("must CFG-20 /config/Cmd/0", set("/config/Cmd", json!([1]))),
        config(
            "must CFG-22 /config/Volumes",
            set("/config/Volumes", json!(["/a"])),
        ),
        config(
            "must CFG-23 /config/WorkingDir",
            set("/config/WorkingDir", json!(1)),
        ),
        config(
            "should CFG-23 /config/WorkingDir",
            set("/config/WorkingDir", json!("app")),
        ),
        config(
            "must CFG-24 /config/Labels",
            set("/config/Labels", json!(["a=b"])),
        ),
        config(
            "should CFG-25 /config/StopSignal",
            set("/config/StopSignal", json!("SIGNOPE")),
        ),
        config(
            "note CFG-26 /config/ArgsEscaped",
            set("/config/ArgsEscaped", json!(true)),
        ),
        config(
            "must CFG-26 /config/ArgsEscaped",
            set("/config/ArgsEscaped", json!("yes")),
        ),
        also(
            &["CFG-33"],
            config("must CFG-30 /rootfs", remove("/rootfs")),
        ),
        config(
            "must CFG-31 /rootfs/type",
            set("/rootfs/type", json!("squash")),
        ),
        also(
            &["CFG-33"],
            config("must CFG-32 /rootfs/diff_ids", remove("/rootfs/diff_ids")),
        ),
        config("must CFG-33 /layers", set("/rootfs/diff_ids", json!([]))),
        config("must CFG-34 /history", set("/history", json!({}))),
        config(
            "must CFG-35 /history/0/created_by",
            set("/history", json!([{"created_by": 5}])),
        ),
        config("should CFG-36 /history", set("/history", json!([{}, {}]))),
        config(
            "must DKR-13 /config/Healthcheck",
            set("/config/Healthcheck", json!("x")),
        ),
        config(
            "must DKR-13 /config/Healthcheck/Interval",
            set(
                "/config/Healthcheck",
                json!({"Test": ["NONE"], "Interval": "1s"}),
            ),
        ),
        config(
            "should DKR-13 /config/Healthcheck/Test",
            set("/config/Healthcheck", json!({"Test": ["true"]})),
        ),
        config(
            "must DKR-14 /config/OnBuild",
            set("/config/OnBuild", json!("RUN x")),
        ),
        config(
            "must DKR-14 /config/Shell/0",
            set("/config/Shell", json!([null])),
        ),
    ]
}

fn annotations() -> Vec<Case> {
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

fn json_itself() -> Vec<Case> {
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    vec![
        bytes("must CNS-04", b"{"),
        bytes("must CNS-04", br#"{"a":"\ud800"}"#),
        manifest(
            "must CNS-04 /annotations/a.b",
            set("/annotations", json!({"a.b": "\u{fffe}"})),
        ),
        bytes("must CNS-05", b"\xef\xbb\xbf{}"),
        bytes("must CNS-05", b"{\"\xe4\":1}"),
        manifest("should CNS-06 /new", set("/new", json!((1_u64 << 53) + 1))),
        bytes("must CNS-07", br#"{"schemaVersion":2,"a":{"b":1,"b":1}}"#),
        bytes("must CNS-09", format!(r#"{{"a":{deep}}}"#).as_bytes()),
        bytes("must CNS-09", &vec![b' '; 5 << 20]),
    ]
}

fn layouts_themselves() -> Vec<Case> {
    let header = |expected, text: &'static str| {
        layout(expected, move |dir, _| {
            layouts::write(&dir.join("oci-layout"), text.as_bytes());
        })
    };
    vec![
        also(
            &["LAY-13"],
            layout("must LAY-02 blobs", |dir, _| {
                std::fs::remove_dir_all(dir.join("blobs")).unwrap();
            }),
        ),
        layout("must LAY-03 oci-layout", |dir, _| {
            std::fs::remove_file(dir.join("oci-layout")).unwrap();
        }),
        header("must LAY-04 oci-layout", r#"["1.0.0"]"#),
        header("must LAY-04 oci-layout", "1.0.0"),
        header("must LAY-05 oci-layout#/imageLayoutVersion", "{}"),
        header(
            "must LAY-05 oci-layout#/imageLayoutVersion",
            r#"{"imageLayoutVersion":"2.0.0"}"#,
        ),
        layout("must LAY-07 index.json", |dir, _| {
            std::fs::remove_file(dir.join("index.json")).unwrap();
        }),
        layout("must LAY-08 index.json", |dir, image| {
            layouts::write(&dir.join("index.json"), &document::to_bytes(&image.value));
        }),
        layout("must LAY-10", |dir, _| {
            let bad = Digest::sha256(b"bad");
            layouts::write(&dir.join("blobs/sha256").join(bad.encoded()), b"worse");
        }),
        layout("must LAY-11 blobs/sha256/ABC", |dir, _| {
            layouts::write(&dir.join("blobs/sha256/ABC"), b"");
        }),
        layout("must LAY-11 blobs/X!/a", |dir, _| {
            layouts::write(&dir.join("blobs/X!/a"), b"");
        }),
        layout("must LAY-11 blobs/stray", |dir, _| {
            layouts::write(&dir.join("blobs/stray"), b"");
        }),
        layout("must DSC-16", |dir, image| {
            let name = image.value.layers[0].digest.encoded();
            layouts::write(&dir.join("blobs/sha256").join(name), &[7; 2048]);
        }),
        layout("note LAY-12", |dir, _| {
            let good = Digest::sha256(b"good");
            layouts::write(&dir.join("blobs/sha256").join(good.encoded()), b"good");
        }),
        layout("should LAY-17 index.json#/manifests/1", |dir, _| {
            layouts::change_index(dir, |index| {
                let mut entry = index["manifests"][0].clone();
                entry["digest"] = json!(Digest::sha256(b"gone"));
                index["manifests"].as_array_mut().unwrap().push(entry);
            });
        }),
        nested_too_deep(),
    ]
}

fn nested_too_deep() -> Case {
    let content = corten_content::Memory::new();
    let mut inner: Option<Descriptor> = None;
    for _ in 0..40 {
        let entries: Vec<Descriptor> = inner.into_iter().collect();
        inner = Some(corten_testing::image::index(&content, entries));
    }
    let findings = validate(&content, &inner.unwrap(), &ValidateOptions::default()).unwrap();
    case("must LAY-18", findings)
}

fn layers() -> Vec<Case> {
    let gzip = compress(&base(), Compression::Gzip);
    let gzip_and = |more: &[u8]| [&gzip[..], more].concat();
    let xattr = |expected, name: &str| {
        let key = format!("SCHILY.xattr.{name}");
        raw(
            expected,
            Raw::default().pax(b'x', &key, "y").file("x", b'0', b""),
        )
    };
    let long: &'static str = format!("must LYR-15 {}@0", "n".repeat(256)).leak();
    let mut device = Item(Entry::new(EntryKind::CharDevice, "null"), "");
    device.0.device = (0, 0);
    let size: (usize, &[u8]) = (124, b"00000001000\0");
    let mut cut = base();
    cut.truncate(1026);
    vec![
        stored_layer(
            "must LYR-01",
            media_type::OCI_LAYER_GZIP,
            &gzip[..gzip.len() / 2],
            &base(),
        ),
        layer("must LYR-02 @1026", &cut),
        raw("must LYR-02 @0", Raw::default().body(&[1; 512])),
        raw(
            "must LYR-02 @0",
            Raw::default().pax(b'x', "size", "x").file("a", b'0', b""),
        ),
        raw(
            "should LYR-02 a@1024",
            Raw::default().pax(b'g', "path", "b").file("a", b'0', b""),
        ),
        raw(
            "note LYR-02 a@512",
            Raw::default().file("label", b'V', b"").file("a", b'0', b""),
        ),
        raw(
            "should LYR-02 a@0",
            Raw::default()
                .pax(b'x', "size", "512")
                .header("a", b'0', &[])
                .body(&[1; 512]),
        ),
        raw(
            "should LYR-02 a/@0",
            Raw::default().header("a/", b'5', &[size]),
        ),
        layer("note LYR-03", &tar(&[file("x", "1")])[..1024]),
        layer(
            "should LYR-03",
            &[&tar(&[file("x", "1")])[..], b"more"].concat(),
        ),
        raw(
            "must LYR-04 .//x@1024",
            Raw::default()
                .file("x", b'0', b"1")
                .file(".//x", b'0', b"2"),
        ),
        raw(
            "must LYR-04 .wh.y@512",
            Raw::default()
                .file(".wh.y", b'0', b"")
                .file(".wh.y", b'0', b""),
        ),
        items(
            "should LYR-04 l/x@1536",
            &[
                directory("d"),
                link(EntryKind::Symlink, "l", "d"),
                file("d/x", ""),
                file("l/x", ""),
            ],
        ),
        raw(
            "must LYR-05 x@0",
            Raw::default().file("x", b'D', b"1").file("y", b'0', b""),
        ),
        raw(
            "must LYR-05 x@0",
            Raw::default().header("x", b'3', &[(329, b"7777777\0")]),
        ),
        raw("note LYR-05 x@0", Raw::default().file("x", b'7', b"1")),
        items("should LYR-05 null@0", &[device]),
        raw(
            "must LYR-07 x@0",
            Raw::default()
                .pax(b'x', "uid", "4294967295")
                .file("x", b'0', b"1"),
        ),
        raw(
            "must LYR-07 x@0",
            Raw::default().pax(b'x', "gid", "-1").file("x", b'0', b"1"),
        ),
        xattr("should LYR-09 x@0", "trusted.overlay.opaque"),
        xattr("note LYR-09 x@0", "security.selinux"),
        raw("must LYR-10 x@0", Raw::default().header("x", b'2', &[])),
        raw(
            "note LYR-13 x@0",
            Raw::default()
                .pax(b'x', "LIBARCHIVE.xattr.user.a", "MQ")
                .file("x", b'0', b""),
        ),
        raw(
            long,
            Raw::default()
                .pax(b'x', "path", &"n".repeat(256))
                .file("x", b'0', b""),
        ),
        raw(
            "should LYR-16 x@0",
            Raw::default()
                .records(
                    b'x',
                    &[
                        ("GNU.sparse.size", "10"),
                        ("GNU.sparse.numblocks", "1"),
                        ("GNU.sparse.map", "0,1"),
                    ],
                )
                .file("x", b'0', b"1"),
        ),
        items("must LYR-17 x@0", &[link(EntryKind::HardLink, "x", "etc")]),
        items(
            "note LYR-19 x@0",
            &[link(EntryKind::HardLink, "x", "etc/motd")],
        ),
        items(
            "must LYR-20 x@0",
            &[link(EntryKind::HardLink, "x", "y"), file("y", "")],
        ),
        raw(
            "must LYR-20 x@512",
            Raw::default()
                .file("x", b'0', b"")
                .header("x", b'1', &[(157, b"x")]),
        )
        .with(&["LYR-04"]),
        raw(
            "must LYR-27 ./@0",
            Raw::default().header("./", b'2', &[(157, b"etc")]),
        ),
        items("should LYR-28 etc/.wh.motd@0", &[file("etc/.wh.motd", "1")]),
        items("must LYR-29 etc/.wh.@0", &[file("etc/.wh.", "")]),
        items("must LYR-29 .wh...@0", &[file(".wh...", "")]),
        items("should LYR-31 .wh.x/y@0", &[file(".wh.x/y", "1")]),
        items("should LYR-31 .wh..wh.aufs@0", &[file(".wh..wh.aufs", "")]),
        items(
            "should LYR-34 etc/.wh.motd@512",
            &[file("etc/a", ""), file("etc/.wh.motd", "")],
        ),
        items("should LYR-35 .wh.etc/@0", &[directory(".wh.etc")]),
        items(
            "should LYR-36 etc/.wh..wh..opq@0",
            &[file("etc/.wh..wh..opq", "")],
        ),
        items("note LYR-39 etc/.wh.other@0", &[file("etc/.wh.other", "")]),
        items("note LYR-41 a/b@0", &[file("a/b", "")]),
        items(
            "must LYR-43 a/x@1024",
            &[
                link(EntryKind::Symlink, "a", "b"),
                link(EntryKind::Symlink, "b", "a"),
                file("a/x", ""),
            ],
        ),
        stored_layer(
            "must LYR-62",
            media_type::OCI_LAYER_GZIP,
            &gzip_and(b"\0\0x"),
            &base(),
        ),
        raw("note LYR-70 /x@0", Raw::default().file("/x", b'0', b"")),
        raw(
            "should LYR-71 a/../x@0",
            Raw::default().file("a/../x", b'0', b""),
        ),
    ]
}

#[test]
fn every_requirement_that_content_can_break_is_found_where_it_is_broken() {
    let all = [
        descriptors(),
        indexes(),
        manifests(),
        configs(),
        annotations(),
        json_itself(),
        layouts_themselves(),
        layers(),
    ];
    let mut broken = BTreeSet::new();
    let cases = || all.iter().flatten();
    let problems: Vec<String> = cases().filter_map(Case::problem).collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    for case in cases() {
        broken.insert(case.id);
    }
    let can_be_broken: BTreeSet<&str> = requirements()
        .filter(|requirement| requirement.advice.is_some())
        .map(|requirement| requirement.id)
        .collect();
    assert_eq!(broken, can_be_broken);
}
