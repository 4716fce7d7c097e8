//! What takes space in the store: blocks of the disk, each file once however many names it has.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;

use corten_spec::{Descriptor, Digest};

use crate::fsck::survey::ingests;
use crate::gc::mark::Unprotected;
use crate::graph::{MAX_DEPTH, Parent};
use crate::layout::names;
use crate::store::blob_name;
use crate::{Error, GcGuard, GcRoots, Result};

/// What the blobs of a store take.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// The images, in the order of the index; those that have several names are there once.
    pub images: Vec<ImageUsage>,
    /// All blobs.
    pub blobs: Space,
    /// Blobs that nothing needs but build records: `gc --cache` would take them.
    pub cached: Space,
    /// Blobs that nothing needs at all: `gc` would take them.
    pub unneeded: Space,
    /// Unfinished writes whose writers are gone: `gc` would take them.
    pub leftovers: Space,
    /// Writes in progress.
    pub writing: Space,
}

/// A number of things, and what they take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Space {
    /// How many there are.
    pub count: usize,
    /// How many bytes of the disk they take.
    pub disk_bytes: u64,
}

/// What an image takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageUsage {
    /// What it is called; empty for what is kept without a name.
    pub names: Vec<String>,
    /// Its manifest or index.
    pub content: Descriptor,
    /// All that it refers to and that is here.
    pub total: Space,
    /// What other images refer to, too.
    pub shared: Space,
    /// What would go with it.
    pub unique: Space,
}

impl Space {
    fn add(&mut self, disk_bytes: u64) {
        self.count += 1;
        self.disk_bytes += disk_bytes;
    }
}

impl GcGuard<'_> {
    /// Returns what the blobs take. `recorded` is what build records need.
    pub fn usage(&self, recorded: &GcRoots) -> Result<Usage> {
        let sizes = self.sizes()?;
        let reached = self.reached(&GcRoots::default())?;
        let with_recorded = self.reached(recorded)?;
        let is_in = |set: &Option<HashSet<Digest>>, digest: &Digest| {
            set.as_ref().is_none_or(|set| set.contains(digest))
        };
        let mut usage = Usage::default();
        for (digest, &disk_bytes) in &sizes {
            usage.blobs.add(disk_bytes);
            if !is_in(&with_recorded, digest) {
                usage.unneeded.add(disk_bytes);
            } else if !is_in(&reached, digest) {
                usage.cached.add(disk_bytes);
            }
        }
        for ingest in ingests(self.store())? {
            let space = if ingest.is_live {
                &mut usage.writing
            } else {
                &mut usage.leftovers
            };
            space.add(ingest.disk_bytes);
        }
        usage.images = self.images(&sizes)?;
        Ok(usage)
    }

    fn images(&self, sizes: &BTreeMap<Digest, u64>) -> Result<Vec<ImageUsage>> {
        let mut images: Vec<(ImageUsage, HashSet<Digest>)> = Vec::new();
        let mut known: HashMap<Digest, usize> = HashMap::new();
        let mut n_users: HashMap<Digest, usize> = HashMap::new();
        for entry in self.store().dir().entries()? {
            let name = names::name_of(&entry).map(str::to_owned);
            if let Some((image, _)) = known
                .get(&entry.digest)
                .and_then(|&idx| images.get_mut(idx))
            {
                image.names.extend(name);
                continue;
            }
            let parts = self.parts(&entry);
            for part in &parts {
                *n_users.entry(part.clone()).or_default() += 1;
            }
            known.insert(entry.digest.clone(), images.len());
            let image = ImageUsage {
                names: name.into_iter().collect(),
                content: entry.bare(),
                total: Space::default(),
                shared: Space::default(),
                unique: Space::default(),
            };
            images.push((image, parts));
        }
        let mut measured = Vec::with_capacity(images.len());
        for (mut image, parts) in images {
            for part in parts {
                let Some(&disk_bytes) = sizes.get(&part) else {
                    continue;
                };
                image.total.add(disk_bytes);
                let is_shared = n_users.get(&part).is_some_and(|&n_users| n_users > 1);
                let space = if is_shared {
                    &mut image.shared
                } else {
                    &mut image.unique
                };
                space.add(disk_bytes);
            }
            measured.push(image);
        }
        Ok(measured)
    }

    /// Returns everything that `root` refers to, itself included. What cannot be read refers to
    /// nothing here: `fsck` is who complains.
    fn parts(&self, root: &Descriptor) -> HashSet<Digest> {
        let mut parts = HashSet::new();
        let mut pending = vec![(root.bare(), 0)];
        while let Some((content, depth)) = pending.pop() {
            if depth > MAX_DEPTH || !parts.insert(content.digest.clone()) {
                continue;
            }
            let parent = Parent::load(&Unprotected(self.store().dir()), &content);
            let children = parent.ok().flatten().map(|parent| parent.children());
            let children = children.into_iter().flatten();
            pending.extend(children.map(|child| (child.bare(), depth + 1)));
        }
        parts
    }

    /// Returns what each blob takes. Of several names of one file, the first takes all.
    fn sizes(&self) -> Result<BTreeMap<Digest, u64>> {
        let mut sizes = BTreeMap::new();
        let mut seen = HashSet::new();
        for path in self.store().blobs()? {
            let Some(digest) = blob_name(&path) else {
                continue;
            };
            let metadata = match fs::symlink_metadata(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                other => other.map_err(Error::system("read", &path))?,
            };
            let is_first = seen.insert((metadata.dev(), metadata.ino()));
            // The unit of `st_blocks`, whatever the blocks of the file system are.
            let blocks = if is_first { metadata.blocks() } else { 0 };
            sizes.insert(digest, blocks * 512);
        }
        Ok(sizes)
    }
}
