//! Objects in buckets, over the wire that registries are reached by.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use corten_objects::{
    Failure, Http, HttpAnswer, HttpRequest, Object, Patience, Place, Service, open,
};
use corten_registry::settings::Proxies;
use corten_registry::transport::{Body, Headers, Method, Request};
use corten_registry::{Error, Settings, Timeouts, Transport as _, Url, Wire, redirect};

use crate::context::Context;
use crate::error::CommandError;
use crate::registry::RegistryArgs;

/// Tells whether `text` names an object of S3 or Google Cloud Storage.
///
/// # Errors
/// Fails if it is to name one and cannot.
pub(crate) fn is_object(text: &str) -> Result<bool, CommandError> {
    let place = Place::parse(text).map_err(|error| CommandError::usage(error.to_string()))?;
    Ok(place.is_some_and(|place| matches!(place.service, Service::S3 | Service::Gcs)))
}

/// Opens what `url` names if it is an object.
pub(crate) fn object(
    url: &str,
    ctx: &Context,
    registry: &RegistryArgs,
) -> Result<Option<Object>, CommandError> {
    let Some(place) = Place::parse(url).map_err(CommandError::caused)? else {
        return Ok(None);
    };
    let client = Arc::new(Client::new(&registry.settings(ctx))?);
    let object = open(&place, &ctx.env.objects, client).map_err(CommandError::caused)?;
    Ok(Some(object))
}

#[derive(Debug)]
struct Client {
    usual: Wire,
    /// For services of the machine's own network, which no proxy leads to.
    near: Wire,
}

impl Client {
    fn new(settings: &Settings) -> Result<Self, CommandError> {
        let near = Settings {
            proxies: Proxies::default(),
            timeouts: Timeouts {
                connect: Duration::from_secs(1),
                stall: Duration::from_secs(2),
                answer: Duration::from_secs(2),
            },
            ..settings.clone()
        };
        let wire = |settings| Wire::new(settings).map_err(CommandError::caused);
        Ok(Self {
            usual: wire(settings)?,
            near: wire(&near)?,
        })
    }
}

impl Http for Client {
    fn send(&self, request: HttpRequest, patience: Patience) -> Result<HttpAnswer, Failure> {
        let wire = match patience {
            Patience::Usual => &self.usual,
            Patience::Little => &self.near,
        };
        let (parts, body) = request.into_parts();
        let mut url = Url::parse(&parts.uri.to_string()).map_err(failure)?;
        let mut method = method(parts.method.as_str())?;
        let mut headers = Headers::new();
        for (name, value) in &parts.headers {
            headers.add(name.as_str(), String::from_utf8_lossy(value.as_bytes()));
        }
        let body: Arc<[u8]> = body.into();
        // A body is what a service for credentials is asked with: secrets, for it alone.
        let is_followed = body.is_empty() && matches!(method, Method::Get | Method::Head);
        for _ in 0..=redirect::LIMIT {
            let answer = wire.send(Request {
                method,
                url: url.clone(),
                headers: headers.clone(),
                body: if body.is_empty() {
                    Body::Empty
                } else {
                    Body::Bytes(Arc::clone(&body))
                },
            });
            let answer = answer.map_err(failure)?;
            // S3 answers with a redirect to nowhere where the region is another.
            let next = match answer.headers.value("location") {
                Some(location) if is_followed => {
                    redirect::follow(method, &url, answer.status, Some(location))
                }
                _ => Ok(None),
            };
            let Some(next) = next.map_err(failure)? else {
                return given(answer.status, &answer.headers, answer.body);
            };
            if !next.keeps_authorization {
                headers = innocent(&headers);
            }
            (url, method) = (next.url, next.method);
        }
        let text = format!("there are more than {} redirects", redirect::LIMIT);
        Err(Failure {
            may_pass: false,
            source: text.into(),
        })
    }
}

/// Returns the headers that say nothing of who asks: credentials have several names.
fn innocent(headers: &Headers) -> Headers {
    const NAMES: [&str; 4] = ["accept", "if-match", "if-none-match", "range"];
    let mut kept = Headers::new();
    for (name, value) in headers.iter() {
        if NAMES.iter().any(|one| one.eq_ignore_ascii_case(name)) {
            kept.add(name, value);
        }
    }
    kept
}

fn method(name: &str) -> Result<Method, Failure> {
    match name {
        "GET" => Ok(Method::Get),
        "HEAD" => Ok(Method::Head),
        "POST" => Ok(Method::Post),
        "PUT" => Ok(Method::Put),
        other => Err(Failure {
            may_pass: false,
            source: format!("the method `{other}` is not sent").into(),
        }),
    }
}

fn given(
    status: u16,
    headers: &Headers,
    body: Box<dyn Read + Send>,
) -> Result<HttpAnswer, Failure> {
    let mut answer = HttpAnswer::new(body);
    let invalid = || Failure {
        may_pass: false,
        source: "the answer has a header or a status that HTTP does not have".into(),
    };
    *answer.status_mut() = status.try_into().map_err(|_| invalid())?;
    for (name, value) in headers.iter() {
        let name: http::HeaderName = name.parse().map_err(|_| invalid())?;
        let value = value.parse().map_err(|_| invalid())?;
        answer.headers_mut().append(name, value);
    }
    Ok(answer)
}

fn failure(error: Error) -> Failure {
    Failure {
        may_pass: matches!(
            error,
            Error::Connect { .. } | Error::Stalled { .. } | Error::Broken { .. }
        ),
        source: Box::new(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_to_another_host() {
        let names = [
            "authorization",
            "x-amz-security-token",
            "Range",
            "x-ms-date",
            "cookie",
        ];
        let mut headers = Headers::new();
        for name in names {
            headers.add(name, "value");
        }
        let kept = innocent(&headers);
        assert_eq!(kept.iter().collect::<Vec<_>>(), [("Range", "value")]);
    }

    #[test]
    fn objects() {
        for (text, expected) in [
            ("s3://b/k", true),
            ("gs://b", true),
            ("https://e.com/a", false),
        ] {
            assert_eq!(is_object(text).unwrap(), expected, "{text}");
        }
        assert!(!is_object("https://a.blob.core.windows.net/b/c").unwrap());
        assert!(is_object("s3://b/../k").is_err());
    }
}
