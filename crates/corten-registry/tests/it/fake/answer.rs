//! What the registry answers to which request.

use base64::Engine as _;
use corten_spec::{Algorithm, Hasher};
use serde_json::{Value, json};

use super::{Answer, Auth, Quirks, Seen, State};

fn refuse(quirks: &Quirks, status: u16, code: &str) -> Answer {
    if quirks.html_errors {
        return Answer::new(status).body(b"<html><h1>Bad Gateway</h1></html>".to_vec());
    }
    let body = json!({ "errors": [{ "code": code, "message": "the fake says no" }] });
    Answer::new(status).body(body.to_string().into_bytes())
}

fn query(target: &str, name: &str) -> Option<String> {
    let (_, query) = target.split_once('?')?;
    let found = query.split('&').filter_map(|pair| pair.split_once('='));
    found
        .filter(|(found, _)| *found == name)
        .map(|(_, value)| value.replace("%2b", "+").replace("%20", " "))
        .next()
}

fn digest_of(algorithm: Algorithm, bytes: &[u8]) -> String {
    let mut hasher = Hasher::new(algorithm);
    hasher.update(bytes);
    hasher.finish().to_string()
}

const PASSWORD: &str = "me:s3cret";

fn token_answer(state: &State, seen: &Seen) -> Answer {
    if let Some(base) = &state.quirks.redirect_token {
        return Answer::new(307).with("Location", format!("{base}/token"));
    }
    if let Some(status) = state.quirks.token_status {
        return refuse(&state.quirks, status, "UNSUPPORTED");
    }
    let body = String::from_utf8_lossy(&seen.body).into_owned();
    let scope = seen
        .target
        .split_once('?')
        .map_or("", |(_, query)| query)
        .split('&')
        .filter_map(|pair| pair.strip_prefix("scope="))
        .collect::<Vec<_>>()
        .join("+");
    let encoded = base64::engine::general_purpose::STANDARD.encode(PASSWORD);
    let knows = seen.headers.get("authorization") == Some(&format!("Basic {encoded}"));
    let given = match state.quirks.auth {
        Auth::Open | Auth::Basic => false,
        Auth::Bearer => knows || !scope.contains("push"),
        Auth::Closed => knows,
        Auth::Identity => body.contains("refresh_token=id-t0ken"),
    };
    if !given {
        return refuse(&state.quirks, 401, "UNAUTHORIZED");
    }
    let token = format!("t-{}", if knows { "me" } else { "any" });
    Answer::new(200).body(
        json!({ "token": token, "expires_in": 300 })
            .to_string()
            .into_bytes(),
    )
}

/// The challenge, if the request has to be answered with one.
fn challenge(state: &State, seen: &Seen, host: &str) -> Option<String> {
    let given = seen.headers.get("authorization").map(String::as_str);
    let bearer = format!(r#"Bearer realm="http://{host}/token",service="fake""#);
    let writes = !matches!(seen.method.as_str(), "GET" | "HEAD");
    let encoded = base64::engine::general_purpose::STANDARD.encode(PASSWORD);
    match state.quirks.auth {
        Auth::Open => None,
        Auth::Basic => {
            (given != Some(&format!("Basic {encoded}"))).then(|| r#"Basic realm="fake""#.to_owned())
        }
        Auth::Bearer if writes => (given != Some("Bearer t-me")).then_some(bearer),
        Auth::Bearer | Auth::Identity | Auth::Closed => {
            let is_token = given.is_some_and(|given| given.starts_with("Bearer t-"));
            (!is_token).then_some(bearer)
        }
    }
}

pub(super) fn answer(state: &mut State, seen: &Seen, host: &str) -> Answer {
    let path = seen.target.split('?').next().unwrap().to_owned();
    if path == "/token" {
        return token_answer(state, seen);
    }
    if state.quirks.n_too_many > 0 {
        state.quirks.n_too_many -= 1;
        return refuse(&state.quirks, 429, "TOOMANYREQUESTS").with("Retry-After", "1");
    }
    if let Some(challenge) = challenge(state, seen, host) {
        return refuse(&state.quirks, 401, "UNAUTHORIZED").with("WWW-Authenticate", challenge);
    }
    if state.quirks.no_head && seen.method == "HEAD" {
        return Answer::new(405);
    }
    if path == "/v2/" {
        return Answer::new(200);
    }
    let Some(rest) = path.strip_prefix("/v2/") else {
        return refuse(&state.quirks, 404, "UNSUPPORTED");
    };
    for (part, handle) in [
        (
            "/blobs/uploads/",
            upload as fn(&mut State, &Seen, &str, &str) -> Answer,
        ),
        ("/blobs/", blob),
        ("/manifests/", manifest),
        ("/referrers/", referrers),
        ("/tags/", tags),
    ] {
        if let Some((repo, name)) = rest.split_once(part) {
            return handle(state, seen, repo, name);
        }
    }
    refuse(&state.quirks, 404, "UNSUPPORTED")
}

fn blob(state: &mut State, seen: &Seen, repo: &str, name: &str) -> Answer {
    if let Some(base) = &state.quirks.redirect_blobs {
        return Answer::new(307).with("Location", format!("{base}{}?sig=s3cret", seen.target));
    }
    let found = state
        .repos
        .get(repo)
        .and_then(|repo| repo.blobs.get(name))
        .cloned();
    let Some(mut bytes) = found else {
        return refuse(&state.quirks, 404, "BLOB_UNKNOWN");
    };
    if state.quirks.wrong_bytes {
        bytes[0] ^= 1;
    }
    if state.quirks.short_blobs {
        bytes.pop();
    }
    let start = seen
        .headers
        .get("range")
        .filter(|_| !state.quirks.no_ranges)
        .map(|range| {
            range
                .trim_start_matches("bytes=")
                .trim_end_matches('-')
                .parse()
                .unwrap()
        });
    let mut answer = match start {
        Some(start) if start >= bytes.len() => return refuse(&state.quirks, 416, "UNSUPPORTED"),
        Some(start) => Answer::new(206)
            .with(
                "Content-Range",
                format!("bytes {start}-{}/{}", bytes.len() - 1, bytes.len()),
            )
            .body(bytes.split_off(start)),
        None => Answer::new(200).body(bytes),
    };
    if seen.method == "GET" && state.quirks.n_drops > 0 {
        state.quirks.n_drops -= 1;
        answer.cut = Some(answer.body.len() / 2);
    }
    answer.with("Docker-Content-Digest", name)
}

fn manifest(state: &mut State, seen: &Seen, repo: &str, name: &str) -> Answer {
    let quirks = state.quirks.clone();
    if seen.method == "PUT" {
        let digest = if name.contains(':') {
            name.to_owned()
        } else {
            digest_of(Algorithm::Sha256, &seen.body)
        };
        let algorithm = Algorithm::named(digest.split(':').next().unwrap()).unwrap();
        if digest_of(algorithm, &seen.body) != digest {
            return refuse(&quirks, 400, "DIGEST_INVALID");
        }
        let repo = state.repos.entry(repo.into()).or_default();
        if let Some(old) = repo.tags.get(name).cloned() {
            if state.quirks.others_write > 0 {
                state.quirks.others_write -= 1;
                let (media_type, bytes) = repo.manifests.get(&old).cloned().unwrap();
                let mut index: Value = serde_json::from_slice(&bytes).unwrap();
                let other = json!({ "mediaType": media_type, "size": 2,
                    "digest": digest_of(Algorithm::Sha256, &bytes) });
                let entries = index.get_mut("manifests").and_then(Value::as_array_mut);
                entries.unwrap().push(other);
                let bytes = index.to_string().into_bytes();
                let new = digest_of(Algorithm::Sha256, &bytes);
                repo.manifests.insert(new.clone(), (media_type, bytes));
                repo.tags.insert(name.into(), new);
            }
            let wanted = seen.headers.get("if-match");
            let current = repo.tags.get(name).map(|digest| format!("\"{digest}\""));
            if wanted.is_some_and(|wanted| Some(wanted) != current.as_ref()) {
                return refuse(&quirks, 412, "MANIFEST_INVALID");
            }
        }
        let media_type = seen
            .headers
            .get("content-type")
            .cloned()
            .unwrap_or_default();
        repo.manifests
            .insert(digest.clone(), (media_type, seen.body.clone()));
        if !name.contains(':') {
            repo.tags.insert(name.into(), digest.clone());
        }
        let parsed: Value = serde_json::from_slice(&seen.body).unwrap_or_default();
        let answer = Answer::new(201).with("Docker-Content-Digest", digest);
        return match parsed.pointer("/subject/digest").and_then(Value::as_str) {
            Some(subject) if !quirks.no_referrers => answer.with("OCI-Subject", subject),
            _ => answer,
        };
    }
    let Some(repo) = state.repos.get_mut(repo) else {
        return refuse(&quirks, 404, "NAME_UNKNOWN");
    };
    let digest = repo.tags.get(name).cloned().unwrap_or(name.to_owned());
    if seen.method == "DELETE" {
        repo.tags.retain(|_, tagged| *tagged != digest);
        let status = if repo.manifests.remove(&digest).is_some() {
            202
        } else {
            404
        };
        return Answer::new(status);
    }
    // A registry may have nothing to offer to who accepts nothing.
    let accepts = seen
        .headers
        .get("accept")
        .is_some_and(|accept| accept.contains("oci.image.index"));
    match repo.manifests.get(&digest) {
        Some((media_type, bytes)) if accepts || seen.method == "HEAD" => {
            let media_type = quirks.content_type.unwrap_or(media_type);
            let charset = if quirks.charset {
                "; charset=utf-8"
            } else {
                ""
            };
            Answer::new(200)
                .with("Content-Type", format!("{media_type}{charset}"))
                .with("ETag", format!("\"{digest}\""))
                .with(
                    "Docker-Content-Digest",
                    quirks.lying_digest.unwrap_or(digest),
                )
                .body(bytes.clone())
        }
        _ => refuse(&quirks, 404, "MANIFEST_UNKNOWN"),
    }
}

fn upload(state: &mut State, seen: &Seen, repo: &str, id: &str) -> Answer {
    let base = state.quirks.upload_base.clone().unwrap_or_default();
    let location = |id: &str| format!("{base}/v2/{repo}/blobs/uploads/{id}?_state=a%2Bb==");
    if state.quirks.no_repository {
        return refuse(&state.quirks, 404, "NAME_UNKNOWN");
    }
    if seen.method == "POST" {
        let mounted = query(&seen.target, "mount").zip(query(&seen.target, "from"));
        let found = mounted
            .filter(|_| !state.quirks.no_mount)
            .and_then(|(digest, from)| {
                let bytes = state.repos.get(&from)?.blobs.get(&digest)?.clone();
                Some((digest, bytes))
            });
        if let Some((digest, bytes)) = found {
            state
                .repos
                .entry(repo.into())
                .or_default()
                .blobs
                .insert(digest.clone(), bytes);
            return Answer::new(201).with("Location", format!("/v2/{repo}/blobs/{digest}"));
        }
        let algorithm = query(&seen.target, "digest-algorithm");
        let algorithm =
            algorithm.map_or(Algorithm::Sha256, |name| Algorithm::named(&name).unwrap());
        state.n_uploads += 1;
        let id = format!("u{}", state.n_uploads);
        state.uploads.insert(id.clone(), (algorithm, Vec::new()));
        let answer = Answer::new(202).with("Location", location(&id));
        return match state.quirks.chunk_min {
            Some(least) => answer.with("OCI-Chunk-Min-Length", least.to_string()),
            None => answer,
        };
    }
    let Some((algorithm, mut bytes)) = state.uploads.get(id).cloned() else {
        return refuse(&state.quirks, 404, "BLOB_UPLOAD_UNKNOWN");
    };
    assert!(
        seen.target.contains("_state=a%2Bb=="),
        "the query was lost: {}",
        seen.target
    );
    let range = |len: usize| format!("0-{}", len.saturating_sub(1));
    match seen.method.as_str() {
        "GET" => Answer::new(204)
            .with("Location", location(id))
            .with("Range", range(bytes.len())),
        "DELETE" => {
            state.uploads.remove(id);
            Answer::new(204)
        }
        "PATCH" => {
            let content_range = &seen.headers["content-range"];
            let (start, _) = content_range.split_once('-').unwrap();
            if start.parse() != Ok(bytes.len()) {
                return refuse(&state.quirks, 416, "BLOB_UPLOAD_INVALID");
            }
            bytes.extend(&seen.body);
            let range = range(bytes.len());
            state.uploads.insert(id.into(), (algorithm, bytes));
            Answer::new(202)
                .with("Location", location(id))
                .with("Range", range)
        }
        _ => {
            if state.quirks.n_unavailable_puts > 0 {
                state.quirks.n_unavailable_puts -= 1;
                return refuse(&state.quirks, 503, "UNSUPPORTED");
            }
            if state.quirks.n_too_many_puts > 0 {
                state.quirks.n_too_many_puts -= 1;
                return refuse(&state.quirks, 429, "TOOMANYREQUESTS");
            }
            bytes.extend(&seen.body);
            if seen.headers.contains_key("x-half") {
                state.uploads.insert(id.into(), (algorithm, bytes));
                return Answer::new(500);
            }
            let digest = query(&seen.target, "digest").unwrap();
            if digest_of(algorithm, &bytes) != digest {
                return refuse(&state.quirks, 400, "DIGEST_INVALID");
            }
            state.uploads.remove(id);
            state
                .repos
                .entry(repo.into())
                .or_default()
                .blobs
                .insert(digest.clone(), bytes);
            Answer::new(201)
                .with("Location", format!("/v2/{repo}/blobs/{digest}"))
                .with("Docker-Content-Digest", digest)
        }
    }
}

/// A page of `all`, and a link to the next one.
fn page<T: Clone>(state: &State, seen: &Seen, all: &[T]) -> (Vec<T>, Option<String>) {
    let Some(len) = state.quirks.page else {
        return (all.to_vec(), None);
    };
    let start: usize = query(&seen.target, "start").map_or(0, |start| start.parse().unwrap());
    let end = (start + len).min(all.len());
    let path = seen.target.split('?').next().unwrap();
    let link = (end < all.len()).then(|| format!(r#"<{path}?start={end}>; rel="next""#));
    (all[start..end].to_vec(), link)
}

fn linked(answer: Answer, link: Option<String>) -> Answer {
    match link {
        Some(link) => answer.with("Link", link),
        None => answer,
    }
}

fn referrers(state: &mut State, seen: &Seen, repo: &str, subject: &str) -> Answer {
    if state.quirks.no_referrers {
        return refuse(&state.quirks, 404, "UNSUPPORTED");
    }
    if state.quirks.html_referrers {
        return Answer::new(200).body(b"<html>".to_vec());
    }
    let manifests = state.repos.get(repo).map(|repo| &repo.manifests);
    let mut found: Vec<Value> = Vec::new();
    for (digest, (media_type, bytes)) in manifests.into_iter().flatten() {
        let value: Value = serde_json::from_slice(bytes).unwrap();
        if value.pointer("/subject/digest").and_then(Value::as_str) == Some(subject) {
            let artifact_type = value.get("artifactType");
            found.push(
                json!({ "mediaType": media_type, "digest": digest, "size": bytes.len(),
                "artifactType": artifact_type.or(value.pointer("/config/mediaType")) }),
            );
        }
    }
    found.sort_by_key(ToString::to_string);
    let (found, link) = page(state, seen, &found);
    let index = json!({ "schemaVersion": 2, "manifests": found });
    linked(Answer::new(200).body(index.to_string().into_bytes()), link)
}

fn tags(state: &mut State, seen: &Seen, repo: &str, _: &str) -> Answer {
    let Some(found) = state.repos.get(repo) else {
        return refuse(&state.quirks, 404, "NAME_UNKNOWN");
    };
    let all: Vec<String> = found.tags.keys().cloned().collect();
    let (tags, link) = page(state, seen, &all);
    let body = json!({ "name": repo, "tags": tags }).to_string();
    linked(Answer::new(200).body(body.into_bytes()), link)
}
