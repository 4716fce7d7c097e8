//! Bundles whose files do not have the owners that the image names: rootless ones and mapped ones.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::process::Command;

use corten_bundle::config::ConfigOptions;
use corten_bundle::ids::IdMaps;
use corten_bundle::{Origin, RepackOptions, UnpackOptions, unpack};
use corten_layer::directory::{Devices, Owners};
use corten_snapshot::Snapshots;
use corten_tar::EntryKind;
use rustix::fs::XattrFlags;

use super::{Bundle, base, options, write};
use crate::world::{World, directory, file, words};

tests![
    rootless_bundles_keep_owners,
    rootless_bundles_keep_what_has_other_names,
    mapped_bundles,
    mapped_access_control_lists,
    ids_outside_the_map,
];

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
