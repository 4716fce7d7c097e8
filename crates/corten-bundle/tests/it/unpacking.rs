use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use corten_bundle::{ConfigOptions, UnpackOptions, unpack};
use corten_layer::directory::{Devices, Owners};
use corten_snapshot::Snapshots;
use corten_testing::harness::Test;

use crate::world::{PASSWD, World, directory, file, require_root, symlink, words};

pub(crate) const TESTS: &[Test] = &[
    ("files_and_config", || {
        files_and_config();
        Ok(())
    }),
    ("owners_are_set", owners_are_set),
    ("nothing_stays_after_a_failure", || {
        nothing_stays_after_a_failure();
        Ok(())
    }),
    ("a_place_that_is_taken_is_left_alone", || {
        a_place_that_is_taken();
        Ok(())
    }),
];

fn options() -> UnpackOptions {
    UnpackOptions {
        owners: Owners::Leave,
        devices: Devices::Skip,
        user: None,
        config: ConfigOptions::default(),
    }
}

fn files_and_config() {
    let world = World::new();
    let below = vec![
        directory("etc"),
        file("etc/old", b"1"),
        file("etc/passwd", PASSWD),
    ];
    let above = vec![
        file("etc/.wh.old", b""),
        file("new", b"2"),
        symlink("link", "/etc"),
    ];
    let image = world.image(&[below, above], |config| {
        config.config.cmd = Some(words("/bin/app --flag"));
        config.config.user = "app".into();
        config.config.env = words("A=1 B=2");
    });
    let bundle = world.path("bundle");
    let unpacked = unpack(&Snapshots::new(&world.store), &image, &bundle, &options()).unwrap();
    assert_eq!(unpacked.n_paths, 4);
    assert_eq!(unpacked.notes, []);
    let rootfs = bundle.join("rootfs");
    assert!(!rootfs.join("etc/old").exists());
    assert_eq!(fs::read(rootfs.join("new")).unwrap(), b"2");
    assert_eq!(
        fs::read_link(rootfs.join("link")).unwrap(),
        Path::new("/etc")
    );
    let config: serde_json::Value =
        serde_json::from_slice(&fs::read(bundle.join("config.json")).unwrap()).unwrap();
    assert_eq!(
        config["process"]["args"],
        serde_json::json!(["/bin/app", "--flag"])
    );
    assert_eq!(
        config["process"]["user"],
        serde_json::json!({"uid": 1000, "gid": 100})
    );
    assert_eq!(config["process"]["env"][3], "HOME=/home/app");
    assert_eq!(config["root"]["path"], "rootfs");
    assert_eq!(
        fs::metadata(&bundle).unwrap().permissions().mode() & 0o7777,
        0o700
    );
    assert_eq!(siblings(&bundle), ["bundle", "store"]);
}

fn owners_are_set() -> Result<(), String> {
    require_root()?;
    let world = World::new();
    let layer = vec![file("su", b"x").owned(1000, 44, 0o4755)];
    let image = world.image(&[layer], |config| config.config.cmd = Some(words("/su")));
    let options = UnpackOptions {
        owners: Owners::Set,
        user: Some("7:8".into()),
        ..options()
    };
    let bundle = world.path("bundle");
    unpack(&Snapshots::new(&world.store), &image, &bundle, &options).unwrap();
    let found = fs::metadata(bundle.join("rootfs/su")).unwrap();
    assert_eq!(
        (found.uid(), found.gid(), found.mode() & 0o7777),
        (1000, 44, 0o4755)
    );
    let config = fs::read_to_string(bundle.join("config.json")).unwrap();
    assert!(
        config.contains("\"uid\": 7") && config.contains("\"gid\": 8"),
        "{config}"
    );
    Ok(())
}

fn siblings(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path.parent().unwrap()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

/// Returns a message with all its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn nothing_stays_after_a_failure() {
    #[track_caller]
    fn check(user: &str, command: &str, os: &str, has_blob: bool, expected: &str) {
        let world = World::new();
        let image = world.image(&[vec![file("a", b"1")]], |config| {
            config.config.cmd = Some(words(command));
            config.config.user = user.into();
            config.os = os.into();
        });
        if !has_blob {
            let blob = &image.manifest.value.layers[0].digest;
            fs::remove_file(world.store.blob_path(blob)).unwrap();
        }
        let bundle = world.path("bundle");
        let error = unpack(&Snapshots::new(&world.store), &image, &bundle, &options()).unwrap_err();
        let text = chain(&error);
        assert!(text.contains(expected), "{text}");
        assert_eq!(siblings(&bundle), ["store"], "{text}");
    }
    check("nosuch", "/a", "linux", true, "has no user called `nosuch`");
    check("0", "", "linux", true, "names no command");
    check("0", "/a", "windows", true, "the image is for `windows`");
    check("0", "/a", "linux", false, "layer 1 of 1");
}

fn a_place_that_is_taken() {
    let world = World::new();
    let image = world.image(&[vec![file("a", b"1")]], |config| {
        config.config.cmd = Some(words("/a"));
    });
    let snapshots = Snapshots::new(&world.store);
    let bundle = world.path("bundle");
    fs::create_dir(&bundle).unwrap();
    fs::File::create(bundle.join("mine")).unwrap();
    let error = unpack(&snapshots, &image, &bundle, &options())
        .unwrap_err()
        .to_string();
    assert!(error.contains("is not an empty directory"), "{error}");
    assert!(bundle.join("mine").exists());
    fs::remove_file(bundle.join("mine")).unwrap();
    unpack(&snapshots, &image, &bundle, &options()).unwrap();
    assert!(bundle.join("rootfs/a").exists());
    let plain = world.path("plain");
    fs::File::create(&plain).unwrap();
    assert!(unpack(&snapshots, &image, &plain, &options()).is_err());
    assert!(unpack(&snapshots, &image, Path::new("/"), &options()).is_err());
}
