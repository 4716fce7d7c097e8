//! `# syntax=` and `BUILDKIT_SYNTAX`: which grammars the built-in one stands for.
//!
//! BuildKit would pull and run the image. There is nothing here to run it with, so a grammar that is
//! not known to be ours is refused, never guessed.

use crate::diagnostic::{Diagnostic, Span};

/// The minor version of `docker/dockerfile:1` whose reference the grammar follows.
const MINOR: u32 = 28;

/// What BuildKit calls the grammar that is built into it.
const BUILT_IN: &str = "dockerfile.v0";

/// Whose grammar a front end reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Grammar {
    /// The built-in one.
    BuiltIn,
    /// The built-in one as far as can be told; what there is to say about it.
    Close(String),
    /// Another.
    Foreign,
}

/// Tells what grammar the front end `image` reads.
pub(crate) fn grammar(image: &str) -> Grammar {
    known(image).unwrap_or(Grammar::Foreign)
}

fn known(image: &str) -> Option<Grammar> {
    let (name, digest) = match image.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (image, None),
    };
    if name == BUILT_IN && digest.is_none() {
        return Some(Grammar::BuiltIn);
    }
    let last = name.rfind('/').map_or(0, |slash| slash + 1);
    let (directories, last) = name.split_at_checked(last)?;
    let (repository, tag) = last.split_once(':').unwrap_or((last, "latest"));
    // A mirror keeps the path: `registry.example/mirror/docker/dockerfile`.
    if directories != "docker/" && !directories.ends_with("/docker/") {
        return None;
    }
    let newer = match repository {
        "dockerfile" => newer(tag)?,
        "dockerfile-upstream" => match tag {
            "latest" | "master" | "master-labs" => true,
            tag => newer(tag)?,
        },
        _ => return None,
    };
    Some(match digest {
        Some(_) => Grammar::Close(format!(
            "the built-in grammar is used for `{name}`, whatever its digest is"
        )),
        None if newer => Grammar::Close(format!(
            "the built-in grammar, that of `docker/dockerfile:1.{MINOR}`, is used for `{name}`"
        )),
        None => Grammar::BuiltIn,
    })
}

/// Reads a tag: `1`, `1.7`, `1.7.0`, each also with `-labs`; tells whether it is newer than ours.
fn newer(tag: &str) -> Option<bool> {
    if matches!(tag, "latest" | "labs" | "experimental") {
        return Some(false);
    }
    let version = ["-labs", "-experimental"]
        .iter()
        .find_map(|channel| tag.strip_suffix(channel))
        .unwrap_or(tag);
    let is_number =
        |text: &&str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let numbers: Vec<&str> = version.split('.').collect();
    if !numbers.iter().all(is_number) {
        return None;
    }
    match numbers.as_slice() {
        ["1"] => Some(false),
        ["1", minor] | ["1", minor, _] => Some(minor.parse().map_or(true, |n: u32| n > MINOR)),
        _ => None,
    }
}

/// Says that there is no such front end here, and what there is.
pub(crate) fn refused(image: &str, span: Span) -> Diagnostic {
    let message = format!("the Dockerfile syntax `{image}` is not supported");
    Diagnostic::new(message, span).with_hint(format!(
        "the built-in grammar is that of `docker/dockerfile:1` up to 1.{MINOR}; remove the line, or \
         use the built-in grammar with `--build-arg BUILDKIT_SYNTAX={BUILT_IN}`"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images() {
        #[track_caller]
        fn check(image: &str, expected: Option<bool>) {
            let found = match grammar(image) {
                Grammar::BuiltIn => Some(false),
                Grammar::Close(_) => Some(true),
                Grammar::Foreign => None,
            };
            assert_eq!(found, expected, "{image:?}");
        }

        check("docker/dockerfile", Some(false));
        check("docker/dockerfile:1", Some(false));
        check("docker/dockerfile:1.7", Some(false));
        check("docker/dockerfile:1.7.0", Some(false));
        check("docker/dockerfile:1-labs", Some(false));
        check("docker/dockerfile:1.7-labs", Some(false));
        check("docker/dockerfile:1.0-experimental", Some(false));
        check("docker/dockerfile:labs", Some(false));
        check("docker/dockerfile:1.99", Some(true));
        check("docker/dockerfile:1@sha256:00", Some(true));
        check("docker.io/docker/dockerfile:1", Some(false));
        check("mirror.example:5000/hub/docker/dockerfile:1.4", Some(false));
        check("docker/dockerfile-upstream:1.4", Some(false));
        check("docker/dockerfile-upstream:master", Some(true));
        check("dockerfile.v0", Some(false));
        check("docker/dockerfile:2", None);
        check("docker/dockerfile:0.9", None);
        check("docker/dockerfile:1.2.3.4", None);
        check("docker/dockerfile:1.x", None);
        check("docker/dockerfile:", None);
        check("dockerfile", None);
        check("notdocker/dockerfile:1", None);
        check("docker/dockerfile-other:1", None);
        check("", None);
    }
}
