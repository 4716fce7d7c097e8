//! Every limit, and that its error has its name: `layers.md`, rules 69 and 75.

use corten_tar::{Error, Limits};

use crate::archive::{Archive, GNU, USTAR, read, read_with};

#[track_caller]
fn check(archive: &[u8], limits: Limits, expected: &str) {
    match read_with(archive, limits) {
        Err(Error::Limit { limit, .. }) => assert_eq!(limit, expected),
        other => panic!("{expected}: {other:?}"),
    }
}

#[test]
fn each_has_its_name() {
    let defaults = Limits::default();
    let two = Archive::new()
        .file(USTAR, b'0', b"a", &[1; 600])
        .file(USTAR, b'0', b"b/c/d", b"");
    let two = two.end();
    assert!(read(&two).is_ok());
    check(
        &two,
        Limits {
            entries: 1,
            ..defaults
        },
        "entries",
    );
    check(
        &two,
        Limits {
            file_bytes: 599,
            ..defaults
        },
        "file_bytes",
    );
    check(
        &two,
        Limits {
            total_bytes: 1024,
            ..defaults
        },
        "total_bytes",
    );
    check(
        &two,
        Limits {
            path_bytes: 4,
            ..defaults
        },
        "path_bytes",
    );
    check(
        &two,
        Limits {
            path_depth: 2,
            ..defaults
        },
        "path_depth",
    );
    let pax = Archive::new()
        .pax(b'x', &[("comment", &[b'a'; 1000])])
        .header(USTAR, b'0', &[]);
    check(
        &pax.end(),
        Limits {
            pax_bytes: 1000,
            ..defaults
        },
        "pax_bytes",
    );
    let long = Archive::new()
        .file(GNU, b'L', b"long", &[b'a'; 102])
        .header(GNU, b'0', &[]);
    check(
        &long.end(),
        Limits {
            path_bytes: 100,
            ..defaults
        },
        "path_bytes",
    );
    let map = [
        ("GNU.sparse.size", &b"9"[..]),
        ("GNU.sparse.map", b"0,1,2,1"),
    ];
    let sparse = Archive::new()
        .pax(b'x', &map)
        .file(USTAR, b'0', b"a", b"ab");
    assert!(read(&sparse.clone().end()).is_ok());
    check(
        &sparse.end(),
        Limits {
            sparse_segments: 1,
            ..defaults
        },
        "sparse_segments",
    );
}

#[test]
fn sizes_that_are_only_claimed_cost_nothing() {
    let defaults = Limits::default();
    // Without a limit on what is claimed these would be allocations, or years of zeros.
    let huge = b"77777777777\0";
    for flag in *b"xg" {
        let archive = Archive::new().header(USTAR, flag, &[(124, huge)]).end();
        check(&archive, defaults, "pax_bytes");
    }
    for flag in *b"LK" {
        let archive = Archive::new().header(GNU, flag, &[(124, huge)]).end();
        check(&archive, defaults, "path_bytes");
    }
    let base_256 = b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff";
    check(
        &Archive::new().header(GNU, b'0', &[(124, base_256)]).end(),
        defaults,
        "file_bytes",
    );
    let unlimited = Limits {
        file_bytes: u64::MAX,
        total_bytes: u64::MAX,
        ..defaults
    };
    let truncated = read_with(
        &Archive::new().header(GNU, b'0', &[(124, base_256)]).0,
        unlimited,
    );
    assert!(
        matches!(truncated, Err(Error::Truncated { offset: 512 })),
        "{truncated:?}"
    );
    // A hole of 64 GiB and a byte, in a KiB.
    let map = [
        ("GNU.sparse.size", &b"68719476737"[..]),
        ("GNU.sparse.map", b"0,0"),
    ];
    let sparse = Archive::new()
        .pax(b'x', &map)
        .header(USTAR, b'0', &[])
        .end();
    check(&sparse, defaults, "file_bytes");
    // Bytes after the end are counted too.
    let tail = [&[0; 1024][..], &[1; 5000]].concat();
    check(
        &tail,
        Limits {
            total_bytes: 3000,
            ..defaults
        },
        "total_bytes",
    );
}
