//! Every JSON document that there is.

use std::fmt::Debug;

use corten_spec::manifest::detect_media_type;
use corten_spec::{
    Descriptor, Document, DocumentType, ImageConfig, Index, Layout, Manifest, Platform, document,
    json, media_type, platform,
};
use serde::Serialize;
use serde_json::Value;

/// Documents: bytes are kept, and what is written of a view is a view of the same.
pub(crate) fn documents(data: &[u8]) {
    for kind in [media_type::OCI_INDEX, media_type::DOCKER_INDEX] {
        if let Some(index) = check::<Index>(kind, data) {
            select(&index.manifests);
            index.manifests.iter().for_each(embedded);
        }
    }
    for kind in [media_type::OCI_MANIFEST, media_type::DOCKER_MANIFEST] {
        if let Some(manifest) = check::<Manifest>(kind, data) {
            manifest.layers.iter().for_each(embedded);
        }
    }
    for kind in [media_type::OCI_CONFIG, media_type::DOCKER_CONFIG] {
        check::<ImageConfig>(kind, data);
    }
    drop(json::parse::<Layout>(Layout::FILE, data));
    if let Ok(descriptor) = json::parse::<Descriptor>("descriptor", data) {
        embedded(&descriptor);
        let written = document::to_bytes(&descriptor);
        let again = json::parse::<Descriptor>("descriptor", &written).expect("it was written");
        assert_eq!(again, descriptor);
    }
    for claimed in [None, Some(media_type::OCI_INDEX), Some("text/plain")] {
        drop(detect_media_type(data, claimed));
    }
    // Whatever we take for JSON is that to another reader, too.
    if json::parse::<Value>("value", data).is_ok() {
        serde_json::from_slice::<Value>(data).expect("it is JSON");
    }
}

fn check<T: DocumentType + Serialize + PartialEq + Debug>(kind: &str, data: &[u8]) -> Option<T> {
    let document = Document::<T>::from_bytes(kind, data.to_vec()).ok()?;
    assert_eq!(document.bytes, data);
    let verified = Document::<T>::verify(document.descriptor.clone(), data.to_vec());
    assert_eq!(verified.expect("it is what it says").value, document.value);
    let written = document::to_bytes(&document.value);
    let again = Document::<T>::from_bytes(kind, written.clone()).expect("what is written is read");
    assert_eq!(again.value, document.value);
    assert_eq!(document::to_bytes(&again.value), written);
    Some(document.value)
}

/// Embedded content is verified before it is given away.
fn embedded(descriptor: &Descriptor) {
    if let Ok(Some(bytes)) = descriptor.embedded() {
        assert!(descriptor.verify(&bytes).is_ok());
    }
}

fn select(entries: &[Descriptor]) {
    for wanted in [
        "linux/amd64",
        "linux/arm/v7",
        "linux/arm64/v9.1",
        "windows/amd64",
    ] {
        let wanted: Platform = wanted.parse().expect("it is one");
        if let Some(chosen) = platform::select(entries, &wanted) {
            assert!(chosen.kind().has_children());
            if let Some(platform) = &chosen.platform {
                assert_eq!(platform.normalized().os, wanted.os);
            }
        }
    }
}
