//! What the registry keeps.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use corten_spec::{Algorithm, Digest, Hasher};

use super::Options;

/// All repositories and open uploads.
pub(super) struct State {
    pub(super) options: Options,
    pub(super) repositories: BTreeMap<String, Repository>,
    pub(super) uploads: HashMap<String, Upload>,
    pub(super) n_uploads: usize,
}

/// A repository: what is not in it is not there, whatever others have.
#[derive(Default)]
pub(super) struct Repository {
    pub(super) blobs: BTreeMap<String, Arc<[u8]>>,
    pub(super) manifests: BTreeMap<String, Manifest>,
    pub(super) tags: BTreeMap<String, String>,
}

pub(super) struct Manifest {
    pub(super) media_type: String,
    pub(super) bytes: Arc<[u8]>,
}

pub(super) struct Upload {
    pub(super) repository: String,
    pub(super) algorithm: Algorithm,
    pub(super) bytes: Vec<u8>,
    /// Whether a chunk was shorter than all but the last have to be.
    pub(super) has_short_chunk: bool,
}

impl State {
    pub(super) fn new(options: Options) -> Self {
        Self {
            options,
            repositories: BTreeMap::new(),
            uploads: HashMap::new(),
            n_uploads: 0,
        }
    }

    /// Returns the repository `name`, which is made if it is not there.
    pub(super) fn repository(&mut self, name: &str) -> &mut Repository {
        self.repositories.entry(name.to_owned()).or_default()
    }
}

impl Repository {
    pub(super) fn keep_blob(&mut self, digest: &Digest, bytes: &[u8]) {
        self.blobs.insert(digest.to_string(), bytes.into());
    }

    pub(super) fn keep_manifest(&mut self, digest: &Digest, media_type: &str, bytes: &[u8]) {
        let manifest = Manifest {
            media_type: media_type.to_owned(),
            bytes: bytes.into(),
        };
        self.manifests.insert(digest.to_string(), manifest);
    }

    /// Returns the digest and the manifest that `name`, a tag or a digest, stands for.
    pub(super) fn manifest(&self, name: &str) -> Option<(&str, &Manifest)> {
        let digest = self.tags.get(name).map_or(name, String::as_str);
        let (digest, manifest) = self.manifests.get_key_value(digest)?;
        Some((digest, manifest))
    }
}

/// Returns the digest of `bytes`.
pub(super) fn digest_of(algorithm: Algorithm, bytes: &[u8]) -> Digest {
    let mut hasher = Hasher::new(algorithm);
    hasher.update(bytes);
    hasher.finish()
}
