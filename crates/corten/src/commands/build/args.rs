//! The arguments of `corten build`, in groups.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use clap::Args;
use corten_spec::{Platform, Reference};

use super::annotations::Annotation;
use super::several::{Target, distinct, references};
use crate::bases::{NamedContext, parse_context, short_name};
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
    /// Build this stage, and call its image NAME; may be repeated, and what the stages share is built once
    /// [default: the last one]
    #[arg(long, value_name = "STAGE[=NAME]")]
    pub(crate) target: Vec<Target>,
    /// Build for these platforms; an index of several images keeps their order [default: this machine's]
    #[arg(long, value_name = "OS/ARCH", value_delimiter = ',')]
    pub(crate) platform: Vec<Platform>,
    /// Add a label to the image
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) label: Vec<String>,
    /// Annotate the manifest, or with `index:KEY=VALUE` or `manifest-descriptor:KEY=VALUE` the index of
    /// several platforms or its entries
    #[arg(long, value_name = "[KIND:]KEY=VALUE")]
    pub(crate) annotation: Vec<Annotation>,
    /// Make one layer of all that come after the base image's
    #[arg(long)]
    pub(crate) squash: bool,
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

impl SourceArgs {
    /// Tells whether the Dockerfile has to be fetched.
    pub(crate) fn has_remote_file(&self) -> bool {
        let is_remote = |file: &PathBuf| is_http(&file.to_string_lossy());
        self.file.as_ref().is_some_and(is_remote)
    }

    /// Returns the names of the named contexts, as short as they can be written.
    pub(crate) fn context_names(&self) -> BTreeSet<String> {
        let names = self.build_context.iter();
        names.map(|(name, _)| short_name(name)).collect()
    }
}

impl ImageArgs {
    /// Returns the names that `--tag` gives.
    pub(crate) fn names(&self) -> Result<Vec<Reference>, CommandError> {
        references(self.tag.iter())
    }

    /// Returns what the images are for, each platform once.
    pub(crate) fn platforms(&self) -> Vec<Platform> {
        distinct(&self.platform)
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
