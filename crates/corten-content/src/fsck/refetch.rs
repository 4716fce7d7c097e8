//! Taking good bytes from another place.

use corten_spec::{Descriptor, Kind};

use super::survey::{BlobState, hash};
use super::{Finding, Survey};
use crate::copy::copy;
use crate::{CopyOptions, Error, IngestPlan, Result, Sink, Source, Store, open};

/// Replaces `content` in `store`, whatever is there under its digest, by good bytes from `source`.
///
/// What `content` refers to is left as it is. The new file takes the place of the old one by a
/// rename, so whoever is reading is not disturbed.
///
/// # Errors
/// Nothing is changed if `source` does not have it, or has something else, too.
pub fn refetch(
    source: &dyn Source,
    store: &Store,
    content: &Descriptor,
    options: &CopyOptions<'_>,
) -> Result<()> {
    let content = content.bare();
    if content.kind().has_children() || content.kind() == Kind::Schema1 {
        let mut ingest = store.ingest(&IngestPlan {
            // Documents are small; starting anew is simpler than resuming.
            content: None,
            ..IngestPlan::of(&content)?
        })?;
        let read = std::io::copy(&mut open(source, &content)?, &mut ingest);
        read.map_err(|error| Error::stream(format!("copy `{}`", content.digest), error))?;
        return ingest.commit(Some(&content)).map(drop);
    }
    // Like any other transfer, this one resumes, retries and shows how far it is.
    copy(source, &Anew(store), &content, options).map(drop)
}

impl Survey {
    /// Returns what an image that is called `name` lacks, as far as that can be known: what a
    /// missing manifest refers to is known only when it is back.
    pub fn lost_by(&self, name: Option<&str>) -> Vec<Descriptor> {
        let lost = self
            .findings()
            .into_iter()
            .filter_map(|finding| match finding {
                Finding::Blob(lost) => Some(lost),
                _ => None,
            });
        lost.filter(|lost| {
            let mut needs = lost.needed_by.iter();
            needs.any(|need| need.name.as_deref() == name)
        })
        .map(|lost| lost.content)
        .collect()
    }
}

/// A store that has only what it has just verified, for a copy that replaces what is damaged.
#[derive(Debug)]
pub struct Doubting<'a>(pub &'a Store);

impl Sink for Doubting<'_> {
    fn place(&self) -> String {
        Sink::place(self.0)
    }

    fn contains(&self, content: &Descriptor) -> Result<bool> {
        let is_there = self.0.contains(content)?;
        let state = || hash(&content.digest, &self.0.blob_path(&content.digest));
        Ok(is_there && matches!(state(), Some(BlobState::Whole { .. })))
    }

    fn ingest(&self, plan: &IngestPlan) -> Result<Box<dyn crate::Ingest + '_>> {
        self.0.ingest(plan)
    }

    fn tag(&self, tag: &str, content: &Descriptor) -> Result<()> {
        self.0.tag(tag, content)
    }
}

/// A store that has nothing.
struct Anew<'a>(&'a Store);

impl Sink for Anew<'_> {
    fn place(&self) -> String {
        Sink::place(self.0)
    }

    fn contains(&self, _: &Descriptor) -> Result<bool> {
        Ok(false)
    }

    fn ingest(&self, plan: &IngestPlan) -> Result<Box<dyn crate::Ingest + '_>> {
        self.0.ingest(plan)
    }

    fn tag(&self, tag: &str, content: &Descriptor) -> Result<()> {
        self.0.tag(tag, content)
    }
}
