//! A repository as a sink (distribution-spec, Push).

use std::io::{self, Write};
use std::sync::Arc;

use corten_content::{Error as ContentError, Ingest, IngestPlan, Result as ContentResult, Sink};
use corten_spec::{Algorithm, Descriptor, Digest, Hasher, reference};

use crate::body::read_body;
use crate::client::Knack;
use crate::pull::{is_manifest, manifest_bytes};
use crate::referrers;
use crate::repository::{Repository, longest_manifest};
use crate::stream::Stream;
use crate::transport::{Body, Headers, Method};
use crate::upload::{Mount, Upload};
use crate::{Error, Result};

/// Blobs up to this size are kept whole, so that they can be sent again, in bytes.
const SMALL: usize = 1 << 20;
/// Larger ones of known digest go out in pieces of this size, in bytes.
const PIECE: usize = 256 << 10;

impl Sink for Repository {
    fn place(&self) -> String {
        self.name.clone()
    }

    fn contains(&self, content: &Descriptor) -> ContentResult<bool> {
        self.has(content).map_err(|error| self.write_error(error))
    }

    fn ingest(&self, plan: &IngestPlan) -> ContentResult<Box<dyn Ingest + '_>> {
        match &plan.content {
            Some(content) if is_manifest(content.kind()) => Ok(Box::new(ManifestIngest {
                repository: self,
                content: content.clone(),
                bytes: Vec::new(),
            })),
            _ => Ok(Box::new(BlobIngest::start(self, plan)?)),
        }
    }

    fn tag(&self, tag: &str, content: &Descriptor) -> ContentResult<()> {
        if !reference::is_tag(tag) {
            return Err(ContentError::from(corten_spec::Error::InvalidReference {
                text: crate::refusal::printable(tag.as_bytes(), 200),
                reason: "it is not a tag",
            }));
        }
        let bytes = manifest_bytes(self, content)?;
        self.put_manifest(tag, content, &bytes)
            .map_err(|error| self.write_error(error))?;
        Ok(())
    }

    fn takes_foreign_layers(&self) -> bool {
        false
    }
}

impl Repository {
    fn has(&self, content: &Descriptor) -> Result<bool> {
        let folder = if is_manifest(content.kind()) {
            "manifests"
        } else {
            "blobs"
        };
        let tail = format!("{folder}/{}", content.digest);
        let mut call = self.origin.push(Method::Head, self.origin.url(&tail));
        call.headers.add("Accept", content.media_type.as_str());
        let realm = call.realm.clone();
        let response = self.client.send(call)?;
        match response.status {
            // The size is a part of the name: a descriptor with another one names nothing.
            200 => Ok(said_size(&response.headers).is_none_or(|size| size == content.size)),
            // A registry that cannot be asked gets the content once more.
            404 | 405 | 501 => Ok(false),
            _ => Err(self.client.refusal(response, &realm)),
        }
    }

    pub(crate) fn put_manifest(
        &self,
        name: &str,
        content: &Descriptor,
        bytes: &Arc<[u8]>,
    ) -> Result<Headers> {
        let url = self.origin.url(&format!("manifests/{name}"));
        let mut call = self.origin.push(Method::Put, url.clone());
        call.headers
            .add("Content-Type", content.media_type.as_str());
        call.body = Body::Bytes(Arc::clone(bytes));
        let response = self.client.expect(call, &[200, 201, 202, 204])?;
        let headers = response.headers.clone();
        read_body(response, longest_manifest(), &url)?;
        // A registry that names manifests by another algorithm only says so by tag.
        let said = headers.value("docker-content-digest");
        let said = said.and_then(|said| said.parse::<Digest>().ok());
        let is_other = said.is_some_and(|said| {
            said.algorithm_name() == content.digest.algorithm_name() && said != content.digest
        });
        if is_other {
            return Err(Error::Protocol {
                url,
                reason: "it stored the manifest under another digest".into(),
            });
        }
        self.kept.keep(&content.digest, bytes);
        Ok(headers)
    }
}

fn said_size(headers: &Headers) -> Option<u64> {
    headers.value("content-length")?.trim().parse().ok()
}

/// A manifest on its way: it is short, and sent whole.
struct ManifestIngest<'a> {
    repository: &'a Repository,
    content: Descriptor,
    bytes: Vec<u8>,
}

impl Write for ManifestIngest<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let len = (self.bytes.len() + buf.len()) as u64;
        if len > longest_manifest().bytes {
            return Err(ContentError::Invalid {
                what: format!("`{}`", self.content.digest),
                source: Box::new(corten_spec::Error::TooLarge {
                    document: "manifest",
                    size: len,
                    limit: longest_manifest(),
                }),
            }
            .into());
        }
        self.bytes.extend_from_slice(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Ingest for ManifestIngest<'_> {
    fn offset(&self) -> u64 {
        0
    }

    fn commit(self: Box<Self>, expected: Option<&Descriptor>) -> ContentResult<(Digest, u64)> {
        let Self {
            repository,
            content,
            bytes,
        } = *self;
        for named in [Some(&content), expected].into_iter().flatten() {
            named
                .verify(&bytes)
                .map_err(|source| corrupt(repository, source))?;
        }
        let bytes: Arc<[u8]> = bytes.into();
        let name = content.digest.as_str();
        let headers = repository
            .put_manifest(name, &content, &bytes)
            .map_err(|error| repository.write_error(error))?;
        if headers.value("oci-subject").is_none()
            && let Some((subject, entry)) = referrers::entry_of(&content, &bytes)
        {
            repository.remember_referrer(&subject, &entry)?;
        }
        Ok((content.digest, bytes.len() as u64))
    }
}

/// A blob on its way.
struct BlobIngest<'a> {
    repository: &'a Repository,
    plan: IngestPlan,
    hasher: Hasher,
    written: u64,
    /// What is not sent yet; never empty while something is being sent, so that a blob that turns
    /// out to be wrong is never sent to its end.
    buffer: Vec<u8>,
    upload: Option<Upload>,
    progress: Progress,
}

enum Progress {
    /// The registry had it elsewhere: nothing is sent.
    Mounted,
    /// Nothing is sent yet.
    Kept,
    /// One request with everything, for a digest that is known.
    Streamed(Box<Stream>),
    /// Requests with a chunk each, for a digest that is not known.
    Chunked,
}

impl<'a> BlobIngest<'a> {
    fn start(repository: &'a Repository, plan: &IngestPlan) -> ContentResult<Self> {
        let mut ingest = Self {
            repository,
            plan: plan.clone(),
            hasher: Hasher::new(plan.algorithm),
            written: 0,
            buffer: Vec::new(),
            upload: None,
            progress: Progress::Kept,
        };
        let Some(content) = &plan.content else {
            return Ok(ingest);
        };
        let here = &repository.origin;
        let from = plan.mount.as_ref();
        let from = from.filter(|from| from.registry == here.host);
        let is_new = from.is_some_and(|from| from.repository != here.repository);
        // Without a name, too, the answer is an upload at worst. A small blob takes one request
        // either way, and a registry cannot be told of another algorithm along with a mount.
        let is_anonymous = content.size > SMALL as u64
            && plan.algorithm == Algorithm::Sha256
            && repository.client.knack(&here.host).mounts_unnamed;
        if !is_new && !is_anonymous {
            return Ok(ingest);
        }
        let from = from.filter(|_| is_new);
        let mount = Upload::mount(&repository.client, here, &content.digest, from)
            .map_err(|error| repository.write_error(error))?;
        match mount {
            Mount::Done => {
                ingest.written = content.size;
                ingest.progress = Progress::Mounted;
            }
            // The registry could not be told the algorithm, so another upload has to be opened.
            Mount::Opened(upload) if plan.algorithm != Algorithm::Sha256 => {
                upload.cancel();
            }
            Mount::Opened(upload) => ingest.upload = Some(*upload),
            Mount::Refused if from.is_none() => {
                let learn = |knack: &mut Knack| knack.mounts_unnamed = false;
                repository.client.learn_knack(&here.host, learn);
            }
            Mount::Refused => {}
        }
        Ok(ingest)
    }

    fn take(&mut self, bytes: &[u8]) -> Result<()> {
        self.repository.client.check_cancelled()?;
        self.buffer.extend_from_slice(bytes);
        if matches!(self.progress, Progress::Kept) && self.buffer.len() > SMALL {
            self.start_sending()?;
        }
        match &self.progress {
            Progress::Mounted => self.buffer.clear(),
            Progress::Kept => {}
            Progress::Streamed(_) => {
                while self.buffer.len() > PIECE {
                    let piece = self.split_off(PIECE);
                    self.send_piece(piece)?;
                }
            }
            Progress::Chunked => {
                let least = self.upload.as_ref().map_or(SMALL, |upload| upload.chunk);
                while self.buffer.len() > least {
                    let chunk = self.split_off(least);
                    self.append(&chunk.into())?;
                }
            }
        }
        Ok(())
    }

    /// Takes the first `len` bytes out of the buffer.
    fn split_off(&mut self, len: usize) -> Vec<u8> {
        let rest = self.buffer.split_off(len.min(self.buffer.len()));
        std::mem::replace(&mut self.buffer, rest)
    }

    fn start_sending(&mut self) -> Result<()> {
        let upload = self.opened()?;
        self.progress = match &self.plan.content {
            Some(content) => Progress::Streamed(Box::new(Stream::start(&upload, content))),
            None => Progress::Chunked,
        };
        self.upload = Some(upload);
        Ok(())
    }

    /// Returns the upload that mounting left open, or a new one.
    fn opened(&mut self) -> Result<Upload> {
        if let Some(upload) = self.upload.take() {
            return Ok(upload);
        }
        let Repository { client, origin, .. } = self.repository;
        Upload::open(client, origin, self.plan.algorithm)
    }

    fn append(&mut self, chunk: &Arc<[u8]>) -> Result<()> {
        match &mut self.upload {
            Some(upload) if !chunk.is_empty() => upload.append(chunk),
            _ => Ok(()),
        }
    }

    fn send_piece(&mut self, piece: Vec<u8>) -> Result<()> {
        match (&mut self.progress, &mut self.upload) {
            (Progress::Streamed(stream), Some(upload)) => stream.send(upload, piece),
            _ => Ok(()),
        }
    }

    /// Sends what is left and closes the upload as `digest`.
    fn finish(&mut self, digest: &Digest) -> Result<()> {
        let rest = std::mem::take(&mut self.buffer);
        match &self.progress {
            Progress::Mounted => Ok(()),
            Progress::Kept => self.send_whole(digest, &rest.into()),
            Progress::Streamed(_) => {
                self.send_piece(rest)?;
                self.finish_stream()
            }
            Progress::Chunked => {
                self.append(&rest.into())?;
                match &self.upload {
                    Some(upload) => upload.close(digest, Body::Empty),
                    None => Ok(()),
                }
            }
        }
    }

    fn finish_stream(&mut self) -> Result<()> {
        let progress = std::mem::replace(&mut self.progress, Progress::Kept);
        let (Progress::Streamed(stream), Some(upload)) = (progress, &mut self.upload) else {
            return Ok(());
        };
        match (stream.finish(upload), &self.plan.content) {
            // The registry may have been done before its answer was lost, or a proxy asked again.
            (Err(error), Some(content)) if is_unsure(&error) => {
                match self.repository.has(content) {
                    Ok(true) => Ok(()),
                    Ok(false) | Err(_) => Err(error),
                }
            }
            (finished, _) => finished,
        }
    }

    /// Sends a small blob. An upload that was lost on the way is opened anew.
    fn send_whole(&mut self, digest: &Digest, bytes: &Arc<[u8]>) -> Result<()> {
        const ATTEMPTS: usize = 3;
        let mut attempt = 1;
        if self.upload.is_none() && self.post_whole(digest, bytes)? {
            return Ok(());
        }
        loop {
            let upload = self.opened()?;
            let closed = upload.close(digest, Body::Bytes(Arc::clone(bytes)));
            self.upload = Some(upload);
            match closed {
                // Also the answer to a repetition, when the first was done and its answer lost.
                Err(error)
                    if attempt < ATTEMPTS && matches!(error.status(), Some(404 | 416 | 500)) =>
                {
                    self.upload = None;
                    attempt += 1;
                }
                closed => return closed,
            }
        }
    }

    /// Sends a small blob in one request; `false` if the registry cannot take it so. It is asked once
    /// only: where it cannot, the bytes go out twice.
    fn post_whole(&mut self, digest: &Digest, bytes: &Arc<[u8]>) -> Result<bool> {
        let Repository { client, origin, .. } = self.repository;
        if !client.knack(&origin.host).posts_whole {
            return Ok(false);
        }
        match Upload::post(client, origin, digest, bytes)? {
            Mount::Done => return Ok(true),
            Mount::Opened(upload) => self.upload = Some(*upload),
            Mount::Refused => {}
        }
        client.learn_knack(&origin.host, |knack| knack.posts_whole = false);
        Ok(false)
    }

    /// Checks what was written against every descriptor that names it.
    fn verify(&self, received: &Digest, expected: Option<&Descriptor>) -> corten_spec::Result<()> {
        for named in [self.plan.content.as_ref(), expected].into_iter().flatten() {
            if named.size != self.written {
                return Err(corten_spec::Error::SizeMismatch {
                    digest: named.digest.clone(),
                    expected: named.size,
                    received: self.written,
                });
            }
            named.digest.compare(received)?;
        }
        Ok(())
    }

    /// Breaks off: the request first, so that the registry is not still reading it.
    fn abort(&mut self) {
        self.progress = Progress::Kept;
        if let Some(upload) = self.upload.take() {
            upload.cancel();
        }
    }
}

impl Write for BlobIngest<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        // In pieces: a caller may hand in the whole of a large blob at once.
        let buf = buf.get(..PIECE).unwrap_or(buf);
        self.hasher.update(buf);
        self.written += buf.len() as u64;
        let content = self.plan.content.as_ref();
        if content.is_some_and(|content| self.written > content.size) {
            // The commit will refuse it; what is kept back until then is never sent.
            return Ok(buf.len());
        }
        self.take(buf)
            .map_err(|error| self.repository.write_error(error))?;
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Ingest for BlobIngest<'_> {
    fn offset(&self) -> u64 {
        self.written
    }

    fn commit(mut self: Box<Self>, expected: Option<&Descriptor>) -> ContentResult<(Digest, u64)> {
        let digest = match (&self.progress, &self.plan.content) {
            (Progress::Mounted, Some(content)) => content.digest.clone(),
            _ => self.hasher.clone().finish(),
        };
        // Dropping `self` breaks the upload off, before its last bytes went out.
        self.verify(&digest, expected)
            .map_err(|source| corrupt(self.repository, source))?;
        self.finish(&digest)
            .map_err(|error| self.repository.write_error(error))?;
        // It is closed: there is nothing to break off any more.
        self.upload = None;
        Ok((digest, self.written))
    }
}

impl Drop for BlobIngest<'_> {
    fn drop(&mut self) {
        self.abort();
    }
}

/// Tells whether the blob may be there although its last request ended with `error`.
fn is_unsure(error: &Error) -> bool {
    matches!(error, Error::Broken { .. } | Error::Stalled { .. })
        || matches!(error.status(), Some(404 | 500 | 502 | 503 | 504))
}

fn corrupt(repository: &Repository, source: corten_spec::Error) -> ContentError {
    ContentError::Corrupt {
        place: repository.name.clone(),
        source: Box::new(source),
    }
}
