//! What is refused: `layers.md`, rules 10, 55, 63, 66, 69 to 72.

use crate::archive::{Archive, GNU, USTAR, chain, read};

#[track_caller]
fn check(archive: &[u8], expected: &str) {
    assert_eq!(chain(&read(archive).unwrap_err()), expected);
}

#[test]
fn headers() {
    let file = Archive::new().file(USTAR, b'0', b"a", b"text");
    let mut bad = file.clone().end();
    bad[3] = 1;
    check(
        &bad,
        "the header at byte 0 is malformed: its checksum does not match",
    );
    let mut late = file.clone().end();
    late.splice(1024..1024, [9; 512]);
    check(
        &late,
        "the header at byte 1024 is malformed: a numeric field is not octal",
    );
    check(
        &file.0[..514],
        "the archive ends at byte 514, inside an entry",
    );
    check(
        &file.0[..100],
        "the archive ends at byte 100, inside an entry",
    );
    let gap = [&file.0[..], &[0; 512], &file.0].concat();
    check(
        &gap,
        "the end marker at byte 1024 is malformed: a header follows its first block",
    );
    check(
        &[&file.0[..], &[0; 700]].concat(),
        "the archive ends at byte 1724, inside an entry",
    );
}

#[test]
fn bodies_where_there_are_none() {
    let archive = Archive::new().file(USTAR, b'5', b"a", b"text").end();
    check(
        &archive,
        "the header at byte 512 is malformed: its checksum does not match",
    );
}

#[test]
fn types() {
    for flag in *b"MDNXASs89" {
        let flag_text = flag.escape_ascii();
        check(
            &Archive::new().header(USTAR, flag, &[]).end(),
            &format!("`name` at byte 0 has the unknown type `{flag_text}`"),
        );
    }
}

#[test]
fn numbers() {
    #[track_caller]
    fn field(flag: u8, field: (usize, &[u8]), expected: &str) {
        check(&Archive::new().header(GNU, flag, &[field]).end(), expected);
    }
    let minus_one = &[0xff; 12];
    field(
        b'0',
        (108, &minus_one[..8]),
        "`name` has the uid -1, which is out of range",
    );
    field(
        b'0',
        (116, &minus_one[..8]),
        "`name` has the gid -1, which is out of range",
    );
    field(
        b'0',
        (108, b"\x80\0\0\0\xff\xff\xff\xff"),
        "`name` has the uid 4294967295, which is out of range",
    );
    let size = "the header at byte 0 is malformed: its size is out of range";
    field(b'0', (124, minus_one), size);
    field(b'0', (124, b"\x80\0\0\x01\0\0\0\0\0\0\0\0"), size);
    field(b'5', (124, minus_one), size);
    field(
        b'5',
        (124, b"00009\0"),
        "the header at byte 0 is malformed: a numeric field is not octal",
    );
    field(
        b'0',
        (100, b"00009\0"),
        "the header at byte 0 is malformed: a numeric field is not octal",
    );
    let major = "`name` has the device major number 4096, which is out of range";
    field(b'3', (329, b"0010000\0"), major);
    let minor = "`name` has the device minor number 1048576, which is out of range";
    field(b'4', (337, b"4000000\0"), minor);
    field(
        b'3',
        (329, b"\x80\0\0\x02\0\0\0\0"),
        "`name` has the device major number 8589934592, which is out of range",
    );
}

#[test]
fn extended_headers() {
    #[track_caller]
    fn pax(records: &[(&str, &[u8])], expected: &str) {
        check(
            &Archive::new()
                .pax(b'x', records)
                .header(USTAR, b'0', &[])
                .end(),
            expected,
        );
    }
    let prefix = "the extended header at byte 0 is malformed";
    pax(
        &[("path", b"a\0b")],
        &format!("{prefix}: a name holds a NUL"),
    );
    pax(
        &[("size", b"-1")],
        &format!("{prefix}: its size is no number"),
    );
    pax(
        &[("uid", b"4294967295")],
        "`name` has the uid 4294967295, which is out of range",
    );
    pax(
        &[("gid", b"-1")],
        "`name` has the gid -1, which is out of range",
    );
    let raw = Archive::new()
        .file(USTAR, b'x', b"pax", b"9 path=a")
        .header(USTAR, b'0', &[]);
    check(
        &raw.end(),
        &format!("{prefix}: a record is longer than its header"),
    );
    let global = Archive::new().file(USTAR, b'g', b"pax", b"9 path=a");
    check(
        &global.end(),
        "the global header at byte 0 is malformed: a record is longer than its header",
    );
}

#[test]
fn extended_headers_that_are_not_one_for_one() {
    let path: &[(&str, &[u8])] = &[("path", b"a")];
    let one = Archive::new().pax(b'x', path);
    check(
        &one.clone().end(),
        "the extended header at byte 1024 is malformed: it has no entry",
    );
    check(
        &one.0,
        "the extended header at byte 1024 is malformed: it has no entry",
    );
    check(
        &one.clone().pax(b'x', path).header(USTAR, b'0', &[]).end(),
        "the extended header at byte 1024 is malformed: its entry has another one",
    );
    check(
        &one.clone()
            .file(GNU, b'L', b"long", b"b\0")
            .header(GNU, b'0', &[])
            .end(),
        "the extended header at byte 2048 is malformed: its entry has a GNU long name too",
    );
    check(
        &one.file(GNU, b'V', b"label", b"").end(),
        "the volume header at byte 1024 is malformed: an extended header precedes it",
    );
    let long = Archive::new()
        .file(GNU, b'L', b"long", b"b\0")
        .file(GNU, b'L', b"long", b"c\0");
    check(
        &long.end(),
        "the long name at byte 1024 is malformed: its entry has another one",
    );
}
