//! The local store: an image layout that many processes use at once.
//!
//! ```text
//! ROOT/
//!   oci-layout                  locked while index.json is changed
//!   index.json                  one entry a name; replaced by a rename
//!   blobs/sha256/4f4f…          content by digest, mode 0444, never changed
//!   ingest/sha256-4f4f…         a write in progress or left behind, locked by its writer
//!   ingest/.tmp-…               a write whose digest is not known yet
//!   locks/gc  locks/leases/…    what running processes rely on
//!   layers/  cache/             what other crates keep here; may be deleted at any time
//! ```
//!
//! A blob is written, synced, renamed into `blobs/`, and its directory synced, before `commit`
//! returns; `index.json` is written beside, synced, renamed, and the root synced, before `tag`
//! returns. So after a crash or a power failure every name leads to whole content.

#[cfg(test)]
mod crash;

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use corten_spec::{Descriptor, Digest, Platform, Reference};

use crate::atomic::make_dirs;
use crate::files::{Durability, Files, RealFiles, open_regular};
use crate::layout::dir::LayoutDir;
use crate::layout::names;
use crate::lease::{Lease, content_key, leases_dir};
use crate::{Error, Ingest, IngestPlan, Result, Sink, Source, Verified};

/// The local store.
///
/// Names are full normalised references, such as `docker.io/library/debian:12`; every method that
/// takes a name normalises it first. Digests are taken with and without `@`.
///
/// While a `Store` lives, `gc` spares everything that was looked at, read or written through it,
/// with all that it refers to.
#[derive(Debug)]
pub struct Store {
    dir: LayoutDir,
}

/// A name in the store and what it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedImage {
    /// The full normalised reference.
    pub name: String,
    /// What it stands for, with the annotations of its entry.
    pub descriptor: Descriptor,
}

impl Store {
    /// Opens the store in the directory `root`, and makes it one first if it is none.
    pub fn open(root: &Path) -> Result<Self> {
        Self::open_with(root, Durability::Full)
    }

    /// Opens the store as [`open`](Self::open) does, with weaker promises if `durability` says so.
    pub fn open_with(root: &Path, durability: Durability) -> Result<Self> {
        Self::open_files(root, Box::new(RealFiles(durability)))
    }

    pub(crate) fn open_files(root: &Path, files: Box<dyn Files>) -> Result<Self> {
        let locks = root.join(LOCKS);
        if !root.join("oci-layout").exists() || !leases_dir(&locks).is_dir() {
            create(root, &*files)?;
        }
        let place = format!("the store `{}`", root.display());
        let dir = LayoutDir::open(root, place, files)?;
        Ok(Self {
            dir: dir.with_lease(Lease::new(&locks)),
        })
    }

    /// Opens the store in `root` although its `oci-layout` or `index.json` may be damaged, for
    /// [`fsck`](crate::fsck). Nothing is made where there is none.
    pub fn open_damaged(root: &Path) -> Result<Self> {
        Self::open_damaged_files(root, Box::new(RealFiles(Durability::Full)))
    }

    pub(crate) fn open_damaged_files(root: &Path, files: Box<dyn Files>) -> Result<Self> {
        let dir = LayoutDir::open_damaged(root, format!("the store `{}`", root.display()), files)?;
        let locks = root.join(LOCKS);
        make_dirs(dir.files(), &leases_dir(&locks))?;
        Ok(Self {
            dir: dir.with_lease(Lease::new(&locks)),
        })
    }

    /// Lists all names, in the order in which they were given.
    pub fn list(&self) -> Result<Vec<NamedImage>> {
        let entries = self.dir.entries()?.into_iter();
        Ok(entries
            .filter_map(|descriptor| {
                let name = names::name_of(&descriptor)?.to_owned();
                Some(NamedImage { name, descriptor })
            })
            .collect())
    }

    /// Removes the name `name`, or the entry without a name of the digest `name`. Content stays
    /// until `gc` finds that nothing reaches it.
    pub fn untag(&self, name: &str) -> Result<()> {
        match names::as_digest(name) {
            Some(digest) => self.dir.untag(digest.as_str()),
            None => self.dir.untag(&normalized(name)?),
        }
    }

    /// Keeps `content`, which must be here, without a name. A manifest with a subject is kept for
    /// as long as its subject is.
    pub fn add(&self, content: &Descriptor) -> Result<()> {
        self.dir.add(content)
    }

    /// Has `gc` spare what is called `key`, for as long as this store is open.
    ///
    /// Call it *before* looking whether the thing is there. Keys are the caller's, such as
    /// `layer:sha256:…`; see [`GcGuard::is_protected`](crate::gc::GcGuard::is_protected).
    pub fn protect(&self, key: &str) -> Result<()> {
        self.dir
            .lease()
            .map_or(Ok(()), |lease| lease.hold(key, || Ok(())))
    }

    /// Returns the path that the blob `digest` has or would have; only for reading.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.dir.blob_path(digest)
    }

    /// Returns the paths of all blobs, for [`verify_blob`].
    pub fn blobs(&self) -> Result<Vec<PathBuf>> {
        let mut paths = Vec::new();
        for algorithm in list_dir(&self.dir.blobs_dir())? {
            if algorithm.is_dir() {
                paths.extend(list_dir(&algorithm)?);
            }
        }
        Ok(paths)
    }

    /// Returns the directory of what is derived from layers.
    pub fn layers_dir(&self) -> PathBuf {
        self.dir.root().join(LAYERS)
    }

    /// Returns the directory of build records.
    pub fn cache_dir(&self) -> PathBuf {
        self.dir.root().join(CACHE)
    }

    /// Returns the directory of locks; names that start with a crate's own name are its own.
    pub fn locks_dir(&self) -> PathBuf {
        self.dir.root().join(LOCKS)
    }

    /// Returns the store's own directory.
    pub fn root(&self) -> &Path {
        self.dir.root()
    }

    pub(crate) fn dir(&self) -> &LayoutDir {
        &self.dir
    }
}

/// Checks that the bytes of a blob are those that its path names, and returns their number.
///
/// # Errors
/// The error tells a wrong name ([`Error::Unusable`]) from wrong bytes ([`Error::Corrupt`]).
pub fn verify_blob(path: &Path) -> Result<u64> {
    let Some(digest) = blob_name(path) else {
        return Err(Error::Unusable {
            place: path.display().to_string(),
            reason: "its path does not end in `ALGORITHM/ENCODED` of a digest".into(),
        });
    };
    let (file, size) = open_regular(path).map_err(Error::system("open", path))?;
    let content = Descriptor::new("application/octet-stream", digest, size);
    let mut reader = Verified::new(file, &content, path.display().to_string())?;
    std::io::copy(&mut reader, &mut std::io::sink())
        .map_err(|error| Error::stream(format!("read `{}`", path.display()), error))
}

/// Returns the digest that the path of a blob names.
pub(crate) fn blob_name(path: &Path) -> Option<Digest> {
    let algorithm = path.parent()?.file_name()?.to_str()?;
    format!("{algorithm}:{}", path.file_name()?.to_str()?)
        .parse()
        .ok()
}

fn create(root: &Path, files: &dyn Files) -> Result<()> {
    if !root.exists() {
        make_dirs(files, root)?;
        // Unpacked layers hold set-uid programs, which other users must not reach
        // (CVE-2021-41091, CVE-2021-32760).
        fs::set_permissions(root, fs::Permissions::from_mode(0o700))
            .map_err(Error::system("protect", root))?;
    }
    for dir in ["ingest", LAYERS, CACHE] {
        make_dirs(files, &root.join(dir))?;
    }
    make_dirs(files, &leases_dir(&root.join(LOCKS)))?;
    LayoutDir::create(root, files)
}

/// Returns the paths in a directory, sorted.
pub(crate) fn list_dir(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).map_err(Error::system("list", dir))? {
        paths.push(entry.map_err(Error::system("list", dir))?.path());
    }
    paths.sort();
    Ok(paths)
}

fn normalized(name: &str) -> Result<String> {
    let reference: Reference = name.parse().map_err(|source| Error::Invalid {
        what: format!("the name `{name}`"),
        source: Box::new(source),
    })?;
    Ok(reference.or_latest().to_string())
}

const LOCKS: &str = "locks";
const LAYERS: &str = "layers";
const CACHE: &str = "cache";

impl Source for Store {
    fn place(&self) -> String {
        self.dir.place()
    }

    fn resolve(&self, name: &str) -> Result<Descriptor> {
        self.protected(name, |entries, full| {
            let candidates = names::candidates(entries, full);
            names::one(&self.dir.place(), full, &candidates)
        })
    }

    fn resolve_for(&self, name: &str, platform: &Platform) -> Result<Descriptor> {
        self.protected(name, |entries, full| {
            let candidates = names::candidates(entries, full);
            names::one_for(&self.dir.place(), full, &candidates, platform)
        })
    }

    fn fetch(&self, content: &Descriptor, offset: u64) -> Result<Box<dyn Read + Send + '_>> {
        self.dir.fetch(content, offset)
    }

    fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>> {
        self.dir.referrers(self, subject)
    }
}

impl Store {
    /// Resolves `name` by `find` and protects the result.
    fn protected(
        &self,
        name: &str,
        find: impl Fn(&[Descriptor], &str) -> Result<Descriptor>,
    ) -> Result<Descriptor> {
        if let Some(digest) = names::as_digest(name) {
            let entries = self.dir.entries()?;
            let listed = entries.into_iter().find(|entry| entry.digest == digest);
            return match listed {
                Some(entry) if self.dir.contains(&entry)? => Ok(entry),
                _ => self.dir.describe(&digest),
            };
        }
        let full = normalized(name)?;
        // Nearly always the name is written as it is, and then few entries have to be read.
        let find = || match find(&self.dir.entries_mentioning(&full)?, &full) {
            Err(error) if error.is_not_found() => find(&self.dir.entries()?, &full),
            other => other,
        };
        match self.dir.lease() {
            Some(lease) => lease.find(find, |found| content_key(&found.digest)),
            None => find(),
        }
    }
}

impl Sink for Store {
    fn place(&self) -> String {
        self.dir.place()
    }

    fn contains(&self, content: &Descriptor) -> Result<bool> {
        self.dir.contains(content)
    }

    fn ingest(&self, plan: &IngestPlan) -> Result<Box<dyn Ingest + '_>> {
        self.dir.ingest(plan)
    }

    fn tag(&self, tag: &str, content: &Descriptor) -> Result<()> {
        self.dir.tag(&normalized(tag)?, content)
    }
}
