//! What is left out: masks, volumes, mount points.

use std::fs;

use corten_bundle::{RepackOptions, VolumeMasks};
use corten_tar::EntryKind;

use super::{Bundle, as_root, set_mode, set_time, with_volume, write};
use crate::world::{World, directory, file, words};

tests![
    masks_and_volumes,
    links_across_masks,
    running_makes_no_layer,
];

fn masks_and_volumes() {
    let bundle = with_volume();
    for directory in ["dev", "data", "cache"] {
        fs::remove_file(bundle.path(directory).join("kept")).unwrap();
        write(&bundle.path(directory).join("new"), b"2");
        set_time(&bundle.path(directory), 7, 0);
    }
    let cache = |volumes| RepackOptions {
        masks: words("/cache"),
        volumes,
        ..RepackOptions::default()
    };
    let unchanged = bundle.repack(&cache(VolumeMasks::Mask)).unwrap();
    assert_eq!(unchanged.n_changes, 0);
    bundle.check(
        &cache(VolumeMasks::Leave),
        &["data/ 755 0:0", "data/.wh.kept 0 0:0", "data/new 644 0:0"],
    );
    // What is masked goes with the directory that it is in.
    let deep = RepackOptions {
        masks: words("/cache/kept"),
        ..RepackOptions::default()
    };
    fs::remove_dir_all(bundle.path("cache")).unwrap();
    bundle.check(&deep, &["./ 755 0:0", ".wh.cache 0 0:0"]);
}

/// A file with a name in a volume stays one file with it, until it is another.
fn links_across_masks() {
    let world = World::new();
    let mut twin = file("twin", b"");
    twin.0.kind = EntryKind::HardLink;
    twin.0.link = "data/in".into();
    let layer = vec![directory("data"), file("data/in", b"1"), twin];
    let image = world.image(&[layer], |config| {
        config.config.cmd = Some(words("/a"));
        config.config.volumes.0 = ["/data".to_owned()].into();
    });
    let bundle = Bundle::of(world, image, as_root());
    set_mode(&bundle.path("twin"), 0o600);
    set_mode(&bundle.path("twin"), 0o644);
    let unchanged = bundle.repack(&RepackOptions::default()).unwrap();
    assert_eq!(unchanged.n_changes, 0);
    write(&bundle.path("twin"), b"2");
    set_time(&bundle.path("twin"), 1_600_000_000, 0);
    let repacked = bundle.check(&RepackOptions::default(), &["twin 644 0:0"]);
    let image = bundle.load(&repacked.manifest);
    let rootfs = bundle.unpack(&image, "again").unwrap().join("rootfs");
    assert_eq!(fs::read(rootfs.join("twin")).unwrap(), b"2");
    assert_eq!(fs::read(rootfs.join("data/in")).unwrap(), b"1");
}

/// Runtimes make mount points for what every container has (rule 97).
fn running_makes_no_layer() {
    let world = World::new();
    let image = world.image(&[vec![file("a", b"1")]], |config| {
        config.config.cmd = Some(words("/a"));
        config.config.volumes.0 = ["/data".to_owned()].into();
    });
    let bundle = Bundle::of(world, image, as_root());
    for directory in ["proc", "sys", "dev", "data"] {
        fs::create_dir(bundle.path(directory)).unwrap();
    }
    assert_eq!(
        bundle.repack(&RepackOptions::default()).unwrap().n_changes,
        0
    );
    write(&bundle.path("b"), b"1");
    bundle.check(&RepackOptions::default(), &["./ 755 0:0", "b 644 0:0"]);
}
