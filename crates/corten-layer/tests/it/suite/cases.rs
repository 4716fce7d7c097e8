//! The cases, in the order of the rules.

use super::Expected::{Error, Except, Refused, Tree};
use super::{Case, Elsewhere, Expected};

const fn case(
    rules: &'static [u8],
    layers: &'static [&'static [&'static str]],
    expected: Expected,
) -> Case {
    Case {
        rules,
        layers,
        expected,
    }
}

/// A directory with attributes of its own and something in it.
const OLD: &[&str] = &[
    "d d mode=0700 owner=5:6 mtime=7.25 xattr.user.k=v",
    "f d/old",
    "d d/sub mode=0711",
    "f d/sub/old",
];
const OLD_DIRECTORY: &str = "d d mode=0700 owner=5:6 mtime=7+250000000 xattr.user.k=v";

#[rustfmt::skip]
pub(super) const CASES: &[Case] = &[
    // Names.
    case(&[6], &[&["f a%0Ab", "f a%5Cb", "f %FF", "f caf%C3%A9", "f cafe%CC%81", "f cafe%CC%81x", "f .wh.%FF"]],
        Tree(&["f a%0Ab", "f a%5Cb", "f %FF", "f caf%C3%A9", "f cafe%CC%81", "f cafe%CC%81x"])),
    case(&[7], &[&["d ./d/ mode=0700", "f /d//a", "f d/./b", "f ./d/a"], &["f .//d/.wh.b"]],
        Tree(&["d d mode=0700", "f d/a"])),
    case(&[8], &[&["f {n*255}", "f {d*255}/{n*255}"]], Tree(&["f {n*255}", "d {d*255}", "f {d*255}/{n*255}"])),
    case(&[8], &[&["f {n*256}"]], Error("longer than 255 bytes")),
    case(&[9], &[&["f ../../a", "d a/../.. mode=0", "d d", "f d/../../b"]], Tree(&["f a", "d d", "f b"])),
    case(&[10], &[&["f a pax.path=b%00c"]], Error("NUL")),
    case(&[10], &[&["l a -> x pax.linkpath=b%00c"]], Error("NUL")),
    case(&[11], &[&["f a"], &["d ./ mode=0711 owner=1:2 mtime=3.5 xattr.user.k=v"]],
        Tree(&["d . mode=0711 owner=1:2 mtime=3+500000000 xattr.user.k=v", "f a"])),
    case(&[11], &[&["l . -> tmp"]], Error("the root can only be a directory")),
    // Whiteouts.
    case(&[12], &[OLD, &["f .wh.d"]], Tree(&[])),
    case(&[13], &[&["f a"], &["f d/.wh..."]], Error("whiteout of nothing")),
    case(&[13], &[&["f a"], &["f .wh."]], Error("whiteout of nothing")),
    case(&[14], &[&["f a", "f b", "f c", "f t"], &["d .wh.a mode=0", "l .wh.b -> t", "f .wh.c text=body"]], Tree(&["f t"])),
    case(&[15], &[&["f a", "f b"], &["d .wh.a", "f .wh.a/x", "f .wh.b/y"]], Tree(&["f b"])),
    case(&[16], &[&["f a", "f b"], &["f .wh.a", "f a", "f b", "f .wh.b"]], Tree(&["f a text=2", "f b text=2"])),
    case(&[17], &[OLD, &["d d mode=0711", "f d/new", "f .wh.d"]], Tree(&["d d mode=0711", "f d/new text=2"])),
    case(&[17, 18], &[OLD, &["f d/sub/new mtime=9", "f .wh.d"]],
        Tree(&["d d mtime=9", "d d/sub mtime=9", "f d/sub/new text=2 mtime=9"])),
    case(&[19], &[&["f a", "f b"], &["f .wh.a", "f ./.wh.a"]], Tree(&["f b"])),
    case(&[20], &[&["f a"], &["f .wh.b", "f no/.wh.x", "f a/.wh.y"]], Tree(&["f a"])),
    case(&[21], &[OLD, &["f .wh.d", "f d/.wh.old", "f d/sub/.wh.old"]], Tree(&[])),
    case(&[22], &[&["f t", "l a -> t"], &["f .wh.a"]], Tree(&["f t"])),
    case(&[23], &[&["d r mtime=4", "f r/a", "l s -> /r", "l gone -> no"], &["f s/.wh.a", "f gone/.wh.a"]],
        Tree(&["d r mtime=4", "l s -> /r", "l gone -> no"])),
    // Opaque whiteouts and what AUFS left.
    case(&[24], &[OLD, &["f d/sub/new", "f d/old", "f d/.wh..wh..opq"]],
        Tree(&[OLD_DIRECTORY, "d d/sub", "f d/sub/new text=2", "f d/old text=2"])),
    case(&[25], &[OLD, &["f d/.wh..wh..opq"]], Tree(&[OLD_DIRECTORY])),
    case(&[26], &[&["f d"], &["f d/.wh..wh..opq"]], Tree(&["d d"])),
    case(&[27], &[&["d . mode=0711", "f a"], &["f b", "f .wh..wh..opq"]], Tree(&["d . mode=0711", "f b text=2"])),
    case(&[28], &[OLD, &["f d/.wh.old", "f d/.wh..wh..opq", "f d/a"], &["f d/b"]],
        Tree(&[OLD_DIRECTORY, "f d/a text=2", "f d/b text=3"])),
    case(&[28], &[&["f .wh..wh.aufs", "d .wh..wh.orph", "f .wh..wh.orph/x", "d .wh..wh.plnk", "f .wh..wh.plnk/1.2 mode=4711",
            "h a -> .wh..wh.plnk/1.2", "h b -> a"]],
        Tree(&["f a mode=4711", "f b mode=4711 = a"])),
    // Hard links.
    case(&[29], &[&["f a mode=4755 owner=1:2 mtime=3", "h b -> a mode=0600 owner=9:9 mtime=9"]],
        Tree(&["f a mode=4755 owner=1:2 mtime=3", "f b mode=4755 owner=1:2 mtime=3 = a"])),
    case(&[30], &[&["f a", "f c"], &["h b -> a", "f a", "h d -> c", "f .wh.c"]], Tree(&["f a text=2", "f b", "f d"])),
    case(&[31], &[&["f a"], &["f .wh.a", "h b -> a"]], Error("target of the hard link is not there")),
    case(&[32], &[&["h b -> a", "f a"]], Error("target of the hard link is not there")),
    case(&[33], &[&["f a", "h ./a -> /a"]], Error("hard link to itself")),
    case(&[34], &[&["d d", "h b -> d"]], Error("hard link to a directory")),
    case(&[35], &[&["f t", "l a -> t", "h b -> a", "p p", "h q -> p"]],
        Tree(&["f t", "l a -> t", "l b -> t = a", "p p", "p q = p"])),
    case(&[36], &[&["d usr", "f usr/a", "l lib -> /usr", "h b -> /lib/a", "h c -> ../../lib/a"]],
        Tree(&["d usr", "f usr/a = b", "l lib -> /usr", "f b", "f c = b"])),
    case(&[36], &[&["h b -> ../../../../../../etc/passwd"]], Error("target of the hard link is not there")),
    case(&[37], &[&["f a", "h b -> a", "l s -> a"], &["f b", "f s"]], Tree(&["f a", "f b text=2", "f s text=2"])),
    // Containment and symbolic links.
    case(&[38], &[&["l a -> /etc/passwd", "l b -> ../../..", "l c -> c", "l d -> no/../x//y/"]],
        Tree(&["l a -> /etc/passwd", "l b -> ../../..", "l c -> c", "l d -> no/../x//y/"])),
    case(&[39], &[&["l a"]], Error("symbolic link to nothing")),
    case(&[40], &[&["d in", "l a -> ../../in", "l b -> /a"], &["f a/x", "f b/y"]],
        Tree(&["d in", "f in/x text=2", "f in/y text=2", "l a -> ../../in", "l b -> /a"])),
    case(&[41], &[&["l a -> /no/where"], &["f a/x mtime=3"]],
        Tree(&["l a -> /no/where", "d no mtime=3", "d no/where mtime=3", "f no/where/x text=2 mtime=3"])),
    case(&[42], &[&["l a -> b", "l b -> a", "f a/x"]], Error("40 symbolic links")),
    case(&[42], &[&["l a -> a/b", "f a/x"]], Error("40 symbolic links")),
    case(&[43], &[&["d usr", "d usr/lib mode=0711 mtime=5", "f usr/lib/a", "l lib -> usr/lib"], &["f lib/foo"]],
        Tree(&["d usr", "d usr/lib mode=0711 mtime=5", "f usr/lib/a", "f usr/lib/foo text=2", "l lib -> usr/lib"])),
    case(&[44], &[&["d r", "f r/a", "l s -> r", "l out -> /../..", "f keep"], &["f s/.wh..wh..opq", "f out/.wh.no", "f s/b"]],
        Tree(&["d r", "f r/b text=2", "l s -> r", "l out -> /../..", "f keep"])),
    case(&[45], &[&["d d mode=0700 mtime=3", "f d/a", "d r mtime=4", "l d -> r"]], Tree(&["d r mtime=4", "l d -> r"])),
    // Changes of type.
    case(&[46], &[OLD, &["d d mode=0711 owner=1:1 mtime=2"]],
        Tree(&["d d mode=0711 owner=1:1 mtime=2", "f d/old", "d d/sub mode=0711", "f d/sub/old"])),
    case(&[47], &[&["d r", "f r/a", "l s -> r"], &["d s mode=0700", "f s/b"]],
        Tree(&["d r", "f r/a", "d s mode=0700", "f s/b text=2"])),
    case(&[48], &[&["f t", "l a -> t", "p b", "c e dev=1:3", "d d", "f d/x", "f f"], &["f a", "f b", "f e", "f d", "d f"]],
        Tree(&["f t", "f a text=2", "f b text=2", "f e text=2", "f d text=2", "d f"])),
    case(&[49], &[&["f a", "h b -> a", "h c -> a"], &["f a mode=0600"]], Tree(&["f a text=2 mode=0600", "f b", "f c = b"])),
    case(&[50], &[&["d r", "d d", "f d/old"], &["l d -> r", "f d/new"]], Tree(&["d r", "f r/new text=2", "l d -> r"])),
    case(&[51], &[&["f a"], &["f a/b"]], Tree(&["d a", "f a/b text=2"])),
    case(&[52], &[&["f a", "d a", "f a/b", "d a mode=0700", "f x text=first", "f ./x text=last"]],
        Tree(&["d a mode=0700", "f a/b", "f x text=last"])),
    // Attributes.
    case(&[53], &[&["f a mode=104755 owner=3:4 xattr.security.capability=%01%00%00%02%00%20{%00*14}"]],
        Tree(&["f a mode=4755 owner=3:4 xattr.security.capability=%01%00%00%02%00%20{%00*14}"])),
    case(&[54], &[&["d d mode=0000", "f d/a mode=0000", "d t mode=3777", "f s mode=6711"]],
        Tree(&["d d mode=0000", "f d/a mode=0000", "d t mode=3777", "f s mode=6711"])),
    case(&[55], &[&["f a owner=4294967294:3000000", "f b pax.uid=2500000000 pax.gid=7"]],
        Tree(&["f a owner=4294967294:3000000", "f b owner=2500000000:7"])),
    case(&[55], &[&["f a pax.uid=4294967295"]], Error("4294967295, which is out of range")),
    case(&[55], &[&["f a owner=0:4294967296"]], Error("4294967296, which is out of range")),
    case(&[55], &[&["f a pax.gid=-1"]], Error("-1, which is out of range")),
    case(&[56], &[&["f a mtime=-1.25", "f b mtime=1700000000.123456789", "l c -> x mtime=-5.5"]],
        Tree(&["f a mtime=-2+750000000", "f b mtime=1700000000+123456789", "l c -> x mtime=-6+500000000"])),
    case(&[57], &[&["d d mtime=3", "f d/a", "f d/b"], &["d d mtime=4", "f d/.wh.a", "f d/c"]],
        Tree(&["d d mtime=4", "f d/b", "f d/c text=2"])),
    case(&[58], &[OLD, &["f d/new", "f d/.wh.old"]],
        Tree(&[OLD_DIRECTORY, "f d/new text=2", "d d/sub mode=0711", "f d/sub/old"])),
    case(&[59], &[&["f a/b/c mtime=5", "f a/d mtime=6"]],
        Tree(&["d a mtime=5", "d a/b mtime=5", "f a/b/c mtime=5", "f a/d mtime=6"])),
    case(&[60], &[&["f a xattr.user.k=%00%0A=%FF xattr.user.e= pax.LIBARCHIVE.xattr.user.b%2561=dmFsdWU pax.LIBARCHIVE.xattr.user.k=bG9zdA"]],
        Tree(&["f a xattr.user.ba=value xattr.user.e= xattr.user.k=%00%0A=%FF"])),
    case(&[61], &[&["d d xattr.trusted.overlay.opaque=y xattr.user.overlay.opaque=y xattr.security.selinux=x xattr.user.k=v"],
            &["d d xattr.trusted.overlay.redirect=/ xattr.user.overlay.metacopy=y", "f d/a"]],
        Tree(&["d d", "f d/a text=2"])),
    case(&[62], &[&["l a -> x xattr.user.k=v", "p p xattr.user.k=v", "f f xattr.no.such=v"]],
        Refused(&["l a -> x xattr.user.k=v", "p p xattr.user.k=v", "f f xattr.no.such=v"], &["l a -> x", "p p", "f f"])),
    case(&[63], &[&["c c dev=4095:1048575 mode=0660 owner=0:5", "b b dev=8:1", "p p mode=0600"]],
        Tree(&["c c dev=4095:1048575 mode=0660 owner=0:5", "b b dev=8:1", "p p mode=0600"])),
    case(&[63], &[&["c c dev=8589934592:0"]], Error("8589934592, which is out of range")),
    case(&[63], &[&["b b dev=0:1048576"]], Error("1048576, which is out of range")),
    case(&[64], &[&["d d", "f d/a", "f b"], &["c d/a dev=0:0", "c b dev=0:0"]],
        Except(&["d d", "c d/a dev=0:0", "c b dev=0:0"], &["overlay", "EROFS"], "device 0:0")),
    // The encoding.
    case(&[66], &[&["t:7 a", "f b magic=v7", "f c/ magic=v7 mode=0755 text=", "t:L long magic=gnu text={n*150}%00", "f short magic=gnu",
            "t:K link magic=gnu text={l*150}%00", "l k magic=gnu -> short", "f u pax.path={p*150}", "t:V label"]],
        Tree(&["f a", "f b", "d c", "f {n*150}", "l k -> {l*150}", "f {p*150}"])),
    case(&[66], &[&["t:Z a"]], Error("unknown type `Z`")),
    case(&[67], &[&["f a size=0 pax.size=3 text=abc", "f b pax.size=0 text="]], Tree(&["f a text=abc", "f b text="])),
    case(&[68], &[&["t:g pax_global_header text=12%20path=all%0A13%20comment=x%0A", "f a"]], Tree(&["f a"])),
    case(&[69], &[&["t:x pax text=99%20path=a%0A", "f a"]], Error("extended header")),
    case(&[69], &[&["f a pax.size=-1"]], Error("malformed")),
    case(&[69, 75], &[&["f a pax.comment={x*1048577}"]], Error("pax_bytes")),
    case(&[70], &[&["d d size=5", "l l -> x size=9", "f a", "h b -> a size=1", "p p size=7"]],
        Tree(&["d d", "l l -> x", "f a", "f b = a", "p p"])),
    case(&[71], &[&["f a", "f b sum=bad"]], Error("checksum")),
    case(&[71], &[&["f a size=5000"]], Error("ends at byte")),
    case(&[72], &[&["f a", "end", "f b", "t:Z c sum=bad"]], Tree(&["f a"])),
    case(&[72], &[&["f a", "zero", "f b"]], Error("a header follows its first block")),
    case(&[73], &[&[], &["f a"], &[]], Tree(&["f a text=2"])),
    case(&[74], &[&["f a pax.GNU.sparse.size=9000 pax.GNU.sparse.map=4096,2,8191,1 text=xyz"]],
        Tree(&["f a text={%00*4096}xy{%00*4093}z{%00*808}"])),
    case(&[74], &[&["f a pax.GNU.sparse.size=9 pax.GNU.sparse.map=4,2,3,1 text=xyz"]], Error("sparse map")),
    // Layers that are written anew, by `writers::layers` for every case, each held against section 11.
    case(&[83, 84, 85, 86, 87], &[OLD, &["f .wh.d", "d d", "f d/new", "d a", "f a/b"]],
        Tree(&["d a", "f a/b text=2", "d d", "f d/new text=2"])),
    case(&[88], &[&["f a", "h b -> a", "h c -> a"], &["h e -> a", "d d", "h d/f -> b"]],
        Tree(&["f a", "f b = a", "f c = a", "f e = a", "d d", "f d/f = a"])),
    case(&[89], &[&["f a", "f b", "f c"], &["f a text=1 mtime=0.000000001", "f b text=1 owner=0:1", "f c text=1 xattr.user.k=v"]],
        Tree(&["f a mtime=0+1", "f b owner=0:1", "f c xattr.user.k=v"])),
    case(&[82, 91, 92, 98], &[&["f {d*200}/{n*200} owner=4000000:0 mtime=-3.5 xattr.user.b=2 xattr.user.a=1", "f caf%C3%A9"]],
        Tree(&["f caf%C3%A9", "d {d*200} mtime=-4+500000000",
            "f {d*200}/{n*200} owner=4000000:0 mtime=-4+500000000 xattr.user.a=1 xattr.user.b=2"])),
];

const fn elsewhere(rules: &'static [u8], file: &'static str, test: &'static str) -> Elsewhere {
    Elsewhere { rules, file, test }
}

/// Rules that a tree does not show: of streams, of bytes, and of what is no layer.
pub(super) const ELSEWHERE: &[Elsewhere] = &[
    elsewhere(
        &[65, 97],
        "crates/corten-layer/tests/it/upper.rs",
        "sockets_are_told",
    ),
    elsewhere(
        &[75],
        "crates/corten-tar/tests/it/limits.rs",
        "each_has_its_name",
    ),
    elsewhere(
        &[76, 77, 78],
        "crates/corten-tar/tests/it/compressed.rs",
        "frames_and_padding",
    ),
    elsewhere(
        &[76],
        SNAPSHOT,
        "the_layer_is_the_same_in_every_compression",
    ),
    elsewhere(
        &[79, 81],
        SNAPSHOT,
        "a_wrong_diff_id_is_refused_and_leaves_nothing",
    ),
    elsewhere(
        &[80],
        "crates/corten-content/tests/it/graphs.rs",
        "images_and_what_is_none",
    ),
    elsewhere(
        &[90],
        "crates/corten-layer/tests/it/containment.rs",
        "changes_have_no_way_out",
    ),
    elsewhere(
        &[93],
        "crates/corten-layer/tests/it/writing.rs",
        "times_are_clamped",
    ),
    elsewhere(
        &[94, 96],
        "crates/corten-tar/tests/it/round_trip.rs",
        "written_entries_are_read_again",
    ),
    elsewhere(
        &[95],
        "crates/corten-tar/tests/it/compressed.rs",
        "the_members_of_a_gzip_stream_are_chained_by_their_sizes",
    ),
];

const SNAPSHOT: &str = "crates/corten-snapshot/tests/it/main.rs";
