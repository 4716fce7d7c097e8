//! A repository as a source (distribution-spec, Pull).

use std::io::{self, Cursor, Read};
use std::sync::Arc;

use corten_content::traits::MountSource;
use corten_content::{Error as ContentError, Result as ContentResult, Source};
use corten_spec::manifest::detect_media_type;
use corten_spec::{Descriptor, Digest, Kind, media_type, reference};

use crate::body::read_body;
use crate::client::Client;
use crate::repository::{ACCEPT, Endpoint, Repository, longest_manifest};
use crate::transport::{Headers, Method, Response};
use crate::{Error, Result, header};

impl Source for Repository {
    fn place(&self) -> String {
        self.name.clone()
    }

    fn resolve(&self, name: &str) -> ContentResult<Descriptor> {
        check_name(name)?;
        self.first_of_endpoints(|endpoint| self.resolve_at(endpoint, name))
    }

    fn fetch(&self, content: &Descriptor, offset: u64) -> ContentResult<Box<dyn Read + Send + '_>> {
        if offset > 0 && offset >= content.size {
            return Ok(Box::new(io::empty()));
        }
        let mut accept = None;
        let mut folder = "blobs";
        if is_manifest(content.kind()) {
            if let Some(bytes) = self.kept.bytes(&content.digest) {
                let mut reader = Cursor::new(bytes);
                reader.set_position(offset);
                return Ok(Box::new(reader));
            }
            // The type that is wanted first: there are servers that convert to the first one.
            accept = Some(format!("{}, {ACCEPT}", content.media_type));
            folder = "manifests";
        }
        self.first_of_endpoints(|endpoint| {
            let mut reader = ContentReader {
                client: self.client.clone(),
                endpoint: endpoint.clone(),
                place: self.name.clone(),
                digest: content.digest.to_string(),
                folder,
                accept: accept.clone(),
                position: offset,
                body: Box::new(io::empty()),
                failures: 0,
                received: 0,
            };
            reader
                .reopen()
                .map_err(|error| self.error(error, content.digest.as_str()))?;
            Ok(Box::new(reader) as Box<dyn Read + Send>)
        })
    }

    fn holds(&self, content: &Descriptor) -> ContentResult<bool> {
        let asked = self.first_of_endpoints(|endpoint| {
            self.ask_for(endpoint, content)
                .map_err(|error| self.error(error, content.digest.as_str()))
        });
        match asked {
            Ok(()) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            // There are servers that refuse HEAD, above all where they redirect to.
            Err(_) => match self.fetch(content, 0) {
                Ok(_) => Ok(true),
                Err(error) if error.is_not_found() => Ok(false),
                Err(error) => Err(error),
            },
        }
    }

    fn referrers(&self, subject: &Digest) -> ContentResult<Vec<Descriptor>> {
        self.referrers_of_type(subject, None)
    }

    fn mountable(&self) -> Option<MountSource> {
        Some(MountSource {
            registry: self.origin.host.clone(),
            repository: self.origin.repository.clone(),
        })
    }
}

/// Tells whether content of `kind` is at the manifests' endpoint.
pub(crate) fn is_manifest(kind: Kind) -> bool {
    kind.has_children() || kind == Kind::Schema1
}

/// Refuses what is neither a tag nor a digest, before it becomes a part of a URL.
fn check_name(name: &str) -> ContentResult<()> {
    if name.contains(':') {
        name.parse::<Digest>()?;
    } else if !reference::is_tag(name) {
        return Err(ContentError::from(corten_spec::Error::InvalidReference {
            text: crate::refusal::printable(name.as_bytes(), 200),
            reason: "it is neither a tag nor a digest",
        }));
    }
    Ok(())
}

impl Repository {
    /// Tries the mirrors, then the registry itself unless only mirrors are to be asked. The error of
    /// the last one counts.
    fn first_of_endpoints<T>(
        &self,
        ask: impl Fn(&Endpoint) -> ContentResult<T>,
    ) -> ContentResult<T> {
        let (last, only_mirrors) = (self.mirrors.len(), self.client.settings().only_mirrors);
        for (number, mirror) in (1..).zip(&self.mirrors) {
            match ask(mirror) {
                Err(ContentError::Cancelled) => return Err(ContentError::Cancelled),
                Err(error) if only_mirrors && number == last => return Err(error),
                // A mirror need not have everything; any other failure is one that somebody can mend.
                Err(error) if error.is_not_found() => {}
                Err(error) => {
                    // The outermost level only says that the repository failed.
                    let reason = std::error::Error::source(&error).unwrap_or(&error);
                    self.client
                        .note_passed_over(&mirror.host, &self.origin.host, reason);
                }
                found => return found,
            }
        }
        ask(&self.origin)
    }

    /// Asks for `content` without its bytes.
    fn ask_for(&self, endpoint: &Endpoint, content: &Descriptor) -> Result<()> {
        let is_manifest = is_manifest(content.kind());
        let folder = if is_manifest { "manifests" } else { "blobs" };
        let mut call = endpoint.pull(Method::Head, &format!("{folder}/{}", content.digest));
        if is_manifest {
            call.headers
                .add("Accept", format!("{}, {ACCEPT}", content.media_type));
        }
        self.client.expect(call, &[200]).map(drop)
    }

    fn resolve_at(&self, endpoint: &Endpoint, name: &str) -> ContentResult<Descriptor> {
        let mut call = endpoint.pull(Method::Head, &format!("manifests/{name}"));
        call.headers.add("Accept", ACCEPT);
        let realm = call.realm.clone();
        let failed = |error: Error| self.error(error, name);
        let response = self.client.send(call).map_err(failed)?;
        match response.status {
            200 => match described(&response.headers, name) {
                Some(descriptor) => Ok(descriptor),
                None => self.resolve_by_content(endpoint, name),
            },
            // Other refusals of a HEAD say nothing about a GET, which has a body to say why.
            401 | 404 | 429 => Err(failed(self.client.refusal(response, &realm))),
            _ => self.resolve_by_content(endpoint, name),
        }
    }

    fn resolve_by_content(&self, endpoint: &Endpoint, name: &str) -> ContentResult<Descriptor> {
        let (headers, bytes) = self
            .read_manifest(endpoint, name)
            .map_err(|error| self.error(error, name))?;
        let media_type =
            detect_media_type(&bytes, headers.value("content-type")).map_err(|source| {
                ContentError::Invalid {
                    what: format!("`{name}` from {}", self.name),
                    source: Box::new(source),
                }
            })?;
        let mut descriptor = Descriptor::of(&media_type, &bytes);
        let said = headers.value("docker-content-digest");
        for digest in [Some(name), said].into_iter().flatten() {
            let Ok(digest) = digest.parse::<Digest>() else {
                continue;
            };
            digest
                .verify(&bytes)
                .map_err(|source| ContentError::Corrupt {
                    place: self.name.clone(),
                    source: Box::new(source),
                })?;
            descriptor.digest = digest;
        }
        self.kept.keep(&descriptor.digest, &bytes.into());
        Ok(descriptor)
    }

    /// Reads the manifest `name` as it is, unchecked.
    pub(crate) fn read_manifest(
        &self,
        endpoint: &Endpoint,
        name: &str,
    ) -> Result<(Headers, Vec<u8>)> {
        let mut call = endpoint.pull(Method::Get, &format!("manifests/{name}"));
        call.headers.add("Accept", ACCEPT);
        let url = call.url.clone();
        let response = self.client.expect(call, &[200])?;
        let headers = response.headers.clone();
        Ok((headers, read_body(response, longest_manifest(), &url)?))
    }
}

/// Returns the descriptor that the headers of a manifest give, if they give all of it.
///
/// The digest is believed for a tag, since the tag is the registry's to give; every byte is checked
/// against it later. For a digest it has to be the same.
fn described(headers: &Headers, name: &str) -> Option<Descriptor> {
    let media_type = media_type::without_parameters(headers.value("content-type")?);
    let digest: Digest = headers.value("docker-content-digest")?.parse().ok()?;
    let size: u64 = headers.value("content-length")?.trim().parse().ok()?;
    let fits = Kind::of(media_type).has_children()
        && digest.algorithm().is_some()
        && (!name.contains(':') || name == digest.as_str());
    fits.then(|| Descriptor::new(media_type, digest, size))
}

/// A blob or a manifest on its way. When the connection breaks it asks for the rest.
struct ContentReader {
    client: Client,
    endpoint: Endpoint,
    place: String,
    digest: String,
    /// `blobs` or `manifests`.
    folder: &'static str,
    accept: Option<String>,
    position: u64,
    body: Box<dyn Read + Send>,
    /// How often the connection broke without much in between.
    failures: u32,
    /// How many bytes came since it last did.
    received: u64,
}

impl ContentReader {
    /// Opens the blob from the current position on.
    fn reopen(&mut self) -> Result<()> {
        let tail = format!("{}/{}", self.folder, self.digest);
        let mut call = self.endpoint.pull(Method::Get, &tail);
        if let Some(accept) = &self.accept {
            call.headers.add("Accept", accept.as_str());
        }
        if self.position > 0 {
            call.headers
                .add("Range", format!("bytes={}-", self.position));
        }
        let (realm, url) = (call.realm.clone(), call.url.clone());
        let response = self.client.send(call)?;
        let Response {
            status, headers, ..
        } = &response;
        let (starts_at, ends) = match *status {
            // A server that knows no ranges sends the whole.
            200 => (0, false),
            206 => {
                let range = headers.value("content-range");
                let start = range.and_then(header::content_range_start);
                (start.unwrap_or(self.position), false)
            }
            // The blob ends here or earlier, which whoever verifies it will say.
            416 if self.position > 0 => (self.position, true),
            _ => return Err(self.client.refusal(response, &realm)),
        };
        let Some(ahead) = self.position.checked_sub(starts_at) else {
            return Err(Error::Protocol {
                url,
                reason: "it sends another range than asked for".into(),
            });
        };
        self.body = if ends {
            Box::new(io::empty())
        } else {
            response.body
        };
        skip(&mut self.body, ahead).map_err(|error| take_out(error, &self.endpoint))
    }

    fn read_or_reopen(&mut self, buf: &mut [u8]) -> Result<usize> {
        /// Less than this in one go is no progress: a server could send byte by byte for ever.
        const PROGRESS: u64 = 1 << 20;
        let policy = self.client.settings().retry;
        loop {
            self.client.check_cancelled()?;
            let error = match self.body.read(buf) {
                Ok(n_read) => {
                    self.position += n_read as u64;
                    self.received += n_read as u64;
                    return Ok(n_read);
                }
                Err(error) => take_out(error, &self.endpoint),
            };
            self.client.check_cancelled()?;
            if self.received >= PROGRESS {
                self.failures = 0;
            }
            self.received = 0;
            if !matches!(error, Error::Broken { .. }) || self.failures >= policy.limit {
                return Err(error);
            }
            let wait = policy.wait(self.failures, None, crate::retry::random());
            self.failures += 1;
            self.client.pause(wait)?;
            match self.reopen() {
                Err(Error::Broken { .. }) | Ok(()) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Read for ContentReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.read_or_reopen(buf)
            .map_err(|error| error.into_content(&self.place, &self.digest).into())
    }
}

/// Returns our own error that travelled through [`Read`]; any other means a broken connection.
fn take_out(error: io::Error, endpoint: &Endpoint) -> Error {
    error.downcast().unwrap_or_else(|error| Error::Broken {
        url: endpoint.url("blobs"),
        source: Box::new(error),
    })
}

/// Reads `n` bytes and drops them; stops where the body ends.
fn skip(body: &mut dyn Read, n: u64) -> io::Result<()> {
    io::copy(&mut body.take(n), &mut io::sink()).map(drop)
}

/// The bytes of a manifest, for who needs them whole.
pub(crate) fn manifest_bytes(
    repository: &Repository,
    content: &Descriptor,
) -> ContentResult<Arc<[u8]>> {
    if let Some(bytes) = repository.kept.bytes(&content.digest) {
        return Ok(bytes);
    }
    corten_content::read(repository, content, longest_manifest()).map(Into::into)
}
