//! What every command is given: the environment, the output, and where images are kept.

use std::path::{Path, PathBuf};

use corten_content::Store;
use corten_snapshot::Snapshots;
use corten_tar::LayerLimits;

use crate::cli::GlobalArgs;
use crate::env::Environment;
use crate::error::CommandError;
use crate::limits::{self, Limit};
use crate::output::{Output, Verbosity};

/// What a command works with.
#[derive(Debug)]
pub(crate) struct Context {
    /// What the environment says.
    pub(crate) env: Environment,
    /// Where it prints to.
    pub(crate) output: Output,
    root: PathBuf,
    limits: Vec<Limit>,
}

impl Context {
    /// Returns the context for `args` and `env`.
    pub(crate) fn new(args: &GlobalArgs, env: Environment) -> Result<Self, CommandError> {
        let verbosity = match (args.quiet, args.verbose || args.v) {
            (true, _) => Verbosity::Quiet,
            (false, true) => Verbosity::Verbose,
            (false, false) => Verbosity::Normal,
        };
        let output = Output::new(verbosity, env.term.as_deref());
        let root = args.root.clone().or_else(|| env.root.clone());
        let root = root.or_else(|| default_root(&env, is_root_of_the_machine()));
        let Some(root) = root else {
            return Err(
                CommandError::usage("there is no place to keep images: `HOME` is not set")
                    .hint("name a directory with `--root` or `CORTEN_ROOT`"),
            );
        };
        // Mounts of a sandbox need absolute paths, and a command may run in another directory.
        let root = std::path::absolute(&root).map_err(|error| {
            CommandError::doing(
                format!("cannot use the directory `{}`", root.display()),
                error,
            )
        })?;
        // Another set in one process is a test's.
        limits::of_documents(&args.limits).install();
        Ok(Self {
            env,
            output,
            root,
            limits: args.limits.clone(),
        })
    }

    /// Returns this context with another environment and, where they are given, another directory of
    /// the local store and another verbosity.
    pub(crate) fn changed(
        &self,
        env: Environment,
        root: Option<PathBuf>,
        verbosity: Option<Verbosity>,
    ) -> Self {
        let verbosity = verbosity.unwrap_or(self.output.verbosity);
        Self {
            output: Output::new(verbosity, env.term.as_deref()),
            env,
            root: root.unwrap_or_else(|| self.root.clone()),
            limits: self.limits.clone(),
        }
    }

    /// Returns the directory of the local store.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Returns what a layer may ask for.
    pub(crate) fn layer_limits(&self) -> LayerLimits {
        self.change_limits(LayerLimits::default())
    }

    /// Returns what is derived from the layers in `store`, within the limits of the command line.
    pub(crate) fn snapshots<'a>(&self, store: &'a Store) -> Snapshots<'a> {
        Snapshots::new(store).with_limits(self.layer_limits())
    }

    /// Returns `usual` with what the command line changes.
    pub(crate) fn change_limits(&self, usual: LayerLimits) -> LayerLimits {
        limits::changed(usual, &self.limits)
    }

    /// Opens the local store; it is made where there is none.
    pub(crate) fn store(&self) -> Result<Store, CommandError> {
        Store::open(&self.root).map_err(|error| {
            let doing = format!("cannot open the store `{}`", self.root.display());
            CommandError::doing(doing, error)
                .hint("name another directory with `--root` or `CORTEN_ROOT`")
        })
    }

    /// Returns a directory for what has to be kept while an archive is read.
    pub(crate) fn scratch(&self) -> PathBuf {
        // Layers do not fit where `/tmp` is memory.
        let usual = || {
            ["/var/tmp", "/tmp"]
                .map(PathBuf::from)
                .into_iter()
                .find(|path| path.is_dir())
        };
        self.env
            .temporary
            .clone()
            .or_else(usual)
            .unwrap_or_else(|| self.root.clone())
    }
}

/// Tells whether this is root, and not an ordinary user whom we made root of a user namespace: the
/// paths of the latter are still the user's.
fn is_root_of_the_machine() -> bool {
    rustix::process::geteuid().is_root() && corten_sandbox::entered().is_none()
}

fn default_root(env: &Environment, is_root: bool) -> Option<PathBuf> {
    if is_root {
        return Some("/var/lib/corten".into());
    }
    // A relative path is to be ignored (XDG Base Directory Specification).
    let data_home = env.data_home.clone().filter(|path| path.is_absolute());
    let data_home = data_home.or_else(|| Some(env.home.as_ref()?.join(".local/share")));
    Some(data_home?.join("corten"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_images_are_kept() {
        #[track_caller]
        fn check(
            home: Option<&str>,
            data_home: Option<&str>,
            is_root: bool,
            expected: Option<&str>,
        ) {
            let env = Environment {
                home: home.map(PathBuf::from),
                data_home: data_home.map(PathBuf::from),
                ..Environment::default()
            };
            assert_eq!(
                default_root(&env, is_root),
                expected.map(PathBuf::from),
                "{env:?}"
            );
        }
        check(Some("/root"), None, true, Some("/var/lib/corten"));
        check(
            Some("/home/a"),
            None,
            false,
            Some("/home/a/.local/share/corten"),
        );
        check(Some("/home/a"), Some("/data"), false, Some("/data/corten"));
        check(
            Some("/home/a"),
            Some("data"),
            false,
            Some("/home/a/.local/share/corten"),
        );
        check(None, None, false, None);
    }
}
