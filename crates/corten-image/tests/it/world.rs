//! A store with images made of layers.

use std::io::Write;

use corten_content::{Durability, ImageDocuments, IngestPlan, Sink, Store, load_image};
use corten_layer::Tree;
use corten_snapshot::{LayerRef, PackOptions, Packer, Snapshots};
use corten_spec::{
    Descriptor, DiffId, Digest, ImageConfig, Manifest, Platform, document, media_type,
};
use corten_tar::{Compression, EntryKind, Limits, Located, Reader, Timestamp};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use tempfile::TempDir;

use crate::archive::{Item, directory, file, link, tar};

pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) root: TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        let root = TempDir::new().unwrap();
        let store = Store::open_with(root.path(), Durability::None).unwrap();
        Self { store, root }
    }

    pub(crate) fn snapshots(&self) -> Snapshots<'_> {
        Snapshots::new(&self.store)
    }

    pub(crate) fn layer(&self, tar: &[u8], compression: Compression) -> LayerRef {
        let options = PackOptions {
            compression,
            level: None,
            threads: 1,
            ..PackOptions::default()
        };
        let mut packer = Packer::new(&self.store, &options).unwrap();
        packer.write_all(tar).unwrap();
        packer.finish().unwrap()
    }

    pub(crate) fn put(&self, media_type: &str, bytes: &[u8]) -> Descriptor {
        let content = Descriptor::of(media_type, bytes);
        let mut ingest = self
            .store
            .ingest(&IngestPlan::of(&content).unwrap())
            .unwrap();
        ingest.write_all(bytes).unwrap();
        ingest.commit(Some(&content)).unwrap();
        content
    }

    /// Makes an image of `layers` whose config `change` may change.
    pub(crate) fn image(
        &self,
        layers: &[LayerRef],
        change: impl FnOnce(&mut ImageConfig),
    ) -> ImageDocuments {
        let platform = Platform::new("linux", "amd64");
        let mut config = ImageConfig::scratch(&platform);
        config.rootfs.diff_ids = layers.iter().map(|layer| layer.diff_id.clone()).collect();
        change(&mut config);
        let config = self.put(media_type::OCI_CONFIG, &document::to_bytes(&config));
        let blobs = layers.iter().map(|layer| layer.blob.clone()).collect();
        let manifest = document::to_bytes(&Manifest::oci(config, blobs));
        let manifest = self.put(media_type::OCI_MANIFEST, &manifest);
        load_image(&self.store, &manifest, &platform).unwrap()
    }

    /// Returns the names of what is derived, such as `tar`.
    pub(crate) fn derived(&self, shelf: &str) -> Vec<std::path::PathBuf> {
        let entries = std::fs::read_dir(self.root.path().join("layers").join(shelf));
        let paths = entries
            .into_iter()
            .flatten()
            .map(|entry| entry.unwrap().path());
        paths.filter(|path| path.extension().is_none()).collect()
    }
}

pub(crate) fn located(tar: &[u8]) -> Vec<Located> {
    let mut reader = Reader::new(tar, Limits::default());
    std::iter::from_fn(|| reader.next_entry().unwrap()).collect()
}

/// Layers of a few names, so that most entries meet others; none is refused.
pub(crate) fn layers() -> impl Strategy<Value = Vec<Vec<u8>>> {
    vec(vec(item(), 1..12), 1..5).prop_map(|layers| {
        let mut tree = Tree::new();
        let mut tars = Vec::new();
        for items in layers {
            let mut kept: Vec<Item> = Vec::new();
            let mut next = tree.clone();
            for item in items {
                if kept.iter().any(|Item(entry, _)| entry.path == item.0.path) {
                    continue;
                }
                kept.push(item);
                let diff_id = DiffId(Digest::sha256(&tar(&kept)));
                match tree.clone().apply(&diff_id, &located(&tar(&kept))) {
                    Ok((applied, _)) => next = applied,
                    Err(_) => drop(kept.pop()),
                }
            }
            tree = next;
            tars.push(tar(&kept));
        }
        tars
    })
}

fn path() -> impl Strategy<Value = String> {
    vec(select(vec!["a", "b", "c", "d"]), 1..4).prop_map(|names| names.join("/"))
}

/// A path as somebody may write it.
pub(crate) fn spelt() -> impl Strategy<Value = String> {
    (path(), select(vec!["", "/", "./", "//a/"]))
        .prop_map(|(path, prefix)| prefix.to_owned() + &path)
}

fn item() -> impl Strategy<Value = Item> {
    let content = select(vec!["", "one", "two", "longer than the others"]);
    let target = (select(vec!["", "/", "../", "../../"]), path());
    let xattr = select(vec![
        None,
        None,
        Some("user.k"),
        Some("security.capability"),
    ]);
    let time = (
        select(vec![0_i64, 0, 0, -5, 5]),
        select(vec![0_u32, 0, 0, 1, 999_999_999]),
    );
    (
        path(),
        0..12_u8,
        content,
        target,
        xattr,
        time,
        select(vec![0o644, 0o644, 0o4711]),
    )
        .prop_map(
            |(path, kind, content, (prefix, target), xattr, (seconds, nanoseconds), mode)| {
                let mut item = match kind {
                    0..=3 => file(&path, content),
                    4 | 5 => directory(&path),
                    6..=8 => link(EntryKind::Symlink, &path, &(prefix.to_owned() + &target)),
                    9 => link(EntryKind::HardLink, &path, &target),
                    _ => {
                        let (directory, name) = path.rsplit_once('/').unwrap_or(("", &path));
                        file(
                            format!("{directory}/.wh.{name}").trim_start_matches('/'),
                            "",
                        )
                    }
                };
                item.0.mode = mode;
                item.0.mtime = Timestamp {
                    seconds,
                    nanoseconds,
                };
                let value = (xattr, b"\0v".to_vec());
                if let (Some(name), value) = value
                    && matches!(item.0.kind, EntryKind::File | EntryKind::Directory)
                {
                    item.0.xattrs = vec![(name.as_bytes().to_vec(), value)];
                }
                item
            },
        )
}
