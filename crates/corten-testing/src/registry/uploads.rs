//! Blobs on their way in (distribution-spec, Pushing Blobs).

use std::sync::Arc;

use corten_spec::{Algorithm, Digest};

use super::router::read_digest;
use super::state::{State, Upload, digest_of};
use super::{Reading, Request, Response};

/// Stands for what registries keep in the query of a location: who loses it loses the upload.
const QUERY: &str = "_state=a%2Bb==";

pub(super) fn answer(
    state: &mut State,
    request: &Request,
    name: &str,
    id: &str,
    reading: Reading,
) -> Response {
    if request.method == "POST" {
        return open(state, request, name).unwrap_or_else(|refusal| refusal);
    }
    let is_known = state
        .uploads
        .get(id)
        .is_some_and(|upload| upload.repository == name)
        && request.target.contains(QUERY);
    if !is_known {
        return Response::refusal(404, "BLOB_UPLOAD_UNKNOWN", "there is no such upload");
    }
    match request.method.as_str() {
        "GET" => told(state, name, id, 204),
        "DELETE" => {
            state.uploads.remove(id);
            Response::new(204)
        }
        "PATCH" => match append(state, request, id) {
            Ok(()) => told(state, name, id, 202),
            Err(refusal) => refusal,
        },
        "PUT" => match append(state, request, id) {
            // What was cut off on the way stays, to go on from.
            Ok(()) if reading != Reading::Whole => told(state, name, id, 202),
            Ok(()) => close(state, request, name, id).unwrap_or_else(|refusal| refusal),
            Err(refusal) => refusal,
        },
        _ => Response::refusal(405, "UNSUPPORTED", "that cannot be done to uploads"),
    }
}

fn open(state: &mut State, request: &Request, name: &str) -> Result<Response, Response> {
    if let Some(digest) = request.query("mount") {
        let digest = read_digest(&digest)?;
        if let Some(bytes) = mounted(state, &digest, request.query("from").as_deref()) {
            state.repository(name).keep_blob(&digest, &bytes);
            return Ok(created(name, &digest));
        }
    }
    let digest = request
        .query("digest")
        .map(|digest| read_digest(&digest))
        .transpose()?;
    if let Some(digest) = digest.filter(|_| state.options.single_post) {
        check(&digest, &request.body)?;
        state.repository(name).keep_blob(&digest, &request.body);
        return Ok(created(name, &digest));
    }
    let algorithm = match request.query("digest-algorithm") {
        None => Algorithm::Sha256,
        Some(name) => Algorithm::named(&name).ok_or_else(|| {
            Response::refusal(400, "UNSUPPORTED", "the algorithm is not known here")
        })?,
    };
    state.n_uploads += 1;
    let id = format!("u{}", state.n_uploads);
    let upload = Upload {
        repository: name.to_owned(),
        algorithm,
        bytes: Vec::new(),
        has_short_chunk: false,
    };
    state.uploads.insert(id.clone(), upload);
    let response = Response::new(202).with("Location", location(name, &id));
    Ok(match state.options.chunk_min {
        Some(least) => response.with("OCI-Chunk-Min-Length", least.to_string()),
        None => response,
    })
}

fn mounted(state: &State, digest: &Digest, from: Option<&str>) -> Option<Arc<[u8]>> {
    let has = |name: &str| {
        state
            .repositories
            .get(name)?
            .blobs
            .get(digest.as_str())
            .cloned()
    };
    match from {
        _ if !state.options.mount => None,
        Some(from) => has(from),
        None if !state.options.anonymous_mount => None,
        None => state.repositories.keys().find_map(|name| has(name)),
    }
}

fn append(state: &mut State, request: &Request, id: &str) -> Result<(), Response> {
    let invalid = |message| Response::refusal(416, "BLOB_UPLOAD_INVALID", message);
    let least = state.options.chunk_min.unwrap_or_default();
    let Some(upload) = state.uploads.get_mut(id) else {
        return Err(invalid("there is no such upload"));
    };
    if let Some(range) = request.header("content-range") {
        let (start, _) = range
            .split_once('-')
            .ok_or_else(|| invalid("the range is no range"))?;
        if start.parse() != Ok(upload.bytes.len()) {
            return Err(invalid("the chunk does not begin where the last one ended"));
        }
    }
    // Only the last chunk may be short, so nothing comes after one.
    if upload.has_short_chunk && !request.body.is_empty() {
        return Err(Response::refusal(
            400,
            "SIZE_INVALID",
            "the chunk before was too short",
        ));
    }
    upload.has_short_chunk |= request.method == "PATCH" && request.body.len() < least;
    upload.bytes.extend(&request.body);
    Ok(())
}

fn close(state: &mut State, request: &Request, name: &str, id: &str) -> Result<Response, Response> {
    let missing = || Response::refusal(400, "DIGEST_INVALID", "there is no digest");
    let digest = read_digest(&request.query("digest").ok_or_else(missing)?)?;
    let Some(upload) = state.uploads.remove(id) else {
        return Err(missing());
    };
    if digest.algorithm() != Some(upload.algorithm) {
        return Err(Response::refusal(
            400,
            "DIGEST_INVALID",
            "it was opened for another algorithm",
        ));
    }
    check(&digest, &upload.bytes)?;
    state.repository(name).keep_blob(&digest, &upload.bytes);
    Ok(created(name, &digest))
}

fn check(digest: &Digest, bytes: &[u8]) -> Result<(), Response> {
    let algorithm = digest.algorithm().unwrap_or(Algorithm::Sha256);
    if digest_of(algorithm, bytes) == *digest {
        return Ok(());
    }
    Err(Response::refusal(
        400,
        "DIGEST_INVALID",
        "the bytes have another digest",
    ))
}

fn location(name: &str, id: &str) -> String {
    format!("/v2/{name}/blobs/uploads/{id}?{QUERY}")
}

/// Says how much of an upload is there.
fn told(state: &State, name: &str, id: &str, status: u16) -> Response {
    let len = state.uploads.get(id).map_or(0, |upload| upload.bytes.len());
    Response::new(status)
        .with("Location", location(name, id))
        .with("Range", format!("0-{}", len.saturating_sub(1)))
}

fn created(name: &str, digest: &Digest) -> Response {
    Response::new(201)
        .with("Location", format!("/v2/{name}/blobs/{digest}"))
        .with("Docker-Content-Digest", digest.as_str())
}
