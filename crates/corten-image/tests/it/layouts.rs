//! Image layouts, with their files damaged.

use std::fs;
use std::path::Path;

use corten_content::layout::Layout;
use corten_content::{CopyOptions, Durability, Sink, copy};
use corten_image::{Finding, ValidateOptions, validate_layout};
use corten_spec::document;
use corten_testing::Image;
use serde_json::{Value, json};

use crate::archive::{file, tar};

/// Validates a layout of one image, called `v1`, after it was damaged.
pub(crate) fn damaged(damage: impl Fn(&Path, &Image)) -> Vec<Finding> {
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
    validate_layout(dir.path(), &ValidateOptions::default()).unwrap()
}

pub(crate) fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    // Blobs are read-only.
    fs::remove_file(path).ok();
    fs::File::create(path)
        .and_then(|mut file| std::io::Write::write_all(&mut file, bytes))
        .unwrap();
}

pub(crate) fn change_index(dir: &Path, change: impl FnOnce(&mut Value)) {
    let path = dir.join("index.json");
    let mut index: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut index);
    write(&path, &document::to_bytes(&index));
}

/// Gives the first entry of an index another name.
pub(crate) fn rename(index: &mut Value, name: &str) {
    index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"] = json!(name);
}

#[test]
fn what_is_wrong_with_a_layout() {
    #[track_caller]
    fn check(damage: impl Fn(&Path, &Image), expected: &[&str]) {
        let found = damaged(damage);
        let brief: Vec<String> = found
            .iter()
            .map(|it| format!("{} {}", it.level, it.requirement))
            .collect();
        assert_eq!(brief, expected, "{found:#?}");
    }
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
    // A blob that is a directory is no blob, and does not stop the others from being read.
    check(
        |dir, image| {
            fs::remove_file(dir.join(blob(image))).unwrap();
            fs::create_dir(dir.join(blob(image))).unwrap();
        },
        &["must LAY-13", "must LAY-11"],
    );
    // An unknown version is no reason not to look at the rest.
    check(
        |dir, image| {
            write(&dir.join("oci-layout"), br#"{"imageLayoutVersion":"9"}"#);
            fs::remove_file(dir.join(blob(image))).unwrap();
        },
        &["must LAY-05", "must LAY-13"],
    );
    check(
        |dir, _| {
            let index =
                br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json"}"#;
            write(&dir.join("index.json"), index);
        },
        &["must IDX-06", "note LAY-12", "note LAY-12", "note LAY-12"],
    );
    // What is not a layout's at all cannot be read as one.
    let missing = Path::new("/nonexistent/layout");
    assert!(validate_layout(missing, &ValidateOptions::default()).is_err());
}

#[test]
fn subjects_need_not_be_there_and_are_read_if_they_are() {
    let of_subject = |dir: &Path, subject: Value| {
        change_index(dir, |index| index["subject"] = subject);
    };
    let found = damaged(|dir, image| {
        let mut subject = image.manifest.bare();
        subject.digest = corten_spec::Digest::sha256(b"gone");
        of_subject(dir, json!(subject));
    });
    assert_eq!(found, []);
    // It was reached: nothing is said to be left over.
    let found = damaged(|dir, image| {
        change_index(dir, |index| {
            index["manifests"] = json!([]);
            index["subject"] = json!(image.manifest.bare());
        });
    });
    assert_eq!(found, []);
}
