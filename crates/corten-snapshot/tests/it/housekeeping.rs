//! What is derived is checked, measured, and taken out of sight before it is removed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use corten_layer::directory::Devices;
use corten_snapshot::{Derived, DerivedState, LayerRef, Snapshots};

use super::{Place, content};

fn nobody(_: &str) -> bool {
    false
}

/// A place with everything derived from one layer.
fn place() -> (Place, LayerRef) {
    let place = Place::new();
    let layer = place.layer(&[("d/a", "1"), ("b", "22")]);
    let snapshots = Snapshots::new(&place.store);
    snapshots.tar(&layer).unwrap();
    snapshots
        .directories(std::slice::from_ref(&layer), Devices::Skip)
        .unwrap();
    (place, layer)
}

fn only(place: &Place, kind: &str) -> PathBuf {
    let paths = place.derived(kind);
    assert_eq!(paths.len(), 1, "{kind}");
    paths[0].clone()
}

fn replace(path: &std::path::Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    corten_content::atomic::write(path, &bytes).unwrap();
}

#[track_caller]
fn check(place: &Place, expected: &[(&str, &str)]) -> Vec<Derived> {
    let checked = Snapshots::new(&place.store).check(2).unwrap();
    let shown: Vec<_> = checked
        .iter()
        .map(|derived| {
            let state = match &derived.state {
                DerivedState::Whole => "whole",
                DerivedState::Complete => "complete",
                DerivedState::Stale => "stale",
                DerivedState::Damaged { .. } => "damaged",
                DerivedState::Unfinished => "unfinished",
                DerivedState::Unknown => "unknown",
            };
            (derived.kind.as_str(), state)
        })
        .collect();
    assert_eq!(shown, expected);
    checked
}

#[test]
fn what_is_derived_is_what_it_should_be_or_not() {
    let (place, layer) = place();
    check(
        &place,
        &[("dir", "complete"), ("index", "whole"), ("tar", "whole")],
    );

    // The index of another layer is whole, and not that of this tar.
    let other = place.layer(&[("c", "3")]);
    let snapshots = Snapshots::new(&place.store);
    snapshots.entries(&other).unwrap();
    let (mine, others) = (only_of(&place, &layer), only_of(&place, &other));
    fs::copy(others, &mine).unwrap();
    check(&place, &damaged_index(&layer, &other));
    replace(&only(&place, "tar"), |bytes| bytes[600] ^= 1);
    replace(&only(&place, "dir").join("boot"), |bytes| bytes[0] ^= 1);
    fs::create_dir_all(place.root.path().join("layers/new/x")).unwrap();
    fs::create_dir_all(place.root.path().join("layers/tmp/x")).unwrap();
    replace(&mine, |bytes| bytes.truncate(20));
    let index = damaged_index(&layer, &other);
    let expected = [
        ("dir", "stale"),
        index[1],
        index[2],
        ("new", "unknown"),
        ("tar", "damaged"),
        ("tmp", "unfinished"),
    ];
    let checked = check(&place, &expected);

    let everybody = |_: &str| true;
    assert_eq!(snapshots.drop_damaged(&checked, &everybody).unwrap(), 0);
    assert_eq!(snapshots.drop_damaged(&checked, &nobody).unwrap(), 2);
    assert_eq!(content(&snapshots, &[layer], "d/a").as_deref(), Some("1"));
    check(
        &place,
        &[
            ("dir", "stale"),
            ("index", "whole"),
            ("index", "whole"),
            ("new", "unknown"),
            ("tar", "whole"),
            ("tmp", "unfinished"),
        ],
    );
}

fn only_of(place: &Place, layer: &LayerRef) -> PathBuf {
    let name = format!("layers/index/sha256-{}", layer.diff_id.0.encoded());
    place.root.path().join(name)
}

/// The states, in the order of the paths, when the index of `damaged` is damaged.
fn damaged_index(damaged: &LayerRef, other: &LayerRef) -> [(&'static str, &'static str); 4] {
    let (first, second) = if damaged.diff_id.0 < other.diff_id.0 {
        ("damaged", "whole")
    } else {
        ("whole", "damaged")
    };
    [
        ("dir", "complete"),
        ("index", first),
        ("index", second),
        ("tar", "whole"),
    ]
}

#[test]
fn what_it_takes_is_counted_once() {
    let (place, _) = place();
    let snapshots = Snapshots::new(&place.store);
    let usage = |is_needed: bool, is_used: bool| {
        let usage = snapshots.usage(&|_| is_needed, &|_| is_used).unwrap();
        usage.into_iter().find(|usage| usage.kind == "dir").unwrap()
    };
    let all = usage(true, true);
    assert_eq!(all.count, 1);
    assert!(all.disk_bytes > 0);
    assert_eq!((all.reclaimable_bytes, all.droppable_bytes), (0, 0));
    let none = usage(false, false);
    assert_eq!(none.reclaimable_bytes, all.disk_bytes);
    assert_eq!(none.droppable_bytes, all.disk_bytes);
    // A second name is no second file; a hole is no file at all.
    let files = only(&place, "dir").join("fs");
    corten_content::atomic::write(&files.join("large"), &vec![1; 1 << 20]).unwrap();
    let with_large = usage(true, true).disk_bytes;
    assert!(with_large >= all.disk_bytes + (1 << 20));
    fs::hard_link(files.join("large"), files.join("again")).unwrap();
    assert_eq!(usage(true, true).disk_bytes, with_large);
    fs::File::create(files.join("hole"))
        .unwrap()
        .set_len(1 << 40)
        .unwrap();
    assert_eq!(usage(true, true).disk_bytes, with_large);
}

#[test]
fn what_is_retired_is_found_by_nobody_and_removed_later() {
    let (place, layer) = place();
    let snapshots = Snapshots::new(&place.store);
    let files = only(&place, "dir").join("fs");
    let deep: PathBuf = files.join(["deep"; 100].join("/"));
    fs::create_dir_all(deep).unwrap();
    fs::remove_dir(place.root.path().join("layers/tmp")).unwrap();
    let retired = snapshots.retire(&[], &nobody).unwrap();
    let attic = fs::metadata(place.root.path().join("layers/tmp")).unwrap();
    assert_eq!(
        attic.permissions().mode() & 0o777,
        0o700,
        "for the owner alone"
    );
    for kind in ["dir", "tar", "index"] {
        assert_eq!(place.derived(kind), [] as [PathBuf; 0], "{kind}");
    }
    assert_eq!(place.derived("tmp").len(), 1);
    // It is made anew beside what is being removed.
    let layers = std::slice::from_ref(&layer);
    snapshots.directories(layers, Devices::Skip).unwrap();
    assert_eq!(retired.remove().unwrap().n_removed, 5, "marks, too");
    assert_eq!(place.derived("tmp"), [] as [PathBuf; 0]);
    assert_eq!(content(&snapshots, &[layer], "b").as_deref(), Some("22"));

    // Whoever is killed in between leaves it to the next.
    let _forgotten = snapshots.retire(&[], &nobody).unwrap();
    let next = snapshots.retire(&[], &nobody).unwrap();
    // Two that remove the same do not disturb each other.
    let again = snapshots.retire(&[], &nobody).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| next.remove().unwrap());
        again.remove().unwrap();
    });
    assert_eq!(place.derived("tmp"), [] as [PathBuf; 0]);
}

/// Whatever cannot be given its name, as on a full disk, goes at once: tars are large.
#[test]
fn what_fails_leaves_nothing_unfinished() {
    type Act = fn(&Snapshots<'_>, &[LayerRef]) -> corten_snapshot::Result<()>;
    let tar: Act = |snapshots, layers| snapshots.tar(&layers[0]).map(drop);
    let files: Act = |snapshots, layers| snapshots.files(layers).map(drop);
    let erofs: Act = |snapshots, layers| snapshots.erofs(layers).map(drop);
    let directories: Act =
        |snapshots, layers| snapshots.directories(layers, Devices::Skip).map(drop);
    let cases = [
        ("tar", ".boot", tar),
        ("index", "", tar),
        ("seek", "", tar),
        ("files", "", files),
        ("erofs", "", erofs),
        ("erofs", ".boot", erofs),
        ("dir", "", directories),
    ];
    let place = Place::new();
    // Members of 1 MiB, so that there is more than one place to start at.
    let layers = [place.layer(&[("a", &"content".repeat(500_000))])];
    let snapshots = Snapshots::new(&place.store);
    let derived = place.root.path().join("layers");
    for (shelf, suffix, act) in cases {
        let case = format!("{shelf} {suffix}");
        act(&snapshots, &layers).unwrap();
        let mut name = only(&place, shelf).into_os_string();
        name.push(suffix);
        fs::remove_dir_all(&derived).unwrap();
        // A file cannot take the place of a directory, nor a directory that of a file.
        fs::create_dir_all(derived.join(shelf)).unwrap();
        if shelf == "dir" {
            fs::File::create(&name).unwrap();
        } else {
            fs::create_dir(&name).unwrap();
        }
        act(&snapshots, &layers).expect_err(&case);
        assert_eq!(
            fs::read_dir(derived.join("tmp")).unwrap().count(),
            0,
            "{case}"
        );
        fs::remove_dir_all(&derived).unwrap();
    }
    let blob = layers[0].blob.digest.encoded();
    fs::remove_file(place.root.path().join("blobs/sha256").join(blob)).unwrap();
    snapshots.tar(&layers[0]).unwrap_err();
    assert_eq!(fs::read_dir(derived.join("tmp")).unwrap().count(), 0);
}
