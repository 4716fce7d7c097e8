//! Provenance: a statement of what an image was made of, beside it in an index as BuildKit has it.
//!
//! ```text
//! index
//! ├── manifest of the image
//! └── attestation manifest   vnd.docker.reference.digest: the image's manifest
//!     ├── config             empty; or for unknown/unknown, with the statement's digest as DiffID
//!     └── statement          application/vnd.in-toto+json
//! ```
//!
//! As an artifact it names the image as its subject, so that registries list it among the image's referrers.

mod recorded;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use corten_content::{Sink, put};
use corten_dockerfile::{sounds_secret, without_credentials};
use corten_spec::annotations::Annotations;
use corten_spec::{Descriptor, Digest, Manifest, Platform, Reference, document, media_type};
use serde_json::{Map, Value, json};

pub use recorded::recorded;

use crate::{BuildRequest, Built, Material, Result};

/// How much a provenance says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// What the image was made of.
    Min,
    /// Build arguments, labels, the Dockerfile and the layers of each step, too.
    Max,
}

/// What the manifest of a statement is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// An artifact whose subject is the image: what BuildKit writes since 0.31.
    Artifact,
    /// An image for an unknown platform: what it wrote before (`oci-artifact=false`).
    Image,
}

/// The artifact type of the manifest of a statement.
pub const ARTIFACT_TYPE: &str = "application/vnd.docker.attestation.manifest.v1+json";

/// The media type of an in-toto statement.
pub const IN_TOTO: &str = "application/vnd.in-toto+json";

const PREDICATE: &str = "https://slsa.dev/provenance/v1";

/// Stores the provenance of `built`, and returns its manifest as an index has it after the images.
///
/// Secrets and passwords in addresses are in no provenance; build arguments only in one of
/// [`Detail::Max`], and those not that are called as if they held a secret.
///
/// # Errors
///
/// Something cannot be stored.
pub fn attest(
    sink: &dyn Sink,
    request: &BuildRequest,
    built: &Built,
    (detail, form): (Detail, Form),
    names: &[Reference],
) -> Result<Descriptor> {
    let predicate = predicate(request, built, detail);
    let statement = statement(built, names, &predicate);
    let bytes = document::to_bytes(&statement);
    let mut layer = put(sink, IN_TOTO, &bytes)?;
    layer
        .annotations
        .insert("in-toto.io/predicate-type".to_owned(), PREDICATE.to_owned());
    let config = match form {
        Form::Artifact => Descriptor {
            data: Some(STANDARD.encode(b"{}")),
            ..put(sink, media_type::OCI_EMPTY, b"{}")?
        },
        Form::Image => {
            let config = document::to_bytes(&json!({
                "architecture": "unknown",
                "os": "unknown",
                "config": {},
                "rootfs": { "type": "layers", "diff_ids": [layer.digest] },
            }));
            put(sink, media_type::OCI_CONFIG, &config)?
        }
    };
    let mut manifest = Manifest::oci(config, vec![layer]);
    if form == Form::Artifact {
        manifest.artifact_type = Some(ARTIFACT_TYPE.to_owned());
        manifest.subject = Some(built.manifest.bare());
    }
    let manifest = document::to_bytes(&manifest);
    let mut manifest = put(sink, media_type::OCI_MANIFEST, &manifest)?;
    manifest.platform = Some(Platform::new("unknown", "unknown"));
    manifest.annotations = Annotations::from([
        (
            "vnd.docker.reference.type".to_owned(),
            "attestation-manifest".to_owned(),
        ),
        (
            "vnd.docker.reference.digest".to_owned(),
            built.manifest.digest.to_string(),
        ),
    ]);
    Ok(manifest)
}

/// Returns the statement about the image, by each of its names.
fn statement(built: &Built, names: &[Reference], predicate: &Value) -> Value {
    let platform = built.manifest.platform.clone().unwrap_or_default();
    let subject =
        |name: String| json!({ "name": name, "digest": digest_set(&built.manifest.digest) });
    let subjects: Vec<_> = if names.is_empty() {
        vec![subject("_".to_owned())]
    } else {
        let names = names.iter();
        names
            .map(|name| subject(package_url(&name.to_string(), &platform.to_string())))
            .collect()
    };
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "predicateType": PREDICATE,
        "subject": subjects,
        "predicate": predicate,
    })
}

/// Returns the SLSA v1 predicate in BuildKit's form.
fn predicate(request: &BuildRequest, built: &Built, detail: Detail) -> Value {
    let mut arguments = Map::new();
    let mut put = |key: String, value: &str| drop(arguments.insert(key, json!(value)));
    if let Some(target) = &request.target {
        put("target".to_owned(), target);
    }
    if built.is_squashed {
        put("squash".to_owned(), "true");
    }
    if detail == Detail::Max {
        let arguments = request.build_args.iter();
        for (name, value) in arguments.filter(|(name, _)| !sounds_secret(name)) {
            put(format!("build-arg:{name}"), &without_credentials(value));
        }
        for (name, value) in &request.labels {
            put(format!("label:{name}"), &without_credentials(value));
        }
    }
    let mut metadata = json!({
        "buildkit_completeness": {
            "request": detail == Detail::Max,
            // The context is of this machine, and nobody else can look at it.
            "resolvedDependencies": false,
        },
    });
    if detail == Detail::Max {
        metadata["buildkit_metadata"] = source(request, built);
    }
    json!({
        "buildDefinition": {
            "buildType": "https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md",
            "externalParameters": {
                "configSource": { "path": without_credentials(&request.file_name) },
                "request": {
                    "frontend": "dockerfile.v0",
                    "args": arguments,
                    "locals": [{ "name": "context" }, { "name": "dockerfile" }],
                },
            },
            "internalParameters": {
                "builderPlatform": Platform::host().to_string(),
                "targetPlatform": request.platform.to_string(),
            },
            "resolvedDependencies": built.materials.iter().map(dependency).collect::<Vec<_>>(),
        },
        "runDetails": {
            "builder": { "id": "" },
            "metadata": metadata,
        },
    })
}

/// Returns the Dockerfile, and the layers that each step left, which a squashed image has none of.
fn source(request: &BuildRequest, built: &Built) -> Value {
    let mut source = json!({
        "source": {
            "infos": [{
                "filename": without_credentials(&request.file_name),
                "language": "Dockerfile",
                "data": STANDARD.encode(without_credentials(&request.text)),
            }],
        },
    });
    if !built.is_squashed {
        let steps = built.steps.iter();
        let layers: BTreeMap<String, Vec<&Descriptor>> = steps
            .map(|step| {
                let name = format!("line{}:{}", step.line, step.number);
                let layers = step.layers.iter();
                (name, layers.map(|layer| &layer.blob).collect())
            })
            .collect();
        source["layers"] = json!(layers);
    }
    source
}

fn dependency(material: &Material) -> Value {
    match material {
        Material::Image {
            name,
            reference,
            digest,
            platform,
        } => {
            let name = reference.as_ref().unwrap_or(name);
            json!({ "uri": package_url(name, platform), "digest": digest_set(digest) })
        }
        Material::Http { url, digest } => json!({ "uri": url, "digest": digest_set(digest) }),
        Material::Git {
            remote,
            reference,
            commit,
        } => {
            let uri = match reference {
                Some(reference) => format!("{remote}#{reference}"),
                None => remote.clone(),
            };
            let algorithm = if commit.len() == 64 { "sha256" } else { "sha1" };
            json!({ "uri": uri, "digest": { algorithm: commit } })
        }
    }
}

fn digest_set(digest: &Digest) -> Value {
    let algorithm = digest.as_str().split(':').next().unwrap_or_default();
    json!({ algorithm: digest.encoded() })
}

/// Returns the package URL of an image: `pkg:docker/debian@12?platform=linux%2Famd64`.
fn package_url(reference: &str, platform: &str) -> String {
    let parsed: Option<Reference> = reference.parse().ok();
    let (name, version, digest) = match &parsed {
        Some(reference) => {
            let name = reference.name();
            let short = ["docker.io/library/", "docker.io/"]
                .iter()
                .find_map(|prefix| name.strip_prefix(prefix));
            let digest = reference.digest().map(ToString::to_string);
            (short.unwrap_or(&name).to_owned(), reference.tag(), digest)
        }
        None => (reference.to_owned(), None, None),
    };
    let version = version.map(|tag| format!("@{}", escaped(tag)));
    let digest = digest.map(|digest| format!("digest={}&", escaped(&digest)));
    format!(
        "pkg:docker/{}{}?{}platform={}",
        escaped(&name),
        version.unwrap_or_default(),
        digest.unwrap_or_default(),
        escaped(platform).replace('/', "%2F")
    )
}

/// Escapes what a part of a package URL cannot have.
fn escaped(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'-' | b'.' | b'_' | b'~' | b'/' | b':' => char::from(byte).to_string(),
        _ if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use corten_content::{Memory, load};
    use corten_spec::{Document, ImageId};

    use super::*;

    fn built(memory: &Memory) -> (BuildRequest, Built) {
        let mut request = BuildRequest::new("Dockerfile", "FROM a", "/context".as_ref());
        request.platform = Platform::new("linux", "amd64");
        request
            .build_args
            .insert("WHO".to_owned(), "argument".to_owned());
        let mut manifest = put(memory, media_type::OCI_MANIFEST, b"{}").unwrap();
        manifest.platform = Some(request.platform.clone());
        let image_id = ImageId(Digest::sha256(b"config"));
        let materials = vec![
            Material::Image {
                name: "debian:12".to_owned(),
                reference: Some("docker.io/library/debian:12".to_owned()),
                digest: Digest::sha256(b"debian"),
                platform: "linux/amd64".to_owned(),
            },
            Material::Git {
                remote: "https://x.io/a.git".to_owned(),
                reference: Some("v1".to_owned()),
                commit: "0".repeat(40),
            },
        ];
        let built = Built {
            manifest,
            image_id,
            layers: Vec::new(),
            n_base_layers: 0,
            is_squashed: false,
            steps: Vec::new(),
            materials,
        };
        (request, built)
    }

    fn read(memory: &Memory, content: &Descriptor) -> Value {
        serde_json::from_slice(&corten_content::read(memory, content, 1 << 20).unwrap()).unwrap()
    }

    #[test]
    fn the_form_is_that_of_buildkit() {
        let memory = Memory::new();
        let (request, built) = built(&memory);
        let names = ["x.io/app:1".parse().unwrap()];
        let attestation = attest(
            &memory,
            &request,
            &built,
            (Detail::Min, Form::Image),
            &names,
        )
        .unwrap();
        assert_eq!(
            attestation.platform,
            Some(Platform::new("unknown", "unknown"))
        );
        let annotations = &attestation.annotations;
        assert_eq!(
            annotations["vnd.docker.reference.type"],
            "attestation-manifest"
        );
        let digest = built.manifest.digest.to_string();
        assert_eq!(annotations["vnd.docker.reference.digest"], digest);
        let manifest: Document<Manifest> = load(&memory, &attestation).unwrap();
        let [layer] = &manifest.value.layers[..] else {
            panic!("{:?}", manifest.value);
        };
        assert_eq!(layer.media_type, IN_TOTO);
        assert_eq!(layer.annotations["in-toto.io/predicate-type"], PREDICATE);
        let config = read(&memory, &manifest.value.config);
        assert_eq!(config["rootfs"]["diff_ids"][0], layer.digest.to_string());
        let statement = read(&memory, layer);
        assert_eq!(
            statement["subject"][0],
            json!({
                "name": "pkg:docker/x.io/app@1?platform=linux%2Famd64",
                "digest": { "sha256": built.manifest.digest.encoded() },
            })
        );
        let definition = &statement["predicate"]["buildDefinition"];
        assert_eq!(
            definition["resolvedDependencies"],
            json!([
                {
                    "uri": "pkg:docker/debian@12?platform=linux%2Famd64",
                    "digest": { "sha256": Digest::sha256(b"debian").encoded() },
                },
                { "uri": "https://x.io/a.git#v1", "digest": { "sha1": "0".repeat(40) } },
            ])
        );
    }

    #[test]
    fn an_artifact_has_the_image_as_its_subject() {
        let memory = Memory::new();
        let (request, built) = built(&memory);
        let how = (Detail::Min, Form::Artifact);
        let manifest = attest(&memory, &request, &built, how, &[]).unwrap();
        let manifest: Document<Manifest> = load(&memory, &manifest).unwrap();
        let manifest = manifest.value;
        assert_eq!(manifest.artifact_type.as_deref(), Some(ARTIFACT_TYPE));
        assert_eq!(manifest.subject, Some(built.manifest.bare()));
        assert_eq!(manifest.config.media_type, media_type::OCI_EMPTY);
        assert_eq!(manifest.config.data.as_deref(), Some("e30="));
        assert_eq!(manifest.layers[0].media_type, IN_TOTO);
    }

    #[test]
    fn nothing_says_what_is_secret() {
        let memory = Memory::new();
        let (mut request, built) = built(&memory);
        let arguments = [
            ("NPM_TOKEN", "hidden1"),
            ("REPO", "https://me:hidden2@x.io/r"),
            ("VERSION", "shown"),
        ];
        for (name, value) in arguments {
            request.build_args.insert(name.to_owned(), value.to_owned());
        }
        request
            .labels
            .insert("source".into(), "https://me:hidden3@x.io".into());
        request.text = "FROM a\nADD https://me:hidden4@x.io/a /\n".to_owned();
        request.file_name = "https://me:hidden5@x.io/Dockerfile".to_owned();
        request
            .run
            .secrets
            .insert("s".into(), corten_sandbox::Content(b"hidden6".into()));
        let predicate = predicate(&request, &built, Detail::Max);
        let source = &predicate["runDetails"]["metadata"]["buildkit_metadata"]["source"];
        let text = source["infos"][0]["data"].as_str().unwrap();
        let text = String::from_utf8(STANDARD.decode(text).unwrap()).unwrap();
        let recorded = recorded(&request, &built, Detail::Max);
        let all = format!("{predicate}\n{text}\n{recorded}");
        assert!(!all.contains("hidden"), "{all}");
        assert!(all.contains("shown") && !all.contains("NPM_TOKEN"), "{all}");
    }

    #[test]
    fn build_arguments_are_in_the_long_form_only() {
        let (request, built) = built(&Memory::new());
        let has = |detail| {
            let text = predicate(&request, &built, detail).to_string();
            text.contains("argument")
        };
        assert!(has(Detail::Max));
        assert!(!has(Detail::Min));
    }
}
