//! Addresses in a Dockerfile: what each is, and how it is shown.

use crate::diagnostic::Diagnostic;
use crate::error::Error;
use crate::git_url::GitUrl;
use crate::words::Word;

/// What a source of COPY or ADD turns out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A path or pattern.
    Path,
    /// A URL of a file.
    Http,
    /// A place in a git repository.
    Git(Box<GitUrl>),
}

/// Tells what the source `text` is.
///
/// An `http` or `https` URL whose path ends with `.git` is a repository, as for BuildKit.
pub(crate) fn kind(text: &str, word: &Word) -> Result<Kind, Diagnostic> {
    match GitUrl::parse(text) {
        Ok(Some(url)) if !url.is_like_path => Ok(Kind::Git(Box::new(url))),
        Ok(_) => Ok(if is_http(text) {
            Kind::Http
        } else {
            Kind::Path
        }),
        Err(Error::GitUrl { url, reason }) => Err(Diagnostic::new(
            format!("`{url}` is not a place in a git repository: {reason}"),
            word.span,
        )),
        Err(other) => Err(Diagnostic::new(other.to_string(), word.span)),
    }
}

fn is_http(text: &str) -> bool {
    ["http://", "https://"]
        .iter()
        .any(|scheme| text.starts_with(scheme))
}

/// Returns what the file of `url` is called: the last name of its path, decoded; without any,
/// BuildKit calls it `__unnamed__`.
pub(crate) fn file_name(url: &str) -> String {
    let unnamed = || "__unnamed__".to_owned();
    let end = url.find(['?', '#']).unwrap_or(url.len());
    let Some((_, rest)) = url.get(..end).and_then(|url| url.split_once("://")) else {
        return unnamed();
    };
    let Some((_, path)) = rest.split_once('/') else {
        return unnamed();
    };
    // The path is decoded before it is cut, so that `%2f` cuts it, too.
    let Some(path) = decoded(path) else {
        return unnamed();
    };
    let name = path
        .trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or_default()
        .trim();
    match name {
        "" | "." => unnamed(),
        ".." => "download".to_owned(),
        name if name.chars().any(char::is_control) => "download".to_owned(),
        name => name.to_owned(),
    }
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let high = char::from(rest.next()?).to_digit(16)?;
                let low = char::from(rest.next()?).to_digit(16)?;
                u8::try_from(high * 16 + low).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

/// Returns `text` with `xxxxx` in place of user and password wherever it has an address with them.
///
/// A user alone is left if the scheme is `ssh`: there it is a part of the address, not a token.
/// Nothing but white space, `/`, `?` and `#` ends a password here: quotes, commas and brackets may be
/// in one (RFC 3986 section 3.2.1, and more is sent than it allows), so that what stands between two
/// addresses without a space is hidden rather than a part of a password shown.
pub fn without_credentials(text: &str) -> String {
    masked(text, |c| c.is_ascii_whitespace())
}

/// Does what [`without_credentials`] does for a text that is one address, where white space ends
/// nothing.
pub(crate) fn address_without_credentials(address: &str) -> String {
    masked(address, |_| false)
}

fn masked(text: &str, ends_address: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        out.push_str(before);
        out.push_str("://");
        let end = after
            .find(|c: char| "/?#".contains(c) || ends_address(c))
            .unwrap_or(after.len());
        let (authority, tail) = after.split_at(end);
        match authority.rsplit_once('@') {
            Some((user, host)) if user.contains(':') => {
                out.push_str("xxxxx:xxxxx@");
                out.push_str(host);
            }
            Some((_, host)) if !before.ends_with("ssh") => {
                out.push_str("xxxxx@");
                out.push_str(host);
            }
            _ => out.push_str(authority),
        }
        rest = tail;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files() {
        #[track_caller]
        fn check(url: &str, expected: &str) {
            assert_eq!(file_name(url), expected, "{url}");
        }
        check("http://h/a/b.txt", "b.txt");
        check("http://h/a/b.txt?x=/y#/z", "b.txt");
        check("http://h/a/b/", "b");
        check("http://h/a%20b%2Fc.txt", "c.txt");
        check("http://h", "__unnamed__");
        check("http://h/", "__unnamed__");
        check("http://h/?a/b", "__unnamed__");
        check("http://h/%zz", "__unnamed__");
        check("http://h/a/..", "download");
        check("http://h/a%0ab", "download");
    }

    #[test]
    fn credentials_are_not_shown() {
        #[track_caller]
        fn check(text: &str, expected: &str) {
            assert_eq!(without_credentials(text), expected, "{text}");
        }
        check("ADD https://u:p@h/x /y", "ADD https://xxxxx:xxxxx@h/x /y");
        check("ADD https://token@h /y", "ADD https://xxxxx@h /y");
        check("https://u:p@q@h:1/a@b", "https://xxxxx:xxxxx@h:1/a@b");
        check(
            "a ssh://git@h/x b ssh://u:p@h",
            "a ssh://git@h/x b ssh://xxxxx:xxxxx@h",
        );
        check(
            "https://h/a http://u:p@h",
            "https://h/a http://xxxxx:xxxxx@h",
        );
        check("git@h:p", "git@h:p");
        check(
            "[\"https://u:p@h\", \"x\"]",
            "[\"https://xxxxx:xxxxx@h\", \"x\"]",
        );
        check("é://ü:p@", "é://xxxxx:xxxxx@");
        check("https://u:p,q@h/x", "https://xxxxx:xxxxx@h/x");
        check("https://u:p'q@h/x", "https://xxxxx:xxxxx@h/x");
        check("https://u:p]q@h/x", "https://xxxxx:xxxxx@h/x");
        check("https://u:p`q@h/x", "https://xxxxx:xxxxx@h/x");
        check("https://u:p\"q@h/x", "https://xxxxx:xxxxx@h/x");
        check("https://u:p\u{a0}q@h/x", "https://xxxxx:xxxxx@h/x");
        check("[\"https://h\",\"x\"] a@b", "[\"https://h\",\"x\"] a@b");
        check(
            "`https://h`, `https://u:p@h`",
            "`https://h`, `https://xxxxx:xxxxx@h`",
        );
    }

    proptest::proptest! {
        #[test]
        fn no_part_of_a_password_is_shown(password in "[^/?#]{0,12}") {
            let address = format!("https://u:{password}@h/x");
            let hidden = "https://xxxxx:xxxxx@h/x";
            assert_eq!(address_without_credentials(&address), hidden);
        }

        #[test]
        fn no_part_of_a_password_is_shown_among_words(
            password in "[^/?#[:space:]]{0,12}",
            (open, close) in proptest::sample::select(vec![("", ""), ("\"", "\""), ("[\"", "\"]"), ("`", "`")]),
        ) {
            let text = format!("ADD {open}https://u:{password}@h/x{close} /y");
            let hidden = format!("ADD {open}https://xxxxx:xxxxx@h/x{close} /y");
            assert_eq!(without_credentials(&text), hidden);
        }
    }
}
