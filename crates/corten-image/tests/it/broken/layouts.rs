//! Image layouts on the disk.

use corten_image::{ValidateOptions, validate};
use corten_spec::{Descriptor, Digest, document};
use serde_json::json;

use super::{Case, also, case, layout};
use crate::layouts;

pub(super) fn cases() -> Vec<Case> {
    let header = |expected, text: &'static str| {
        layout(expected, move |dir, _| {
            layouts::write(&dir.join("oci-layout"), text.as_bytes());
        })
    };
    vec![
        also(
            &["LAY-13"],
            layout("must LAY-02 blobs", |dir, _| {
                std::fs::remove_dir_all(dir.join("blobs")).unwrap();
            }),
        ),
        layout("must LAY-03 oci-layout", |dir, _| {
            std::fs::remove_file(dir.join("oci-layout")).unwrap();
        }),
        header("must LAY-04 oci-layout", r#"["1.0.0"]"#),
        header("must LAY-04 oci-layout", "1.0.0"),
        header("must LAY-05 oci-layout#/imageLayoutVersion", "{}"),
        header(
            "must LAY-05 oci-layout#/imageLayoutVersion",
            r#"{"imageLayoutVersion":"2.0.0"}"#,
        ),
        layout("must LAY-07 index.json", |dir, _| {
            std::fs::remove_file(dir.join("index.json")).unwrap();
        }),
        layout("must LAY-08 index.json", |dir, image| {
            layouts::write(&dir.join("index.json"), &document::to_bytes(&image.value));
        }),
        layout("must LAY-10", |dir, _| {
            let bad = Digest::sha256(b"bad");
            layouts::write(&dir.join("blobs/sha256").join(bad.encoded()), b"worse");
        }),
        layout("must LAY-11 blobs/sha256/ABC", |dir, _| {
            layouts::write(&dir.join("blobs/sha256/ABC"), b"");
        }),
        layout("must LAY-11 blobs/X!/a", |dir, _| {
            layouts::write(&dir.join("blobs/X!/a"), b"");
        }),
        layout("must LAY-11 blobs/stray", |dir, _| {
            layouts::write(&dir.join("blobs/stray"), b"");
        }),
        layout("must DSC-16", |dir, image| {
            let name = image.value.layers[0].digest.encoded();
            layouts::write(&dir.join("blobs/sha256").join(name), &[7; 2048]);
        }),
        layout("note LAY-12", |dir, _| {
            let good = Digest::sha256(b"good");
            layouts::write(&dir.join("blobs/sha256").join(good.encoded()), b"good");
        }),
        layout("should LAY-17 index.json#/manifests/1", |dir, _| {
            layouts::change_index(dir, |index| {
                let mut entry = index["manifests"][0].clone();
                entry["digest"] = json!(Digest::sha256(b"gone"));
                index["manifests"].as_array_mut().unwrap().push(entry);
            });
        }),
        nested_too_deep(),
    ]
}

fn nested_too_deep() -> Case {
    let content = corten_content::Memory::new();
    let mut inner: Option<Descriptor> = None;
    for _ in 0..40 {
        let entries: Vec<Descriptor> = inner.into_iter().collect();
        inner = Some(corten_testing::image::index(&content, entries));
    }
    let findings = validate(&content, &inner.unwrap(), &ValidateOptions::default()).unwrap();
    case("must LAY-18", findings)
}
