//! Reading archives.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::fs::File;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};

use corten_content::layout::{index, names};
use corten_content::{Error as ContentError, Result as ContentResult, Source, graph};
use corten_spec::{
    Bound, Descriptor, Digest, DocumentLimits, DocumentType, Index, Layout, Platform, Reference,
    json,
};
use corten_tar::{DecodeLimits, Limits};

use crate::members::{Extent, Members};
use crate::{Error, Result, complete, saved, spool};

/// The two kinds of archives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// An image layout in a tar (image-layout.md).
    Oci,
    /// What `docker save` writes and `docker load` reads: images by `manifest.json`, since Docker
    /// 25 with an image layout in the same tar.
    Docker,
}

/// How archives are read.
#[derive(Debug, Clone)]
pub struct ReadOptions {
    /// The directory where the content of compressed archives and of pipes is put, in files that
    /// have no names.
    pub scratch: PathBuf,
    /// What the tar may ask for.
    pub limits: Limits,
    /// What its compression may ask for.
    pub decoding: DecodeLimits,
}

/// An archive of images, `oci-archive:FILE` or `docker-archive:FILE`, to read from.
///
/// It may be compressed. Members may be in any order, spelt with or without `./`, and links to each
/// other; members that nothing refers to do not matter. An image that Docker saved without an image
/// layout is given a manifest of schema 2 over its members as they are; so is one whose image
/// layout is not complete (moby issues 47065, 47072, 47210, 49473).
pub struct Archive {
    place: String,
    members: Members,
    entries: Vec<Descriptor>,
    /// What is not where an image layout has it.
    blobs: BTreeMap<Digest, Blob>,
}

/// A blob that is not where an image layout has it.
pub(crate) enum Blob {
    /// A member.
    Member(Extent),
    /// A document that is not in the archive itself.
    Bytes(Vec<u8>),
}

impl Archive {
    /// Opens the archive in the file, or pipe, at `path`.
    ///
    /// Of a plain file only the headers and documents are read, and those layers of `docker save`
    /// that are compressed, as nothing says what their digests are. Blocks on a pipe until its end.
    pub fn open(path: &Path, format: Format, options: &ReadOptions) -> Result<Self> {
        let place = format!("{format}:{}", path.display());
        let file = spool::open(path, &place, options)?;
        Self::index(file, place, format, options)
    }

    /// Reads the archive in `stream`, such as standard input, which messages call `name`.
    pub fn from_stream(
        stream: Box<dyn Read + Send + '_>,
        name: &str,
        format: Format,
        options: &ReadOptions,
    ) -> Result<Self> {
        let place = format!("{format}:{name}");
        let file = spool::copy(stream, &place, options)?;
        Self::index(file, place, format, options)
    }

    /// Returns what the archive lists, each entry with its names as annotations; an image with
    /// several names has several entries.
    pub fn entries(&self) -> &[Descriptor] {
        &self.entries
    }

    fn index(file: File, place: String, format: Format, options: &ReadOptions) -> Result<Self> {
        let members = Members::index(file, options.limits).map_err(|source| Error::Read {
            place: place.clone(),
            source,
        })?;
        let archive = Self {
            place,
            members,
            entries: Vec::new(),
            blobs: BTreeMap::new(),
        };
        for member in [Layout::FILE, Layout::INDEX_FILE, saved::FILE] {
            if archive.members.is_repeated(member) {
                let place = archive.place;
                return Err(Error::Repeated { place, member });
            }
        }
        match format {
            Format::Oci => archive.with_layout(),
            Format::Docker if archive.is_layout_alone() => archive.with_layout(),
            Format::Docker => archive.with_saved(),
        }
    }

    fn is_layout_alone(&self) -> bool {
        self.members.find(saved::FILE).is_none() && self.members.find(Layout::FILE).is_some()
    }

    fn with_layout(mut self) -> Result<Self> {
        self.entries = self.layout_entries()?;
        Ok(self)
    }

    /// Prefers the image layout, whose manifests are the images' own, if it is complete.
    fn with_saved(mut self) -> Result<Self> {
        self.entries = self.layout_entries().unwrap_or_default();
        let Some(images) = complete::images(&self) else {
            (self.entries, self.blobs) = saved::read(&self.members, &self.place, &HashMap::new())?;
            return Ok(self);
        };
        // What the layout lacks is a bonus: Docker 25 leaves out images without a name, and others
        // leave out the names.
        if let Ok((entries, blobs)) = saved::read(&self.members, &self.place, &images) {
            self.blobs = blobs;
            let mut known: HashSet<String> = self.entries.iter().map(full_name).collect();
            known.extend(images.values().map(full_name));
            let lacking = entries.into_iter();
            self.entries
                .extend(lacking.filter(|entry| known.insert(full_name(entry))));
        }
        Ok(self)
    }

    fn layout_entries(&self) -> Result<Vec<Descriptor>> {
        let bytes = read_member(&self.members, &self.place, Layout::FILE, Layout::limit())?;
        json::parse::<Layout>(Layout::NAME, &bytes)
            .and_then(|layout| layout.check(""))
            .map_err(|source| Error::Document {
                place: self.place.clone(),
                member: Layout::FILE.into(),
                source: Box::new(source),
            })?;
        let bytes = read_member(
            &self.members,
            &self.place,
            Layout::INDEX_FILE,
            Index::limit(),
        )?;
        let name = format!("`{}` of {}", Layout::INDEX_FILE, self.place);
        index::entries(&bytes, &name).map_err(Error::content(&self.place))
    }

    /// Returns the length of the blob, if it is here.
    pub(crate) fn size_of(&self, digest: &Digest) -> Option<u64> {
        match self.blobs.get(digest) {
            Some(Blob::Bytes(bytes)) => Some(bytes.len() as u64),
            Some(Blob::Member(extent)) => Some(extent.size),
            None => self.layout_blob(digest).map(|extent| extent.size),
        }
    }

    fn layout_blob(&self, digest: &Digest) -> Option<&Extent> {
        self.members.find(&blob_name(digest))
    }

    /// Finds a blob that holds a manifest or an index.
    fn describe(&self, digest: &Digest) -> ContentResult<Descriptor> {
        let limit = DocumentLimits::installed().either().bytes;
        let found = self.size_of(digest).filter(|size| *size <= limit);
        let size = found.ok_or_else(|| self.not_found(digest.as_str()))?;
        let mut bytes = Vec::new();
        self.fetch(&Descriptor::new("", digest.clone(), size), 0)?
            .take(limit)
            .read_to_end(&mut bytes)
            .map_err(|error| ContentError::stream(format!("read `{digest}`"), error))?;
        graph::describe(digest, &bytes, &self.place)
    }

    fn not_found(&self, name: &str) -> ContentError {
        ContentError::NotFound {
            name: name.into(),
            place: self.place.clone(),
        }
    }
}

impl Source for Archive {
    fn place(&self) -> String {
        self.place.clone()
    }

    /// Finds a tag, a full or familiar name, a digest with or without `@`, or, if `name` is empty,
    /// the only image.
    fn resolve(&self, name: &str) -> ContentResult<Descriptor> {
        let candidates = names::candidates(&self.entries, name);
        match names::as_digest(name) {
            Some(digest) if candidates.is_empty() => self.describe(&digest),
            _ => names::one(&self.place, name, &candidates),
        }
    }

    fn resolve_for(&self, name: &str, platform: &Platform) -> ContentResult<Descriptor> {
        let candidates = names::candidates(&self.entries, name);
        if candidates.is_empty() {
            return self.resolve(name);
        }
        names::one_for(&self.place, name, &candidates, platform)
    }

    fn resolve_all(&self, name: &str) -> ContentResult<Vec<Descriptor>> {
        let candidates = names::candidates(&self.entries, name);
        match names::of_platforms(&candidates) {
            Some(several) => Ok(several),
            None => Ok(vec![self.resolve(name)?]),
        }
    }

    fn fetch(&self, content: &Descriptor, offset: u64) -> ContentResult<Box<dyn Read + Send + '_>> {
        let digest = &content.digest;
        let extent = match self.blobs.get(digest) {
            Some(Blob::Bytes(bytes)) => {
                let mut reader = Cursor::new(bytes.as_slice());
                reader.set_position(offset);
                return Ok(Box::new(reader));
            }
            Some(Blob::Member(extent)) => Some(extent),
            None => self.layout_blob(digest),
        };
        let extent = extent.ok_or_else(|| self.not_found(digest.as_str()))?;
        self.members
            .open(extent, offset)
            .map_err(|error| ContentError::stream(format!("read `{digest}`"), error))
    }

    fn referrers(&self, subject: &Digest) -> ContentResult<Vec<Descriptor>> {
        names::referrers(self, self.entries.clone(), subject)
    }
}

impl ReadOptions {
    /// Returns the usual options: bounds that no real archive of images comes near, files in
    /// `scratch`.
    pub fn new(scratch: &Path) -> Self {
        Self {
            scratch: scratch.to_owned(),
            limits: Limits {
                entries: 1_000_000,
                path_bytes: 4096,
                path_depth: 64,
                pax_bytes: 64 << 10,
                sparse_segments: 4096,
                ..Limits::default()
            },
            decoding: DecodeLimits::default(),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Oci => "oci-archive",
            Self::Docker => "docker-archive",
        })
    }
}

impl fmt::Debug for Archive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Archive")
            .field("place", &self.place)
            .field("entries", &self.entries)
            .finish_non_exhaustive()
    }
}

/// Returns what an entry is known by: its name in full, else its digest.
fn full_name(entry: &Descriptor) -> String {
    match names::name_of(entry) {
        Some(name) => name.parse::<Reference>().map_or_else(
            |_| name.to_owned(),
            |reference| reference.or_latest().to_string(),
        ),
        None => entry.digest.to_string(),
    }
}

/// Reads a document of at most `limit` bytes.
pub(crate) fn read_member(
    members: &Members,
    place: &str,
    name: &str,
    limit: impl Into<Bound>,
) -> Result<Vec<u8>> {
    let limit = limit.into();
    let extent = members.find(name).ok_or_else(|| Error::Missing {
        place: place.into(),
        member: name.into(),
    })?;
    if extent.size > limit.bytes {
        return Err(Error::Document {
            place: place.into(),
            member: name.into(),
            source: Box::new(corten_spec::Error::TooLarge {
                document: "document",
                size: extent.size,
                limit,
            }),
        });
    }
    let mut bytes = Vec::new();
    members
        .open(extent, 0)
        .and_then(|reader| reader.take(limit.bytes).read_to_end(&mut bytes))
        .map_err(|error| Error::Read {
            place: place.into(),
            source: corten_tar::Error::read(extent.offset, error),
        })?;
    Ok(bytes)
}

/// Returns where an image layout has the blob.
pub(crate) fn blob_name(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm_name(), digest.encoded())
}
