//! Which request is about what, and blobs (distribution-spec, Endpoints).

use corten_spec::{Digest, reference};

use super::state::State;
use super::{Reading, Request, Response, lists, manifests, uploads};

/// Carries out `request`, whose body may be a half only, and answers it.
pub(super) fn answer(state: &mut State, request: &Request, reading: Reading) -> Response {
    let Some(rest) = request.path().strip_prefix("/v2/") else {
        return Response::refusal(404, "UNSUPPORTED", "the API begins with /v2/");
    };
    match rest {
        "" => return Response::new(200).with_body(b"{}".to_vec()),
        "_catalog" => return lists::catalog(state, request),
        _ => {}
    }
    // The last of these parts counts: a repository may be called `blobs`.
    let split = [
        "/blobs/uploads/",
        "/blobs/",
        "/manifests/",
        "/referrers/",
        "/tags/",
    ]
    .into_iter()
    .filter_map(|part| {
        rest.rsplit_once(part)
            .map(|(name, tail)| (name, part, tail))
    })
    .max_by_key(|(name, part, _)| (name.len(), part.len()));
    let Some((name, part, tail)) = split else {
        return Response::refusal(404, "UNSUPPORTED", "there is no such endpoint");
    };
    // Docker Hub's names need not have a host, and the grammar is the same.
    if format!("registry.example/{name}")
        .parse::<corten_spec::Reference>()
        .is_err()
    {
        return Response::refusal(400, "NAME_INVALID", "the name of the repository is invalid");
    }
    match part {
        "/blobs/uploads/" => uploads::answer(state, request, name, tail, reading),
        "/blobs/" => blob(state, request, name, tail),
        "/manifests/" => manifests::answer(state, request, name, tail),
        "/referrers/" => lists::referrers(state, request, name, tail),
        _ => lists::tags(state, request, name, tail),
    }
}

/// Returns what a digest that clients named stands for, if it is one that is known.
pub(super) fn read_digest(text: &str) -> Result<Digest, Response> {
    Digest::known(text)
        .ok_or_else(|| Response::refusal(400, "DIGEST_INVALID", "the digest is malformed"))
}

/// Tells whether `text` is a tag.
pub(super) fn is_tag(text: &str) -> bool {
    reference::is_tag(text)
}

fn blob(state: &mut State, request: &Request, name: &str, digest: &str) -> Response {
    let digest = match read_digest(digest) {
        Ok(digest) => digest,
        Err(refusal) => return refusal,
    };
    let unknown = || Response::refusal(404, "BLOB_UNKNOWN", "the blob is not in the repository");
    let may_delete = state.options.deletes;
    let Some(repository) = state.repositories.get_mut(name) else {
        return unknown();
    };
    match request.method.as_str() {
        "GET" | "HEAD" => match repository.blobs.get(digest.as_str()) {
            Some(bytes) => ranged(request, bytes)
                .with("Content-Type", "application/octet-stream")
                .with("Docker-Content-Digest", digest.as_str()),
            None => unknown(),
        },
        "DELETE" if may_delete => match repository.blobs.remove(digest.as_str()) {
            Some(_) => Response::new(202),
            None => unknown(),
        },
        _ => Response::refusal(405, "UNSUPPORTED", "that cannot be done to blobs"),
    }
}

/// Returns what of `bytes` is asked for (RFC 9110, Range Requests).
fn ranged(request: &Request, bytes: &[u8]) -> Response {
    let Some(range) = request.header("range") else {
        return Response::new(200).with_body(bytes.to_vec());
    };
    let Some((start, end)) = read_range(range, bytes.len()) else {
        return Response::refusal(416, "UNSUPPORTED", "the range cannot be satisfied")
            .with("Content-Range", format!("bytes */{}", bytes.len()));
    };
    let part = bytes.get(start..=end).unwrap_or_default();
    Response::new(206)
        .with(
            "Content-Range",
            format!("bytes {start}-{end}/{}", bytes.len()),
        )
        .with_body(part.to_vec())
}

/// Returns the first and the last byte of a range of `len` bytes.
fn read_range(range: &str, len: usize) -> Option<(usize, usize)> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let final_byte = len.checked_sub(1)?;
    let (first, last) = match (first, last) {
        ("", last) => (len.saturating_sub(last.parse().ok()?), final_byte),
        (first, "") => (first.parse().ok()?, final_byte),
        (first, last) => (
            first.parse().ok()?,
            last.parse::<usize>().ok()?.min(final_byte),
        ),
    };
    (first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        #[track_caller]
        fn check(range: &str, expected: Option<(usize, usize)>) {
            assert_eq!(read_range(range, 1000), expected, "{range}");
        }
        // As the conformance suite asks.
        check("bytes=500-1499", Some((500, 999)));
        check("bytes=500-", Some((500, 999)));
        check("bytes=-500", Some((500, 999)));
        check("bytes=0-0", Some((0, 0)));
        check("bytes=2000-5000", None);
        check("bytes=500-0", None);
        check("bytes=-2000", Some((0, 999)));
        check("items=0-1", None);
        assert_eq!(read_range("bytes=0-", 0), None);
    }
}
