//! Trees written by a user who may neither give files away nor make devices.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use corten_layer::beneath::Root;
use corten_layer::directory::{Devices, DirectoryOptions, Owners, Written, write_tree};
use corten_layer::owners::Recorded;
use proptest::prelude::*;
use rustix::fs::{Gid, Uid};

use crate::host::is_root;
use crate::random::{Chain, For, Piece, layers};
use crate::roundtrip::config;
use crate::snapshot::{assert_same, of_directory_as, of_tree};

pub(crate) const NOBODY: u32 = 65534;

pub(crate) const RECORD: DirectoryOptions = DirectoryOptions {
    owners: Owners::Record,
    devices: Devices::Record,
    threads: 2,
};

/// Runs `act` on a thread that is nobody; threads that it starts are, too.
pub(crate) fn as_nobody<T: Send>(act: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let (uid, gid) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
            rustix::thread::set_thread_groups(&[]).unwrap();
            rustix::thread::set_thread_res_gid(gid, gid, gid).unwrap();
            rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();
            act()
        });
        thread.join().unwrap()
    })
}

/// Writes `chain` as nobody, and reads it back with what was recorded.
#[track_caller]
fn check(chain: &Chain) -> (tempfile::TempDir, Written) {
    let scratch = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(scratch.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let tree = chain.last();
    let path = scratch.path().join("root");
    let written = as_nobody(|| {
        fs::create_dir(&path).unwrap();
        let root = Root::open(&path).unwrap();
        write_tree(tree, &chain.contents(tree), &root, &RECORD).unwrap()
    });
    let recorded = Recorded::decode(&written.recorded.encode()).unwrap();
    assert_eq!(recorded, written.recorded);
    let found = of_directory_as(&path, &|path, found| {
        assert_eq!((found.meta.uid, found.meta.gid), (NOBODY, NOBODY));
        recorded.restore(path, found);
    });
    let expected = of_tree(tree, &chain.contents(tree));
    assert_same(&expected, &found, "with what was recorded");
    (scratch, written)
}

fn mode(root: &Path, path: &str) -> u32 {
    fs::symlink_metadata(root.join(path)).unwrap().mode() & 0o7777
}

#[test]
fn what_an_ordinary_user_cannot_set_is_recorded() {
    if !is_root("what_an_ordinary_user_cannot_set_is_recorded") {
        return;
    }
    let texts = [
        "d . mode=0711 owner=3:4",
        "d closed mode=0000 owner=1:1",
        "f closed/file mode=0000",
        "d closed/closed mode=0000",
        "f closed/closed/file mode=0400 owner=65534:65534",
        "f su mode=4755",
        "f wall mode=2755 owner=0:5",
        "f own mode=6755 owner=65534:65534",
        "d shared mode=3777 owner=0:8",
        "c dev/null mode=0666",
        "h dev/zero -> dev/null",
        "l link -> /su owner=7:7",
        "p pipe mode=0600 owner=0:9 xattr=user.k",
        "f attributes xattr=trusted.t xattr=user.k",
        "h attributes2 -> attributes",
        "f plain",
    ];
    let pieces: Vec<Piece> = texts.iter().map(|text| Piece::of(text)).collect();
    let (scratch, written) = check(&Chain::new(&[pieces]));
    let root = scratch.path().join("root");
    let modes = ["su", "wall", "own", "shared", "closed", "dev/null"].map(|path| mode(&root, path));
    assert_eq!(modes, [0o755, 0o755, 0o6755, 0o3777, 0, 0o666]);
    let device = fs::symlink_metadata(root.join("dev/zero")).unwrap();
    assert!(device.is_file() && device.len() == 0 && device.nlink() == 2);
    let refused: Vec<String> = written
        .xattrs_refused
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(refused, ["attributes trusted.t", "pipe user.k"]);
    assert!(written.devices_skipped.is_empty());
    let recorded: Vec<String> = written
        .recorded
        .iter()
        .map(|(path, _)| String::from_utf8(path.to_vec()).unwrap())
        .collect();
    let expected = [
        "",
        "attributes",
        "attributes2",
        "closed",
        "closed/closed/file",
        "dev/null",
        "dev/zero",
        "link",
        "own",
        "pipe",
        "shared",
        "su",
        "wall",
    ];
    assert_eq!(recorded, expected);
}

#[test]
fn what_was_changed_on_the_disk_counts() {
    if !is_root("what_was_changed_on_the_disk_counts") {
        return;
    }
    let pieces = ["f a mode=4755 owner=5:5", "c null", "f b owner=6:6"].map(Piece::of);
    let (scratch, written) = check(&Chain::new(&[pieces.to_vec()]));
    let root = scratch.path().join("root");
    let permissions = |mode| std::os::unix::fs::PermissionsExt::from_mode(mode);
    fs::set_permissions(root.join("a"), permissions(0o700)).unwrap();
    fs::write(root.join("null"), "it is a file now").unwrap();
    fs::remove_file(root.join("b")).unwrap();
    fs::create_dir(root.join("b")).unwrap();
    let found = of_directory_as(&root, &|path, found| written.recorded.restore(path, found));
    let starts = [("a", "0700 5:5"), ("null", "file 16 "), ("b", "0755 0:0")];
    for (path, part) in starts {
        assert!(found[path].contains(part), "{path}: {}", found[path]);
    }
}

proptest! {
    #![proptest_config(config(40))]

    #[test]
    fn what_is_recorded_and_what_is_written_are_the_tree(layers in layers(For::Disks, 3)) {
        if !is_root("what_is_recorded_and_what_is_written_are_the_tree") {
            return Ok(());
        }
        check(&Chain::new(&layers));
    }
}
