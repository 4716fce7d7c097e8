//! Bundles that are changed on the disk and packed again.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink as link};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use corten_bundle::config::ConfigOptions;
use corten_bundle::ids::IdMaps;
use corten_bundle::{
    Origin, Refresh, RepackOptions, Repacked, UnpackOptions, VolumeMasks, repack, unpack,
};
use corten_content::{ImageDocuments, load_image};
use corten_layer::beneath::Root;
use corten_layer::directory::{Devices, Owners};
use corten_layer::scan::{Descend, Xattrs, inspect_root, scan};
use corten_snapshot::Snapshots;
use corten_spec::{Descriptor, Platform, media_type};
use corten_tar::{EntryKind, Timestamp};
use corten_testing::harness::Test;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};

use crate::unpacking::chain;
use crate::world::{Item, World, directory, file, require_root, symlink, words};

macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        pub(crate) const TESTS: &[Test] = &[$((stringify!($name), || {
            require_root()?;
            $name();
            Ok(())
        })),*];
    };
}

tests![
    every_kind_of_change,
    nothing_changed,
    what_is_never_packed,
    masks_and_volumes,
    links_across_masks,
    running_makes_no_layer,
    rootless_bundles_keep_owners,
    rootless_bundles_keep_what_has_other_names,
    mapped_bundles,
    mapped_access_control_lists,
    ids_outside_the_map,
    refreshed_bundles,
    refreshed_bundles_know_what_is_masked,
    refreshed_bundles_know_mount_points,
    a_change_in_the_same_tick,
    docker_images_stay_docker_images,
    other_bundles_are_refused,
    hostile_records,
    hostile_roots,
    equal_inodes_of_two_file_systems,
    random_edits,
];

fn options(config: ConfigOptions, owners: Owners) -> UnpackOptions {
    UnpackOptions {
        owners,
        devices: Devices::Make,
        user: None,
        config,
    }
}

fn as_root() -> UnpackOptions {
    options(ConfigOptions::default(), Owners::Set)
}

/// A bundle of an image in a world of its own.
struct Bundle {
    world: World,
    image: ImageDocuments,
    how: UnpackOptions,
}

impl Bundle {
    fn new(layers: &[Vec<Item>]) -> Self {
        Self::with(layers, as_root())
    }

    fn with(layers: &[Vec<Item>], how: UnpackOptions) -> Self {
        let world = World::new();
        let image = world.image(layers, |config| {
            config.config.cmd = Some(words("/x"));
            config.history = vec![corten_spec::History::default(); layers.len()];
        });
        Self::of(world, image, how)
    }

    fn of(world: World, image: ImageDocuments, how: UnpackOptions) -> Self {
        let bundle = Self { world, image, how };
        bundle.unpack(&bundle.image, "bundle").unwrap();
        bundle
    }

    fn unpack(&self, image: &ImageDocuments, name: &str) -> Result<PathBuf, String> {
        let place = self.world.path(name);
        unpack(&Snapshots::new(&self.world.store), image, &place, &self.how)
            .map_err(|error| chain(&error))?;
        Ok(place)
    }

    fn dir(&self) -> PathBuf {
        self.world.path("bundle")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.world.path("bundle/rootfs").join(name)
    }

    fn repack(&self, options: &RepackOptions) -> Result<Repacked, String> {
        repack(
            &Snapshots::new(&self.world.store),
            &self.image,
            &self.dir(),
            options,
        )
        .map_err(|error| chain(&error))
    }

    fn names(&self) -> Vec<String> {
        let names = fs::read_dir(self.dir()).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort_unstable();
        names
    }

    fn load(&self, manifest: &Descriptor) -> ImageDocuments {
        load_image(&self.world.store, manifest, &Platform::host()).unwrap()
    }

    /// Returns what the last layer of `repacked` holds, in order.
    fn entries(&self, repacked: &Repacked) -> Vec<String> {
        let layer = repacked.layer.as_ref().unwrap();
        let entries = Snapshots::new(&self.world.store).entries(layer).unwrap();
        let shown = entries.iter().map(|located| {
            let entry = &located.entry;
            let path = String::from_utf8_lossy(&entry.path);
            match entry.kind {
                EntryKind::HardLink => format!("{path} = {}", String::from_utf8_lossy(&entry.link)),
                EntryKind::Symlink => format!("{path} -> {}", String::from_utf8_lossy(&entry.link)),
                _ => format!("{path} {:o} {}:{}", entry.mode, entry.uid, entry.gid),
            }
        });
        shown.collect()
    }

    #[track_caller]
    fn check(&self, options: &RepackOptions, expected: &[&str]) -> Repacked {
        let repacked = self.repack(options).unwrap();
        assert_eq!(self.entries(&repacked), expected);
        repacked
    }
}

/// Lists everything in a root, with all that an image says about it.
fn listing(root: &Path) -> Vec<String> {
    let root = Root::open(root).unwrap();
    let mut lines = Vec::new();
    let mut inodes = Vec::new();
    let mut add = |path: &[u8], found: &corten_layer::scan::Found| {
        inodes.push(found.inode);
        let first = inodes
            .iter()
            .position(|inode| *inode == found.inode)
            .unwrap();
        let content = match found.kind {
            corten_layer::scan::FoundKind::File => fs::read(root.shown(path)).unwrap(),
            _ => Vec::new(),
        };
        lines.push(format!(
            "{} {:?} {:?} {first} {content:?}",
            String::from_utf8_lossy(path),
            found.kind,
            found.meta
        ));
    };
    add(b"", &inspect_root(&root, Xattrs::Read).unwrap());
    scan(&root, b"", Xattrs::Read, &mut |path, found| {
        add(path, &found);
        Ok(Descend::Into)
    })
    .unwrap();
    lines
}

fn write(path: &Path, content: &[u8]) {
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)
        .unwrap();
    std::io::Write::write_all(&mut file, content).unwrap();
}

fn set_time(path: &Path, seconds: i64, nanoseconds: i64) {
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

fn base() -> Vec<Item> {
    vec![
        directory("etc"),
        file("etc/motd", b"hello").owned(1000, 100, 0o640),
        file("etc/gone", b"1"),
        directory("old"),
        file("old/a", b"1"),
        directory("old/deep"),
        file("old/deep/b", b"1"),
        directory("usr"),
        file("usr/tool", b"tool").owned(0, 0, 0o4755),
        symlink("bin", "usr"),
        symlink("turn", "/etc"),
    ]
}

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

fn with_volume() -> Bundle {
    let world = World::new();
    let layer = vec![
        directory("dev"),
        file("dev/kept", b"1"),
        directory("data"),
        file("data/kept", b"1"),
        directory("cache"),
        file("cache/kept", b"1"),
    ];
    let image = world.image(&[layer], |config| {
        config.config.cmd = Some(words("/x"));
        config.config.volumes.0 = ["/data".to_owned()].into();
    });
    Bundle::of(world, image, as_root())
}

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

fn rootless_bundles_keep_owners() {
    let (uid, gid) = (0, 0);
    for (owners, devices) in [
        (Owners::Leave, Devices::Skip),
        (Owners::Record, Devices::Record),
    ] {
        rootless_bundle(UnpackOptions {
            devices,
            ..options(ConfigOptions::rootless(uid, gid), owners)
        });
    }
}

fn rootless_bundle(how: UnpackOptions) {
    let mut device = directory("null");
    device.0.kind = EntryKind::CharDevice;
    device.0.device = (1, 3);
    let mut layer = base();
    layer.push(device);
    let bundle = Bundle::with(&[layer], how);
    assert_eq!(fs::metadata(bundle.path("etc/motd")).unwrap().uid(), 0);
    assert!(!fs::symlink_metadata(bundle.path("null")).is_ok_and(|found| found.rdev() != 0));
    write(&bundle.path("etc/motd"), b"more");
    fs::remove_file(bundle.path("usr/tool")).unwrap();
    write(&bundle.path("usr/tool"), b"new");
    bundle.check(
        &RepackOptions::default(),
        &[
            "etc/ 755 0:0",
            "etc/motd 640 1000:100",
            "usr/ 755 0:0",
            "usr/tool 644 0:0",
        ],
    );
}

/// What was linked, moved and copied is still what the image says.
fn rootless_bundles_keep_what_has_other_names() {
    #[track_caller]
    fn check(script: &str, expected: &[&str]) {
        let device = |path| {
            let mut device = directory(path).owned(33, 33, 0o666);
            device.0.kind = EntryKind::CharDevice;
            device.0.device = (1, 3);
            device
        };
        let layer = vec![
            directory("data"),
            file("data/f", b"1").owned(5, 6, 0o640),
            directory("srv"),
            directory("srv/app").owned(33, 33, 0o755),
            file("srv/app/in", b"1").owned(33, 34, 0o640),
            device("srv/app/nul"),
        ];
        let how = UnpackOptions {
            devices: Devices::Record,
            ..options(ConfigOptions::rootless(0, 0), Owners::Leave)
        };
        let bundle = Bundle::with(&[layer], how);
        let mut shell = Command::new("sh");
        let shell = shell.args(["-ec", script]).current_dir(bundle.path(""));
        assert!(shell.status().unwrap().success(), "{script}");
        let repacked = bundle.repack(&RepackOptions::default()).unwrap();
        let image = bundle.load(&repacked.manifest);
        let layers = corten_snapshot::layers_of(&image).unwrap();
        let snapshots = Snapshots::new(&bundle.world.store);
        let tree = snapshots.tree(&layers).unwrap();
        let found = tree.walk().filter_map(|(path, id)| {
            let (node, path) = (tree.node(id), String::from_utf8(path).unwrap());
            let kind = match node.kind {
                corten_layer::Kind::Device { major, minor, .. } => format!(" {major},{minor}"),
                _ => String::new(),
            };
            let meta = &node.meta;
            let line = format!("{path} {:o} {}:{}{kind}", meta.mode, meta.uid, meta.gid);
            (!path.is_empty() && path != "srv" && path != "data").then_some(line)
        });
        assert_eq!(found.collect::<Vec<_>>(), expected, "{script}");
    }
    let as_it_was = [
        "data/f 640 5:6",
        "srv/app 755 33:33",
        "srv/app/in 640 33:34",
        "srv/app/nul 666 33:33 1,3",
    ];
    check(
        "ln data/f data/a; ln srv/app/nul srv/app/a",
        &[
            "data/a 640 5:6",
            as_it_was[0],
            as_it_was[1],
            "srv/app/a 666 33:33 1,3",
            as_it_was[2],
            as_it_was[3],
        ],
    );
    check(
        "chmod -R o-w srv",
        &[
            as_it_was[0],
            as_it_was[1],
            as_it_was[2],
            "srv/app/nul 664 33:33 1,3",
        ],
    );
    check(
        "cd ..; cp -a rootfs copy; mv rootfs old; mv copy rootfs",
        &as_it_was,
    );
    check(
        "mv srv/app srv/app2",
        &[
            as_it_was[0],
            "srv/app2 755 33:33",
            "srv/app2/in 640 33:34",
            "srv/app2/nul 666 33:33 1,3",
        ],
    );
    // Neither what replaces a file nor what uses its number again is that file.
    check(
        "echo more > srv/app/nul; rm srv/app/in; echo 2 > srv/new",
        &[
            as_it_was[0],
            as_it_was[1],
            "srv/app/nul 666 0:0",
            "srv/new 644 0:0",
        ],
    );
}

fn maps() -> IdMaps {
    let uids = vec!["0:5000:1".parse().unwrap(), "1000:7000:10".parse().unwrap()];
    let gids = vec!["0:6000:200".parse().unwrap()];
    IdMaps::new(uids, gids).unwrap()
}

fn mapped() -> UnpackOptions {
    let config = ConfigOptions {
        ids: maps().into(),
        ..ConfigOptions::default()
    };
    options(config, Owners::Set)
}

/// `CAP_NET_RAW`, effective and permitted, as revision 2 has it.
const CAPABILITY: &[u8] = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

fn mapped_bundles() {
    let mut ping = file("ping", b"1").owned(0, 0, 0o755);
    ping.0.xattrs = vec![(b"security.capability".to_vec(), CAPABILITY.to_vec())];
    let mut layer = base();
    layer.push(ping);
    let bundle = Bundle::with(&[layer], mapped());
    let owner = |name: &str| {
        let found = fs::symlink_metadata(bundle.path(name)).unwrap();
        (found.uid(), found.gid())
    };
    assert_eq!(owner("etc/motd"), (7000, 6100));
    assert_eq!(owner("bin"), (5000, 6000));
    assert_eq!(owner(""), (5000, 6000));
    // It holds for the namespace whose root is 5000 alone.
    let mut value = [0; 64];
    let len = rustix::fs::getxattr(bundle.path("ping"), "security.capability", &mut value).unwrap();
    assert_eq!(
        (len, value[3], &value[20..24]),
        (24, 3, &5000_u32.to_le_bytes()[..])
    );
    let origin = Origin::of(&bundle.dir()).unwrap();
    assert_eq!(origin.ids, maps());
    assert_eq!(
        bundle.repack(&RepackOptions::default()).unwrap().n_changes,
        0
    );

    chown(bundle.path("usr/tool"), Some(7009), Some(6007)).unwrap();
    write(&bundle.path("new"), b"1");
    chown(bundle.path("new"), Some(7001), Some(6000)).unwrap();
    fs::copy(bundle.path("ping"), bundle.path("pong")).unwrap();
    chown(bundle.path("pong"), Some(5000), Some(6000)).unwrap();
    let ping = &value[..len];
    let xattr = "security.capability";
    rustix::fs::setxattr(bundle.path("pong"), xattr, ping, XattrFlags::empty()).unwrap();
    let repacked = bundle.check(
        &RepackOptions::default(),
        &[
            "./ 755 0:0",
            "new 644 1001:0",
            "pong 755 0:0",
            "usr/ 755 0:0",
            "usr/tool 755 1009:7",
        ],
    );
    let layer = repacked.layer.unwrap();
    let entries = Snapshots::new(&bundle.world.store).entries(&layer).unwrap();
    assert_eq!(entries[2].entry.xattrs[0].1, CAPABILITY);
}

const ACL: &str = "system.posix_acl_access";

/// A list that lets one user and one group read, as an extended attribute.
fn acl(user: u32, group: u32) -> Vec<u8> {
    let nobody = u32::MAX;
    let entries: [(u16, u16, u32); 6] = [
        (0x01, 6, nobody),
        (0x02, 4, user),
        (0x04, 4, nobody),
        (0x08, 4, group),
        (0x10, 4, nobody),
        (0x20, 0, nobody),
    ];
    let mut list = 2_u32.to_le_bytes().to_vec();
    for (kind, rights, id) in entries {
        list.extend_from_slice(&kind.to_le_bytes());
        list.extend_from_slice(&rights.to_le_bytes());
        list.extend_from_slice(&id.to_le_bytes());
    }
    list
}

fn mapped_access_control_lists() {
    let mut shared = file("shared", b"1").owned(0, 0, 0o640);
    shared.0.xattrs = vec![(ACL.as_bytes().to_vec(), acl(1000, 100))];
    let bundle = Bundle::with(&[vec![shared]], mapped());
    let mut value = [0; 64];
    let len = rustix::fs::getxattr(bundle.path("shared"), ACL, &mut value).unwrap();
    assert_eq!(value[..len], acl(7000, 6100));
    let unchanged = bundle.repack(&RepackOptions::default()).unwrap();
    assert_eq!(unchanged.n_changes, 0);

    let set = |list: &[u8]| {
        rustix::fs::setxattr(bundle.path("shared"), ACL, list, XattrFlags::empty()).unwrap();
    };
    set(&acl(7009, 6007));
    let repacked = bundle.check(&RepackOptions::default(), &["shared 640 0:0"]);
    let layer = repacked.layer.unwrap();
    let entries = Snapshots::new(&bundle.world.store).entries(&layer).unwrap();
    assert_eq!(entries[0].entry.xattrs[0].1, acl(1009, 7));
    set(&acl(7010, 6007));
    assert_eq!(
        bundle.repack(&RepackOptions::default()).unwrap_err(),
        "the access control list of `shared` names the user id 7010 of the host, which has no mapping"
    );
}

fn ids_outside_the_map() {
    let world = World::new();
    let image = world.image(&[vec![file("far", b"1").owned(1010, 0, 0o644)]], |config| {
        config.config.cmd = Some(words("/x"));
    });
    let place = world.path("bundle");
    let error = unpack(&Snapshots::new(&world.store), &image, &place, &mapped()).unwrap_err();
    let expected = "`far` belongs to the user id 1010 of the image, which has no mapping";
    assert_eq!(error.to_string(), expected);
    assert!(!place.exists());

    let bundle = Bundle::with(&[base()], mapped());
    write(&bundle.path("new"), b"1");
    let error = bundle.repack(&RepackOptions::default()).unwrap_err();
    assert_eq!(
        error,
        "`new` belongs to the user id 0 of the host, which has no mapping"
    );
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

fn refresh() -> RepackOptions {
    RepackOptions {
        refresh: Refresh::Yes,
        ..RepackOptions::default()
    }
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

fn other_bundles_are_refused() {
    let bundle = Bundle::new(&[base()]);
    let record = bundle.dir().join("corten-record");
    let mut bytes = fs::read(&record).unwrap();
    bytes[40] ^= 1;
    write(&record, &bytes);
    let error = bundle.repack(&RepackOptions::default()).unwrap_err();
    assert!(error.contains("corten-record` is damaged"), "{error}");
    fs::remove_file(&record).unwrap();
    let error = bundle.repack(&RepackOptions::default()).unwrap_err();
    assert!(error.contains("is no bundle of ours"), "{error}");
}

/// Reading a record ends, whatever lies in its place.
fn hostile_records() {
    #[track_caller]
    fn check(put: impl Fn(&Path), expected: &str) {
        let bundle = Bundle::new(&[base()]);
        let record = bundle.dir().join("corten-record");
        fs::remove_file(&record).unwrap();
        put(&record);
        let (sender, receiver) = std::sync::mpsc::channel();
        let dir = bundle.dir();
        std::thread::spawn(move || {
            sender.send(Origin::of(&dir).map(drop).map_err(|error| chain(&error)))
        });
        let result = receiver.recv_timeout(Duration::from_secs(20));
        let error = result.expect("it ends").unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
    let node = |kind, device| {
        move |path: &Path| {
            rustix::fs::mknodat(CWD, path, kind, Mode::RUSR, device).unwrap();
        }
    };
    check(node(FileType::Fifo, 0), "is damaged");
    let zero = rustix::fs::makedev(1, 5);
    check(node(FileType::CharacterDevice, zero), "is damaged");
    check(|path| link("/dev/zero", path).unwrap(), "cannot read");
    check(|path| fs::create_dir(path).unwrap(), "is damaged");
    let huge = |path: &Path| fs::File::create(path).unwrap().set_len(1 << 32).unwrap();
    check(huge, "is damaged");
}

/// Nothing outside the root is read, and nothing blocks.
fn hostile_roots() {
    let bundle = Bundle::new(&[base()]);
    fs::remove_dir_all(bundle.path("usr")).unwrap();
    link("/etc", bundle.path("usr")).unwrap();
    fs::remove_file(bundle.path("etc/motd")).unwrap();
    rustix::fs::mknodat(CWD, bundle.path("etc/motd"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    fs::remove_file(bundle.path("etc/gone")).unwrap();
    link("/etc/shadow", bundle.path("etc/gone")).unwrap();
    let mut deep = bundle.path("deep");
    for _ in 0..300 {
        deep.push("d");
    }
    fs::create_dir_all(&deep).unwrap();
    let repacked = bundle.repack(&RepackOptions::default()).unwrap();
    let entries = bundle.entries(&repacked);
    for expected in ["usr -> /etc", "etc/motd 400 0:0", "etc/gone -> /etc/shadow"] {
        assert!(
            entries.iter().any(|entry| entry == expected),
            "{expected}: {entries:?}"
        );
    }
    let rootfs = bundle.dir().join("rootfs");
    fs::rename(&rootfs, bundle.dir().join("moved")).unwrap();
    fs::create_dir(&rootfs).unwrap();
    let emptied = bundle.repack(&RepackOptions::default()).unwrap();
    assert!(
        bundle
            .entries(&emptied)
            .contains(&".wh.etc 0 0:0".to_owned())
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

/// An edit of a path; which one is chosen by the first number.
#[derive(Debug, Clone)]
enum Edit {
    Remove(usize),
    Write(usize, Vec<u8>),
    Directory(usize, u16),
    Link(usize, usize),
    Symlink(usize, u8),
    Mode(usize, u16),
    Owner(usize, u16),
    Time(usize, i32, u32),
    Rename(usize, usize),
    Attribute(usize, u8),
    Pipe(usize),
}

const NAMES: [&str; 10] = [
    "a", "b", "c", "a/x", "a/y", "b/x", "b/y", "a/x/p", "b/x/p", "c/z",
];

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let place = 0..NAMES.len();
    let edit = prop_oneof![
        place.clone().prop_map(Edit::Remove),
        (place.clone(), prop::collection::vec(any::<u8>(), 0..4))
            .prop_map(|(p, c)| Edit::Write(p, c)),
        (place.clone(), 0..0o10000_u16).prop_map(|(p, m)| Edit::Directory(p, m)),
        (place.clone(), place.clone()).prop_map(|(p, q)| Edit::Link(p, q)),
        (place.clone(), any::<u8>()).prop_map(|(p, t)| Edit::Symlink(p, t)),
        (place.clone(), 0..0o10000_u16).prop_map(|(p, m)| Edit::Mode(p, m)),
        (place.clone(), any::<u16>()).prop_map(|(p, o)| Edit::Owner(p, o)),
        (place.clone(), any::<i32>(), 0..1_000_000_000_u32)
            .prop_map(|(p, s, n)| Edit::Time(p, s, n)),
        (place.clone(), place.clone()).prop_map(|(p, q)| Edit::Rename(p, q)),
        (place.clone(), any::<u8>()).prop_map(|(p, v)| Edit::Attribute(p, v)),
        place.prop_map(Edit::Pipe),
    ];
    prop::collection::vec(edit, 0..14)
}

/// Does what can be done; the rest fails, as it does for people.
fn apply(root: &Path, edit: &Edit) {
    let at = |number: &usize| root.join(NAMES[*number]);
    let vacate = |path: &Path| {
        if path.symlink_metadata().is_ok_and(|found| found.is_dir()) {
            fs::remove_dir_all(path).ok();
        } else {
            fs::remove_file(path).ok();
        }
    };
    match edit {
        Edit::Remove(path) => vacate(&at(path)),
        Edit::Write(path, content) => {
            let path = at(path);
            if path.symlink_metadata().is_ok_and(|found| !found.is_file()) {
                vacate(&path);
            }
            let mut options = fs::OpenOptions::new();
            if let Ok(mut file) = options.write(true).create(true).truncate(true).open(&path) {
                std::io::Write::write_all(&mut file, content).unwrap();
            }
        }
        Edit::Directory(path, mode) => {
            fs::create_dir(at(path)).ok();
            set_mode(&at(path), *mode);
        }
        Edit::Link(from, to) => fs::hard_link(at(from), at(to)).unwrap_or_default(),
        Edit::Symlink(path, target) => {
            vacate(&at(path));
            drop(link(format!("/{target}"), at(path)));
        }
        Edit::Mode(path, mode) => set_mode(&at(path), *mode),
        Edit::Owner(path, owner) => {
            drop(std::os::unix::fs::lchown(
                at(path),
                Some((*owner).into()),
                Some(7),
            ));
        }
        Edit::Time(path, seconds, nanoseconds) => {
            if at(path).symlink_metadata().is_ok() {
                set_time(&at(path), (*seconds).into(), (*nanoseconds).into());
            }
        }
        Edit::Rename(from, to) => drop(fs::rename(at(from), at(to))),
        Edit::Attribute(path, value) => {
            let path = at(path);
            rustix::fs::lsetxattr(&path, "user.v", &[*value], XattrFlags::empty()).ok();
        }
        Edit::Pipe(path) => {
            let mode = Mode::RUSR;
            rustix::fs::mknodat(CWD, at(path), FileType::Fifo, mode, 0).ok();
        }
    }
}

fn set_mode(path: &Path, mode: u16) {
    if path
        .symlink_metadata()
        .is_ok_and(|found| !found.is_symlink())
    {
        fs::set_permissions(path, fs::Permissions::from_mode(mode.into())).unwrap();
    }
}

/// Unpacked, edited, packed and unpacked again is the edited root; packed twice, it is the same bytes.
fn random_edits() {
    let config = Config {
        cases: 60,
        failure_persistence: None,
        ..Config::default()
    };
    let result = TestRunner::new(config).run(&(edits(), edits()), |(made, changed)| {
        // The first edits make an image, from nothing.
        let mut bundle = Bundle::new(&[vec![directory("top"), file("top/seed", b"1")]]);
        for edit in &made {
            apply(&bundle.path("top"), edit);
        }
        let first = bundle.repack(&RepackOptions::default()).unwrap();
        bundle.image = bundle.load(&first.manifest);
        fs::remove_dir_all(bundle.dir()).unwrap();
        bundle.unpack(&bundle.image, "bundle").unwrap();

        for edit in &changed {
            apply(&bundle.path("top"), edit);
        }
        let edited = listing(&bundle.path(""));
        let packed = bundle.repack(&RepackOptions::default()).unwrap();
        let twice = bundle.repack(&RepackOptions::default()).unwrap();
        prop_assert_eq!(&packed.manifest.digest, &twice.manifest.digest);
        let again = bundle
            .unpack(&bundle.load(&packed.manifest), "again")
            .unwrap();
        prop_assert_eq!(listing(&again.join("rootfs")), edited);
        Ok(())
    });
    result.unwrap();
}
