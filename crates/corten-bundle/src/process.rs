//! What a container runs: the image's defaults with what the caller says instead.
//!
//! Shared by bundles and by `run`, so that both start the same process.

use corten_layer::users::User;
use corten_spec::RunConfig;

use crate::{Error, Result};

/// What the caller says instead of the image (CNV-02). Each counts as an edit of the image config.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Overrides {
    /// Instead of `Entrypoint`; the image's `Cmd` then does not count either (CFG-20). An empty list
    /// takes the entrypoint away.
    pub entrypoint: Option<Vec<String>>,
    /// Instead of `Cmd`; `None` or an empty list leaves it.
    pub command: Option<Vec<String>>,
    /// `NAME=value` each: replaces the image's variable of that name, or is added.
    pub env: Vec<String>,
    /// Instead of `WorkingDir`.
    pub working_dir: Option<String>,
}

/// Whether a process has a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Terminal {
    /// It has none.
    #[default]
    No,
    /// It has one, so `TERM` is set where the image does not.
    Yes,
}

/// What `PATH` is where neither image nor caller says (runc, Docker).
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Returns the executable and its arguments: `Entrypoint`, then `Cmd` (CNV-08 to CNV-10).
pub fn args(image: &RunConfig, overrides: &Overrides) -> Result<Vec<String>> {
    let given = overrides.command.clone().unwrap_or_default();
    let entrypoint = overrides.entrypoint.as_ref().or(image.entrypoint.as_ref());
    let command = match &image.cmd {
        Some(command) if given.is_empty() && overrides.entrypoint.is_none() => command.clone(),
        _ => given,
    };
    let args: Vec<String> = entrypoint
        .into_iter()
        .flatten()
        .cloned()
        .chain(command)
        .collect();
    match args.first().map(String::as_str) {
        None | Some("") => Err(Error::NoCommand),
        Some(_) => Ok(args),
    }
}

/// Returns the environment: the image's verbatim and in order, duplicates too (CNV-06), what the
/// caller says in its place, and our defaults only for names that are not there (CNV-07).
pub fn env(
    image: &RunConfig,
    overrides: &Overrides,
    user: &User,
    terminal: Terminal,
) -> Vec<String> {
    let mut env = image_env(image, overrides);
    let home = user.home.as_deref().unwrap_or("/");
    let term = (terminal == Terminal::Yes).then_some(("TERM", "xterm"));
    for (name, value) in [("PATH", DEFAULT_PATH), ("HOME", home)]
        .into_iter()
        .chain(term)
    {
        if !env.iter().any(|entry| name_of(entry) == name) {
            env.push(format!("{name}={value}"));
        }
    }
    env
}

/// Returns the image's environment with what the caller says in its place, without any default.
pub(crate) fn image_env(image: &RunConfig, overrides: &Overrides) -> Vec<String> {
    let mut env = image.env.clone();
    for entry in &overrides.env {
        let same_name = |old: &&mut String| name_of(old) == name_of(entry);
        match env.iter_mut().find(same_name) {
            Some(old) => {
                old.clone_from(entry);
                // A later duplicate would win over the caller.
                let mut n_seen = 0;
                env.retain(|other| {
                    n_seen += usize::from(name_of(other) == name_of(entry));
                    name_of(other) != name_of(entry) || n_seen == 1
                });
            }
            None => env.push(entry.clone()),
        }
    }
    env
}

/// Returns the working directory: verbatim if it is absolute, else below the root (CNV-05).
pub fn cwd(image: &RunConfig, overrides: &Overrides) -> String {
    let given = overrides.working_dir.as_ref().unwrap_or(&image.working_dir);
    if given.starts_with('/') {
        given.clone()
    } else {
        format!("/{given}")
    }
}

fn name_of(entry: &str) -> &str {
    entry.split_once('=').map_or(entry, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(words: &str) -> Vec<String> {
        words.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn entrypoint_and_cmd() {
        #[track_caller]
        fn check(
            image: (Option<Vec<String>>, Option<Vec<String>>),
            given: (Option<Vec<String>>, Option<Vec<String>>),
            expected: &str,
        ) {
            let config = RunConfig {
                entrypoint: image.0,
                cmd: image.1,
                ..RunConfig::default()
            };
            let overrides = Overrides {
                entrypoint: given.0,
                command: given.1,
                ..Overrides::default()
            };
            let found = args(&config, &overrides).unwrap_or_default();
            assert_eq!(found, list(expected), "{config:?} {overrides:?}");
        }
        let some = |words: &str| Some(list(words));
        check((some("e 1"), some("c 2")), (None, None), "e 1 c 2");
        check((some("e 1"), None), (None, None), "e 1");
        check((None, some("c 2")), (None, None), "c 2");
        check((None, None), (None, None), "");
        check((None, None), (None, some("x")), "x");
        check((some("e"), some("c")), (None, some("x y")), "e x y");
        check((some("e"), some("c")), (some("n"), None), "n");
        check((some("e"), some("c")), (some("n"), some("x")), "n x");
        check((some("e"), some("c")), (some(""), some("x")), "x");
        check((some("e"), some("c")), (some(""), None), "");
        check((some("e"), some("c")), (None, some("")), "e c");
    }

    #[test]
    fn an_empty_executable_is_no_command() {
        let config = RunConfig {
            cmd: Some(vec![String::new(), "x".into()]),
            ..RunConfig::default()
        };
        let error = args(&config, &Overrides::default()).unwrap_err();
        assert!(error.to_string().contains("names no command"), "{error}");
    }

    #[test]
    fn environments() {
        #[track_caller]
        fn check(image: &[&str], given: &[&str], terminal: Terminal, expected: &[&str]) {
            let owned = |list: &[&str]| list.iter().map(|&entry| entry.to_owned()).collect();
            let config = RunConfig {
                env: owned(image),
                ..RunConfig::default()
            };
            let overrides = Overrides {
                env: owned(given),
                ..Overrides::default()
            };
            let user = User {
                home: Some("/home/app".into()),
                ..User::default()
            };
            assert_eq!(
                env(&config, &overrides, &user, terminal),
                expected,
                "{image:?} {given:?}"
            );
        }
        let path = format!("PATH={DEFAULT_PATH}");
        check(&[], &[], Terminal::No, &[&path, "HOME=/home/app"]);
        check(
            &[],
            &[],
            Terminal::Yes,
            &[&path, "HOME=/home/app", "TERM=xterm"],
        );
        check(
            &["TERM=y", "Z=1", "A=b=c", "Z=2", "E=", "HOME=/x", "PATH=/x"],
            &[],
            Terminal::Yes,
            &["TERM=y", "Z=1", "A=b=c", "Z=2", "E=", "HOME=/x", "PATH=/x"],
        );
        check(
            &["PATH=/x", "Z=1", "HOME=/h", "Z=2", "NAME"],
            &["Z=3", "NEW=1", "NAME=v", "NEW=2"],
            Terminal::No,
            &["PATH=/x", "Z=3", "HOME=/h", "NAME=v", "NEW=2"],
        );
    }

    #[test]
    fn working_directories() {
        #[track_caller]
        fn check(image: &str, given: Option<&str>, expected: &str) {
            let config = RunConfig {
                working_dir: image.into(),
                ..RunConfig::default()
            };
            let overrides = Overrides {
                working_dir: given.map(str::to_owned),
                ..Overrides::default()
            };
            assert_eq!(cwd(&config, &overrides), expected, "{image:?} {given:?}");
        }
        check("/app", None, "/app");
        check("/app/", None, "/app/");
        check("", None, "/");
        check("app", None, "/app");
        check("/app", Some("/tmp"), "/tmp");
        check("/app", Some("x"), "/x");
    }

    proptest::proptest! {
        /// CNV-03, CNV-06, CNV-07.
        #[test]
        fn the_images_environment_comes_first_and_untouched(
            entries in proptest::collection::vec("[A-CPH]{0,2}(=[a-z=]{0,3})?|PATH=x|HOME=|TERM", 0..6),
        ) {
            let config = RunConfig {
                env: entries.clone(),
                ..RunConfig::default()
            };
            let found = env(&config, &Overrides::default(), &User::default(), Terminal::Yes);
            proptest::prop_assert_eq!(&found[..entries.len()], entries.as_slice());
            for added in &found[entries.len()..] {
                proptest::prop_assert!(entries.iter().all(|entry| name_of(entry) != name_of(added)));
            }
        }
    }
}
