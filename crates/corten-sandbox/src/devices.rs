//! `/dev`, `/proc` and `/sys` of a sandbox.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, chmodat, makedev, mkdirat, mknodat, openat, symlinkat,
    unlinkat,
};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::channel::Window;
use crate::error::{Doing, Error, Failure};
use crate::idmap::has_one_id;
use crate::mountpoint::InRoot;
use crate::mounts;

/// The nodes every runtime provides (runtime-spec config-linux.md#default-devices).
const NODES: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

/// Links of `/dev`, as `(name, target)`.
const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

const NO_EXECUTION: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID
    .union(MountAttrFlags::MOUNT_ATTR_NODEV)
    .union(MountAttrFlags::MOUNT_ATTR_NOEXEC);

/// A terminal of the sandbox: the parent's side and the process' side.
#[derive(Debug)]
pub(crate) struct Pty {
    pub(crate) master: OwnedFd,
    pub(crate) slave: OwnedFd,
}

/// Mounts a `/proc` that shows this pid namespace only, and returns it.
pub(crate) fn mount_proc(root: &mut InRoot<'_>) -> Result<OwnedFd, Failure> {
    let path = Path::new("/proc");
    let target = root.system_directory("proc")?;
    let proc = mounts::new("proc", &[], NO_EXECUTION).doing("making", path)?;
    mounts::attach(proc.as_fd(), target.as_fd()).doing("mounting", path)?;
    Ok(proc)
}

/// Mounts a read-only `/sys` and returns it.
///
/// A user namespace may only mount one for a network namespace of its own; with the host's network
/// it gets a copy of the host's, which is as read-only.
pub(crate) fn mount_sys(root: &mut InRoot<'_>) -> Result<OwnedFd, Failure> {
    let path = Path::new("/sys");
    let attributes = NO_EXECUTION | MountAttrFlags::MOUNT_ATTR_RDONLY;
    let target = root.system_directory("sys")?;
    let sys = match mounts::new("sysfs", &[], attributes) {
        Err(Errno::PERM) => {
            let copy = mounts::copy(CWD, path).doing("copying", path)?;
            mounts::restrict(copy.as_fd(), attributes).doing("making read-only", path)?;
            copy
        }
        sys => sys.doing("making", path)?,
    };
    mounts::attach(sys.as_fd(), target.as_fd()).doing("mounting", path)?;
    Ok(sys)
}

/// Mounts a small `/dev`, with a terminal if one is asked for.
pub(crate) fn mount_dev(
    root: &mut InRoot<'_>,
    terminal: Option<Window>,
) -> Result<Option<Pty>, Failure> {
    let path = Path::new("/dev");
    let target = root.system_directory("dev")?;
    let options = [("mode", "755"), ("size", "65536k")];
    let dev = mounts::new("tmpfs", &options, MountAttrFlags::MOUNT_ATTR_NOSUID);
    let dev = dev.doing("making", path)?;
    let dev = dev.as_fd();
    mounts::attach(dev, target.as_fd()).doing("mounting", path)?;
    make_nodes(dev)?;
    for (name, link) in LINKS {
        symlinkat(link, dev, name).doing("making", &path.join(name))?;
    }
    let pts = make_pts(dev).doing("mounting", Path::new("/dev/pts"))?;
    let shm = [("mode", "1777"), ("size", "65536k")];
    make_mount(dev, "shm", "tmpfs", &shm).doing("mounting", Path::new("/dev/shm"))?;
    match make_mount(dev, "mqueue", "mqueue", &[]) {
        // This kernel has no message queues, and few programs ask for them.
        Err(Errno::NODEV) => {}
        mqueue => drop(mqueue.doing("mounting", Path::new("/dev/mqueue"))?),
    }
    let pty = terminal
        .map(|window| make_pty(dev, pts.as_fd(), window))
        .transpose();
    pty.doing("making", Path::new("/dev/console"))
}

/// Fills `directory`, which is to be `/dev` of a [`RootKind::Chroot`](crate::RootKind::Chroot), and
/// returns the names of devices that cannot be made and used here.
///
/// In the place of `/dev/null` there is an empty file then, which programs can at least write to.
/// Links such as `/dev/stdout` lead into `/proc`.
pub fn fill_dev(directory: BorrowedFd<'_>) -> Result<Vec<&'static str>, Error> {
    let failed = |path: PathBuf| {
        |source: Errno| Error::SetUp {
            doing: "making".to_owned(),
            path,
            source: source.into(),
        }
    };
    let shown = |name: &str| Path::new("/dev").join(name);
    let mut missing = Vec::new();
    for (name, major, minor) in NODES {
        if make_usable_node(directory, name, makedev(major, minor)).is_err() {
            missing.push(name);
        }
    }
    if missing.contains(&"null") {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o666);
        openat(directory, "null", flags, mode)
            .and_then(|_| chmodat(directory, "null", mode, AtFlags::empty()))
            .map_err(failed(shown("null")))?;
    }
    for (name, link) in LINKS {
        symlinkat(link, directory, name).map_err(failed(shown(name)))?;
    }
    for (name, mode) in [("pts", 0o755), ("shm", 0o1777)] {
        let mode = Mode::from_raw_mode(mode);
        mkdirat(directory, name, mode)
            .and_then(|()| chmodat(directory, name, mode, AtFlags::empty()))
            .map_err(failed(shown(name)))?;
    }
    Ok(missing)
}

/// A node that can be made may be of no use, on a mount without devices. `/dev/tty` cannot be opened by
/// who has no terminal, and is a device all the same.
fn make_usable_node(directory: BorrowedFd<'_>, name: &str, device: u64) -> Result<(), Errno> {
    let mode = Mode::from_raw_mode(0o666);
    mknodat(directory, name, FileType::CharacterDevice, mode, device)?;
    chmodat(directory, name, mode, AtFlags::empty())?;
    let flags = OFlags::RDONLY | OFlags::NOCTTY | OFlags::CLOEXEC;
    match openat(directory, name, flags, Mode::empty()) {
        Err(Errno::NXIO) | Ok(_) => Ok(()),
        Err(errno) => {
            unlinkat(directory, name, AtFlags::empty())?;
            Err(errno)
        }
    }
}

/// Makes the nodes such that they alone can be used: each is a mount of its own, over a `/dev` in which
/// a node that root makes has no effect.
fn make_nodes(dev: BorrowedFd<'_>) -> Result<(), Failure> {
    let shown = |name: &str| Path::new("/dev").join(name);
    let nodes = NODES.map(|(name, major, minor)| {
        let node = make_node(dev, name, makedev(major, minor)).doing("making", &shown(name));
        node.map(|node| (name, node))
    });
    // The copies were made before and keep working.
    mounts::restrict(dev, MountAttrFlags::MOUNT_ATTR_NODEV)
        .doing("keeping devices from being used in", Path::new("/dev"))?;
    for node in nodes {
        let (name, (node, target)) = node?;
        mounts::attach(node.as_fd(), target.as_fd()).doing("mounting", &shown(name))?;
    }
    Ok(())
}

/// Returns a detached mount of the device and the place for it.
///
/// In a user namespace mknod(2) is refused, and a copy of the host's node does. The copy is taken from
/// `/dev` of the host, which no process of a sandbox can reach, and it is checked to be the device it
/// is taken for (CVE-2025-31133). Root makes nodes, for it could change the mode of the host's.
fn make_node(dev: BorrowedFd<'_>, name: &str, device: u64) -> Result<(OwnedFd, OwnedFd), Errno> {
    let mode = Mode::from_raw_mode(0o666);
    let place = |flags: OFlags| openat(dev, name, flags | OFlags::CLOEXEC, mode);
    match mknodat(dev, name, FileType::CharacterDevice, mode, device) {
        Err(Errno::PERM) => {
            let node = mounts::copy(CWD, &Path::new("/dev").join(name))?;
            check_device(node.as_fd(), device)?;
            Ok((node, place(OFlags::CREATE | OFlags::EXCL | OFlags::RDWR)?))
        }
        made => {
            made?;
            chmodat(dev, name, mode, AtFlags::empty())?;
            let node = mounts::copy(dev, Path::new(name))?;
            Ok((node, place(OFlags::PATH | OFlags::NOFOLLOW)?))
        }
    }
}

/// Returns `ENODEV` unless `node` is the character device `device`.
pub(crate) fn check_device(node: BorrowedFd<'_>, device: u64) -> Result<(), Errno> {
    let stat = rustix::fs::fstat(node)?;
    let character = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice;
    if character && stat.st_rdev == device {
        Ok(())
    } else {
        Err(Errno::NODEV)
    }
}

fn make_mount(
    dev: BorrowedFd<'_>,
    name: &str,
    kind: &str,
    options: &[(&str, &str)],
) -> Result<OwnedFd, Errno> {
    mkdirat(dev, name, Mode::from_raw_mode(0o755))?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let target = openat(dev, name, flags, Mode::empty())?;
    let attributes = if kind == "devpts" {
        NO_EXECUTION - MountAttrFlags::MOUNT_ATTR_NODEV
    } else {
        NO_EXECUTION
    };
    let mount = mounts::new(kind, options, attributes)?;
    mounts::attach(mount.as_fd(), target.as_fd())?;
    Ok(mount)
}

/// Group 5 is `tty` in every distribution, and mapped wherever more than one id is.
fn make_pts(dev: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let mut options = vec![("ptmxmode", "0666"), ("mode", "0620")];
    if !has_one_id() {
        options.push(("gid", "5"));
    }
    make_mount(dev, "pts", "devpts", &options)
}

/// The process' side is opened through the parent's side, never by a path a process could have
/// changed (CVE-2025-52565).
fn make_pty(dev: BorrowedFd<'_>, pts: BorrowedFd<'_>, window: Window) -> Result<Pty, Errno> {
    let pty = open_pty(pts, Path::new("ptmx"), window)?;
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
    let console = openat(dev, "console", flags, Mode::from_raw_mode(0o600))?;
    let copy = mounts::copy(pty.slave.as_fd(), Path::new(""))?;
    mounts::attach(copy.as_fd(), console.as_fd())?;
    Ok(pty)
}

/// Opens a terminal of the machine's, where none can be mounted.
pub(crate) fn borrow_pty(window: Window) -> Result<Pty, Errno> {
    open_pty(CWD, Path::new("/dev/ptmx"), window)
}

fn open_pty(at: BorrowedFd<'_>, multiplexer: &Path, window: Window) -> Result<Pty, Errno> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let master = openat(at, multiplexer, flags, Mode::empty())?;
    unlockpt(&master)?;
    let slave = ioctl_tiocgptpeer(
        &master,
        OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC,
    )?;
    let size = Winsize {
        ws_row: window.rows,
        ws_col: window.columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&slave, size)?;
    Ok(Pty { master, slave })
}
