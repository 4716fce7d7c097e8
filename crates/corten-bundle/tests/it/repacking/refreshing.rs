//! Bundles that become bundles of the image that they were packed into.

use std::fs;

use corten_bundle::config::ConfigOptions;
use corten_bundle::{Origin, Refresh, RepackOptions};
use corten_layer::directory::Owners;
use corten_tar::Timestamp;

use super::{Bundle, base, options, set_time, with_volume, write};
use crate::world::{directory, file, words};

tests![
    refreshed_bundles,
    refreshed_bundles_know_what_is_masked,
    refreshed_bundles_know_mount_points,
];

fn refresh() -> RepackOptions {
    RepackOptions {
        refresh: Refresh::Yes,
        ..RepackOptions::default()
    }
}

fn refreshed_bundles() {
    let mut bundle = with_volume();
    let refresh = RepackOptions {
        refresh: Refresh::Yes,
        created: Some(Timestamp::from_seconds(1_000_000_000)),
        ..RepackOptions::default()
    };
    write(&bundle.path("one"), b"1");
    write(&bundle.path("data/left"), b"1");
    let expected = &["./ 755 0:0", "one 644 0:0"];
    // Whose image got no name stays a bundle of the old one.
    drop(bundle.check(&refresh, expected));
    assert_eq!(bundle.names(), ["config.json", "corten-record", "rootfs"]);
    let first = bundle.check(&refresh, expected);
    first.refreshed.unwrap().commit().unwrap();
    assert_eq!(
        Origin::of(&bundle.dir()).unwrap().image.digest,
        first.manifest.digest
    );
    let error = bundle.repack(&refresh).unwrap_err();
    assert!(
        error.contains("the bundle was made from another image"),
        "{error}"
    );

    bundle.image = bundle.load(&first.manifest);
    let second = bundle.repack(&refresh).unwrap();
    assert_eq!(second.n_changes, 0, "clamped times are no change");
    second.refreshed.unwrap().commit().unwrap();
    write(&bundle.path("two"), b"2");
    bundle.check(&refresh, &["./ 755 0:0", "two 644 0:0"]);
    assert_eq!(bundle.names(), ["config.json", "corten-record", "rootfs"]);
}

fn refreshed_bundles_know_what_is_masked() {
    let layer = vec![
        directory("data"),
        file("data/in", b"1").owned(5, 6, 0o640),
        file("etc", b"1"),
    ];
    let how = options(ConfigOptions::rootless(0, 0), Owners::Leave);
    let mut bundle = Bundle::with(&[layer], how);
    write(&bundle.path("etc"), b"22");
    let masked = RepackOptions {
        masks: words("/data"),
        ..refresh()
    };
    let first = bundle.check(&masked, &["etc 644 0:0"]);
    first.refreshed.unwrap().commit().unwrap();
    bundle.image = bundle.load(&first.manifest);
    write(&bundle.path("data/in"), b"22");
    bundle.check(
        &RepackOptions::default(),
        &["data/ 755 0:0", "data/in 640 5:6"],
    );
}

fn refreshed_bundles_know_mount_points() {
    let mut bundle = Bundle::new(&[base()]);
    write(&bundle.path("etc/motd"), b"other");
    fs::create_dir(bundle.path("proc")).unwrap();
    let expected = &["etc/ 755 0:0", "etc/motd 640 1000:100"];
    let first = bundle.check(&refresh(), expected);
    first.refreshed.unwrap().commit().unwrap();
    bundle.image = bundle.load(&first.manifest);
    let unchanged = bundle.repack(&RepackOptions::default()).unwrap();
    assert_eq!(unchanged.n_changes, 0);
    set_time(&bundle.path(""), 7, 0);
    bundle.check(&RepackOptions::default(), &["./ 755 0:0"]);
}
