//! The registry of `corten-testing`, right unless it is told to misbehave.

mod answer;

use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard};

use corten_testing::Registry;
use corten_testing::registry::Options;

/// How the registry differs from the specification, or uses a freedom that it leaves.
#[derive(Debug, Clone, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an independent switch"
)]
pub(crate) struct Quirks {
    pub(crate) auth: Auth,
    /// Requests whose target contains this are read and never answered.
    pub(crate) stall_on: Option<&'static str>,
    /// Blobs are served with their first byte changed.
    pub(crate) wrong_bytes: bool,
    /// Blobs are served without their last byte, with the length to match.
    pub(crate) short_blobs: bool,
    /// So many blob answers break off in the middle.
    pub(crate) n_drops: usize,
    /// `Range` is ignored.
    pub(crate) no_ranges: bool,
    /// So many requests get 429.
    pub(crate) n_too_many: usize,
    /// Where blobs really are.
    pub(crate) redirect_blobs: Option<String>,
    /// Refusals are web pages.
    pub(crate) html_errors: bool,
    /// What content is said to hash to.
    pub(crate) lying_digest: Option<String>,
    /// HEAD is not allowed.
    pub(crate) no_head: bool,
    /// What manifests are said to be.
    pub(crate) content_type: Option<&'static str>,
    /// Manifests come with `; charset=utf-8`.
    pub(crate) charset: bool,
    /// So many times somebody else adds to an index that has a tag just before it is written.
    pub(crate) others_write: usize,
    /// There is no list of referrers.
    pub(crate) no_referrers: bool,
    /// The list of referrers is a web page with status 200.
    pub(crate) html_referrers: bool,
    /// Lists are served in pages of so many entries.
    pub(crate) page: Option<usize>,
    /// Nothing can be mounted.
    pub(crate) no_mount: bool,
    /// `OCI-Chunk-Min-Length`.
    pub(crate) chunk_min: Option<usize>,
    /// So many requests of this method are half taken, then break off.
    pub(crate) n_halves: usize,
    pub(crate) half_method: &'static str,
    /// So many closing requests get 503.
    pub(crate) n_unavailable_puts: usize,
    /// So many closing requests get 429.
    pub(crate) n_too_many_puts: usize,
    /// Where uploads go on.
    pub(crate) upload_base: Option<String>,
    /// Where the token server really is.
    pub(crate) redirect_token: Option<String>,
    /// What the token server answers.
    pub(crate) token_status: Option<u16>,
    /// Nothing can be uploaded, for want of a repository.
    pub(crate) no_repository: bool,
    /// A `Warning` on every answer.
    pub(crate) warning: Option<&'static str>,
}

#[derive(Debug, Clone, Default)]
pub(crate) enum Auth {
    #[default]
    Open,
    Basic,
    /// A token for everyone to pull; to push, one for `me` with `s3cret`.
    Bearer,
    /// Tokens, but none without the password.
    Closed,
    /// A token server that gives its tokens for the identity token `id-t0ken`.
    Identity,
}

/// A registry with quirks.
pub(crate) struct Fake {
    pub(crate) host: String,
    registry: Registry,
    quirks: Arc<Mutex<Quirks>>,
}

impl Deref for Fake {
    type Target = Registry;

    fn deref(&self) -> &Registry {
        &self.registry
    }
}

impl Fake {
    pub(crate) fn start(quirks: Quirks) -> Self {
        let registry = Registry::with(Options {
            referrers: !quirks.no_referrers,
            mount: !quirks.no_mount,
            page: quirks.page.unwrap_or(1000),
            chunk_min: quirks.chunk_min,
            ..Options::default()
        });
        let quirks = Arc::new(Mutex::new(quirks));
        let host = registry.host().to_owned();
        registry.interpose(answer::Quirky {
            registry: registry.clone(),
            quirks: Arc::clone(&quirks),
        });
        Self {
            host,
            registry,
            quirks,
        }
    }

    pub(crate) fn quirks(&self) -> MutexGuard<'_, Quirks> {
        self.quirks.lock().unwrap()
    }
}
