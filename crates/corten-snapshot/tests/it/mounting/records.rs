//! What is remembered of mounts, and what it keeps from being removed.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::slice;

use corten_content::Store;
use corten_snapshot::{Access, DerivedState, Error, RootKind, Snapshots};

use super::{Stage, mount_tmpfs, paths, pieces};
use crate::random::tar_of;

#[test]
fn what_is_mounted_is_not_swept() {
    for kind in RootKind::ALL {
        let stage = Stage::new();
        let layers = [
            stage.layer(&tar_of(&pieces(&["f a"]))),
            stage.layer(&tar_of(&pieces(&["f b"]))),
        ];
        stage
            .mount(&layers, slice::from_ref(&kind), Access::Write)
            .unwrap();
        let root = stage.place.root.path().to_owned();
        // As gc of another process sees it: no image has the layers, and no lease is held.
        let store = Store::open(&root).unwrap();
        let nobody = |_: &str| false;
        Snapshots::new(&store).sweep(&[], &nobody).unwrap();
        let first = paths(&root);
        let needed = match kind {
            RootKind::Erofs => "layers/erofs/",
            RootKind::Overlay => "layers/dir/",
            RootKind::Plain => "layers/tmp/",
        };
        assert!(
            first.iter().any(|path| path.starts_with(needed)),
            "{kind}: {first:?}"
        );
        assert!(
            first.iter().any(|path| path.starts_with("locks/mounts/")),
            "{kind}: {first:?}"
        );
        rustix::fs::open(
            "/proc/sys/vm/drop_caches",
            rustix::fs::OFlags::WRONLY,
            rustix::fs::Mode::empty(),
        )
        .and_then(|file| rustix::io::write(file, b"3"))
        .unwrap();
        assert_eq!(fs::read(stage.at.path().join("b")).unwrap(), b"b", "{kind}");
        // Unmounted by others, it is noticed.
        rustix::mount::unmount(stage.at.path(), rustix::mount::UnmountFlags::DETACH).unwrap();
        Snapshots::new(&store).sweep(&[], &nobody).unwrap();
        assert_eq!(paths(&root), [""; 0], "{kind}");
    }
}

#[test]
fn what_is_mounted_is_in_use() {
    let stage = Stage::new();
    let layers = [stage.layer(&tar_of(&pieces(&["f a"])))];
    stage
        .mount(&layers, &[RootKind::Erofs], Access::ReadOnly)
        .unwrap();
    let root = stage.place.root.path().to_owned();
    let store = Store::open(&root).unwrap();
    let snapshots = Snapshots::new(&store);
    let nobody = |_: &str| false;
    let droppable = |kind: &str| {
        let usage = snapshots.usage(&|_| true, &nobody).unwrap();
        let usage = usage.into_iter().find(|usage| usage.kind == kind).unwrap();
        assert!(usage.disk_bytes > 0, "{kind}");
        usage.droppable_bytes
    };
    assert_eq!((droppable("tar"), droppable("erofs")), (0, 0));
    let mut checked = snapshots.check(1).unwrap();
    for derived in &mut checked {
        derived.state = DerivedState::Damaged { reason: "x".into() };
    }
    checked.retain(|derived| derived.kind == "tar");
    assert_eq!(snapshots.drop_damaged(&checked, &nobody).unwrap(), 0);

    rustix::mount::unmount(stage.at.path(), rustix::mount::UnmountFlags::DETACH).unwrap();
    assert!(droppable("tar") > 0 && droppable("erofs") > 0);
    let before = paths(&root);
    assert!(!snapshots.unneeded(&[], &nobody).unwrap().is_empty());
    assert_eq!(paths(&root), before, "only looked at");
    assert_eq!(snapshots.drop_damaged(&checked, &nobody).unwrap(), 1);
}

/// Numbers of devices are given out again at once.
#[test]
fn a_mount_of_others_is_not_taken_for_one_that_is_gone() {
    for kind in [RootKind::Erofs, RootKind::Overlay] {
        let stage = Stage::new();
        let layers = [stage.layer(&tar_of(&pieces(&["f a"])))];
        let kinds = slice::from_ref(&kind);
        let at = stage.at.path();
        let unmount = || {
            let flags = rustix::mount::UnmountFlags::DETACH;
            rustix::mount::unmount(at, flags).unwrap();
        };
        let is_taken = || {
            stage.mount(&layers, kinds, Access::ReadOnly).unwrap();
            let device = fs::metadata(at).unwrap().dev();
            unmount();
            mount_tmpfs(at);
            let is_taken = fs::metadata(at).unwrap().dev() == device;
            if !is_taken {
                unmount();
            }
            is_taken
        };
        // Other tests mount, too, and may get the number.
        assert!(
            (0..200).any(|_| is_taken()),
            "no number was given out again"
        );
        fs::write(at.join("data"), "x").unwrap();
        assert!(matches!(
            stage.snapshots().unmount(at).unwrap_err(),
            Error::NotOurs { .. }
        ));
        assert!(at.join("data").exists());
    }
}

#[test]
fn a_new_mount_replaces_the_record_of_one_that_had_its_number() {
    let stage = Stage::new();
    let layers = [stage.layer(&tar_of(&pieces(&["f a"])))];
    let at = stage.at.path();
    let (mut earlier, mut attempts) = (None, 0);
    // Other tests mount, too, and may get the number.
    while earlier != Some(fs::metadata(at).unwrap().dev()) {
        attempts += 1;
        assert!(attempts < 100, "no number was given out again");
        if earlier.is_some() {
            stage.snapshots().unmount(at).unwrap();
        }
        stage
            .mount(&layers, &[RootKind::Erofs], Access::ReadOnly)
            .unwrap();
        earlier = Some(fs::metadata(at).unwrap().dev());
        rustix::mount::unmount(at, rustix::mount::UnmountFlags::DETACH).unwrap();
        stage
            .mount(&layers, &[RootKind::Overlay], Access::Write)
            .unwrap();
    }
    assert_eq!(stage.snapshots().unmount(at).unwrap(), RootKind::Overlay);
    assert_eq!(stage.place.derived("tmp").len(), 0);
    let device = earlier.unwrap();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    for record in fs::read_dir(stage.place.root.path().join("locks/mounts")).unwrap() {
        let text = fs::read_to_string(record.unwrap().path()).unwrap();
        let device = format!("device {major}:{minor}");
        assert!(text.lines().all(|line| line != device), "{text}");
    }
}
