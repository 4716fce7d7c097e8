//! What the specification's own JSON schemas refuse, `validate` refuses, and more.

use std::sync::LazyLock;

use corten_content::Memory;
use corten_image::{Finding, Layers, Level, ValidateOptions, Within, validate};
use corten_spec::{Descriptor, Digest, document, media_type};
use jsonschema::{Draft, Registry, Validator};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::layouts;

macro_rules! schema {
    ($name:literal) => {
        ($name, include_str!(concat!("../data/image-spec/", $name)))
    };
}

const SCHEMAS: [(&str, &str); 7] = [
    schema!("config-schema.json"),
    schema!("content-descriptor.json"),
    schema!("defs-descriptor.json"),
    schema!("defs.json"),
    schema!("image-index-schema.json"),
    schema!("image-layout-schema.json"),
    schema!("image-manifest-schema.json"),
];
const BASE: &str = "https://schemas.invalid/";

/// Parses a schema, without its ids: references are relative to three different ones, and mean the
/// names of files.
fn parse(text: &str) -> Value {
    fn without_ids(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                fields.retain(|name, value| name != "id" || !value.is_string());
                fields.values_mut().for_each(without_ids);
            }
            Value::Array(items) => items.iter_mut().for_each(without_ids),
            _ => {}
        }
    }
    let mut schema = serde_json::from_str(text).unwrap();
    without_ids(&mut schema);
    schema
}

static REGISTRY: LazyLock<Registry<'static>> = LazyLock::new(|| {
    let mut registry = Registry::new().draft(Draft::Draft4);
    for (name, text) in SCHEMAS {
        registry = registry.add(format!("{BASE}{name}"), parse(text)).unwrap();
    }
    registry.prepare().unwrap()
});

fn schema(name: &str) -> Validator {
    let (_, text) = SCHEMAS.iter().find(|(it, _)| *it == name).unwrap();
    jsonschema::options()
        .with_draft(Draft::Draft4)
        .with_base_uri(format!("{BASE}{name}"))
        .with_registry(&REGISTRY)
        .should_validate_formats(true)
        .build(&parse(text))
        .unwrap()
}

static CONFIG: LazyLock<Validator> = LazyLock::new(|| schema("config-schema.json"));
static MANIFEST: LazyLock<Validator> = LazyLock::new(|| schema("image-manifest-schema.json"));
static INDEX: LazyLock<Validator> = LazyLock::new(|| schema("image-index-schema.json"));
static LAYOUT: LazyLock<Validator> = LazyLock::new(|| schema("image-layout-schema.json"));

/// Returns where the schema finds faults.
fn faults(schema: &Validator, document: &Value) -> Vec<String> {
    schema
        .iter_errors(document)
        .map(|error| error.instance_path().to_string())
        .collect()
}

/// The documents, each with all the fields that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Config,
    Manifest,
    Index,
}

impl Kind {
    fn media_type(self) -> &'static str {
        match self {
            Self::Config => media_type::OCI_CONFIG,
            Self::Manifest => media_type::OCI_MANIFEST,
            Self::Index => media_type::OCI_INDEX,
        }
    }

    fn schema(self) -> &'static Validator {
        match self {
            Self::Config => &CONFIG,
            Self::Manifest => &MANIFEST,
            Self::Index => &INDEX,
        }
    }

    fn valid(self) -> Value {
        let digest = Digest::sha256(b"{}");
        let descriptor = |media_type: &str| {
            json!({
                "mediaType": media_type, "digest": digest, "size": 2, "data": "e30=",
                "urls": ["https://example.com/a"], "artifactType": "a/b",
                "annotations": {"com.example.a": "b"},
            })
        };
        match self {
            Self::Config => json!({
                "created": "2020-01-01T00:00:00.5+01:00", "author": "a", "architecture": "arm64",
                "os": "linux", "variant": "v8", "os.version": "1", "os.features": ["win32k"],
                "config": {
                    "User": "a", "ExposedPorts": {"80/tcp": {}}, "Env": ["A=b"],
                    "Entrypoint": ["a"], "Cmd": ["b"], "Volumes": {"/a": {}}, "WorkingDir": "/",
                    "Labels": {"a": "b"}, "StopSignal": "SIGTERM", "ArgsEscaped": false,
                },
                "rootfs": {"type": "layers", "diff_ids": [digest]},
                "history": [{
                    "created": "2020-01-01T00:00:00Z", "author": "a", "created_by": "b",
                    "comment": "c", "empty_layer": false,
                }],
            }),
            Self::Manifest => json!({
                "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST, "artifactType": "a/b",
                "config": descriptor(media_type::OCI_EMPTY),
                "layers": [descriptor(media_type::OCI_EMPTY)],
                "subject": descriptor(media_type::OCI_MANIFEST),
                "annotations": {"com.example.a": "b"},
            }),
            Self::Index => {
                let mut entry = descriptor("text/plain");
                entry["platform"] = json!({
                    "architecture": "arm64", "os": "linux", "variant": "v8", "os.version": "1",
                    "os.features": ["a"],
                });
                json!({
                    "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "artifactType": "a/b",
                    "manifests": [entry], "subject": descriptor("text/plain"),
                    "annotations": {"com.example.a": "b"},
                })
            }
        }
    }

    /// Validates a document of this kind, and returns what is found in it.
    fn validate(self, document: &[u8]) -> Vec<Finding> {
        let content = Memory::new();
        content.add("text/plain", b"{}");
        let document = content.add(self.media_type(), document);
        let root = if self == Self::Config {
            let layer = Descriptor::of(media_type::OCI_LAYER, b"{}");
            let manifest = json!({
                "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST,
                "config": document, "layers": [layer],
            });
            content.add(media_type::OCI_MANIFEST, &document::to_bytes(&manifest))
        } else {
            document.clone()
        };
        let options = ValidateOptions {
            layers: Layers::Skip,
            ..ValidateOptions::default()
        };
        let mut findings = validate(&content, &root, &options).unwrap();
        findings.retain(|finding| finding.place.digest.as_ref() == Some(&document.digest));
        findings
    }
}

/// Returns what the schema is asked about. It is stricter than the text, which counts, in two places.
fn as_text_has_it(kind: Kind, document: &Value) -> Value {
    let mut document = document.clone();
    let without_null = |value: Option<&mut Value>, required: &[&str]| {
        if let Some(Value::Object(fields)) = value {
            fields.retain(|name, value| !value.is_null() || required.contains(&name.as_str()));
        }
    };
    match kind {
        // Any optional field of a config may be null (config.md).
        Kind::Config => {
            without_null(Some(&mut document), &["architecture", "os", "rootfs"]);
            without_null(document.get_mut("config"), &[]);
            let history = document.get_mut("history").and_then(Value::as_array_mut);
            for entry in history.into_iter().flatten() {
                without_null(Some(entry), &[]);
            }
        }
        // A manifest without layers is merely advised against (manifest.md).
        Kind::Manifest if document.get("layers") == Some(&json!([])) => {
            document["layers"] = Kind::Manifest.valid()["layers"].clone();
        }
        Kind::Manifest | Kind::Index => {}
    }
    document
}

fn pointers(value: &Value, pointer: &str, found: &mut Vec<String>) {
    found.push(pointer.to_owned());
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let name = name.replace('~', "~0").replace('/', "~1");
                pointers(value, &format!("{pointer}/{name}"), found);
            }
        }
        Value::Array(items) => {
            for (idx, item) in items.iter().enumerate() {
                pointers(item, &format!("{pointer}/{idx}"), found);
            }
        }
        _ => {}
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        "[a-zA-Z0-9:/=~. +_-]{0,12}",
        "[a-z]{0,3}/[a-z!#+.]{0,130}",
        "https?:[a-z/%\\[\\]:@?# ]{0,9}",
        "[0-9]{4}-[01][0-9]-[0-3][0-9][Tt ][0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{0,2})?(Z|z|[+-][0-2][0-9]:[0-6][0-9])?",
        "(sha256|sha512|a\\+b|a_-b|A):[a-zA-Z0-9=_-]{0,3}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1_i64..4).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 6, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[a-z~/.]{0,4}", inner, 0..3).prop_map(Value::from_iter),
        ]
    })
}

/// Puts `value`, or nothing, where `pointer` points; what has the place may be gone.
fn put(document: &mut Value, pointer: &str, value: Option<Value>) {
    let Some((parent, name)) = pointer.rsplit_once('/') else {
        *document = value.unwrap_or(Value::Null);
        return;
    };
    let name = name.replace("~1", "/").replace("~0", "~");
    match (document.pointer_mut(parent), value) {
        (Some(Value::Object(fields)), Some(value)) => drop(fields.insert(name, value)),
        (Some(Value::Object(fields)), None) => drop(fields.remove(&name)),
        (Some(Value::Array(items)), value) => {
            items.pop();
            items.extend(value);
        }
        _ => {}
    }
}

fn is_related(left: &str, right: &str) -> bool {
    let (short, long) = if left.len() < right.len() {
        (left, right)
    } else {
        (right, left)
    };
    long.strip_prefix(short)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn pointer_of(finding: &Finding) -> &str {
    match &finding.place.within {
        Within::Pointer(pointer) => pointer,
        _ => "",
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn what_a_schema_refuses_is_refused_at_the_same_place(
        kind in prop::sample::select(vec![Kind::Config, Kind::Manifest, Kind::Index]),
        changes in prop::collection::vec(
            (any::<prop::sample::Index>(), prop::option::weighted(0.9, any_value())), 1..3),
    ) {
        let valid = kind.valid();
        let mut places = Vec::new();
        pointers(&valid, "", &mut places);
        let mut document = valid;
        for (place, value) in changes {
            put(&mut document, &places[place.index(places.len())], value);
        }
        let findings = kind.validate(&document::to_bytes(&document));
        let is_must = |finding: &&Finding| finding.level == Level::Must;
        for fault in faults(kind.schema(), &as_text_has_it(kind, &document)) {
            let is_found = findings
                .iter()
                .filter(is_must)
                .any(|finding| is_related(pointer_of(finding), &fault));
            prop_assert!(is_found, "{fault:?} of {document:#} is not in {findings:#?}");
        }
    }
}

#[test]
fn valid_documents_are_valid_to_both() {
    for kind in [Kind::Config, Kind::Manifest, Kind::Index] {
        assert_eq!(faults(kind.schema(), &kind.valid()), [""; 0], "{kind:?}");
        let findings = kind.validate(&document::to_bytes(&kind.valid()));
        let worst = findings.iter().map(|finding| finding.level).min();
        assert_ne!(worst, Some(Level::Must), "{findings:#?}");
    }
}

#[test]
fn layouts_that_the_schema_refuses_are_refused() {
    #[track_caller]
    fn check(document: &Value) {
        let findings = layouts::damaged(|dir, _| {
            layouts::write(&dir.join("oci-layout"), &document::to_bytes(document));
        });
        let is_valid = findings.iter().all(|finding| finding.level != Level::Must);
        assert_eq!(
            LAYOUT.is_valid(document),
            is_valid,
            "{document} {findings:#?}"
        );
    }
    check(&json!({"imageLayoutVersion": "1.0.0"}));
    check(&json!({"imageLayoutVersion": "1.0.0", "more": {"a": [null]}}));
    check(&json!({"imageLayoutVersion": "1.0.1"}));
    check(&json!({"imageLayoutVersion": 1}));
    check(&json!({"imageLayoutVersion": null}));
    check(&json!({}));
    check(&json!([]));
    check(&json!("1.0.0"));
    check(&json!(null));
}

#[test]
fn what_the_schemas_let_pass_but_the_text_forbids() {
    #[track_caller]
    fn check(kind: Kind, pointer: &str, value: Value, expected: &str) {
        let mut document = kind.valid();
        put(&mut document, pointer, Some(value));
        assert_eq!(faults(kind.schema(), &document), [""; 0], "{document:#}");
        let findings = kind.validate(&document::to_bytes(&document));
        let found = findings
            .iter()
            .any(|it| it.level == Level::Must && it.requirement == expected);
        assert!(found, "{expected} is not in {findings:#?}");
    }
    let upper = format!("sha256:{}", "A".repeat(64));
    check(Kind::Index, "/manifests/0/size", json!(-1), "DSC-06");
    check(Kind::Index, "/manifests/0/data", json!("e30"), "DSC-10");
    check(Kind::Index, "/manifests/0/data", json!(1), "DSC-10");
    check(Kind::Index, "/manifests/0/data", json!("W10="), "DSC-11");
    check(
        Kind::Index,
        "/manifests/0/artifactType",
        json!("x"),
        "DSC-12",
    );
    check(Kind::Index, "/manifests/0/digest", json!(upper), "DSC-21");
    check(
        Kind::Index,
        "/manifests/0/digest",
        json!("sha256:00"),
        "DSC-21",
    );
    check(
        Kind::Index,
        "/mediaType",
        json!(media_type::OCI_MANIFEST),
        "IDX-04",
    );
    check(
        Kind::Index,
        "/mediaType",
        json!(media_type::DOCKER_INDEX),
        "IDX-04",
    );
    check(Kind::Index, "/layers", json!([]), "MT-03");
    check(Kind::Index, "/manifests/0/platform/os", json!(""), "IDX-10");
    check(Kind::Index, "/annotations/a", json!("\u{fdd0}"), "CNS-04");
    check(
        Kind::Manifest,
        "/mediaType",
        json!(media_type::OCI_INDEX),
        "MAN-04",
    );
    check(Kind::Manifest, "/manifests", json!([]), "MT-03");
    check(
        Kind::Manifest,
        "/config/digest",
        json!("sha512:00"),
        "DSC-21",
    );
    check(Kind::Manifest, "/config/data", json!("e30"), "DSC-10");
    check(Kind::Manifest, "/config/size", json!(1_u64 << 63), "DSC-05");
    check(Kind::Config, "/rootfs/diff_ids/0", json!("x"), "DSC-14");
    check(Kind::Config, "/config/Env/0", json!("=x"), "CFG-18");
    check(Kind::Config, "/config/OnBuild", json!("RUN x"), "DKR-14");
    check(Kind::Config, "/config/Healthcheck", json!([]), "DKR-13");
    check(Kind::Config, "/os", json!(""), "CFG-11");
    // An artifact with an empty config has to say of which type it is.
    let mut document = Kind::Manifest.valid();
    put(&mut document, "/artifactType", None);
    assert!(MANIFEST.is_valid(&document));
    let findings = Kind::Manifest.validate(&document::to_bytes(&document));
    assert!(
        findings.iter().any(|it| it.requirement == "MAN-05"),
        "{findings:#?}"
    );
}
