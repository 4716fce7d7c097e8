//! Copies of executables that ask for their loader by the path that it has in the root.
//!
//! The kernel's working directory of every process is the root, so that the path is a relative one, and
//! a copy good for as long as its original and where its loader is.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt as _;

use rustix::fs::{CWD, Mode, OFlags, SeekFrom, Stat, mkdirat, openat, seek, symlinkat};
use rustix::io::Errno;

use crate::traced::elf;
use crate::traced::world::id_of;

/// Where copies are, and of what.
#[derive(Debug)]
pub(crate) struct Copies {
    directory: OwnedFd,
    /// Its path.
    place: Vec<u8>,
    made: HashMap<Original, Vec<u8>>,
    /// Links to what is executed by another name than its own.
    links: HashMap<(Vec<u8>, Vec<u8>), Vec<u8>>,
}

/// What a copy is of. No process can set the time of change.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Original {
    id: (u64, u64),
    size: i64,
    changed: (i64, u64),
    loader: Option<(Vec<u8>, u64)>,
}

impl Copies {
    /// Makes copies in a directory of this path.
    pub(crate) fn new(directory: OwnedFd, place: Vec<u8>) -> Self {
        Self {
            directory,
            place,
            made: HashMap::new(),
            links: HashMap::new(),
        }
    }

    /// Returns the directory of all copies.
    pub(crate) fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// Returns the path of a copy of `file` called `name`. With a loader, its path and the program header
    /// that is to name it are given.
    pub(crate) fn of(
        &mut self,
        file: &File,
        stat: &Stat,
        name: &[u8],
        loader: Option<(&[u8], u64)>,
    ) -> Result<Vec<u8>, Errno> {
        let original = Original {
            id: id_of(stat),
            size: stat.st_size,
            changed: (stat.st_ctime, stat.st_ctime_nsec),
            loader: loader.map(|(path, header)| (path.to_vec(), header)),
        };
        if let Some(path) = self.made.get(&original) {
            return Ok(path.clone());
        }
        let path = self.make(file, name, loader).map_err(errno)?;
        self.made.insert(original, path.clone());
        Ok(path)
    }

    /// Returns a path that leads to `path` and ends in `name`, which is what `ps` shows.
    pub(crate) fn called(&mut self, path: Vec<u8>, name: &[u8]) -> Result<Vec<u8>, Errno> {
        let own = path.rsplit(|&byte| byte == b'/').next();
        if own == Some(name) || name.is_empty() || name.len() > 255 {
            return Ok(path);
        }
        let wanted = (path, name.to_vec());
        if let Some(link) = self.links.get(&wanted) {
            return Ok(link.clone());
        }
        let number = format!("link{}", self.links.len());
        mkdirat(&self.directory, number.as_str(), Mode::from_raw_mode(0o700))?;
        let place = [number.as_bytes(), b"/", name].concat();
        symlinkat(wanted.0.as_slice(), &self.directory, place.as_slice())?;
        let link = [self.place.as_slice(), b"/", &place].concat();
        self.links.insert(wanted, link.clone());
        Ok(link)
    }

    fn make(
        &self,
        file: &File,
        name: &[u8],
        loader: Option<(&[u8], u64)>,
    ) -> std::io::Result<Vec<u8>> {
        let number = self.made.len().to_string();
        mkdirat(&self.directory, number.as_str(), Mode::from_raw_mode(0o700))?;
        let place = [number.as_bytes(), b"/", name].concat();
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let copy = openat(&self.directory, place.as_slice(), flags, 0o700.into())?;
        let copy = File::from(copy);
        let length = copy_data(file, &copy)?;
        if let Some((path, header)) = loader {
            for (at, bytes) in elf::asking_for(path, header, length) {
                copy.write_all_at(&bytes, at)?;
            }
        }
        Ok([self.place.as_slice(), b"/", &place].concat())
    }
}

/// Copies what a file holds and returns its length. What is a hole stays one: nobody can have more written
/// than is there.
fn copy_data(file: &File, copy: &File) -> std::io::Result<u64> {
    let length = file.metadata()?.len();
    copy.set_len(length)?;
    let mut at = 0;
    while at < length {
        let data = match seek(file, SeekFrom::Data(at)) {
            // There is nothing but a hole.
            Err(Errno::NXIO) => break,
            data => data?,
        };
        let hole = seek(file, SeekFrom::Hole(data))?;
        let (mut from, mut to) = (file, copy);
        std::io::Seek::seek(&mut from, std::io::SeekFrom::Start(data))?;
        std::io::Seek::seek(&mut to, std::io::SeekFrom::Start(data))?;
        std::io::copy(&mut from.take(hole.saturating_sub(data)), &mut to)?;
        at = hole;
    }
    Ok(length)
}

/// Opens the file behind a handle for reading.
pub(crate) fn reopened(path: &str) -> Result<File, Errno> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(File::from(openat(CWD, path, flags, Mode::empty())?))
}

/// Returns the number of a system's error.
#[expect(
    clippy::needless_pass_by_value,
    reason = "for `map_err`, which gives it away"
)]
pub(crate) fn errno(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}
