//! Stores with small images.

use std::io::Write;
use std::path::Path;

use corten_content::{ImageDocuments, IngestPlan, Sink, Store, load_image};
use corten_snapshot::{PackOptions, Packer};
use corten_spec::{Descriptor, ImageConfig, Manifest, Platform, document, media_type};
use corten_tar::{Entry, EntryKind, Timestamp, Writer};
use tempfile::TempDir;

/// An entry of a layer and its content.
pub(crate) struct Item(pub(crate) Entry, Vec<u8>);

impl Item {
    pub(crate) fn owned(mut self, uid: u32, gid: u32, mode: u32) -> Self {
        self.0.uid = uid;
        self.0.gid = gid;
        self.0.mode = mode;
        self
    }
}

pub(crate) fn file(path: &str, content: &[u8]) -> Item {
    let mut entry = Entry::new(EntryKind::File, path);
    entry.size = content.len() as u64;
    entry.mtime = Timestamp::from_seconds(1_600_000_000);
    Item(entry, content.to_vec())
}

pub(crate) fn directory(path: &str) -> Item {
    Item(Entry::new(EntryKind::Directory, path), Vec::new())
}

pub(crate) fn symlink(path: &str, target: &str) -> Item {
    let mut entry = Entry::new(EntryKind::Symlink, path);
    entry.link = target.into();
    Item(entry, Vec::new())
}

pub(crate) const PASSWD: &[u8] = b"root:x:0:0::/root:/bin/sh\napp:x:1000:100::/home/app:/bin/sh\n";
pub(crate) const GROUP: &[u8] = b"root:x:0:\nusers:x:100:\nvideo:x:44:app\n";

/// Returns a layer with a shell in `/bin`, and its users.
pub(crate) fn busybox() -> Vec<Item> {
    let program = std::fs::read(BUSYBOX).unwrap();
    let mut items = vec![
        directory("bin"),
        file("bin/busybox", &program).owned(0, 0, 0o755),
        directory("etc"),
        file("etc/passwd", PASSWD),
        file("etc/group", GROUP),
    ];
    for name in [
        "sh", "id", "cat", "env", "pwd", "touch", "echo", "ls", "hostname",
    ] {
        items.push(symlink(&format!("bin/{name}"), "busybox"));
    }
    items
}

const BUSYBOX: &str = "/bin/busybox";

pub(crate) struct World {
    pub(crate) dir: TempDir,
    pub(crate) store: Store,
}

impl World {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store")).unwrap();
        Self { dir, store }
    }

    pub(crate) fn image(
        &self,
        layers: &[Vec<Item>],
        change: impl FnOnce(&mut ImageConfig),
    ) -> ImageDocuments {
        image(&self.store, layers, change)
    }

    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }
}

pub(crate) fn image(
    store: &Store,
    layers: &[Vec<Item>],
    change: impl FnOnce(&mut ImageConfig),
) -> ImageDocuments {
    let mut config = ImageConfig::scratch(&Platform::host());
    let mut blobs = Vec::new();
    for items in layers {
        let options = PackOptions {
            threads: 1,
            ..PackOptions::default()
        };
        let mut writer = Writer::new(Packer::new(store, &options).unwrap());
        for Item(entry, content) in items {
            writer.entry(entry, &mut content.as_slice()).unwrap();
        }
        let layer = writer.finish().unwrap().finish().unwrap();
        config.rootfs.diff_ids.push(layer.diff_id);
        blobs.push(layer.blob);
    }
    change(&mut config);
    let config = put(store, media_type::OCI_CONFIG, &document::to_bytes(&config));
    let manifest = document::to_bytes(&Manifest::oci(config, blobs));
    let manifest = put(store, media_type::OCI_MANIFEST, &manifest);
    load_image(store, &manifest, &Platform::host()).unwrap()
}

pub(crate) fn put(store: &Store, media_type: &str, bytes: &[u8]) -> Descriptor {
    let content = Descriptor::of(media_type, bytes);
    let mut ingest = store.ingest(&IngestPlan::of(&content).unwrap()).unwrap();
    let offset = usize::try_from(ingest.offset()).unwrap();
    ingest.write_all(&bytes[offset..]).unwrap();
    ingest.commit(Some(&content)).unwrap();
    content
}

pub(crate) fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

pub(crate) fn shell(script: &str) -> Vec<String> {
    vec!["/bin/sh".to_owned(), "-c".to_owned(), script.to_owned()]
}

pub(crate) fn require_root() -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("needs root".to_owned());
    }
    if !Path::new(BUSYBOX).exists() {
        return Err(format!("needs a static `{BUSYBOX}`"));
    }
    Ok(())
}

pub(crate) fn require_tool(name: &str) -> Result<(), String> {
    let directories = ["/usr/bin", "/usr/sbin", "/bin", "/sbin", "/usr/local/bin"];
    if directories
        .iter()
        .any(|directory| Path::new(directory).join(name).exists())
    {
        return Ok(());
    }
    Err(format!("needs {name}"))
}
