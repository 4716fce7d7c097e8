//! Taking things out of registries that let us, and of those that do not.

use corten_content::Source;
use corten_registry::Untagged;
use corten_spec::{Descriptor, media_type};
use corten_testing::Registry;

use crate::pull::INDEX;
use crate::{chain, repository_with, settings};

fn registry(tag_deletes: bool, deletes: bool) -> Registry {
    let registry = Registry::start();
    registry.change(|options| (options.tag_deletes, options.deletes) = (tag_deletes, deletes));
    for tag in ["1", "1.2", "latest"] {
        registry.put_manifest("acme/app", tag, media_type::OCI_INDEX, INDEX);
    }
    registry
}

#[test]
fn a_tag_goes_alone_or_not_at_all() {
    #[track_caller]
    fn check(tag_deletes: bool, deletes: bool, expected: Option<Untagged>) {
        let registry = registry(tag_deletes, deletes);
        let repository = repository_with(settings(), registry.host(), "acme/app");
        assert_eq!(repository.delete_tag("1.2").unwrap(), expected);
        let has = |tag: &str| {
            registry
                .manifest("acme/app", tag)
                .is_some_and(|found| found == INDEX)
        };
        assert_eq!(has("1.2"), expected.is_none());
        assert!(has("1") && has("latest"));
        let content = Descriptor::of(media_type::OCI_INDEX, INDEX);
        assert!(repository.holds(&content).unwrap());
        let error = repository.delete_tag("none").unwrap_err();
        assert!(error.is_not_found(), "{}", chain(&error));
    }
    check(true, true, Some(Untagged::Directly));
    check(false, true, Some(Untagged::ByPlaceholder));
    check(false, false, None);
}

#[test]
fn tags_on_a_manifest() {
    let registry = registry(true, true);
    let other = br#"{"schemaVersion":2,"manifests":[],"annotations":{"a":"b"}}"#;
    registry.put_manifest("acme/app", "other", media_type::OCI_INDEX, other);
    let repository = repository_with(settings(), registry.host(), "acme/app");
    let check = |bytes: &[u8], jobs: usize, expected: &[&str]| {
        let digest = corten_spec::Digest::sha256(bytes);
        assert_eq!(repository.tags_on(&digest, jobs).unwrap(), expected);
    };
    check(INDEX, 1, &["1", "1.2", "latest"]);
    check(INDEX, 8, &["1", "1.2", "latest"]);
    check(other, 0, &["other"]);
    check(b"none", 3, &[]);
}

#[test]
fn a_manifest_goes_with_its_tags_and_a_blob_alone() {
    let registry = registry(true, true);
    let blob = registry.put_blob("acme/app", b"x");
    let repository = repository_with(settings(), registry.host(), "acme/app");
    let content = Descriptor::of(media_type::OCI_INDEX, INDEX);
    repository.delete_manifest(&content.digest).unwrap();
    assert_eq!(registry.manifest("acme/app", "latest"), None);
    assert!(
        repository
            .delete_manifest(&content.digest)
            .unwrap_err()
            .is_not_found()
    );
    repository.delete_blob(&blob).unwrap();
    assert_eq!(registry.blob("acme/app", &blob), None);
    assert!(repository.delete_blob(&blob).unwrap_err().is_not_found());
}

#[test]
fn a_registry_that_deletes_nothing_says_so() {
    let registry = registry(false, false);
    let repository = repository_with(settings(), registry.host(), "acme/app");
    let content = Descriptor::of(media_type::OCI_INDEX, INDEX);
    let error = repository.delete_manifest(&content.digest).unwrap_err();
    let expected = "refused: 405 UNSUPPORTED, \"that cannot be deleted here\"";
    assert!(chain(&error).contains(expected), "{}", chain(&error));
}
