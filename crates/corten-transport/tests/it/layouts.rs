//! Image layouts in tars.

use corten_content::{CopyOptions, Memory, Source, copy, read};
use corten_spec::annotations::{IMAGE_NAME, REF_NAME};
use corten_spec::{Descriptor, Index, document, media_type};
use corten_tar::Compression;
use corten_transport::{Archive, Format, ReadOptions};

use crate::fixture::{
    Member, OnDisk, blob, chain, compressed, directory, file, hard_link, index_json, layers_of,
    layout_members, set_size, symlink, tar, version,
};

fn named(manifest: &Descriptor, names: &[(&str, &str)]) -> Descriptor {
    let mut entry = manifest.clone();
    for (key, name) in names {
        entry.annotations.insert((*key).into(), (*name).into());
    }
    entry
}

/// An image `v1` of two layers, one of them larger than what readers read at once.
fn members() -> Vec<Member> {
    let (mut members, manifest) = layout_members(&[b"one", &vec![7; 1 << 19]]);
    members.insert(0, version());
    members.push(index_json(&[named(&manifest, &[(REF_NAME, "v1")])]));
    members
}

#[test]
fn forms_of_the_same_archive() {
    #[track_caller]
    fn check(what: &str, bytes: &[u8]) {
        let on_disk = OnDisk::new(bytes);
        let archive = on_disk.open(Format::Oci);
        let archive = archive.unwrap_or_else(|error| panic!("{what}: {}", chain(&error)));
        let layers = layers_of(&archive, "v1");
        assert_eq!(layers, [b"one".to_vec(), vec![7; 1 << 19]], "{what}");
        assert_eq!(layers_of(&archive, ""), layers, "{what}");
        let options = ReadOptions::new(on_disk.dir.path());
        let stream = Box::new(std::io::Cursor::new(bytes));
        let piped = Archive::from_stream(stream, "-", Format::Oci, &options).unwrap();
        assert_eq!(layers_of(&piped, "v1"), layers, "{what}, piped");
        let names = crate::fixture::names_in(on_disk.dir.path());
        assert_eq!(
            names,
            ["archive.tar"],
            "{what}: scratch files have no names"
        );
    }
    let plain = tar(&members());
    check("plain", &plain);
    check("gzip", &compressed(&plain, Compression::Gzip));
    check("zstd", &compressed(&plain, Compression::Zstd));

    let mut reversed = members();
    reversed.reverse();
    check("reversed", &tar(&reversed));

    let dotted = members()
        .into_iter()
        .map(|member| member.renamed(|name| format!("./{name}")));
    let mut dotted: Vec<_> = dotted.collect();
    dotted.insert(0, directory("./"));
    check("dotted", &tar(&dotted));

    let mut extra = members();
    extra.insert(0, file("repositories", "{}"));
    extra.insert(1, file("../outside", "x"));
    extra.push(symlink("../../etc/x", "/etc/passwd"));
    extra.push(file("manifest.json", "not read"));
    check("extra members", &tar(&extra));

    let mut linked = members();
    let last = linked.pop().unwrap();
    linked.push(hard_link("index.json", "./real/b"));
    linked.push(symlink("real/b", "../c"));
    linked.push(last.renamed(|_| "c".into()));
    check("links", &tar(&linked));

    let mut unpadded = plain.clone();
    unpadded.truncate(plain.len() - 1024);
    check("no end marker", &unpadded);
}

/// Bodies are passed over, not read: this one has five GiB of them, and none on disk.
#[test]
fn members_of_any_size() {
    let start = tar(&[file("big", "")]);
    let rest = tar(&members());
    let mut header = start[..512].to_vec();
    let size = 5 << 30;
    set_size(&mut header, size);
    let on_disk = OnDisk::new(&header);
    let file = std::fs::File::options()
        .write(true)
        .open(&on_disk.path)
        .unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &rest, 512 + size).unwrap();
    let archive = on_disk.open(Format::Oci).unwrap();
    assert_eq!(layers_of(&archive, "v1").len(), 2);
}

#[test]
fn a_named_pipe() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pipe");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let archive = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut pipe = std::fs::File::options().write(true).open(&path).unwrap();
            std::io::Write::write_all(&mut pipe, &tar(&members())).unwrap();
        });
        Archive::open(&path, Format::Oci, &ReadOptions::new(dir.path())).unwrap()
    });
    assert_eq!(layers_of(&archive, "v1").len(), 2);
}

#[test]
fn what_is_no_layout() {
    #[track_caller]
    fn check(bytes: &[u8], part: &str) {
        let error = OnDisk::new(bytes).open(Format::Oci).unwrap_err();
        let text = chain(&error);
        assert!(text.contains(part), "expected {part:?}: {text}");
        assert!(OnDisk::new(bytes).open(Format::Docker).is_err(), "{part}");
    }
    let without = |name: &str| {
        let kept = members().into_iter().filter(|member| !member.is(name));
        tar(&kept.collect::<Vec<_>>())
    };
    check(b"", "has no member `oci-layout`");
    check(&without("oci-layout"), "has no member `oci-layout`");
    check(&without("index.json"), "has no member `index.json`");
    check(&[b'x'; 2048], "the header at byte 0 is malformed");
    let old = file("oci-layout", r#"{"imageLayoutVersion":"0.9.0"}"#);
    check(&tar(&[old, index_json(&[])]), "`0.9.0`, expected `1.0.0`");
    let null = file("index.json", r#"{"schemaVersion":2,"manifests":null}"#);
    check(&tar(&[version(), null]), "invalid type: null");
    let plain = tar(&members());
    check(&plain[..plain.len() / 2], "ends at byte");
}

#[test]
fn names() {
    let (mut members, one) = layout_members(&[b"one"]);
    let (more, two) = layout_members(&[b"two"]);
    members.extend(more);
    members.push(version());
    members.push(index_json(&[
        named(
            &one,
            &[(IMAGE_NAME, "docker.io/library/app:1"), (REF_NAME, "1")],
        ),
        named(&one, &[(REF_NAME, "any text at all")]),
        named(&two, &[(REF_NAME, "registry.example/x:y")]),
    ]));
    let archive = OnDisk::new(&tar(&members)).open(Format::Oci).unwrap();
    assert_eq!(archive.entries().len(), 3);
    let check = |name: &str, expected: &Descriptor| {
        let found = archive.resolve(name).unwrap();
        assert_eq!(found.digest, expected.digest, "{name}");
    };
    check("1", &one);
    check("app:1", &one);
    check("docker.io/library/app:1", &one);
    check("any text at all", &one);
    check("y", &two);
    check("registry.example/x:y", &two);
    check(two.digest.as_str(), &two);
    check(&format!("@{}", one.digest), &one);
    assert!(archive.resolve("2").unwrap_err().is_not_found());
    let ambiguous = archive.resolve("").unwrap_err();
    assert!(
        ambiguous
            .to_string()
            .contains("is ambiguous in oci-archive:")
    );
}

#[test]
fn nested_and_sparse_indexes() {
    let (mut members, manifest) = layout_members(&[b"one"]);
    let mut absent = Descriptor::of(media_type::OCI_MANIFEST, b"absent");
    absent.platform = Some("linux/arm64".parse().unwrap());
    let index = document::to_bytes(&Index::oci(vec![absent.clone(), manifest.clone()]));
    let nested = Descriptor::of(media_type::OCI_INDEX, &index);
    members.extend([blob(&index), version(), index_json(&[nested])]);
    for format in [Format::Oci, Format::Docker] {
        let archive = OnDisk::new(&tar(&members)).open(format).unwrap();
        assert_eq!(layers_of(&archive, ""), [b"one".to_vec()]);
        let error = read(&archive, &absent, 10).unwrap_err();
        assert!(error.is_not_found(), "{error:?}");
    }
}

#[test]
fn damaged_blobs_do_not_verify() {
    let (mut members, manifest) = layout_members(&[b"one"]);
    for member in &mut members {
        if member.is(&format!(
            "blobs/sha256/{}",
            corten_spec::Digest::sha256(b"one").encoded()
        )) {
            *member = file(member.name(), "eno");
        }
    }
    members.extend([version(), index_json(std::slice::from_ref(&manifest))]);
    let archive = OnDisk::new(&tar(&members)).open(Format::Oci).unwrap();
    let error = copy(&archive, &Memory::new(), &manifest, &CopyOptions::default()).unwrap_err();
    assert!(error.is_corrupt(), "{error:?}");
}
