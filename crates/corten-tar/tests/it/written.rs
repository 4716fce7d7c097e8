//! What is written, and what is refused: `layers.md`, rules 91 and 92.

use corten_tar::{Entry, EntryKind, Error, Timestamp, Writer, write_header};

use crate::archive::{chain, only};

fn header(entry: &Entry) -> Vec<u8> {
    let mut out = Vec::new();
    write_header(entry, &mut out).unwrap();
    out
}

fn file(path: &str) -> Entry {
    Entry::new(EntryKind::File, path)
}

#[test]
fn a_header_that_fits_is_ustar_to_the_byte() {
    let entry = Entry {
        mode: 0o104_755,
        uid: 0o7_777_777,
        gid: 0,
        mtime: Timestamp::from_seconds(0o77_777_777_777),
        device: (8, 1),
        ..Entry::new(EntryKind::BlockDevice, "./dev//sda1")
    };
    let mut expected = [0; 512];
    for (start, field) in [
        (0, &b"dev/sda1"[..]),
        (
            100,
            b"0004755\x007777777\x000000000\x0000000000000\x0077777777777\0",
        ),
        (148, b"013064\0 4"),
        (257, b"ustar\x0000"),
        (329, b"0000010\x000000001\0"),
    ] {
        expected[start..start + field.len()].copy_from_slice(field);
    }
    let header = header(&entry);
    assert_eq!(header.len(), 512);
    assert_eq!(
        header[..148].escape_ascii().to_string(),
        expected[..148].escape_ascii().to_string()
    );
    assert_eq!(
        header[156..].escape_ascii().to_string(),
        expected[156..].escape_ascii().to_string()
    );
}

#[test]
fn records_in_their_order() {
    let pair = |key: &str, value: &str| (key.as_bytes().to_vec(), value.as_bytes().to_vec());
    let entry = Entry {
        link: "é".into(),
        uid: 2_097_152,
        gid: u32::MAX - 1,
        mtime: Timestamp {
            seconds: -1,
            nanoseconds: 500_000_000,
        },
        xattrs: vec![
            pair("user.b", "2"),
            pair("user.a", "1"),
            pair("trusted.overlay.opaque", "y"),
            pair("user.overlay.opaque", "y"),
            pair("security.selinux", "label"),
        ],
        records: vec![pair("MSWINDOWS.fileattr", "32")],
        ..Entry::new(EntryKind::Symlink, "ü")
    };
    let out = header(&entry);
    assert_eq!(out.len(), 3 * 512);
    let body = out[512..1024]
        .iter()
        .copied()
        .take_while(|byte| *byte != 0)
        .collect();
    let expected = "11 path=ü\n15 linkpath=é\n15 uid=2097152\n18 gid=4294967294\n14 mtime=-0.5\n\
        25 SCHILY.xattr.user.a=1\n25 SCHILY.xattr.user.b=2\n25 MSWINDOWS.fileattr=32\n";
    assert_eq!(String::from_utf8(body).unwrap(), expected);
    let mut archive = out;
    archive.extend_from_slice(&corten_tar::END);
    let mut read = only(&archive);
    assert_eq!(read.xattrs.len(), 2);
    read.xattrs.clone_from(&entry.xattrs);
    assert_eq!(read, entry);
}

#[test]
fn long_names_are_split_or_recorded() {
    #[track_caller]
    fn check(path: &str, expected: usize) {
        let header = header(&file(path));
        assert_eq!(header.len(), 512 * expected, "{path}");
        assert_eq!(
            only(&[&header[..], &corten_tar::END].concat()).path,
            path.as_bytes()
        );
    }
    let name = "n".repeat(100);
    check(&name, 1);
    check(&format!("{name}n"), 3);
    check(&format!("{}/{name}", "p/".repeat(77) + "p"), 1);
    check(&format!("{}/{name}", "p/".repeat(77) + "pp"), 3);
    check(&format!("p/{name}n"), 3);
}

#[test]
fn paths_have_one_spelling() {
    #[track_caller]
    fn check(kind: EntryKind, path: &str, expected: &str) {
        let entry = Entry {
            link: "t".into(),
            ..Entry::new(kind, path)
        };
        let header = header(&entry);
        let written = header.split(|byte| *byte == 0).next().unwrap();
        assert_eq!(written.escape_ascii().to_string(), expected);
    }
    check(EntryKind::Directory, "a/b", "a/b/");
    check(EntryKind::Directory, "a/b/", "a/b/");
    check(EntryKind::Directory, "./a//b//", "a/b/");
    check(EntryKind::Directory, "", "./");
    check(EntryKind::Directory, "/", "./");
    check(EntryKind::File, "/a/./b/", "a/b");
    check(EntryKind::Symlink, "./a", "a");
}

#[test]
fn what_cannot_be_written() {
    #[track_caller]
    fn check(entry: &Entry, expected: &str) {
        let mut out = b"before".to_vec();
        match write_header(entry, &mut out) {
            Err(Error::Unrepresentable { problem, .. }) => assert_eq!(problem, expected),
            other => panic!("{expected}: {other:?}"),
        }
        assert_eq!(out, b"before");
    }
    let pair = |key: &str| (key.as_bytes().to_vec(), b"1".to_vec());
    check(&file(""), "its path is that of the root");
    check(&file("."), "its path is that of the root");
    check(&file("a/../b"), "its path or target holds `..`");
    check(&file("a\0b"), "its path or target holds a NUL");
    check(
        &file(&"n".repeat(256)),
        "a component of its path or target is over 255 bytes",
    );
    check(
        &Entry {
            uid: u32::MAX,
            ..file("a")
        },
        "4294967295 is no user or group",
    );
    check(
        &Entry {
            gid: u32::MAX,
            ..file("a")
        },
        "4294967295 is no user or group",
    );
    check(&Entry::new(EntryKind::Symlink, "a"), "its target is empty");
    check(&Entry::new(EntryKind::HardLink, "a"), "its target is empty");
    let link = Entry {
        link: b"x\0y".to_vec(),
        ..Entry::new(EntryKind::Symlink, "a")
    };
    check(&link, "its target holds a NUL");
    let sized = Entry {
        size: 1,
        ..Entry::new(EntryKind::Directory, "a")
    };
    check(&sized, "only regular files have content");
    check(
        &Entry {
            size: u64::MAX,
            ..file("a")
        },
        "its size is out of range",
    );
    let device = Entry {
        device: (4096, 0),
        ..Entry::new(EntryKind::CharDevice, "a")
    };
    check(&device, "its device number is out of range");
    let mtime = Timestamp {
        seconds: 0,
        nanoseconds: 1_000_000_000,
    };
    check(
        &Entry { mtime, ..file("a") },
        "its mtime has a second of nanoseconds",
    );
    let xattrs = vec![pair("user.a"), pair("user.a")];
    check(
        &Entry {
            xattrs,
            ..file("a")
        },
        "it has two attributes or records of one name",
    );
    check(
        &Entry {
            xattrs: vec![pair("")],
            ..file("a")
        },
        "an attribute or record has no valid name",
    );
    check(
        &Entry {
            xattrs: vec![pair("a=b")],
            ..file("a")
        },
        "an attribute's name holds a `=`",
    );
    let large = vec![(b"user.a".to_vec(), vec![0; 1 << 20])];
    check(
        &Entry {
            xattrs: large,
            ..file("a")
        },
        "its attributes are over 1 MiB",
    );
    for key in [
        "path",
        "size",
        "GNU.sparse.map",
        "SCHILY.xattr.user.a",
        "a=b",
    ] {
        let records = vec![pair(key)];
        check(
            &Entry {
                records,
                ..file("a")
            },
            "a record has a key that is not its own",
        );
    }
}

#[test]
fn a_path_is_written_once() {
    let mut writer = Writer::new(Vec::new());
    writer.entry(&file("a/b"), &mut std::io::empty()).unwrap();
    writer.entry(&file("ab"), &mut std::io::empty()).unwrap();
    let error = writer.entry(
        &Entry::new(EntryKind::Directory, "/a//b/"),
        &mut std::io::empty(),
    );
    assert_eq!(
        chain(&error.unwrap_err()),
        "`/a//b/` cannot be written to an archive: an entry of this path is there already"
    );
}

#[test]
fn bodies_have_the_size_that_was_said() {
    #[track_caller]
    fn check(body: &[u8], expected: &str) {
        let entry = Entry {
            size: 4,
            ..file("a")
        };
        let error = Writer::new(Vec::new())
            .entry(&entry, &mut &*body)
            .unwrap_err();
        assert_eq!(chain(&error), expected);
    }
    check(b"abc", "`a` has 3 bytes of content, expected 4");
    check(b"", "`a` has 0 bytes of content, expected 4");
    check(b"abcdefgh", "`a` has 5 bytes of content, expected 4");
}
