//! Whole images: in memory, in archives, in a layout on disk.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use corten_bundle::config::{ConfigOptions, runtime_config};
use corten_content::{
    CopyOptions, Durability, Layout, Memory, Source, copy, load_image, read, walk,
};
use corten_image::{Layers, ValidateOptions, validate, validate_layout};
use corten_layer::users::User;
use corten_spec::{Descriptor, Digest, Platform, media_type};
use corten_tar::{DecodeLimits, Entry, EntryKind, Writer};
use corten_transport::{Archive, Format, ReadOptions};

use crate::parts::{cut, parts};
use crate::tar::LIMITS;

fn validating() -> ValidateOptions {
    ValidateOptions {
        layers: Layers::Read,
        ..ValidateOptions::default()
    }
}

/// The most that is read of anything.
const MOST: u64 = 1 << 20;

/// Parts that are blobs, each with its media type on its first line; the last is the image.
pub(crate) fn image(data: &[u8]) {
    let memory = Memory::new();
    let mut root = None;
    // The media type is no part of the blob, so parts name each other's digests before it is cut off:
    // a part that begins with an empty line is an empty config.
    for part in blobs(data) {
        let (kind, bytes) = part;
        root = Some(memory.add(&kind, &bytes));
    }
    let Some(root) = root else {
        return;
    };
    use_image(&memory, &root);
    drop(validate(&memory, &root, &validating()));
}

/// Returns media type and bytes of every blob; `@0` stands for the digest of the bytes alone.
pub(crate) fn blobs(data: &[u8]) -> Vec<(String, Vec<u8>)> {
    // The types are taken out before what is left is filled in.
    let mut kinds = Vec::new();
    let mut bodies: Vec<u8> = Vec::new();
    let mut rest = Some(data);
    while let Some(text) = rest.take().filter(|_| kinds.len() < 10) {
        let (part, after) = cut(text, b"\n--\n");
        rest = after;
        let (kind, body) = cut(part, b"\n");
        if !kinds.is_empty() {
            bodies.extend_from_slice(b"\n--\n");
        }
        kinds.push(String::from_utf8_lossy(kind).into_owned());
        bodies.extend_from_slice(body.unwrap_or_default());
    }
    kinds.into_iter().zip(parts(&bodies)).collect()
}

/// Everything that is done with an image without running it.
fn use_image(source: &dyn Source, root: &Descriptor) {
    let mut found = Vec::new();
    let walked = walk(source, root, &mut |content| {
        found.push(content.clone());
        Ok(())
    });
    for content in found.iter().take(100) {
        if let Ok(bytes) = read(source, content, MOST) {
            assert!(content.verify(&bytes).is_ok(), "what is read is verified");
        }
    }
    let there = Memory::new();
    if copy(source, &there, root, &CopyOptions::default()).is_ok() {
        assert!(walked.is_ok(), "it was copied, but not walked: {walked:?}");
        for digest in there.digests() {
            assert!(found.iter().any(|content| content.digest == digest));
        }
    }
    let platform = Platform::new("linux", "amd64");
    if let Ok(image) = load_image(source, root, &platform) {
        drop(runtime_config(
            &image.config.value,
            &User::default(),
            &ConfigOptions::default(),
        ));
    }
}

/// A tar, or parts that are its members, each with its name on its first line: read as both kinds of
/// archive.
pub(crate) fn archive(data: &[u8]) {
    let tar = if data.len() >= 512 && data[257..].starts_with(b"ustar") {
        data.to_vec()
    } else {
        archive_of(data)
    };
    let scratch = std::env::temp_dir();
    let options = ReadOptions {
        limits: LIMITS,
        decoding: DecodeLimits {
            expansion: 100,
            expansion_after: MOST,
            window_bytes: 8 << 20,
        },
        ..ReadOptions::new(&scratch)
    };
    for format in [Format::Oci, Format::Docker] {
        let Ok(archive) = Archive::from_stream(Box::new(&tar[..]), "test", format, &options) else {
            continue;
        };
        for entry in archive.entries().iter().take(10) {
            use_image(&archive, entry);
        }
        drop((archive.resolve("v1"), archive.resolve("acme/app:v1")));
    }
}

/// Returns a tar of the members. A name that holds ` -> ` is a symbolic link's, one with ` = ` a hard
/// link's.
fn archive_of(data: &[u8]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for part in named(data) {
        let (name, body) = part;
        let mut entry = match (name.split_once(" -> "), name.split_once(" = ")) {
            (Some((name, target)), _) => Entry {
                link: target.into(),
                ..Entry::new(EntryKind::Symlink, name)
            },
            (None, Some((name, target))) => Entry {
                link: target.into(),
                ..Entry::new(EntryKind::HardLink, name)
            },
            (None, None) => Entry::new(EntryKind::File, name.as_str()),
        };
        if entry.kind == EntryKind::File {
            entry.size = body.len() as u64;
        }
        let body = if entry.size == 0 { &[][..] } else { &body[..] };
        // What cannot be written is not in the archive.
        drop(writer.entry(&entry, &mut &body[..]));
    }
    writer.finish().expect("it is memory")
}

/// Returns names and bodies; `@` alone in a name stands for the digest of its own body, in hexadecimal.
fn named(data: &[u8]) -> Vec<(String, Vec<u8>)> {
    let fill = |(name, body): (String, Vec<u8>)| {
        let digest = Digest::sha256(&body);
        (name.replace('@', digest.encoded()), body)
    };
    blobs(data).into_iter().map(fill).collect()
}

/// Parts that are the files of an image layout, each with its name on its first line.
pub(crate) fn layout(data: &[u8]) {
    let scratch = tempfile::tempdir().expect("there is room");
    let directory = scratch.path();
    fs::create_dir_all(directory.join("blobs/sha256")).expect("there is room");
    for (name, body) in named(data) {
        let is_known = matches!(name.as_str(), "oci-layout" | "index.json")
            || name.strip_prefix("blobs/sha256/").is_some_and(is_plain);
        if is_known {
            put(&directory.join(name), &body);
        }
    }
    drop(validate_layout(directory, &validating()));
    let Ok(layout) = Layout::open(directory) else {
        return;
    };
    for entry in layout.entries().unwrap_or_default().iter().take(10) {
        use_image(&layout, entry);
    }
    drop(layout.resolve("v1"));
    let added = Layout::create(directory, Durability::None).is_ok_and(|layout| {
        let content = Descriptor::of(media_type::OCI_EMPTY, b"{}");
        layout.add(&content).is_ok() && layout.untag("v1").is_ok()
    });
    if added {
        layout.entries().expect("we wrote it");
    }
}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric()) && name.len() < 200
}

fn put(path: &Path, body: &[u8]) {
    let create = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(path);
    create
        .and_then(|mut file| file.write_all(body))
        .expect("there is room");
}
