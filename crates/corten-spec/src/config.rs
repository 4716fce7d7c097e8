//! Image configs, OCI's and Docker's (config.md, docker-image-spec v1.3).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::json::null_as_default;
use crate::{Bound, DiffId, DocumentLimits, DocumentType, Error, Platform, Result};

/// Fields of a document that no specification names, kept as they came.
pub type Extra = BTreeMap<String, Value>;

/// Names that JSON writes as an object of empty objects, such as `{"80/tcp": {}}`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Set(pub BTreeSet<String>);

impl Set {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Set {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let empty = BTreeMap::<(), ()>::new();
        serializer.collect_map(self.0.iter().map(|name| (name, &empty)))
    }
}

impl<'de> Deserialize<'de> for Set {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let names = BTreeMap::<String, Value>::deserialize(deserializer)?;
        Ok(Self(names.into_keys().collect()))
    }
}

/// What an image is and how it is run; its digest is the image id.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ImageConfig {
    /// When the image was made, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Who made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// The processor that its programs need, in Go's names.
    pub architecture: String,
    /// The operating system, in Go's names.
    pub os: String,
    /// The operating system's version (Windows).
    #[serde(
        default,
        rename = "os.version",
        skip_serializing_if = "Option::is_none"
    )]
    pub os_version: Option<String>,
    /// Features of the operating system that are needed.
    #[serde(
        default,
        rename = "os.features",
        deserialize_with = "null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub os_features: Vec<String>,
    /// The processor's variant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// How a container of the image is run.
    #[serde(
        default,
        deserialize_with = "null_as_default",
        skip_serializing_if = "RunConfig::is_empty"
    )]
    pub config: RunConfig,
    /// The layers, by their DiffIDs.
    pub rootfs: RootFs,
    /// How each layer came to be.
    #[serde(
        default,
        deserialize_with = "null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub history: Vec<History>,
    /// Fields that the specification does not name.
    #[serde(flatten)]
    pub extra: Extra,
}

/// The layers of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The DiffIDs, base first.
    pub diff_ids: Vec<DiffId>,
    /// Fields that the specification does not name.
    #[serde(flatten)]
    pub extra: Extra,
}

impl Default for RootFs {
    fn default() -> Self {
        Self {
            kind: Self::LAYERS.to_owned(),
            diff_ids: Vec::new(),
            extra: Extra::new(),
        }
    }
}

impl RootFs {
    /// The only kind of root file system that there is.
    pub const LAYERS: &'static str = "layers";
}

/// How a container of an image is run: the defaults that whoever runs it may override.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RunConfig {
    /// User and group, by name or number: `user`, `uid`, `user:group`, …
    #[serde(
        deserialize_with = "null_as_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub user: String,
    /// Ports such as `80/tcp`.
    #[serde(
        deserialize_with = "null_as_default",
        skip_serializing_if = "Set::is_empty"
    )]
    pub exposed_ports: Set,
    /// The environment, `NAME=value` each, in order.
    #[serde(
        deserialize_with = "null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub env: Vec<String>,
    /// The program and its first arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// Default arguments, or the program when there is no entrypoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// Paths that hold data of the container.
    #[serde(
        deserialize_with = "null_as_default",
        skip_serializing_if = "Set::is_empty"
    )]
    pub volumes: Set,
    /// The working directory.
    #[serde(
        deserialize_with = "null_as_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub working_dir: String,
    /// Labels; the rules of annotations hold for them.
    #[serde(
        deserialize_with = "null_as_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub labels: BTreeMap<String, String>,
    /// The signal that asks a container to end, such as `SIGTERM`.
    #[serde(
        deserialize_with = "null_as_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub stop_signal: String,
    /// How to tell whether a container is well (Docker's).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// The shell of shell-form instructions (Docker's).
    #[serde(
        deserialize_with = "null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub shell: Vec<String>,
    /// Instructions for images built on this one (Docker's).
    #[serde(
        deserialize_with = "null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub on_build: Vec<String>,
    /// Fields that are not named above, such as `ArgsEscaped`.
    #[serde(flatten)]
    pub extra: Extra,
}

impl RunConfig {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// How to tell whether a container is well (docker-image-spec). Durations are in nanoseconds.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", command]`; empty inherits.
    #[serde(
        deserialize_with = "null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub test: Vec<String>,
    /// Time between two checks.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_zero")]
    pub interval: i64,
    /// Time after which a check has failed.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_zero")]
    pub timeout: i64,
    /// Time in which failures do not count.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_zero")]
    pub start_period: i64,
    /// Time between two checks during the start period.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_zero")]
    pub start_interval: i64,
    /// How many failures in a row make the container unwell.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_zero")]
    pub retries: i64,
    /// Fields that are not named above.
    #[serde(flatten)]
    pub extra: Extra,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it with a reference"
)]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// How one layer, or one change of the config, came to be.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    /// When, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The instruction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// Who.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// What the builder had to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Whether the step made no layer.
    #[serde(
        deserialize_with = "null_as_default",
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub empty_layer: bool,
    /// Fields that the specification does not name.
    #[serde(flatten)]
    pub extra: Extra,
}

impl ImageConfig {
    /// Returns the config of an image without layers for `platform`.
    pub fn scratch(platform: &Platform) -> Self {
        Self {
            architecture: platform.architecture.clone(),
            os: platform.os.clone(),
            variant: platform.variant.clone(),
            ..Self::default()
        }
    }

    /// Returns the platform that the image is for.
    pub fn platform(&self) -> Platform {
        Platform {
            architecture: self.architecture.clone(),
            os: self.os.clone(),
            os_version: self.os_version.clone(),
            os_features: self.os_features.clone(),
            variant: self.variant.clone(),
            features: Vec::new(),
        }
    }
}

impl DocumentType for ImageConfig {
    const NAME: &'static str = "image config";

    fn limit() -> Bound {
        DocumentLimits::installed().config()
    }

    fn check(&self, _media_type: &str) -> Result<()> {
        let invalid = |reason| {
            Err(Error::InvalidDocument {
                document: Self::NAME,
                reason,
            })
        };
        if self.rootfs.kind != RootFs::LAYERS {
            let found = crate::digest::shorten(&self.rootfs.kind);
            return invalid(format!("`rootfs.type` is `{found}`, expected `layers`"));
        }
        let is_time = |time: &String| time.parse::<jiff::Timestamp>().is_ok();
        if let Some(created) = self.created.as_ref().filter(|created| !is_time(created)) {
            let found = crate::digest::shorten(created);
            return invalid(format!(
                "`created` is `{found}`, expected a time of RFC 3339"
            ));
        }
        if let Some(entry) = self.config.env.iter().find(|entry| !is_env(entry)) {
            let found = crate::digest::shorten(entry);
            return invalid(format!("`Env` holds `{found}`, expected `NAME=value`"));
        }
        Ok(())
    }
}

fn is_env(entry: &str) -> bool {
    // Real images hold names without a value; runtimes treat them as they are.
    !entry.is_empty() && !entry.starts_with('=') && !entry.contains('\0')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Document, document, media_type};

    fn read(json: &str) -> Result<Document<ImageConfig>> {
        Document::from_bytes(media_type::OCI_CONFIG, json.into())
    }

    #[test]
    fn what_a_config_may_be() {
        #[track_caller]
        fn check(fields: &str, valid: bool) {
            let json = format!(r#"{{"architecture":"amd64","os":"linux"{fields}}}"#);
            let result = read(&json);
            assert_eq!(result.is_ok(), valid, "{json}: {result:?}");
        }
        const ROOTFS: &str = r#","rootfs":{"type":"layers","diff_ids":[]}"#;
        check(ROOTFS, true);
        check("", false);
        check(r#","rootfs":{"type":"squash","diff_ids":[]}"#, false);
        check(r#","rootfs":{"type":"layers"}"#, false);
        check(r#","rootfs":["layers",[]]"#, false);
        check(r#","rootfs":null"#, false);
        let sha512 = format!(r#"["sha512:{}"]"#, "0".repeat(128));
        check(
            &format!(r#","rootfs":{{"type":"layers","diff_ids":{sha512}}}"#),
            true,
        );
        let with = |fields: &str| format!("{ROOTFS},{fields}");
        check(&with(r#""author":null,"history":null,"config":null"#), true);
        check(
            &with(r#""config":{"Env":null,"Entrypoint":null,"Volumes":null,"Labels":null}"#),
            true,
        );
        check(&with(r#""config":{"Labels":{"a":1}}"#), false);
        check(&with(r#""config":{"Volumes":["/a"]}"#), false);
        check(&with(r#""config":{"Env":["A=b=c","E="]}"#), true);
        check(&with(r#""config":{"Env":["=x"]}"#), false);
        check(
            &with(r#""created":"2020-01-01T00:00:00.123456789+02:00""#),
            true,
        );
        check(&with(r#""created":"Mon Jan 1""#), false);
        check(&with(r#""history":[{"created_by":5}]"#), false);
    }

    #[test]
    fn fields_that_nobody_named_survive_a_change() {
        let json = r#"{"architecture":"amd64","os":"linux","config":{"ArgsEscaped":true,"Healthcheck":{"Test":["CMD","a"],"New":1},"OnBuild":["RUN x"],"Shell":["/bin/sh"],"New":{"x":[1]}},"rootfs":{"type":"layers","diff_ids":[],"new":2},"history":[{"created_by":"x","new":true}],"moby.buildkit":{"y":1}}"#;
        let mut value = read(json).unwrap().value;
        value.author = Some("me".into());
        let again: Value = serde_json::from_slice(&document::to_bytes(&value)).unwrap();
        let mut expected: Value = serde_json::from_str(json).unwrap();
        expected
            .as_object_mut()
            .unwrap()
            .insert("author".into(), "me".into());
        assert_eq!(again, expected);
    }
}
