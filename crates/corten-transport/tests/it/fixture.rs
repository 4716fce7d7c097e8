//! Tars made by hand, as `corten_tar` would not spell names in the ways that others do.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use corten_content::{Error, Source, read};
use corten_spec::{Descriptor, Digest, ImageConfig, Manifest, document, media_type};
use corten_tar::{Compression, Encoder};
use corten_testing::Image;
use corten_transport::{Archive, Format, ReadOptions};
use tempfile::TempDir;

/// A member of a tar.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    name: String,
    flag: u8,
    link: String,
    bytes: Vec<u8>,
}

pub(crate) fn file(name: &str, bytes: impl AsRef<[u8]>) -> Member {
    Member {
        name: name.into(),
        flag: b'0',
        link: String::new(),
        bytes: bytes.as_ref().to_vec(),
    }
}

pub(crate) fn symlink(name: &str, target: &str) -> Member {
    Member {
        flag: b'2',
        link: target.into(),
        ..file(name, "")
    }
}

pub(crate) fn hard_link(name: &str, target: &str) -> Member {
    Member {
        flag: b'1',
        ..symlink(name, target)
    }
}

pub(crate) fn directory(name: &str) -> Member {
    Member {
        flag: b'5',
        ..file(name, "")
    }
}

pub(crate) fn blob(bytes: impl AsRef<[u8]>) -> Member {
    let digest = Digest::sha256(bytes.as_ref());
    file(&format!("blobs/sha256/{}", digest.encoded()), bytes)
}

/// Returns the members as a tar, in V7 headers with a type.
pub(crate) fn tar(members: &[Member]) -> Vec<u8> {
    let mut out = Vec::new();
    for member in members {
        let mut header = [0; 512];
        header[..member.name.len()].copy_from_slice(member.name.as_bytes());
        header[100..108].copy_from_slice(b"0000644\0");
        header[108..116].copy_from_slice(b"0000000\0");
        header[116..124].copy_from_slice(b"0000000\0");
        header[136..148].copy_from_slice(b"00000000000\0");
        header[156] = member.flag;
        header[157..157 + member.link.len()].copy_from_slice(member.link.as_bytes());
        header[257..265].copy_from_slice(b"ustar\x0000");
        set_size(&mut header, member.bytes.len() as u64);
        out.extend_from_slice(&header);
        out.extend_from_slice(&member.bytes);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.resize(out.len() + 1024, 0);
    out
}

/// Changes the size that a header says, up to 8 GiB, and its checksum.
pub(crate) fn set_size(header: &mut [u8], size: u64) {
    header[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    header[148..156].copy_from_slice(b"        ");
    let sum: u32 = header[..512].iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

pub(crate) fn compressed(bytes: &[u8], compression: Compression) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new(), compression, None, 1).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// An archive on disk, with a directory of its own.
pub(crate) struct OnDisk {
    pub(crate) dir: TempDir,
    pub(crate) path: PathBuf,
}

impl OnDisk {
    #[expect(clippy::disallowed_methods, reason = "a fixture need not be atomic")]
    pub(crate) fn new(bytes: &[u8]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("archive.tar");
        fs::write(&path, bytes).unwrap();
        Self { dir, path }
    }

    pub(crate) fn open(&self, format: Format) -> corten_transport::Result<Archive> {
        Archive::open(&self.path, format, &ReadOptions::new(self.dir.path()))
    }
}

/// Returns the whole of an error and its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", chain(cause)),
        None => error.to_string(),
    }
}

/// Reads the image that `name` stands for and returns its layers.
#[track_caller]
pub(crate) fn layers_of(source: &dyn Source, name: &str) -> Vec<Vec<u8>> {
    read_layers(source, name).unwrap_or_else(|error| panic!("{name:?}: {}", chain(&error)))
}

pub(crate) fn read_layers(source: &dyn Source, name: &str) -> Result<Vec<Vec<u8>>, Error> {
    let found = source.resolve(name)?;
    let image = corten_content::load_image(source, &found, &"linux/amd64".parse().unwrap())?;
    let layers = image.manifest.value.layers.iter();
    layers.map(|layer| read(source, layer, 1 << 20)).collect()
}

/// Returns the documents of an image of `layers` as the members of an image layout, and the
/// descriptor of its manifest.
pub(crate) fn layout_members(layers: &[&[u8]]) -> (Vec<Member>, Descriptor) {
    let builder = Image::builder();
    let image = layers
        .iter()
        .fold(builder, |builder, layer| builder.layer(layer))
        .build();
    let digests = image.content.digests().into_iter();
    let members = digests.map(|digest| blob(read_any(&image.content, &digest)));
    (members.collect(), image.manifest)
}

fn read_any(source: &dyn Source, digest: &Digest) -> Vec<u8> {
    let mut bytes = Vec::new();
    let content = Descriptor::new("", digest.clone(), 0);
    let mut reader = source.fetch(&content, 0).unwrap();
    std::io::Read::read_to_end(&mut reader, &mut bytes).unwrap();
    bytes
}

pub(crate) fn version() -> Member {
    file(
        "oci-layout",
        r#"{"imageLayoutVersion":"1.0.0","x-extra":[]}"#,
    )
}

pub(crate) fn index_json(entries: &[Descriptor]) -> Member {
    let index = serde_json::json!({"schemaVersion": 2, "manifests": entries});
    file("index.json", index.to_string())
}

/// Returns a config whose layers are `tars`.
pub(crate) fn config_of(tars: &[&[u8]]) -> Vec<u8> {
    let mut config = ImageConfig::scratch(&"linux/amd64".parse().unwrap());
    for tar in tars {
        let diff_id = corten_spec::DiffId(Digest::sha256(tar));
        config.rootfs.diff_ids.push(diff_id);
    }
    document::to_bytes(&config)
}

/// Returns a manifest with given sizes of layers, which may be wrong, as its bytes.
pub(crate) fn manifest_of(config: &[u8], layers: &[(&[u8], u64)]) -> Vec<u8> {
    let config = Descriptor::of(media_type::OCI_CONFIG, config);
    let layers = layers
        .iter()
        .map(|(layer, size)| Descriptor::new(media_type::OCI_LAYER, Digest::sha256(layer), *size));
    document::to_bytes(&Manifest::oci(config, layers.collect()))
}

/// Lists the names in a directory, sorted.
pub(crate) fn names_in(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

impl Member {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn is(&self, name: &str) -> bool {
        self.name == name
    }

    pub(crate) fn renamed(self, rename: impl Fn(&str) -> String) -> Self {
        Self {
            name: rename(&self.name),
            ..self
        }
    }
}
