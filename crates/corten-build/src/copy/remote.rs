//! What ADD fetches: first what it is, which is enough for a hit, then the bytes.

use std::io::{self, Read, Write as _};
use std::path::Path;

use corten_content::{IngestPlan, Sink, Store};
use corten_dockerfile::{GitSource, HttpSource, Ignore};
use corten_layer::tree::File;
use corten_layer::{Contents, Data, Item, Meta, Put, Tree, TreeBuilder};
use corten_spec::{Algorithm, Descriptor, Digest, Hasher};
use corten_tar::Timestamp;

use crate::build::Builder;
use crate::context::HostTree;
use crate::copy::{SourceOwners, SourceTree};
use crate::downloads::{Download, Known};
use crate::reach::Reach;
use crate::remote::{GitCommit, GitFiles, HttpAnswer, Validators};
use crate::request::CacheUse;
use crate::{Error, Result};

/// What was fetched, as a tree like any other.
#[derive(Debug)]
pub(crate) enum Fetched<'a> {
    File {
        tree: Tree,
        contents: Box<Blob<'a>>,
    },
    Checkout {
        host: HostTree,
        /// The directory is removed with this.
        _files: GitFiles,
    },
}

impl Fetched<'_> {
    pub(crate) fn source(&self) -> SourceTree<'_> {
        match self {
            Self::File { tree, contents } => SourceTree {
                tree,
                contents: &**contents,
                owners: SourceOwners::Root,
                host: None,
            },
            Self::Checkout { host, .. } => SourceTree {
                tree: &host.tree,
                contents: &host.files,
                owners: host.owners(),
                host: None,
            },
        }
    }
}

/// A file that is a blob of the store.
#[derive(Debug)]
pub(crate) struct Blob<'a> {
    store: &'a Store,
    content: Descriptor,
}

impl Contents for Blob<'_> {
    fn open<'b>(&'b self, _file: &'b File) -> io::Result<Box<dyn Read + Send + 'b>> {
        let opened = corten_content::open(self.store, &self.content);
        Ok(Box::new(opened.map_err(io::Error::other)?))
    }
}

impl Builder<'_> {
    /// Finds out what is at the address of `source`: from its checksum, or by asking the server, which
    /// may send the file.
    pub(crate) fn download(&self, source: &HttpSource) -> Result<Download> {
        let url = source.url.reveal();
        let known = Known::look_up(self.store, url);
        if let Some(digest) = self.wanted_digest(source)? {
            let noted = (url.to_owned(), digest.clone());
            self.sources.checked.get(noted, || Result::Ok(()))?;
            let known = known.filter(|known| known.download.digest == digest);
            return Ok(known.map_or(
                Download {
                    digest,
                    last_modified: None,
                },
                |known| known.download,
            ));
        }
        self.sources.downloads.get(url.to_owned(), || {
            let known = known.filter(|_| self.request.cache == CacheUse::Use);
            let validators = known.as_ref().map(Known::validators).unwrap_or_default();
            let answer = self.sources.remotes().http(&source.url, &validators);
            match (answer.map_err(|error| unfetched(source, error))?, known) {
                (HttpAnswer::Unchanged, Some(known)) => {
                    known.record(self.store, url);
                    Ok(known.download)
                }
                (HttpAnswer::Unchanged, None) => {
                    Err(unfetched(source, "the server sends no file".into()))
                }
                (HttpAnswer::File { body, validators }, _) => {
                    self.store_file(source, body, validators, None)
                }
            }
        })
    }

    /// Returns the digest that the file has to have, whoever says so.
    fn wanted_digest(&self, source: &HttpSource) -> Result<Option<Digest>> {
        let pinned = self.sources.remotes().pinned(&source.url);
        let pinned = pinned.map_err(|error| unfetched(source, error))?;
        let expected = source.checksum.as_deref().map(sha256);
        if let (Some(expected), Some(received)) = (&expected, &pinned) {
            let same = expected.compare(received);
            same.map_err(|error| unfetched(source, error.into()))?;
        }
        Ok(expected.or(pinned))
    }

    /// Returns the file of `source`, which is `download`, fetching it if it is not in the store.
    pub(crate) fn fetched_file(
        &self,
        source: &HttpSource,
        download: &Download,
    ) -> Result<Fetched<'_>> {
        let mut download = download.clone();
        let mut content = self.stored(&download.digest)?;
        // Asking the store protects the file from gc: nothing else may name it before the layer does.
        if !self.store.contains(&content)? {
            let answer = self
                .sources
                .remotes()
                .http(&source.url, &Validators::default());
            let HttpAnswer::File { body, validators } =
                answer.map_err(|error| unfetched(source, error))?
            else {
                return Err(unfetched(source, "the server sends no file".into()));
            };
            download = self.store_file(source, body, validators, Some(&download.digest))?;
            content = self.stored(&download.digest)?;
        }
        let mtime = download.modified().unwrap_or_default();
        let mut tree = TreeBuilder::new(Meta::implied_directory(mtime));
        let item = Item::File(File {
            size: content.size,
            data: Data::External(0),
            sparse: None,
        });
        let put = Put {
            item,
            meta: Meta::new(0o600, 0, 0, mtime),
            group: None,
        };
        tree.add(source.name.as_bytes(), put)?;
        Ok(Fetched::File {
            tree: tree.finish(),
            contents: Box::new(Blob {
                store: self.store,
                content,
            }),
        })
    }

    /// Describes the blob `digest`, with no bytes if it is not there.
    fn stored(&self, digest: &Digest) -> Result<Descriptor> {
        let path = self.store.blob_path(digest);
        let size = match path.metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            metadata => metadata.map_err(Error::system("read", &path))?.len(),
        };
        Ok(Descriptor {
            digest: digest.clone(),
            size,
            ..Descriptor::of("application/octet-stream", b"")
        })
    }

    /// Puts what a server sent into the store, if it has the digest that is `wanted`.
    fn store_file(
        &self,
        source: &HttpSource,
        mut body: Box<dyn Read + Send>,
        validators: Validators,
        wanted: Option<&Digest>,
    ) -> Result<Download> {
        let failed = |error: io::Error| unfetched(source, error.into());
        let maximum = self.request.limits.archive.total_bytes;
        let mut hasher = Hasher::new(Algorithm::Sha256);
        let mut ingest = self.store.ingest(&IngestPlan::unknown())?;
        let mut buf = vec![0; 128 << 10];
        let mut size = 0_u64;
        loop {
            // How long one read may take is for the connection to say.
            if self.cancel.is_cancelled() {
                return Err(Error::Stopped);
            }
            let n_read = body.read(&mut buf).map_err(failed)?;
            let read = buf.get(..n_read).unwrap_or_default();
            if read.is_empty() {
                break;
            }
            size = size.saturating_add(n_read as u64);
            if size > maximum {
                let limit = corten_tar::Error::Limit {
                    limit: "total_bytes",
                    maximum,
                };
                return Err(unfetched(source, limit.into()));
            }
            hasher.update(read);
            let stored = ingest.write_all(read);
            stored.map_err(|error| {
                corten_content::Error::stream(format!("store `{}`", source.url), error)
            })?;
        }
        let digest = hasher.finish();
        if let Some(wanted) = wanted
            && *wanted != digest
        {
            let mismatch = corten_spec::Error::DigestMismatch {
                expected: wanted.clone(),
                received: digest,
            };
            return Err(unfetched(source, mismatch.into()));
        }
        ingest.commit(None)?;
        let known = Known {
            download: Download {
                digest,
                last_modified: validators.last_modified,
            },
            etag: validators.etag,
        };
        known.record(self.store, source.url.reveal());
        Ok(known.download)
    }

    /// Returns the commit that `source` names, which is the one that it has to be.
    pub(crate) fn commit_of(&self, source: &GitSource) -> Result<GitCommit> {
        let url = &source.url;
        let parts = [
            Some(&url.remote),
            url.reference.as_ref(),
            url.checksum.as_ref(),
        ];
        let name = parts.map(|part| part.cloned().unwrap_or_default());
        let found = self.sources.commits.get(name, || {
            let _held = self.hold_end()?;
            let commit = self.sources.remotes().git_commit(url, &self.cancel);
            commit.map_err(|error| unfetched_tree(source, error))
        })?;
        let expected = url.checksum.as_deref().unwrap_or_default();
        // As for BuildKit, the start of the digest is enough, and an annotated tag has its own.
        if found.commit.starts_with(expected) || found.object.starts_with(expected) {
            return Ok(found);
        }
        Err(Error::WrongCommit {
            address: url.shown_remote(),
            expected: expected.to_owned(),
            received: found.commit,
        })
    }

    /// Returns the files of `commit`.
    pub(crate) fn checked_out(
        &self,
        source: &GitSource,
        commit: &GitCommit,
    ) -> Result<Fetched<'static>> {
        let _held = self.hold_end()?;
        let remotes = self.sources.remotes();
        let files = remotes
            .git_checkout(&source.url, commit, &self.cancel)
            .map_err(|error| unfetched_tree(source, error))?;
        make_public(&files.path)?;
        let limits = &self.request.limits;
        Ok(Fetched::Checkout {
            host: HostTree::open(&files.path, &Ignore::default(), Reach::all(), limits, None)?,
            _files: files,
        })
    }
}

/// Gives a directory the mode that the root of a checkout has, whatever the umask is.
fn make_public(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(path, mode).map_err(Error::system("set the mode of", path))
}

fn sha256(digits: &str) -> Digest {
    let text = format!("sha256:{digits}");
    text.parse().expect("the plan checked the digits")
}

fn unfetched(source: &HttpSource, error: crate::remote::Failure) -> Error {
    Error::Fetch {
        address: source.url.to_string(),
        source: error,
    }
}

fn unfetched_tree(source: &GitSource, error: crate::remote::Failure) -> Error {
    Error::Fetch {
        address: source.url.shown_remote(),
        source: error,
    }
}

/// Returns the time of an HTTP date (RFC 9110 section 5.6.7), in any of its three forms.
pub(crate) fn http_date(text: &str) -> Option<Timestamp> {
    let forms = [
        "%a, %d %b %Y %H:%M:%S GMT",
        "%A, %d-%b-%y %H:%M:%S GMT",
        "%a %b %e %H:%M:%S %Y",
    ];
    let parsed = forms
        .iter()
        .find_map(|form| jiff::civil::DateTime::strptime(form, text.trim()).ok())?;
    let time = parsed.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(Timestamp::from_seconds(time.timestamp().as_second()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        #[track_caller]
        fn check(text: &str, expected: Option<i64>) {
            assert_eq!(http_date(text).map(|time| time.seconds), expected, "{text}");
        }
        check("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777));
        check("Sunday, 06-Nov-94 08:49:37 GMT", Some(784_111_777));
        check("Sun Nov  6 08:49:37 1994", Some(784_111_777));
        check("1994-11-06", None);
        check("", None);
    }
}
