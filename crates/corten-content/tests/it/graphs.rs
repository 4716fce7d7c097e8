//! Finding manifests and configs in what names them.

use corten_content::{Error, Memory, children, load_image, resolve_manifest, walk};
use corten_spec::{Descriptor, Digest, Manifest, Platform, document, media_type};
use corten_testing::Image;
use corten_testing::image::index;

fn platform(text: &str) -> Platform {
    text.parse().unwrap()
}

fn image_for(content: &Memory, on: &str) -> Descriptor {
    let on = platform(on);
    Image::builder()
        .layer(on.to_string().as_bytes())
        .platform(&on)
        .build_in(content)
}

#[test]
fn platforms_are_found_through_nested_and_sparse_indexes() {
    let content = Memory::new();
    let amd64 = image_for(&content, "linux/amd64");
    let arm64 = image_for(&content, "linux/arm64");
    let armv7 = image_for(&content, "linux/arm/v7");
    let inner = index(&content, vec![arm64.clone(), armv7.clone()]);
    let absent = Descriptor::of(media_type::OCI_INDEX, b"absent");
    let middle = index(&content, vec![inner]);
    let root = index(&content, vec![absent, amd64.clone(), middle]);

    let check = |on: &str, expected: &Descriptor| {
        let found = resolve_manifest(&content, &root, &platform(on)).unwrap();
        assert_eq!(found.descriptor.digest, expected.digest, "{on}");
    };
    check("linux/amd64", &amd64);
    check("linux/arm64", &arm64);
    check("linux/arm/v8", &armv7);
    // A manifest is taken as it is.
    let found = resolve_manifest(&content, &amd64, &platform("linux/arm64")).unwrap();
    assert_eq!(found.descriptor, amd64);

    // What is asked for may be in the part that is not here.
    let error = resolve_manifest(&content, &root, &platform("linux/s390x")).unwrap_err();
    assert!(error.is_not_found(), "{error:?}");
    let whole = index(&content, vec![amd64, arm64]);
    let error = resolve_manifest(&content, &whole, &platform("linux/s390x")).unwrap_err();
    let expected = format!(
        "no image for linux/s390x in `{}`; there is: linux/amd64, linux/arm64",
        whole.digest
    );
    assert_eq!(error.to_string(), expected);
}

#[test]
fn images_and_what_is_none() {
    #[track_caller]
    fn check(content: &Memory, manifest: &Manifest, expected: &str) {
        let root = content.add(media_type::OCI_MANIFEST, &document::to_bytes(manifest));
        let error = load_image(content, &root, &platform("linux/amd64")).unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(matches!(error, Error::Invalid { .. }), "{error:?}");
        assert!(cause.contains(expected), "{cause}");
    }

    let image = Image::builder().layer(b"one").build();
    let host = platform("linux/amd64");
    let found = load_image(&image.content, &image.manifest, &host).unwrap();
    assert_eq!(
        (&found.manifest.value, &found.config.value),
        (&image.value, &image.config)
    );

    let mut artifact = image.value.clone();
    artifact.config = image.content.add("application/vnd.acme.config+json", b"{}");
    let expected = "no image but an artifact, `application/vnd.acme.config+json`";
    check(&image.content, &artifact, expected);
    artifact.artifact_type = Some("application/vnd.acme".into());
    check(
        &image.content,
        &artifact,
        "an artifact, `application/vnd.acme`",
    );
    let mut short = image.value.clone();
    short.layers.clear();
    check(
        &image.content,
        &short,
        "0 layers, but its config has 1 DiffIDs",
    );
}

#[test]
fn a_walk_sees_everything_once_parents_first() {
    let image = Image::builder().layer(b"one").layer(b"one").build();
    let root = index(&image.content, vec![image.manifest.clone()]);
    let mut seen = Vec::new();
    walk(&image.content, &root, &mut |content| {
        seen.push(content.digest.clone());
        Ok(())
    })
    .unwrap();
    let expected = [
        &root,
        &image.manifest,
        &image.value.config,
        &image.value.layers[0],
    ];
    assert_eq!(seen, expected.map(|content| content.digest.clone()));
    let layer = &image.value.layers[0];
    assert_eq!(children(&image.content, layer).unwrap(), []);
}

#[test]
fn damaged_documents_are_not_followed() {
    let image = Image::builder().layer(b"one").build();
    let other = document::to_bytes(&Manifest::oci(image.value.config.clone(), vec![]));
    image.content.add_unchecked(&image.manifest.digest, &other);
    let error = children(&image.content, &image.manifest).unwrap_err();
    assert!(error.is_corrupt(), "{error:?}");
    assert_ne!(Digest::sha256(&other), image.manifest.digest);
}
