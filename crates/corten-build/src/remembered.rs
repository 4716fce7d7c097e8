//! What base images were when their registries were last asked, for builds without a network.
//!
//! ```text
//! cache/bases/HEX   the documents of an image, by the digest of its name and platform, JSON
//! ```
//!
//! A build that finds all its steps in the cache needs no layer of its bases, and these documents are all
//! that it needs of them. They name nothing that `gc` must keep, and may be deleted at any time.

use std::fs;
use std::path::PathBuf;

use corten_content::{ImageDocuments, Memory, Store, atomic, load_image};
use corten_spec::{Descriptor, Digest, Platform};
use serde::{Deserialize, Serialize};

/// An image as its registry had it.
#[derive(Debug, Clone)]
pub struct RememberedBase {
    /// What its name stood for.
    pub root: Descriptor,
    /// Its manifest and its config.
    pub documents: ImageDocuments,
}

/// Changed whenever the form of what is kept does.
const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    version: u32,
    root: Descriptor,
    /// The texts of the manifest and the config, whose digests are looked at when they are read.
    manifest: (String, String),
    config: (String, String),
}

/// Remembers what a registry has as `name` for `platform`, if that can be done: without, a build needs the
/// registry.
pub fn remember_base(
    store: &Store,
    (name, platform): (&str, &Platform),
    root: &Descriptor,
    documents: &ImageDocuments,
) {
    let text = |kind: &str, bytes: &[u8]| {
        let text = String::from_utf8(bytes.to_vec()).ok()?;
        Some((kind.to_owned(), text))
    };
    let (manifest, config) = (&documents.manifest, &documents.config);
    let texts = (
        text(&manifest.descriptor.media_type, &manifest.bytes),
        text(&config.descriptor.media_type, &config.bytes),
    );
    let (Some(manifest), Some(config)) = texts else {
        return;
    };
    let record = Record {
        version: VERSION,
        root: root.clone(),
        manifest,
        config,
    };
    let bytes = corten_spec::document::to_bytes(&record);
    // Where there can be no directory, writing fails as well.
    fs::create_dir_all(directory(store)).ok();
    atomic::write_unsynced(&path_of(store, name, platform), &bytes).ok();
}

/// Returns what the registry had as `name` for `platform` when it was last asked. What is damaged is
/// nothing.
pub fn recall_base(store: &Store, name: &str, platform: &Platform) -> Option<RememberedBase> {
    let path = path_of(store, name, platform);
    let bytes = fs::read(&path).ok()?;
    let record = serde_json::from_slice::<Record>(&bytes).ok();
    let record = record.filter(|record| record.version == VERSION)?;
    let documents = Memory::new();
    for (kind, text) in [&record.manifest, &record.config] {
        documents.add(kind, text.as_bytes());
    }
    Some(RememberedBase {
        documents: load_image(&documents, &record.root, platform).ok()?,
        root: record.root,
    })
}

/// Returns where it is kept.
pub(crate) fn directory(store: &Store) -> PathBuf {
    store.cache_dir().join("bases")
}

fn path_of(store: &Store, name: &str, platform: &Platform) -> PathBuf {
    // No name has a space.
    let key = format!("{name} {}", platform.normalized());
    directory(store).join(Digest::sha256(key.as_bytes()).encoded())
}

#[cfg(test)]
mod tests {
    use corten_spec::{ImageConfig, Manifest, document, media_type};

    use super::*;

    #[test]
    fn what_was_found_is_recalled_for_its_name_and_platform() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let platform: Platform = "linux/amd64".parse().unwrap();
        let memory = Memory::new();
        let config = document::to_bytes(&ImageConfig::scratch(&platform));
        let config = memory.add(media_type::OCI_CONFIG, &config);
        let manifest = document::to_bytes(&Manifest::oci(config, Vec::new()));
        let root = memory.add(media_type::OCI_MANIFEST, &manifest);
        let found = load_image(&memory, &root, &platform).unwrap();
        assert!(recall_base(&store, "x.io/a:1", &platform).is_none());
        remember_base(&store, ("x.io/a:1", &platform), &root, &found);
        let recalled = recall_base(&store, "x.io/a:1", &platform).unwrap();
        assert_eq!(recalled.root, root);
        assert_eq!(recalled.documents.config.bytes, found.config.bytes);
        assert!(recall_base(&store, "x.io/a:2", &platform).is_none());
        let other = "linux/arm64".parse().unwrap();
        assert!(recall_base(&store, "x.io/a:1", &other).is_none());

        let path = path_of(&store, "x.io/a:1", &platform);
        let text = fs::read_to_string(&path).unwrap();
        let text = text.replace("linux", "lunix");
        atomic::write(&path, text.as_bytes()).unwrap();
        assert!(recall_base(&store, "x.io/a:1", &platform).is_none());
    }
}
