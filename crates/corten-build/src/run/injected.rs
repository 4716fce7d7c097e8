//! Mount points that a RUN needs and the image does not have: they must leave no trace in its layer.
//!
//! They are made in the upper directory beforehand, with the times of the directories they are in
//! put back, and removed afterwards unless the command filled them; so are the directories above them, as
//! BuildKit has it.

use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use corten_layer::beneath::Root;
use corten_layer::tree::Kind;
use corten_layer::upper::set_attributes;
use corten_layer::{Meta, Tree, path};
use corten_tar::Timestamp;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::run::mounts::Point;
use crate::run::owners;
use crate::run::times::{set_time, set_time_of};
use crate::{Error, Result};

/// What was made for mounts.
#[derive(Debug)]
pub(crate) struct Injected {
    root: Root,
    /// The paths that were made, parents first.
    made: Vec<Made>,
}

#[derive(Debug)]
struct Made {
    path: Vec<u8>,
    /// The directory it is in, which the command may have moved.
    parent: OwnedFd,
    is_directory: bool,
}

/// What the sandbox mounts in every root.
const ALWAYS: [&str; 3] = ["/proc", "/dev", "/sys"];

impl Injected {
    /// Makes in `upper` what `tree` lacks for `points` and for what is always mounted.
    ///
    /// The working directory is made, too, and stays, as for BuildKit: a base image may name one that it
    /// does not have, and a command may have removed it.
    pub(crate) fn prepare(
        tree: &Tree,
        upper: &Path,
        workdir: &str,
        points: &[Point],
    ) -> Result<Self> {
        let mut injected = Self {
            root: Root::open(upper)?,
            made: Vec::new(),
        };
        injected.make(tree, workdir.as_bytes(), true)?;
        injected.made.clear();
        for path in ALWAYS {
            injected.make(tree, path.as_bytes(), true)?;
        }
        let covered = |point: &Point| point.mount.destination.as_os_str().as_bytes().to_vec();
        let covered: Vec<Vec<u8>> = ALWAYS
            .iter()
            .map(|path| path.as_bytes().to_vec())
            .chain(points.iter().map(covered))
            .collect();
        for point in points {
            let destination = point.mount.destination.as_os_str().as_bytes();
            // What is mounted into another mount leaves no trace in the image.
            let is_covered = covered.iter().any(|covered| {
                destination
                    .strip_prefix(covered.as_slice())
                    .is_some_and(|rest| rest.starts_with(b"/") && rest != b"/")
            });
            if !is_covered {
                injected.make(tree, destination, point.is_directory)?;
            }
        }
        Ok(injected)
    }

    fn make(&mut self, tree: &Tree, destination: &[u8], is_directory: bool) -> Result<()> {
        // A destination that leads nowhere is for the sandbox to refuse.
        let Some(real) = tree.real_path(destination)? else {
            return Ok(());
        };
        let mut here = Vec::new();
        let mut changed = Vec::new();
        for name in real
            .split(|&byte| byte == b'/')
            .filter(|name| !name.is_empty())
        {
            let parent = here.clone();
            here = path::join(&here, name);
            let is_last = here == real;
            let is_new = if let Some(id) = tree.lookup(&here)? {
                let node = tree.node(id);
                let is_needed = !is_last && tree.lookup(&real)?.is_none();
                if is_needed && matches!(node.kind, Kind::Directory(_)) {
                    self.copy_up(&here, &node.meta)?;
                    changed.push((here.clone(), node.meta.mtime));
                }
                is_needed
            } else {
                let is_directory = is_directory || !is_last;
                let made = Made {
                    path: here.clone(),
                    parent: self.root.directory(&parent)?,
                    is_directory,
                };
                if self.create(&made)? {
                    self.made.push(made);
                }
                true
            };
            if is_new && let Some(id) = tree.lookup(&parent)? {
                changed.push((parent, tree.node(id).meta.mtime));
            }
        }
        changed.reverse();
        changed
            .iter()
            .try_for_each(|(path, mtime)| set_time(&self.root, path, *mtime))
    }

    /// Returns false if it was made for an earlier mount.
    fn create(&self, made: &Made) -> Result<bool> {
        let (parent, name) = (&made.parent, path::split(&made.path).1);
        let mode = Mode::from_raw_mode(if made.is_directory { 0o755 } else { 0o644 });
        let result = if made.is_directory {
            rustix::fs::mkdirat(parent, name, mode)
        } else {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
            rustix::fs::openat(parent, name, flags, mode).map(drop)
        };
        // The caller's umask must not show in an image.
        let result =
            result.and_then(|()| rustix::fs::chmodat(parent, name, mode, AtFlags::empty()));
        match result {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(error) => Err(Error::system("create", self.root.shown(&made.path))(
                error.into(),
            )),
        }
    }

    /// Makes a directory of the image in the upper directory, as overlayfs does before it changes one.
    fn copy_up(&self, path: &[u8], meta: &Meta) -> Result<()> {
        let failed = |error: Errno| Error::system("create", self.root.shown(path))(error.into());
        let (directory, name) = path::split(path);
        let parent = self.root.directory(directory)?;
        match rustix::fs::mkdirat(&parent, name, Mode::RWXU) {
            Err(Errno::EXIST) => return Ok(()),
            result => result.map_err(failed)?,
        }
        // The time is put back later.
        Ok(set_attributes(
            &self.root,
            path,
            meta,
            owners::of_written(),
        )?)
    }

    /// Removes what was made and is still empty; `created` are mount points that the sandbox made
    /// besides. The times of their directories stay what the command left.
    pub(crate) fn withdraw(mut self, created: &[PathBuf]) -> Result<()> {
        for created in created {
            let path = created.as_os_str().as_bytes();
            let path = path.strip_prefix(b"/").unwrap_or(path).to_vec();
            let is_directory = self.root.shown(&path).is_dir();
            // The command may have removed the directory itself.
            if let Ok(parent) = self.root.directory(path::split(&path).0) {
                self.made.push(Made {
                    path,
                    parent,
                    is_directory,
                });
            }
        }
        for made in self.made.iter().rev() {
            self.remove(made)?;
        }
        Ok(())
    }

    fn failed(&self, action: &'static str, path: &[u8], error: Errno) -> Error {
        Error::system(action, self.root.shown(path))(error.into())
    }

    fn remove(&self, made: &Made) -> Result<()> {
        let (directory, name) = path::split(&made.path);
        let parent = &made.parent;
        let before =
            rustix::fs::fstat(parent).map_err(|error| self.failed("examine", directory, error))?;
        let is_filled_file = || {
            rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
                .is_ok_and(|stat| stat.st_size > 0)
        };
        if !made.is_directory && is_filled_file() {
            return Ok(());
        }
        let flags = if made.is_directory {
            AtFlags::REMOVEDIR
        } else {
            AtFlags::empty()
        };
        match rustix::fs::unlinkat(parent, name, flags) {
            Ok(()) => {
                let mtime = Timestamp {
                    seconds: before.st_mtime,
                    nanoseconds: u32::try_from(before.st_mtime_nsec).unwrap_or_default(),
                };
                set_time_of(parent, mtime)
                    .map_err(|error| self.failed("set the time of", directory, error))
            }
            Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR | Errno::ISDIR) => {
                Ok(())
            }
            Err(error) => Err(Error::system("remove", self.root.shown(&made.path))(
                error.into(),
            )),
        }
    }
}
