//! Whatever content holds, it is judged: nothing panics, and nothing stops the walk.

use corten_content::Memory;
use corten_image::{Level, ValidateOptions, validate};
use corten_spec::{Descriptor, document, media_type};
use corten_testing::Image;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::archive::{directory, file, tar};

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z:/=~.]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[a-z~/]{0,4}", inner, 0..3).prop_map(Value::from_iter),
        ]
    })
}

/// Where something else is put into the documents of an image.
const CONFIG_PLACES: [&str; 12] = [
    "/created",
    "/os",
    "/rootfs",
    "/rootfs/type",
    "/rootfs/diff_ids",
    "/rootfs/diff_ids/0",
    "/history",
    "/config",
    "/config/Env",
    "/config/Labels",
    "/config/ExposedPorts",
    "/config/User",
];
const MANIFEST_PLACES: [&str; 8] = [
    "/schemaVersion",
    "/mediaType",
    "/config",
    "/config/size",
    "/layers",
    "/layers/0",
    "/layers/0/digest",
    "/annotations",
];

fn put(document: &mut Value, place: &str, value: Value) {
    let (parent, name) = place.rsplit_once('/').unwrap();
    match document.pointer_mut(parent) {
        Some(Value::Object(fields)) => drop(fields.insert(name.to_owned(), value)),
        Some(Value::Array(items)) => items[0] = value,
        _ => unreachable!("{place} is in every document"),
    }
}

fn image(
    config: impl FnOnce(&mut Value),
    manifest: impl FnOnce(&mut Value),
) -> (Memory, Descriptor) {
    let built = Image::builder()
        .layer(&tar(&[directory("etc"), file("etc/a", "1")]))
        .build();
    let mut value = serde_json::to_value(&built.config).unwrap();
    value["config"] = json!({});
    config(&mut value);
    let stored = built
        .content
        .add(media_type::OCI_CONFIG, &document::to_bytes(&value));
    let mut value = serde_json::to_value(&built.value).unwrap();
    value["config"] = serde_json::to_value(stored).unwrap();
    manifest(&mut value);
    let manifest = built
        .content
        .add(media_type::OCI_MANIFEST, &document::to_bytes(&value));
    (built.content, manifest)
}

proptest! {
    #[test]
    fn documents(place in 0..CONFIG_PLACES.len() + MANIFEST_PLACES.len(), value in any_json()) {
        let in_config = CONFIG_PLACES.get(place).copied();
        let in_manifest = place.checked_sub(CONFIG_PLACES.len()).map(|idx| MANIFEST_PLACES[idx]);
        let (content, manifest) = image(
            |config| in_config.into_iter().for_each(|place| put(config, place, value.clone())),
            |manifest| in_manifest.into_iter().for_each(|place| put(manifest, place, value.clone())),
        );
        let found = validate(&content, &manifest, &ValidateOptions::default()).unwrap();
        // What everything else refuses to load is never found to be valid.
        let platform = corten_spec::Platform::new("linux", "amd64");
        if corten_content::load_image(&content, &manifest, &platform).is_err() {
            let is_artifact = in_manifest == Some("/config");
            prop_assert!(is_artifact || found.iter().any(|found| found.level == Level::Must), "{found:?}");
        }
    }

    #[test]
    fn layers(bytes in prop::collection::vec(any::<u8>(), 0..2048)) {
        let built = Image::builder().layer(&bytes).build();
        validate(&built.content, &built.manifest, &ValidateOptions::default()).unwrap();
    }

    #[test]
    fn damaged_layers(position in 0_usize..2048, value in any::<u8>()) {
        let mut bytes = tar(&[directory("etc"), file("etc/a", "1")]);
        bytes[position] = value;
        let built = Image::builder().layer(&bytes).build();
        validate(&built.content, &built.manifest, &ValidateOptions::default()).unwrap();
    }
}
