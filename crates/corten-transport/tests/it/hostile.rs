//! Archives that are made to do harm.

use corten_content::Source;
use corten_tar::Limits;
use corten_transport::{Archive, Error, Format, ReadOptions};
use serde_json::json;

use crate::fixture::{
    Member, OnDisk, chain, config_of, file, hard_link, index_json, names_in, set_size, symlink,
    tar, version,
};

#[track_caller]
fn check(members: &[Member], format: Format, part: &str) {
    let on_disk = OnDisk::new(&tar(members));
    let error = on_disk.open(format).unwrap_err();
    let text = chain(&error);
    assert!(text.contains(part), "expected {part:?}: {text}");
    assert_eq!(names_in(on_disk.dir.path()), ["archive.tar"]);
}

#[test]
fn links_lead_nowhere_else() {
    let image = json!([{"Config": "c", "Layers": ["a"]}]).to_string();
    let with = |members: &[Member]| {
        let mut all = members.to_vec();
        all.push(file("manifest.json", &image));
        all.push(file("c", config_of(&[b"one"])));
        all
    };
    let missing = "has no member `a`";
    let docker = Format::Docker;
    check(&with(&[symlink("a", "/etc/passwd")]), docker, missing);
    check(
        &with(&[symlink("a", "../../../../etc/passwd")]),
        docker,
        missing,
    );
    check(&with(&[hard_link("a", "/etc/passwd")]), docker, missing);
    check(&with(&[symlink("a", "a")]), docker, missing);
    check(
        &with(&[symlink("a", "b"), symlink("b", "a")]),
        docker,
        missing,
    );
    let long: Vec<_> = (0..100)
        .map(|idx| symlink(&format!("l{idx}"), &format!("l{}", idx + 1)))
        .chain([symlink("a", "l0"), file("l100", "one")])
        .collect();
    check(&with(&long), docker, missing);
    let outside = json!([{"Config": "../../etc/passwd", "Layers": []}]).to_string();
    let outside = [file("manifest.json", outside)];
    check(&outside, docker, "has no member `../../etc/passwd`");
}

#[test]
fn digests_are_checked_before_they_are_names() {
    let digest = "sha256:../../../etc/passwd";
    let index = json!({"schemaVersion": 2, "manifests": [
        {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": 1},
    ]});
    let members = [version(), file("index.json", index.to_string())];
    check(&members, Format::Oci, "etc/passwd");
}

#[test]
fn documents_that_occur_twice() {
    let other = file("./index.json", "{}");
    let members = [version(), index_json(&[]), other];
    check(&members, Format::Oci, "`index.json` occurs more than once");
    let members = [file("manifest.json", "[]"), file("manifest.json", "[]")];
    check(
        &members,
        Format::Docker,
        "`manifest.json` occurs more than once",
    );
}

#[test]
fn sizes_are_bounded() {
    let large = file("oci-layout", vec![b' '; (64 << 10) + 1]);
    check(&[large, index_json(&[])], Format::Oci, "65537");

    let tags = vec!["a:1"; 100_000];
    let many = json!([{"Config": "c", "RepoTags": tags, "Layers": []}]).to_string();
    let many = [file("manifest.json", many)];
    check(&many, Format::Docker, "the limit is 100000");

    let members: Vec<_> = (0..100).map(|idx| file(&format!("{idx}"), "x")).collect();
    let on_disk = OnDisk::new(&tar(&members));
    let open = |limits: Limits| {
        let options = ReadOptions {
            limits,
            ..ReadOptions::new(on_disk.dir.path())
        };
        let error = Archive::open(&on_disk.path, Format::Oci, &options).unwrap_err();
        let plain = chain(&error);
        let stream = Box::new(std::fs::File::open(&on_disk.path).unwrap());
        let error = Archive::from_stream(stream, "-", Format::Oci, &options).unwrap_err();
        assert!(matches!(error, Error::Read { .. }), "{error:?}");
        plain
    };
    let entries = Limits {
        entries: 99,
        ..Limits::default()
    };
    assert!(open(entries).contains("`entries` of 99"));
    let total = Limits {
        total_bytes: 4096,
        ..Limits::default()
    };
    assert!(open(total).contains("`total_bytes` of 4096"));
}

#[test]
fn a_size_that_the_file_does_not_have() {
    let mut bytes = tar(&[version(), index_json(&[]), file("blobs/big", "x")]);
    let start = bytes.len() - 1024 - 1024;
    set_size(&mut bytes[start..], 7 << 30);
    let error = OnDisk::new(&bytes).open(Format::Oci).unwrap_err();
    assert!(chain(&error).contains("ends at byte"), "{}", chain(&error));
}

#[test]
fn any_cut_of_an_archive_is_an_error_or_an_archive() {
    let bytes = tar(&[version(), index_json(&[]), file("a", vec![1; 2000])]);
    for len in (0..bytes.len()).step_by(97) {
        let on_disk = OnDisk::new(&bytes[..len]);
        if let Ok(archive) = on_disk.open(Format::Oci) {
            assert!(archive.resolve("x").is_err(), "{len}");
        }
    }
}
