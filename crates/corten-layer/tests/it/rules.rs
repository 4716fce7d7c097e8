//! One case or more for each rule about the meaning of entries (layers.md sections 2 to 8).

use corten_layer::Tree;

use crate::sketch::{apply, resolve, show};

#[track_caller]
fn check(layers: &[&[&str]], expected: &[&str]) {
    let tree = resolve(layers).unwrap_or_else(|error| panic!("{layers:?}: {error}"));
    assert_eq!(show(&tree), expected, "{layers:?}");
}

/// The last layer is refused, with a reason that holds `part`.
#[track_caller]
fn refused(layers: &[&[&str]], part: &str) {
    let (last, lower) = layers.split_last().unwrap();
    let tree = resolve(lower).unwrap();
    let error = apply(tree, lower.len(), last).expect_err(&format!("{layers:?} is accepted"));
    assert!(error.to_string().contains(part), "{layers:?}: {error}");
}

#[test]
fn links_to_where_no_layer_can_write() {
    let part = "a link on the way leads to a name that begins with `.wh.`";
    for name in [".wh.x", ".wh.", ".wh..wh..opq", ".wh..wh.plnk", "b/.wh.x/c"] {
        refused(&[&[&format!("l a -> {name}"), "f a/file"]], part);
        refused(&[&[&format!("l a -> /{name}")], &["d a/b/c"]], part);
    }
}

#[test]
fn names() {
    check(
        &[&["f ./a", "f /b", "f c//d"]],
        &["f a @1", "f b @1", "d c", "f c/d @1"],
    );
    check(
        &[&["f ../../a", "f b/../c", "d a/../..  mode=0700"]],
        &["f a @1", "f c @1"],
    );
    check(
        &[&["d . mode=0700 owner=1:2 mtime=9"]],
        &["d . mode=700 owner=1:2 mtime=9"],
    );
    check(
        &[&["d ./ mode=0700"], &["d / mode=0711"]],
        &["d . mode=711"],
    );
    refused(&[&["f ."]], "root");
    refused(&[&["l / -> x"]], "root");
    refused(&[&[&format!("f {}", "n".repeat(256))]], "255");
    check(
        &[&["f caf\u{e9}", "f cafe\u{301}", "f a\\b"]],
        &["f a\\b @1", "f cafe\u{301} @1", "f caf\u{e9} @1"],
    );
}

#[test]
fn whiteouts() {
    check(&[&["f a", "f b"], &["f .wh.a"]], &["f b @1"]);
    check(&[&["d d", "f d/a"], &["f .wh.d"]], &[]);
    for invalid in [
        "f .wh.",
        "f .wh..",
        "f .wh...",
        "f d/.wh.",
        "d .wh..",
        "l d/.wh... -> /",
    ] {
        refused(&[&["f x"], &[invalid]], "whiteout of nothing");
    }
    check(&[&["f a"], &["d .wh.a"]], &[]);
    check(&[&["f a", "f b"], &["l .wh.a -> b"]], &["f b @1"]);
    check(&[&["f a"], &["d .wh.a", "f .wh.a/x"]], &[]);
    check(&[&["f a"], &["f .wh.a/x"]], &["f a @1"]);
}

#[test]
fn a_whiteout_hides_only_what_is_below_its_layer() {
    check(&[&["f a"], &["f .wh.a", "f a"]], &["f a @2"]);
    check(&[&["f a"], &["f a", "f .wh.a"]], &["f a @2"]);
    check(&[&[], &["f a", "f .wh.a"]], &["f a @2"]);
    check(&[&["f a"], &["f a", "f .wh.a"], &["f .wh.a"]], &[]);
    let old = [
        "d d mode=0700 owner=5:5",
        "f d/old",
        "d d/sub mode=0700",
        "f d/sub/old",
    ];
    for layer in [
        ["f .wh.d", "d d mode=0711", "f d/new"],
        ["d d mode=0711", "f .wh.d", "f d/new"],
        ["d d mode=0711", "f d/new", "f .wh.d"],
        ["f d/new", "f .wh.d", "d d mode=0711"],
    ] {
        check(&[&old, &layer], &["d d mode=711", "f d/new @2"]);
    }
    for layer in [
        ["f .wh.d", "f d/sub/new mtime=7"],
        ["f d/sub/new mtime=7", "f .wh.d"],
    ] {
        let expected = ["d d mtime=7", "d d/sub mtime=7", "f d/sub/new @2 mtime=7"];
        check(&[&old, &layer], &expected);
    }
    check(&[&["f a"], &["f .wh.a", "f .wh.a"]], &[]);
    check(
        &[&["f a"], &["f .wh.b", "f no/.wh.x", "f a/.wh.x"]],
        &["f a @1"],
    );
    check(&[&["d d", "f d/a"], &["f .wh.d", "f d/.wh.a"]], &[]);
    check(&[&["d d", "f d/a"], &["f d/.wh.a", "f .wh.d"]], &[]);
    check(&[&["f t", "l a -> t"], &["f .wh.a"]], &["f t @1"]);
    check(
        &[&["d real", "f real/a", "l s -> real"], &["f s/.wh.a"]],
        &["d real", "l s -> real"],
    );
    check(
        &[&["f a", "l s -> ../.."], &["f s/.wh.a"]],
        &["l s -> ../.."],
    );
    check(
        &[&["f a", "l s -> gone"], &["f s/.wh.a"]],
        &["f a @1", "l s -> gone"],
    );
}

#[test]
fn opaque_whiteouts() {
    let old = [
        "d d mode=0700 owner=5:5",
        "f d/old",
        "d d/sub mode=0711",
        "f d/sub/old",
    ];
    let kept = "d d mode=700 owner=5:5";
    check(&[&old, &["f d/.wh..wh..opq"]], &[kept]);
    for layer in [
        ["f d/.wh..wh..opq", "f d/new"],
        ["f d/new", "f d/.wh..wh..opq"],
    ] {
        check(&[&old, &layer], &[kept, "f d/new @2"]);
    }
    for layer in [
        ["f d/.wh..wh..opq", "f d/sub/new"],
        ["f d/sub/new", "f d/.wh..wh..opq"],
    ] {
        check(&[&old, &layer], &[kept, "d d/sub", "f d/sub/new @2"]);
    }
    check(
        &[&old, &["f d/old", "f d/.wh..wh..opq"]],
        &[kept, "f d/old @2"],
    );
    check(&[&old, &["d d", "f d/.wh..wh..opq"]], &["d d"]);
    check(&[&["f d"], &["f d/.wh..wh..opq"]], &["d d"]);
    check(&[&["f a"], &["f no/.wh..wh..opq"]], &["f a @1"]);
    check(
        &[&["d . mode=0711", "f a"], &["f b", "f .wh..wh..opq"]],
        &["d . mode=711", "f b @2"],
    );
    check(
        &[&old, &["f d/.wh..wh..opq", "f d/.wh.old", "f d/a"]],
        &[kept, "f d/a @2"],
    );
    check(
        &[&old, &["f d/.wh..wh..opq"], &["f d/b"]],
        &[kept, "f d/b @3"],
    );
    check(
        &[&["d r", "f r/a", "l s -> /r"], &["f s/.wh..wh..opq"]],
        &["d r", "l s -> /r"],
    );
    check(
        &[&["f a", "l s -> gone"], &["f s/.wh..wh..opq"]],
        &["f a @1", "l s -> gone"],
    );
}

#[test]
fn what_aufs_left() {
    check(
        &[&[
            "d .wh..wh.plnk",
            "f .wh..wh.plnk/1.2",
            "h a -> .wh..wh.plnk/1.2",
            "h b -> a",
        ]],
        &["f a @1", "f b @1 = a"],
    );
    check(
        &[&[
            "f .wh..wh.aufs",
            "d .wh..wh.orph",
            "f .wh..wh.orph/x",
            "f a",
        ]],
        &["f a @1"],
    );
}

#[test]
fn hard_links() {
    check(
        &[&["f a mode=4755", "h b -> a mode=0644"]],
        &["f a @1 mode=4755", "f b @1 mode=4755 = a"],
    );
    check(&[&["f a"], &["h b -> a"]], &["f a @1", "f b @1 = a"]);
    check(&[&["f a"], &["h b -> a", "f a"]], &["f a @2", "f b @1"]);
    check(&[&["f a"], &["h b -> a", "f .wh.a"]], &["f b @1"]);
    refused(&[&["f a"], &["f .wh.a", "h b -> a"]], "target");
    refused(&[&["h b -> a", "f a"]], "target");
    refused(&[&["f a", "h a -> a"]], "itself");
    refused(&[&["f a", "h ./a -> /a"]], "itself");
    refused(&[&["d d", "h b -> d"]], "directory");
    refused(&[&["h b -> /"]], "directory");
    check(
        &[&["f a", "l s -> a", "h b -> s"]],
        &["f a @1", "l b -> a", "l s -> a = b"],
    );
    check(
        &[&["p p", "c c", "h q -> p", "h d -> c"]],
        &["c c", "c d = c", "p p", "p q = p"],
    );
    check(
        &[&[
            "d usr/lib",
            "f usr/lib/a",
            "l lib -> /usr/lib",
            "h b -> lib/a",
            "h c -> ../../lib/a",
        ]],
        &[
            "f b @1",
            "f c @1 = b",
            "l lib -> /usr/lib",
            "d usr",
            "d usr/lib",
            "f usr/lib/a @1 = b",
        ],
    );
    check(&[&["f a", "h b -> a"], &["f a"]], &["f a @2", "f b @1"]);
    check(&[&["d d", "f d/a"], &["h d -> d/a"]], &["f d @1"]);
}

#[test]
fn symbolic_links_stay_inside() {
    let targets = [
        "l a -> /etc/passwd",
        "l b -> ../../..",
        "l c -> c",
        "l d -> gone",
    ];
    check(&[&targets], &targets);
    refused(&[&["l a -> "]], "symbolic link to nothing");
    check(
        &[&["d usr/lib", "l lib -> usr/lib"], &["f lib/x"]],
        &["l lib -> usr/lib", "d usr", "d usr/lib", "f usr/lib/x @2"],
    );
    check(&[&["l a -> /", "f a/x"]], &["l a -> /", "f x @1"]);
    check(
        &[&["l a -> ../../../up", "f a/x"]],
        &["l a -> ../../../up", "d up", "f up/x @1"],
    );
    check(
        &[&["l a -> b", "l b -> /c", "f a/x"]],
        &["l a -> b", "l b -> /c", "d c", "f c/x @1"],
    );
    for looping in [
        ["l a -> b", "l b -> a", "f a/x"],
        ["l a -> a/b", "l z -> z", "f a/x"],
    ] {
        refused(&[&looping], "40 symbolic links");
    }
    let chain: Vec<String> = (0..40).map(|n| format!("l l{n} -> l{}", n + 1)).collect();
    let mut chain: Vec<&str> = chain.iter().map(String::as_str).collect();
    chain.extend(["d l40", "f l0/x"]);
    assert!(resolve(&[&chain]).is_ok(), "40 links are allowed");
}

#[test]
fn type_changes() {
    check(
        &[
            &["d d mode=0700 owner=1:1 xattr=user.a", "f d/a"],
            &["d d mode=0711"],
        ],
        &["d d mode=711", "f d/a @1"],
    );
    check(
        &[&["d r", "f r/a", "l s -> r"], &["d s mode=0700"]],
        &["d r", "f r/a @1", "d s mode=700"],
    );
    check(&[&["d d", "f d/a"], &["f d"]], &["f d @2"]);
    check(&[&["d d", "f d/a"], &["f d", "d d"]], &["d d"]);
    check(&[&["f a"], &["d a", "f a/b"]], &["d a", "f a/b @2"]);
    check(
        &[&["d r", "d d", "f d/a"], &["l d -> r", "f d/b"]],
        &["l d -> r", "d r", "f r/b @2"],
    );
    check(&[&["f a"], &["f a/b"]], &["d a", "f a/b @2"]);
    check(
        &[&["f a", "f ./a mode=0600", "f a/ mode=0611"]],
        &["f a @1 mode=611"],
    );
    check(&[&["f a", "d a", "f a/b"]], &["d a", "f a/b @1"]);
    check(
        &[&["d a", "f a/b", "d a mode=0700"]],
        &["d a mode=700", "f a/b @1"],
    );
    for kind in ["f", "p", "c"] {
        for other in ["f", "p", "c"] {
            let expected = if kind == "f" {
                "f x @2".into()
            } else {
                format!("{kind} x")
            };
            check(
                &[&[&format!("{other} x")], &[&format!("{kind} x")]],
                &[&expected],
            );
        }
    }
}

#[test]
fn attributes() {
    check(
        &[
            &["d d mode=0700 owner=7:7 mtime=3", "f d/a"],
            &["f d/b", "f d/.wh.a"],
        ],
        &["d d mode=700 owner=7:7 mtime=3", "f d/b @2"],
    );
    check(
        &[&["f a/b/c mtime=5"]],
        &["d a mtime=5", "d a/b mtime=5", "f a/b/c @1 mtime=5"],
    );
    check(
        &[&["f a/b mtime=5", "f a/c mtime=6"]],
        &["d a mtime=5", "f a/b @1 mtime=5", "f a/c @1 mtime=6"],
    );
    check(
        &[&[
            "f a xattr=security.selinux xattr=user.k xattr=trusted.overlay.opaque xattr=user.overlay.redirect",
        ]],
        &["f a @1 xattr=user.k"],
    );
}

#[test]
fn what_is_noticed() {
    let (_, report) = apply(Tree::new(), 0, &["f ../a", "f .wh.no", "f a", "f .wh.x/y"]).unwrap();
    let found: Vec<String> = report
        .findings
        .iter()
        .map(|finding| format!("{}: {:?}", finding.path, finding.what))
        .collect();
    assert_eq!(
        found,
        [
            "../a: ParentInPath",
            ".wh.no: WhiteoutOfNothing",
            "a: Duplicate",
            ".wh.x/y: BelowWhiteout"
        ]
    );
}

#[test]
fn deep_paths_do_not_overflow_the_stack() {
    let path = "d/".repeat(8_000) + "f";
    let (tree, _) = apply(Tree::new(), 0, &[&format!("f {path}")]).unwrap();
    let (tree, _) = apply(tree, 1, &["f .wh.d"]).unwrap();
    assert_eq!(tree.walk().count(), 0);
}

#[test]
fn looking_up_paths() {
    #[track_caller]
    fn check(tree: &Tree, path: &str, real: Option<&str>, exists: bool) {
        let found = tree.real_path(path.as_bytes()).unwrap();
        assert_eq!(
            found
                .as_deref()
                .map(|path| std::str::from_utf8(path).unwrap()),
            real,
            "{path}"
        );
        assert_eq!(
            tree.follow(path.as_bytes()).unwrap().is_some(),
            exists,
            "{path}"
        );
    }

    let tree = resolve(&[&[
        "d usr/lib",
        "f usr/lib/a",
        "l lib -> usr/lib",
        "l b -> /lib/a",
        "l loop -> loop",
    ]])
    .unwrap();
    check(&tree, "/lib/a", Some("usr/lib/a"), true);
    check(&tree, "b", Some("usr/lib/a"), true);
    check(&tree, "lib/../x", Some("usr/x"), false);
    check(&tree, "no/such/../thing", Some("no/thing"), false);
    check(&tree, "usr/lib/a/x", None, false);
    check(&tree, "../../usr", Some("usr"), true);
    check(&tree, "/", Some(""), true);
    assert!(tree.follow(b"loop").is_err());
    assert!(tree.lookup(b"loop").unwrap().is_some());
}

#[test]
fn deep_entries_cannot_imply_directories_without_number() {
    let layer: Vec<String> = (0..20)
        .map(|number| format!("f {number}/{}f", "d/".repeat(8_000)))
        .collect();
    let layer: Vec<&str> = layer.iter().map(String::as_str).collect();
    refused(&[&layer], "more than 512 MiB");
}
