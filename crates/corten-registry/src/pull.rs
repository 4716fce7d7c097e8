//! A repository as a source (distribution-spec, Pull).

use std::io::{self, Cursor, Read};
use std::sync::Arc;

use corten_content::traits::MountSource;
use corten_content::{Error as ContentError, Result as ContentResult, Source};
use corten_spec::manifest::detect_media_type;
use corten_spec::{Descriptor, Digest, Kind, media_type, reference};

use crate::body::read_body;
use crate::chunks::{ChunkedReader, Spare};
use crate::client::Client;
use crate::repository::{ACCEPT, Endpoint, Repository, longest_manifest};
use crate::rules::Asked;
use crate::transport::{Headers, Method, Response};
use crate::{Error, Result, Url, header};

impl Source for Repository {
    fn place(&self) -> String {
        self.name.clone()
    }

    fn resolve(&self, name: &str) -> ContentResult<Descriptor> {
        check_name(name)?;
        let wants = if name.contains(':') {
            Asked::Digests
        } else {
            Asked::Tags
        };
        self.first_of_endpoints_for(wants, |endpoint| self.resolve_at(endpoint, name))
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
        let policy = self.client.settings().chunks;
        let is_long = folder == "blobs"
            && policy.connections > 1
            && content.size - offset >= policy.from.max(policy.length);
        self.first_of_endpoints(|endpoint| {
            let n_wanted = if is_long { policy.connections - 1 } else { 0 };
            let helpers = Spare::take(self.client.spare(), n_wanted);
            let end = offset.saturating_add(policy.length);
            let wanted = Wanted {
                client: self.client.clone(),
                endpoint: endpoint.clone(),
                place: self.name.clone(),
                digest: content.digest.clone(),
                folder,
                accept: accept.clone(),
            };
            let end = (!helpers.is_empty()).then_some(end);
            let mut reader = ContentReader::new(wanted, offset, end);
            reader
                .reopen()
                .map_err(|error| self.error(error, content.digest.as_str()))?;
            // A server that knows no ranges sends all of it.
            if reader.end.is_none() {
                return Ok(Box::new(reader) as Box<dyn Read + Send>);
            }
            let chunks = ChunkedReader::start(reader, content.size, policy.length, helpers);
            Ok(Box::new(chunks))
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
    /// As [`first_of_endpoints_for`](Self::first_of_endpoints_for), for content by its digest.
    fn first_of_endpoints<T>(
        &self,
        ask: impl Fn(&Endpoint) -> ContentResult<T>,
    ) -> ContentResult<T> {
        self.first_of_endpoints_for(Asked::Digests, ask)
    }

    /// Tries the mirrors, then the registry itself unless only mirrors are to be asked. The error of
    /// the last one counts.
    fn first_of_endpoints_for<T>(
        &self,
        wants: Asked,
        ask: impl Fn(&Endpoint) -> ContentResult<T>,
    ) -> ContentResult<T> {
        let is_asked = |mirror: &&Endpoint| mirror.asked == Asked::All || mirror.asked == wants;
        let mirrors: Vec<&Endpoint> = self.mirrors.iter().filter(is_asked).collect();
        let (last, only_mirrors) = (mirrors.len(), self.client.settings().only_mirrors);
        for (number, mirror) in (1..).zip(mirrors) {
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

    /// Asks what there is to know of the blob `digest`: its length, and a type where the registry
    /// knows one.
    pub fn blob(&self, digest: &Digest) -> ContentResult<Descriptor> {
        self.first_of_endpoints(|endpoint| {
            let call = endpoint.pull(Method::Head, &format!("blobs/{digest}"));
            let url = call.url.clone();
            let asked = self.client.expect(call, &[200]).and_then(|response| {
                check_said_digest(&url, &response.headers, digest)?;
                let headers = response.headers;
                let len = headers.value("content-length");
                let len = len.and_then(|len| len.trim().parse().ok());
                let len = len.ok_or_else(|| Error::Protocol {
                    url: url.clone(),
                    reason: "it does not say how long the blob is".into(),
                })?;
                let said = headers
                    .value("content-type")
                    .map(media_type::without_parameters);
                let said = said.filter(|said| media_type::check(said).is_ok());
                let media_type = said.unwrap_or("application/octet-stream");
                Ok(Descriptor::new(media_type, digest.clone(), len))
            });
            asked.map_err(|error| self.error(error, digest.as_str()))
        })
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

/// A blob or a manifest at one endpoint.
#[derive(Clone)]
pub(crate) struct Wanted {
    client: Client,
    endpoint: Endpoint,
    place: String,
    digest: Digest,
    /// `blobs` or `manifests`.
    folder: &'static str,
    accept: Option<String>,
}

impl Wanted {
    /// Opens a range.
    pub(crate) fn open(&self, start: u64, end: u64) -> io::Result<ContentReader> {
        let mut reader = ContentReader::new(self.clone(), start, Some(end));
        let opened = reader.reopen();
        reader.end = Some(end);
        self.told(opened)?;
        Ok(reader)
    }

    pub(crate) fn check_cancelled(&self) -> io::Result<()> {
        self.told(self.client.check_cancelled())
    }

    fn told<T>(&self, result: Result<T>) -> io::Result<T> {
        result.map_err(|error| error.into_content(&self.place, self.digest.as_str()).into())
    }
}

/// Content on its way, or a range of it. When the connection breaks it asks for the rest.
pub(crate) struct ContentReader {
    wanted: Wanted,
    position: u64,
    /// Where to end, if not where the content does.
    end: Option<u64>,
    body: Box<dyn Read + Send>,
    /// How often the connection broke without much in between.
    failures: u32,
    /// How many bytes came since it last did.
    received: u64,
}

impl ContentReader {
    fn new(wanted: Wanted, position: u64, end: Option<u64>) -> Self {
        Self {
            wanted,
            position,
            end,
            body: Box::new(io::empty()),
            failures: 0,
            received: 0,
        }
    }

    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    pub(crate) fn wanted(&self) -> &Wanted {
        &self.wanted
    }

    /// Opens the content from the current position on; forgets where to end if the server sends more.
    fn reopen(&mut self) -> Result<()> {
        let tail = format!("{}/{}", self.wanted.folder, self.wanted.digest);
        let mut call = self.wanted.endpoint.pull(Method::Get, &tail);
        if let Some(accept) = &self.wanted.accept {
            call.headers.add("Accept", accept.as_str());
        }
        if let Some(end) = self.end {
            let last = end.saturating_sub(1);
            call.headers
                .add("Range", format!("bytes={}-{last}", self.position));
        } else if self.position > 0 {
            call.headers
                .add("Range", format!("bytes={}-", self.position));
        }
        let (realm, url) = (call.realm.clone(), call.url.clone());
        let response = self.wanted.client.send(call)?;
        let Response {
            status, headers, ..
        } = &response;
        let (starts_at, ends) = match *status {
            // A server that knows no ranges sends the whole.
            200 => {
                self.end = None;
                (0, false)
            }
            206 => {
                let range = headers.value("content-range");
                let start = range.and_then(header::content_range_start);
                (start.unwrap_or(self.position), false)
            }
            // The blob ends here or earlier, which whoever verifies it will say.
            416 if self.position > 0 => (self.position, true),
            _ => return Err(self.wanted.client.refusal(response, &realm)),
        };
        check_said_digest(&url, headers, &self.wanted.digest)?;
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
        skip(&mut self.body, ahead).map_err(|error| take_out(error, &self.wanted.endpoint))
    }

    fn read_or_reopen(&mut self, buf: &mut [u8]) -> Result<usize> {
        /// Less than this in one go is no progress: a server could send byte by byte for ever.
        const PROGRESS: u64 = 1 << 20;
        let policy = self.wanted.client.settings().retry;
        let left = self.end.map(|end| end.saturating_sub(self.position));
        let left = left.and_then(|left| usize::try_from(left).ok());
        let len = buf.len().min(left.unwrap_or(usize::MAX));
        let buf = buf.get_mut(..len).unwrap_or_default();
        loop {
            self.wanted.client.check_cancelled()?;
            let error = match self.body.read(buf) {
                Ok(n_read) => {
                    self.position += n_read as u64;
                    self.received += n_read as u64;
                    return Ok(n_read);
                }
                Err(error) => take_out(error, &self.wanted.endpoint),
            };
            self.wanted.client.check_cancelled()?;
            if self.received >= PROGRESS {
                self.failures = 0;
            }
            self.received = 0;
            let limit = match error {
                Error::Broken { .. } => policy.limit,
                Error::Stalled { .. } => policy.limit.min(1),
                _ => 0,
            };
            if self.failures >= limit {
                return Err(error);
            }
            let wait = policy.wait(self.failures, None, crate::retry::random());
            self.failures += 1;
            self.wanted.client.pause(wait)?;
            let (end, reopened) = (self.end, self.reopen());
            self.end = end;
            match reopened {
                Err(Error::Broken { .. }) | Ok(()) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Read for ContentReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.read_or_reopen(buf);
        self.wanted.told(read)
    }
}

/// Refuses content that its server calls something else than what was asked for (DST-11).
///
/// A server that names content by another algorithm only, as distribution does, says nothing here.
fn check_said_digest(url: &Url, headers: &Headers, asked: &Digest) -> Result<()> {
    let said = headers.value("docker-content-digest");
    let said = said.and_then(|said| said.parse::<Digest>().ok());
    match said {
        Some(said) if said.algorithm_name() == asked.algorithm_name() && said != *asked => {
            Err(Error::Protocol {
                url: url.clone(),
                reason: format!("it says that it sends `{said}`"),
            })
        }
        _ => Ok(()),
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
