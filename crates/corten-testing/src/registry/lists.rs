//! Lists: of tags, of repositories, of referrers (distribution-spec, Content Discovery).

use corten_spec::media_type;
use serde_json::{Value, json};

use super::router::read_digest;
use super::state::{Manifest, State};
use super::{Request, Response};

pub(super) fn tags(state: &State, request: &Request, name: &str, tail: &str) -> Response {
    if tail != "list" || request.method != "GET" {
        return Response::refusal(404, "UNSUPPORTED", "there is no such endpoint");
    }
    let Some(repository) = state.repositories.get(name) else {
        return Response::refusal(404, "NAME_UNKNOWN", "there is no such repository");
    };
    let (page, link) = page(state, request, repository.tags.keys());
    linked(&json!({ "name": name, "tags": page }), link)
}

pub(super) fn catalog(state: &State, request: &Request) -> Response {
    let (page, link) = page(state, request, state.repositories.keys());
    linked(&json!({ "repositories": page }), link)
}

/// Returns the names after `last`, `n` of them at most, and where the list goes on.
fn page<'a>(
    state: &State,
    request: &Request,
    all: impl Iterator<Item = &'a String>,
) -> (Vec<&'a String>, Option<String>) {
    let n = request.query("n").and_then(|n| n.parse().ok());
    let n = n.unwrap_or(usize::MAX).min(state.options.page);
    let last = request.query("last").unwrap_or_default();
    let mut rest = all.filter(|name| **name > last);
    let page: Vec<&String> = rest.by_ref().take(n).collect();
    let next = page
        .last()
        .filter(|_| rest.next().is_some() && state.options.links);
    let link = next.map(|next| format!("{}?n={n}&last={next}", request.path()));
    (page, link)
}

fn linked(body: &Value, link: Option<String>) -> Response {
    let response = Response::new(200)
        .with("Content-Type", "application/json")
        .with_body(body.to_string().into_bytes());
    match link {
        Some(link) => response.with("Link", format!("<{link}>; rel=\"next\"")),
        None => response,
    }
}

pub(super) fn referrers(state: &State, request: &Request, name: &str, subject: &str) -> Response {
    if !state.options.referrers {
        return Response::refusal(404, "UNSUPPORTED", "referrers are not listed here");
    }
    let subject = match read_digest(subject) {
        Ok(subject) => subject,
        Err(refusal) => return refusal,
    };
    let manifests = state
        .repositories
        .get(name)
        .map(|repository| &repository.manifests);
    let wanted = request.query("artifactType");
    let found: Vec<Value> = manifests
        .into_iter()
        .flatten()
        .filter_map(|(digest, manifest)| entry(digest, manifest, subject.as_str()))
        .filter(|entry| {
            let found = entry.get("artifactType").and_then(Value::as_str);
            wanted.is_none() || found == wanted.as_deref()
        })
        .collect();
    // Unlike tags, referrers have no names to go on from: where it stopped is the registry's own.
    let start = request
        .query("start")
        .and_then(|start| start.parse().ok())
        .unwrap_or(0_usize);
    let end = found.len().min(start.saturating_add(state.options.page));
    let part = found.get(start..end).unwrap_or_default();
    let link = (end < found.len()).then(|| {
        let filter = wanted
            .as_ref()
            .map(|wanted| format!("&artifactType={wanted}"));
        format!(
            "{}?start={end}{}",
            request.path(),
            filter.unwrap_or_default()
        )
    });
    let index =
        json!({ "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": part });
    let mut response = linked(&index, link);
    response.set("Content-Type", media_type::OCI_INDEX);
    match wanted {
        Some(_) => response.with("OCI-Filters-Applied", "artifactType"),
        None => response,
    }
}

/// Returns the entry for a manifest, if it is about `subject`.
fn entry(digest: &str, manifest: &Manifest, subject: &str) -> Option<Value> {
    let document: Value = serde_json::from_slice(&manifest.bytes).ok()?;
    if document.pointer("/subject/digest")?.as_str()? != subject {
        return None;
    }
    let mut entry =
        json!({ "mediaType": manifest.media_type, "digest": digest, "size": manifest.bytes.len() });
    let artifact_type = document
        .get("artifactType")
        .or(document.pointer("/config/mediaType"));
    for (name, value) in [
        ("artifactType", artifact_type),
        ("annotations", document.get("annotations")),
    ] {
        if let Some(value) = value {
            entry[name] = value.clone();
        }
    }
    Some(entry)
}
