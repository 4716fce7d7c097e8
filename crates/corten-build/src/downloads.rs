//! What files that were fetched are known by, so that an unchanged one is not fetched again.
//!
//! ```text
//! cache/http/HEX    what is known about an address, by the digest of the address, JSON
//! ```
//!
//! The address itself, which may hold a password, is nowhere. The file is a blob of the store, and
//! fetched again when gc took it. All of it may be deleted at any time.

use std::fs;
use std::path::PathBuf;

use corten_content::{Store, atomic};
use corten_spec::Digest;
use corten_tar::Timestamp;
use serde::{Deserialize, Serialize};

use crate::copy::http_date;
use crate::remote::Validators;

/// A file that was fetched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Download {
    pub(crate) digest: Digest,
    /// As the server said it.
    pub(crate) last_modified: Option<String>,
}

impl Download {
    /// Returns when the server says that it changed.
    pub(crate) fn modified(&self) -> Option<Timestamp> {
        http_date(self.last_modified.as_deref()?)
    }
}

/// What is known about an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Known {
    pub(crate) download: Download,
    pub(crate) etag: Option<String>,
}

/// Changed whenever the form of what is kept does.
const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    version: u32,
    known: Known,
}

impl Known {
    /// Returns what is known about `url`. A record that is damaged or cannot be read is none.
    pub(crate) fn look_up(store: &Store, url: &str) -> Option<Self> {
        let bytes = fs::read(path_of(store, url)).ok()?;
        let record = serde_json::from_slice::<Record>(&bytes).ok();
        let record = record.filter(|record| record.version == VERSION)?;
        Some(record.known)
    }

    /// Remembers it, if that can be done: without, the file is fetched again.
    pub(crate) fn record(&self, store: &Store, url: &str) {
        let record = Record {
            version: VERSION,
            known: self.clone(),
        };
        let bytes = corten_spec::document::to_bytes(&record);
        let directory = directory(store);
        // Where there can be no directory, writing fails as well.
        fs::create_dir_all(&directory).ok();
        atomic::write_unsynced(&path_of(store, url), &bytes).ok();
    }

    /// Returns what the server may be asked with.
    pub(crate) fn validators(&self) -> Validators {
        Validators {
            etag: self.etag.clone(),
            last_modified: self.download.last_modified.clone(),
        }
    }
}

/// Returns where it is kept.
pub(crate) fn directory(store: &Store) -> PathBuf {
    store.cache_dir().join("http")
}

fn path_of(store: &Store, url: &str) -> PathBuf {
    directory(store).join(Digest::sha256(url.as_bytes()).encoded())
}
