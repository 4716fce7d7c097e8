//! Which sources may be used: `--lock` and `--source-policy`.

use std::convert::Infallible;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;
use corten_build::Material;
use corten_build::lock::Lock;
use corten_build::policy::Policy;
use corten_build::rules::SourceRules;
use corten_content::atomic;

use super::BuildArgs;
use crate::bases::NamedContext;
use crate::build_context::{ContextPlace, is_http};
use crate::context::Context;
use crate::error::CommandError;

#[derive(Debug, Args)]
pub(crate) struct SourcingArgs {
    /// Use what images, URLs and git references were when this file was written, and write it if it is
    /// not there; `update` writes it anew [default: the Dockerfile's name and `.lock.json`]
    #[arg(long, value_name = "FILE|update", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    lock: Option<LockChoice>,
    /// Allow, deny or convert sources as this file of BuildKit's rules says; may be repeated
    /// [default: `$EXPERIMENTAL_BUILDKIT_SOURCE_POLICY`]
    #[arg(long, value_name = "FILE")]
    source_policy: Vec<PathBuf>,
}

/// Which lock file, and whether it is used or written.
#[derive(Debug, Clone, PartialEq, Eq)]
enum LockChoice {
    Usual,
    Update,
    File(PathBuf),
}

impl FromStr for LockChoice {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text {
            "" => Self::Usual,
            "update" => Self::Update,
            path => Self::File(path.into()),
        })
    }
}

impl SourcingArgs {
    /// Returns what governs the sources.
    pub(super) fn rules(
        &self,
        args: &BuildArgs,
        ctx: &Context,
    ) -> Result<SourceRules, CommandError> {
        let files = self.source_policy.iter().chain(&ctx.env.source_policy);
        let policies = files.map(|path| read_policy(path));
        let policies = policies.collect::<Result<_, _>>()?;
        let lock = match &self.lock {
            None | Some(LockChoice::Update) => None,
            Some(LockChoice::Usual | LockChoice::File(_)) => read_lock(&self.path(args)?)?,
        };
        let rules = SourceRules { policies, lock };
        self.check_contexts(args, &rules)?;
        Ok(rules)
    }

    /// Contexts are opened by who asks for them, so they are judged here.
    fn check_contexts(&self, args: &BuildArgs, rules: &SourceRules) -> Result<(), CommandError> {
        check_context(
            "context",
            &ContextPlace::of(&args.sources.context)?,
            rules,
            self.lock.is_some(),
        )?;
        if !args.sources.has_remote_file() {
            rules
                .local("local://dockerfile")
                .map_err(CommandError::caused)?;
        }
        for (name, context) in &args.sources.build_context {
            match context {
                // Those are judged where they are looked up.
                NamedContext::Image(_) | NamedContext::Scratch => {}
                NamedContext::Directory(path) => {
                    let place = ContextPlace::Directory(path.clone());
                    check_context(name, &place, rules, self.lock.is_some())?;
                }
                NamedContext::Remote(place) => {
                    check_context(name, place, rules, self.lock.is_some())?;
                }
            }
        }
        Ok(())
    }

    fn path(&self, args: &BuildArgs) -> Result<PathBuf, CommandError> {
        if let Some(LockChoice::File(path)) = &self.lock {
            return Ok(path.clone());
        }
        let file = match &args.sources.file {
            Some(file) if file == Path::new("-") || args.sources.has_remote_file() => None,
            Some(file) if file.exists() => Some(file.clone()),
            Some(file) => Some(args.sources.context.join(file)),
            None => Some(args.sources.context.join("Dockerfile")),
        };
        let file = file
            .filter(|_| args.sources.context.is_dir())
            .ok_or_else(|| {
                CommandError::usage(
                    "the Dockerfile is in no directory that a lock file could lie in",
                )
                .hint("name the file: `--lock=FILE`")
            })?;
        let mut path = file.into_os_string();
        path.push(".lock.json");
        Ok(path.into())
    }

    /// Tells whether a build would write the lock file.
    pub(super) fn writes_lock(&self, args: &BuildArgs) -> Result<bool, CommandError> {
        Ok(match &self.lock {
            None => false,
            Some(LockChoice::Update) => true,
            Some(LockChoice::Usual | LockChoice::File(_)) => !self.path(args)?.exists(),
        })
    }

    /// Writes the lock file, if it is to be written.
    pub(super) fn write(
        &self,
        args: &BuildArgs,
        materials: &[&Material],
        rules: &SourceRules,
        ctx: &Context,
    ) -> Result<(), CommandError> {
        if self.lock.is_none() || rules.lock.is_some() {
            return Ok(());
        }
        let path = self.path(args)?;
        let text = Lock::of(materials.iter().copied()).to_text();
        atomic::write(&path, text.as_bytes()).map_err(CommandError::caused)?;
        ctx.output.note(&format!("wrote `{}`", path.display()));
        Ok(())
    }
}

fn check_context(
    name: &str,
    place: &ContextPlace,
    rules: &SourceRules,
    is_locked: bool,
) -> Result<(), CommandError> {
    let unlocked = || {
        let text =
            format!("the context `{name}` is fetched, and a lock file does not pin contexts");
        CommandError::usage(text).hint("fetch it first, and name the directory")
    };
    match place {
        ContextPlace::Git(_) | ContextPlace::Http(_) if is_locked => Err(unlocked()),
        ContextPlace::Git(url) => {
            let ruled = rules.git(url).map_err(CommandError::caused)?;
            unchanged(name, ruled == **url)
        }
        // An object is called by its own name, and is what it is.
        ContextPlace::Http(url) if !is_http(url) => rules.local(url).map_err(CommandError::caused),
        ContextPlace::Http(url) => {
            let ruled = rules.http(url).map_err(CommandError::caused)?;
            unchanged(name, ruled.url == *url && ruled.digest.is_none())
        }
        ContextPlace::Directory(_) | ContextPlace::Tar(_) | ContextPlace::Stdin => {
            let name = format!("local://{name}");
            rules.local(&name).map_err(CommandError::caused)
        }
    }
}

fn unchanged(name: &str, is_same: bool) -> Result<(), CommandError> {
    if is_same {
        return Ok(());
    }
    Err(CommandError::failed(format!(
        "the source policy converts the context `{name}`, and contexts are not converted"
    )))
}

fn read_policy(path: &Path) -> Result<Policy, CommandError> {
    let doing = || format!("cannot read the source policy `{}`", path.display());
    let bytes = fs::read(path).map_err(|error| CommandError::doing(doing(), error))?;
    Policy::parse(&bytes).map_err(|error| CommandError::doing(doing(), error))
}

fn read_lock(path: &Path) -> Result<Option<Lock>, CommandError> {
    let doing = || format!("cannot read the lock file `{}`", path.display());
    match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(CommandError::doing(doing(), error)),
        Ok(bytes) => Lock::parse(&bytes)
            .map(Some)
            .map_err(|error| CommandError::doing(doing(), error)),
    }
}
