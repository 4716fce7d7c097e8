//! Whether the image layout in an archive of `docker save` can be relied on.
//!
//! Docker has written layouts that lack layers, in their manifests or as blobs, or give wrong sizes
//! (moby issues 47065, 49473, 47072), beside a `manifest.json` that is right.

use std::collections::{HashMap, HashSet};

use corten_content::graph::MAX_DEPTH;
use corten_content::load;
use corten_spec::{Descriptor, Digest, ImageConfig, Index, Kind, Manifest};

use crate::Archive;

/// Returns the manifests of the layout by the digests of their configs, if every image that the
/// layout lists is there as a whole.
///
/// An index may be sparse, as Docker 29 saves one platform of many: one of its images is enough.
pub(crate) fn images(archive: &Archive) -> Option<HashMap<Digest, Descriptor>> {
    let mut search = Search {
        archive,
        seen: HashSet::new(),
        n_diff_ids: HashMap::new(),
        images: HashMap::new(),
    };
    for entry in archive.entries() {
        if search.check(entry, 0) != State::Whole {
            return None;
        }
    }
    Some(search.images).filter(|images| !images.is_empty())
}

struct Search<'a> {
    archive: &'a Archive,
    seen: HashSet<Digest>,
    /// By config, so that each is read once however many manifests name it.
    n_diff_ids: HashMap<Digest, usize>,
    images: HashMap<Digest, Descriptor>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Whole,
    Absent,
    Broken,
}

impl Search<'_> {
    fn check(&mut self, content: &Descriptor, depth: usize) -> State {
        match self.archive.size_of(&content.digest) {
            None => return State::Absent,
            Some(size) if size != content.size || depth > MAX_DEPTH => return State::Broken,
            Some(_) => {}
        }
        // What was broken has ended the search already.
        if !self.seen.insert(content.digest.clone()) {
            return State::Whole;
        }
        match content.kind() {
            Kind::Index => self.check_index(content, depth),
            Kind::Manifest => self.check_manifest(content).unwrap_or(State::Broken),
            Kind::Schema1 => State::Broken,
            Kind::Config | Kind::Layer { .. } | Kind::Other => State::Whole,
        }
    }

    fn check_index(&mut self, content: &Descriptor, depth: usize) -> State {
        let Ok(index) = load::<Index>(self.archive, content) else {
            return State::Broken;
        };
        let mut state = State::Absent;
        for entry in &index.value.manifests {
            match self.check(entry, depth + 1) {
                State::Broken => return State::Broken,
                State::Whole => state = State::Whole,
                State::Absent => {}
            }
        }
        state
    }

    /// Checks an image or artifact; fails on documents that cannot be read.
    fn check_manifest(&mut self, content: &Descriptor) -> corten_content::Result<State> {
        let manifest = load::<Manifest>(self.archive, content)?;
        let Manifest { config, layers, .. } = manifest.value;
        if !self.has(&config) || !layers.iter().all(|layer| self.has(layer)) {
            return Ok(State::Broken);
        }
        if config.kind() == Kind::Config {
            let n_diff_ids = if let Some(known) = self.n_diff_ids.get(&config.digest) {
                *known
            } else {
                let document = load::<ImageConfig>(self.archive, &config)?;
                document.value.rootfs.diff_ids.len()
            };
            self.n_diff_ids.insert(config.digest.clone(), n_diff_ids);
            if n_diff_ids != layers.len() {
                return Ok(State::Broken);
            }
            self.images
                .entry(config.digest)
                .or_insert_with(|| content.clone());
        }
        Ok(State::Whole)
    }

    fn has(&self, content: &Descriptor) -> bool {
        match self.archive.size_of(&content.digest) {
            Some(size) => size == content.size,
            None => matches!(content.kind(), Kind::Layer { foreign: true, .. }),
        }
    }
}
