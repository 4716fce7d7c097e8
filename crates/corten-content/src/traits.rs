//! The two traits that join every place content can be: [`Source`] and [`Sink`].

use std::io::{Read, Write};

use corten_spec::{Algorithm, Descriptor, Digest, Platform};

use crate::{Error, Result};

/// A place content can be read from: a registry repository, an image layout, a saved archive, the
/// local store.
///
/// A backend implements [`fetch`](Self::fetch). Everyone else calls [`open`](crate::open) or
/// [`read`](crate::read), which check every byte against the descriptor.
pub trait Source: Send + Sync {
    /// Returns what messages call this place, such as `registry.example/acme/app` or `oci:dir`.
    fn place(&self) -> String;

    /// Finds what `name`, a tag or a digest, stands for here.
    fn resolve(&self, name: &str) -> Result<Descriptor>;

    /// Finds what `name` stands for here, where several entries may share the name and differ in
    /// their platforms (LAY-17).
    ///
    /// The result may still be an index that has to be searched for the platform.
    fn resolve_for(&self, name: &str, _platform: &Platform) -> Result<Descriptor> {
        self.resolve(name)
    }

    /// Finds all that `name` stands for here: one entry, or one for each platform (LAY-17).
    fn resolve_all(&self, name: &str) -> Result<Vec<Descriptor>> {
        Ok(vec![self.resolve(name)?])
    }

    /// Opens the bytes of `content` from `offset` on, unchecked.
    ///
    /// The reader ends where the content ends here, which may be sooner or later than `content`
    /// says.
    fn fetch(&self, content: &Descriptor, offset: u64) -> Result<Box<dyn Read + Send + '_>>;

    /// Tells whether `content` is here, without reading it; its bytes may still be wrong.
    fn holds(&self, content: &Descriptor) -> Result<bool> {
        match self.fetch(content, 0) {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Lists the manifests here that name `subject` as their subject, such as its signatures.
    fn referrers(&self, _subject: &Digest) -> Result<Vec<Descriptor>> {
        Ok(Vec::new())
    }

    /// Returns the repository that other repositories of the same registry can mount blobs from.
    fn mountable(&self) -> Option<MountSource> {
        None
    }

    /// Returns the repository that other repositories of the same registry can mount `content` from,
    /// where content of this place is in several.
    fn mountable_for(&self, _content: &Descriptor) -> Option<MountSource> {
        self.mountable()
    }
}

/// A place content can be written to.
pub trait Sink: Send + Sync {
    /// Returns what messages call this place.
    fn place(&self) -> String;

    /// Tells whether these very bytes are already here. What they refer to is `copy`'s business: a
    /// registry cannot know.
    fn contains(&self, content: &Descriptor) -> Result<bool>;

    /// Starts writing a blob, or resumes the write that was left under the same key.
    fn ingest(&self, plan: &IngestPlan) -> Result<Box<dyn Ingest + '_>>;

    /// Points `tag` at `content`, which must be here.
    fn tag(&self, tag: &str, content: &Descriptor) -> Result<()>;

    /// Tells whether layers that are marked as not to be distributed go here (LYR-53).
    fn takes_foreign_layers(&self) -> bool {
        true
    }
}

/// A blob on its way into a [`Sink`], invisible to readers until it is committed.
///
/// It hashes what is written. Dropping it keeps what was written, so that a later ingest of the
/// same content resumes.
pub trait Ingest: Write + Send {
    /// Returns how many bytes are already written: the source is read from there on.
    fn offset(&self) -> u64;

    /// Makes the blob visible under the digest of the bytes written, and returns that digest and
    /// the length in bytes.
    ///
    /// If `expected` is given and the bytes are not those, nothing becomes visible and nothing is
    /// left to resume. Blocks until the bytes are on stable storage, where there is one.
    fn commit(self: Box<Self>, expected: Option<&Descriptor>) -> Result<(Digest, u64)>;
}

/// What a sink must know at the start of a write.
#[derive(Debug, Clone)]
pub struct IngestPlan {
    /// The algorithm of the digest to come.
    pub algorithm: Algorithm,
    /// The content, where it is known beforehand; such a write can be resumed or skipped.
    pub content: Option<Descriptor>,
    /// Where the content could be mounted from instead of being sent.
    pub mount: Option<MountSource>,
}

/// A repository that content could be mounted from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountSource {
    /// The registry's host and port.
    pub registry: String,
    /// The repository in it.
    pub repository: String,
}

impl IngestPlan {
    /// Returns the plan for a blob whose digest is not known yet.
    pub fn unknown() -> Self {
        Self {
            algorithm: Algorithm::Sha256,
            content: None,
            mount: None,
        }
    }

    /// Returns the plan for `content`.
    ///
    /// # Errors
    /// Fails if the digest is of an algorithm that we cannot compute: such content could not be
    /// verified, hence not be stored.
    pub fn of(content: &Descriptor) -> Result<Self> {
        let algorithm = content.digest.algorithm().ok_or_else(|| {
            Error::from(corten_spec::Error::UnsupportedAlgorithm {
                digest: content.digest.clone(),
            })
        })?;
        Ok(Self {
            algorithm,
            content: Some(content.clone()),
            mount: None,
        })
    }
}
