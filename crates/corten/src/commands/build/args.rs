//! The arguments of `corten build`, in groups.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use corten_spec::{Platform, Reference};

use crate::bases::{NamedContext, parse_context};
use crate::build_context::is_http;
use crate::env;
use crate::error::CommandError;
use crate::images::Pull;
use crate::places::{Name, store_name};
use crate::timestamp::Seconds;

/// What is read: the context and the Dockerfile.
#[derive(Debug, Args)]
pub(crate) struct SourceArgs {
    /// What COPY and ADD take files from: a directory, a tar, `-` for one on standard input, or the URL
    /// of a tar or a git repository (`https://HOST/PATH.git#REF:SUBDIR`)
    #[arg(value_name = "CONTEXT")]
    pub(crate) context: PathBuf,
    /// The Dockerfile: a path, in the context if that is no directory here; a URL; `-` for standard
    /// input [default: Dockerfile in the context]
    #[arg(long, short, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Take what this file says, and not the ignore files of the context
    #[arg(long, value_name = "FILE")]
    pub(crate) ignorefile: Option<PathBuf>,
    /// Say what a name in the Dockerfile stands for: a directory, the URL of a git repository or of a
    /// file, or an image such as `oci:DIR` or `docker-image://NAME`
    #[arg(long, value_name = "NAME=PLACE", value_parser = parse_context)]
    pub(crate) build_context: Vec<(String, NamedContext)>,
}

/// What the image is.
#[derive(Debug, Args)]
pub(crate) struct ImageArgs {
    /// What the image is to be called; may be repeated
    #[arg(long, short, value_name = "NAME", value_parser = store_name)]
    pub(crate) tag: Vec<Name>,
    /// Build this stage [default: the last one]
    #[arg(long, value_name = "STAGE")]
    pub(crate) target: Option<String>,
    /// Build for this platform [default: this machine's]
    #[arg(long, value_name = "OS/ARCH")]
    pub(crate) platform: Option<Platform>,
    /// Add a label to the image
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) label: Vec<String>,
    /// Annotate the manifest: `KEY=VALUE` or `manifest:KEY=VALUE`
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_annotation)]
    pub(crate) annotation: Vec<(String, String)>,
    /// The latest time that anything in the image may have, in seconds since 1970 or as in RFC 3339
    /// [default: `$SOURCE_DATE_EPOCH`]
    #[arg(long, value_name = "TIME", visible_alias = "source-date-epoch")]
    pub(crate) timestamp: Option<Seconds>,
}

/// How steps are done.
#[derive(Debug, Args)]
pub(crate) struct StepArgs {
    /// Set a variable that ARG declares; without a value, to what it is here
    #[arg(long, value_name = "NAME[=VALUE]")]
    pub(crate) build_arg: Vec<String>,
    /// When to ask registries for base images
    #[arg(long, value_enum, default_value_t)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "always")]
    pub(crate) pull: Pull,
}

/// Reads `[manifest:]KEY=VALUE`, as buildx does.
fn parse_annotation(text: &str) -> Result<(String, String), String> {
    let (key, value) = text
        .split_once('=')
        .filter(|(key, _)| !key.is_empty())
        .ok_or("expected `KEY=VALUE`")?;
    let Some((kinds, rest)) = key.split_once(':') else {
        return Ok((key.to_owned(), value.to_owned()));
    };
    for kind in kinds.split(',') {
        match kind {
            "manifest" => {}
            "index" | "index-descriptor" => {
                return Err("there is no index: the image is for one platform".to_owned());
            }
            "manifest-descriptor" => {
                return Err("descriptors of images have no annotations; a manifest has".to_owned());
            }
            _ => {
                return Err(format!(
                    "`{kind}` is no document that can be annotated; `manifest` is"
                ));
            }
        }
    }
    Ok((rest.to_owned(), value.to_owned()))
}

impl SourceArgs {
    /// Tells whether the Dockerfile has to be fetched.
    pub(crate) fn has_remote_file(&self) -> bool {
        let is_remote = |file: &PathBuf| is_http(&file.to_string_lossy());
        self.file.as_ref().is_some_and(is_remote)
    }
}

impl ImageArgs {
    /// Returns the names that the image is to have.
    pub(crate) fn names(&self) -> Result<Vec<Reference>, CommandError> {
        let names = self.tag.iter().map(|name| match name {
            Name::Reference(reference) if reference.digest().is_none() => Ok(reference.clone()),
            Name::Reference(_) | Name::Digest(_) => Err(CommandError::usage(format!(
                "`{name}` has a digest, and the image's own is not known yet"
            ))),
        });
        names.collect()
    }

    /// Returns what the image is for.
    pub(crate) fn platform(&self) -> Platform {
        self.platform.clone().unwrap_or_else(Platform::host)
    }
}

impl StepArgs {
    /// Returns the arguments that were given, on top of those `inherited` from the environment.
    pub(crate) fn build_args(
        &self,
        inherited: &BTreeMap<String, String>,
    ) -> BTreeMap<String, String> {
        let given = self
            .build_arg
            .iter()
            .filter_map(|text| match text.split_once('=') {
                Some((name, value)) => Some((name.to_owned(), value.to_owned())),
                None => Some((text.clone(), env::lookup(text)?)),
            });
        inherited.clone().into_iter().chain(given).collect()
    }
}
