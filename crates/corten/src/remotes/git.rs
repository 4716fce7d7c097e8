//! Git repositories, through the `git` program.
//!
//! It is given a clean environment and no configuration of the machine, so that a checkout is the
//! same everywhere; of the user's, only the proxies, and for SSH the agent, the keys and the hosts that
//! are known. It never asks.

mod process;
mod redirects;
mod references;
mod tree;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use corten_dockerfile::{GitTimes, GitUrl, is_commit, without_credentials, without_secrets};
use corten_registry::Wire;
use corten_sandbox::Cancel;

use crate::context::Context;
use crate::error::CommandError;
use crate::registry::RegistryArgs;
use crate::remotes::authorization::GitHeader;
use process::output_until;
use references::{choose, default_branch};
use tree::{remove_git_files, remove_if_there, set_times, subdirectories, subdirectory};

/// A checkout.
#[derive(Debug)]
pub(crate) struct Checkout {
    /// The directory that was asked for.
    pub(crate) path: PathBuf,
    /// The commit.
    pub(crate) commit: String,
}

/// What a reference is in the repository.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Resolved {
    /// The commit, or the annotated tag.
    pub(crate) object: String,
    /// The commit of an annotated tag, if the repository said it.
    pub(crate) peeled: Option<String>,
    /// The whole name, such as `refs/heads/main`; a commit has none.
    pub(crate) name: Option<String>,
}

/// Asks the repository of `url` what it names, unless that is a commit. `scratch` is an empty
/// directory.
pub(crate) fn resolve(
    url: &GitUrl,
    scratch: &Path,
    access: &Access<'_>,
) -> Result<Resolved, CommandError> {
    following(url, access, |remote, header| {
        let git = Git {
            access,
            header,
            remote,
            work_tree: scratch,
            repository: &scratch.join("git"),
        };
        git.resolve(url)
    })
}

/// Does `what` with the address of a repository and what is sent to it; where the server redirects, and git,
/// which has a secret, did not follow, again with the address that it redirects to.
fn following<T>(
    url: &GitUrl,
    access: &Access<'_>,
    what: impl Fn(&str, Option<GitHeader>) -> Result<T, CommandError>,
) -> Result<T, CommandError> {
    let header = access.header(&url.remote)?;
    let done = what(&url.remote, header.clone());
    let (Err(error), Some(header), Some(registry)) = (&done, header, access.registry) else {
        return done;
    };
    if !error.to_string().contains(REDIRECTED) {
        return done;
    }
    let wire = Wire::new(&registry.settings(access.ctx)).map_err(CommandError::caused)?;
    match redirects::destination(&url.remote, &header.value, &wire)? {
        Some(remote) => what(&remote, access.header(&remote)?),
        None => done,
    }
}

/// What git says where it does not follow a redirect.
const REDIRECTED: &str = "returned error: 30";

/// Checks out what `url` names below the empty directory `into`: exactly that commit, without
/// history, and submodules unless `url` says otherwise.
///
/// `.git` is left out unless `url` keeps it, and always from submodules and where only part of the
/// repository is asked for.
pub(crate) fn checkout(
    url: &GitUrl,
    into: &Path,
    access: &Access<'_>,
) -> Result<Checkout, CommandError> {
    checkout_of(url, None, into, access)
}

/// As [`checkout`], of what `url` was resolved to before, if it was.
pub(crate) fn checkout_of(
    url: &GitUrl,
    resolved: Option<&Resolved>,
    into: &Path,
    access: &Access<'_>,
) -> Result<Checkout, CommandError> {
    let doing = || {
        format!(
            "cannot check out the git repository `{}`",
            without_secrets(&url.remote)
        )
    };
    let checked_out = following(url, access, |remote, header| {
        check_out(url, (remote, header), resolved, into, access)
    });
    checked_out.map_err(|error| error.while_doing(doing()))
}

fn check_out(
    url: &GitUrl,
    (remote, header): (&str, Option<GitHeader>),
    resolved: Option<&Resolved>,
    into: &Path,
    access: &Access<'_>,
) -> Result<Checkout, CommandError> {
    let keeps_git = url.keep_git_dir == Some(true) && url.subdir.is_empty();
    let tree = into.join("tree");
    let git = Git {
        access,
        header,
        remote,
        work_tree: &tree,
        repository: &if keeps_git {
            tree.join(".git")
        } else {
            into.join("git")
        },
    };
    // What was begun at an address that redirects is there.
    fs::create_dir_all(&tree).map_err(CommandError::caused)?;
    let resolved = match resolved {
        Some(resolved) => resolved,
        None => &git.resolve(url)?,
    };
    git.fetch(resolved, url.fetch_by_commit)?;
    let commit = git.check_commit(url, resolved)?;
    git.run(&["checkout", "--quiet", "--force", "--detach", &commit])?;
    // What submodules name relatively is relative to this.
    git.run(&["remote", "add", "origin", &url.remote])?;
    if url.submodules != Some(false) {
        git.update_submodules()?;
    }
    if keeps_git {
        git.remove_secrets(&tree.join(".git"))?;
    } else {
        remove_git_files(&tree).map_err(CommandError::caused)?;
    }
    let path = subdirectory(&tree, &url.subdir)?;
    if url.times == GitTimes::Commit {
        let time = git.time_of(&commit)?;
        set_times(&path, time).map_err(CommandError::caused)?;
    }
    Ok(Checkout { path, commit })
}

/// What git may use of the machine, and what it signs in with.
#[derive(Debug)]
pub(crate) struct Access<'a> {
    pub(crate) ctx: &'a Context,
    /// With the secrets for servers; `None` where there are none.
    pub(crate) registry: Option<&'a RegistryArgs>,
    /// What ends git early.
    pub(crate) cancel: &'a Cancel,
}

impl Access<'_> {
    /// Returns what is sent to the server of `remote`.
    fn header(&self, remote: &str) -> Result<Option<GitHeader>, CommandError> {
        let secrets = self.registry.map(|registry| &registry.server_secrets);
        secrets.map_or(Ok(None), |secrets| secrets.of_repository(remote))
    }
}

struct Git<'a> {
    access: &'a Access<'a>,
    header: Option<GitHeader>,
    remote: &'a str,
    repository: &'a Path,
    work_tree: &'a Path,
}

impl Git<'_> {
    /// Asks the repository what `url` names.
    fn resolve(&self, url: &GitUrl) -> Result<Resolved, CommandError> {
        let named = url.reference.as_deref();
        if let Some(commit) = named.filter(|text| is_commit(text)) {
            return Ok(Resolved {
                object: commit.to_owned(),
                peeled: None,
                name: None,
            });
        }
        if let (true, Some(commit)) = (url.fetch_by_commit, &url.checksum) {
            return Ok(Resolved {
                object: commit.clone(),
                peeled: None,
                name: named.map(|name| {
                    let is_whole = name.starts_with("refs/");
                    if is_whole {
                        name.to_owned()
                    } else {
                        format!("refs/heads/{name}")
                    }
                }),
            });
        }
        let Some(reference) = named else {
            let answer = self.run(&["ls-remote", "--symref", "--", self.remote, "HEAD"])?;
            return default_branch(&answer)
                .ok_or_else(|| CommandError::failed("it has no default branch"));
        };
        let peeled = format!("{reference}^{{}}");
        let answer = self.run(&["ls-remote", "--", self.remote, reference, &peeled])?;
        choose(&answer, reference).ok_or_else(|| {
            CommandError::failed(format!("it has no branch, tag or reference `{reference}`"))
        })
    }

    /// Fetches what is `wanted`; first by its digest if `by_commit`, whatever its reference is now.
    fn fetch(&self, wanted: &Resolved, by_commit: bool) -> Result<(), CommandError> {
        let format = if wanted.object.len() == 64 {
            "sha256"
        } else {
            "sha1"
        };
        let format = format!("--object-format={format}");
        // Hooks and other templates of the machine have no place in a checkout.
        self.run(&["init", "--quiet", "--template=", &format])?;
        match &wanted.name {
            Some(name) if by_commit => {
                self.fetch_object(&wanted.object)?;
                // A branch can only be a commit, where a tag may be an object of its own.
                let object = if name.starts_with("refs/heads/") {
                    format!("{}^{{commit}}", wanted.object)
                } else {
                    wanted.object.clone()
                };
                self.run(&["update-ref", name, &object]).map(drop)
            }
            Some(name) => {
                let spec = format!("{name}:{name}");
                self.fetch_shallow(&spec)?;
                if self.has(&wanted.object) {
                    return Ok(());
                }
                self.fetch_shallow(&wanted.object)
            }
            None => self.fetch_object(&wanted.object),
        }
    }

    /// Fetches an object. Not every server hands it out by its digest; those give everything.
    fn fetch_object(&self, object: &str) -> Result<(), CommandError> {
        self.fetch_shallow(object).or_else(|_| self.fetch_all())
    }

    fn fetch_shallow(&self, what: &str) -> Result<(), CommandError> {
        let options = [
            "fetch",
            "--quiet",
            "--no-tags",
            "--force",
            "--update-head-ok",
        ];
        let place = ["--", self.remote, what];
        let shallow = self.run(&[&options[..], &["--depth=1"], &place].concat());
        match shallow {
            // A server that hands out plain files cannot leave history out.
            Err(error) if error.to_string().contains("shallow") => {
                self.run(&[&options[..], &place].concat()).map(drop)
            }
            other => other.map(drop),
        }
    }

    fn update_submodules(&self) -> Result<(), CommandError> {
        let update = ["submodule", "update", "--init", "--recursive"];
        let shallow = self.run(&[&update[..], &["--depth=1"]].concat());
        match shallow {
            Err(error) if error.to_string().contains("shallow") => self.run(&update).map(drop),
            other => other.map(drop),
        }
    }

    fn fetch_all(&self) -> Result<(), CommandError> {
        let all = "+refs/*:refs/corten/*";
        self.run(&["fetch", "--quiet", "--no-tags", "--", self.remote, all])
            .map(drop)
    }

    fn has(&self, object: &str) -> bool {
        self.run(&["cat-file", "-e", object]).is_ok()
    }

    /// Returns the commit that was fetched, which has to be the one that `url` pins.
    fn check_commit(&self, url: &GitUrl, resolved: &Resolved) -> Result<String, CommandError> {
        let peeled = format!("{}^{{commit}}", resolved.object);
        let commit = self.run(&["rev-parse", "--verify", "--quiet", &peeled]);
        let commit = commit
            .map_err(|_| CommandError::failed(format!("it has no commit `{}`", resolved.object)))?
            .trim()
            .to_owned();
        let Some(expected) = &url.checksum else {
            return Ok(commit);
        };
        let expected = expected.to_ascii_lowercase();
        if commit.starts_with(&expected) || resolved.object.starts_with(&expected) {
            return Ok(commit);
        }
        Err(CommandError::unverified(format!(
            "the commit is not the one that was asked for\n    expected {expected}\n    received {commit}"
        )))
    }

    /// Takes passwords out of a git directory that is kept, and those of its submodules.
    fn remove_secrets(&self, directory: &Path) -> Result<(), CommandError> {
        if !directory.join("HEAD").is_file() {
            // The names of submodules, and so their directories, may have several parts.
            return subdirectories(directory)?
                .iter()
                .try_for_each(|inner| self.remove_secrets(inner));
        }
        // It holds the URL that was fetched from.
        remove_if_there(&directory.join("FETCH_HEAD"))?;
        let config = directory.join("config");
        let file = config.to_string_lossy();
        let listed = self.run(&["config", "--file", &file, "--null", "--list"])?;
        for (key, value) in listed.split('\0').filter_map(|pair| pair.split_once('\n')) {
            if without_credentials(value) != value {
                let bare = without_secrets(value);
                self.run(&["config", "--file", &file, "--replace-all", key, &bare])?;
            }
        }
        let modules = directory.join("modules");
        if modules.is_dir() {
            self.remove_secrets(&modules)?;
        }
        Ok(())
    }

    fn time_of(&self, commit: &str) -> Result<i64, CommandError> {
        let text = self.run(&["show", "--no-patch", "--format=%ct", commit])?;
        let time = text.trim().parse();
        time.map_err(|_| CommandError::failed(format!("the commit `{commit}` has no time")))
    }

    /// Runs git, and returns what it printed.
    fn run(&self, args: &[&str]) -> Result<String, CommandError> {
        let output =
            output_until(&mut self.command(args), self.access.cancel).map_err(|error| {
                CommandError::doing("cannot run `git`, by `sh`, which sets the umask", error)
            })?;
        if self.access.cancel.is_cancelled() {
            return Err(CommandError::failed("it was ended"));
        }
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let verb = args.first().copied().unwrap_or_default();
        Err(failure(&output, verb, self.remote, self.header.as_ref()))
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("sh");
        // Modes in the image must not depend on who builds it.
        command.args(["-c", "umask 022 && exec git \"$@\"", "git"]);
        // A repository must not name files of this machine as its submodules.
        command.args([
            "-c",
            "protocol.file.allow=user",
            "-c",
            "advice.detachedHead=false",
        ]);
        // Reflogs tell who fetched, where and when.
        command.args(["-c", "core.logAllRefUpdates=false"]);
        command.args([
            "-c",
            "core.hooksPath=/dev/null",
            "-c",
            "init.defaultBranch=master",
        ]);
        command.arg("--git-dir").arg(self.repository);
        command.arg("--work-tree").arg(self.work_tree);
        command.args(args).current_dir(self.work_tree);
        command.stdin(Stdio::null()).env_clear();
        command.envs([
            ("GIT_ATTR_NOSYSTEM", "1"),
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_TERMINAL_PROMPT", "0"),
            ("GIT_SSH_COMMAND", "ssh -F /dev/null -oBatchMode=yes"),
            ("GIT_TEMPLATE_DIR", ""),
            ("HOME", "/dev/null"),
            ("LC_ALL", "C"),
        ]);
        command.envs(self.access.ctx.env.for_git.iter().cloned());
        if let Some(header) = &self.header {
            sign_in(&mut command, header);
        }
        command
    }
}

/// Has git send `header`, by variables: everybody may read the arguments of a process.
fn sign_in(command: &mut Command, header: &GitHeader) {
    let GitHeader { scope, value } = header;
    let settings = [
        ("extraheader", format!("Authorization: {}", value.expose())),
        // To where it is sent elsewhere, git would take its headers along.
        ("followRedirects", "false".to_owned()),
    ];
    command.env("GIT_CONFIG_COUNT", settings.len().to_string());
    for (number, (key, value)) in settings.into_iter().enumerate() {
        command.env(
            format!("GIT_CONFIG_KEY_{number}"),
            format!("http.{scope}.{key}"),
        );
        command.env(format!("GIT_CONFIG_VALUE_{number}"), value);
    }
}

fn failure(output: &Output, verb: &str, remote: &str, header: Option<&GitHeader>) -> CommandError {
    if output.status.code() == Some(127) {
        return CommandError::failed("the program `git` is not there")
            .hint("install git, or check the repository out and name the directory");
    }
    // Its messages may have the URL or one of a submodule, and those a password.
    let said = String::from_utf8_lossy(&output.stderr);
    // Servers and proxies answer with what they were sent.
    let said = header.map_or_else(|| said.to_string(), |header| header.hide_in(&said));
    let said = said.replace(remote, &without_secrets(remote));
    let said = without_credentials(&said);
    let said = said.trim().replace('\n', "\n    ");
    CommandError::failed(format!(
        "`git {verb}` ended with {}\n    {said}",
        output.status
    ))
}
