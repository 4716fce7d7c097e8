//! Where the addresses of `ADD` lead: the caller knows the network, the builder does not.

use std::fmt;
use std::io::Read;
use std::path::PathBuf;

use corten_dockerfile::{Address, GitUrl};
use corten_sandbox::Cancel;
use corten_spec::Digest;

/// Why something could not be fetched.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Fetches what `ADD` names by an address.
///
/// Several stages may ask at the same time. No error may show the password of an address. What is given
/// a [`Cancel`] ends early, with an error, and leaves no process behind once that is requested.
pub trait Remotes: Sync {
    /// Returns the digest that the file at `url` has to have, if more than the Dockerfile says so.
    ///
    /// # Errors
    ///
    /// It may not be used.
    fn pinned(&self, _url: &Address) -> Result<Option<Digest>, Failure> {
        Ok(None)
    }

    /// Fetches the file at `url`, unless it is the one of which `known` was told.
    fn http(&self, url: &Address, known: &Validators) -> Result<HttpAnswer, Failure>;

    /// Returns the commit that `url` names now, without asking anyone if the address says which.
    fn git_commit(&self, url: &GitUrl, cancel: &Cancel) -> Result<GitCommit, Failure>;

    /// Checks `commit` of `url` out.
    fn git_checkout(
        &self,
        url: &GitUrl,
        commit: &GitCommit,
        cancel: &Cancel,
    ) -> Result<GitFiles, Failure>;
}

/// What a server says by which a file is known again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Validators {
    /// `ETag`, as it came.
    pub etag: Option<String>,
    /// `Last-Modified`, as it came.
    pub last_modified: Option<String>,
}

/// What a server answered.
pub enum HttpAnswer {
    /// The file is the one that was known.
    Unchanged,
    /// The file.
    File {
        /// Its bytes.
        body: Box<dyn Read + Send>,
        /// What it is known by.
        validators: Validators,
    },
}

impl fmt::Debug for HttpAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unchanged => f.write_str("Unchanged"),
            Self::File { validators, .. } => write!(f, "File({validators:?})"),
        }
    }
}

/// A commit that an address names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GitCommit {
    /// The commit: 40 or 64 hexadecimal digits.
    pub commit: String,
    /// What the reference stands for: the commit, or an annotated tag of it.
    pub object: String,
    /// What it was found as, such as `refs/heads/main`; `None` for a commit that was named itself.
    pub reference: Option<String>,
}

/// A commit that was checked out.
pub struct GitFiles {
    /// The directory that was asked for.
    pub path: PathBuf,
    /// What keeps it there until it is dropped.
    pub keeper: Box<dyn Send + Sync>,
}

impl fmt::Debug for GitFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GitFiles({})", self.path.display())
    }
}

/// Fetches nothing.
#[derive(Debug, Clone, Copy)]
pub struct NoRemotes;

impl Remotes for NoRemotes {
    fn http(&self, _url: &Address, _known: &Validators) -> Result<HttpAnswer, Failure> {
        Err("nothing is fetched here".into())
    }

    fn git_commit(&self, _: &GitUrl, _: &Cancel) -> Result<GitCommit, Failure> {
        Err("nothing is fetched here".into())
    }

    fn git_checkout(&self, _: &GitUrl, _: &GitCommit, _: &Cancel) -> Result<GitFiles, Failure> {
        Err("nothing is fetched here".into())
    }
}
