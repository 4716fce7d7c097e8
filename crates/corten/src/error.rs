//! What a command fails with, and how that is shown.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use corten_registry::refusal::Refusal;

use crate::output;

type Cause = Box<dyn StdError + Send + Sync>;

/// Why a command failed. Printed, it is `error: …`, a line for each cause, and a hint.
#[derive(Debug)]
pub(crate) struct CommandError {
    kind: Kind,
    error: Cause,
    hint: Option<String>,
}

/// What the exit code tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Failed,
    Usage,
    Unverified,
}

/// What was being done when something failed.
#[derive(Debug, thiserror::Error)]
#[error("{doing}")]
struct Doing {
    doing: String,
    source: Cause,
}

/// An error without a cause.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Plain(String);

impl CommandError {
    /// Returns an error that begins with what was being done: ``cannot pull `debian` ``.
    pub(crate) fn doing(doing: impl Into<String>, source: impl Into<Cause>) -> Self {
        let doing = doing.into();
        Self::caused(Doing {
            doing,
            source: source.into(),
        })
    }

    /// Returns an error that says itself what was being done.
    pub(crate) fn caused(error: impl Into<Cause>) -> Self {
        let error = error.into();
        let kind = if levels(&*error).any(is_mismatch) {
            Kind::Unverified
        } else if levels(&*error).any(is_misuse) {
            Kind::Usage
        } else {
            Kind::Failed
        };
        let hint = full_disk_hint(&*error).or_else(|| levels(&*error).find_map(hint));
        Self { kind, error, hint }
    }

    /// Returns an error without a cause.
    pub(crate) fn failed(text: impl Into<String>) -> Self {
        Self {
            kind: Kind::Failed,
            error: Plain(text.into()).into(),
            hint: None,
        }
    }

    /// Returns an error about content that is not what it should be.
    pub(crate) fn unverified(text: impl Into<String>) -> Self {
        Self {
            kind: Kind::Unverified,
            ..Self::failed(text)
        }
    }

    /// Returns an error about the arguments.
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self {
            kind: Kind::Usage,
            ..Self::failed(text)
        }
    }

    /// Returns the error with what to do about it.
    #[must_use]
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    /// Returns the error as the reason why `doing` failed; wrong usage is reason enough.
    #[must_use]
    pub(crate) fn while_doing(self, doing: impl Into<String>) -> Self {
        if self.kind == Kind::Usage {
            return self;
        }
        let error = Doing {
            doing: doing.into(),
            source: self.error,
        };
        Self {
            error: error.into(),
            ..self
        }
    }

    /// Returns the error as the cause of one of a library.
    pub(crate) fn into_cause(self) -> Cause {
        self.error
    }

    /// Tells whether a pipe was closed by who read from it.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        levels(&*self.error).any(|error| {
            as_error::<io::Error>(error)
                .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
        })
    }

    /// Returns what the program ends with.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self.kind {
            Kind::Failed => 1,
            Kind::Usage => 2,
            Kind::Unverified => 3,
        })
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut causes = chain(&*self.error).map(ToString::to_string);
        let first = causes.next().unwrap_or_default();
        // Messages about a Dockerfile are drawn by the builder.
        let prefix = if first.starts_with("error: ") {
            ""
        } else {
            "error: "
        };
        write!(f, "{prefix}{first}")?;
        let mut previous = first;
        for cause in causes {
            // Two levels may have the same to say, such as two systems' names of one failure.
            if previous == cause {
                continue;
            }
            let drawn = cause
                .starts_with("error: ")
                .then(|| cause.replacen("error: ", "", 1));
            let lines = drawn.as_ref().unwrap_or(&cause).replace('\n', "\n  ");
            write!(f, "\n  caused by: {lines}")?;
            previous = cause;
        }
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

impl From<corten_image::Error> for CommandError {
    fn from(error: corten_image::Error) -> Self {
        Self::caused(error)
    }
}

fn chain<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// Returns the errors of the chain, and those that pass for another's without a level of their own.
fn levels<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| {
        passed_on(error).or_else(|| error.source())
    })
}

/// Returns the error that `error` says in its own place.
fn passed_on<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    match as_error(error) {
        Some(corten_build::Error::Content(error)) => return Some(error),
        Some(corten_build::Error::Layer(error)) => return Some(error),
        Some(corten_build::Error::Snapshot(error)) => return Some(error),
        _ => {}
    }
    match as_error(error) {
        Some(corten_snapshot::Error::Content(error)) => Some(error),
        Some(corten_snapshot::Error::Layer(error)) => Some(error),
        _ => None,
    }
}

/// Looks for an error of the type `E`, also one in a box of its own.
fn as_error<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    error
        .downcast_ref::<E>()
        .or_else(|| error.downcast_ref::<Box<E>>().map(|boxed| &**boxed))
        // One that travelled through a reader or a writer is inside an error of theirs, which passes
        // for it in the chain.
        .or_else(|| error.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref())
}

fn is_mismatch(error: &(dyn StdError + 'static)) -> bool {
    as_error::<corten_content::Error>(error).is_some_and(corten_content::Error::is_corrupt)
        || as_error::<corten_bundle::Error>(error).is_some_and(corten_bundle::Error::is_corrupt)
        || as_error::<corten_snapshot::Error>(error).is_some_and(corten_snapshot::Error::is_corrupt)
        || as_error::<corten_spec::Error>(error).is_some_and(corten_spec::Error::is_mismatch)
        || matches!(
            as_error(error),
            Some(corten_build::Error::WrongCommit { .. })
        )
}

/// Tells whether an argument is wrong in a way that shows only beside what is read.
fn is_misuse(error: &(dyn StdError + 'static)) -> bool {
    matches!(
        as_error(error),
        Some(corten_build::Error::UncachedStage { .. })
    )
}

/// Says what can be done about the errors that users meet most.
fn hint(error: &(dyn StdError + 'static)) -> Option<String> {
    if let Some(error) = as_error::<corten_registry::Error>(error) {
        return registry_hint(error);
    }
    if let Some(corten_snapshot::Error::DamagedBlob { .. }) = as_error(error) {
        let hint = "`corten fsck --repair --refetch` gets it again from where its image came from";
        return Some(hint.to_owned());
    }
    if let Some(corten_bundle::Error::OtherImage { .. }) = as_error(error) {
        return Some("give the image that it was made from with `--from PLACE`".to_owned());
    }
    if let Some(error) = as_error::<corten_sandbox::Error>(error) {
        return sandbox_hint(error);
    }
    if matches!(
        as_error(error),
        Some(corten_layer::Error::OwnerUnknown { .. })
    ) || matches!(
        as_error(error),
        Some(corten_build::Error::UserRefused { .. })
    ) {
        return Some(
            "with one id a command is root, sees all files as root's and can give none away; `corten \
             doctor` says how to have more"
                .to_owned(),
        );
    }
    if let Some(corten_build::Error::Base { name, source }) = as_error(error) {
        return out_of_reach_hint(name, &**source);
    }
    if let Some(crate::lazy::LayersNeeded { name, source }) = as_error(error) {
        return out_of_reach_hint(name, &**source);
    }
    if let Some(corten_build::Error::Run {
        status,
        is_disk_full,
        ..
    }) = as_error(error)
    {
        if *is_disk_full {
            return Some(SPACE_HINT.to_owned());
        }
        return status_hint(status).map(str::to_owned);
    }
    if let Some(limit) = limit_of(error) {
        return Some(limit_hint(limit));
    }
    match as_error::<corten_content::Error>(error)? {
        corten_content::Error::Corrupt { .. } => {
            Some("nothing of it was stored; it is damaged where it comes from".to_owned())
        }
        corten_content::Error::NoPlatform { .. } => {
            Some("choose one of them with `--platform`".to_owned())
        }
        _ => None,
    }
}

/// Says what to do where there is no network: a build that found all steps in the cache left the base image
/// where it was.
fn out_of_reach_hint(name: &str, error: &(dyn StdError + 'static)) -> Option<String> {
    let is_out_of_reach = |error| {
        let error = as_error(error);
        matches!(
            error,
            Some(
                corten_registry::Error::Connect { .. }
                    | corten_registry::Error::Broken { .. }
                    | corten_registry::Error::Stalled { .. }
            )
        )
    };
    levels(error).any(is_out_of_reach).then(|| {
        format!(
            "a base image comes into the local store only when a step needs it; `corten pull {name}`, \
             where its registry can be reached, brings it for builds without"
        )
    })
}

/// What to do where no space is left.
const SPACE_HINT: &str =
    "`corten df` says what takes space, `corten gc` gives back what nothing needs";

/// Says how full the disk is, if one is what `error` is about.
fn full_disk_hint(error: &(dyn StdError + 'static)) -> Option<String> {
    if !levels(error).any(is_full_disk) {
        return None;
    }
    // The innermost path is the one that the system was asked for.
    let free = levels(error)
        .filter_map(path_of)
        .last()
        .and_then(|path| path.ancestors().find(|path| path.exists()))
        .and_then(|near| Some((near, rustix::fs::statvfs(near).ok()?)));
    let what = match free {
        None => "no space is left".to_owned(),
        Some((near, free)) => format!(
            "{} of {} are free on the file system of `{}`",
            output::size(free.f_bavail * free.f_frsize),
            output::size(free.f_blocks * free.f_frsize),
            near.display()
        ),
    };
    Some(format!("{what}; {SPACE_HINT}"))
}

fn is_full_disk(error: &(dyn StdError + 'static)) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| {
        matches!(
            error.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        )
    })
}

/// Returns the path that a library's error about a system call names.
fn path_of<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Path> {
    if let Some(corten_build::Error::System { path, .. }) = as_error(error) {
        return Some(path);
    }
    if let Some(corten_content::Error::System { path, .. }) = as_error(error) {
        return Some(path);
    }
    if let Some(corten_layer::Error::System { path, .. }) = as_error(error) {
        return Some(path);
    }
    if let Some(corten_snapshot::Error::System { path, .. }) = as_error(error) {
        return Some(path);
    }
    match as_error(error)? {
        corten_transport::Error::System { path, .. } => Some(path),
        _ => None,
    }
}

/// Says what shells and kernels mean by how a command ended.
fn status_hint(status: &str) -> Option<&'static str> {
    match status {
        "exit status 126" => Some("126 is a shell's word for a file that cannot be executed"),
        "exit status 127" => Some(
            "127 is a shell's word for a command that it does not find: is it installed in this \
             stage, and in `PATH`?",
        ),
        "exit status 137" | "signal 9" => Some("it was killed, as happens when memory runs out"),
        _ => None,
    }
}

fn limit_hint(limit: &str) -> String {
    format!("pass `--limit {limit}=VALUE` to allow more, if you trust what is read")
}

/// Returns the name of the limit that `error` is about.
fn limit_of(error: &(dyn StdError + 'static)) -> Option<&'static str> {
    if let Some(corten_tar::Error::Limit { limit, .. }) = as_error(error) {
        return Some(limit);
    }
    match as_error(error)? {
        corten_spec::Error::TooLarge { limit, .. } => limit.name,
        _ => None,
    }
}

fn registry_hint(error: &corten_registry::Error) -> Option<String> {
    match error {
        corten_registry::Error::NoCredentials { host, .. } => Some(format!("run `corten login {host}`")),
        corten_registry::Error::Refused(refusal) => refusal_hint(refusal),
        corten_registry::Error::TooLong { limit, .. } => limit.name.map(limit_hint),
        corten_registry::Error::Tls { .. } => Some(
            "name the registry's own authority with `--ca-file`, or pass `--plain-http` if it speaks no TLS"
                .to_owned(),
        ),
        _ => None,
    }
}

fn refusal_hint(refusal: &Refusal) -> Option<String> {
    match refusal.status {
        401 => Some(format!("run `corten login {}`", refusal.host)),
        403 if !refusal.scope.is_empty() => Some(format!("the token needs `{}`", refusal.scope)),
        429 => Some("it allows more to those who sign in: run `corten login`".to_owned()),
        _ => None,
    }
}

fn sandbox_hint(error: &corten_sandbox::Error) -> Option<String> {
    match error {
        corten_sandbox::Error::SetUp { .. } | corten_sandbox::Error::Child { .. } => {
            Some("`corten doctor` says what this machine allows".to_owned())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use corten_spec::Digest;

    use super::*;

    #[test]
    fn a_chain_is_shown_level_by_level() {
        let mismatch = corten_spec::Error::DigestMismatch {
            expected: Digest::sha256(b"a"),
            received: Digest::sha256(b"b"),
        };
        let corrupt = corten_content::Error::Corrupt {
            place: "here".into(),
            source: Box::new(mismatch),
        };
        let error = CommandError::doing("cannot pull `x`", corrupt);
        assert_eq!(error.kind, Kind::Unverified);
        let expected = format!(
            "error: cannot pull `x`
  caused by: content from here did not verify
  caused by: content does not match its digest
    expected {}
    received {}
hint: nothing of it was stored; it is damaged where it comes from",
            Digest::sha256(b"a"),
            Digest::sha256(b"b")
        );
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn what_to_do_about_a_full_disk_is_said() {
        #[track_caller]
        fn check(error: impl Into<Cause>, expected: &str) {
            let shown = CommandError::caused(error).to_string();
            let (_, hint) = shown.split_once("hint: ").unwrap_or_default();
            assert!(hint.contains(expected), "{shown}");
        }
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let at_root = || corten_content::Error::system("write", "/")(full());
        let of_root = "are free on the file system of `/`";
        let error = corten_snapshot::Error::from(at_root());
        check(
            corten_build::Error::At {
                location: "Dockerfile:2: `COPY a /` failed".to_owned(),
                source: Box::new(error.into()),
            },
            of_root,
        );
        // What fails beneath a reader is inside an error of the same kind.
        let read = |source| corten_tar::Error::Read { offset: 9, source };
        let within = read(io::Error::new(full().kind(), at_root()));
        check(io::Error::from(within), of_root);
        let quota = || io::ErrorKind::QuotaExceeded.into();
        check(
            corten_transport::Error::System {
                action: "write",
                path: "/".into(),
                source: quota(),
            },
            of_root,
        );
        check(corten_layer::Error::from(read(quota())), "no space is left");
    }

    #[test]
    fn what_is_drawn_stays_as_it_is() {
        let error = CommandError::caused(Plain(
            "error: unknown instruction\n --> Dockerfile:1:1".into(),
        ));
        assert_eq!(
            error.to_string(),
            "error: unknown instruction\n --> Dockerfile:1:1"
        );
    }

    #[test]
    fn who_has_no_credentials_is_told_to_sign_in() {
        let error = corten_registry::Error::NoCredentials {
            host: "r.example".into(),
            searched: vec!["/a (absent)".into(), "/b (no entry)".into()],
        };
        let place = corten_content::Error::Place {
            place: "r.example/a".into(),
            source: Box::new(error),
        };
        assert_eq!(
            CommandError::doing("cannot pull `r.example/a`", place).to_string(),
            "error: cannot pull `r.example/a`
  caused by: r.example/a failed
  caused by: r.example asks for credentials and there are none
    looked in: /a (absent), /b (no entry)
hint: run `corten login r.example`"
        );
    }
}
