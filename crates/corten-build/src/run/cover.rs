//! What a command finds in its root and no layer gets, where nothing can be mounted: it is put in the place
//! of what is there, which comes back afterwards.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;

use corten_layer::beneath::Root;
use corten_layer::{Tree, path};
use corten_sandbox::{Mount, MountKind};
use rustix::fs::{AtFlags, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;
use std::os::fd::AsFd as _;

use crate::run::merge::Attic;
use crate::run::mounts::Point;
use crate::{Error, Result};

/// What is covered while a command runs.
#[derive(Debug)]
pub(crate) struct Covers<'a> {
    root: &'a Root,
    attic: &'a Attic,
    covered: Vec<Covered>,
    /// The devices of `/dev` that cannot be had.
    pub(crate) missing_devices: Vec<&'static str>,
}

#[derive(Debug)]
struct Covered {
    path: Vec<u8>,
    /// What it is called in the attic.
    saved: Option<String>,
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
            missing_devices: Vec::new(),
        }
    }

    /// Puts an empty `/proc` and `/sys`, a small `/dev` and each of `mounts` in place. Every mount
    /// point is there.
    pub(crate) fn prepare(&mut self, tree: &Tree, points: &[Point]) -> Result<()> {
        for name in SYSTEM {
            let directory = self.cover_directory(name)?;
            if name == b"dev" {
                let filled = corten_sandbox::fill_dev(directory.as_fd());
                self.missing_devices = filled.map_err(|source| Error::Isolation { source })?;
            }
        }
        let mut mounts = points.iter().map(|point| &point.mount);
        mounts.try_for_each(|mount| self.mount(tree, mount))
    }

    fn mount(&mut self, tree: &Tree, mount: &Mount) -> Result<()> {
        let destination = mount.destination.as_os_str().as_bytes();
        let inside: Vec<&[u8]> = destination
            .split(|&byte| byte == b'/')
            .filter(|name| !name.is_empty())
            .collect();
        let is_in_system = inside.len() > 1 && inside.first().is_some_and(|n| SYSTEM.contains(n));
        let real = if is_in_system {
            // Only what we made is there, and goes with it.
            let real = inside.join(&b'/');
            self.make_parents(&real)?;
            Some(real)
        } else {
            tree.real_path(destination)?
        };
        let Some(real) = real.filter(|real| !real.is_empty()) else {
            return Err(self.failed("cover", destination, Errno::NOENT));
        };
        match &mount.kind {
            MountKind::Bind { source } if source.is_file() => {
                let content = fs::read(source).map_err(Error::system("read", source))?;
                let mode = fs::metadata(source).map_err(Error::system("examine", source))?;
                let mode = std::os::unix::fs::MetadataExt::mode(&mode) & 0o7777;
                self.cover_file(&real, &content, mode)
            }
            MountKind::Bind { .. } | MountKind::Part { .. } | MountKind::File { .. } => {
                Err(Error::MountRefused {
                    destination: mount.destination.clone(),
                })
            }
            MountKind::Tmpfs { mode, .. } => {
                let directory = self.cover_directory(&real)?;
                rustix::fs::fchmod(&directory, Mode::from_raw_mode(*mode))
                    .map_err(|errno| self.failed("set the mode of", &real, errno))
            }
        }
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
            rustix::fs::chmodat(parent, name, mode, AtFlags::empty())
        })?;
        Ok(self.root.directory(path)?)
    }

    fn cover_file(&mut self, path: &[u8], content: &[u8], mode: u32) -> Result<()> {
        self.cover(path, false, |parent, name| {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
            let file = rustix::fs::openat(parent, name, flags, Mode::RUSR | Mode::WUSR)?;
            let mut rest = content;
            while !rest.is_empty() {
                let n_written = rustix::io::write(&file, rest)?;
                rest = rest.get(n_written..).unwrap_or_default();
            }
            rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))
        })
    }

    fn cover(
        &mut self,
        path: &[u8],
        is_directory: bool,
        make: impl FnOnce(&OwnedFd, &[u8]) -> rustix::io::Result<()>,
    ) -> Result<()> {
        let (directory, name) = path::split(path);
        let parent = self.root.directory(directory)?;
        let times = times_of(&parent).map_err(|errno| self.failed("examine", directory, errno))?;
        let saved = self.attic.take(&parent, name, &self.root.shown(path))?;
        let is_other = saved
            .as_ref()
            .is_some_and(|here| self.attic.is_directory(here) != is_directory);
        self.covered.push(Covered {
            path: path.to_vec(),
            saved,
        });
        if is_other {
            // As a mount would say: something else cannot be mounted upon.
            let errno = if is_directory {
                Errno::NOTDIR
            } else {
                Errno::ISDIR
            };
            return Err(self.failed("cover", path, errno));
        }
        make(&parent, name)
            .and_then(|()| rustix::fs::futimens(&parent, &times))
            .map_err(|errno| self.failed("cover", path, errno))
    }

    /// Takes everything away and puts back what was covered, whatever the command made of either. The
    /// times of their directories stay what the command left.
    pub(crate) fn withdraw(self) -> Result<()> {
        for covered in self.covered.iter().rev() {
            let (directory, name) = path::split(&covered.path);
            // The command may have removed the directory itself, and what it held with it.
            let Ok(parent) = self.root.directory(directory) else {
                continue;
            };
            let shown = self.root.shown(&covered.path);
            let times =
                times_of(&parent).map_err(|errno| self.failed("examine", directory, errno))?;
            self.attic.take(&parent, name, &shown)?;
            if let Some(here) = &covered.saved {
                self.attic.give_back(here, &parent, name, &shown)?;
            }
            rustix::fs::futimens(&parent, &times)
                .map_err(|errno| self.failed("set the time of", directory, errno))?;
        }
        Ok(())
    }

    fn failed(&self, action: &'static str, path: &[u8], errno: Errno) -> Error {
        Error::system(action, self.root.shown(path))(errno.into())
    }
}

/// What every sandbox has of its own.
const SYSTEM: [&[u8]; 3] = [b"proc", b"dev", b"sys"];

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
