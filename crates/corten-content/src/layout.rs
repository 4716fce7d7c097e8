//! Image layouts: a directory that holds images (image-layout.md).
//!
//! ```text
//! DIR/
//!   oci-layout              {"imageLayoutVersion":"1.0.0"}; locked while index.json is changed
//!   index.json              what is in here and how it is called; replaced last, by a rename
//!   blobs/sha256/4f4f…      content by digest, read-only
//!   ingest/                 writes in progress, here only while they last
//! ```
//!
//! Reading is lenient: any names, nested and sparse indexes, unknown files and media types. Writing
//! is the current specification, safe against crashes and other writers that lock.

pub(crate) mod dir;
pub mod index;
mod ingest;
pub mod names;
pub(crate) mod salvage;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use corten_spec::{Descriptor, Digest, Platform};

use crate::files::{Durability, RealFiles};
use crate::layout::dir::LayoutDir;
use crate::{Error, Ingest, IngestPlan, Result, Sink, Source};

/// An image layout in a directory, `oci:DIR`.
#[derive(Debug)]
pub struct Layout {
    dir: LayoutDir,
    has_written: AtomicBool,
}

impl Layout {
    /// Opens the layout in `dir`, which must be one.
    pub fn open(dir: &Path) -> Result<Self> {
        Self::open_with(dir, Durability::Full)
    }

    /// Opens the layout in `dir`, and makes it one first if it is none.
    pub fn create(dir: &Path, durability: Durability) -> Result<Self> {
        LayoutDir::create(dir, &RealFiles(durability))?;
        Self::open_with(dir, durability)
    }

    fn open_with(dir: &Path, durability: Durability) -> Result<Self> {
        let files = Box::new(RealFiles(durability));
        let place = format!("oci:{}", dir.display());
        let dir = LayoutDir::open(dir, place, files)?;
        Ok(Self {
            dir,
            has_written: AtomicBool::new(false),
        })
    }

    /// Returns the entries of `index.json`, as they are.
    pub fn entries(&self) -> Result<Vec<Descriptor>> {
        self.dir.entries()
    }

    /// Lists `content`, which must be here, without a name: what referrers are.
    pub fn add(&self, content: &Descriptor) -> Result<()> {
        self.ensure_writable()?;
        self.dir.add(content)
    }

    /// Removes the name `name`, or the entry without a name of the digest `name`. Blobs stay.
    pub fn untag(&self, name: &str) -> Result<()> {
        self.ensure_writable()?;
        self.dir.untag(name)
    }

    /// Returns the path that the blob `digest` has or would have.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.dir.blob_path(digest)
    }

    /// Refuses to write to the local store as if it were any layout: without a lease, `gc` would
    /// remove what is written before it is tagged.
    fn ensure_writable(&self) -> Result<()> {
        if self.dir.root().join("locks/leases").is_dir() {
            return Err(Error::Unusable {
                place: self.dir.place(),
                reason: "it is a store of corten, which is written to by its images' names alone"
                    .into(),
            });
        }
        Ok(())
    }
}

impl Drop for Layout {
    fn drop(&mut self) {
        // What only was read stays as it was. Unfinished writes keep the directory.
        if self.has_written.load(Ordering::Relaxed) {
            fs::remove_dir(self.dir.ingest_dir()).ok();
        }
    }
}

impl Source for Layout {
    fn place(&self) -> String {
        self.dir.place()
    }

    /// Finds a tag, a full name, a digest with or without `@`, or, if `name` is empty, the only
    /// entry.
    fn resolve(&self, name: &str) -> Result<Descriptor> {
        let entries = self.dir.entries()?;
        let candidates = names::candidates(&entries, name);
        match names::as_digest(name) {
            Some(digest) if candidates.is_empty() => self.dir.describe(&digest),
            _ => names::one(&self.dir.place(), name, &candidates),
        }
    }

    fn resolve_for(&self, name: &str, platform: &Platform) -> Result<Descriptor> {
        let entries = self.dir.entries()?;
        let candidates = names::candidates(&entries, name);
        if candidates.is_empty() {
            return self.resolve(name);
        }
        names::one_for(&self.dir.place(), name, &candidates, platform)
    }

    fn resolve_all(&self, name: &str) -> Result<Vec<Descriptor>> {
        let entries = self.dir.entries()?;
        let candidates = names::candidates(&entries, name);
        match names::of_platforms(&candidates) {
            Some(several) => Ok(several),
            None => Ok(vec![self.resolve(name)?]),
        }
    }

    fn fetch(&self, content: &Descriptor, offset: u64) -> Result<Box<dyn Read + Send + '_>> {
        self.dir.fetch(content, offset)
    }

    fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>> {
        self.dir.referrers(self, subject)
    }
}

impl Sink for Layout {
    fn place(&self) -> String {
        self.dir.place()
    }

    fn contains(&self, content: &Descriptor) -> Result<bool> {
        self.dir.contains(content)
    }

    fn ingest(&self, plan: &IngestPlan) -> Result<Box<dyn Ingest + '_>> {
        self.ensure_writable()?;
        self.has_written.store(true, Ordering::Relaxed);
        self.dir.ingest(plan)
    }

    fn tag(&self, tag: &str, content: &Descriptor) -> Result<()> {
        self.ensure_writable()?;
        self.dir.tag(tag, content)
    }
}
