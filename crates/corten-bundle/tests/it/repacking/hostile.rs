//! Bundles that are none of ours, and such as would deceive.

use std::fs;
use std::os::unix::fs::symlink as link;
use std::path::Path;
use std::time::Duration;

use corten_bundle::{Origin, RepackOptions};
use rustix::fs::{CWD, FileType, Mode};

use super::{Bundle, base, write};
use crate::unpacking::chain;

tests![other_bundles_are_refused, hostile_records, hostile_roots,];

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
