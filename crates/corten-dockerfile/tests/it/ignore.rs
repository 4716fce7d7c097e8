//! Ignore files. The expectations were compared with moby/patternmatcher 0.6.1.

use corten_dockerfile::{Error, Ignore};

#[test]
fn verdicts() {
    #[track_caller]
    fn check(text: &str, excluded: &[&str], included: &[&str]) {
        let ignore = Ignore::parse(text.as_bytes()).unwrap();
        for path in excluded {
            assert!(
                ignore.decide(path.as_bytes()).excluded,
                "{text:?} excludes {path:?}"
            );
        }
        for path in included {
            assert!(
                !ignore.decide(path.as_bytes()).excluded,
                "{text:?} includes {path:?}"
            );
        }
    }

    check("", &[], &["a", "a/b"]);
    check("a", &["a", "a/b", "a/b/c"], &["b", "b/a", "ab"]);
    check("/a", &["a", "a/b"], &["b/a"]);
    check("a/", &["a", "a/b"], &["b/a"]);
    check("./a/../b", &["b"], &["a"]);
    check("*", &["a", "a/b"], &[]);
    check("*/b", &["a/b", "c/b/d"], &["b", "a/c/b"]);
    check("*.md", &["x.md"], &["a/x.md", "x.mdx"]);
    check("**/*.md", &["x.md", "a/x.md", "a/b/x.md"], &["x.mdx"]);
    check("**/b", &["b", "a/b", "a/c/b", "b/d"], &["ab", "a/ab"]);
    check("**b", &["b", "ab", "a/ab"], &["bc"]);
    check("a/**", &["a/b", "a/b/c"], &["a", "ab"]);
    check("a/**/d", &["a/d", "a/b/d", "a/b/c/d"], &["a", "a/b", "ad"]);
    check("**", &["a", "a/b"], &[]);
    check("a?c", &["abc"], &["ac", "a/c", "abbc"]);
    check("[a-c]x", &["ax", "cx"], &["dx"]);
    check("[^a-c]x", &["dx"], &["ax"]);
    check(r"a\*", &["a*"], &["ab", r"a\"]);
    check("a.b", &["a.b"], &["axb"]);
    check("#a\n #b", &["#b"], &["#a", "a"]);
    check("a\r\nb\r\n", &["a", "b"], &[]);
    check("\u{feff}a", &["a"], &[]);
    check("  a  ", &["a"], &["  a  "]);
    check(".", &[], &["a"]);
    // Exceptions: the last match decides.
    check("*\n!a", &["b"], &["a", "a/b"]);
    check("!a\n*", &["a", "b"], &[]);
    check("a\n!a/b", &["a", "a/c"], &["a/b", "a/b/c"]);
    check("a\n!a/b\na/b/c", &["a", "a/b/c"], &["a/b", "a/b/d"]);
    check(
        "*.md\n!README*.md\nREADME-secret.md",
        &["a.md", "README-secret.md"],
        &["README.md"],
    );
    check("**/x\n!**/y/x", &["x", "a/x"], &["y/x", "a/y/x"]);
    check("*\n!/a", &["b"], &["a"]);
    check("*\n! a", &["b"], &["a"]);
    // The exception had nothing to except when the directory was met.
    check("a/b\n!a", &["a/b"], &["a", "a/c"]);
}

#[test]
fn the_deciding_line_is_named() {
    #[track_caller]
    fn check(path: &str, expected: Option<(usize, &str)>) {
        let ignore = Ignore::parse(b"# build\n\n/target/\n*.log\n!keep.log\n").unwrap();
        let verdict = ignore.decide(path.as_bytes());
        let found = verdict.line.zip(verdict.pattern.as_deref());
        assert_eq!(found, expected, "{path:?}");
    }

    check("target/app", Some((3, "target")));
    check("a.log", Some((4, "*.log")));
    check("keep.log", Some((5, "!keep.log")));
    check("src", None);
}

#[test]
fn directories_that_can_be_skipped() {
    #[track_caller]
    fn check(text: &str, dir: &str, expected: bool) {
        let ignore = Ignore::parse(text.as_bytes()).unwrap();
        let found = ignore.may_contain_included_children(dir.as_bytes());
        assert_eq!(found, expected, "{text:?} {dir:?}");
    }

    check("a", "a", false);
    check("*\n!a/b", "a", true);
    check("*\n!a/b", "ab", false);
    check("*\n!a/b", "a/b", false);
    check("*\n!a/b/c", "a/b", true);
    check("*\n!a/*/c", "a/x", true);
    check("*\n!a/*/c", "b", false);
    check("*\n!**/c", "b", true);
    check("*\n!a*", "abc", true);
}

#[test]
fn malformed_patterns() {
    #[track_caller]
    fn check(text: &str, line: usize, pattern: &str) {
        let expected = Error::IgnorePattern {
            line,
            pattern: pattern.to_owned(),
        };
        assert_eq!(Ignore::parse(text.as_bytes()), Err(expected), "{text:?}");
    }

    check("a\n[", 2, "[");
    check("!", 1, "!");
    check("a\\", 1, "a\\");
    check("[]a]", 1, "[]a]");
}

#[test]
fn paths_need_not_be_text() {
    let ignore = Ignore::parse(b"\xff*\n?x").unwrap();
    assert!(ignore.decide(b"\xff\xfe").excluded);
    assert!(ignore.decide(b"\xfex").excluded);
    assert!(!ignore.decide(b"a").excluded);
}
