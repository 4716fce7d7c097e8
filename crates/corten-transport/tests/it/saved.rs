//! What `docker save` and its relatives write.

use corten_content::{CopyOptions, Memory, Source, copy};
use corten_spec::annotations::{IMAGE_NAME, REF_NAME};
use corten_spec::{Descriptor, Digest, media_type};
use corten_tar::Compression;
use corten_transport::{Archive, Format};
use serde_json::{Value, json};

use crate::fixture::{
    Member, OnDisk, blob, chain, compressed, config_of, file, index_json, layers_of, manifest_of,
    read_layers, symlink, tar, version,
};

#[track_caller]
fn open(members: &[Member]) -> Archive {
    OnDisk::new(&tar(members))
        .open(Format::Docker)
        .unwrap_or_else(|error| panic!("{}", chain(&error)))
}

fn manifest_json(images: &Value) -> Member {
    file("manifest.json", images.to_string())
}

/// An image of the layers `one` and `two` whose members are `names`.
fn saved(config: &str, tags: &Value, names: [&str; 2]) -> Vec<Member> {
    let images = json!([{"Config": config, "RepoTags": tags, "Layers": names, "Parent": ""}]);
    vec![
        file(config, config_of(&[b"one", b"two"])),
        manifest_json(&images),
    ]
}

#[test]
fn members_of_an_image() {
    #[track_caller]
    fn check(members: &[Member], types: [&str; 2], layers: [&[u8]; 2]) {
        let archive = open(members);
        let root = archive.resolve("app:1").unwrap();
        let full = archive.resolve("docker.io/library/app:1").unwrap();
        assert_eq!(
            (&root, root.media_type.as_str()),
            (&full, media_type::DOCKER_MANIFEST)
        );
        assert_eq!(archive.resolve("").unwrap(), root);
        assert_eq!(root.platform, Some("linux/amd64".parse().unwrap()));
        assert_eq!(layers_of(&archive, "app:1"), layers);
        let memory = Memory::new();
        copy(&archive, &memory, &root, &CopyOptions::default()).unwrap();
        let image =
            corten_content::load_image(&memory, &root, &"linux/amd64".parse().unwrap()).unwrap();
        let found: Vec<_> = image.manifest.value.layers.iter().collect();
        for (found, (media_type, layer)) in found.iter().zip(types.iter().zip(layers)) {
            assert_eq!(**found, Descriptor::of(media_type, layer));
        }
        let by_digest = archive.resolve(root.digest.as_str()).unwrap();
        assert_eq!(by_digest.digest, root.digest);
    }
    let plain = [media_type::DOCKER_LAYER; 2];
    let layers: [&[u8]; 2] = [b"one", b"two"];
    let tags = json!(["app:1"]);

    let mut v12 = saved("c.json", &tags, ["a/layer.tar", "b/layer.tar"]);
    v12.extend([file("b/layer.tar", "two"), file("a/layer.tar", "one")]);
    v12.extend([
        file("a/VERSION", "1.0"),
        file("a/json", "{}"),
        file("repositories", "{}"),
    ]);
    check(&v12, plain, layers);

    let mut skopeo = saved("c.json", &tags, ["a/layer.tar", "b/layer.tar"]);
    skopeo.extend([file("x.tar", "one"), file("y.tar", "two")]);
    skopeo.extend([
        symlink("a/layer.tar", "../x.tar"),
        symlink("b/layer.tar", "/y.tar"),
    ]);
    check(&skopeo, plain, layers);

    let mut dotted = saved("./c.json", &tags, ["./a", "/b"]);
    dotted.extend([file("./a", "one"), file("b", "two")]);
    check(&dotted, plain, layers);

    let (one, two) = (
        compressed(b"one", Compression::Gzip),
        compressed(b"two", Compression::Zstd),
    );
    let mut mixed = saved("c.json", &tags, ["a.tar.gz", "b.tar"]);
    mixed.extend([file("a.tar.gz", &one), file("b.tar", &two)]);
    check(
        &mixed,
        [media_type::DOCKER_LAYER_GZIP, media_type::DOCKER_LAYER_ZSTD],
        [&one, &two],
    );
}

#[test]
fn names_and_images() {
    let config = |text: &[u8]| config_of(&[text]);
    let archive = open(&[
        manifest_json(&json!([
            {"Config": "1.json", "RepoTags": ["a:1", "registry.example/b:2"], "Layers": ["1"]},
            {"Config": "2.json", "RepoTags": null, "Layers": ["2"]},
            {"Config": "3.json", "Layers": null},
            {"Config": "1.json", "RepoTags": ["Not A Name"], "Layers": ["1"]},
        ])),
        file("1.json", config(b"one")),
        file("2.json", config(b"two")),
        file("3.json", config_of(&[])),
        file("1", "one"),
        file("2", "two"),
    ]);
    let names: Vec<_> = archive
        .entries()
        .iter()
        .map(|entry| {
            let annotation = |key| entry.annotations.get(key).map(String::as_str);
            (annotation(IMAGE_NAME), annotation(REF_NAME))
        })
        .collect();
    assert_eq!(
        names,
        [
            (Some("docker.io/library/a:1"), Some("1")),
            (Some("registry.example/b:2"), Some("2")),
            (None, None),
            (None, None),
            (None, Some("Not A Name")),
        ]
    );
    for name in ["a:1", "registry.example/b:2", "Not A Name", "1"] {
        assert_eq!(layers_of(&archive, name), [b"one"], "{name}");
    }
    let unnamed = archive.entries()[2].digest.to_string();
    assert_eq!(layers_of(&archive, &unnamed), [b"two"]);
    assert!(archive.resolve("").is_err(), "there are three");
}

/// An image layout beside `manifest.json`, which Docker has written with all these faults.
#[test]
fn hybrids() {
    #[track_caller]
    fn check(what: &str, layout: &[Member], expected: &str) {
        let mut members = layout.to_vec();
        let config = config_of(&[b"one"]);
        members.extend([blob(b"one"), blob(&config)]);
        let images = json!([{
            "Config": blob(&config).name(),
            "RepoTags": ["app:1"],
            "Layers": [blob(b"one").name()],
            "LayerSources": {},
        }]);
        members.push(manifest_json(&images));
        let archive = open(&members);
        let found = archive.resolve("app:1").unwrap();
        assert_eq!(found.media_type, expected, "{what}");
        assert_eq!(layers_of(&archive, "app:1"), [b"one"], "{what}");
    }
    let config = config_of(&[b"one"]);
    let layout = |manifest: &[u8]| {
        let mut entry = Descriptor::of(media_type::OCI_MANIFEST, manifest);
        let name = "docker.io/library/app:1".to_owned();
        entry.annotations.insert(IMAGE_NAME.into(), name);
        entry.annotations.insert(REF_NAME.into(), "1".into());
        [
            version(),
            blob(manifest),
            index_json(&[entry.clone(), entry]),
        ]
    };
    let (oci, docker) = (media_type::OCI_MANIFEST, media_type::DOCKER_MANIFEST);
    let right = layout(&manifest_of(&config, &[(b"one", 3)]));
    check("complete", &right, oci);
    check("no layout", &[], docker);
    check("no version", &right[1..], docker);
    check("manifest absent", &[version(), right[2].clone()], docker);
    let no_layers = layout(&manifest_of(&config, &[]));
    check("no layers, moby#47065", &no_layers, docker);
    let wrong_size = layout(&manifest_of(&config, &[(b"one", 4)]));
    check("wrong size, moby#47072", &wrong_size, docker);
    let absent = layout(&manifest_of(&config, &[(b"absent", 6)]));
    check("layer absent, moby#49473", &absent, docker);
    let null = file("index.json", r#"{"schemaVersion":2,"manifests":null}"#);
    check("null, moby#47210", &[version(), null], docker);
    check("empty index", &[version(), index_json(&[])], docker);
}

/// Docker 25 does not list images without a name in the layout; others list no names.
#[test]
fn what_the_layout_leaves_out() {
    let (one, two) = (config_of(&[b"one"]), config_of(&[b"two"]));
    let manifest = manifest_of(&one, &[(b"one", 3)]);
    let entry = Descriptor::of(media_type::OCI_MANIFEST, &manifest);
    let archive = open(&[
        version(),
        index_json(std::slice::from_ref(&entry)),
        blob(&manifest),
        blob(&one),
        blob(&two),
        blob(b"one"),
        blob(b"two"),
        manifest_json(&json!([
            {"Config": blob(&one).name(), "RepoTags": ["app:1"], "Layers": [blob(b"one").name()]},
            {"Config": blob(&one).name(), "RepoTags": null, "Layers": [blob(b"one").name()]},
            {"Config": blob(&two).name(), "RepoTags": null, "Layers": [blob(b"two").name()]},
        ])),
    ]);
    assert_eq!(archive.entries().len(), 3, "{archive:?}");
    assert_eq!(archive.resolve("app:1").unwrap().digest, entry.digest);
    let unnamed = archive.entries()[2].digest.to_string();
    assert_eq!(layers_of(&archive, &unnamed), [b"two"]);
}

#[test]
fn what_cannot_be_an_image() {
    #[track_caller]
    fn check(members: &[Member], part: &str) {
        let error = OnDisk::new(&tar(members)).open(Format::Docker).unwrap_err();
        let text = chain(&error);
        assert!(text.contains(part), "expected {part:?}: {text}");
    }
    let image = |layers: &[&str]| {
        manifest_json(&json!([{"Config": "c", "RepoTags": null, "Layers": layers}]))
    };
    let config = file("c", config_of(&[b"one"]));
    check(&[image(&["a"]), config.clone()], "has no member `a`");
    check(&[image(&["a"])], "has no member `c`");
    check(
        &[image(&[]), config.clone()],
        "0 layers, but its config has 1",
    );
    check(&[image(&["a"]), file("c", "{}")], "`c` of docker-archive:");
    check(
        &[file("manifest.json", "{}")],
        "`manifest.json` of docker-archive:",
    );
    check(
        &[file("manifest.json", r#"[{"Config":1}]"#)],
        "invalid type",
    );
    let twice = r#"[{"Config":"a","Config":"b"}]"#;
    check(
        &[file("manifest.json", twice)],
        "occurs twice in one object",
    );
    let xz = file("a", b"\xfd7zXZ\0\0\0\0\0");
    check(&[image(&["a"]), config, xz], "is compressed with xz");
}

#[test]
fn a_layer_that_is_not_its_diff_id_does_not_verify() {
    let mut members = saved("c.json", &json!(["app:1"]), ["a", "b"]);
    members.extend([file("a", "one"), file("b", "owt")]);
    let archive = open(&members);
    let error = read_layers(&archive, "app:1").unwrap_err();
    assert!(error.is_corrupt(), "{error:?}");
    let text = chain(&error);
    assert!(text.contains(Digest::sha256(b"two").as_str()), "{text}");
}
