//! For every requirement that a document or a layer can break: content that does, and the finding.

mod annotations;
mod configs;
mod descriptors;
mod indexes;
mod layers;
mod layouts;
mod manifests;
mod text;

use std::collections::BTreeSet;

use corten_image::{Finding, Level, ValidateOptions, Within, requirements, validate};
use corten_spec::{Digest, document, media_type};
use corten_testing::Image;
use serde_json::{Value, json};

use crate::archive::{Item, Raw, directory, file, tar};
use crate::layouts::damaged;

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

    fn with(self, others: &'static [&'static str]) -> Self {
        also(others, self)
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
    case(expected, damaged(damage))
}

#[test]
fn every_requirement_that_content_can_break_is_found_where_it_is_broken() {
    let all = [
        descriptors::cases(),
        indexes::cases(),
        manifests::cases(),
        configs::cases(),
        annotations::cases(),
        text::cases(),
        layouts::cases(),
        layers::cases(),
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
