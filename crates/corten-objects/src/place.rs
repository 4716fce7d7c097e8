//! How objects are named.

use std::fmt;

use crate::{Error, Result};

/// The name of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Whose object it is.
    pub service: Service,
    /// The bucket, or the container.
    pub bucket: String,
    /// The name in it, without a slash before it.
    pub key: String,
}

/// What keeps objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Service {
    /// S3, and what speaks as it does: `s3://BUCKET/KEY`
    S3,
    /// Google Cloud Storage: `gs://BUCKET/KEY`
    Gcs,
    /// Azure Blob Storage: `https://HOST/CONTAINER/KEY`
    Azure {
        /// The host, which tells the account and the cloud.
        host: String,
    },
}

/// What a bucket alone means, as for kaniko.
const USUAL_KEY: &str = "context.tar.gz";

/// The ends of the hosts of Azure's clouds.
const AZURE: [&str; 4] = [
    ".blob.core.windows.net",
    ".blob.core.chinacloudapi.cn",
    ".blob.core.cloudapi.de",
    ".blob.core.usgovcloudapi.net",
];

impl Place {
    /// Reads a URL; `None` if it is that of no object: of another scheme, of another host than Azure's,
    /// or one that is signed and so needs nothing but HTTP.
    ///
    /// A bucket alone names its object `context.tar.gz`.
    ///
    /// # Errors
    /// Fails if the name cannot be one of an object.
    pub fn parse(text: &str) -> Result<Option<Self>> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return Ok(None);
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (service, bucket, path) = match scheme {
            "s3" => (Service::S3, authority, path),
            "gs" => (Service::Gcs, authority, path),
            "https" if is_azure(authority) && !path.contains('?') => {
                let (container, path) = path.split_once('/').unwrap_or((path, ""));
                if container.is_empty() || path.is_empty() {
                    return Err(invalid(text, "expected `https://HOST/CONTAINER/NAME`"));
                }
                let host = authority.to_owned();
                (Service::Azure { host }, container, path)
            }
            _ => return Ok(None),
        };
        Ok(Some(Self {
            service,
            bucket: name_of_bucket(text, bucket)?,
            key: key(text, path)?,
        }))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bucket, key, .. } = self;
        match &self.service {
            Service::S3 => write!(f, "s3://{bucket}/{key}"),
            Service::Gcs => write!(f, "gs://{bucket}/{key}"),
            Service::Azure { host } => write!(f, "https://{host}/{bucket}/{key}"),
        }
    }
}

fn is_azure(host: &str) -> bool {
    let of = |end: &&str| host.strip_suffix(*end).is_some_and(is_plain);
    AZURE.iter().any(of)
}

/// Names become a part of a host or of a path: nothing in them may mean more.
fn is_plain(name: &str) -> bool {
    let may = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !name.is_empty() && name.bytes().all(may) && !name.starts_with('.')
}

fn name_of_bucket(text: &str, name: &str) -> Result<String> {
    // `$web` and `$root` are containers of Azure.
    if is_plain(name.strip_prefix('$').unwrap_or(name)) {
        return Ok(name.to_owned());
    }
    Err(invalid(text, "its bucket cannot be one"))
}

fn key(text: &str, path: &str) -> Result<String> {
    if path.is_empty() {
        return Ok(USUAL_KEY.to_owned());
    }
    let path = decoded(path).ok_or_else(|| invalid(text, "what `%` stands before is no UTF-8"))?;
    if path.ends_with('/') {
        return Err(invalid(
            text,
            "it names a directory, and a context in a bucket is one tar",
        ));
    }
    if path.chars().any(char::is_control)
        || path.split('/').any(|part| matches!(part, "" | "." | ".."))
    {
        return Err(invalid(text, "its parts are not all names"));
    }
    Ok(path)
}

/// Decodes what is written with `%`, as it is in every URL.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let digit = |at: usize| char::from(*after.get(at)?).to_digit(16);
        let pair = digit(0).zip(digit(1)).filter(|_| first == b'%');
        let value = pair.and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
        bytes.push(value.unwrap_or(first));
        let n_taken = if value.is_some() { 2 } else { 0 };
        rest = after.get(n_taken..).unwrap_or_default();
    }
    String::from_utf8(bytes).ok()
}

fn invalid(text: &str, reason: &'static str) -> Error {
    Error::InvalidPlace {
        place: without_secrets(text),
        reason,
    }
}

/// Returns a URL without what may be secret in it: whoever expects keys before a bucket writes them there.
fn without_secrets(text: &str) -> String {
    let text = text.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    let authority = rest.split('/').next().unwrap_or_default();
    let n_secret = authority.rfind('@').map_or(0, |at| at + 1);
    let (_, shown) = rest.split_at_checked(n_secret).unwrap_or_default();
    format!("{scheme}://{shown}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_an_object() {
        #[track_caller]
        fn check(text: &str, expected: &str) {
            let found = match Place::parse(text) {
                Ok(Some(place)) => place.to_string(),
                Ok(None) => "none".to_owned(),
                Err(error) => error.to_string(),
            };
            assert_eq!(found, expected, "{text}");
        }
        check("s3://b/dir/c.tar.gz", "s3://b/dir/c.tar.gz");
        check("s3://b", "s3://b/context.tar.gz");
        check("gs://b.c/", "gs://b.c/context.tar.gz");
        check("gs://b/a%20b+c", "gs://b/a b+c");
        check("s3://b/100%", "s3://b/100%");
        let azure = "https://acct.blob.core.windows.net/box/dir/c.tar.gz";
        check(azure, azure);
        check(
            "https://a.blob.core.usgovcloudapi.net/b/c",
            "https://a.blob.core.usgovcloudapi.net/b/c",
        );
        // Signed, or of somebody else.
        check(&format!("{azure}?sig=secret"), "none");
        check("https://blob.core.windows.net/b/c", "none");
        check("https://e.com/a.blob.core.windows.net/b/c", "none");
        check("https://u@a.blob.core.windows.net/b/c", "none");
        check("http://acct.blob.core.windows.net/b/c", "none");
        check("dir", "none");
        let refused =
            |text: &str, reason: &str| check(text, &format!("`{text}` names no object: {reason}"));
        refused(
            "s3://b/dir/",
            "it names a directory, and a context in a bucket is one tar",
        );
        refused("s3://b/../a", "its parts are not all names");
        refused("s3://b/a//b", "its parts are not all names");
        refused("s3://b/%2e%2e/b", "its parts are not all names");
        refused("s3://b/a%0ab", "its parts are not all names");
        refused("s3://b/%ff", "what `%` stands before is no UTF-8");
        refused("s3:///a", "its bucket cannot be one");
        for text in [
            "s3://u:p@b/a",
            "s3://u:p@q@b/a?sig=secret",
            "s3://u:p@b/a#x",
        ] {
            check(text, "`s3://b/a` names no object: its bucket cannot be one");
        }
        check(
            "gs://u:p@",
            "`gs://` names no object: its bucket cannot be one",
        );
        refused(
            "https://a.blob.core.windows.net/b",
            "expected `https://HOST/CONTAINER/NAME`",
        );
    }
}
