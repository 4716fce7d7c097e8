//! What the quirks make of requests and answers.

use std::sync::{Arc, Mutex, MutexGuard};

use base64::Engine as _;
use corten_spec::{Descriptor, media_type};
use corten_testing::Registry;
use corten_testing::registry::{Interposer, Reading, Request, Response, Step};
use serde_json::{Value, json};

use super::{Auth, Quirks};

const PASSWORD: &str = "me:s3cret";

pub(super) struct Quirky {
    pub(super) registry: Registry,
    pub(super) quirks: Arc<Mutex<Quirks>>,
}

impl Quirky {
    fn quirks(&self) -> MutexGuard<'_, Quirks> {
        self.quirks.lock().unwrap()
    }
}

impl Interposer for Quirky {
    fn reading(&mut self, request: &Request) -> Reading {
        let mut quirks = self.quirks();
        if request.method == quirks.half_method && take_one(&mut quirks.n_halves) {
            return Reading::Half;
        }
        Reading::Whole
    }

    fn before(&mut self, request: &mut Request) -> Step {
        let mut quirks = self.quirks();
        let stalls_on = |part: &str| request.target.contains(part);
        if quirks.stall_on.is_some_and(stalls_on) {
            return Step::Stall;
        }
        if quirks.no_ranges {
            request.headers.remove("range");
        }
        if request.method == "PUT" && add_to_index(&self.registry, request, quirks.others_write) {
            quirks.others_write -= 1;
        }
        match answered(&mut quirks, request, self.registry.host()) {
            Some(answer) => Step::Answer(answer),
            None => Step::Pass,
        }
    }

    fn after(&mut self, request: &Request, response: &mut Response) {
        let mut quirks = self.quirks();
        let is_found = matches!(response.status, 200 | 206);
        let is_get = request.method == "GET";
        if is_blob(request) && is_found && is_get {
            if quirks.wrong_bytes {
                response.body[0] ^= 1;
            }
            if quirks.short_blobs {
                response.body.pop();
            }
            if take_one(&mut quirks.n_drops) {
                response.cut = Some(response.body.len() / 2);
            }
        }
        if let Some(digest) = quirks.lying_digest.as_ref().filter(|_| is_found) {
            response.set("Docker-Content-Digest", digest);
        }
        if request.path().contains("/manifests/") && is_found {
            if let Some(media_type) = quirks.content_type {
                response.set("Content-Type", media_type);
            }
            let media_type = response.headers.iter_mut();
            let mut media_type = media_type.filter(|(name, _)| name == "Content-Type");
            if let Some((_, value)) = media_type.next().filter(|_| quirks.charset) {
                value.push_str("; charset=utf-8");
            }
        }
        if let Some(base) = quirks.upload_base.as_ref().filter(|_| is_upload(request)) {
            let locations = response.headers.iter_mut();
            let locations = locations.filter(|(name, _)| name == "Location");
            locations.for_each(|(_, location)| location.insert_str(0, base));
        }
        if quirks.html_errors && response.status >= 400 {
            response.body = b"<html><h1>Bad Gateway</h1></html>".to_vec();
        }
        if let Some(warning) = quirks.warning {
            response.set("Warning", warning);
        }
    }
}

/// Adds an entry to the index that `request` is about to write, if there is one under its tag.
fn add_to_index(registry: &Registry, request: &Request, left: usize) -> bool {
    let path = request.path().trim_start_matches("/v2/");
    let names = path.split_once("/manifests/").filter(|_| left > 0);
    let Some((repository, tag)) = names.filter(|(_, name)| !name.contains(':')) else {
        return false;
    };
    let Some(bytes) = registry.manifest(repository, tag) else {
        return false;
    };
    let mut index: Value = serde_json::from_slice(&bytes).unwrap();
    let other = Descriptor::of(media_type::OCI_INDEX, &bytes);
    let entries = index["manifests"].as_array_mut().unwrap();
    entries.push(json!(other));
    let bytes = index.to_string().into_bytes();
    registry.put_manifest(repository, tag, media_type::OCI_INDEX, &bytes);
    true
}

fn take_one(left: &mut usize) -> bool {
    let is_left = *left > 0;
    *left -= usize::from(is_left);
    is_left
}

fn is_upload(request: &Request) -> bool {
    request.path().contains("/blobs/uploads/")
}

fn is_blob(request: &Request) -> bool {
    request.path().contains("/blobs/") && !is_upload(request)
}

fn refuse(status: u16, code: &str) -> Response {
    Response::refusal(status, code, "the fake says no")
}

/// Answers in the registry's place, where a quirk says so.
fn answered(quirks: &mut Quirks, request: &Request, host: &str) -> Option<Response> {
    if request.path() == "/token" {
        return Some(token_answer(quirks, request));
    }
    if take_one(&mut quirks.n_too_many) {
        return Some(refuse(429, "TOOMANYREQUESTS").with("Retry-After", "1"));
    }
    if let Some(challenge) = challenge(quirks, request, host) {
        return Some(refuse(401, "UNAUTHORIZED").with("WWW-Authenticate", challenge));
    }
    if quirks.no_head && request.method == "HEAD" {
        return Some(Response::new(405));
    }
    if let Some(base) = quirks.redirect_blobs.as_ref().filter(|_| is_blob(request)) {
        let location = format!("{base}{}?sig=s3cret", request.target);
        return Some(Response::new(307).with("Location", location));
    }
    if is_upload(request) {
        if quirks.no_repository {
            return Some(refuse(404, "NAME_UNKNOWN"));
        }
        let is_put = request.method == "PUT";
        if is_put && take_one(&mut quirks.n_unavailable_puts) {
            return Some(refuse(503, "UNSUPPORTED"));
        }
        if is_put && take_one(&mut quirks.n_too_many_puts) {
            return Some(refuse(429, "TOOMANYREQUESTS"));
        }
    }
    if quirks.html_referrers && request.path().contains("/referrers/") {
        return Some(Response::new(200).with_body(b"<html>".to_vec()));
    }
    // A registry may have nothing to offer to who accepts nothing.
    let accepts = request.header("accept").unwrap_or_default();
    let is_manifest = request.method == "GET" && request.path().contains("/manifests/");
    if is_manifest && !accepts.contains("oci.image.index") {
        return Some(refuse(404, "MANIFEST_UNKNOWN"));
    }
    None
}

fn token_answer(quirks: &Quirks, request: &Request) -> Response {
    if let Some(base) = &quirks.redirect_token {
        return Response::new(307).with("Location", format!("{base}/token"));
    }
    if let Some(status) = quirks.token_status {
        return refuse(status, "UNSUPPORTED");
    }
    let body = String::from_utf8_lossy(&request.body).into_owned();
    let scope = request.queries("scope").join(" ");
    let encoded = base64::engine::general_purpose::STANDARD.encode(PASSWORD);
    let knows = request.header("authorization") == Some(&format!("Basic {encoded}"));
    let given = match quirks.auth {
        Auth::Open | Auth::Basic => false,
        Auth::Bearer => knows || !scope.contains("push"),
        Auth::Closed => knows,
        Auth::Identity => body.contains("refresh_token=id-t0ken"),
    };
    if !given {
        return refuse(401, "UNAUTHORIZED");
    }
    let token = format!("t-{}", if knows { "me" } else { "any" });
    let body = json!({ "token": token, "expires_in": 300 });
    Response::new(200).with_body(body.to_string().into_bytes())
}

/// The challenge, if the request has to be answered with one.
fn challenge(quirks: &Quirks, request: &Request, host: &str) -> Option<String> {
    let given = request.header("authorization");
    let bearer = format!(r#"Bearer realm="http://{host}/token",service="fake""#);
    let writes = !matches!(request.method.as_str(), "GET" | "HEAD");
    let encoded = base64::engine::general_purpose::STANDARD.encode(PASSWORD);
    match quirks.auth {
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
