//! Contexts as kaniko names them.

use std::path::PathBuf;

use corten_dockerfile::{GitUrl, without_secrets};
use corten_registry::Secret;

use super::args::{KanikoArgs, boolean};
use crate::env::KanikoEnvironment;
use crate::error::CommandError;

/// What `--context` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// A directory.
    Directory(PathBuf),
    /// A tar.
    Tar(PathBuf),
    /// A tar on standard input.
    Stdin,
    /// A git repository.
    Git(Box<GitUrl>),
    /// A tar at a URL or in a bucket.
    Http(String),
}

impl Place {
    /// Reads `--context`, `--bucket`, `--context-sub-path` and `--git`.
    pub(super) fn of(args: &KanikoArgs, env: &KanikoEnvironment) -> Result<Self, CommandError> {
        let text = match args.last("bucket") {
            Some(bucket) if bucket.contains("://") => bucket.to_owned(),
            Some(bucket) => format!("gs://{bucket}"),
            None => args.last("context").unwrap_or("/workspace").to_owned(),
        };
        let sub_path = args.last("context-sub-path").unwrap_or_default();
        let place = match text.split_once("://") {
            None => Self::Directory(text.into()),
            Some(("dir", path)) => Self::Directory(path.into()),
            Some(("tar", "stdin")) => Self::Stdin,
            Some(("tar", path)) => Self::Tar(path.into()),
            Some(("git", rest)) => Self::Git(Box::new(git(rest, args, env)?)),
            Some(("http" | "https" | "s3" | "gs", _)) => Self::Http(text),
            Some(_) => {
                return Err(CommandError::usage(format!(
                    "`{}` is no context: it begins with none of dir://, tar://, git://, s3://, gs:// and \
                     https://",
                    without_secrets(&text)
                )));
            }
        };
        place.below(sub_path)
    }

    fn below(self, sub_path: &str) -> Result<Self, CommandError> {
        let path = PathBuf::from(sub_path);
        let is_outside = path
            .components()
            .any(|part| matches!(part, std::path::Component::ParentDir));
        let sub_path = sub_path.trim_matches('/');
        if is_outside {
            return Err(CommandError::usage(format!(
                "`--context-sub-path {sub_path}` leads out of the context"
            )));
        }
        match self {
            place if sub_path.is_empty() => Ok(place),
            Self::Directory(directory) => Ok(Self::Directory(directory.join(sub_path))),
            Self::Git(mut url) => {
                sub_path.clone_into(&mut url.subdir);
                Ok(Self::Git(url))
            }
            Self::Tar(_) | Self::Stdin | Self::Http(_) => Err(CommandError::usage(
                "`--context-sub-path` is for directories and git repositories",
            )
            .hint("make the tar of that directory")),
        }
    }
}

/// Reads `HOST/PATH[#REF[#COMMIT]]` as kaniko does, which fetches `git://` with HTTPS.
fn git(rest: &str, args: &KanikoArgs, env: &KanikoEnvironment) -> Result<GitUrl, CommandError> {
    let mut parts = rest.split('#');
    let place = parts.next().unwrap_or_default();
    let (reference, commit) = (parts.next(), parts.next());
    if place.is_empty() || place.chars().any(char::is_control) {
        return Err(CommandError::usage("`git://` needs a repository"));
    }
    let scheme = match env.git_pull_method.as_deref() {
        Some("http") => "http",
        _ => "https",
    };
    let login = match (&env.git_token, &env.git_username, &env.git_password) {
        (Some(token), _, _) => format!("{}@", encode(token.expose())),
        (None, None, None) => String::new(),
        (None, user, password) => {
            let user = encode(user.as_deref().unwrap_or_default());
            let password = password.as_ref().map_or("", Secret::expose);
            format!("{user}:{}@", encode(password))
        }
    };
    let is_set = |part: &&str| !part.is_empty();
    let mut url = GitUrl {
        remote: format!("{scheme}://{login}{place}"),
        short_name: place.rsplit('/').next().unwrap_or_default().to_owned(),
        reference: reference.filter(is_set).map(str::to_owned),
        checksum: commit.filter(is_set).map(str::to_owned),
        // As for kaniko, and unlike elsewhere.
        submodules: Some(false),
        keep_git_dir: Some(true),
        ..GitUrl::default()
    };
    for option in args.all("git") {
        add_option(&mut url, option)?;
    }
    let texts = [url.reference.as_deref(), url.checksum.as_deref()];
    if texts
        .into_iter()
        .flatten()
        .any(|text| text.starts_with('-') || text.chars().any(char::is_control))
    {
        return Err(CommandError::usage(
            "a reference of git cannot begin with `-` or have control characters",
        ));
    }
    Ok(url)
}

fn add_option(url: &mut GitUrl, option: &str) -> Result<(), CommandError> {
    let failed = |reason: &str| Err(CommandError::usage(format!("`--git {option}`: {reason}")));
    let Some((key, value)) = option.split_once('=') else {
        return failed("expected `KEY=VALUE`");
    };
    match (key, boolean(value)) {
        ("branch", _) => url.reference = Some(value.to_owned()).filter(|text| !text.is_empty()),
        ("recurse-submodules", Some(is_on)) => url.submodules = Some(is_on),
        // Exactly one commit is fetched, whatever they say.
        ("single-branch", Some(_)) | ("insecure-skip-tls", Some(false)) => {}
        ("depth", _) if value.parse::<u32>().is_ok() => {}
        ("insecure-skip-tls", Some(true)) => {
            return failed("certificates of git servers are always checked");
        }
        ("recurse-submodules" | "single-branch" | "insecure-skip-tls", None) => {
            return failed("expected `true` or `false`");
        }
        ("depth", _) => return failed("expected a number"),
        _ => return failed("it is not known"),
    }
    Ok(())
}

/// Writes `text` so that it may stand before the host of a URL.
fn encode(text: &str) -> String {
    use std::fmt::Write as _;
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("a text takes all that is written");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_a_context() {
        #[track_caller]
        fn check(line: &str, expected: &str) {
            let found = match Place::of(&KanikoArgs::of(line), &KanikoEnvironment::default()) {
                Ok(Place::Git(url)) => format!(
                    "git {} {:?} {:?} {:?} {:?}",
                    url.remote, url.reference, url.checksum, url.subdir, url.submodules
                ),
                Ok(place) => format!("{place:?}"),
                Err(error) => error.to_string().lines().next().unwrap().to_owned(),
            };
            assert_eq!(found, expected, "{line}");
        }
        check("", r#"Directory("/workspace")"#);
        check("-c .", r#"Directory(".")"#);
        check(
            "--context=dir:///a --context-sub-path b/c/",
            r#"Directory("/a/b/c")"#,
        );
        check(
            "-c dir:///a --context-sub-path b/../..",
            "error: `--context-sub-path b/../..` leads out of the context",
        );
        check("-c tar:///a.tar.gz", r#"Tar("/a.tar.gz")"#);
        check("-c tar://stdin", "Stdin");
        check(
            "-c tar:///a --context-sub-path b",
            "error: `--context-sub-path` is for directories and git repositories",
        );
        check(
            "-c https://e.com/a.tar.gz?k=v",
            r#"Http("https://e.com/a.tar.gz?k=v")"#,
        );
        check(
            "-c git://e.com/a",
            r#"git https://e.com/a None None "" Some(false)"#,
        );
        check(
            "-c git://e.com/a.git#refs/heads/b#0123abc --context-sub-path /d --git recurse-submodules=true",
            r#"git https://e.com/a.git Some("refs/heads/b") Some("0123abc") "d" Some(true)"#,
        );
        check(
            "-c git://e.com/a --git branch=b --git single-branch=true --git depth=1",
            r#"git https://e.com/a Some("b") None "" Some(false)"#,
        );
        check(
            "-c git://e.com/a --git branch=--upload-pack=x",
            "error: a reference of git cannot begin with `-` or have control characters",
        );
        check(
            "-c git://e.com/a --git insecure-skip-tls=true",
            "error: `--git insecure-skip-tls=true`: certificates of git servers are always checked",
        );
        check("-c s3://b/k", r#"Http("s3://b/k")"#);
        check("-b b/k", r#"Http("gs://b/k")"#);
        check("--bucket s3://b -c unused", r#"Http("s3://b")"#);
        check(
            "-c s3://b/k --context-sub-path d",
            "error: `--context-sub-path` is for directories and git repositories",
        );
        check(
            "-c https://a.blob.core.windows.net/c/k",
            r#"Http("https://a.blob.core.windows.net/c/k")"#,
        );
        check(
            "-c ftp://e.com/a",
            "error: `ftp://e.com/a` is no context: it begins with none of dir://, tar://, git://, s3://, gs:// and https://",
        );
    }

    #[test]
    fn who_is_signed_in_with_git() {
        let mut env = KanikoEnvironment {
            git_username: Some("me@x".into()),
            git_password: Some(Secret::new("a/b".into())),
            ..KanikoEnvironment::default()
        };
        let remote =
            |env: &KanikoEnvironment| match Place::of(&KanikoArgs::of("-c git://e.com/a"), env)
                .unwrap()
            {
                Place::Git(url) => url.remote,
                other => panic!("{other:?}"),
            };
        assert_eq!(remote(&env), "https://me%40x:a%2Fb@e.com/a");
        env.git_token = Some(Secret::new("t".into()));
        env.git_pull_method = Some("http".into());
        assert_eq!(remote(&env), "http://t@e.com/a");
    }
}
