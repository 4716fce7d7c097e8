//! What files that were fetched are known by, so that an unchanged one is not fetched again.
//!
//! A record lies among the build records, since it is kept and forgotten like one, and is one without
//! a layer. It is named by a digest of the address; the address, which may hold a password, is not in
//! it. The file itself is a blob of the store, and fetched again when gc took it.

use std::fs;
use std::io;

use corten_content::{Store, atomic};
use corten_spec::Digest;
use corten_tar::Timestamp;
use serde::{Deserialize, Serialize};

use crate::cache::{VERSION, path_of};
use crate::copy::http_date;
use crate::explain::Ledger;
use crate::key::Key;
use crate::remote::Validators;
use crate::{Error, Result};

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

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    version: u32,
    /// As build records have them.
    layer: (),
    created: String,
    below: [(); 0],
    http: Known,
}

impl Known {
    /// Returns what is known about `url`. A damaged record is none.
    pub(crate) fn look_up(store: &Store, url: &str) -> Result<Option<Self>> {
        let path = path_of(store, &key_of(url));
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            bytes => bytes.map_err(Error::system("read", &path))?,
        };
        let record = serde_json::from_slice::<Record>(&bytes).ok();
        let record = record.filter(|record| record.version == VERSION);
        Ok(record.map(|record| record.http))
    }

    /// Remembers it.
    pub(crate) fn record(&self, store: &Store, url: &str, created: &str) -> Result<()> {
        let record = Record {
            version: VERSION,
            layer: (),
            created: created.to_owned(),
            below: [],
            http: self.clone(),
        };
        let bytes = corten_spec::document::to_bytes(&record);
        let directory = store.cache_dir();
        if !directory.is_dir() {
            fs::create_dir_all(&directory).map_err(Error::system("create", &directory))?;
        }
        Ok(atomic::write_unsynced(
            &path_of(store, &key_of(url)),
            &bytes,
        )?)
    }

    /// Returns what the server may be asked with.
    pub(crate) fn validators(&self) -> Validators {
        Validators {
            etag: self.etag.clone(),
            last_modified: self.download.last_modified.clone(),
        }
    }
}

fn key_of(url: &str) -> Digest {
    let mut key = Key::new("http", &Ledger::default());
    key.text(url);
    key.finish()
}
