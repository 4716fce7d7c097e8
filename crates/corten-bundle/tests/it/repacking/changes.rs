//! What is packed, and what is not.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown, symlink as link};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::Command;

use corten_bundle::RepackOptions;
use corten_content::load_image;
use corten_snapshot::Snapshots;
use corten_spec::{Platform, media_type};
use rustix::fs::{CWD, FileType, Mode, XattrFlags};

use super::{Bundle, as_root, base, listing, set_time, write};
use crate::world::{World, file, words};

tests![
    every_kind_of_change,
    nothing_changed,
    what_is_never_packed,
    a_change_in_the_same_tick,
    docker_images_stay_docker_images,
    equal_inodes_of_two_file_systems,
];

fn every_kind_of_change() {
    let bundle = Bundle::new(&[base()]);
    write(&bundle.path("etc/motd"), b"other");
    fs::remove_file(bundle.path("etc/gone")).unwrap();
    fs::remove_dir_all(bundle.path("old")).unwrap();
    fs::remove_file(bundle.path("turn")).unwrap();
    fs::create_dir(bundle.path("turn")).unwrap();
    write(&bundle.path("turn/in"), b"x");
    fs::hard_link(bundle.path("turn/in"), bundle.path("turn/too")).unwrap();
    link("../../..", bundle.path("up")).unwrap();
    let node = |name: &str, kind, device| {
        rustix::fs::mknodat(CWD, bundle.path(name), kind, Mode::RUSR, device).unwrap();
    };
    node("pipe", FileType::Fifo, 0);
    node("disk", FileType::BlockDevice, rustix::fs::makedev(8, 1));
    chown(bundle.path("usr/tool"), Some(5), Some(6)).unwrap();
    set_time(&bundle.path("etc"), -5, 7);
    let repacked = bundle.check(
        &RepackOptions::default(),
        &[
            "./ 755 0:0",
            ".wh.old 0 0:0",
            "disk 400 0:0",
            "etc/ 755 0:0",
            "etc/.wh.gone 0 0:0",
            "etc/motd 640 1000:100",
            "pipe 400 0:0",
            "turn/ 755 0:0",
            "turn/in 644 0:0",
            "turn/too = turn/in",
            "up -> ../../..",
            "usr/ 755 0:0",
            "usr/tool 755 5:6",
        ],
    );
    let image = bundle.load(&repacked.manifest);
    let again = bundle.unpack(&image, "again").unwrap();
    assert_eq!(listing(&again.join("rootfs")), listing(&bundle.path("")));
    let history = &image.config.value.history;
    assert_eq!(
        history.last().unwrap().created_by.as_deref(),
        Some("corten repack")
    );
    assert_eq!(image.config.value.rootfs.diff_ids.len(), 2);
    // Packed again, the same changes are the same image.
    let second = bundle.repack(&RepackOptions::default()).unwrap();
    assert_eq!(second.manifest.digest, repacked.manifest.digest);
}

fn nothing_changed() {
    let bundle = Bundle::new(&[base()]);
    // A file that was written anew with what was in it, and a time put back.
    write(&bundle.path("old/a"), b"1");
    set_time(&bundle.path("old/a"), 1_600_000_000, 0);
    let repacked = bundle.repack(&RepackOptions::default()).unwrap();
    assert_eq!((repacked.n_changes, &repacked.layer), (0, &None));
    assert_eq!(
        repacked.manifest.digest,
        bundle.image.manifest.descriptor.digest
    );
    // The same size and time are no proof (rule 89).
    write(&bundle.path("old/a"), b"2");
    set_time(&bundle.path("old/a"), 1_600_000_000, 0);
    bundle.check(
        &RepackOptions::default(),
        &["old/ 755 0:0", "old/a 644 0:0"],
    );
}

fn what_is_never_packed() {
    let bundle = Bundle::new(&[base()]);
    let _socket = UnixListener::bind(bundle.path("socket")).unwrap();
    set_time(&bundle.path(""), 0, 0);
    let set = |name: &str, value: &[u8]| {
        let path = bundle.path("etc/motd");
        rustix::fs::setxattr(&path, name, value, XattrFlags::empty()).unwrap();
    };
    set("trusted.overlay.opaque", b"y");
    set("user.kept", b"1");
    let repacked = bundle.check(
        &RepackOptions::default(),
        &["etc/ 755 0:0", "etc/motd 640 1000:100"],
    );
    assert_eq!(repacked.sockets[0].as_str(), "socket");
    let layer = repacked.layer.unwrap();
    let entries = Snapshots::new(&bundle.world.store).entries(&layer).unwrap();
    let xattrs = &entries[1].entry.xattrs;
    assert_eq!(xattrs.as_slice(), [(b"user.kept".to_vec(), b"1".to_vec())]);

    write(&bundle.path("etc/.wh.motd"), b"");
    let error = bundle.repack(&RepackOptions::default()).unwrap_err();
    assert!(
        error.contains("`etc/.wh.motd` cannot be put into a layer"),
        "{error}"
    );
}

/// Times of files come from a clock that ticks a few hundred times in a second.
fn a_change_in_the_same_tick() {
    for _ in 0..20 {
        let bundle = Bundle::new(&[vec![file("a", b"1")]]);
        write(&bundle.path("a"), b"2");
        set_time(&bundle.path("a"), 1_600_000_000, 0);
        bundle.check(&RepackOptions::default(), &["a 644 0:0"]);
    }
}

fn docker_images_stay_docker_images() {
    let world = World::new();
    let oci = world.image(&[base()], |config| {
        config.config.cmd = Some(words("/x"));
        config.config.healthcheck = Some(corten_spec::config::Healthcheck::default());
        config.extra.insert("docker_version".into(), "20.10".into());
    });
    let mut manifest = oci.manifest.value.clone();
    manifest.media_type = Some(media_type::DOCKER_MANIFEST.into());
    manifest.config.media_type = media_type::DOCKER_CONFIG.into();
    manifest.layers[0].media_type = media_type::DOCKER_LAYER_GZIP.into();
    let bytes = corten_spec::document::to_bytes(&manifest);
    let docker = crate::world::put(&world.store, media_type::DOCKER_MANIFEST, &bytes);
    let image = load_image(&world.store, &docker, &Platform::host()).unwrap();
    let bundle = Bundle::of(world, image, as_root());
    write(&bundle.path("new"), b"1");
    let repacked = bundle.repack(&RepackOptions::default()).unwrap();
    assert_eq!(repacked.manifest.media_type, media_type::DOCKER_MANIFEST);
    let image = bundle.load(&repacked.manifest);
    let layers = image.manifest.value.layers.iter();
    assert!(
        layers
            .clone()
            .all(|layer| layer.media_type == media_type::DOCKER_LAYER_GZIP)
    );
    assert_eq!(layers.count(), 2);
    assert_eq!(image.config.value.extra["docker_version"], "20.10");
    assert!(image.config.value.config.healthcheck.is_some());
    assert!(
        image.config.value.history.is_empty(),
        "half a history would be a wrong one"
    );
}

/// A file system in memory, until it is dropped.
struct Mounted(PathBuf);

impl Mounted {
    fn new(place: PathBuf) -> Self {
        fs::create_dir(&place).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "tmpfs"]).arg(&place);
        assert!(mount.status().unwrap().success());
        Self(place)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        Command::new("umount").arg(&self.0).status().ok();
    }
}

fn equal_inodes_of_two_file_systems() {
    let bundle = Bundle::new(&[base()]);
    let _mounted = ["one", "two"].map(|name| Mounted::new(bundle.path(name)));
    write(&bundle.path("one/x"), b"AAA");
    write(&bundle.path("two/y"), b"BBBBB");
    let inode = |name: &str| fs::metadata(bundle.path(name)).unwrap().ino();
    assert_eq!(inode("one/x"), inode("two/y"), "nothing is tested else");
    let repacked = bundle.repack(&RepackOptions::default()).unwrap();
    let image = bundle.load(&repacked.manifest);
    let again = bundle.unpack(&image, "again").unwrap();
    assert_eq!(fs::read(again.join("rootfs/two/y")).unwrap(), b"BBBBB");
}
