//! Archives that we write.

use std::path::Path;

use corten_content::{CopyOptions, Sink, Source, copy};
use corten_spec::{Digest, media_type};
use corten_tar::{Compression, Limits, Reader};
use corten_testing::{Image, image};
use corten_transport::{Archive, ArchiveWriter, Error, Format, ReadOptions};
use serde_json::{Value, json};

use crate::fixture::{chain, compressed, layers_of, names_in};

const NAME: &str = "docker.io/library/app:1";

fn write(path: &Path, format: Format, image: &Image, names: &[&str]) {
    let writer = ArchiveWriter::create(path, format).unwrap();
    copy(
        &image.content,
        &writer,
        &image.manifest,
        &CopyOptions::default(),
    )
    .unwrap();
    for name in names {
        writer.tag(name, &image.manifest).unwrap();
    }
    writer.finish().unwrap();
}

fn names_of(bytes: &[u8]) -> Vec<String> {
    let mut reader = Reader::new(bytes, Limits::default());
    let mut names = Vec::new();
    while let Some(located) = reader.next_entry().unwrap() {
        let entry = located.entry;
        assert_eq!((entry.uid, entry.gid, entry.mtime.seconds), (0, 0, 0));
        let mode = if entry.path.ends_with(b"/") {
            0o755
        } else {
            0o644
        };
        assert_eq!(entry.mode, mode);
        names.push(String::from_utf8(entry.path).unwrap());
    }
    names
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    compressed(bytes, Compression::Zstd)
}

fn blob(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.encoded())
}

#[test]
fn the_same_content_makes_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    for format in [Format::Oci, Format::Docker] {
        let image = Image::builder().layer(b"one").layer(b"two").build();
        let (a, b) = (dir.path().join("a.tar"), dir.path().join("b.tar"));
        write(&a, format, &image, &[NAME]);
        write(&b, format, &image, &[NAME]);
        write(&b, format, &image, &[NAME]);
        let bytes = std::fs::read(&a).unwrap();
        assert_eq!(bytes, std::fs::read(&b).unwrap());
        assert_eq!(names_in(dir.path()), ["a.tar", "b.tar"]);

        let mut expected = vec!["oci-layout".to_owned(), "index.json".into()];
        if format == Format::Docker {
            expected.push("manifest.json".into());
        }
        expected.extend(["blobs/".into(), "blobs/sha256/".into()]);
        // Digests of a memory are sorted.
        expected.extend(image.content.digests().iter().map(blob));
        assert_eq!(names_of(&bytes), expected);
        for (name, read_as) in [(NAME, format), ("app:1", format), ("1", Format::Oci)] {
            let archive = Archive::open(&a, read_as, &ReadOptions::new(dir.path())).unwrap();
            assert_eq!(archive.resolve(name).unwrap().digest, image.manifest.digest);
            assert_eq!(layers_of(&archive, name), [b"one", b"two"]);
        }
    }
}

fn manifest_json(path: &Path) -> Value {
    let bytes = std::fs::read(path).unwrap();
    let mut reader = Reader::new(&bytes[..], Limits::default());
    while let Some(located) = reader.next_entry().unwrap() {
        if located.entry.path == b"manifest.json" {
            return serde_json::from_reader(reader.read_body()).unwrap();
        }
    }
    panic!("there is no manifest.json");
}

#[test]
fn the_manifest_for_docker() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.tar");
    let stored = zstd(b"two");
    let image = Image::builder()
        .layer(b"one")
        .stored_layer(media_type::OCI_LAYER_ZSTD, &stored, b"two")
        .build();
    let names = ["app", "registry.example/b:2", "app:latest"];
    write(&path, Format::Docker, &image, &names);
    let expected = json!([{
        "Config": blob(&image.value.config.digest),
        "RepoTags": ["registry.example/b:2", "app:latest"],
        "Layers": [blob(&Digest::sha256(b"one")), blob(&Digest::sha256(b"two"))],
    }]);
    assert_eq!(manifest_json(&path), expected);
    // The image itself is still the one that was copied.
    let archive = Archive::open(&path, Format::Docker, &ReadOptions::new(dir.path())).unwrap();
    assert_eq!(
        archive.resolve("app").unwrap().digest,
        image.manifest.digest
    );
    assert_eq!(layers_of(&archive, "app"), [b"one".to_vec(), stored]);

    let by_digest = format!("registry.example/b@{}", image.manifest.digest);
    write(&path, Format::Docker, &image, &[&by_digest]);
    assert_eq!(manifest_json(&path)[0]["RepoTags"], Value::Null);
}

#[test]
fn what_docker_could_not_load_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.tar");
    let made = Image::builder().layer(b"one").build();
    let index = image::index(&made.content, vec![made.manifest.clone()]);
    let writer = ArchiveWriter::create(&path, Format::Docker).unwrap();
    let early = writer.tag(NAME, &made.manifest).unwrap_err();
    assert!(early.is_not_found(), "{early:?}");
    assert!(early.to_string().contains("docker-archive:"), "{early}");
    copy(&made.content, &writer, &index, &CopyOptions::default()).unwrap();
    let error = writer.tag(NAME, &index).unwrap_err();
    assert!(
        chain(&error).contains("one platform each"),
        "{}",
        chain(&error)
    );
    let error = writer.tag("Not A Name", &made.manifest).unwrap_err();
    assert!(error.to_string().contains("`Not A Name`"), "{error}");

    let mut artifact = made.value.clone();
    artifact.config = made.content.add("application/vnd.acme", b"{}");
    let bytes = corten_spec::document::to_bytes(&artifact);
    let artifact = made.content.add(media_type::OCI_MANIFEST, &bytes);
    copy(&made.content, &writer, &artifact, &CopyOptions::default()).unwrap();
    let error = writer.tag(NAME, &artifact).unwrap_err();
    assert!(
        chain(&error).contains("no image but an artifact"),
        "{}",
        chain(&error)
    );
    drop(writer);
    assert_eq!(names_in(dir.path()), [""; 0], "nothing is left");
}

#[test]
fn a_layer_that_is_not_what_its_config_says_is_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.tar");
    let image = Image::builder()
        .stored_layer(media_type::OCI_LAYER_ZSTD, &zstd(b"two"), b"one")
        .build();
    let writer = ArchiveWriter::create(&path, Format::Docker).unwrap();
    copy(
        &image.content,
        &writer,
        &image.manifest,
        &CopyOptions::default(),
    )
    .unwrap();
    writer.tag(NAME, &image.manifest).unwrap();
    let error = writer.finish().unwrap_err();
    assert!(
        chain(&error).contains("did not verify"),
        "{}",
        chain(&error)
    );
    assert!(corten_content::Error::from(error).is_corrupt());
    assert_eq!(names_in(dir.path()), [""; 0], "nothing is left");
}

#[test]
fn nothing_is_visible_before_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.tar");
    let image = Image::builder().layer(b"one").build();
    write(&path, Format::Oci, &image, &["v1"]);
    let before = std::fs::read(&path).unwrap();
    let writer = ArchiveWriter::create(&path, Format::Oci).unwrap();
    copy(
        &image.content,
        &writer,
        &image.manifest,
        &CopyOptions::default(),
    )
    .unwrap();
    writer.add(&image.manifest).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), before);
    drop(writer);
    assert_eq!(std::fs::read(&path).unwrap(), before);
    assert_eq!(names_in(dir.path()), ["a.tar"]);
}

#[test]
fn what_an_archive_does_not_replace() {
    let dir = tempfile::tempdir().unwrap();
    for path in [dir.path(), Path::new("/dev/null")] {
        let error = ArchiveWriter::create(path, Format::Oci).unwrap_err();
        assert!(matches!(error, Error::NotAFile { .. }), "{error:?}");
    }
    let path = dir.path().join("absent/a.tar");
    let error = ArchiveWriter::create(&path, Format::Oci).unwrap_err();
    assert!(matches!(error, Error::System { .. }), "{error:?}");
}

#[test]
fn an_archive_can_be_a_stream() {
    let image = Image::builder().layer(b"one").build();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.tar");
    write(&path, Format::Oci, &image, &["v1"]);
    let stream = tempfile::NamedTempFile::new().unwrap();
    let start = |out| ArchiveWriter::to_stream(out, "-", dir.path(), Format::Oci).unwrap();
    let writer = start(Box::new(stream.reopen().unwrap()));
    assert_eq!(writer.place(), "oci-archive:-");
    copy(
        &image.content,
        &writer,
        &image.manifest,
        &CopyOptions::default(),
    )
    .unwrap();
    writer.tag("v1", &image.manifest).unwrap();
    writer.finish().unwrap();
    assert_eq!(
        std::fs::read(stream.path()).unwrap(),
        std::fs::read(&path).unwrap()
    );
    assert_eq!(names_in(dir.path()), ["a.tar"]);

    let full = std::fs::File::options()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let error = start(Box::new(full)).finish().unwrap_err();
    assert!(
        matches!(&error, Error::System { path, .. } if path == Path::new("-")),
        "{error:?}"
    );
}
