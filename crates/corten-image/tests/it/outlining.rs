//! The graph of an image as a tree.

use corten_content::Memory;
use corten_image::outline::{Node, Role, State, outline};
use corten_image::{OnDisk, on_disk};
use corten_spec::media_type::{OCI_EMPTY, OCI_MANIFEST};
use corten_spec::{ChainId, Descriptor, Digest, ImageId, Manifest, Platform, document};
use corten_testing::{Image, image};

/// Returns the tree as `role state` lines, indented.
fn brief(node: &Node, depth: usize, lines: &mut Vec<String>) {
    let role = match &node.role {
        Role::Index => "index".to_owned(),
        Role::Manifest => "manifest".to_owned(),
        Role::Referrer => format!("referrer {}", node.artifact_type.as_deref().unwrap_or("-")),
        Role::Config { image_id } => format!("config {}", image_id.is_some()),
        Role::Layer { number, ids } => format!("layer {number} {}", ids.is_some()),
        Role::Blob => "blob".to_owned(),
    };
    let state = match &node.state {
        State::Known => "",
        State::Repeated => " repeated",
        State::Absent => " absent",
        State::Unreadable { .. } => " unreadable",
    };
    lines.push(format!("{}{role}{state}", " ".repeat(depth)));
    for child in &node.children {
        brief(child, depth + 1, lines);
    }
}

#[track_caller]
fn expect(content: &Memory, root: &Descriptor, expected: &[&str]) -> Node {
    let node = outline(content, root);
    let mut lines = Vec::new();
    brief(&node, 0, &mut lines);
    assert_eq!(lines, expected, "{node:#?}");
    node
}

#[test]
fn an_image_with_all_that_can_be_in_it() {
    let content = Memory::new();
    let first = Image::builder().layer(b"a").layer(b"b").build_in(&content);
    let lacking = Image::builder().layer(b"c").build_in(&content);
    let broken = content.add(OCI_MANIFEST, b"{}");
    let absent = Descriptor::of(OCI_MANIFEST, b"not here");
    let odd = content.add("application/xml", b"<a/>");
    let config: Manifest =
        serde_json::from_slice(&corten_content::read(&content, &lacking, 1 << 20).unwrap())
            .unwrap();
    content.remove(&config.config.digest);

    let empty = content.add(OCI_EMPTY, b"{}");
    let mut signature = Manifest::oci(empty.clone(), vec![empty]);
    signature.artifact_type = Some("x/signature".into());
    signature.subject = Some(first.bare());
    content.add(OCI_MANIFEST, &document::to_bytes(&signature));

    let nested = image::index(&content, vec![first.clone(), lacking]);
    let root = image::index(&content, vec![nested, first, broken, absent, odd]);
    expect(
        &content,
        &root,
        &[
            "index",
            " index",
            "  manifest",
            "   config true",
            "   layer 1 true",
            "   layer 2 true",
            "   referrer x/signature",
            "    blob",
            "    blob",
            "  manifest",
            "   config false absent",
            "   layer 1 false",
            " manifest repeated",
            " manifest unreadable",
            " manifest absent",
            " blob",
        ],
    );
}

#[test]
fn blobs_that_are_not_there_are_told() {
    let content = Memory::new();
    let root = Image::builder().layer(b"a").layer(b"b").build_in(&content);
    let bytes = corten_content::read(&content, &root, 1 << 20).unwrap();
    let manifest: Manifest = serde_json::from_slice(&bytes).unwrap();
    content.remove(&manifest.layers[1].digest);
    let expected = [
        "manifest",
        " config true",
        " layer 1 true",
        " layer 2 true absent",
    ];
    expect(&content, &root, &expected);

    // An artifact, one of whose blobs is in its descriptor and nowhere else.
    let mut embedded = Descriptor::of(OCI_EMPTY, b"{}");
    embedded.data = Some("e30=".to_owned());
    let gone = Descriptor::of("x/y", b"gone");
    let artifact = Manifest::oci(embedded, vec![gone.clone(), gone]);
    let root = content.add(OCI_MANIFEST, &document::to_bytes(&artifact));
    expect(
        &content,
        &root,
        &["manifest", " blob", " blob absent", " blob absent"],
    );
}

#[test]
fn ids_and_where_others_keep_them() {
    let image = Image::builder()
        .layer(b"a")
        .layer(b"b")
        .platform(&Platform::new("linux", "arm64"))
        .build();
    let node = outline(&image.content, &image.manifest);
    let [config, base, top] = node.children.as_slice() else {
        panic!("{node:#?}");
    };
    let diff_ids = &image.config.rootfs.diff_ids;
    let chain = ChainId::of(diff_ids).unwrap();
    let expected = Role::Layer {
        number: 2,
        ids: Some((diff_ids[1].clone(), chain.clone())),
    };
    assert_eq!(top.role, expected);
    let id = &image.value.config.digest;
    let expected = Role::Config {
        image_id: Some(ImageId(id.clone())),
    };
    assert_eq!(config.role, expected);
    assert_eq!(
        config.content.platform,
        Some(Platform::new("linux", "arm64"))
    );

    let blob = |digest: &Digest| {
        format!(
            "/var/lib/containerd/io.containerd.content.v1.content/blobs/sha256/{}",
            digest.encoded()
        )
    };
    let store = "/var/lib/docker/image/overlay2";
    let layer = format!("{store}/layerdb/sha256/{}", chain.0.encoded());
    assert_eq!(
        on_disk(top),
        OnDisk {
            docker: Some(layer.clone()),
            docker_cache_id: Some(format!("{layer}/cache-id")),
            containerd: blob(&top.content.digest),
            containerd_snapshot: Some(chain.to_string()),
        }
    );
    // The ChainID of a single layer is its DiffID.
    assert_eq!(
        on_disk(base).containerd_snapshot,
        Some(diff_ids[0].to_string())
    );
    let imagedb = format!("{store}/imagedb/content/sha256/{}", id.encoded());
    assert_eq!(on_disk(config).docker, Some(imagedb));
    assert_eq!(on_disk(&node).docker, None);
    assert_eq!(on_disk(&node).containerd, blob(&image.manifest.digest));
}
