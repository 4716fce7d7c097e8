//! Where a build's result goes besides the local store: `--output`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;

/// One `--output`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BuildOutput {
    /// `image`: the local store, where it is anyway.
    Store,
    /// `registry`: the registries of all names.
    Registry,
    /// `oci`, `oci-archive`: an image layout in a tar.
    OciArchive(PathBuf),
    /// `docker`, `docker-archive`: what `docker load` reads.
    DockerArchive(PathBuf),
    /// `oci-layout`: an image layout.
    Layout(PathBuf),
    /// `local`: the root file system in a directory.
    Directory(PathBuf),
    /// `tar`: the root file system in a tar.
    Tar(PathBuf),
}

const KINDS: &str =
    "known are `image`, `registry`, `oci`, `docker`, `oci-layout`, `local` and `tar`";

impl FromStr for BuildOutput {
    type Err = String;

    /// Reads `KIND,dest=PATH` or `type=KIND,dest=PATH`; a path alone is a directory for the root file
    /// system, as for Docker.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut kind = None;
        let mut values = BTreeMap::new();
        for (number, part) in text.split(',').enumerate() {
            match part.split_once('=') {
                Some(("type", value)) => kind = Some(value),
                Some((key, value)) => drop(values.insert(key, value)),
                None if number == 0 => kind = Some(part),
                None => return Err(format!("`{part}` is not of the form `KEY=VALUE`")),
            }
        }
        let kind = kind.ok_or("it does not say its `type`")?;
        let is_path = kind.starts_with(['.', '/']) && values.is_empty();
        let (kind, path) = if is_path {
            ("local", Some(kind))
        } else {
            (kind, values.remove("dest"))
        };
        let is_pushed = kind == "image" && values.remove("push") == Some("true");
        if let Some((key, _)) = values.first_key_value() {
            return Err(format!(
                "`{key}` is not a known option of an output; `dest` is"
            ));
        }
        let destination = || {
            let path = path.filter(|path| !path.is_empty());
            path.map(PathBuf::from).ok_or(format!(
                "`{kind}` needs a destination, as in `type={kind},dest=PATH`"
            ))
        };
        let output = match kind {
            "image" if is_pushed => Self::Registry,
            "image" => Self::Store,
            "registry" => Self::Registry,
            "oci" | "oci-archive" => Self::OciArchive(destination()?),
            "docker" | "docker-archive" => Self::DockerArchive(destination()?),
            "oci-layout" => Self::Layout(destination()?),
            "local" => Self::Directory(destination()?),
            "tar" => Self::Tar(destination()?),
            other => return Err(format!("`{other}` is not a kind of output; {KINDS}")),
        };
        match output {
            Self::Store | Self::Registry if path.is_some() => {
                Err(format!("`{kind}` has no destination"))
            }
            output => Ok(output),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        #[track_caller]
        fn check(text: &str, expected: Result<BuildOutput, &str>) {
            assert_eq!(
                text.parse::<BuildOutput>(),
                expected.map_err(str::to_owned),
                "{text:?}"
            );
        }
        check(
            "type=oci,dest=a.tar",
            Ok(BuildOutput::OciArchive("a.tar".into())),
        );
        check(
            "oci-archive,dest=a.tar",
            Ok(BuildOutput::OciArchive("a.tar".into())),
        );
        check(
            "dest=a.tar,type=docker",
            Ok(BuildOutput::DockerArchive("a.tar".into())),
        );
        check(
            "type=oci-layout,dest=d",
            Ok(BuildOutput::Layout("d".into())),
        );
        check("./out", Ok(BuildOutput::Directory("./out".into())));
        check(
            "type=local,dest=out",
            Ok(BuildOutput::Directory("out".into())),
        );
        check("type=tar,dest=-", Ok(BuildOutput::Tar("-".into())));
        check("type=image,push=true", Ok(BuildOutput::Registry));
        check("registry", Ok(BuildOutput::Registry));
        check("registry,dest=x", Err("`registry` has no destination"));
        check(
            "type=oci",
            Err("`oci` needs a destination, as in `type=oci,dest=PATH`"),
        );
        check(
            "type=oci,dest=a,tar=false",
            Err("`tar` is not a known option of an output; `dest` is"),
        );
        check("dest=a", Err("it does not say its `type`"));
        check(
            "type=cacheonly",
            Err(
                "`cacheonly` is not a kind of output; known are `image`, `registry`, `oci`, `docker`, \
                 `oci-layout`, `local` and `tar`",
            ),
        );
    }
}
