//! Which part of the context the instructions of a build can reach.
//!
//! A context often holds much more than a Dockerfile copies: dependencies, version control, build
//! results. Only what can be copied is examined.

use corten_dockerfile::{CopySource, Instruction, Kind, Mount, Source};
use corten_layer::path;

/// Part of a directory: everything in and below some paths.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Reach {
    /// Canonical; the empty path is everything.
    starts: Vec<Vec<u8>>,
}

/// How a path lies to a [`Reach`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Position {
    Inside,
    /// Something inside lies below it.
    Above,
    Outside,
}

impl Reach {
    /// Returns everything.
    pub(crate) fn all() -> Self {
        Self {
            starts: vec![Vec::new()],
        }
    }

    /// Returns what `instructions` copy from the context, as far as it shows before variables are
    /// known.
    pub(crate) fn of<'a>(instructions: impl Iterator<Item = &'a Instruction>) -> Self {
        let mut starts = Vec::new();
        for instruction in instructions {
            let copy = match &instruction.kind {
                Kind::Copy(copy) if copy.from.is_none() => copy,
                Kind::Run(run) => {
                    starts.extend(run.mounts.iter().filter_map(mounted));
                    continue;
                }
                _ => continue,
            };
            for source in &copy.sources {
                if let CopySource::Path(word) = source {
                    starts.push(literal_start(&word.text));
                }
            }
        }
        Self { starts }
    }

    /// Tells whether everything that `sources` may select is inside.
    pub(crate) fn covers(&self, sources: &[Source]) -> bool {
        sources.iter().all(|source| match source {
            Source::Path(pattern) => self.position(&literal_start(pattern)) == Position::Inside,
            Source::Parents { pivot, pattern, .. } => {
                let whole = format!("{pivot}/{pattern}");
                self.position(&literal_start(&whole)) == Position::Inside
            }
            Source::Inline { .. } | Source::Http(_) | Source::Git(_) => true,
        })
    }

    pub(crate) fn position(&self, path: &[u8]) -> Position {
        let is_inside = |start: &Vec<u8>| start.is_empty() || path::is_within(path, start);
        if self.starts.iter().any(is_inside) {
            Position::Inside
        } else if self.starts.iter().any(|start| path::is_within(start, path)) {
            Position::Above
        } else {
            Position::Outside
        }
    }

    /// Tells whether what the symbolic link at `path` leads to is inside, whatever other links that
    /// also stay inside there are on the way.
    ///
    /// `..` after a name is not understood: the name may be a link.
    pub(crate) fn holds_target(&self, path: &[u8], target: &[u8]) -> bool {
        if target.starts_with(b"/") {
            return false;
        }
        let mut here = path::split(path).0.to_vec();
        let mut is_up = true;
        for name in target.split(|&byte| byte == b'/') {
            match name {
                b"" | b"." => {}
                b".." if is_up && !here.is_empty() => here = path::split(&here).0.to_vec(),
                b".." => return false,
                name => {
                    is_up = false;
                    here = path::join(&here, name);
                }
            }
        }
        self.position(&here) == Position::Inside
    }
}

/// Returns what a mount takes from the context, if that may be anything.
fn mounted(mount: &Mount) -> Option<Vec<u8>> {
    let is_bind = mount
        .option("type")
        .is_none_or(|kind| kind.eq_ignore_ascii_case("bind") || kind.contains('$'));
    let is_elsewhere = mount.option("from").is_some_and(|from| !from.is_empty());
    let source = mount.option("source").or(mount.option("src"));
    (is_bind && !is_elsewhere).then(|| literal_start(source.unwrap_or_default()))
}

/// Returns the directories and the name that `pattern` begins with before any character that could
/// mean something else.
fn literal_start(pattern: &str) -> Vec<u8> {
    let special = |letter| "*?[]\\$\"'`".contains(letter);
    let (literal, is_cut) = match pattern.find(special) {
        Some(end) => (pattern.get(..end).unwrap_or_default(), true),
        None => (pattern, false),
    };
    let mut names: Vec<&str> = literal.split('/').collect();
    if is_cut {
        names.pop();
    }
    let mut start: Vec<&str> = Vec::new();
    for name in names {
        match name {
            "" | "." => {}
            ".." => drop(start.pop()),
            name => start.push(name),
        }
    }
    start.join("/").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_pattern_begins_with() {
        #[track_caller]
        fn check(pattern: &str, expected: &str) {
            assert_eq!(literal_start(pattern), expected.as_bytes(), "{pattern}");
        }
        check("a/b", "a/b");
        check("/a//./b/", "a/b");
        check("../../a/../b", "b");
        check(".", "");
        check("a/b*", "a");
        check("a/*/b", "a");
        check("*", "");
        check("a/$X/b", "a");
        check("a/b$X", "a");
        check("a/b\\ c", "a");
    }

    #[test]
    fn positions_and_links() {
        let reach = Reach {
            starts: vec![b"a/b".to_vec(), b"c".to_vec()],
        };
        let check = |path: &str, expected| {
            assert_eq!(reach.position(path.as_bytes()), expected, "{path}");
        };
        check("a", Position::Above);
        check("a/b", Position::Inside);
        check("a/b/x", Position::Inside);
        check("a/bc", Position::Outside);
        check("c", Position::Inside);
        check("d", Position::Outside);
        let check = |path: &str, target: &str, expected| {
            let found = reach.holds_target(path.as_bytes(), target.as_bytes());
            assert_eq!(found, expected, "{path} -> {target}");
        };
        check("a/b/l", "x", true);
        check("a/b/l", "./x/y", true);
        check("a/b/d/l", "../x", true);
        check("a/b/l", "../../c/x", true);
        check("a/b/l", "../x", false);
        check("a/b/l", "x/../y", false);
        check("a/b/l", "/c", false);
        check("c/l", "../../../c/x", false);
    }
}
