//! Running a process of an image straight from the store.
//!
//! An EROFS index over the layers, or a directory for each, is beneath an overlay; what the process
//! changes goes to a directory of its own. An image that no overlay can show is written to a directory
//! for the run. Either is gone when the process is: Corten keeps no containers, so every run is what
//! other tools call `--rm`.

use std::fs;
use std::path::{Path, PathBuf};

use corten_content::ImageDocuments;
use corten_layer::Tree;
use corten_layer::bytes::TreeContents;
use corten_layer::directory::Devices;
use corten_layer::users::resolve_user;
use corten_sandbox::{
    ExitStatus, Init, Mount, MountKind, Network, RootKind, Sandbox, Signals, Stdio,
    in_user_namespace,
};
use corten_snapshot::snapshots::remove;
use corten_snapshot::{
    Bytes, PreparedRoot, RootFiles, RootKind as SnapshotKind, Snapshots, layers_of,
};

use crate::config::{RootAccess, check_os, check_volume};
use crate::process::{self, Overrides, Terminal};
use crate::upper::make_directory;
use crate::volume::{Access, VolumeMount};
use crate::{Error, Result, host};

/// What is to be run.
#[derive(Debug, Clone)]
pub struct RunRequest<'a> {
    /// The image, whose layers are in the store.
    pub image: &'a ImageDocuments,
    /// What counts instead of the image's own values.
    pub overrides: Overrides,
    /// Whom the process runs as, instead of the image's `User`.
    pub user: Option<String>,
    /// What of the host is mounted.
    pub volumes: Vec<VolumeMount>,
    /// Whether the root can be written to. Where it cannot, the image's volumes are empty file systems
    /// in memory; where it can they are nothing special, since what is written to them is as short-lived
    /// as the rest.
    pub root: RootAccess,
    /// The host name; the host's own by default.
    pub hostname: Option<String>,
    /// Which network the process has.
    pub network: Network,
    /// What runs as process 1.
    pub init: Init,
    /// What signals to the caller do.
    pub signals: Signals,
    /// The image's files, made ready; by default they are made ready here, see [`run_files`].
    pub files: Option<RootFiles>,
}

impl<'a> RunRequest<'a> {
    /// Returns a request to run what `image` says, with the host's network.
    pub fn new(image: &'a ImageDocuments) -> Self {
        Self {
            image,
            overrides: Overrides::default(),
            user: None,
            volumes: Vec::new(),
            root: RootAccess::Write,
            hostname: None,
            network: Network::Host,
            init: Init::Process,
            signals: Signals::Leave,
            files: None,
        }
    }
}

/// Makes the files of `image` ready for [`run`] by the best kind that works here: an EROFS index,
/// directories that overlayfs stacks, or, for an image that neither can show, one plain directory.
pub fn run_files(snapshots: &Snapshots<'_>, image: &ImageDocuments) -> Result<PreparedRoot> {
    if in_user_namespace() {
        return run_directories(snapshots, image);
    }
    check_os(&image.config.value)?;
    Ok(snapshots.prepare(&layers_of(image)?, &SnapshotKind::ALL, devices())?)
}

/// Does what [`run_files`] does, without EROFS.
pub fn run_directories(snapshots: &Snapshots<'_>, image: &ImageDocuments) -> Result<PreparedRoot> {
    check_os(&image.config.value)?;
    let kinds = [SnapshotKind::Overlay, SnapshotKind::Plain];
    Ok(snapshots.prepare(&layers_of(image)?, &kinds, devices())?)
}

/// Tells whether `error`, which [`run`] failed with, is that the EROFS index in `files` could not be
/// mounted: then directories may do, and nothing has been started.
pub fn is_unmountable(error: &Error, files: &RootFiles) -> bool {
    let (RootFiles::Erofs(root), Error::Sandbox { source, .. }) = (files, error) else {
        return false;
    };
    let corten_sandbox::Error::SetUp { path, .. } = source else {
        return false;
    };
    let mut paths = std::iter::once(&root.index).chain(&root.devices);
    paths.any(|of_root| std::path::absolute(of_root).is_ok_and(|of_root| of_root == *path))
}

/// A user namespace may make no device nodes, and has `/dev` from the sandbox anyway.
fn devices() -> Devices {
    if in_user_namespace() {
        Devices::Skip
    } else {
        Devices::Make
    }
}

/// Runs a process of an image, waits for its end and returns how it ended.
///
/// The caller is root, of the machine or of a user namespace it entered, and its `main` begins with
/// [`init_if_child`](corten_sandbox::init_if_child). The process has a terminal if `stdio` is one. A
/// missing working directory is made.
///
/// # Errors
/// Fails if the process did not start; how it ended is the result.
pub fn run(
    snapshots: &Snapshots<'_>,
    request: &RunRequest<'_>,
    stdio: Stdio<'_>,
) -> Result<ExitStatus> {
    let config = &request.image.config.value;
    check_os(config)?;
    let terminal = match stdio {
        Stdio::Terminal => Terminal::Yes,
        Stdio::Inherit | Stdio::Sink { .. } => Terminal::No,
    };
    let args = process::args(&config.config, &request.overrides)?;
    let layers = layers_of(request.image)?;
    let files = match &request.files {
        Some(files) => files.clone(),
        None => run_files(snapshots, request.image)?.files,
    };
    // Written for this run alone, and gone after it.
    let _plain = match &files {
        RootFiles::Plain { temporary, .. } => Some(Scratch(temporary.clone())),
        RootFiles::Erofs(_) | RootFiles::Overlay(_) => None,
    };
    let tree = snapshots.tree(&layers)?;
    let bytes = Bytes::new(snapshots.clone(), &layers);
    let contents = TreeContents {
        tree: &tree,
        bytes: &bytes,
    };
    let user = request.user.as_ref().unwrap_or(&config.config.user);
    let user = resolve_user(&tree, &contents, user)?;

    let scratch = Scratch::make(snapshots, &tree)?;
    let cwd = process::cwd(&config.config, &request.overrides);
    let written = match &files {
        RootFiles::Plain { files, .. } => files.clone(),
        RootFiles::Erofs(_) | RootFiles::Overlay(_) => scratch.upper(),
    };
    make_directory(&tree, &written, cwd.as_bytes())?;
    let hostname = request.hostname.clone().unwrap_or_else(host::name);
    let mut mounts = host::files(&scratch.0, &hostname, request.network)?;
    mounts.extend(volumes(request)?);
    for mount in &mut mounts {
        mount.destination = real_destination(&tree, &mount.destination)?;
    }
    let mut process = corten_sandbox::Process::new(args);
    process.env = process::env(&config.config, &request.overrides, &user, terminal);
    process.cwd = cwd.into();
    process.user = corten_sandbox::User {
        uid: user.uid,
        gid: user.gid,
        additional_gids: user.additional_gids,
    };
    let sandbox = Sandbox {
        root: corten_sandbox::Root {
            kind: scratch.root(files)?,
            readonly: request.root == RootAccess::ReadOnly,
        },
        mounts,
        hostname,
        network: request.network,
        limits: corten_sandbox::Limits::default(),
        init: request.init,
        process,
    };
    let outcome = corten_sandbox::run(&sandbox, stdio, request.signals);
    let outcome = outcome.map_err(|source| Error::Sandbox {
        command: sandbox.process.args.join(" "),
        source,
    })?;
    scratch.remove()?;
    Ok(outcome.status)
}

fn volumes(request: &RunRequest<'_>) -> Result<Vec<Mount>> {
    let mut mounts = Vec::new();
    if request.root == RootAccess::ReadOnly {
        for path in &request.image.config.value.config.volumes.0 {
            check_volume(path)?;
            mounts.push(Mount {
                destination: path.into(),
                kind: MountKind::Tmpfs {
                    size: None,
                    mode: 0o1777,
                },
                readonly: false,
            });
        }
    }
    mounts.extend(request.volumes.iter().map(|volume| Mount {
        destination: (&volume.destination).into(),
        kind: MountKind::Bind {
            source: volume.source.clone(),
        },
        readonly: volume.access == Access::ReadOnly,
    }));
    Ok(mounts)
}

/// Returns where `destination` leads to in the image: a mount point that has to be made cannot be made
/// through a link that dangles, such as an `/etc/resolv.conf` of systemd's.
fn real_destination(tree: &Tree, destination: &Path) -> Result<PathBuf> {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let real = tree.real_path(destination.as_os_str().as_bytes())?;
    Ok(match real {
        Some(path) if !path.is_empty() => Path::new("/").join(OsStr::from_bytes(&path)),
        _ => destination.to_owned(),
    })
}

/// The directory of one run, removed when it is over.
struct Scratch(PathBuf);

impl Scratch {
    fn make(snapshots: &Snapshots<'_>, tree: &Tree) -> Result<Self> {
        let path = snapshots.temporary()?;
        let path = std::path::absolute(&path).map_err(Error::system("find", &path))?;
        let scratch = Self(path);
        for directory in [&scratch.0, &scratch.work(), &scratch.empty()] {
            fs::create_dir(directory).map_err(Error::system("create", directory))?;
        }
        // The overlay's root has the attributes of the upper directory.
        crate::upper::create(&scratch.upper(), &tree.node(Tree::ROOT).meta)?;
        Ok(scratch)
    }

    fn upper(&self) -> PathBuf {
        self.0.join("upper")
    }

    fn work(&self) -> PathBuf {
        self.0.join("work")
    }

    fn empty(&self) -> PathBuf {
        self.0.join("empty")
    }

    fn root(&self, files: RootFiles) -> Result<RootKind> {
        let absolute =
            |path: PathBuf| std::path::absolute(&path).map_err(Error::system("find", &path));
        let all = |paths: Vec<PathBuf>| paths.into_iter().map(absolute).collect::<Result<Vec<_>>>();
        let mut lower = match files {
            RootFiles::Erofs(root) => {
                return Ok(RootKind::Erofs {
                    image: absolute(root.index)?,
                    devices: all(root.devices)?,
                    upper: self.upper(),
                    work: self.work(),
                });
            }
            RootFiles::Overlay(directories) => all(directories)?,
            RootFiles::Plain { files, .. } => return Ok(RootKind::Directory(absolute(files)?)),
        };
        if lower.is_empty() {
            // An image may have no layers; an overlay must have one.
            lower.push(self.empty());
        }
        Ok(RootKind::Overlay {
            lower,
            upper: self.upper(),
            work: self.work(),
            userxattr: in_user_namespace(),
        })
    }

    fn remove(self) -> Result<()> {
        Ok(remove(&self.0)?)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // After a failure; what cannot be removed now is left to `gc`.
        remove(&self.0).ok();
    }
}
