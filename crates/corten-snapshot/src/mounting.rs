//! Mounting an image on a directory, and taking it off again.
//!
//! A mount outlives the process that makes it: its record in `locks/mounts` has gc spare what it
//! needs.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use corten_layer::beneath::Root;
use corten_layer::bytes::{MemoryLayers, TreeContents};
use corten_layer::directory::{Devices, write_tree};
use corten_layer::{Tree, TreeBuilder};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags, UnmountFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount,
    fsopen, mount_change, move_mount, open_tree, unmount,
};

use crate::mount_records::{self, MountRecord};
use crate::mountinfo::{self, MountLine};
use crate::roots::options;
use crate::snapshots::remove;
use crate::{Error, LayerRef, Result, RootFiles, RootKind, Snapshots, erofs, sys};

/// Whether what is mounted can be written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It cannot.
    ReadOnly,
    /// It can; what is written is gone when it is unmounted.
    Write,
}

/// What is to be mounted.
#[derive(Debug, Clone, Copy)]
pub struct MountRequest<'a> {
    /// The layers of the image, base first.
    pub layers: &'a [LayerRef],
    /// The kinds that may be used, the first that can is.
    pub kinds: &'a [RootKind],
    /// Whether it can be written to.
    pub access: Access,
    /// What becomes of device nodes where files are written out.
    pub devices: Devices,
    /// Whether overlay's own attributes are `user.overlay.*`, as they must be in a user namespace.
    pub userxattr: bool,
}

/// What was mounted.
#[derive(Debug)]
pub struct Mounted {
    /// How.
    pub kind: RootKind,
    /// Kinds that would have been better and cannot be used, with the reason.
    pub passed_over: Vec<Error>,
}

/// What programs in an image may do that its users did not ask for: set-id programs and devices have no
/// effect for those who merely look at it.
const HARMLESS: MountAttrFlags =
    MountAttrFlags::MOUNT_ATTR_NOSUID.union(MountAttrFlags::MOUNT_ATTR_NODEV);

impl Snapshots<'_> {
    /// Mounts an image on the directory `at`. It takes root, of the machine or of a user namespace.
    ///
    /// Set-id bits and device nodes have no effect there.
    ///
    /// # Errors
    /// Fails with [`Error::Mounted`] if an image of this store is mounted there already.
    pub fn mount(&self, request: &MountRequest<'_>, at: &Path) -> Result<Mounted> {
        let (target, at) = open_directory(at)?;
        let target = target.as_fd();
        if let Some(line) = mounted_on(target, &at)?
            && mount_records::read(self.store())?
                .0
                .iter()
                .any(|record| record.is_of(&line))
        {
            return Err(Error::Mounted { path: at });
        }
        let mut passed_over = Vec::new();
        let mut kinds = request.kinds;
        loop {
            let prepared = self.prepare(request.layers, kinds, request.devices)?;
            passed_over.extend(prepared.passed_over);
            let kind = prepared.files.kind();
            let position = kinds
                .iter()
                .position(|&other| other == kind)
                .unwrap_or_default();
            kinds = kinds.get(position + 1..).unwrap_or_default();
            let temporary = match &prepared.files {
                RootFiles::Plain { temporary, .. } => temporary.clone(),
                RootFiles::Erofs(_) | RootFiles::Overlay(_) => self.temporary()?,
            };
            match self.detached(&prepared.files, request, &temporary) {
                Ok(mount) => {
                    // Another kind could not be attached either.
                    let attached = self.attach(&prepared.files, &mount, &temporary, target, &at);
                    if attached.is_err() {
                        remove(&temporary)?;
                    }
                    return attached.map(|()| Mounted { kind, passed_over });
                }
                Err(error) => {
                    remove(&temporary)?;
                    let error = Error::KindUnusable {
                        kind,
                        source: Box::new(error),
                    };
                    if kinds.is_empty() {
                        return Err(error);
                    }
                    passed_over.push(error);
                }
            }
        }
    }

    fn attach(
        &self,
        files: &RootFiles,
        mount: &Detached,
        temporary: &Path,
        target: BorrowedFd<'_>,
        at: &Path,
    ) -> Result<()> {
        let record = self.record(files, mount, temporary, at);
        mount_records::remove_replaced(self.store(), &record)?;
        self.store().protect(&mount_records::key_of(&record.name))?;
        record.write(self.store())?;
        let flags =
            MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        move_mount(&mount.handle, "", target, "", flags).map_err(|errno| {
            // The first failure is the one to tell.
            record.remove(self.store()).ok();
            Error::system("mount on", at)(errno.into())
        })
    }

    /// Makes the mount, attached to nothing yet.
    fn detached(
        &self,
        files: &RootFiles,
        request: &MountRequest<'_>,
        temporary: &Path,
    ) -> Result<Detached> {
        let readonly = HARMLESS | MountAttrFlags::MOUNT_ATTR_RDONLY;
        let source = source_of(temporary);
        match (files, request.access) {
            (RootFiles::Erofs(root), Access::ReadOnly) => {
                let (handle, source) = erofs::mount(root, readonly)?;
                Detached::of("erofs", source, handle)
            }
            (RootFiles::Erofs(root), Access::Write) => {
                let upper = self.upper(request, temporary)?;
                in_own_namespace(|| {
                    let (lower, _) = erofs::mount(root, readonly)?;
                    attach_somewhere(lower.as_fd(), &upper.place)?;
                    overlay(source, &[lower], Some(&upper), request.userxattr)
                })
            }
            (RootFiles::Overlay(directories), access) => {
                let upper = self.upper(request, temporary)?;
                let mut lower = directories
                    .iter()
                    .map(|path| open_path(path))
                    .collect::<Result<Vec<_>>>()?;
                if access == Access::Write {
                    if lower.is_empty() {
                        lower.push(open_path(&upper.place)?);
                    }
                    return overlay(source, &lower, Some(&upper), request.userxattr);
                }
                // Without an upper directory the kernel wants two lower ones: one of the root alone,
                // which is all there is of an image without layers, and an empty one.
                if lower.is_empty() {
                    lower.push(open_path(&upper.files)?);
                }
                lower.push(open_path(&upper.place)?);
                overlay(source, &lower, None, request.userxattr)
            }
            (RootFiles::Plain { files, .. }, access) => {
                // A copy of a mount of the host has the host's flags.
                let attributes = match access {
                    Access::ReadOnly => readonly,
                    Access::Write => HARMLESS,
                };
                let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
                let handle = open_tree(CWD, files, flags)
                    .and_then(|copy| sys::add_attributes(copy.as_fd(), attributes).map(|()| copy))
                    .map_err(|errno| Error::system("mount", files)(errno.into()))?;
                let line = line_of(files)?;
                Ok(Detached { handle, line })
            }
        }
    }

    /// Makes the directories that an overlay writes to; the upper one gives the root its attributes.
    fn upper(&self, request: &MountRequest<'_>, temporary: &Path) -> Result<Upper> {
        let upper = Upper {
            files: temporary.join("upper"),
            work: temporary.join("work"),
            place: temporary.join("empty"),
        };
        for path in [&upper.files, &upper.work, &upper.place] {
            fs::create_dir_all(path).map_err(Error::system("create", path))?;
        }
        let tree = self.tree(request.layers)?;
        let root_alone = TreeBuilder::new(tree.node(Tree::ROOT).meta.clone()).finish();
        let contents = TreeContents {
            tree: &root_alone,
            bytes: &MemoryLayers::default(),
        };
        let root = Root::open(&upper.files)?;
        write_tree(&root_alone, &contents, &root, &options(request.devices))?;
        Ok(upper)
    }

    fn record(
        &self,
        files: &RootFiles,
        mount: &Detached,
        temporary: &Path,
        at: &Path,
    ) -> MountRecord {
        let needed: Vec<&Path> = match files {
            RootFiles::Erofs(root) => {
                let devices = root.devices.iter().map(PathBuf::as_path);
                [root.index.as_path()].into_iter().chain(devices).collect()
            }
            // The files are in a directory of each snapshot.
            RootFiles::Overlay(directories) => directories
                .iter()
                .filter_map(|path| path.parent())
                .collect(),
            RootFiles::Plain { .. } => Vec::new(),
        };
        let layers = self.store().layers_dir();
        let key = |path: &Path| {
            let path = path.strip_prefix(&layers).unwrap_or(path);
            format!("layers/{}", path.display())
        };
        let name = name_of(temporary);
        MountRecord {
            boot: mount_records::boot_id(),
            mounts: mount_records::namespace_of("self").unwrap_or_default(),
            line: MountLine {
                at: at.to_owned(),
                ..mount.line.clone()
            },
            kind: files.kind(),
            temporary: Some(name.clone()),
            keys: needed.into_iter().map(key).collect(),
            name,
        }
    }

    /// Unmounts what [`mount`](Self::mount) mounted on `at`, and removes what was written to it. Returns
    /// how it was mounted.
    pub fn unmount(&self, at: &Path) -> Result<RootKind> {
        let (_, at) = open_directory(at)?;
        // From here on its path is not followed again: it may lead elsewhere by then.
        let parent = open_path(at.parent().unwrap_or(&at))?;
        let name = at.file_name().unwrap_or(".".as_ref());
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle = rustix::fs::openat(&parent, name, flags, Mode::empty())
            .map_err(|errno| Error::system("open", &at)(errno.into()))?;
        let line = mounted_on(handle.as_fd(), &at)?
            .ok_or_else(|| Error::NotMounted { path: at.clone() })?;
        let (records, _) = mount_records::read(self.store())?;
        let record = records
            .into_iter()
            .find(|record| record.is_of(&line))
            .ok_or_else(|| Error::NotOurs { path: at.clone() })?;
        // A handle of what is mounted would keep it busy.
        drop(handle);
        // gc must not remove it at the same time.
        let temporary = record.temporary.clone().unwrap_or_default();
        self.store().protect(&format!("layers/tmp/{temporary}"))?;
        let link = format!("/proc/self/fd/{}", parent.as_raw_fd());
        unmount(Path::new(&link).join(name), UnmountFlags::NOFOLLOW).map_err(
            |errno| match errno {
                Errno::BUSY => Error::Busy { path: at.clone() },
                errno => Error::system("unmount", &at)(errno.into()),
            },
        )?;
        if !temporary.is_empty() && !temporary.contains('/') {
            remove(&self.store().layers_dir().join("tmp").join(&temporary))?;
        }
        record.remove(self.store())?;
        Ok(record.kind)
    }
}

/// A mount that is attached to nothing yet.
struct Detached {
    handle: OwnedFd,
    /// What mountinfo will say of it, but for where it is.
    line: MountLine,
}

impl Detached {
    /// Describes a new file system.
    fn of(fs_type: &str, source: PathBuf, handle: OwnedFd) -> Result<Self> {
        let device = rustix::fs::fstat(&handle)
            .map_err(|errno| Error::system("look at", &source)(errno.into()))?
            .st_dev;
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        let line = MountLine {
            device: format!("{major}:{minor}"),
            root: PathBuf::from("/"),
            at: PathBuf::new(),
            fs_type: fs_type.to_owned(),
            source,
        };
        Ok(Self { handle, line })
    }
}

/// Returns what an overlay is said to be mounted from; no other is.
fn source_of(temporary: &Path) -> PathBuf {
    PathBuf::from(format!("corten-{}", name_of(temporary)))
}

fn name_of(temporary: &Path) -> String {
    let name = temporary.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// Where an overlay writes.
struct Upper {
    files: PathBuf,
    work: PathBuf,
    /// An empty directory, to mount something on or to be a layer.
    place: PathBuf,
}

/// Opens a directory, and returns its real path, too.
fn open_directory(path: &Path) -> Result<(OwnedFd, PathBuf)> {
    let handle = open_path(path)?;
    let link = format!("/proc/self/fd/{}", handle.as_raw_fd());
    let real = fs::read_link(&link).map_err(Error::system("find", path))?;
    Ok((handle, real))
}

fn open_path(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
        .map_err(|errno| Error::system("open", path)(errno.into()))
}

/// Returns what is mounted on the real path `at`, which `handle` is of, if anything is.
fn mounted_on(handle: BorrowedFd<'_>, at: &Path) -> Result<Option<MountLine>> {
    Ok(mount_of(handle, at)?.filter(|line| line.at == at))
}

/// Returns the mount that `handle` of `path` is in; `None` if it is in another namespace.
fn mount_of(handle: BorrowedFd<'_>, path: &Path) -> Result<Option<MountLine>> {
    let id = rustix::fs::statx(handle, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)
        .map_err(|errno| Error::system("look at", path)(errno.into()))?
        .stx_mnt_id;
    let path = "/proc/self/mountinfo";
    let text = fs::read(path).map_err(Error::system("read", path))?;
    let mut lines = mountinfo::with_ids(&text).into_iter();
    Ok(lines.find_map(|(found, line)| (found == id).then_some(line)))
}

/// Returns what mountinfo shows of the directory `path` once a copy of it is mounted. Its device is not
/// always that of stat(2): a subvolume of btrfs has another.
fn line_of(path: &Path) -> Result<MountLine> {
    let (handle, real) = open_directory(path)?;
    let mount = mount_of(handle.as_fd(), path)?;
    let mount = mount.ok_or_else(|| Error::NotMounted { path: real.clone() })?;
    let inside = real.strip_prefix(&mount.at).unwrap_or(&real);
    Ok(MountLine {
        root: mount.root.join(inside),
        ..mount
    })
}

/// Does `act` in a thread with a mount namespace of its own, where nobody sees what it mounts.
fn in_own_namespace<T: Send>(act: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let failed = |errno: Errno| Error::system("leave the mounts beneath", "/")(errno.into());
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            sys::own_mounts().map_err(failed)?;
            let flags = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
            mount_change("/", flags).map_err(failed)?;
            act()
        });
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Overlayfs takes only what is attached somewhere as a layer, before Linux 6.15.
fn attach_somewhere(mount: BorrowedFd<'_>, place: &Path) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    move_mount(mount, "", CWD, place, flags)
        .map_err(|errno| Error::system("mount on", place)(errno.into()))
}

/// Makes an overlay, attached to nothing yet; read-only without `upper`.
fn overlay(
    source: PathBuf,
    lower: &[OwnedFd],
    upper: Option<&Upper>,
    userxattr: bool,
) -> Result<Detached> {
    // By descriptor, so that no `:` or `,` of a path needs an escape, and one at a time (Linux 6.7), for
    // all of them need not fit into one value.
    let by_descriptor = |fd: &OwnedFd| format!("/proc/self/fd/{}", fd.as_raw_fd());
    let make = |upper: Option<(OwnedFd, OwnedFd)>| {
        let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        let context = context.as_fd();
        fsconfig_set_string(context, "source", &source)?;
        // What an image brings along of overlay's features is not followed.
        for (key, value) in [
            ("redirect_dir", "nofollow"),
            ("metacopy", "off"),
            ("index", "off"),
            ("xino", "off"),
        ] {
            fsconfig_set_string(context, key, value)?;
        }
        let joined = lower
            .iter()
            .map(by_descriptor)
            .collect::<Vec<_>>()
            .join(":");
        if joined.len() <= 255 {
            fsconfig_set_string(context, "lowerdir", joined)?;
        } else {
            for layer in lower {
                fsconfig_set_string(context, "lowerdir+", by_descriptor(layer))?;
            }
        }
        let mut attributes = HARMLESS;
        if let Some((files, work)) = &upper {
            fsconfig_set_string(context, "upperdir", by_descriptor(files))?;
            fsconfig_set_string(context, "workdir", by_descriptor(work))?;
            fsconfig_set_flag(context, "volatile")?;
        } else {
            fsconfig_set_flag(context, "ro")?;
            attributes |= MountAttrFlags::MOUNT_ATTR_RDONLY;
        }
        if userxattr {
            fsconfig_set_flag(context, "userxattr")?;
        }
        fsconfig_create(context)?;
        fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
    };
    let opened = match upper {
        Some(upper) => Some((open_path(&upper.files)?, open_path(&upper.work)?)),
        None => None,
    };
    let place = upper.map_or(Path::new("overlay"), |upper| upper.files.as_path());
    let handle = make(opened).map_err(|errno: Errno| {
        Error::system("mount an overlay over", place)(io::Error::from(errno))
    })?;
    Detached::of("overlay", source, handle)
}
