//! Docker's format and OCI's, into each other, without changing a byte of a layer or a config.
//!
//! A manifest of one family says what one of the other says, in other media types. So only those
//! values are changed in the text of the documents, and the digests that follow from that: fields that
//! nobody named, their order and the white space stay, and a conversion there and back gives the same
//! digests. Where Docker's format has no place for something, such as annotations, the conversion is
//! refused, or leaves it out and says so.

mod rewrite;
mod splice;

use std::collections::BTreeMap;
use std::fmt;
use std::io::{Cursor, Read};

use corten_content::graph::MAX_DEPTH;
use corten_content::{MountSource, Source, load};
use corten_spec::{
    Descriptor, Digest, Document, DocumentType, Family, ImageConfig, Index, Kind, Manifest,
    Platform,
};

use crate::convert::rewrite::{Entry, Rewritten};
use crate::{Error, Result};

/// Bytes of documents that one conversion keeps, far more than any image has.
const MAX_BYTES: usize = 256 << 20;

/// How documents are converted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvertOptions {
    /// The family that they are to be of.
    pub to: Family,
    /// What becomes of what that family has no place for.
    pub unplaced: Unplaced,
}

/// What becomes of what a format has no place for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unplaced {
    /// It is a reason not to convert.
    #[default]
    Refuse,
    /// It is left out, and listed in [`Converted::losses`].
    LeaveOut,
}

/// Something that a format has no place for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// The document that had it.
    pub document: Digest,
    /// Where in the document it was, as a JSON pointer.
    pub pointer: String,
    /// What it said, in short: the keys of annotations, the type of an artifact.
    pub said: Vec<String>,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` of {}", self.pointer, self.document)?;
        if self.said.is_empty() {
            return Ok(());
        }
        write!(f, " ({})", self.said.join(", "))
    }
}

/// A converted image: the new documents, and beneath them the source that has everything else.
///
/// Copying [`root`](Self::root) out of it writes the converted image.
pub struct Converted<'a> {
    source: &'a dyn Source,
    documents: BTreeMap<Digest, Vec<u8>>,
    /// What the converted image is named by.
    pub root: Descriptor,
    /// What was left out.
    pub losses: Vec<Loss>,
}

impl fmt::Debug for Converted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Converted")
            .field("root", &self.root)
            .field("losses", &self.losses)
            .finish_non_exhaustive()
    }
}

/// Converts `root`, a manifest or index in `source`, with all the manifests that it leads to.
///
/// Only documents are read. What is of the wanted family already is kept as it is.
///
/// ```
/// use corten_content::{CopyOptions, Memory, copy};
/// use corten_image::{ConvertOptions, Unplaced, convert};
/// use corten_spec::{Family, media_type};
/// use corten_testing::Image;
///
/// let image = Image::builder().layer(b"a tar").build();
/// let options = ConvertOptions { to: Family::Docker, unplaced: Unplaced::Refuse };
/// let converted = convert(&image.content, &image.manifest, &options)?;
/// assert_eq!(converted.root.media_type, media_type::DOCKER_MANIFEST);
///
/// let there = Memory::new();
/// copy(&converted, &there, &converted.root, &CopyOptions::default())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Fails on artifacts and on layers that the wanted family has no name for, on manifests that are not
/// there, on Docker's schema 1, and on what the family has no place for if that is to be refused.
pub fn convert<'a>(
    source: &'a dyn Source,
    root: &Descriptor,
    options: &ConvertOptions,
) -> Result<Converted<'a>> {
    let mut conversion = Conversion {
        source,
        options: *options,
        made: BTreeMap::new(),
        documents: BTreeMap::new(),
        losses: Vec::new(),
        n_bytes: 0,
    };
    let root = Descriptor {
        platform: root.platform.clone(),
        ..conversion.convert(root, 0)?.bare()
    };
    let Conversion {
        documents, losses, ..
    } = conversion;
    if options.unplaced == Unplaced::Refuse && !losses.is_empty() {
        return Err(Error::Unplaced {
            family: options.to,
            losses,
        });
    }
    Ok(Converted {
        source,
        documents,
        root,
        losses,
    })
}

struct Conversion<'a> {
    source: &'a dyn Source,
    options: ConvertOptions,
    made: BTreeMap<Digest, Descriptor>,
    documents: BTreeMap<Digest, Vec<u8>>,
    losses: Vec<Loss>,
    n_bytes: usize,
}

impl Conversion<'_> {
    fn convert(&mut self, content: &Descriptor, depth: usize) -> Result<Descriptor> {
        if depth > MAX_DEPTH {
            return Err(Error::NestedIndexes {
                digest: content.digest.clone(),
            });
        }
        if let Some(made) = self.made.get(&content.digest) {
            return Ok(made.clone());
        }
        let made = match content.kind() {
            Kind::Index => {
                let index = load(self.source, content)?;
                self.convert_index(&index, depth)?
            }
            // Loading a manifest of schema 1 fails with the error that says so.
            Kind::Manifest | Kind::Schema1 => {
                let manifest: Document<Manifest> = load(self.source, content)?;
                let rewritten = rewrite::manifest(&manifest, self.options.to)?;
                self.keep::<Manifest>(&manifest.descriptor, rewritten)?
            }
            Kind::Config | Kind::Layer { .. } | Kind::Other => {
                return match self.options.to {
                    Family::Oci => Ok(content.clone()),
                    Family::Docker => Err(Error::NoCounterpart {
                        digest: content.digest.clone(),
                        media_type: content.media_type.clone(),
                        family: Family::Docker,
                    }),
                };
            }
        };
        self.made.insert(content.digest.clone(), made.clone());
        Ok(made)
    }

    fn convert_index(&mut self, index: &Document<Index>, depth: usize) -> Result<Descriptor> {
        let mut entries = Vec::new();
        for (entry_idx, entry) in index.value.manifests.iter().enumerate() {
            let made = match self.convert(entry, depth + 1) {
                Err(error) if self.may_leave_out(&error) => {
                    self.losses.push(Loss {
                        document: index.descriptor.digest.clone(),
                        pointer: format!("/manifests/{entry_idx}"),
                        said: vec![error.to_string()],
                    });
                    entries.push(Entry::LeftOut);
                    continue;
                }
                other => other?,
            };
            // Docker's list asks for a platform; an image says itself what it is for.
            let platform = match (self.options.to, &entry.platform) {
                (Family::Docker, None) => self.platform(entry)?,
                _ => None,
            };
            let made = Box::new(made);
            entries.push(Entry::Kept { made, platform });
        }
        let rewritten = rewrite::index(index, self.options.to, &entries)?;
        self.keep::<Index>(&index.descriptor, rewritten)
    }

    fn may_leave_out(&self, error: &Error) -> bool {
        self.options.unplaced == Unplaced::LeaveOut
            && matches!(error, Error::Artifact { .. } | Error::NoCounterpart { .. })
    }

    fn platform(&self, entry: &Descriptor) -> Result<Option<Platform>> {
        if entry.kind() != Kind::Manifest {
            return Ok(None);
        }
        let manifest: Document<Manifest> = load(self.source, entry)?;
        let config: Document<ImageConfig> = load(self.source, &manifest.value.config)?;
        Ok(Some(config.value.platform()))
    }

    fn keep<T: DocumentType>(
        &mut self,
        original: &Descriptor,
        rewritten: Rewritten,
    ) -> Result<Descriptor> {
        self.losses.extend(rewritten.losses);
        let Some(bytes) = rewritten.bytes else {
            return Ok(Descriptor {
                media_type: rewritten.media_type.to_owned(),
                ..original.clone()
            });
        };
        self.n_bytes += bytes.len();
        if self.n_bytes > MAX_BYTES {
            return Err(Error::Documents { limit: MAX_BYTES });
        }
        // What was changed must still be what it says it is.
        let document = Document::<T>::from_bytes(rewritten.media_type, bytes)
            .map_err(corten_content::Error::from)?;
        self.documents
            .insert(document.descriptor.digest.clone(), document.bytes);
        Ok(document.descriptor)
    }
}

impl Source for Converted<'_> {
    fn place(&self) -> String {
        self.source.place()
    }

    fn resolve(&self, name: &str) -> corten_content::Result<Descriptor> {
        self.source.resolve(name)
    }

    fn fetch(
        &self,
        content: &Descriptor,
        offset: u64,
    ) -> corten_content::Result<Box<dyn Read + Send + '_>> {
        let Some(bytes) = self.documents.get(&content.digest) else {
            return self.source.fetch(content, offset);
        };
        let mut reader = Cursor::new(bytes.as_slice());
        reader.set_position(offset);
        Ok(Box::new(reader))
    }

    fn referrers(&self, subject: &Digest) -> corten_content::Result<Vec<Descriptor>> {
        self.source.referrers(subject)
    }

    fn mountable(&self) -> Option<MountSource> {
        self.source.mountable()
    }

    fn mountable_for(&self, content: &Descriptor) -> Option<MountSource> {
        self.source.mountable_for(content)
    }
}
