//! Layers: archives, their entries, whiteouts.

use corten_spec::media_type;
use corten_tar::{Compression, Entry, EntryKind};

use super::{Case, base, items, layer, raw, stored_layer};
use crate::archive::{Item, Raw, compress, directory, file, link, tar};

pub(super) fn cases() -> Vec<Case> {
    let gzip = compress(&base(), Compression::Gzip);
    let gzip_and = |more: &[u8]| [&gzip[..], more].concat();
    let xattr = |expected, name: &str| {
        let key = format!("SCHILY.xattr.{name}");
        raw(
            expected,
            Raw::default().pax(b'x', &key, "y").file("x", b'0', b""),
        )
    };
    let long: &'static str = format!("must LYR-15 {}@0", "n".repeat(256)).leak();
    let mut device = Item(Entry::new(EntryKind::CharDevice, "null"), "");
    device.0.device = (0, 0);
    let size: (usize, &[u8]) = (124, b"00000001000\0");
    let mut cut = base();
    cut.truncate(1026);
    vec![
        stored_layer(
            "must LYR-01",
            media_type::OCI_LAYER_GZIP,
            &gzip[..gzip.len() / 2],
            &base(),
        ),
        layer("must LYR-02 @1026", &cut),
        raw("must LYR-02 @0", Raw::default().body(&[1; 512])),
        raw(
            "must LYR-02 @0",
            Raw::default().pax(b'x', "size", "x").file("a", b'0', b""),
        ),
        raw(
            "should LYR-02 a@1024",
            Raw::default().pax(b'g', "path", "b").file("a", b'0', b""),
        ),
        raw(
            "note LYR-02 a@512",
            Raw::default().file("label", b'V', b"").file("a", b'0', b""),
        ),
        raw(
            "should LYR-02 a@0",
            Raw::default()
                .pax(b'x', "size", "512")
                .header("a", b'0', &[])
                .body(&[1; 512]),
        ),
        raw(
            "should LYR-02 a/@0",
            Raw::default().header("a/", b'5', &[size]),
        ),
        layer("note LYR-03", &tar(&[file("x", "1")])[..1024]),
        layer(
            "should LYR-03",
            &[&tar(&[file("x", "1")])[..], b"more"].concat(),
        ),
        raw(
            "must LYR-04 .//x@1024",
            Raw::default()
                .file("x", b'0', b"1")
                .file(".//x", b'0', b"2"),
        ),
        raw(
            "must LYR-04 .wh.y@512",
            Raw::default()
                .file(".wh.y", b'0', b"")
                .file(".wh.y", b'0', b""),
        ),
        items(
            "should LYR-04 l/x@1536",
            &[
                directory("d"),
                link(EntryKind::Symlink, "l", "d"),
                file("d/x", ""),
                file("l/x", ""),
            ],
        ),
        raw(
            "must LYR-05 x@0",
            Raw::default().file("x", b'D', b"1").file("y", b'0', b""),
        ),
        raw(
            "must LYR-05 x@0",
            Raw::default().header("x", b'3', &[(329, b"7777777\0")]),
        ),
        raw("note LYR-05 x@0", Raw::default().file("x", b'7', b"1")),
        items("should LYR-05 null@0", &[device]),
        raw(
            "must LYR-07 x@0",
            Raw::default()
                .pax(b'x', "uid", "4294967295")
                .file("x", b'0', b"1"),
        ),
        raw(
            "must LYR-07 x@0",
            Raw::default().pax(b'x', "gid", "-1").file("x", b'0', b"1"),
        ),
        xattr("should LYR-09 x@0", "trusted.overlay.opaque"),
        xattr("note LYR-09 x@0", "security.selinux"),
        raw("must LYR-10 x@0", Raw::default().header("x", b'2', &[])),
        raw(
            "note LYR-13 x@0",
            Raw::default()
                .pax(b'x', "LIBARCHIVE.xattr.user.a", "MQ")
                .file("x", b'0', b""),
        ),
        raw(
            long,
            Raw::default()
                .pax(b'x', "path", &"n".repeat(256))
                .file("x", b'0', b""),
        ),
        raw(
            "should LYR-16 x@0",
            Raw::default()
                .records(
                    b'x',
                    &[
                        ("GNU.sparse.size", "10"),
                        ("GNU.sparse.numblocks", "1"),
                        ("GNU.sparse.map", "0,1"),
                    ],
                )
                .file("x", b'0', b"1"),
        ),
        items("must LYR-17 x@0", &[link(EntryKind::HardLink, "x", "etc")]),
        items(
            "note LYR-19 x@0",
            &[link(EntryKind::HardLink, "x", "etc/motd")],
        ),
        items(
            "must LYR-20 x@0",
            &[link(EntryKind::HardLink, "x", "y"), file("y", "")],
        ),
        raw(
            "must LYR-20 x@512",
            Raw::default()
                .file("x", b'0', b"")
                .header("x", b'1', &[(157, b"x")]),
        )
        .with(&["LYR-04"]),
        raw(
            "must LYR-27 ./@0",
            Raw::default().header("./", b'2', &[(157, b"etc")]),
        ),
        items("should LYR-28 etc/.wh.motd@0", &[file("etc/.wh.motd", "1")]),
        items("must LYR-29 etc/.wh.@0", &[file("etc/.wh.", "")]),
        items("must LYR-29 .wh...@0", &[file(".wh...", "")]),
        items("should LYR-31 .wh.x/y@0", &[file(".wh.x/y", "1")]),
        items("should LYR-31 .wh..wh.aufs@0", &[file(".wh..wh.aufs", "")]),
        items(
            "should LYR-34 etc/.wh.motd@512",
            &[file("etc/a", ""), file("etc/.wh.motd", "")],
        ),
        items("should LYR-35 .wh.etc/@0", &[directory(".wh.etc")]),
        items(
            "should LYR-36 etc/.wh..wh..opq@0",
            &[file("etc/.wh..wh..opq", "")],
        ),
        items("note LYR-39 etc/.wh.other@0", &[file("etc/.wh.other", "")]),
        items("note LYR-41 a/b@0", &[file("a/b", "")]),
        items(
            "must LYR-43 a/x@1024",
            &[
                link(EntryKind::Symlink, "a", "b"),
                link(EntryKind::Symlink, "b", "a"),
                file("a/x", ""),
            ],
        ),
        stored_layer(
            "must LYR-62",
            media_type::OCI_LAYER_GZIP,
            &gzip_and(b"\0\0x"),
            &base(),
        ),
        raw("note LYR-70 /x@0", Raw::default().file("/x", b'0', b"")),
        raw(
            "should LYR-71 a/../x@0",
            Raw::default().file("a/../x", b'0', b""),
        ),
    ]
}
