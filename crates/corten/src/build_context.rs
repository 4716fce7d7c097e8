//! Build contexts: directories, tars, git repositories, URLs, objects and standard input, made into something
//! that files can be copied from.

use std::fs;
use std::io::{self, Read, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use corten_dockerfile::GitUrl;
use corten_tar::{Decoder, Encoding, LayerLimits, Limits, Reader, sniff};

use crate::context::Context;
use crate::error::CommandError;
use crate::registry::RegistryArgs;
use crate::remotes::objects::is_object;
use crate::remotes::{download::download, git};
use crate::scratch::ScratchDir;
use crate::signals;

/// What CONTEXT names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ContextPlace {
    /// A directory.
    Directory(PathBuf),
    /// A tar, compressed or not.
    Tar(PathBuf),
    /// A tar or a Dockerfile on standard input.
    Stdin,
    /// A git repository.
    Git(Box<GitUrl>),
    /// A tar or a Dockerfile, by HTTP or in a bucket.
    Http(String),
}

/// A context at hand.
#[derive(Debug)]
pub(crate) struct OpenContext {
    /// A directory or an uncompressed tar.
    pub(crate) path: PathBuf,
    /// Where it is from, which says what its files are for.
    pub(crate) origin: Origin,
    /// Keeps what was fetched.
    _scratch: Option<ScratchDir>,
}

/// Where a context is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A directory of this machine: the one kind that ignore files are for, as for BuildKit.
    Here,
    /// A tar or a git repository, which is as it is meant to be.
    Elsewhere,
    /// It was no context but this Dockerfile, and there is nothing else.
    Dockerfile(Vec<u8>),
}

/// How a git repository is checked out where its URL does not say it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct GitDefaults {
    /// Whether `.git` stays: `BUILDKIT_CONTEXT_KEEP_GIT_DIR`.
    pub(crate) keep_git_dir: bool,
    /// Whether files get the time of the commit, as they do where there is a `SOURCE_DATE_EPOCH`.
    pub(crate) times_of_commit: bool,
}

/// No Dockerfile is longer; a file that was named by mistake is not read to its end.
pub(crate) const LONGEST_DOCKERFILE: u64 = 16 << 20;

impl ContextPlace {
    /// Tells what `text` names: what is a directory here is that, whatever else it could be.
    pub(crate) fn of(text: &Path) -> Result<Self, CommandError> {
        let shown = text.display();
        if text == Path::new("-") {
            return Ok(Self::Stdin);
        }
        if text.is_dir() {
            return Ok(Self::Directory(text.to_owned()));
        }
        if let Some(place) = Self::remote(&text.to_string_lossy())? {
            return Ok(place);
        }
        if text.is_file() {
            return Ok(Self::Tar(text.to_owned()));
        }
        let problem = if text.exists() {
            "is neither a directory nor a tar"
        } else {
            "does not exist"
        };
        Err(CommandError::failed(format!(
            "the build context `{shown}` {problem}"
        )))
    }

    /// Tells what the URL `text` names; `None` if it is none.
    pub(crate) fn remote(text: &str) -> Result<Option<Self>, CommandError> {
        let git = GitUrl::parse(text).map_err(|error| CommandError::usage(error.to_string()))?;
        if let Some(url) = git {
            return Ok(Some(Self::Git(Box::new(url))));
        }
        let is_fetched = is_http(text) || is_object(text)?;
        Ok(is_fetched.then(|| Self::Http(text.to_owned())))
    }

    /// Tells whether it has to be fetched before anything is known about it.
    pub(crate) fn is_remote(&self) -> bool {
        match self {
            Self::Git(_) | Self::Http(_) => true,
            Self::Directory(_) | Self::Tar(_) | Self::Stdin => false,
        }
    }

    /// Makes it something that files can be copied from.
    pub(crate) fn open(
        &self,
        ctx: &Context,
        registry: &RegistryArgs,
        git: GitDefaults,
    ) -> Result<OpenContext, CommandError> {
        match self {
            Self::Directory(path) => Ok(OpenContext {
                path: path.clone(),
                origin: Origin::Here,
                _scratch: None,
            }),
            Self::Tar(path) => open_tar(path, ctx),
            Self::Stdin => open_stdin(ctx),
            Self::Git(url) => open_git(url, git, ctx, registry),
            Self::Http(url) => open_url(url, ctx, registry),
        }
    }
}

/// Fetches what `--build-context` names by URL: a repository, or any other file as the one file
/// `context` of a directory, as for BuildKit.
pub(crate) fn open_named(
    place: &ContextPlace,
    ctx: &Context,
    registry: &RegistryArgs,
) -> Result<OpenContext, CommandError> {
    let ContextPlace::Http(url) = place else {
        return place.open(ctx, registry, GitDefaults::default());
    };
    let longest = ctx.layer_limits().archive.total_bytes;
    let scratch = fetch(url, ctx, registry, longest)?;
    Ok(OpenContext {
        path: scratch.path().join("files"),
        origin: Origin::Elsewhere,
        _scratch: Some(scratch),
    })
}

/// Tells whether `text` is an `http` or `https` URL.
pub(crate) fn is_http(text: &str) -> bool {
    text.starts_with("https://") || text.starts_with("http://")
}

fn open_git(
    url: &GitUrl,
    defaults: GitDefaults,
    ctx: &Context,
    registry: &RegistryArgs,
) -> Result<OpenContext, CommandError> {
    let mut url = url.clone();
    if defaults.keep_git_dir {
        url.keep_git_dir = Some(true);
    }
    if defaults.times_of_commit {
        url.times = corten_dockerfile::GitTimes::Commit;
    }
    let cancel = signals::cancelled_by_signals()?;
    let held = cancel.hold().map_err(CommandError::caused)?;
    let scratch = ScratchDir::new(ctx)?;
    let access = git::Access {
        ctx,
        registry: Some(registry),
        cancel: &cancel,
    };
    let checkout = git::checkout(&url, scratch.path(), &access)?;
    drop(held);
    ctx.output
        .detail(&format!("the context is commit {}", checkout.commit));
    Ok(OpenContext {
        path: checkout.path,
        origin: Origin::Elsewhere,
        _scratch: Some(scratch),
    })
}

fn open_tar(path: &Path, ctx: &Context) -> Result<OpenContext, CommandError> {
    let doing = || format!("cannot use the build context `{}`", path.display());
    let scratch = ScratchDir::new(ctx)?;
    let into = scratch.path().join("context.tar");
    let spool = || -> io::Result<bool> {
        let (start, file) = peek(fs::File::open(path)?)?;
        if !is_archive(&start) {
            return Ok(false);
        }
        unpack(
            Box::new(file),
            &mut fs::File::create_new(&into)?,
            &ctx.layer_limits(),
        )?;
        Ok(true)
    };
    if !spool().map_err(|error| CommandError::doing(doing(), error))? {
        return Err(CommandError::failed(doing()).hint("a context that is a file is a tar"));
    }
    Ok(OpenContext {
        path: into,
        origin: Origin::Elsewhere,
        _scratch: Some(scratch),
    })
}

/// Fetches `url`: a tar, or a Dockerfile, which is then the one file of the context, `context`.
fn open_url(
    url: &str,
    ctx: &Context,
    registry: &RegistryArgs,
) -> Result<OpenContext, CommandError> {
    let limits = ctx.layer_limits();
    let scratch = fetch(url, ctx, registry, limits.archive.total_bytes)?;
    let files = scratch.path().join("files");
    let got = files.join("context");
    let into = scratch.path().join("context.tar");
    let look = || -> io::Result<Option<Vec<u8>>> {
        let (start, mut file) = peek(fs::File::open(&got)?)?;
        if is_archive(&start) {
            unpack(Box::new(file), &mut fs::File::create_new(&into)?, &limits)?;
            fs::remove_file(&got)?;
            return Ok(None);
        }
        read_at_most(&mut file, LONGEST_DOCKERFILE).map(Some)
    };
    let dockerfile = look().map_err(|error| {
        let shown = corten_dockerfile::without_secrets(url);
        CommandError::doing(format!("cannot use the build context `{shown}`"), error)
    })?;
    let (path, origin) = match dockerfile {
        None => (into, Origin::Elsewhere),
        Some(text) => (files, Origin::Dockerfile(text)),
    };
    Ok(OpenContext {
        path,
        origin,
        _scratch: Some(scratch),
    })
}

/// Gets `url` as the one file of the directory `files`, called `context` as BuildKit calls it.
pub(crate) fn fetch(
    url: &str,
    ctx: &Context,
    registry: &RegistryArgs,
    longest: u64,
) -> Result<ScratchDir, CommandError> {
    use std::os::unix::fs::PermissionsExt as _;
    let scratch = ScratchDir::new(ctx)?;
    let files = scratch.path().join("files");
    let got = files.join("context");
    fs::create_dir(&files).map_err(CommandError::caused)?;
    download(url, &got, longest, ctx, registry)?;
    fs::set_permissions(&got, fs::Permissions::from_mode(0o600)).map_err(CommandError::caused)?;
    Ok(scratch)
}

/// Reads a context from standard input: a tar, or a Dockerfile without one.
///
/// What was read takes the place of standard input: the program may be started again, in a user
/// namespace, and look at it again.
fn open_stdin(ctx: &Context) -> Result<OpenContext, CommandError> {
    let failed =
        |error| CommandError::doing("cannot read the build context from standard input", error);
    let scratch = ScratchDir::new(ctx)?;
    let stdin = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3);
    let stdin = stdin.map_err(|error| failed(error.into()))?;
    let (start, mut input) = peek(stdin.into()).map_err(failed)?;
    if start.is_empty() {
        return Err(CommandError::usage("standard input is empty")
            .hint("a context of `-` is a tar, or a Dockerfile, on standard input"));
    }
    if !is_archive(&start) {
        let text = read_at_most(&mut input, LONGEST_DOCKERFILE).map_err(failed)?;
        put_back(&text).map_err(failed)?;
        let empty = scratch.path().join("files");
        fs::create_dir(&empty).map_err(failed)?;
        return Ok(OpenContext {
            path: empty,
            origin: Origin::Dockerfile(text),
            _scratch: Some(scratch),
        });
    }
    let path = scratch.path().join("context.tar");
    let spool = || -> io::Result<()> {
        let mut file = fs::File::create_new(&path)?;
        unpack(Box::new(input), &mut file, &ctx.layer_limits())?;
        let file = fs::File::open(&path)?;
        Ok(rustix::stdio::dup2_stdin(&file)?)
    };
    spool().map_err(failed)?;
    Ok(OpenContext {
        path,
        origin: Origin::Elsewhere,
        _scratch: Some(scratch),
    })
}

/// Makes `bytes` what is read from standard input next.
pub(crate) fn put_back(bytes: &[u8]) -> io::Result<()> {
    let copy = rustix::fs::memfd_create("stdin", rustix::fs::MemfdFlags::CLOEXEC)?;
    let mut copy = fs::File::from(copy);
    copy.write_all(bytes)?;
    copy.rewind()?;
    Ok(rustix::stdio::dup2_stdin(&copy)?)
}

/// Reads all of `input`, which is an error if it is longer than `longest` bytes.
pub(crate) fn read_at_most(input: &mut dyn Read, longest: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.take(longest + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > longest {
        return Err(io::Error::other(format!(
            "it is longer than {longest} bytes"
        )));
    }
    Ok(bytes)
}

/// Returns what `input` begins with, as much as tells an archive, and all of it.
fn peek(mut input: fs::File) -> io::Result<(Vec<u8>, impl Read + Send)> {
    let mut start = Vec::new();
    Read::by_ref(&mut input)
        .take(1024)
        .read_to_end(&mut start)?;
    Ok((start.clone(), io::Cursor::new(start).chain(input)))
}

/// Tells whether `start` is that of a tar, or of anything compressed, as BuildKit does.
fn is_archive(start: &[u8]) -> bool {
    sniff(start) != Encoding::Identity
        || Reader::new(start, Limits::default())
            .next_entry()
            .is_ok_and(|entry| entry.is_some())
}

/// Writes what `input` uncompresses to into `file`.
fn unpack(
    input: Box<dyn Read + Send + '_>,
    file: &mut fs::File,
    limits: &LayerLimits,
) -> io::Result<()> {
    let decoder = Decoder::new(input, limits.decoding).map_err(io::Error::other)?;
    let maximum = limits.archive.total_bytes;
    let n_copied = io::copy(&mut decoder.take(maximum.saturating_add(1)), file)?;
    if n_copied > maximum {
        return Err(io::Error::other(format!(
            "it is longer than {maximum} bytes; `--limit total_bytes=N` allows more"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_a_context() {
        #[track_caller]
        fn check(text: &str, expected: &str) {
            let found = match ContextPlace::of(Path::new(text)) {
                Ok(ContextPlace::Directory(_)) => "directory",
                Ok(ContextPlace::Tar(_)) => "tar",
                Ok(ContextPlace::Stdin) => "stdin",
                Ok(ContextPlace::Git(_)) => "git",
                Ok(ContextPlace::Http(_)) => "http",
                Err(_) => "error",
            };
            assert_eq!(found, expected, "{text}");
        }
        check(".", "directory");
        check("src", "directory");
        check("Cargo.toml", "tar");
        check("-", "stdin");
        check("https://e.com/a.git#v1:d", "git");
        check("git@e.com:a", "git");
        check("github.com/a/b", "git");
        check("https://e.com/a.tar.gz", "http");
        check("https://e.com/a", "http");
        check("s3://bucket/a.tar.gz", "http");
        check("gs://bucket", "http");
        check("s3://bucket/", "http");
        check("s3://bucket/dir/", "error");
        check("ftp://e.com/a", "error");
        check("absent", "error");
        check("https://e.com/a.git#-x", "error");
        check("/dev/null", "error");
    }
}
