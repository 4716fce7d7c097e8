//! Fewer layers, the same files.

use std::io::Read;

use corten_content::{ImageDocuments, load, load_image};
use corten_image::squash::{for_each_platform, layers_of_base};
use corten_image::{Error, SquashOptions, ValidateOptions, export, squash, validate};
use corten_layer::bytes::TreeContents;
use corten_layer::{Contents, Kind, Meta, Tree};
use corten_snapshot::{Bytes, LayerRef, PackOptions, layers_of};
use corten_spec::{Descriptor, Index, Platform, document, media_type};
use corten_tar::Compression;
use proptest::prelude::*;

use crate::archive::{directory, file, tar};
use crate::world::{World, layers};

fn options(n_kept: usize) -> SquashOptions {
    SquashOptions {
        n_kept,
        created_by: "test".to_owned(),
        pack: PackOptions::default(),
    }
}

/// A path: attributes, what it is, with the content in the place of where that lies, and the first path
/// of its inode.
type Line = (Vec<u8>, Meta, String, Vec<u8>);

fn lines(world: &World, image: &ImageDocuments) -> Vec<Line> {
    let snapshots = world.snapshots();
    let layers = layers_of(image).unwrap();
    let tree = snapshots.tree(&layers).unwrap();
    let bytes = Bytes::new(snapshots, &layers);
    let contents = TreeContents {
        tree: &tree,
        bytes: &bytes,
    };
    let mut first = std::collections::HashMap::new();
    let root = std::iter::once((Vec::new(), Tree::ROOT));
    root.chain(tree.walk())
        .map(|(path, id)| {
            let node = tree.node(id);
            let mut meta = node.meta.clone();
            let kind = match &node.kind {
                Kind::File(file) => {
                    let mut content = String::new();
                    contents
                        .open(file)
                        .unwrap()
                        .read_to_string(&mut content)
                        .unwrap();
                    format!("file {content}")
                }
                Kind::Directory(_) => "directory".to_owned(),
                Kind::Symlink(target) => {
                    // Linux has no modes of symbolic links.
                    meta.mode = 0o777;
                    format!("link {}", target.escape_ascii())
                }
                other => format!("{other:?}"),
            };
            let first = first.entry(id).or_insert_with(|| path.clone()).clone();
            (path, meta, kind, first)
        })
        .collect()
}

fn squashed(world: &World, image: &ImageDocuments, n_kept: usize) -> (Descriptor, ImageDocuments) {
    let made = squash(&world.store, image, &options(n_kept)).unwrap();
    let image = load_image(&world.store, &made, &Platform::new("linux", "amd64")).unwrap();
    (made, image)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 100,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Applied to the layers that stay, the one layer gives what all of them gave; and it is the same
    /// layer when it is made of its own result.
    #[test]
    fn squashing_changes_no_file(tars in layers(), n_kept in 0..5_usize) {
        let world = World::new();
        let layers: Vec<LayerRef> =
            tars.iter().map(|tar| world.layer(tar, Compression::None)).collect();
        let image = world.image(&layers, |_| {});
        let n_kept = n_kept.min(layers.len());
        let (_, made) = squashed(&world, &image, n_kept);
        prop_assert_eq!(made.manifest.value.layers.len(), n_kept + 1);
        prop_assert_eq!(&made.config.value.rootfs.diff_ids[..n_kept], &image.config.value.rootfs.diff_ids[..n_kept]);
        prop_assert_eq!(lines(&world, &image), lines(&world, &made));
        let (_, again) = squashed(&world, &made, n_kept);
        prop_assert_eq!(&again.config.value.rootfs.diff_ids, &made.config.value.rootfs.diff_ids);

        let export_of = |image: &ImageDocuments| {
            let mut tar = Vec::new();
            export(&world.snapshots(), &layers_of(image).unwrap(), None, &mut tar).unwrap();
            tar
        };
        prop_assert!(export_of(&image) == export_of(&made), "exported");
    }
}

fn image(world: &World) -> ImageDocuments {
    let layers = [
        vec![directory("etc"), file("etc/a", "one"), file("etc/b", "two")],
        vec![file("etc/.wh.a", ""), file("c", "large and gone")],
        vec![file(".wh.c", ""), file("etc/b", "two")],
    ];
    let layers: Vec<LayerRef> = layers
        .iter()
        .map(|items| world.layer(&tar(items), Compression::Gzip))
        .collect();
    world.image(&layers, |config| {
        config.config.env.push("A=1".to_owned());
        config.extra.insert("unknown".to_owned(), true.into());
    })
}

#[test]
fn only_what_changed_is_in_the_layer() {
    let world = World::new();
    let image = image(&world);
    let (made, squashed) = squashed(&world, &image, 1);
    let layers = layers_of(&squashed).unwrap();
    let entries = world.snapshots().entries(&layers[1]).unwrap();
    let paths: Vec<_> = entries
        .iter()
        .map(|located| located.entry.path.escape_ascii().to_string())
        .collect();
    // `etc/b` was written again as it was.
    assert_eq!(paths, ["etc/", "etc/.wh.a"]);
    assert_eq!(squashed.config.value.config.env, ["A=1"]);
    assert_eq!(squashed.config.value.extra["unknown"], true);
    assert_eq!(
        validate(&world.store, &made, &ValidateOptions::default()).unwrap(),
        []
    );
    let again = squash(&world.store, &image, &options(1)).unwrap();
    assert_eq!(made, again);
}

#[test]
fn what_cannot_be_squashed() {
    let world = World::new();
    let image = image(&world);
    assert!(matches!(
        squash(&world.store, &image, &options(4)),
        Err(Error::TooFewLayers {
            n_layers: 3,
            n_kept: 4
        })
    ));
    let (_, below) = squashed(&world, &image, 1);
    assert!(matches!(
        layers_of_base(&image, &below),
        Err(Error::NotItsBase {
            n_base: 2,
            n_common: 1
        })
    ));
    assert_eq!(layers_of_base(&image, &image).unwrap(), 3);
}

#[test]
fn every_platform_of_an_index() {
    let world = World::new();
    let image = image(&world);
    let arm = world.image(&layers_of(&image).unwrap(), |config| {
        config.architecture = "arm64".to_owned();
    });
    let entry = |image: &ImageDocuments, platform: Platform| Descriptor {
        platform: Some(platform),
        ..image.manifest.descriptor.bare()
    };
    let index = Index::oci(vec![
        entry(&image, Platform::new("linux", "amd64")),
        entry(&image, Platform::new("unknown", "unknown")),
        entry(&arm, Platform::new("linux", "arm64")),
    ]);
    let index = world.put(media_type::OCI_INDEX, &document::to_bytes(&index));
    let mut left_out = 0;
    let made = for_each_platform::<Error>(
        &world.store,
        &index,
        &mut |image| squash(&world.store, image, &options(0)),
        &mut |_| left_out += 1,
    )
    .unwrap();
    assert_eq!(left_out, 1);
    let index = load::<Index>(&world.store, &made).unwrap();
    let platforms: Vec<String> = index
        .value
        .manifests
        .iter()
        .map(|entry| entry.platform.as_ref().unwrap().to_string())
        .collect();
    assert_eq!(platforms, ["linux/amd64", "linux/arm64"]);
    for (entry, expected) in index.value.manifests.iter().zip(["amd64", "arm64"]) {
        let image = load_image(&world.store, entry, &Platform::host()).unwrap();
        assert_eq!(image.config.value.architecture, expected);
        assert_eq!(image.manifest.value.layers.len(), 1);
    }
}

/// Thirty entries for the same index, three levels deep, are 27,000 ways to one image.
#[test]
fn what_an_index_lists_again_is_changed_once() {
    let world = World::new();
    let image = image(&world);
    let mut content = Descriptor {
        platform: Some(Platform::new("linux", "amd64")),
        ..image.manifest.descriptor.bare()
    };
    for _ in 0..3 {
        let index = document::to_bytes(&Index::oci(vec![content.clone(); 30]));
        content = world.put(media_type::OCI_INDEX, &index);
    }
    let (mut n_changed, mut n_left_out) = (0, 0);
    let made = for_each_platform::<Error>(
        &world.store,
        &content,
        &mut |image| {
            n_changed += 1;
            Ok(image.manifest.descriptor.bare())
        },
        &mut |_| n_left_out += 1,
    )
    .unwrap();
    assert_eq!((n_changed, n_left_out), (1, 0));
    let index = load::<Index>(&world.store, &made).unwrap();
    assert_eq!(index.value.manifests.len(), 30);
}

/// Size, time and every other attribute may be the same while the bytes are not.
#[test]
fn files_that_differ_in_their_bytes_alone_are_written() {
    let world = World::new();
    let layers = [vec![file("a", "one")], vec![file("a", "two")]];
    let layers: Vec<LayerRef> = layers
        .iter()
        .map(|items| world.layer(&tar(items), Compression::Gzip))
        .collect();
    let image = world.image(&layers, |_| {});
    let (_, made) = squashed(&world, &image, 1);
    assert_eq!(lines(&world, &image), lines(&world, &made));
}
