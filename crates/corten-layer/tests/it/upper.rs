//! Upper directories of overlays, read back as layers: what is done in the merged view of a chain
//! of layers must be what the new layer does to their tree.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use corten_layer::beneath::Root;
use corten_layer::bytes::{MemoryLayers, TreeContents};
use corten_layer::directory::Owners;
use corten_layer::upper::{OverlayNotes, Upper, prepare, read_upper};
use corten_layer::{Change, Shown, emit};
use proptest::collection::vec;
use proptest::prelude::*;
use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};

use crate::host::is_root;
use crate::overlay::{Attributes, Directories};
use crate::random::{Chain, For, Piece, diff_id, layers, read};
use crate::roundtrip::config;
use crate::section11;
use crate::snapshot::{Snapshot, assert_same, of_directory, of_tree};

/// What is done to one path or two, which are picked by number among those that there are.
#[derive(Debug, Clone, Copy)]
struct Step {
    action: u8,
    path: u16,
    other: u16,
    name: u8,
    value: u8,
}

const N_ACTIONS: u8 = 22;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (
        0..N_ACTIONS,
        any::<u16>(),
        any::<u16>(),
        0..5_u8,
        any::<u8>(),
    );
    let step = step.prop_map(|(action, path, other, name, value)| Step {
        action,
        path,
        other,
        name,
        value,
    });
    vec(step, 1..25)
}

/// Returns everything below `root` and `root` itself, no link followed.
fn paths(root: &Path) -> Vec<PathBuf> {
    let mut paths = vec![root.to_path_buf()];
    let mut at = 0;
    while let Some(path) = paths.get(at).cloned() {
        at += 1;
        if fs::symlink_metadata(&path).unwrap().is_dir() {
            let mut names: Vec<_> = fs::read_dir(&path)
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .collect();
            names.sort();
            paths.extend(names);
        }
    }
    paths
}

/// Does the step, if it can be done: errors are part of the game.
fn act(root: &Path, step: Step) -> std::io::Result<()> {
    let all = paths(root);
    let pick = |number: u16| all[usize::from(number) % all.len()].clone();
    let path = pick(step.path);
    let kind = fs::symlink_metadata(&path)?.file_type();
    let directory = if kind.is_dir() {
        path.clone()
    } else {
        path.parent().unwrap().to_path_buf()
    };
    let name = ["a", "b", "c", "new", "é\n"][usize::from(step.name)];
    let new = directory.join(name);
    let is_whole = path == root;
    let times = |seconds: i64| Timestamps {
        last_access: Timespec {
            tv_sec: 1,
            tv_nsec: 2,
        },
        last_modification: Timespec {
            tv_sec: seconds,
            tv_nsec: i64::from(step.value) * 3,
        },
    };
    // Nothing may be opened that is no regular file: links lead out of the mount.
    let open = |path: &Path| {
        OpenOptions::new()
            .write(true)
            .custom_flags(libc_nofollow())
            .open(path)
    };
    match step.action {
        0 | 1 => {
            let mut file = OpenOptions::new().write(true).create_new(true).open(&new)?;
            file.write_all(&vec![step.value; usize::from(step.value) * 40])
        }
        2 if kind.is_file() => open(&path)?.write_at(b"written", 0).map(drop),
        3 if kind.is_file() => {
            let file = open(&path)?;
            let len = file.metadata()?.len();
            file.write_at(b"appended", len).map(drop)
        }
        4 if !kind.is_symlink() => {
            let mode = u32::from(step.value) << 4 | u32::from(step.name);
            fs::set_permissions(&path, Permissions::from_mode(mode & 0o7777))
        }
        5 => std::os::unix::fs::lchown(&path, Some(step.value.into()), Some(7)),
        6 => {
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            Ok(rustix::fs::utimensat(CWD, &path, &times(-77), flags)?)
        }
        7 => {
            let value = [step.value; 30];
            let flags = XattrFlags::empty();
            Ok(rustix::fs::lsetxattr(&path, "trusted.t", &value, flags)?)
        }
        8 => Ok(rustix::fs::lremovexattr(&path, "trusted.t")?),
        9 if !is_whole => fs::rename(&path, &new),
        10 if !is_whole => fs::rename(&path, pick(step.other)),
        11 | 12 if !is_whole => remove(&path),
        13 if !is_whole => {
            remove(&path)?;
            fs::create_dir(&path)?;
            File::create_new(path.join(name)).map(drop)
        }
        14 => fs::create_dir(&new),
        15 => std::os::unix::fs::symlink("a/../b", &new),
        16 => fs::hard_link(&path, &new),
        17 => fs::hard_link(&path, pick(step.other).join(name)),
        18 => {
            let mode = Mode::from_raw_mode(0o640);
            Ok(rustix::fs::mknodat(CWD, &new, FileType::Fifo, mode, 0)?)
        }
        19 if kind.is_file() => open(&path)?.set_len(u64::from(step.value)),
        // Copied up, and not changed: as by a program that opens everything for writing.
        20 if kind.is_file() => open(&path).map(drop),
        21 if !is_whole && kind.is_dir() => {
            remove(&path)?;
            File::create_new(&path)?;
            if step.value.is_multiple_of(2) {
                fs::remove_file(&path)?;
                fs::create_dir(&path)?;
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

fn libc_nofollow() -> i32 {
    rustix::fs::OFlags::NOFOLLOW.bits().cast_signed()
}

fn remove(path: &Path) -> std::io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    }
}

/// What was done on top of a chain, and what is read of it.
struct Session {
    _directories: Directories,
    seen: Snapshot,
    upper: corten_layer::Result<Upper>,
}

impl Session {
    /// Mounts `chain` with an empty upper directory and does `what`.
    fn new(chain: &Chain, attributes: Attributes, what: impl FnOnce(&Path)) -> Self {
        let tree = chain.last();
        let directories = Directories::write(chain).unwrap();
        let path = directories.upper();
        let handle = || Root::open(&path).unwrap();
        let contents = chain.contents(tree);
        prepare(tree, &handle(), Owners::Set).unwrap();
        let overlay = directories.mount(attributes, Some(&path));
        what(&overlay.path);
        drop(overlay);
        // What has just been copied up may still show the inode of below, and so hide its links.
        let overlay = directories.mount(attributes, Some(&path));
        let seen = of_directory(&overlay.path);
        drop(overlay);
        Self {
            _directories: directories,
            seen,
            upper: read_upper(tree, &contents, handle(), notes(attributes), &|_, _| false),
        }
    }
}

fn notes(attributes: Attributes) -> OverlayNotes {
    OverlayNotes::of_userxattr(matches!(attributes, Attributes::User))
}

/// Applies what was read of an upper directory, compares it with what was seen, and returns what
/// changed.
fn check(chain: &Chain, attributes: Attributes, what: impl FnOnce(&Path)) -> Upper {
    let tree = chain.last();
    let session = Session::new(chain, attributes, what);
    let upper = session.upper.unwrap();
    let mut tar = Vec::new();
    emit::write_changeset(tree, &upper.changes, &upper.files, &mut tar).unwrap();
    let entries = read(&tar);
    section11::check(tree, &entries);
    let id = diff_id(&tar);
    let (applied, _) = tree.clone().apply(&id, &entries).unwrap();
    let mut bytes = MemoryLayers(chain.bytes.0.clone());
    bytes.0.insert(id, tar);
    let contents = TreeContents {
        tree: &applied,
        bytes: &bytes,
    };
    assert_same(
        &session.seen,
        &of_tree(&applied, &contents),
        "seen, and applied",
    );
    upper
}

proptest! {
    #![proptest_config(config(120))]

    #[test]
    fn an_upper_directory_is_what_was_done(
        layers in layers(For::Disks, 3),
        steps in steps(),
        user in any::<bool>(),
    ) {
        if !is_root("an_upper_directory_is_what_was_done") {
            return Ok(());
        }
        let attributes = if user { Attributes::User } else { Attributes::Trusted };
        check(&Chain::new(&layers), attributes, |root| {
            for step in &steps {
                drop(act(root, *step));
            }
        });
    }
}

/// Returns the chain of one layer with `entries`, as `sketch` writes them.
fn chain(entries: &[&str]) -> Chain {
    let pieces: Vec<Piece> = entries.iter().map(|text| Piece::of(text)).collect();
    Chain::new(&[pieces])
}

/// Returns the changes, a deletion as `-path` and everything else as `+path`.
fn shown(upper: &Upper) -> Vec<String> {
    let shown = |(path, change): (&[u8], &Change)| match change {
        Change::Put(_) => format!("+{}", Shown::from(path)),
        Change::Remove => format!("-{}", Shown::from(path)),
    };
    upper.changes.iter().map(shown).collect()
}

const LOWER: [&str; 9] = [
    "d d mode=0711",
    "f d/a",
    "f d/b",
    "d d/sub",
    "f d/sub/x",
    "f h",
    "h i -> h",
    "l s -> d",
    "p fifo",
];

#[test]
fn what_is_a_change() {
    #[track_caller]
    fn changes(what: impl Fn(&Path), expected: &[&str]) {
        for attributes in [Attributes::Trusted, Attributes::User] {
            let upper = check(&chain(&LOWER), attributes, |root| {
                what(root);
                // Whoever changes a directory changes its time, which is not the point here.
                for (path, time) in [("", 0), ("d", 0), ("d/sub", 0)] {
                    let time = Timespec {
                        tv_sec: time,
                        tv_nsec: 0,
                    };
                    let times = Timestamps {
                        last_access: time,
                        last_modification: time,
                    };
                    let path = root.join(path);
                    rustix::fs::utimensat(CWD, &path, &times, AtFlags::SYMLINK_NOFOLLOW).ok();
                }
            });
            assert_eq!(shown(&upper), expected, "{attributes:?}");
        }
    }
    if !is_root("what_is_a_change") {
        return;
    }
    let touch = |path: PathBuf| drop(OpenOptions::new().append(true).open(path).unwrap());
    changes(|_| {}, &[]);
    // Everything copied up, nothing changed.
    changes(
        |root| {
            touch(root.join("d/a"));
            fs::set_permissions(root.join("d/sub"), Permissions::from_mode(0o755)).unwrap();
            std::os::unix::fs::lchown(root.join("s"), Some(0), Some(0)).unwrap();
            std::os::unix::fs::lchown(root.join("fifo"), Some(0), Some(0)).unwrap();
        },
        &[],
    );
    changes(|root| fs::remove_file(root.join("d/a")).unwrap(), &["-d/a"]);
    changes(|root| fs::remove_dir_all(root.join("d")).unwrap(), &["-d"]);
    changes(
        |root| fs::write(root.join("d/new"), "").unwrap(),
        &["+d/new"],
    );
    changes(
        |root| {
            fs::write(root.join("d/new"), "").unwrap();
            fs::remove_file(root.join("d/new")).unwrap();
        },
        &[],
    );
    // An opaque directory: what was below and is not there again is deleted, name by name.
    changes(
        |root| {
            fs::remove_dir_all(root.join("d")).unwrap();
            fs::create_dir(root.join("d")).unwrap();
            fs::create_dir(root.join("d/sub")).unwrap();
            fs::write(root.join("d/b"), "again").unwrap();
            fs::set_permissions(root.join("d"), Permissions::from_mode(0o711)).unwrap();
        },
        &["-d/a", "+d/b", "-d/sub/x"],
    );
    changes(
        |root| {
            fs::remove_dir_all(root.join("d")).unwrap();
            fs::write(root.join("d"), "").unwrap();
        },
        &["+d"],
    );
    // A directory where a link was: what the link leads to is not what lies below it.
    changes(
        |root| {
            fs::remove_file(root.join("s")).unwrap();
            fs::create_dir(root.join("s")).unwrap();
            fs::copy(root.join("d/a"), root.join("s/a")).unwrap();
        },
        &["+s", "+s/a"],
    );
    // Names of one file part when one of them is written to.
    changes(|root| touch(root.join("h")), &["+h"]);
    changes(
        |root| fs::hard_link(root.join("d/a"), root.join("d/c")).unwrap(),
        &["+d/a", "+d/c"],
    );
    changes(|root| fs::remove_file(root.join("i")).unwrap(), &["-i"]);
    // Without redirects the kernel refuses, and programs copy.
    changes(
        |root| {
            let renamed = fs::rename(root.join("d/sub"), root.join("sub"));
            assert_eq!(
                renamed.unwrap_err().kind(),
                std::io::ErrorKind::CrossesDevices
            );
        },
        &[],
    );
    changes(
        |root| fs::set_permissions(root, Permissions::from_mode(0o700)).unwrap(),
        &["+/"],
    );
}

#[test]
fn sockets_are_told() {
    if !is_root("sockets_are_told") {
        return;
    }
    let chain = chain(&LOWER);
    let session = Session::new(&chain, Attributes::Trusted, |root| {
        fs::remove_file(root.join("d/a")).unwrap();
        drop(UnixListener::bind(root.join("d/a")).unwrap());
        drop(UnixListener::bind(root.join("new")).unwrap());
    });
    let upper = session.upper.unwrap();
    assert_eq!(upper.sockets, [b"d/a".to_vec(), b"new".to_vec()]);
    // What the socket took the place of is gone.
    assert_eq!(shown(&upper), ["+/", "+d", "-d/a"]);
}

#[test]
fn what_no_layer_can_hold_is_named() {
    #[track_caller]
    fn refused(attributes: Attributes, what: impl FnOnce(&Path), path: &str, reason: &str) {
        let session = Session::new(&chain(&LOWER), attributes, what);
        let error = session.upper.unwrap_err().to_string();
        let expected = format!("`{path}` cannot be put into a layer: {reason}");
        assert!(error.starts_with(&expected), "{error}");
    }
    if !is_root("what_no_layer_can_hold_is_named") {
        return;
    }
    let write = |name: &'static str| move |root: &Path| fs::write(root.join(name), "").unwrap();
    let reason = "a name that begins with `.wh.`";
    refused(Attributes::Trusted, write("d/.wh.a"), "d/.wh.a", reason);
    refused(
        Attributes::User,
        write(".wh..wh..opq"),
        ".wh..wh..opq",
        reason,
    );
}

#[test]
fn marks_of_other_mount_options_are_refused() {
    #[track_caller]
    fn check(xattr: &str, notes: OverlayNotes, expected: Option<&str>) {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("a");
        fs::write(&path, "").unwrap();
        rustix::fs::lsetxattr(&path, xattr, b"x", XattrFlags::empty()).unwrap();
        let root = Root::open(scratch.path()).unwrap();
        let chain = chain(&LOWER);
        let tree = chain.last();
        let upper = read_upper(tree, &chain.contents(tree), root, notes, &|_, _| false);
        let error = upper.map(drop).map_err(|error| error.to_string());
        match expected {
            Some(part) => assert!(
                error.clone().unwrap_err().contains(part),
                "{xattr}: {error:?}"
            ),
            None => assert_eq!(error, Ok(()), "{xattr}"),
        }
    }
    if !is_root("marks_of_other_mount_options_are_refused") {
        return;
    }
    let (trusted, user) = (OverlayNotes::Trusted, OverlayNotes::User);
    let redirect = Some("`a` cannot be put into a layer: overlayfs recorded a rename");
    check("trusted.overlay.redirect", trusted, redirect);
    check("user.overlay.redirect", user, redirect);
    let metacopy = Some("overlayfs left its content below");
    check("trusted.overlay.metacopy", trusted, metacopy);
    // What the process itself set is none.
    check("user.overlay.redirect", trusted, None);
    check("trusted.overlay.redirect", user, None);
    check("user.overlay.overlay.redirect", user, None);
}

#[test]
fn a_process_cannot_make_a_directory_opaque() {
    if !is_root("a_process_cannot_make_a_directory_opaque") {
        return;
    }
    // The attribute itself is in no layer (rule 61).
    for (attributes, xattr) in [
        (Attributes::Trusted, "user.overlay.opaque"),
        (Attributes::User, "user.overlay.opaque"),
        (Attributes::User, "trusted.overlay.opaque"),
    ] {
        let session = Session::new(&chain(&LOWER), attributes, |root| {
            let path = root.join("d");
            let _may_be_refused = rustix::fs::lsetxattr(&path, xattr, b"y", XattrFlags::empty());
        });
        let upper = session.upper.unwrap();
        if xattr.starts_with("user.") {
            let dropped: Vec<String> = upper
                .xattrs_dropped
                .iter()
                .map(ToString::to_string)
                .collect();
            let escaped = match attributes {
                Attributes::Trusted => xattr.to_owned(),
                Attributes::User => xattr.replace("overlay.", "overlay.overlay."),
            };
            assert_eq!(dropped, [format!("d {escaped}")]);
        }
        let removed = shown(&upper);
        assert!(
            !removed.iter().any(|change| change.starts_with('-')),
            "{xattr}: {removed:?}"
        );
    }
}
