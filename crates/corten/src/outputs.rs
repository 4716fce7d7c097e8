//! Where a build's result goes besides the local store: `--output`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;

use corten_spec::Reference;

use crate::conversion::DocumentFormat;
use crate::rootfs;

/// Where one `--output` goes.
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

/// One `--output`, with what is particular about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OutputSpec {
    /// Where the result goes.
    pub(crate) to: BuildOutput,
    /// The name there, in place of those of the image.
    pub(crate) name: Option<Reference>,
    /// The format of the documents.
    pub(crate) format: Option<DocumentFormat>,
    /// What the manifest is annotated with.
    pub(crate) annotations: Vec<(String, String)>,
    /// Whether what is stated about the image is an artifact, which has the image as its subject.
    pub(crate) oci_artifact: Option<bool>,
}

impl FromStr for OutputSpec {
    type Err = String;

    /// Reads `KIND,dest=PATH` or `type=KIND,dest=PATH`; a path alone is a directory for the root file
    /// system, and `-` a tar of it on standard output, as for Docker.
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
        let is_alone = values.is_empty();
        let (kind, path) = match kind {
            "-" if is_alone => ("tar", Some("-")),
            path if path.starts_with(['.', '/']) && is_alone => ("local", Some(path)),
            kind => (kind, values.remove("dest")),
        };
        let to = destination(kind, path, &mut values)?;
        let is_image = match to {
            BuildOutput::Directory(_) | BuildOutput::Tar(_) => false,
            BuildOutput::Store
            | BuildOutput::Registry
            | BuildOutput::OciArchive(_)
            | BuildOutput::DockerArchive(_)
            | BuildOutput::Layout(_) => true,
        };
        let mut spec = Self {
            to,
            name: None,
            format: None,
            oci_artifact: None,
            annotations: Vec::new(),
        };
        for (key, value) in values {
            spec.add(key, value, is_image)?;
        }
        Ok(spec)
    }
}

impl OutputSpec {
    /// Tells whether the result goes to standard output.
    pub(crate) fn is_stdout(&self) -> bool {
        match &self.to {
            BuildOutput::OciArchive(path)
            | BuildOutput::DockerArchive(path)
            | BuildOutput::Tar(path) => rootfs::is_stdout(path),
            BuildOutput::Store
            | BuildOutput::Registry
            | BuildOutput::Layout(_)
            | BuildOutput::Directory(_) => false,
        }
    }

    fn add(&mut self, key: &str, value: &str, is_image: bool) -> Result<(), String> {
        let annotation = key
            .strip_prefix("annotation.")
            .or_else(|| key.strip_prefix("annotation-manifest."));
        match (key, annotation) {
            (_, Some(annotation)) if is_image => {
                let pair = (annotation.to_owned(), value.to_owned());
                self.annotations.push(pair);
            }
            ("name", _) if is_image => {
                let name: Result<Reference, _> = value.parse();
                let name = name.map_err(|error| error.to_string())?;
                if name.digest().is_some() {
                    return Err(format!(
                        "`{value}` has a digest, and the image's own is not known"
                    ));
                }
                self.name = Some(name.or_latest());
            }
            ("oci-artifact", _) if is_image => self.oci_artifact = Some(boolean(key, value)?),
            ("oci-mediatypes", _) if is_image && boolean(key, value)? => {
                self.format = Some(DocumentFormat::Oci);
            }
            ("oci-mediatypes", _) if is_image => self.format = Some(DocumentFormat::Docker),
            ("rewrite-timestamp", _) if boolean(key, value)? => {}
            ("compression" | "compression-level" | "force-compression", _) => {
                return Err(format!(
                    "`{key}` cannot be one of an output, since layers are packed once; \
                     `--compression KIND:LEVEL` is for all"
                ));
            }
            _ => {
                return Err(format!(
                    "`{key}` is not a known option of this kind of output"
                ));
            }
        }
        Ok(())
    }
}

/// Returns where an output of `kind` goes, and takes out of `values` what says so.
fn destination(
    kind: &str,
    path: Option<&str>,
    values: &mut BTreeMap<&str, &str>,
) -> Result<BuildOutput, String> {
    let mut is_set = |key: &str, usual: bool| match values.remove(key) {
        Some(value) => boolean(key, value),
        None => Ok(usual),
    };
    let destination = || {
        let path = path.filter(|path| !path.is_empty());
        path.map(PathBuf::from).ok_or(format!(
            "`{kind}` needs a destination, as in `type={kind},dest=PATH`"
        ))
    };
    let directory = || match destination()? {
        path if rootfs::is_stdout(&path) => Err(format!(
            "`{kind}` is a directory here, and standard output is none; one called `-` is `./-`"
        )),
        path => Ok(path),
    };
    let output = match kind {
        "image" if is_set("push", false)? => BuildOutput::Registry,
        "image" => BuildOutput::Store,
        "registry" => BuildOutput::Registry,
        "oci" if !is_set("tar", true)? => BuildOutput::Layout(directory()?),
        "oci" | "oci-archive" => BuildOutput::OciArchive(destination()?),
        "docker" | "docker-archive" => BuildOutput::DockerArchive(destination()?),
        "oci-layout" => BuildOutput::Layout(directory()?),
        "local" => BuildOutput::Directory(directory()?),
        "tar" => BuildOutput::Tar(destination()?),
        other => return Err(format!("`{other}` is not a kind of output; {KINDS}")),
    };
    match output {
        BuildOutput::Store | BuildOutput::Registry if path.is_some() => {
            Err(format!("`{kind}` has no destination"))
        }
        output => Ok(output),
    }
}

fn boolean(key: &str, value: &str) -> Result<bool, String> {
    match value {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(format!("`{key}` is `true` or `false`, not `{value}`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options() {
        let text = "type=image,push=true,name=e.com/a,oci-mediatypes=false,annotation.k=v=w";
        let spec: OutputSpec = text.parse().unwrap();
        assert_eq!(spec.to, BuildOutput::Registry);
        assert_eq!(spec.name.unwrap().to_string(), "e.com/a:latest");
        assert_eq!(spec.format, Some(DocumentFormat::Docker));
        assert_eq!(spec.annotations, [("k".to_owned(), "v=w".to_owned())]);
    }

    #[test]
    fn texts() {
        #[track_caller]
        fn check(text: &str, expected: Result<BuildOutput, &str>) {
            assert_eq!(
                text.parse::<OutputSpec>().map(|spec| spec.to),
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
            Ok(BuildOutput::Layout("a".into())),
        );
        check("-", Ok(BuildOutput::Tar("-".into())));
        check(
            "type=local,dest=-",
            Err(
                "`local` is a directory here, and standard output is none; one called `-` is `./-`",
            ),
        );
        check(
            "type=oci,dest=a,name=x:1",
            Ok(BuildOutput::OciArchive("a".into())),
        );
        check(
            "type=local,dest=a,name=x",
            Err("`name` is not a known option of this kind of output"),
        );
        check(
            "type=registry,rewrite-timestamp=no",
            Err("`rewrite-timestamp` is `true` or `false`, not `no`"),
        );
        check(
            "type=image,compression=zstd",
            Err(
                "`compression` cannot be one of an output, since layers are packed once; \
                 `--compression KIND:LEVEL` is for all",
            ),
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
