//! What headers mean: `layers.md`, rules 53 to 56, 60, 66 to 70.

use corten_tar::{EntryKind, Timestamp};

use crate::archive::{Archive, GNU, USTAR, V7, only, read};

#[test]
fn typeflags() {
    #[track_caller]
    fn check(magic: &[u8], flag: u8, name: &[u8], expected: EntryKind) {
        let entry = only(&Archive::new().file(magic, flag, name, b"").end());
        assert_eq!(
            (entry.kind, &entry.path[..]),
            (expected, name),
            "{}",
            flag.escape_ascii()
        );
    }
    check(USTAR, b'0', b"a", EntryKind::File);
    check(USTAR, 0, b"a", EntryKind::File);
    check(USTAR, b'7', b"a", EntryKind::File);
    check(USTAR, b'1', b"a", EntryKind::HardLink);
    check(USTAR, b'2', b"a", EntryKind::Symlink);
    check(USTAR, b'3', b"a", EntryKind::CharDevice);
    check(USTAR, b'4', b"a", EntryKind::BlockDevice);
    check(USTAR, b'5', b"a", EntryKind::Directory);
    check(USTAR, b'6', b"a", EntryKind::Fifo);
    check(USTAR, 0, b"a/", EntryKind::Directory);
    check(V7, b'0', b"a/", EntryKind::Directory);
    check(V7, 0, b"a/", EntryKind::Directory);
    check(USTAR, b'0', b"a/", EntryKind::File);
    check(GNU, b'0', b"a/", EntryKind::File);
    check(USTAR, b'5', b"\xff\n\\\x01/", EntryKind::Directory);
}

#[test]
fn fields_of_a_plain_header() {
    let archive = Archive::new().header(
        USTAR,
        b'3',
        &[
            (100, b"0104755\0"),
            (136, b"00000000012\0"),
            (157, b"ignored"),
            (265, b"somebody"),
            (329, b"0000010\0"),
            (337, b"0000007\0"),
        ],
    );
    let entry = only(&archive.end());
    assert_eq!(entry.mode, 0o4755);
    assert_eq!((entry.uid, entry.gid), (0o1750, 0o1751));
    assert_eq!(entry.mtime, Timestamp::from_seconds(10));
    assert_eq!(entry.device, (8, 7));
    assert_eq!(entry.link, b"");
}

#[test]
fn numbers_in_base_256() {
    let archive = Archive::new().header(
        GNU,
        b'0',
        &[
            (108, b"\x80\0\0\0\xff\xff\xff\xfe"),
            (136, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe"),
        ],
    );
    let entry = only(&archive.end());
    assert_eq!(entry.uid, u32::MAX - 1);
    assert_eq!(entry.mtime, Timestamp::from_seconds(-2));
}

#[test]
fn gnu_long_names() {
    let (name, link) = ([b'n'; 300], [b'l'; 300]);
    let archive = Archive::new()
        .file(GNU, b'K', b"././@LongLink", &[&link[..], b"\0"].concat())
        .file(GNU, b'L', b"././@LongLink", &[&name[..], b"\0"].concat())
        .header(GNU, b'2', &[(157, b"short")])
        .header(GNU, b'2', &[(157, b"short")]);
    let entries = read(&archive.end()).unwrap();
    assert_eq!(entries[0].0.entry.path, name);
    assert_eq!(entries[0].0.entry.link, link);
    assert_eq!(
        (&entries[1].0.entry.path[..], &entries[1].0.entry.link[..]),
        (&b"name"[..], &b"short"[..])
    );
}

#[test]
fn extended_headers_override_one_entry() {
    let archive = Archive::new()
        .pax(
            b'x',
            &[
                ("path", b"long\xff"),
                ("linkpath", b"target"),
                ("uid", b"4294967294"),
                ("gid", b"3000000"),
                ("mtime", b"-1.25"),
                ("SCHILY.xattr.user.b", b"\0=\n"),
                ("LIBARCHIVE.xattr.user.a", b"YQ"),
                ("MSWINDOWS.fileattr", b"32"),
            ],
        )
        .header(USTAR, b'1', &[(157, b"short")])
        .header(USTAR, b'0', &[]);
    let entries = read(&archive.end()).unwrap();
    let entry = &entries[0].0.entry;
    assert_eq!(
        (&entry.path[..], &entry.link[..]),
        (&b"long\xff"[..], &b"target"[..])
    );
    assert_eq!((entry.uid, entry.gid), (u32::MAX - 1, 3_000_000));
    assert_eq!(
        entry.mtime,
        Timestamp {
            seconds: -2,
            nanoseconds: 750_000_000
        }
    );
    assert_eq!(
        entry.xattrs,
        [
            (b"user.a".to_vec(), b"a".to_vec()),
            (b"user.b".to_vec(), b"\0=\n".to_vec())
        ]
    );
    assert_eq!(
        entry.records,
        [(b"MSWINDOWS.fileattr".to_vec(), b"32".to_vec())]
    );
    assert_eq!(entries[1].0.entry.path, b"name");
    assert_eq!(entries[1].0.entry.uid, 0o1750);
}

#[test]
fn the_pax_size_counts_in_both_directions() {
    // CVE-2025-62518: the header says that there is no body, so a reader that believes it takes
    // the entry inside for one of the archive.
    let inner = Archive::new().file(USTAR, b'0', b"smuggled", b"").0;
    let larger = Archive::new()
        .pax(b'x', &[("size", inner.len().to_string().as_bytes())])
        .header(USTAR, b'0', &[])
        .body(&inner)
        .file(USTAR, b'0', b"after", b"");
    let paths: Vec<_> = read(&larger.end())
        .unwrap()
        .into_iter()
        .map(|(located, _)| located.entry.path)
        .collect();
    assert_eq!(paths, [&b"name"[..], b"after"]);

    let smaller = Archive::new()
        .pax(b'x', &[("size", b"0")])
        .header(USTAR, b'0', &[(124, b"00000001000\0")])
        .file(USTAR, b'0', b"after", b"");
    assert_eq!(read(&smaller.end()).unwrap().len(), 2);
}

#[test]
fn only_files_have_bodies() {
    for flag in *b"123456" {
        let archive = Archive::new()
            .pax(b'x', &[("size", b"512")])
            .header(USTAR, flag, &[(124, b"00000001000\0")])
            .file(USTAR, b'0', b"after", b"");
        let entries = read(&archive.end()).unwrap();
        assert_eq!(
            (entries.len(), entries[0].0.entry.size),
            (2, 0),
            "{}",
            flag.escape_ascii()
        );
    }
}

#[test]
fn global_headers_and_volume_labels_say_nothing() {
    let archive = Archive::new()
        .file(GNU, b'V', b"label", b"")
        .pax(
            b'g',
            &[
                ("comment", b"0123456789abcdef"),
                ("path", b"all"),
                ("uid", b"0"),
            ],
        )
        .file(USTAR, b'0', b"name", b"text");
    let entry = only(&archive.end());
    assert_eq!((&entry.path[..], entry.uid), (&b"name"[..], 0o1750));
}

#[test]
fn ends_of_archives() {
    #[track_caller]
    fn check(archive: &[u8], expected: usize) {
        assert_eq!(read(archive).unwrap().len(), expected);
    }
    let entry = Archive::new().file(USTAR, b'0', b"a", b"text").0;
    check(b"", 0);
    check(&[0; 512], 0);
    check(&[0; 1024], 0);
    check(&[0; 10240], 0);
    check(&entry, 1);
    check(&[&entry[..], &[0; 512]].concat(), 1);
    check(&[&entry[..], &[0; 1024], &entry, b"anything"].concat(), 1);
}

#[test]
fn what_follows_the_end_is_read_and_ignored() {
    let mut archive = Archive::new().file(USTAR, b'0', b"a", b"text").end();
    archive.resize(archive.len() + 100_000, 7);
    let mut reader = corten_tar::Reader::new(
        std::io::Cursor::new(&archive),
        corten_tar::Limits::default(),
    );
    while reader.next_entry().unwrap().is_some() {}
    let inner = reader.finish().unwrap();
    assert_eq!(inner.position(), archive.len() as u64);
}
