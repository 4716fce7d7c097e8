//! The root file system: mounted over the old one, and then made the only one.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, open, unlinkat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, UnmountFlags,
    fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount_change,
    move_mount, unmount,
};
use rustix::process::{chdir, fchdir, pivot_root};

use crate::error::{Doing, Failure};
use crate::mounts;
use crate::spec::{Root, RootKind};
use crate::sys;

/// Overlay's features that would put more into the upper directory than what changed, or make it
/// depend on the directories beneath: a layer must be readable without them. Nor is a redirect
/// followed that an image brings along.
const OVERLAY_OPTIONS: [(&str, &str); 4] = [
    ("redirect_dir", "nofollow"),
    ("metacopy", "off"),
    ("index", "off"),
    ("xino", "off"),
];

/// The longest value fsconfig(2) takes.
const MAX_FSCONFIG_VALUE: usize = 255;

/// Mounts the root over `/` of this mount namespace and returns it. Host paths still resolve, for a
/// lookup starts beneath what is mounted over `/`.
pub(crate) fn mount(root: &Root) -> Result<OwnedFd, Failure> {
    let slash = Path::new("/");
    mount_change(
        slash,
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )
    .doing("making private the mounts beneath", slash)?;
    let mount = make(&root.kind)?;
    cover(mount.as_fd()).doing("mounting the root over", slash)?;
    Ok(mount)
}

/// Makes a detached mount of a file tree.
pub(crate) fn make(kind: &RootKind) -> Result<OwnedFd, Failure> {
    match kind {
        // Where nothing can be mounted, the stage does not come here.
        RootKind::Directory(path)
        | RootKind::Chroot(path)
        | RootKind::Traced {
            directory: path, ..
        } => {
            let copy = mounts::copy(CWD, path).doing("opening the root", path)?;
            mounts::restrict(copy.as_fd(), MountAttrFlags::MOUNT_ATTR_NODEV)
                .doing("keeping devices from being used in", path)?;
            Ok(copy)
        }
        RootKind::Overlay {
            lower,
            upper,
            work,
            userxattr,
        } => overlay(&directories(lower)?, upper, work, *userxattr),
        RootKind::Erofs {
            image,
            devices,
            upper,
            work,
        } => erofs_overlay(image, devices, upper, work),
    }
}

/// Mounts over `/` of this mount namespace, whatever is mounted there already.
pub(crate) fn cover(mount: BorrowedFd<'_>) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    move_mount(mount, "", CWD, "/", flags)
}

/// Undoes [`cover`].
pub(crate) fn uncover(mount: BorrowedFd<'_>) -> Result<(), Errno> {
    fchdir(mount)?;
    unmount(".", UnmountFlags::DETACH)?;
    chdir("/")
}

/// Makes `root` the root of this process and unmounts everything else.
pub(crate) fn enter(root: BorrowedFd<'_>, readonly: bool) -> Result<(), Failure> {
    let slash = Path::new("/");
    if readonly {
        set_readonly(root).doing("making read-only", slash)?;
    }
    fchdir(root).doing("entering", slash)?;
    pivot_root(".", ".").doing("changing the root to", slash)?;
    // The old root is now mounted over the new one, at the working directory.
    unmount(".", UnmountFlags::DETACH).doing("unmounting the old root at", slash)?;
    chdir(slash).doing("entering", slash)
}

/// Only the root itself: what is mounted beneath it has its own say.
fn set_readonly(root: BorrowedFd<'_>) -> Result<(), Errno> {
    let readonly = u64::from(MountAttrFlags::MOUNT_ATTR_RDONLY.bits());
    sys::mount_setattr(root, readonly, sys::Reach::One)
}

fn overlay(
    lower: &[OwnedFd],
    upper: &Path,
    work: &Path,
    userxattr: bool,
) -> Result<OwnedFd, Failure> {
    let (upper_fd, work_fd) = (directory(upper)?, directory(work)?);
    forget_last_use(work_fd.as_fd()).doing("preparing the overlay's directory", work)?;
    // Layers are named by descriptor, so that no `:`, `,` or `\` of a path needs an escape and many
    // fit into one value.
    let descriptors = Path::new("/proc/self/fd");
    chdir(descriptors).doing("entering", descriptors)?;
    stack(lower, &upper_fd, &work_fd, userxattr).doing("mounting an overlay over", upper)
}

fn directory(path: &Path) -> Result<OwnedFd, Failure> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    open(path, flags, Mode::empty()).doing("opening the overlay's directory", path)
}

fn directories(paths: &[PathBuf]) -> Result<Vec<OwnedFd>, Failure> {
    paths.iter().map(|path| directory(path)).collect()
}

/// Before Linux 6.15 overlayfs takes only what is attached somewhere, so the image is for a moment.
fn erofs_overlay(
    image: &Path,
    devices: &[PathBuf],
    upper: &Path,
    work: &Path,
) -> Result<OwnedFd, Failure> {
    let slash = Path::new("/");
    let file = |path: &Path| {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        open(path, flags, Mode::empty()).doing("opening", path)
    };
    let opened = devices
        .iter()
        .map(|path| file(path))
        .collect::<Result<Vec<_>, _>>()?;
    let lower = [erofs(&file(image)?, &opened).doing("mounting", image)?];
    cover(lower[0].as_fd()).doing("mounting the image over", slash)?;
    let mount = overlay(&lower, upper, work, false)?;
    uncover(lower[0].as_fd()).doing("unmounting", image)?;
    Ok(mount)
}

fn erofs(image: &OwnedFd, devices: &[OwnedFd]) -> Result<OwnedFd, Errno> {
    let path = |fd: &OwnedFd| format!("/proc/self/fd/{}", fd.as_raw_fd());
    let context = fsopen("erofs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let context = context.as_fd();
    fsconfig_set_string(context, "source", path(image))?;
    for device in devices {
        fsconfig_set_string(context, "device", path(device))?;
    }
    fsconfig_create(context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NODEV;
    fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// A volatile overlay leaves a marker so that it is not mounted again after a crash. Ours is only
/// scratch space: who calls this has judged its content.
fn forget_last_use(work: BorrowedFd<'_>) -> Result<(), Errno> {
    let marker = [
        ("work/incompat/volatile/dirty", AtFlags::empty()),
        ("work/incompat/volatile", AtFlags::REMOVEDIR),
    ];
    marker
        .iter()
        .try_for_each(|&(path, flags)| match unlinkat(work, path, flags) {
            Err(Errno::NOENT) => Ok(()),
            result => result,
        })
}

/// Makes a detached overlay of directories; the working directory must be `/proc/self/fd`.
pub(crate) fn stack(
    lower: &[OwnedFd],
    upper: &OwnedFd,
    work: &OwnedFd,
    userxattr: bool,
) -> Result<OwnedFd, Errno> {
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let context = context.as_fd();
    for (key, value) in OVERLAY_OPTIONS {
        fsconfig_set_string(context, key, value)?;
    }
    set_lower(context, lower)?;
    fsconfig_set_string(context, "upperdir", upper.as_raw_fd().to_string())?;
    fsconfig_set_string(context, "workdir", work.as_raw_fd().to_string())?;
    fsconfig_set_flag(context, "volatile")?;
    if userxattr {
        fsconfig_set_flag(context, "userxattr")?;
    }
    fsconfig_create(context)?;
    // An image may hold device nodes and root may make more, but there is no cgroup that would keep
    // the process from using them.
    fsmount(
        context,
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::MOUNT_ATTR_NODEV,
    )
}

/// Linux 6.7 takes layers one at a time; before, all must fit into one value.
fn set_lower(context: BorrowedFd<'_>, lower: &[OwnedFd]) -> Result<(), Errno> {
    let names: Vec<String> = lower.iter().map(|fd| fd.as_raw_fd().to_string()).collect();
    let joined = names.join(":");
    if joined.len() <= MAX_FSCONFIG_VALUE {
        return fsconfig_set_string(context, "lowerdir", joined);
    }
    names
        .iter()
        .try_for_each(|name| fsconfig_set_string(context, "lowerdir+", name.as_str()))
}
