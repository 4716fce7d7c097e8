//! When a bundle was looked at, and the record of what was seen, which counts when it is in its place.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use corten_content::unfinished::Unfinished;
use corten_layer::scan::Found;

use crate::record::{FILE, Origin, Record};
use crate::{Error, Result};

/// A new file in a bundle: the clock of the file system, before anything was looked at, and the place
/// for what was seen.
pub(crate) struct Clock {
    file: File,
    now: (i64, u32),
    pending: Pending,
}

impl Clock {
    pub(crate) fn start(bundle: &Path) -> Result<Self> {
        let path = bundle.join(format!(".{FILE}-{}", std::process::id()));
        // One of a process of our number that was killed.
        std::fs::remove_file(&path).ok();
        let mut options = OpenOptions::new();
        let options = options.write(true).create_new(true).mode(0o600);
        let create = || Ok((path.clone(), options.open(&path)?));
        let (unfinished, file) =
            Unfinished::create(create).map_err(Error::system("create", &path))?;
        let place = bundle.join(FILE);
        let pending = Pending {
            path,
            place,
            _unfinished: unfinished,
        };
        let metadata = file
            .metadata()
            .map_err(Error::system("examine", &pending.path))?;
        let nanoseconds = u32::try_from(metadata.ctime_nsec()).unwrap_or_default();
        Ok(Self {
            file,
            now: (metadata.ctime(), nanoseconds),
            pending,
        })
    }

    /// Writes `paths`, what was seen, beside the record of the bundle.
    pub(crate) fn record(
        mut self,
        origin: Origin,
        paths: Vec<(Vec<u8>, Found)>,
    ) -> Result<Pending> {
        let record = Record {
            origin,
            taken: self.now,
            paths,
        };
        self.file
            .write_all(&record.encode())
            .map_err(Error::system("write", &self.pending.path))?;
        Ok(self.pending)
    }
}

/// A record that is written and not yet the bundle's; dropped, it is removed.
#[derive(Debug)]
#[must_use = "the bundle stays one of the image that it was made from"]
pub struct Pending {
    path: PathBuf,
    place: PathBuf,
    _unfinished: Unfinished,
}

impl Pending {
    /// Makes it the record of the bundle.
    ///
    /// # Errors
    /// Fails if it cannot be renamed. The bundle is what it was then.
    pub fn commit(self) -> Result<()> {
        std::fs::rename(&self.path, &self.place).map_err(Error::system("write", &self.place))
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        // It is gone if it became the record.
        std::fs::remove_file(&self.path).ok();
    }
}
