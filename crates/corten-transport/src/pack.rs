//! The tar of an archive, written from the image layout that it will hold.
//!
//! ```text
//! oci-layout  index.json            documents first, so that streams can be judged early
//! manifest.json                     for Docker, over the same blobs
//! blobs/  blobs/sha256/
//! blobs/sha256/4f4f…                in the order of their names
//! ```
//!
//! Docker before 25 and skopeo read only `manifest.json`, Docker with containerd's store and podman
//! the image layout; both are over the same bytes. Docker 20.10, podman 4.3 and skopeo 1.9 take
//! layers with gzip by either way, but Docker knows no zstd: such a layer is added a second time,
//! decompressed, for `manifest.json`, while the image layout keeps the image as it is.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use corten_content::graph::load_image;
use corten_content::layout::names;
use corten_content::{
    Error as ContentError, IngestPlan, Layout, Result as ContentResult, Sink, Source, open,
};
use corten_spec::{Descriptor, DiffId, Digest, Platform, Reference, document};
use corten_spec::{Layout as Header, media_type};
use corten_tar::{DecodeLimits, Decoder, Encoding, Entry, EntryKind, Writer, sniff};

use crate::archive::blob_name;
use crate::saved::{self, SavedImage};
use crate::{Error, Format, Result};

/// Writes the layout in the directory `root` as an archive.
pub(crate) fn write(
    layout: &Layout,
    root: &Path,
    format: Format,
    place: &str,
    out: &mut dyn Write,
) -> Result<()> {
    // This comes first, as it may add blobs.
    let saved = match format {
        Format::Oci => None,
        Format::Docker => Some(saved_images(layout).map_err(Error::content(place))?),
    };
    let mut packing = Packing {
        tar: Writer::new(out),
        root,
        place,
    };
    packing.file(Header::FILE)?;
    packing.file(Header::INDEX_FILE)?;
    if let Some(images) = saved {
        let bytes = document::to_bytes(&images);
        packing.entry(
            EntryKind::File,
            saved::FILE,
            bytes.len() as u64,
            &mut &bytes[..],
        )?;
    }
    packing.directory(BLOBS)?;
    for algorithm in packing.list(BLOBS)? {
        let folder = format!("{BLOBS}/{algorithm}");
        packing.directory(&folder)?;
        for encoded in packing.list(&folder)? {
            packing.file(&format!("{folder}/{encoded}"))?;
        }
    }
    packing
        .tar
        .finish()
        .map(drop)
        .map_err(|source| Error::Write {
            place: place.into(),
            source,
        })
}

const BLOBS: &str = "blobs";

struct Packing<'a> {
    tar: Writer<&'a mut dyn Write>,
    root: &'a Path,
    place: &'a str,
}

impl Packing<'_> {
    fn file(&mut self, name: &str) -> Result<()> {
        let path = self.root.join(name);
        let mut file = File::open(&path).map_err(Error::system("open", &path))?;
        let size = file.metadata().map_err(Error::system("read", &path))?.len();
        self.entry(EntryKind::File, name, size, &mut file)
    }

    fn directory(&mut self, name: &str) -> Result<()> {
        self.entry(EntryKind::Directory, name, 0, &mut io::empty())
    }

    /// Writes an entry that depends on nothing but its name and content.
    fn entry(&mut self, kind: EntryKind, name: &str, size: u64, body: &mut dyn Read) -> Result<()> {
        let entry = Entry {
            size,
            ..Entry::new(kind, name)
        };
        self.tar.entry(&entry, body).map_err(|source| Error::Write {
            place: self.place.into(),
            source,
        })
    }

    /// Lists a directory of the layout, sorted. Its names are our own, made of digests.
    fn list(&self, folder: &str) -> Result<Vec<String>> {
        let path = self.root.join(folder);
        let listed = fs::read_dir(&path).and_then(|entries| {
            entries
                .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
                .collect::<io::Result<Vec<_>>>()
        });
        let mut names = listed.map_err(Error::system("list", &path))?;
        names.sort();
        Ok(names)
    }
}

/// Returns `manifest.json` for the entries of the layout, an image with several names once.
fn saved_images(layout: &Layout) -> ContentResult<Vec<SavedImage>> {
    let mut images: Vec<(Descriptor, Vec<String>)> = Vec::new();
    for entry in layout.entries()? {
        let tag = names::name_of(&entry).and_then(|name| name.parse::<Reference>().ok());
        let tag = tag.map(|reference| reference.familiar());
        match images
            .iter_mut()
            .find(|(image, _)| image.digest == entry.digest)
        {
            Some((_, tags)) => tags.extend(tag),
            None => images.push((entry, tag.into_iter().collect())),
        }
    }
    images
        .into_iter()
        .map(|(image, tags)| saved_image(layout, &image, tags))
        .collect()
}

fn saved_image(
    layout: &Layout,
    manifest: &Descriptor,
    tags: Vec<String>,
) -> ContentResult<SavedImage> {
    // A manifest is for one platform, whichever is asked for.
    let image = load_image(layout, manifest, &Platform::host())?;
    let mut layers = Vec::new();
    let diff_ids = image.config.value.rootfs.diff_ids.iter();
    for (layer, diff_id) in image.manifest.value.layers.iter().zip(diff_ids) {
        layers.push(blob_name(&loadable(layout, layer, diff_id)?));
    }
    Ok(SavedImage {
        config: blob_name(&image.config.descriptor.digest),
        repo_tags: Some(tags).filter(|tags| !tags.is_empty()),
        layers: Some(layers),
    })
}

/// Returns the digest of the layer in a form that every Docker reads.
fn loadable(layout: &Layout, layer: &Descriptor, diff_id: &DiffId) -> ContentResult<Digest> {
    let read = |error| ContentError::stream(format!("read `{}`", layer.digest), error);
    let mut prefix = Vec::new();
    layout
        .fetch(layer, 0)?
        .take(10)
        .read_to_end(&mut prefix)
        .map_err(read)?;
    match sniff(&prefix) {
        Encoding::Identity | Encoding::Gzip => Ok(layer.digest.clone()),
        Encoding::Zstd | Encoding::Xz | Encoding::Bzip2 => decompress(layout, layer, diff_id),
    }
}

/// Adds the layer's tar to the layout.
fn decompress(layout: &Layout, layer: &Descriptor, diff_id: &DiffId) -> ContentResult<Digest> {
    let known = layout.fetch(
        &Descriptor::new(media_type::OCI_LAYER, diff_id.0.clone(), 0),
        0,
    );
    if known.is_ok() {
        return Ok(diff_id.0.clone());
    }
    let failed = |error| ContentError::stream(format!("decompress `{}`", layer.digest), error);
    let plan = IngestPlan::of(&Descriptor::new(
        media_type::OCI_LAYER,
        diff_id.0.clone(),
        0,
    ))?;
    let plan = IngestPlan {
        content: None,
        ..plan
    };
    let mut reader = Decoder::new(Box::new(open(layout, layer)?), DecodeLimits::default())
        .map_err(|error| failed(error.into()))?;
    let mut ingest = layout.ingest(&plan)?;
    let mut buf = vec![0; 256 << 10];
    loop {
        let n_read = match reader.read(&mut buf) {
            Ok(0) => break,
            Ok(n_read) => n_read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(failed(error)),
        };
        ingest
            .write_all(buf.get(..n_read).unwrap_or_default())
            .map_err(failed)?;
    }
    let (digest, _) = ingest.commit(None)?;
    diff_id
        .0
        .compare(&digest)
        .map_err(|source| ContentError::Corrupt {
            place: format!("the layer `{}`", layer.digest),
            source: Box::new(source),
        })?;
    Ok(digest)
}
