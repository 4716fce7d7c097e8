//! Places in git repositories as build contexts and `ADD` name them:
//! `https://example.com/a.git#REF:SUBDIR`, `git@example.com:a.git`, `…?ref=REF&subdir=SUBDIR`.
//!
//! What is read here comes from a Dockerfile or the command line and ends up among the arguments of
//! the `git` program: nothing that this returns begins with `-`.

use crate::Error;
use crate::address::address_without_credentials;

/// A place in a git repository.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GitUrl {
    /// The repository, as the `git` program takes it: without fragment and query.
    pub remote: String,
    /// The name of the repository, `bar` of `https://example.com/foo/bar.git`.
    pub short_name: String,
    /// A commit, tag or branch; the default branch where there is none.
    pub reference: Option<String>,
    /// The commit that `reference` has to be, or the start of its digest: hexadecimal digits
    /// in lower case.
    pub checksum: Option<String>,
    /// A directory in the repository, relative and without `..`; empty for all of it.
    pub subdir: String,
    /// Whether `.git` stays, if that was said.
    pub keep_git_dir: Option<bool>,
    /// Whether submodules are fetched, if that was said; they usually are.
    pub submodules: Option<bool>,
    /// What times files get.
    pub times: GitTimes,
    /// Whether `checksum` is fetched without asking what `reference` is.
    pub fetch_by_commit: bool,
    /// Whether the text could be a path as well, as `github.com/foo/bar`: only a build context may be
    /// written so, and only where there is no such directory.
    pub is_like_path: bool,
}

/// What times the files of a checkout have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GitTimes {
    /// That of the checkout.
    #[default]
    Checkout,
    /// That of the commit.
    Commit,
}

impl GitUrl {
    /// Reads `text`; `None` if it names no git repository, but perhaps a file or another URL.
    ///
    /// An `http` or `https` URL is one of a git repository if its path ends with `.git`.
    pub fn parse(text: &str) -> Result<Option<Self>, Error> {
        let failed = |reason: String| Error::GitUrl {
            url: without_secrets(text),
            reason,
        };
        let Some(parts) = split(text) else {
            return Ok(None);
        };
        if text.chars().any(char::is_control) {
            return Err(failed("it has control characters".to_owned()));
        }
        let mut url = Self {
            short_name: short_name(&parts.remote),
            remote: parts.remote,
            is_like_path: parts.is_like_path,
            ..Self::default()
        };
        if let Some(fragment) = parts.fragment {
            let fragment = decode(fragment, Plus::Itself).map_err(failed)?;
            let (reference, subdir) = fragment.split_once(':').unwrap_or((&fragment, ""));
            url.reference = Some(reference.to_owned()).filter(|text| !text.is_empty());
            url.subdir = clean(subdir);
        }
        if let Some(query) = parts.query {
            url.add_query(query).map_err(failed)?;
        }
        url.check().map_err(failed)?;
        Ok(Some(url))
    }

    /// Returns `remote` without user and password, for messages.
    pub fn shown_remote(&self) -> String {
        address_without_credentials(&self.remote)
    }

    fn add_query(&mut self, query: &str) -> Result<(), String> {
        let mut seen: Vec<String> = Vec::new();
        let (mut tag, mut branch) = (None, None);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (key, value) = (decode(key, Plus::Space)?, decode(value, Plus::Space)?);
            if seen.contains(&key) {
                return Err(format!("`{key}` is given twice"));
            }
            let may_be_empty = ["submodules", "keep-git-dir", "fetch-by-commit"];
            if value.is_empty() && !may_be_empty.contains(&key.as_str()) {
                return Err(format!("`{key}` has no value"));
            }
            match key.as_str() {
                "ref" => self.set_reference(value)?,
                "tag" => tag = Some(value),
                "branch" => branch = Some(value),
                "subdir" => {
                    let subdir = clean(&value);
                    if !self.subdir.is_empty() && self.subdir != subdir {
                        return Err(format!("two directories: `{}` and `{subdir}`", self.subdir));
                    }
                    self.subdir = subdir;
                }
                // `git` prints commits in lower case, and that is what this is compared with.
                "checksum" | "commit" => self.checksum = Some(value.to_ascii_lowercase()),
                "keep-git-dir" => self.keep_git_dir = Some(boolean(&key, &value)?),
                "submodules" => self.submodules = Some(boolean(&key, &value)?),
                "fetch-by-commit" => self.fetch_by_commit = boolean(&key, &value)?,
                "mtime" => {
                    self.times = match value.as_str() {
                        "checkout" => GitTimes::Checkout,
                        "commit" => GitTimes::Commit,
                        _ => {
                            return Err(format!(
                                "`mtime` is `checkout` or `commit`, not `{value}`"
                            ));
                        }
                    }
                }
                _ => return Err(format!("`{key}` is not known in its query")),
            }
            seen.push(key);
        }
        if tag.is_some() && branch.is_some() {
            return Err("both a tag and a branch".to_owned());
        }
        for (name, prefix) in [(tag, "refs/tags/"), (branch, "refs/heads/")] {
            if let Some(name) = name {
                let bare = name.strip_prefix(prefix).unwrap_or(&name);
                self.set_reference(format!("{prefix}{bare}"))?;
            }
        }
        Ok(())
    }

    fn set_reference(&mut self, reference: String) -> Result<(), String> {
        match &self.reference {
            Some(other) if *other != reference => {
                Err(format!("two references: `{other}` and `{reference}`"))
            }
            _ => {
                self.reference = Some(reference);
                Ok(())
            }
        }
    }

    fn check(&self) -> Result<(), String> {
        let is_option = |text: &str| text.starts_with('-');
        if self.reference.as_deref().is_some_and(is_option) {
            return Err("a reference cannot begin with `-`".to_owned());
        }
        if is_option(&self.remote) {
            return Err("a repository cannot begin with `-`".to_owned());
        }
        let texts = [&self.remote, &self.subdir];
        let is_control = |text: &String| text.chars().any(char::is_control);
        if texts.into_iter().chain(&self.reference).any(is_control) {
            return Err("it has control characters".to_owned());
        }
        if let Some(checksum) = &self.checksum
            && !checksum.bytes().all(|byte| byte.is_ascii_hexdigit())
        {
            return Err(format!("the checksum `{checksum}` is not a commit"));
        }
        let is_pinned = |text: &String| is_commit(text);
        if self.fetch_by_commit
            && !self.checksum.as_ref().is_some_and(is_pinned)
            && !self.reference.as_ref().is_some_and(is_pinned)
        {
            return Err("`fetch-by-commit` needs a whole commit as `checksum`".to_owned());
        }
        Ok(())
    }
}

/// Tells whether `text` is a whole commit: 40 or 64 hexadecimal digits in lower case.
pub fn is_commit(text: &str) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    matches!(text.len(), 40 | 64) && text.bytes().all(is_digit)
}

/// Returns `url` without user, password and query, for messages.
pub fn without_secrets(url: &str) -> String {
    let end = url.find(['?', '#']).unwrap_or(url.len());
    let (url, _) = url.split_at(end);
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}{path}")
}

/// The pieces of a text that names a repository.
struct Parts<'a> {
    remote: String,
    query: Option<&'a str>,
    fragment: Option<&'a str>,
    is_like_path: bool,
}

fn split(text: &str) -> Option<Parts<'_>> {
    if text.starts_with("./") || text.starts_with("../") {
        return None;
    }
    let (rest, fragment) = match text.split_once('#') {
        Some((rest, fragment)) => (rest, Some(fragment)),
        None => (text, None),
    };
    let (place, query) = match rest.split_once('?') {
        Some((place, query)) => (place, Some(query)),
        None => (rest, None),
    };
    let is_like_path = place.starts_with("github.com/");
    let remote = if is_like_path {
        format!("https://{place}")
    } else {
        remote(place)?
    };
    Some(Parts {
        remote,
        query,
        fragment,
        is_like_path,
    })
}

fn remote(place: &str) -> Option<String> {
    let Some((scheme, rest)) = place.split_once("://") else {
        return is_scp_style(place).then(|| place.to_owned());
    };
    let scheme = scheme.to_ascii_lowercase();
    let is_repository = match scheme.as_str() {
        "http" | "https" => rest.strip_suffix(".git").is_some() && rest.contains('/'),
        "ssh" | "git" => true,
        _ => false,
    };
    is_repository.then(|| format!("{scheme}://{rest}"))
}

/// Tells whether `place` is of the form `USER@HOST:PATH`.
fn is_scp_style(place: &str) -> bool {
    let Some(((user, host), path)) = place
        .split_once(':')
        .and_then(|(start, path)| Some((start.split_once('@')?, path)))
    else {
        return false;
    };
    let is_of = |text: &str, more: &str| {
        !text.is_empty()
            && text
                .chars()
                .all(|letter| letter.is_ascii_alphanumeric() || more.contains(letter))
    };
    // OpenSSH would take a host that begins with `-` for an option.
    is_of(user, "-_")
        && is_of(host, "-.")
        && !user.starts_with('-')
        && !host.starts_with('-')
        && !path.starts_with('-')
}

fn short_name(remote: &str) -> String {
    let last = remote.rsplit(['/', ':']).next().unwrap_or_default();
    last.strip_suffix(".git").unwrap_or(last).to_owned()
}

/// Returns `path` as one below a root: `.` and empty names go, `..` goes up, at most to the root.
fn clean(path: &str) -> String {
    let mut names = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    names.join("/")
}

fn boolean(key: &str, value: &str) -> Result<bool, String> {
    match value {
        "" | "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!("`{key}` is `true` or `false`, not `{value}`")),
    }
}

/// What `+` stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Plus {
    Itself,
    /// As in queries.
    Space,
}

fn decode(text: &str, plus: Plus) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                let pair = digit().zip(digit());
                let value = pair.and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
                value.ok_or("a `%` in it is not followed by two hexadecimal digits")?
            }
            b'+' if plus == Plus::Space => b' ',
            byte => byte,
        });
    }
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, proptest};

    use super::*;

    fn parsed(text: &str) -> GitUrl {
        GitUrl::parse(text)
            .unwrap_or_else(|error| panic!("{text}: {error}"))
            .unwrap_or_else(|| panic!("{text} is none"))
    }

    #[test]
    fn remotes_references_and_directories() {
        #[track_caller]
        fn check(text: &str, remote: &str, name: &str, reference: &str, subdir: &str) {
            let url = parsed(text);
            let found = (
                url.remote.as_str(),
                url.short_name.as_str(),
                url.reference.as_deref().unwrap_or_default(),
                url.subdir.as_str(),
            );
            assert_eq!(found, (remote, name, reference, subdir), "{text}");
        }
        let bar = "https://e.com/foo/bar.git";
        check("https://e.com/foo/bar.git", bar, "bar", "", "");
        check("HTTPS://e.com/foo/bar.git", bar, "bar", "", "");
        check(
            "https://e.com/foo/bar.git#deadbeef",
            bar,
            "bar",
            "deadbeef",
            "",
        );
        check(
            "https://e.com/foo/bar.git#a/b:c/d",
            bar,
            "bar",
            "a/b",
            "c/d",
        );
        check("https://e.com/foo/bar.git#:d", bar, "bar", "", "d");
        check(
            "https://e.com/foo/bar.git#v1:../../d/./e",
            bar,
            "bar",
            "v1",
            "d/e",
        );
        check("https://e.com/foo/bar.git#v%2B1", bar, "bar", "v+1", "");
        check(
            "https://e.com/foo/bar.git?ref=v1&subdir=d",
            bar,
            "bar",
            "v1",
            "d",
        );
        check(
            "https://e.com/foo/bar.git?ref=v1#v1:d",
            bar,
            "bar",
            "v1",
            "d",
        );
        check(
            "https://e.com/foo/bar.git?tag=v1",
            bar,
            "bar",
            "refs/tags/v1",
            "",
        );
        check(
            "https://e.com/foo/bar.git?branch=refs/heads/a",
            bar,
            "bar",
            "refs/heads/a",
            "",
        );
        check(
            "http://u:p@e.com/a.git",
            "http://u:p@e.com/a.git",
            "a",
            "",
            "",
        );
        check("git://e.com/foo", "git://e.com/foo", "foo", "", "");
        check(
            "ssh://git@e.com:22/~/a.git#x",
            "ssh://git@e.com:22/~/a.git",
            "a",
            "x",
            "",
        );
        check("git@e.com:foo/bar", "git@e.com:foo/bar", "bar", "", "");
        check(
            "me_1@e.com:bar.git#v1:d",
            "me_1@e.com:bar.git",
            "bar",
            "v1",
            "d",
        );
        check(
            "github.com/foo/bar#v1",
            "https://github.com/foo/bar",
            "bar",
            "v1",
            "",
        );
        assert!(parsed("github.com/foo/bar").is_like_path);
        assert!(!parsed("https://github.com/foo/bar.git").is_like_path);
    }

    #[test]
    fn options_in_the_query() {
        let url = "https://e.com/a.git";
        let commit = "0123456789abcdef0123456789abcdef01234567";
        assert_eq!(
            parsed(&format!("{url}?submodules=0")).submodules,
            Some(false)
        );
        assert_eq!(parsed(&format!("{url}?submodules")).submodules, Some(true));
        assert_eq!(
            parsed(&format!("{url}?keep-git-dir=true")).keep_git_dir,
            Some(true)
        );
        assert_eq!(
            parsed(&format!("{url}?mtime=commit")).times,
            GitTimes::Commit
        );
        assert_eq!(
            parsed(&format!("{url}?checksum=ab12")).checksum.as_deref(),
            Some("ab12")
        );
        assert!(parsed(&format!("{url}?fetch-by-commit&commit={commit}")).fetch_by_commit);
    }

    #[test]
    fn what_is_no_repository() {
        for text in [
            "",
            ".",
            "./a.git",
            "../a.git",
            "a.git",
            "/a.git",
            "https://e.com/",
            "https://e.com/a",
            "https://e.com/a.git/",
            "https://e.com/a.git:#b",
            "https://e.com/a.tar.gz",
            "ftp://e.com/a.git",
            "file:///a.git",
            "e.com/a/b.git",
            "a b@e.com:c",
            "@e.com:c",
            "C:\\a.git",
            "https://a.git",
            "-u@e.com:c",
            "u@-oProxyCommand=x:c",
            "u@e.com:-c",
        ] {
            assert_eq!(GitUrl::parse(text), Ok(None), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_with_one() {
        #[track_caller]
        fn check(text: &str, expected: &str) {
            let error = GitUrl::parse(text).expect_err(text).to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        let url = |rest: &str| format!("https://u:secret@e.com/a.git{rest}");
        check(
            &url("?x=1"),
            "`https://e.com/a.git`: `x` is not known in its query",
        );
        check(&url("?ref=a#b"), "two references: `b` and `a`");
        check(&url("?ref=a&ref=a"), "`ref` is given twice");
        check(&url("?ref="), "`ref` has no value");
        check(&url("?tag=a&branch=b"), "both a tag and a branch");
        check(&url("?subdir=a#:b"), "two directories: `b` and `a`");
        check(
            &url("?submodules=maybe"),
            "`submodules` is `true` or `false`",
        );
        check(&url("?checksum=xyz"), "the checksum `xyz` is not a commit");
        check(
            &url("?fetch-by-commit=1&checksum=ab"),
            "needs a whole commit",
        );
        check(
            &url("#--upload-pack=x"),
            "a reference cannot begin with `-`",
        );
        check(&url("?ref=%2d%2Dx"), "a reference cannot begin with `-`");
        check(&url("#a%0ab"), "control characters");
        check(&url("#a%4"), "two hexadecimal digits");
        check("git://e.com/a\nb", "control characters");
    }

    #[test]
    fn secrets_do_not_show() {
        assert_eq!(
            without_secrets("https://u:p@e.com/a?t=1#x"),
            "https://e.com/a"
        );
        assert_eq!(without_secrets("https://u:p@x@e.com"), "https://e.com");
        assert_eq!(without_secrets("git@e.com:a"), "git@e.com:a");
    }

    proptest! {
        #[test]
        fn nothing_becomes_an_option(text in "(https://e.com/a.git|[-a]@[-a]:)?[-?#&=:%/.@a-e0-9]{0,24}") {
            if let Ok(Some(url)) = GitUrl::parse(&text) {
                prop_assert!(!url.remote.starts_with('-'));
                prop_assert!(!url.reference.unwrap_or_default().starts_with('-'));
                prop_assert!(!url.subdir.split('/').any(|name| name == ".."));
            }
        }
    }
}
