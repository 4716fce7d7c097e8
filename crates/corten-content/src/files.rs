//! The operations that change the files of a layout or a store.
//!
//! They go through a trait so that the crash tests can fail, or lose, each one of them.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Whether a write waits for stable storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// What was committed outlives a power failure.
    #[default]
    Full,
    /// A power failure may lose or damage what was written since the last `sync`; a crash of the
    /// process alone loses nothing. For benchmarks, and for stores that live as long as a build.
    None,
}

/// Every way in which this crate changes a file system, but for locks.
pub(crate) trait Files: Send + Sync + fmt::Debug {
    /// Opens `path` for reading and writing, and creates it where there is none.
    fn create(&self, path: &Path) -> io::Result<File>;
    fn write(&self, file: &File, path: &Path, bytes: &[u8]) -> io::Result<usize>;
    fn sync(&self, file: &File, path: &Path) -> io::Result<()>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives `from` a second name; fails if there is something under that name.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    fn make_dir(&self, path: &Path) -> io::Result<()>;
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
}

/// The operating system's files.
#[derive(Debug)]
pub(crate) struct RealFiles(pub(crate) Durability);

impl Files for RealFiles {
    fn create(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .custom_flags(no_follow())
            .open(path)
    }

    fn write(&self, mut file: &File, _: &Path, bytes: &[u8]) -> io::Result<usize> {
        file.write(bytes)
    }

    fn sync(&self, file: &File, _: &Path) -> io::Result<()> {
        match self.0 {
            Durability::Full => file.sync_data(),
            Durability::None => Ok(()),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn make_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        match self.0 {
            Durability::Full => File::open(path)?.sync_all(),
            Durability::None => Ok(()),
        }
    }
}

/// Opens the regular file at `path` for reading; a pipe under that name neither blocks nor opens.
pub(crate) fn open_regular(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(non_blocking())
        .open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_file() {
        Ok((file, metadata.len()))
    } else {
        Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is not a regular file",
        ))
    }
}

/// Opens what is itself a regular file, as every file that we write is: no link is followed.
pub(crate) fn open_own(path: &Path) -> io::Result<File> {
    if !fs::symlink_metadata(path)?.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is not a regular file",
        ));
    }
    OpenOptions::new()
        .read(true)
        .custom_flags(no_follow() | non_blocking())
        .open(path)
}

fn no_follow() -> i32 {
    rustix::fs::OFlags::NOFOLLOW.bits().cast_signed()
}

fn non_blocking() -> i32 {
    rustix::fs::OFlags::NONBLOCK.bits().cast_signed()
}
