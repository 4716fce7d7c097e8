//! Where a redirect leads, and what may be taken along.

use crate::transport::Method;
use crate::{Error, Result, Url};

/// How many redirects are followed in a row.
pub const LIMIT: usize = 10;

/// The request that a redirect asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// Where to.
    pub url: Url,
    /// How.
    pub method: Method,
    /// Whether the `Authorization` header may go along: only to the same scheme, host and port.
    /// Object stores answer 400 to one that they do not expect, and others could use it.
    pub keeps_authorization: bool,
}

/// Returns what to ask next after `status` came with `location`, or `None` if it is no redirect.
///
/// # Errors
/// Fails if the location is missing or no URL, or if it leads from TLS to plain HTTP.
pub fn follow(
    method: Method,
    from: &Url,
    status: u16,
    location: Option<&str>,
) -> Result<Option<Redirect>> {
    if !matches!(status, 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let broken = |reason: &str| Error::Protocol {
        url: from.clone(),
        reason: reason.to_owned(),
    };
    let location = location.ok_or_else(|| broken("a redirect has no `Location`"))?;
    let url = from.join(location)?;
    if from.is_secure() && !url.is_secure() {
        return Err(broken("it redirects from `https` to `http`"));
    }
    // 301 and 302 turn a POST into a GET in browsers. An upload is never meant to become a
    // download, so only 303, which says so, changes the method.
    let method = match (status, method) {
        (303, Method::Head) => Method::Head,
        (303, _) => Method::Get,
        _ => method,
    };
    let keeps_authorization = url.has_origin_of(from);
    Ok(Some(Redirect {
        url,
        method,
        keeps_authorization,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_redirects_lead() {
        #[track_caller]
        fn check(method: Method, status: u16, location: Option<&str>, expected: Option<&str>) {
            let from = Url::parse("https://r.example/v2/a/blobs/x").unwrap();
            let found = follow(method, &from, status, location)
                .ok()
                .map(|redirect| {
                    redirect.map_or("none".to_owned(), |redirect| {
                        format!(
                            "{} {} {}",
                            redirect.method.name(),
                            redirect.url.to_wire(),
                            redirect.keeps_authorization
                        )
                    })
                });
            assert_eq!(
                found.as_deref(),
                expected,
                "{method:?} {status} {location:?}"
            );
        }
        use Method::{Get, Head, Post};
        check(Get, 200, Some("/x"), Some("none"));
        check(Get, 304, Some("/x"), Some("none"));
        check(
            Get,
            307,
            Some("/x?y"),
            Some("GET https://r.example/x?y true"),
        );
        check(
            Get,
            302,
            Some("https://s3/x?sig=1"),
            Some("GET https://s3/x?sig=1 false"),
        );
        check(
            Get,
            307,
            Some("https://r.example:444/x"),
            Some("GET https://r.example:444/x false"),
        );
        check(Post, 308, Some("/x"), Some("POST https://r.example/x true"));
        check(Post, 301, Some("/x"), Some("POST https://r.example/x true"));
        check(Post, 303, Some("/x"), Some("GET https://r.example/x true"));
        check(Head, 303, Some("/x"), Some("HEAD https://r.example/x true"));
        check(Get, 307, Some("http://r.example/x"), None);
        check(Get, 307, Some("ftp://r.example/x"), None);
        check(Get, 307, None, None);
    }
}
