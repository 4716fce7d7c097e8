//! Mounts as descriptors: made detached, then attached to a descriptor, so that no path can be
//! swapped between a check and a use.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, FileType, Gid, Mode, OFlags, Uid, fchmod, fchown, fstat, openat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};

use crate::error::{Doing, Failure};
use crate::mountpoint::{InRoot, Kind};
use crate::spec::{Mount, MountKind};
use crate::{mountpoint, root, sys};

/// Makes a detached mount of a new file system.
pub(crate) fn new(
    kind: &str,
    options: &[(&str, &str)],
    attributes: MountAttrFlags,
) -> Result<OwnedFd, Errno> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for &(key, value) in options {
        fsconfig_set_string(context.as_fd(), key, value)?;
    }
    fsconfig_create(context.as_fd())?;
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// Makes a detached copy of what is mounted at `path`, relative to `at`, with all beneath it.
pub(crate) fn copy(at: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE;
    let empty = if path.as_os_str().is_empty() {
        OpenTreeFlags::AT_EMPTY_PATH
    } else {
        OpenTreeFlags::empty()
    };
    open_tree(at, path, flags | empty)
}

/// Attaches a detached mount over what `target` is open on.
pub(crate) fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, "", target, "", flags)
}

/// Sets attributes on a mount and all beneath it.
pub(crate) fn restrict(mount: BorrowedFd<'_>, attributes: MountAttrFlags) -> Result<(), Errno> {
    sys::mount_setattr(mount, u64::from(attributes.bits()), sys::Reach::Tree)
}

/// Makes and attaches the mounts a caller asked for.
pub(crate) fn attach_all(root: &mut InRoot<'_>, mounts: &[Mount]) -> Result<(), Failure> {
    for mount in mounts {
        let destination = &mount.destination;
        let (detached, kind) = make(mount)?;
        if mount.readonly {
            restrict(detached.as_fd(), MountAttrFlags::MOUNT_ATTR_RDONLY)
                .doing("making read-only", destination)?;
        }
        let target = root.open(destination, kind)?;
        attach(detached.as_fd(), target.as_fd()).doing("mounting", destination)?;
    }
    Ok(())
}

fn make(mount: &Mount) -> Result<(OwnedFd, Kind), Failure> {
    match &mount.kind {
        MountKind::Bind { source } => {
            let tree = copy(CWD, source).doing("opening the mount's source", source)?;
            let kind = kind_of(tree.as_fd()).doing("opening the mount's source", source)?;
            // A device that is mounted by itself was asked for; in a directory root could make more.
            if kind == Kind::Directory {
                restrict(tree.as_fd(), MountAttrFlags::MOUNT_ATTR_NODEV)
                    .doing("keeping devices from being used in", source)?;
            }
            Ok((tree, kind))
        }
        MountKind::Part { of, path } => {
            let part = part(root::make(of)?, path).doing("opening the mount's source", path)?;
            let kind = kind_of(part.as_fd()).doing("opening the mount's source", path)?;
            Ok((part, kind))
        }
        MountKind::File {
            content,
            mode,
            uid,
            gid,
        } => {
            let file = file(&content.0, *mode, (*uid, *gid));
            Ok((
                file.doing("making a file for", &mount.destination)?,
                Kind::File,
            ))
        }
        MountKind::Tmpfs { size, mode } => {
            let mode = format!("{:o}", mode & 0o7777);
            let size = size.map(|bytes| bytes.to_string());
            let mut options = vec![("mode", mode.as_str())];
            options.extend(size.as_deref().map(|size| ("size", size)));
            let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
            let tmpfs = new("tmpfs", &options, attributes);
            Ok((
                tmpfs.doing("making a tmpfs for", &mount.destination)?,
                Kind::Directory,
            ))
        }
    }
}

fn kind_of(mount: BorrowedFd<'_>) -> Result<Kind, Errno> {
    Ok(match FileType::from_raw_mode(fstat(mount)?.st_mode) {
        FileType::Directory => Kind::Directory,
        _ => Kind::File,
    })
}

/// Makes a detached mount of what is at `path` in `whole`.
///
/// Before Linux 6.15 only part of what is attached somewhere can be mounted, so the whole is for a
/// moment.
fn part(whole: OwnedFd, path: &Path) -> Result<OwnedFd, Errno> {
    let path = path.strip_prefix("/").unwrap_or(path);
    if path.as_os_str().is_empty() {
        return Ok(whole);
    }
    root::cover(whole.as_fd())?;
    let part =
        mountpoint::find(whole.as_fd(), path).and_then(|found| copy(found.as_fd(), Path::new("")));
    root::uncover(whole.as_fd())?;
    part
}

/// Makes a detached mount of a file, the only one of a file system in memory.
fn file(content: &[u8], mode: u32, (uid, gid): (u32, u32)) -> Result<OwnedFd, Errno> {
    const NAME: &str = "file";
    let is_program = mode & 0o111 != 0;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let noexec = if is_program {
        MountAttrFlags::empty()
    } else {
        MountAttrFlags::MOUNT_ATTR_NOEXEC
    };
    let tmpfs = new("tmpfs", &[("mode", "700")], attributes | noexec)?;
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = openat(&tmpfs, NAME, flags, Mode::RUSR | Mode::WUSR)?;
    let mut left = content;
    while !left.is_empty() {
        let written = rustix::io::retry_on_intr(|| rustix::io::write(&file, left))?;
        left = left.get(written..).unwrap_or_default();
    }
    fchown(&file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
    fchmod(&file, Mode::from_raw_mode(mode & 0o777))?;
    drop(file);
    part(tmpfs, Path::new(NAME))
}
