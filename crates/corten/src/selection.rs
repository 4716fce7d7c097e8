//! What is chosen of an image, also where a place lists it platform by platform.

use std::io::{Cursor, Read};

use corten_content::{MountSource, Result, Source};
use corten_spec::{Descriptor, Digest, Index, document, media_type};

/// A place, with the image or the part of one in it that was chosen.
///
/// A layout may list one image as several entries, each for another platform (LAY-17). What other
/// places are given of it is an index of them, which is nowhere but here.
pub(crate) struct Selection<'a> {
    source: &'a dyn Source,
    /// What was chosen.
    pub(crate) root: Descriptor,
    /// The bytes of the root, if the place does not have it.
    made: Option<Vec<u8>>,
}

impl<'a> Selection<'a> {
    /// Chooses `root` in `source`.
    pub(crate) fn of(source: &'a dyn Source, root: Descriptor) -> Self {
        Self {
            source,
            root,
            made: None,
        }
    }

    /// Chooses all that `name` stands for in `source`.
    pub(crate) fn whole(source: &'a dyn Source, name: &str) -> Result<Self> {
        let mut entries = source.resolve_all(name)?;
        if entries.len() == 1 {
            return Ok(Self::of(source, entries.remove(0)));
        }
        for entry in &mut entries {
            // Names are the layout's, and the image gets another.
            let platform = entry.platform.take();
            *entry = Descriptor {
                platform,
                ..entry.bare()
            };
        }
        let bytes = document::to_bytes(&Index::oci(entries));
        Ok(Self {
            source,
            root: Descriptor::of(media_type::OCI_INDEX, &bytes),
            made: Some(bytes),
        })
    }
}

impl Source for Selection<'_> {
    fn place(&self) -> String {
        self.source.place()
    }

    fn resolve(&self, name: &str) -> Result<Descriptor> {
        self.source.resolve(name)
    }

    fn fetch(&self, content: &Descriptor, offset: u64) -> Result<Box<dyn Read + Send + '_>> {
        match &self.made {
            Some(bytes) if content.digest == self.root.digest => {
                let mut reader = Cursor::new(bytes.as_slice());
                reader.set_position(offset);
                Ok(Box::new(reader))
            }
            _ => self.source.fetch(content, offset),
        }
    }

    fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>> {
        self.source.referrers(subject)
    }

    fn mountable(&self) -> Option<MountSource> {
        self.source.mountable()
    }

    fn mountable_for(&self, content: &Descriptor) -> Option<MountSource> {
        self.source.mountable_for(content)
    }
}
