//! The files of an image layout: what the layout backend and the local store have in common.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use corten_spec::annotations::{IMAGE_NAME, REF_NAME};
use corten_spec::{
    Bound, Descriptor, Digest, DocumentLimits, DocumentType, Index, Layout as Header, document,
    json,
};

use crate::files::{Files, open_regular};
use crate::fsck::BlobState;
use crate::fsck::survey::hash;
use crate::layout::index::{self, LayoutIndex};
use crate::layout::ingest::FileIngest;
use crate::layout::names;
use crate::lease::{Lease, content_key};
use crate::lock::Lock;
use crate::{Error, Ingest, IngestPlan, Result, Source, atomic, graph};

/// An image layout in a directory, protected by a lease if it is the local store.
#[derive(Debug)]
pub(crate) struct LayoutDir {
    root: PathBuf,
    place: String,
    files: Box<dyn Files>,
    lease: Option<Lease>,
}

impl LayoutDir {
    /// Opens what is there, and checks that it is a layout (LAY-02 to LAY-08).
    pub(crate) fn open(root: &Path, place: String, files: Box<dyn Files>) -> Result<Self> {
        let dir = Self::open_damaged(root, place, files)?;
        let bytes = dir.read_own(Header::FILE, Header::limit())?;
        let header: corten_spec::Result<Header> = json::parse(Header::NAME, &bytes);
        header
            .and_then(|header| header.check(""))
            .map_err(|source| Error::Invalid {
                what: dir.place(),
                source: Box::new(source),
            })?;
        Ok(dir)
    }

    /// Opens what has a directory of blobs, whatever its other files are.
    pub(crate) fn open_damaged(root: &Path, place: String, files: Box<dyn Files>) -> Result<Self> {
        let dir = Self {
            root: root.to_owned(),
            place,
            files,
            lease: None,
        };
        if !dir.blobs_dir().is_dir() {
            return Err(dir.unusable("it has no directory `blobs`"));
        }
        Ok(dir)
    }

    /// Makes the directory a layout, where it is none yet. Others may be doing the same.
    pub(crate) fn create(root: &Path, files: &dyn Files) -> Result<()> {
        atomic::make_dirs(files, &root.join(BLOBS).join("sha256"))?;
        let index = document::to_bytes(&Index::oci(Vec::new()));
        atomic::create_new(files, &root.join(Header::INDEX_FILE), &index)?;
        // This file comes last: it says that the rest is there.
        let header = document::to_bytes(&Header::current());
        atomic::create_new(files, &root.join(Header::FILE), &header)
    }

    pub(crate) fn with_lease(mut self, lease: Lease) -> Self {
        self.lease = Some(lease);
        self
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn place(&self) -> String {
        self.place.clone()
    }

    pub(crate) fn files(&self) -> &dyn Files {
        &*self.files
    }

    pub(crate) fn lease(&self) -> Option<&Lease> {
        self.lease.as_ref()
    }

    pub(crate) fn blobs_dir(&self) -> PathBuf {
        self.root.join(BLOBS)
    }

    pub(crate) fn blob_dir(&self, digest: &Digest) -> PathBuf {
        self.blobs_dir().join(digest.algorithm_name())
    }

    /// Returns where the blob is; the grammar of digests keeps it inside (LAY-11).
    pub(crate) fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.blob_dir(digest).join(digest.encoded())
    }

    pub(crate) fn ingest_dir(&self) -> PathBuf {
        self.root.join("ingest")
    }

    /// Returns where the blob is kept for a look at it once it is known to be damaged.
    pub(crate) fn damaged_path(&self, digest: &Digest) -> PathBuf {
        let (algorithm, encoded) = (digest.algorithm_name(), digest.encoded());
        self.ingest_dir()
            .join(format!(".damaged-{algorithm}-{encoded}"))
    }

    /// Protects the content from `gc`, where there is one, and then does `act`.
    pub(crate) fn guarded<T>(&self, digest: &Digest, act: impl FnOnce() -> Result<T>) -> Result<T> {
        match &self.lease {
            Some(lease) => lease.hold(&content_key(digest), act),
            None => act(),
        }
    }

    fn guarded_for_reading<T>(
        &self,
        digest: &Digest,
        act: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        match &self.lease {
            Some(lease) => lease.hold_for_reading(&content_key(digest), act),
            None => act(),
        }
    }

    /// Returns the entries of `index.json`.
    pub(crate) fn entries(&self) -> Result<Vec<Descriptor>> {
        let bytes = self.read_own(Header::INDEX_FILE, Index::limit())?;
        index::entries(&bytes, &self.index_name())
    }

    /// Returns the entries of `index.json` whose text holds `text`, and perhaps some more.
    pub(crate) fn entries_mentioning(&self, text: &str) -> Result<Vec<Descriptor>> {
        let bytes = self.read_own(Header::INDEX_FILE, Index::limit())?;
        index::entries_mentioning(&bytes, text, &self.index_name())
    }

    /// Changes `index.json` under its lock, so that writers beside us lose nothing.
    ///
    /// The lock is that of `oci-layout`: every layout has it, nobody replaces it, and it can be
    /// opened for writing, which network file systems ask for.
    pub(crate) fn update<T>(
        &self,
        change: impl FnOnce(&mut LayoutIndex<'_>) -> Result<T>,
    ) -> Result<T> {
        let _lock = self.lock_index()?;
        let bytes = self.read_own(Header::INDEX_FILE, Index::limit())?;
        let mut index = LayoutIndex::parse(&bytes, &self.index_name())?;
        let result = change(&mut index)?;
        if let Some(bytes) = index.into_bytes(&self.index_name())? {
            atomic::replace(self.files(), &self.root.join(Header::INDEX_FILE), &bytes)?;
        }
        Ok(result)
    }

    /// Waits until nobody else changes `index.json`, and keeps it so.
    pub(crate) fn lock_index(&self) -> Result<Lock> {
        Lock::exclusive(&self.root.join(Header::FILE))
    }

    /// Gives `content` the name `name`, and takes that name from whatever had it.
    pub(crate) fn tag(&self, name: &str, content: &Descriptor) -> Result<()> {
        self.ensure_stored(content)?;
        self.update(|index| {
            let bare = content.bare();
            // An entry without a name only said that this is kept; the new one says that too.
            let is_replaced = |entry: &Descriptor| match names::name_of(entry) {
                Some(found) => found == name,
                None => entry.bare() == bare,
            };
            let likely = |text: &str| {
                let is_named = text.contains(IMAGE_NAME) || text.contains(REF_NAME);
                text.contains(name) || (!is_named && text.contains(content.digest.as_str()))
            };
            index.remove(likely, &self.index_name(), is_replaced)?;
            index.push(&names::named(content, name));
            Ok(())
        })
    }

    /// Lists `content` without a name, unless it is listed already.
    pub(crate) fn add(&self, content: &Descriptor) -> Result<()> {
        self.ensure_stored(content)?;
        self.update(|index| {
            let is_same = |entry: &Descriptor| entry.digest == content.digest;
            if !index.has(content.digest.as_str(), &self.index_name(), is_same)? {
                let mut entry = content.clone();
                entry.data = None;
                index.push(&entry);
            }
            Ok(())
        })
    }

    /// Removes the name `name`, or the entry without a name of the digest `name`.
    pub(crate) fn untag(&self, name: &str) -> Result<()> {
        let digest = names::as_digest(name);
        let is_meant = |entry: &Descriptor| match names::name_of(entry) {
            Some(found) => found == name,
            None => Some(&entry.digest) == digest.as_ref(),
        };
        let n_removed = self.update(|index| {
            index.remove(|text| text.contains(name), &self.index_name(), is_meant)
        })?;
        if n_removed == 0 {
            return Err(self.not_found(name));
        }
        Ok(())
    }

    /// Finds a blob that holds a manifest or an index.
    pub(crate) fn describe(&self, digest: &Digest) -> Result<Descriptor> {
        let (file, len) = self.open_blob(digest)?;
        let limit = DocumentLimits::installed().either().bytes;
        if len > limit {
            return Err(self.not_found(digest.as_str()));
        }
        let mut bytes = Vec::new();
        file.take(limit)
            .read_to_end(&mut bytes)
            .map_err(Error::system("read", self.blob_path(digest)))?;
        graph::describe(digest, &bytes, &self.place)
    }

    pub(crate) fn fetch(&self, content: &Descriptor, offset: u64) -> Result<Box<dyn Read + Send>> {
        let (mut file, _) = self.open_blob(&content.digest)?;
        if offset > 0 {
            file.seek(SeekFrom::Start(offset))
                .map_err(Error::system("read", self.blob_path(&content.digest)))?;
        }
        Ok(Box::new(file))
    }

    fn open_blob(&self, digest: &Digest) -> Result<(File, u64)> {
        let path = self.blob_path(digest);
        let opened = self.guarded_for_reading(digest, || Ok(open_regular(&path)))?;
        opened.map_err(|error| match error.kind() {
            ErrorKind::NotFound => self.not_found(digest.as_str()),
            _ => Error::system("open", path)(error),
        })
    }

    pub(crate) fn contains(&self, content: &Descriptor) -> Result<bool> {
        let path = self.blob_path(&content.digest);
        let found = self.guarded_for_reading(&content.digest, || Ok(fs::metadata(&path)))?;
        match found {
            Ok(metadata) if !metadata.is_file() || metadata.len() != content.size => Ok(false),
            // Documents are this small: a damaged one is replaced by whoever brings it again.
            Ok(metadata) if metadata.len() <= SURE_UP_TO => {
                let state = hash(&content.digest, &path);
                Ok(!matches!(state, None | Some(BlobState::Damaged(_))))
            }
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Error::system("read", path)(error)),
        }
    }

    pub(crate) fn ingest(&self, plan: &IngestPlan) -> Result<Box<dyn Ingest + '_>> {
        Ok(Box::new(FileIngest::start(self, plan)?))
    }

    /// Finds the manifests listed here that name `subject`; reads every listed document.
    pub(crate) fn referrers(
        &self,
        source: &dyn Source,
        subject: &Digest,
    ) -> Result<Vec<Descriptor>> {
        names::referrers(source, self.entries()?, subject)
    }

    fn ensure_stored(&self, content: &Descriptor) -> Result<()> {
        if !self.contains(content)? {
            return Err(self.not_found(content.digest.as_str()));
        }
        // Another process may have renamed a blob a moment ago, and not synced that yet.
        let blobs = self.blobs_dir();
        let failed = |error| Error::system("list", &blobs)(error);
        for entry in fs::read_dir(&blobs).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.is_dir() {
                self.files
                    .sync_dir(&path)
                    .map_err(Error::system("sync", path))?;
            }
        }
        Ok(())
    }

    pub(crate) fn read_own(&self, name: &'static str, limit: Bound) -> Result<Vec<u8>> {
        let path = self.root.join(name);
        let (file, _) = open_regular(&path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => self.unusable(&format!("it has no file `{name}`")),
            _ => Error::system("open", &path)(error),
        })?;
        let mut bytes = Vec::new();
        file.take(limit.bytes.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(Error::system("read", &path))?;
        let size = bytes.len() as u64;
        if size > limit.bytes {
            return Err(Error::Invalid {
                what: path.display().to_string(),
                source: Box::new(corten_spec::Error::TooLarge {
                    document: name,
                    size,
                    limit,
                }),
            });
        }
        Ok(bytes)
    }

    pub(crate) fn index_name(&self) -> String {
        format!("`{}` of {}", Header::INDEX_FILE, self.place)
    }

    pub(crate) fn not_found(&self, name: &str) -> Error {
        Error::NotFound {
            name: name.into(),
            place: self.place(),
        }
    }

    fn unusable(&self, reason: &str) -> Error {
        Error::Unusable {
            place: self.place(),
            reason: reason.into(),
        }
    }
}

const BLOBS: &str = "blobs";

/// How large a blob may be to be hashed whenever somebody asks whether it is there: that costs less
/// than 0.1 ms, which nobody notices beside what follows.
const SURE_UP_TO: u64 = 64 << 10;
