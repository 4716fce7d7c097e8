//! Slash-separated paths as text: nothing is looked up.

/// Joins `path` to `parent` unless it is absolute, and cleans what was joined.
///
/// An absolute path is left as it is, its `..` and doubled slashes included: BuildKit writes it into
/// the config that way.
pub(crate) fn join(parent: &str, path: &str) -> String {
    if path.starts_with('/') {
        return path.to_owned();
    }
    clean(&format!("/{parent}/{path}"))
}

/// Like [`join`], keeping the slash at the end that makes a destination a directory.
///
/// Absolute paths are cleaned, too: `/link/..` is the root wherever the link leads, as for BuildKit.
pub(crate) fn join_destination(parent: &str, path: &str) -> String {
    let path = if path.is_empty() || path == "." {
        "./"
    } else {
        path
    };
    let mut joined = clean(&join(parent, path));
    if path.ends_with('/') && !joined.ends_with('/') {
        joined.push('/');
    } else if path.ends_with("/.") {
        if joined != "/" {
            joined.push('/');
        }
        joined.push('.');
    }
    joined
}

/// Returns an absolute path without `.`, `..` and doubled slashes; `..` stops at the root.
pub(crate) fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// Cleans a path that may be relative, as Go's `filepath.Clean` does.
pub(crate) fn clean_bytes(path: &[u8]) -> Vec<u8> {
    let rooted = path.first() == Some(&b'/');
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." if parts.last().is_some_and(|last| *last != b"..") => drop(parts.pop()),
            b".." if rooted => {}
            part => parts.push(part),
        }
    }
    let joined = parts.join(&b'/');
    match (rooted, joined.is_empty()) {
        (true, _) => [b"/", joined.as_slice()].concat(),
        (false, true) => b".".to_vec(),
        (false, false) => joined,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations() {
        #[track_caller]
        fn check(parent: &str, path: &str, expected: &str) {
            assert_eq!(
                join_destination(parent, path),
                expected,
                "{parent:?} {path:?}"
            );
        }

        check("/app", "x", "/app/x");
        check("/app", "x/", "/app/x/");
        check("/app", ".", "/app/");
        check("/app", "", "/app/");
        check("/app", "./", "/app/");
        check("/app", "x/.", "/app/x/.");
        check("/app", "../x", "/x");
        check("/app", "../../../x", "/x");
        check("", "x", "/x");
        check("/", "./", "/");
        check("/app", "/x/../y/", "/y/");
        check("/app", "/x//y/../.", "/x/.");
        check("/app", "/..", "/");
        check("/app", "/.", "/.");
    }

    #[test]
    fn relative_paths_are_cleaned_as_in_go() {
        #[track_caller]
        fn check(path: &str, expected: &str) {
            assert_eq!(
                clean_bytes(path.as_bytes()),
                expected.as_bytes(),
                "{path:?}"
            );
        }

        check("", ".");
        check("./a//b/../c/", "a/c");
        check("../../a", "../../a");
        check("a/../..", "..");
        check("/../a", "/a");
        check("/", "/");
    }
}
