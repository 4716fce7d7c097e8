//! The files that tell what was built.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use corten_spec::Reference;
use serde_json::json;

use super::args::KanikoArgs;
use super::translate::Translation;
use crate::context::Context;
use crate::error::CommandError;

/// Writes the files that were asked for.
pub(super) fn write(
    args: &KanikoArgs,
    ctx: &Context,
    translation: &Translation,
    digest_file: &Path,
) -> Result<(), CommandError> {
    let digest = fs::read_to_string(digest_file).map_err(CommandError::caused)?;
    let names = &translation.names;
    let files = [
        ("digest-file", digest.clone()),
        ("image-name-with-digest-file", lines(names, &digest, false)),
        (
            "image-name-tag-with-digest-file",
            lines(names, &digest, true),
        ),
    ];
    for (flag, text) in files {
        if let Some(path) = args.last(flag) {
            write_file(Path::new(path), &text)?;
        }
    }
    match &ctx.env.kaniko.builder_output {
        Some(directory) if translation.is_pushed => {
            write_file(&directory.join("images"), &pushed(names, &digest))
        }
        _ => Ok(()),
    }
}

/// Returns a line for each name. Docker Hub has the name that kaniko knows it by.
fn lines(names: &[Reference], digest: &str, with_tag: bool) -> String {
    let line = |name: &Reference| {
        let registry = match name.registry() {
            "docker.io" => "index.docker.io",
            other => other,
        };
        let tag = match name.tag() {
            Some(tag) if with_tag => format!(":{tag}"),
            _ => String::new(),
        };
        format!("{registry}/{}{tag}@{digest}\n", name.repository())
    };
    names.iter().map(line).collect()
}

fn pushed(names: &[Reference], digest: &str) -> String {
    let line = |name: &Reference| {
        let entry = json!({ "name": name.to_string(), "digest": digest });
        format!("{entry}\n")
    };
    names.iter().map(line).collect()
}

/// Writes a file, which may be one that is mounted and cannot be replaced.
fn write_file(path: &Path, text: &str) -> Result<(), CommandError> {
    let write = || {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::File::create(path)?.write_all(text.as_bytes())
    };
    write()
        .map_err(|error| CommandError::doing(format!("cannot write `{}`", path.display()), error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_kaniko_writes_them() {
        let names = ["a:1", "e.com/b/c"].map(|name| {
            let name: Reference = name.parse().unwrap();
            name.or_latest()
        });
        assert_eq!(
            lines(&names, "sha256:00", false),
            "index.docker.io/library/a@sha256:00\ne.com/b/c@sha256:00\n"
        );
        assert_eq!(
            lines(&names, "sha256:00", true),
            "index.docker.io/library/a:1@sha256:00\ne.com/b/c:latest@sha256:00\n"
        );
        assert_eq!(
            pushed(&names, "sha256:00").lines().last().unwrap(),
            r#"{"digest":"sha256:00","name":"e.com/b/c:latest"}"#
        );
    }
}
