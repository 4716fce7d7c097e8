use std::fs;

use corten_content::layout::Layout;
use corten_content::{CopyOptions, Durability, Sink, copy};
use corten_image::{Finding, ValidateOptions, validate_layout};
use corten_testing::Image;

use crate::archive::{file, tar};

fn brief(findings: &[Finding]) -> Vec<String> {
    findings
        .iter()
        .map(|finding| {
            format!(
                "{} {} {}",
                finding.level, finding.requirement, finding.message
            )
        })
        .collect()
}

#[track_caller]
fn check(damage: impl Fn(&std::path::Path, &Image), expected: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let image = Image::builder().layer(&tar(&[file("a", "1")])).build();
    {
        let layout = Layout::create(dir.path(), Durability::None).unwrap();
        copy(
            &image.content,
            &layout,
            &image.manifest,
            &CopyOptions::default(),
        )
        .unwrap();
        layout.tag("v1", &image.manifest).unwrap();
    }
    damage(dir.path(), &image);
    let found = validate_layout(dir.path(), &ValidateOptions::default()).unwrap();
    let found = brief(&found);
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found} {expected}");
    }
}

fn write(path: &std::path::Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    // Blobs are read-only.
    fs::remove_file(path).ok();
    fs::File::create(path)
        .and_then(|mut file| std::io::Write::write_all(&mut file, bytes))
        .unwrap();
}

#[test]
fn what_can_be_wrong_with_a_layout() {
    let blob = |image: &Image| format!("blobs/sha256/{}", image.value.layers[0].digest.encoded());
    check(|_, _| (), &[]);
    check(|dir, _| write(&dir.join("manifest.json"), b"[]"), &[]);
    check(
        |dir, image| fs::remove_file(dir.join(blob(image))).unwrap(),
        &["must LAY-13"],
    );
    check(
        |dir, image| write(&dir.join(blob(image)), &[7; 2048]),
        &["must DSC-16"],
    );
    check(
        |dir, _| {
            let good = corten_spec::Digest::sha256(b"good");
            write(&dir.join("blobs/sha256").join(good.encoded()), b"good");
            let bad = corten_spec::Digest::sha256(b"bad");
            write(&dir.join("blobs/sha256").join(bad.encoded()), b"worse");
        },
        &["must LAY-10", "note LAY-12", "note LAY-12"],
    );
    check(
        |dir, _| write(&dir.join("blobs/sha256/ABC"), b""),
        &["must LAY-11"],
    );
    check(
        |dir, _| write(&dir.join("blobs/stray"), b""),
        &["must LAY-11"],
    );
    check(
        |dir, _| fs::remove_file(dir.join("oci-layout")).unwrap(),
        &["must LAY-03"],
    );
    check(
        |dir, _| {
            let index =
                br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json"}"#;
            write(&dir.join("index.json"), index);
        },
        &["must IDX-06", "note LAY-12", "note LAY-12", "note LAY-12"],
    );
}
