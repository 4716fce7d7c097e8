//! What a command finds in its root and no layer gets, where nothing can be mounted: it is put in the place
//! of what is there, which comes back afterwards.

use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use corten_layer::beneath::Root;
use corten_layer::{Tree, path};
use corten_sandbox::{MountKind, RootKind};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;
use std::os::fd::AsFd as _;

use crate::run::merge::Attic;
use crate::run::mounts::Point;
use crate::run::owners;
use crate::{Error, Result};

/// What is covered while a command runs.
#[derive(Debug)]
pub(crate) struct Covers<'a> {
    root: &'a Root,
    attic: &'a Attic,
    covered: Vec<Covered>,
    /// Where what was covered is to be found: what is mounted into a mount is not in the image.
    places: Vec<(Vec<u8>, Vec<u8>)>,
    /// The devices of `/dev` that cannot be had.
    pub(crate) missing_devices: Vec<&'static str>,
}

#[derive(Debug)]
struct Covered {
    path: Vec<u8>,
    /// The directory it is in, which the command may move.
    parent: OwnedFd,
    /// What it is called in the attic.
    saved: Option<String>,
    end: End,
}

/// What becomes of what was put in place.
#[derive(Debug)]
enum End {
    /// It is given up.
    Discard,
    /// It goes back to its directory, by its name there.
    Return(OwnedFd, Vec<u8>),
    /// It is given up, and emptied, whatever names it has got.
    Wipe(OwnedFd),
}

impl<'a> Covers<'a> {
    /// Puts an empty `/proc` and `/sys`, a small `/dev` and each of `mounts` in place.
    ///
    /// Call [`withdraw`](Self::withdraw) whatever comes of it.
    pub(crate) fn new(root: &'a Root, attic: &'a Attic) -> Self {
        Self {
            root,
            attic,
            covered: Vec::new(),
            places: Vec::new(),
            missing_devices: Vec::new(),
        }
    }

    /// Puts an empty `/proc` and `/sys`, a small `/dev` and each of `mounts` in place. Every mount
    /// point is there.
    pub(crate) fn prepare(&mut self, tree: &Tree, points: &[Point]) -> Result<()> {
        for name in SYSTEM {
            let directory = self.cover_directory(name)?;
            self.places.push((name.to_vec(), name.to_vec()));
            if name == b"dev" {
                let filled = corten_sandbox::fill_dev(directory.as_fd());
                self.missing_devices = filled.map_err(|source| Error::Isolation { source })?;
            }
        }
        points.iter().try_for_each(|point| self.mount(tree, point))
    }

    fn mount(&mut self, tree: &Tree, point: &Point) -> Result<()> {
        let mount = &point.mount;
        let destination = mount.destination.as_os_str().as_bytes();
        let inside: Vec<&[u8]> = destination
            .split(|&byte| byte == b'/')
            .filter(|name| !name.is_empty())
            .collect();
        let inside = inside.join(&b'/');
        let rest = |place: &[u8]| Some(inside.strip_prefix(place)?.strip_prefix(b"/")?.to_vec());
        let mut above = self.places.iter().rev();
        let above = above.find_map(|(place, real)| Some(path::join(real, &rest(place)?)));
        let real = if let Some(real) = above {
            // Only what we put there is there.
            self.make_parents(&real)?;
            Some(real)
        } else {
            tree.real_path(destination)?
        };
        let Some(real) = real.filter(|real| !real.is_empty()) else {
            return Err(self.failed("cover", destination, Errno::NOENT));
        };
        self.places.push((inside, real.clone()));
        match &mount.kind {
            MountKind::Bind { source } => self.cover(&real, point.is_directory, |parent, name| {
                rustix::fs::renameat(CWD, source, parent, name)?;
                Ok(End::Discard)
            }),
            MountKind::Part {
                of: RootKind::Directory(directory),
                path,
            } => self.lend(&real, point.is_directory, &directory.join(path)),
            MountKind::Part { .. } => Err(Error::MountRefused {
                destination: mount.destination.clone(),
            }),
            MountKind::File {
                content,
                mode,
                uid,
                gid,
            } => self.cover_file(&real, &content.0, *mode, (*uid, *gid)),
            MountKind::Tmpfs { mode, .. } => {
                let directory = self.cover_directory(&real)?;
                rustix::fs::fchmod(&directory, Mode::from_raw_mode(*mode))
                    .map_err(|errno| self.failed("set the mode of", &real, errno))
            }
        }
    }

    /// Puts a file or directory of a cache in place, until it goes back.
    fn lend(&mut self, real: &[u8], is_directory: bool, source: &Path) -> Result<()> {
        let failed = |errno: Errno| Error::system("move", source)(errno.into());
        let (Some(above), Some(own)) = (source.parent(), source.file_name()) else {
            return Err(failed(Errno::NOENT));
        };
        let above = Root::open(above)?.directory(b"")?;
        let own = own.as_bytes().to_vec();
        self.cover(real, is_directory, move |parent, name| {
            rustix::fs::renameat(&above, own.as_slice(), parent, name)?;
            Ok(End::Return(above, own))
        })
    }

    fn make_parents(&self, real: &[u8]) -> Result<()> {
        let mut here = Vec::new();
        for name in path::components(path::split(real).0).names {
            let parent = self.root.directory(&here)?;
            match rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(self.failed("create", real, errno)),
            }
            here = path::join(&here, name);
        }
        Ok(())
    }

    fn cover_directory(&mut self, path: &[u8]) -> Result<OwnedFd> {
        let mode = Mode::from_raw_mode(0o755);
        self.cover(path, true, |parent, name| {
            rustix::fs::mkdirat(parent, name, mode)?;
            rustix::fs::chmodat(parent, name, mode, AtFlags::empty())?;
            Ok(End::Discard)
        })?;
        Ok(self.root.directory(path)?)
    }

    /// Writes a file that may be secret: its handle outlives its name.
    fn cover_file(
        &mut self,
        path: &[u8],
        content: &[u8],
        mode: u32,
        (uid, gid): (u32, u32),
    ) -> Result<()> {
        self.cover(path, false, |parent, name| {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
            let file = rustix::fs::openat(parent, name, flags, Mode::RUSR | Mode::WUSR)?;
            let written = write(&file, content)
                .and_then(|()| owners::give_open(&file, uid, gid))
                .and_then(|()| rustix::fs::fchmod(&file, Mode::from_raw_mode(mode)));
            if written.is_err() {
                rustix::fs::ftruncate(&file, 0).ok();
            }
            written?;
            Ok(End::Wipe(file))
        })
    }

    fn cover(
        &mut self,
        path: &[u8],
        is_directory: bool,
        make: impl FnOnce(&OwnedFd, &[u8]) -> rustix::io::Result<End>,
    ) -> Result<()> {
        let (directory, name) = path::split(path);
        let parent = self.root.directory(directory)?;
        let times = times_of(&parent).map_err(|errno| self.failed("examine", directory, errno))?;
        let saved = self.attic.take(&parent, name, &self.root.shown(path))?;
        let is_other = saved
            .as_ref()
            .is_some_and(|here| self.attic.is_directory(here) != is_directory);
        // As a mount would say: something else cannot be mounted upon.
        let made = match (is_other, is_directory) {
            (false, _) => make(&parent, name),
            (true, true) => Err(Errno::NOTDIR),
            (true, false) => Err(Errno::ISDIR),
        };
        let timed = rustix::fs::futimens(&parent, &times);
        let (end, failed) = match made {
            Ok(end) => (end, timed.err()),
            Err(errno) => (End::Discard, Some(errno)),
        };
        self.covered.push(Covered {
            path: path.to_vec(),
            parent,
            saved,
            end,
        });
        match failed {
            Some(errno) => Err(self.failed("cover", path, errno)),
            None => Ok(()),
        }
    }

    /// Takes everything away and puts back what was covered, whatever the command made of either. The
    /// times of their directories stay what the command left.
    pub(crate) fn withdraw(mut self) -> Result<()> {
        let mut result = Ok(());
        while let Some(covered) = self.covered.pop() {
            // Whatever fails, caches go back and secrets are wiped.
            result = result.and(self.uncover(&covered));
        }
        result
    }

    fn uncover(&self, covered: &Covered) -> Result<()> {
        let (directory, name) = path::split(&covered.path);
        let shown = self.root.shown(&covered.path);
        let parent = &covered.parent;
        let examined = |errno| self.failed("examine", directory, errno);
        if let End::Wipe(file) = &covered.end {
            let wiped = rustix::fs::ftruncate(file, 0);
            wiped.map_err(|errno| self.failed("empty", &covered.path, errno))?;
        }
        let times = times_of(parent).map_err(examined)?;
        match &covered.end {
            End::Return(above, own) => {
                match rustix::fs::renameat(parent, name, above, own.as_slice()) {
                    // The command removed it: a mount it could only have emptied.
                    Err(Errno::NOENT) => rustix::fs::mkdirat(above, own.as_slice(), 0o755.into()),
                    moved => moved,
                }
                .map_err(|errno| self.failed("put back", &covered.path, errno))?;
            }
            End::Discard | End::Wipe(_) => {
                self.attic.take(parent, name, &shown)?;
            }
        }
        let is_gone = rustix::fs::fstat(parent).map_err(examined)?.st_nlink == 0;
        let remade = is_gone.then(|| self.root.directory(directory));
        let (parent, times) = match &remade {
            None => (parent, times),
            // The command removed the directory itself, and made another one.
            Some(Ok(other)) => {
                let times = times_of(other).map_err(examined)?;
                self.attic.take(other, name, &shown)?;
                (other, times)
            }
            // What it held went with it.
            Some(Err(_)) => return Ok(()),
        };
        if let Some(here) = &covered.saved {
            self.attic.give_back(here, parent, name, &shown)?;
        }
        rustix::fs::futimens(parent, &times)
            .map_err(|errno| self.failed("set the time of", directory, errno))
    }

    fn failed(&self, action: &'static str, path: &[u8], errno: Errno) -> Error {
        Error::system(action, self.root.shown(path))(errno.into())
    }
}

/// What every sandbox has of its own.
const SYSTEM: [&[u8]; 3] = [b"proc", b"dev", b"sys"];

fn write(file: &OwnedFd, mut rest: &[u8]) -> rustix::io::Result<()> {
    while !rest.is_empty() {
        let n_written = rustix::io::write(file, rest)?;
        rest = rest.get(n_written..).unwrap_or_default();
    }
    Ok(())
}

fn times_of(directory: &OwnedFd) -> rustix::io::Result<Timestamps> {
    let stat = rustix::fs::fstat(directory)?;
    let time = |seconds, nanoseconds: u64| Timespec {
        tv_sec: seconds,
        tv_nsec: i64::try_from(nanoseconds).unwrap_or_default(),
    };
    Ok(Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    })
}
