//! One upload of a blob, request by request (distribution-spec, Pushing Blobs).

use std::sync::Arc;

use corten_content::traits::MountSource;
use corten_spec::{Algorithm, Descriptor, Digest};

use crate::body::read_body;
use crate::client::Client;
use crate::repository::Endpoint;
use crate::stream::Pipe;
use crate::transport::{Body, Method, Response};
use crate::{Error, Result, Url, header, token};

/// Chunks are this long unless the registry wants longer ones, in bytes.
const CHUNK: usize = 8 << 20;
/// The longest chunk that a registry may insist on: each is kept in memory, to be sent again.
const LONGEST_CHUNK: usize = 64 << 20;

/// An upload that a registry has opened.
#[derive(Debug)]
pub(crate) struct Upload {
    pub(crate) client: Client,
    endpoint: Endpoint,
    /// Where the next request goes; it changes with each answer.
    location: Url,
    /// How many bytes the registry has.
    received: u64,
    /// How long every chunk but the last has to be, in bytes.
    pub(crate) chunk: usize,
}

/// What a registry said to an attempt to be done with a blob in one request.
#[derive(Debug)]
pub(crate) enum Mount {
    /// The blob is there.
    Done,
    /// It is not; the registry opened an upload instead.
    Opened(Box<Upload>),
    /// It is not, and it cannot be put there so.
    Refused,
}

impl Upload {
    /// Opens an upload for a digest of `algorithm`.
    pub(crate) fn open(client: &Client, endpoint: &Endpoint, algorithm: Algorithm) -> Result<Self> {
        let mut url = uploads_url(endpoint);
        if algorithm != Algorithm::Sha256 {
            url = url.with("digest-algorithm", algorithm.name());
        }
        let call = endpoint.push(Method::Post, url.clone());
        let response = client.expect(call, &[202])?;
        Self::opened(client, endpoint, &url, response)
    }

    /// Asks to take the blob `digest` over from another repository, or, if none is named, from any
    /// that the registry knows (end-11).
    pub(crate) fn mount(
        client: &Client,
        endpoint: &Endpoint,
        digest: &Digest,
        from: Option<&MountSource>,
    ) -> Result<Mount> {
        let mut url = uploads_url(endpoint).with("mount", digest.as_str());
        if let Some(from) = from {
            url = url.with("from", &from.repository);
        }
        let mut call = endpoint.push(Method::Post, url.clone());
        let scope = from.map(|from| token::scope(&from.repository, "pull"));
        call.realm.scopes.extend(scope);
        match client.expect(call, &[201, 202]) {
            Ok(response) if response.status == 201 => Ok(Mount::Done),
            Ok(response) => {
                let upload = Self::opened(client, endpoint, &url, response)?;
                Ok(Mount::Opened(Box::new(upload)))
            }
            // Whoever may not read there, or cannot mount, can still upload.
            Err(error) if error.status().is_some() || error.is_unauthorized() => Ok(Mount::Refused),
            Err(error) => Err(error),
        }
    }

    /// Sends the blob `digest` along with the request that opens the upload (end-4b). A registry that
    /// knows nothing of that opens one, or refuses.
    pub(crate) fn post(
        client: &Client,
        endpoint: &Endpoint,
        digest: &Digest,
        bytes: &Arc<[u8]>,
    ) -> Result<Mount> {
        let mut url = uploads_url(endpoint);
        if let Some(algorithm) = digest.algorithm().filter(|&it| it != Algorithm::Sha256) {
            // For the upload that may be opened instead.
            url = url.with("digest-algorithm", algorithm.name());
        }
        let url = url.with("digest", digest.as_str());
        let mut call = endpoint.push(Method::Post, url.clone());
        call.headers.add("Content-Type", "application/octet-stream");
        call.body = Body::Bytes(Arc::clone(bytes));
        match client.expect(call, &[201, 202]) {
            Ok(response) if response.status == 201 => {
                let upload = Self::at(client, endpoint, &url);
                upload.closed(digest, response)?;
                Ok(Mount::Done)
            }
            Ok(response) => {
                let upload = Self::opened(client, endpoint, &url, response)?;
                Ok(Mount::Opened(Box::new(upload)))
            }
            Err(error) if matches!(error.status(), Some(400 | 405 | 411 | 413 | 415 | 501)) => {
                Ok(Mount::Refused)
            }
            Err(error) => Err(error),
        }
    }

    fn at(client: &Client, endpoint: &Endpoint, url: &Url) -> Self {
        Self {
            client: client.clone(),
            endpoint: endpoint.clone(),
            location: url.clone(),
            received: 0,
            chunk: CHUNK,
        }
    }

    fn opened(client: &Client, endpoint: &Endpoint, url: &Url, response: Response) -> Result<Self> {
        let mut upload = Self::at(client, endpoint, url);
        let least = response.headers.value("oci-chunk-min-length");
        if let Some(least) = least.and_then(|least| least.trim().parse::<usize>().ok()) {
            if least > LONGEST_CHUNK {
                return Err(upload.broken(&format!("it wants chunks of {least} bytes")));
            }
            upload.chunk = CHUNK.max(least);
        }
        if response.headers.value("location").is_none() {
            return Err(upload.broken("it opened an upload and gave no `Location`"));
        }
        upload.follow(response)?;
        Ok(upload)
    }

    /// Takes the next location from `response`, and reads it to its end so that the connection can
    /// be used again.
    fn follow(&mut self, response: Response) -> Result<()> {
        if let Some(location) = response.headers.value("location") {
            let next = self.location.join(location)?;
            // The usual reason is a proxy in front of a registry that knows nothing of TLS.
            if self.location.is_secure() && !next.is_secure() {
                return Err(self.broken(
                    "its `Location` leads from `https` to `http`; a proxy in front of the registry \
                     has to send it `X-Forwarded-Proto: https`",
                ));
            }
            self.location = next;
        }
        read_body(response, 64 << 10, &self.location).map(drop)
    }

    /// Adds `chunk`. When it cannot be told whether the registry took it, the registry is asked.
    pub(crate) fn append(&mut self, chunk: &Arc<[u8]>) -> Result<()> {
        let start = self.received;
        let end = start + chunk.len() as u64;
        let policy = self.client.settings().retry;
        let mut attempt = 0;
        while self.received < end {
            let missing = end - self.received;
            let rest = usize::try_from(missing)
                .ok()
                .and_then(|missing| chunk.len().checked_sub(missing))
                .and_then(|done| chunk.get(done..))
                .ok_or_else(|| self.broken("it lost what was sent before"))?;
            let body = if rest.len() == chunk.len() {
                Arc::clone(chunk)
            } else {
                rest.into()
            };
            let error = match self.patch(body, end) {
                Ok(()) => {
                    self.received = end;
                    return Ok(());
                }
                Err(error) => error,
            };
            if !is_passing(&error) || attempt >= policy.limit {
                return Err(error);
            }
            self.client
                .pause(policy.wait(attempt, None, crate::retry::random()))?;
            attempt += 1;
            self.received = self.ask_received()?;
        }
        if self.received > end {
            return Err(self.broken("it has more than was sent"));
        }
        Ok(())
    }

    fn patch(&mut self, body: Arc<[u8]>, end: u64) -> Result<()> {
        let mut call = self.endpoint.push(Method::Patch, self.location.clone());
        call.headers.add("Content-Type", "application/octet-stream");
        // Without `bytes` and length, unlike in HTTP (end-5).
        let range = format!("{}-{}", self.received, end.saturating_sub(1));
        call.headers.add("Content-Range", range);
        call.body = Body::Bytes(body);
        let response = self.client.expect(call, &[202, 204])?;
        self.follow(response)
    }

    /// Asks how much of the upload the registry has (end-13).
    pub(crate) fn ask_received(&mut self) -> Result<u64> {
        let call = self.endpoint.push(Method::Get, self.location.clone());
        let response = self.client.expect(call, &[200, 204])?;
        let range = response.headers.value("range");
        let received = range.map_or(Some(0), header::received);
        let received = received.ok_or_else(|| self.broken("its `Range` cannot be read"))?;
        self.follow(response)?;
        Ok(received)
    }

    /// Sends `body`, the whole blob or nothing more, and closes the upload as `digest`.
    pub(crate) fn close(&self, digest: &Digest, body: Body) -> Result<()> {
        let mut call = self.endpoint.push(Method::Put, self.closing_url(digest));
        call.headers.add("Content-Type", "application/octet-stream");
        call.body = body;
        self.closed(digest, self.client.expect(call, &[200, 201, 204])?)
    }

    fn closing_url(&self, digest: &Digest) -> Url {
        self.location.clone().with("digest", digest.as_str())
    }

    /// Checks the answer to the closing request.
    pub(crate) fn closed(&self, digest: &Digest, response: Response) -> Result<()> {
        let said = response.headers.value("docker-content-digest");
        if said.is_some_and(|said| said != digest.as_str()) {
            return Err(self.broken("it stored the blob under another digest"));
        }
        read_body(response, 64 << 10, &self.location).map(drop)
    }

    /// Starts to send `content` from the offset `from` on, as the closing request's body.
    pub(crate) fn stream(&self, content: &Descriptor, from: u64) -> Pipe {
        let mut call = self
            .endpoint
            .push(Method::Put, self.closing_url(&content.digest));
        call.headers.add("Content-Type", "application/octet-stream");
        if from > 0 {
            let range = format!("{from}-{}", content.size.saturating_sub(1));
            call.headers.add("Content-Range", range);
        }
        Pipe::open(&self.client, call, content.size.saturating_sub(from))
    }

    /// Tells the registry to forget the upload; what it says is of no interest (end-14).
    pub(crate) fn cancel(&self) {
        let call = self.endpoint.push(Method::Delete, self.location.clone());
        drop(self.client.send(call));
    }

    pub(crate) fn broken(&self, reason: &str) -> Error {
        Error::Protocol {
            url: self.location.clone(),
            reason: reason.to_owned(),
        }
    }
}

fn uploads_url(endpoint: &Endpoint) -> Url {
    // The slash is part of the name (end-4a).
    endpoint.url("blobs/uploads/")
}

/// Tells whether an upload may go on after `error`, where the registry says that it is.
pub(crate) fn is_passing(error: &Error) -> bool {
    matches!(error, Error::Broken { .. } | Error::Connect { .. })
        || matches!(error.status(), Some(408 | 416 | 502 | 503 | 504))
}
