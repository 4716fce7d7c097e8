//! Taking tags, manifests and blobs out of a repository (distribution-spec, Content Management).

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use corten_content::{Error as ContentError, Result as ContentResult, Source, put};
use corten_spec::{Descriptor, Digest, Manifest, document, media_type};

use crate::repository::Repository;
use crate::transport::Method;
use crate::{Result, pull, retry};

/// The actions that a token for deleting has to allow; registries differ in which of them they ask for.
const ACTIONS: &str = "delete,pull,push";

/// How a tag was taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Untagged {
    /// The registry deletes tags.
    Directly,
    /// The registry deletes manifests only: the tag was moved to one of its own, which was deleted.
    ByPlaceholder,
}

impl Repository {
    /// Deletes `tag` and nothing else; `None` if the registry cannot.
    ///
    /// A registry that deletes no tags, but manifests with all of their tags, is given a manifest of
    /// no use under the tag, and told to delete that. It is tried beforehand whether it would: what
    /// fails leaves the tag where it was.
    ///
    /// # Errors
    /// Fails if the tag is not there.
    pub fn delete_tag(&self, tag: &str) -> ContentResult<Option<Untagged>> {
        let content = self.resolve(tag)?;
        let deleted = self.delete(&format!("manifests/{tag}"));
        match deleted {
            Ok(()) => return Ok(Some(Untagged::Directly)),
            // 404, too: there are registries that look for digests only.
            Err(error) if matches!(error.status(), Some(400 | 404 | 405 | 415 | 501)) => {}
            Err(error) => return Err(self.error(error, tag)),
        }
        let (placeholder, bytes) = self.placeholder()?;
        let put_as = |name: &str| self.put_manifest(name, &placeholder, &bytes);
        let by_digest = format!("manifests/{}", placeholder.digest);
        put_as(placeholder.digest.as_str()).map_err(|error| self.write_error(error))?;
        if self.delete(&by_digest).is_err() {
            return Ok(None);
        }
        let original = pull::manifest_bytes(self, &content)?;
        put_as(tag).map_err(|error| self.write_error(error))?;
        if let Err(error) = self.delete(&by_digest) {
            self.put_manifest(tag, &content, &original)
                .map_err(|error| self.write_error(error))?;
            return Err(self.write_error(error));
        }
        match self.resolve(tag) {
            Err(error) if error.is_not_found() => Ok(Some(Untagged::ByPlaceholder)),
            Err(error) => Err(error),
            Ok(found) => Err(ContentError::Unusable {
                place: self.name.clone(),
                reason: format!(
                    "it said that `{tag}` is deleted, but it is `{}`",
                    found.digest
                ),
            }),
        }
    }

    /// Returns the tags that name `digest`, in the registry's order; each tag is asked for, `jobs` at
    /// once.
    pub fn tags_on(&self, digest: &Digest, jobs: usize) -> ContentResult<Vec<String>> {
        let tags = self.tags()?;
        let (next, found) = (AtomicUsize::new(0), Mutex::new(HashSet::new()));
        let work = || -> ContentResult<()> {
            while let Some(tag) = tags.get(next.fetch_add(1, Ordering::Relaxed)) {
                let is_on = match self.resolve(tag) {
                    Ok(content) => content.digest == *digest,
                    // It was taken away meanwhile.
                    Err(error) if error.is_not_found() => false,
                    Err(error) => return Err(error),
                };
                if is_on {
                    let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                    found.insert(tag);
                }
            }
            Ok(())
        };
        thread::scope(|scope| {
            let workers: Vec<_> = (0..jobs.clamp(1, 32)).map(|_| scope.spawn(work)).collect();
            workers
                .into_iter()
                .try_for_each(|worker| match worker.join() {
                    Ok(done) => done,
                    Err(panic) => std::panic::resume_unwind(panic),
                })
        })?;
        let found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(tags
            .iter()
            .filter(|tag| found.contains(tag))
            .cloned()
            .collect())
    }

    /// Deletes the manifest `digest` and with it, in most registries, every tag on it.
    ///
    /// A manifest with a subject is also taken off the subject's fallback tag, where the registry
    /// keeps no list of referrers itself.
    pub fn delete_manifest(&self, digest: &Digest) -> ContentResult<()> {
        let subject = self.subject_of(digest);
        self.delete(&format!("manifests/{digest}"))
            .map_err(|error| self.error(error, digest.as_str()))?;
        match subject {
            Some(subject) => self.forget_referrer(&subject, digest),
            None => Ok(()),
        }
    }

    /// Deletes the blob `digest`, whether or not a manifest names it.
    pub fn delete_blob(&self, digest: &Digest) -> ContentResult<()> {
        self.delete(&format!("blobs/{digest}"))
            .map_err(|error| self.error(error, digest.as_str()))
    }

    fn delete(&self, tail: &str) -> Result<()> {
        let url = self.origin.url(tail);
        let call = self.origin.call(Method::Delete, url, ACTIONS);
        self.client.expect(call, &[200, 202, 204]).map(drop)
    }

    /// Returns a manifest that no other is, whose config is there.
    fn placeholder(&self) -> ContentResult<(Descriptor, Arc<[u8]>)> {
        let config = put(self, media_type::OCI_EMPTY, b"{}")?;
        let mut manifest = Manifest::oci(config, Vec::new());
        manifest.artifact_type = Some("application/vnd.corten.placeholder".to_owned());
        let text = format!("{:016x}", retry::random());
        manifest
            .annotations
            .insert("dev.corten.placeholder".to_owned(), text);
        let bytes = document::to_bytes(&manifest);
        Ok((
            Descriptor::of(media_type::OCI_MANIFEST, &bytes),
            bytes.into(),
        ))
    }
}
