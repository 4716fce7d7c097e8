//! A blob on its way into a layout: a file of its own that is renamed when it is verified.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use corten_spec::{Descriptor, Digest, Hasher};

use crate::layout::dir::LayoutDir;
use crate::lock::{is_at, try_lock};
use crate::{Error, Ingest, IngestPlan, Result, atomic, graph};

/// A write in progress.
///
/// Its file is locked for as long as it lives. Content that is known beforehand has a file under
/// its own digest, which the next writer of that content goes on with; a second writer at the same
/// time takes a file of its own.
#[derive(Debug)]
pub(super) struct FileIngest<'a> {
    dir: &'a LayoutDir,
    path: PathBuf,
    file: File,
    hasher: Hasher,
    offset: u64,
    leftover: Leftover,
}

/// What happens to the file of a write that is not committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leftover {
    Keep,
    Remove,
}

impl<'a> FileIngest<'a> {
    pub(super) fn start(dir: &'a LayoutDir, plan: &IngestPlan) -> Result<Self> {
        let folder = dir.ingest_dir();
        let keyed = match &plan.content {
            Some(content) => {
                let digest = &content.digest;
                let name = format!("{}-{}", digest.algorithm_name(), digest.encoded());
                open_locked(dir, &folder.join(name))?
            }
            None => None,
        };
        let (path, file, leftover) = if let Some((path, file)) = keyed {
            (path, file, Leftover::Keep)
        } else {
            let (path, file) = open_unique(dir, &folder)?;
            (path, file, Leftover::Remove)
        };
        let mut ingest = Self {
            dir,
            path,
            file,
            hasher: Hasher::new(plan.algorithm),
            offset: 0,
            leftover,
        };
        if let Some(content) = plan.content.as_ref().filter(|_| leftover == Leftover::Keep) {
            ingest.resume(content.size)?;
        }
        Ok(ingest)
    }

    /// Hashes what an earlier write left; more than the content can be is of no use.
    fn resume(&mut self, size: u64) -> Result<()> {
        let failed = |action| Error::system(action, self.path.clone());
        let len = self.file.metadata().map_err(failed("read"))?.len();
        if len > size {
            return self.file.set_len(0).map_err(failed("truncate"));
        }
        let mut buf = vec![0; 128 << 10];
        while self.offset < len {
            let n_read = (&self.file).read(&mut buf).map_err(failed("read"))?;
            if n_read == 0 {
                break;
            }
            self.hasher.update(buf.get(..n_read).unwrap_or_default());
            self.offset += n_read as u64;
        }
        Ok(())
    }

    fn publish(&self, digest: &Digest) -> Result<()> {
        let blob = self.dir.blob_path(digest);
        let folder = self.dir.blob_dir(digest);
        atomic::make_dirs_below(self.dir.files(), self.dir.root(), &folder)?;
        self.dir
            .files()
            .sync(&self.file, &self.path)
            .map_err(Error::system("sync", &self.path))?;
        self.dir.guarded(digest, || {
            let renamed = self.dir.files().rename(&self.path, &blob);
            renamed.map_err(Error::system("create", &blob))
        })?;
        // The mode only says to people that blobs do not change; not every file system has modes.
        fs::set_permissions(&blob, fs::Permissions::from_mode(0o444)).ok();
        self.dir
            .files()
            .sync_dir(&folder)
            .map_err(Error::system("sync", folder))
    }
}

impl Write for FileIngest<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self.dir.files().write(&self.file, &self.path, buf) {
            Ok(n_written) => {
                self.hasher.update(buf.get(..n_written).unwrap_or_default());
                self.offset += n_written as u64;
                Ok(n_written)
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Err(error),
            Err(error) => {
                // A full disk is not to stay full because of what did not fit.
                self.leftover = Leftover::Remove;
                Err(Error::system("write", &self.path)(error).into())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Ingest for FileIngest<'_> {
    fn offset(&self) -> u64 {
        self.offset
    }

    fn commit(mut self: Box<Self>, expected: Option<&Descriptor>) -> Result<(Digest, u64)> {
        // After a failed sync nobody knows what is on the disk, so no failure leaves anything.
        self.leftover = Leftover::Remove;
        let digest = self.hasher.clone().finish();
        if let Some(expected) = expected {
            graph::compare(expected, &digest, self.offset, &self.dir.place())?;
        }
        self.publish(&digest)?;
        Ok((digest, self.offset))
    }
}

impl Drop for FileIngest<'_> {
    fn drop(&mut self) {
        // A committed file is no longer at its path, unless another writer started one there.
        if (self.leftover == Leftover::Remove || self.offset == 0) && is_at(&self.file, &self.path)
        {
            self.dir.files().remove(&self.path).ok();
        }
    }
}

fn open_unique(dir: &LayoutDir, folder: &Path) -> Result<(PathBuf, File)> {
    loop {
        let path = folder.join(format!("{}{}", atomic::TEMPORARY, atomic::unique()));
        // `gc` may have locked the new file first, only to remove it.
        if let Some(opened) = open_locked(dir, &path)? {
            return Ok(opened);
        }
    }
}

/// Opens and locks the file at `path`; `None` if someone else has locked it.
fn open_locked(dir: &LayoutDir, path: &Path) -> Result<Option<(PathBuf, File)>> {
    loop {
        let file = match dir.files().create(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                atomic::make_dirs_below(dir.files(), dir.root(), &dir.ingest_dir())?;
                continue;
            }
            other => other.map_err(Error::system("create", path))?,
        };
        if !try_lock(&file).map_err(Error::system("lock", path))? {
            return Ok(None);
        }
        if is_at(&file, path) {
            return Ok(Some((path.to_owned(), file)));
        }
    }
}
