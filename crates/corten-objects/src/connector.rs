//! Joins `object_store`, which is asynchronous, to [`Http`], which is not; and notes what was said, since
//! its errors carry too little or too much of it.

use std::io::{self, Read};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Response, Uri};
use http_body::Frame;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService,
};

use crate::error::Answer;
use crate::http::{Failure, Http, Patience};
use crate::sent::Sent;

/// What answers with credentials may hold, in bytes: a document of some hundred. More is cut off, and then
/// is no document.
const LONGEST_CREDENTIALS: u64 = 1 << 20;

/// What says that somebody on an instance of Azure may ask for its identity.
const IDENTITY_HEADER: &str = "x-identity-header";

/// All requests for one object, those for credentials among them.
#[derive(Debug)]
pub(crate) struct Exchange {
    http: Arc<dyn Http>,
    /// What the URL of the object begins with.
    base: Uri,
    seen: Mutex<Seen>,
    /// What services for identities are sent that have handed out a secret for that; `object_store` takes it
    /// from the environment.
    identity: Option<String>,
}

/// What was said so far.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// The latest answer, if it was none of success.
    pub(crate) answer: Option<Answer>,
    /// Why the latest request had no answer, or why that broke off.
    pub(crate) failure: Option<Box<dyn std::error::Error + Send + Sync>>,
    /// Where the bucket is, if the server said so.
    pub(crate) region: Option<String>,
    /// Whether the object itself was asked for, which comes after all credentials.
    pub(crate) has_asked: bool,
}

/// Makes clients that speak through an exchange.
#[derive(Debug, Clone)]
pub(crate) struct Connector(pub(crate) Arc<Exchange>);

impl Exchange {
    /// Returns what asks for an object whose URL begins with `base`.
    pub(crate) fn new(http: Arc<dyn Http>, base: &str) -> Arc<Self> {
        Self::with_identity(http, base, None)
    }

    /// Returns the same, for which `secret` is what a service for identities is sent.
    pub(crate) fn with_identity(
        http: Arc<dyn Http>,
        base: &str,
        secret: Option<&str>,
    ) -> Arc<Self> {
        Arc::new(Self {
            identity: secret.map(str::to_owned),
            http,
            // Nothing is there if it is no URL.
            base: base.parse().unwrap_or_default(),
            seen: Mutex::default(),
        })
    }

    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells whether `url` is on the server that has the object.
    fn is_there(&self, url: &Uri) -> bool {
        let place = |url: &Uri| {
            let usual = if url.scheme_str() == Some("https") {
                443
            } else {
                80
            };
            let host = url.host().map(str::to_ascii_lowercase);
            (host, url.port_u16().unwrap_or(usual))
        };
        place(url) == place(&self.base)
    }

    /// A server that has objects may give out credentials, too: some do at their root.
    fn is_object(&self, url: &Uri) -> bool {
        let rest = url
            .path()
            .strip_prefix(self.base.path().trim_end_matches('/'));
        self.is_there(url) && rest.is_some_and(|rest| rest.starts_with('/'))
    }

    /// Services that hand out credentials to machines of a cloud have no TLS; all others of that kind do.
    fn patience(&self, url: &Uri) -> Patience {
        match url.scheme_str() {
            Some("http") if !self.is_there(url) => Patience::Little,
            _ => Patience::Usual,
        }
    }

    fn failed(&self, failure: Failure, kind: HttpErrorKind) -> HttpError {
        self.seen().failure = Some(failure.source);
        HttpError::new(kind, NoAnswer)
    }

    /// Sends a request, and notes what is answered.
    pub(crate) fn send(self: &Arc<Self>, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (mut parts, body) = request.into_parts();
        // Azure's instances know whoever asks for an identity by this header alone.
        if parts.headers.get("metadata").is_some() {
            parts.headers.remove(IDENTITY_HEADER);
            let secret = self.identity.as_deref().map(str::parse);
            if let Some(secret) = secret.transpose().unwrap_or_default() {
                parts.headers.insert(IDENTITY_HEADER, secret);
            }
        }
        let is_object = self.is_object(&parts.uri);
        if is_object {
            self.seen().has_asked = true;
        }
        let patience = self.patience(&parts.uri);
        let Some(body) = body.as_bytes().map(|bytes| bytes.to_vec()) else {
            return Err(HttpError::new(HttpErrorKind::Unknown, InParts));
        };
        let sent = Sent::of(&parts, &body);
        let request = http::Request::from_parts(parts, body);
        let answer = self.http.send(request, patience).map_err(|failure| {
            // Where there is no such service, asking again takes time and changes nothing.
            let kind = if failure.may_pass && patience == Patience::Usual {
                HttpErrorKind::Connect
            } else {
                HttpErrorKind::Unknown
            };
            self.failed(failure, kind)
        })?;
        let (parts, body) = answer.into_parts();
        if parts.status.is_success() {
            let mut seen = self.seen();
            (seen.answer, seen.failure) = (None, None);
            drop(seen);
            let body = Incoming {
                reader: Mutex::new(if is_object {
                    body
                } else {
                    Box::new(body.take(LONGEST_CREDENTIALS))
                }),
                exchange: Arc::clone(self),
            };
            return Ok(Response::from_parts(parts, HttpResponseBody::new(body)));
        }
        self.note(parts.status.as_u16(), &parts.headers, body, &sent);
        Ok(Response::from_parts(
            parts,
            HttpResponseBody::from(Bytes::new()),
        ))
    }

    fn note(
        &self,
        status: u16,
        headers: &http::HeaderMap,
        body: Box<dyn Read + Send>,
        sent: &Sent,
    ) {
        /// More is no message.
        const LONGEST: u64 = 64 << 10;
        let mut text = Vec::new();
        // What came is looked at, though it may have broken off.
        body.take(LONGEST).read_to_end(&mut text).ok();
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let mut answer = Answer::read(status, &text, sent);
        if answer.code.is_empty() {
            // Azure has no body where there is no permission to read one.
            let code = header("x-ms-error-code").unwrap_or_default();
            answer.code = code.chars().filter(char::is_ascii_alphanumeric).collect();
        }
        let region = header("x-amz-bucket-region").map(str::to_owned);
        let mut seen = self.seen();
        seen.region = region.or(seen.region.take());
        seen.failure = None;
        seen.answer = Some(answer);
    }
}

impl HttpConnector for Connector {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for Connector {
    /// Blocks, which does no harm: the runtime that waits for it is that of one object, and has nothing
    /// else to do.
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        self.0.send(request)
    }
}

/// A body as it comes in; it blocks as the request does.
struct Incoming {
    /// Only to be shared between threads, as bodies have to be: nobody else ever locks it.
    reader: Mutex<Box<dyn Read + Send>>,
    exchange: Arc<Exchange>,
}

impl http_body::Body for Incoming {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        const CHUNK: usize = 64 << 10;
        let this = self.get_mut();
        let reader = this
            .reader
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        let mut chunk = vec![0; CHUNK];
        let result = loop {
            match reader.read(&mut chunk) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result,
            }
        };
        Poll::Ready(match result {
            Ok(0) => None,
            Ok(n_read) => {
                chunk.truncate(n_read);
                Some(Ok(Frame::data(chunk.into())))
            }
            Err(error) => {
                let failure = Failure {
                    may_pass: true,
                    source: Box::new(error),
                };
                Some(Err(this
                    .exchange
                    .failed(failure, HttpErrorKind::Interrupted)))
            }
        })
    }
}

/// Stands in for what was noted.
#[derive(Debug, thiserror::Error)]
#[error("there is no answer")]
struct NoAnswer;

#[derive(Debug, thiserror::Error)]
#[error("a body in several parts is not sent")]
struct InParts;
