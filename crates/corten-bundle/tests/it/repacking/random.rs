//! Edits at random.

use std::fs;
use std::os::unix::fs::symlink as link;
use std::path::Path;

use corten_bundle::RepackOptions;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rustix::fs::{CWD, FileType, Mode, XattrFlags};

use super::{Bundle, listing, set_mode, set_time};
use crate::world::{directory, file};

tests![random_edits,];

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
