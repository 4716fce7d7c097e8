//! Manifests and tags (distribution-spec, Pulling, Pushing and Deleting Manifests).

use corten_spec::{Algorithm, Digest};
use serde_json::Value;

use super::router::{is_tag, read_digest};
use super::state::{Repository, State, digest_of};
use super::{Request, Response};

/// The longest manifest that is taken, in bytes.
const LONGEST: usize = 4 << 20;
/// The most tags that one request may set.
const MOST_TAGS: usize = 20;

pub(super) fn answer(
    state: &mut State,
    request: &Request,
    name: &str,
    reference: &str,
) -> Response {
    let done = match request.method.as_str() {
        "GET" | "HEAD" => read(state, name, reference),
        "PUT" => write(state, request, name, reference),
        "DELETE" => delete(state, name, reference),
        _ => Err(Response::refusal(
            405,
            "UNSUPPORTED",
            "that cannot be done to manifests",
        )),
    };
    done.unwrap_or_else(|refusal| refusal)
}

/// A tag, or the digest that is named instead.
fn read_reference(reference: &str) -> Result<Option<Digest>, Response> {
    if reference.contains(':') {
        return read_digest(reference).map(Some);
    }
    if is_tag(reference) {
        return Ok(None);
    }
    Err(Response::refusal(
        400,
        "MANIFEST_INVALID",
        "that is neither a tag nor a digest",
    ))
}

fn unknown() -> Response {
    Response::refusal(
        404,
        "MANIFEST_UNKNOWN",
        "the manifest is not in the repository",
    )
}

fn no_repository() -> Response {
    Response::refusal(404, "NAME_UNKNOWN", "there is no such repository")
}

fn read(state: &State, name: &str, reference: &str) -> Result<Response, Response> {
    read_reference(reference)?;
    let repository = state.repositories.get(name).ok_or_else(no_repository)?;
    let (digest, manifest) = repository.manifest(reference).ok_or_else(unknown)?;
    let response = Response::new(200)
        .with("Content-Type", manifest.media_type.as_str())
        .with("Docker-Content-Digest", digest)
        .with_body(manifest.bytes.to_vec());
    Ok(if state.options.conditions {
        response.with("ETag", format!("\"{digest}\""))
    } else {
        response
    })
}

fn write(
    state: &mut State,
    request: &Request,
    name: &str,
    reference: &str,
) -> Result<Response, Response> {
    let named = read_reference(reference)?;
    if request.body.len() > LONGEST {
        return Err(Response::refusal(
            413,
            "SIZE_INVALID",
            "the manifest is too long",
        ));
    }
    let invalid = |message| Response::refusal(400, "MANIFEST_INVALID", message);
    let document: Value =
        serde_json::from_slice(&request.body).map_err(|_| invalid("it is no JSON"))?;
    let content_type = request.header("content-type").unwrap_or_default();
    let own_type = document.get("mediaType").and_then(Value::as_str);
    if own_type.is_some_and(|own_type| own_type != content_type) {
        return Err(invalid("its `mediaType` is not its `Content-Type`"));
    }
    let algorithm = named.as_ref().and_then(Digest::algorithm);
    let digest = digest_of(algorithm.unwrap_or(Algorithm::Sha256), &request.body);
    if named.as_ref().is_some_and(|named| *named != digest) {
        return Err(Response::refusal(
            400,
            "DIGEST_INVALID",
            "the bytes have another digest",
        ));
    }
    let mut tags = request.queries("tag");
    if tags.len() > MOST_TAGS {
        return Err(Response::refusal(
            414,
            "UNSUPPORTED",
            "these are too many tags",
        ));
    }
    if !tags.iter().all(|tag| is_tag(tag)) {
        return Err(invalid("a tag is invalid"));
    }
    let asked_tags = tags.len();
    tags.extend(named.is_none().then(|| reference.to_owned()));
    let (has_conditions, has_referrers) = (state.options.conditions, state.options.referrers);
    let repository = state.repository(name);
    if has_conditions {
        check_conditions(repository, request, reference)?;
    }
    check_blobs(repository, &document)?;
    repository.keep_manifest(&digest, content_type, &request.body);
    for tag in &tags {
        repository.tags.insert(tag.clone(), digest.to_string());
    }
    let mut response = Response::new(201)
        .with("Location", format!("/v2/{name}/manifests/{digest}"))
        .with("Docker-Content-Digest", digest.as_str());
    for tag in tags.iter().take(asked_tags) {
        response = response.with("OCI-Tag", tag.as_str());
    }
    let subject = document.pointer("/subject/digest").and_then(Value::as_str);
    Ok(match subject {
        Some(subject) if has_referrers => response.with("OCI-Subject", subject),
        _ => response,
    })
}

/// Refuses what was decided on by who saw another state (RFC 9110, Conditional Requests).
fn check_conditions(
    repository: &Repository,
    request: &Request,
    reference: &str,
) -> Result<(), Response> {
    let current = repository
        .manifest(reference)
        .map(|(digest, _)| format!("\"{digest}\""));
    let names_current = |header: &str| match &current {
        Some(current) => header
            .split(',')
            .any(|tag| matches!(tag.trim(), "*") || tag.trim() == current),
        None => false,
    };
    let is_refused = request
        .header("if-match")
        .is_some_and(|header| !names_current(header))
        || request.header("if-none-match").is_some_and(names_current);
    if is_refused {
        return Err(Response::refusal(
            412,
            "DENIED",
            "the tag is not what it is said to be",
        ));
    }
    Ok(())
}

/// Refuses a manifest whose config or layers are not there; an index may be sparse, and foreign
/// layers are elsewhere.
fn check_blobs(repository: &Repository, document: &Value) -> Result<(), Response> {
    let layers = document.get("layers").and_then(Value::as_array);
    let blobs = document
        .get("config")
        .into_iter()
        .chain(layers.into_iter().flatten());
    for blob in blobs {
        let text = |name: &str| blob.get(name).and_then(Value::as_str).unwrap_or_default();
        let is_foreign = ["nondistributable", "foreign"]
            .iter()
            .any(|part| text("mediaType").contains(part));
        if !is_foreign && !repository.blobs.contains_key(text("digest")) {
            let message = format!("`{}` is not in the repository", text("digest"));
            return Err(Response::refusal(404, "MANIFEST_BLOB_UNKNOWN", &message));
        }
    }
    Ok(())
}

fn delete(state: &mut State, name: &str, reference: &str) -> Result<Response, Response> {
    let digest = read_reference(reference)?;
    let (deletes, tag_deletes) = (state.options.deletes, state.options.tag_deletes);
    let repository = state.repositories.get_mut(name).ok_or_else(no_repository)?;
    let is_gone = match digest {
        None if tag_deletes => repository.tags.remove(reference).is_some(),
        Some(digest) if deletes => {
            repository
                .tags
                .retain(|_, tagged| *tagged != digest.as_str());
            repository.manifests.remove(digest.as_str()).is_some()
        }
        None | Some(_) => {
            return Err(Response::refusal(
                405,
                "UNSUPPORTED",
                "that cannot be deleted here",
            ));
        }
    };
    if is_gone {
        Ok(Response::new(202))
    } else {
        Err(unknown())
    }
}
