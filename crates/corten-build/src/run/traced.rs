//! A RUN where nothing is allowed at all: in a directory of all files, each of them this user's, under a
//! supervisor that tells the command of their owners.

use std::collections::HashMap;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use corten_dockerfile::{RunMountKind, RunStep};
use corten_layer::beneath::Root;
use corten_layer::bytes::TreeContents;
use corten_layer::scan::{Found, FoundKind};
use corten_layer::tree::Kind;
use corten_layer::upper::{Upper, read_touched};
use corten_layer::users::resolve_builder;
use corten_layer::{Meta, Tree, path};
use corten_sandbox::{FileId, FileRecord, FileRecords, MountKind, RootKind, Sandbox};
use corten_spec::Digest;
use rustix::fs::{AtFlags, FileType};

use crate::build::Builder;
use crate::commit::Made;
use crate::error::StepResult;
use crate::run::cover::Covers;
use crate::run::injected::Injected;
use crate::run::mounts::{Point, Prepared};
use crate::run::owners;
use crate::run::places::Taken;
use crate::run::tree::WorkTree;
use crate::run::walk::Walk;
use crate::run::{Running, sandbox, sockets, times};
use crate::stage::Stage;
use crate::{Error, Result};

/// In the directory of a run, what the command is told of files.
const RECORDS: &str = "records";

impl Builder<'_> {
    /// Runs the command in a tree, which the next step gets unless this one fails.
    pub(crate) fn run_traced(
        &self,
        stage: &mut Stage,
        running: &Running<'_>,
        taken: &[Option<Taken<'_>>],
        key: &Digest,
    ) -> StepResult<Made> {
        let mut work = self.work_tree(stage)?;
        let upper = self.changed_under_supervision(stage, running, taken, &work)?;
        let files = work.files();
        sockets::remove(&files, &upper.sockets)?;
        if let Some(clamp) = self.clamp {
            times::clamp(&files, &upper.changes, clamp)?;
        }
        let keys = std::slice::from_ref(key);
        let made = self.commit(stage, keys, upper.changes, &upper.files)?;
        let mut layers = stage.diff_ids();
        let added = made.outcome.layer.as_ref();
        layers.extend(added.map(|layer| layer.diff_id.clone()));
        work.holds(layers)?;
        self.trees.put(work);
        Ok(made)
    }

    fn changed_under_supervision(
        &self,
        stage: &mut Stage,
        running: &Running<'_>,
        taken: &[Option<Taken<'_>>],
        work: &WorkTree,
    ) -> StepResult<Upper> {
        let tree = stage.tree(&self.snapshots)?;
        let files = work.files();
        let root = Root::open(&files)?;
        let walk = Walk::of(&root)?;
        let prepared = self.prepare_mounts(running, taken)?;
        let injected = Injected::prepare(&tree, &files, &running.run.workdir, &prepared.points)?;
        let attic = work.attic()?;
        self.warn_of_disk(running);
        let mut covers = Covers::new(&root, &attic);
        let covered = covers.prepare(&tree, &prepared.points);
        let mut records = records_of(&tree, &walk);
        let owned = owners_of(running.run, &prepared.points);
        record_points(&tree, &root, &owned, &mut records);
        let settled = walk.settle(work.place());
        let ran = covered
            .and(settled)
            .and_then(|()| self.execute_traced(stage, running, &prepared, work, &records));
        let withdrawn = covers.withdraw();
        // Others may use its caches now.
        drop(prepared);
        let records = ran?;
        withdrawn?;
        injected.withdraw(&[])?;
        let mut touched = walk.touched(&root)?;
        for (_, found) in &mut touched.found {
            restore(found, records.get(found.inode));
        }
        let bytes = stage.bytes(&self.snapshots);
        let contents = TreeContents {
            tree: &tree,
            bytes: &bytes,
        };
        let upper = read_touched(&tree, &contents, root, touched)?;
        self.warn_of(&upper);
        Ok(upper)
    }

    /// Runs the command, and returns what files are said to be afterwards.
    fn execute_traced(
        &self,
        stage: &mut Stage,
        running: &Running<'_>,
        prepared: &Prepared,
        work: &WorkTree,
        records: &FileRecords,
    ) -> Result<FileRecords> {
        let user = self.with_contents(stage, |tree, contents| {
            resolve_builder(tree, contents, &running.run.user)
        })?;
        let workspace = running.work.directory("traced")?;
        let place = workspace.join(RECORDS);
        write(&place, &records.encode())?;
        let root = RootKind::Traced {
            directory: work.files(),
            workspace,
        };
        let sandbox = Sandbox {
            mounts: Vec::new(),
            ..sandbox(
                running.run,
                &user,
                root,
                self.network(running.run),
                prepared,
            )
        };
        self.run_to_its_end(&sandbox, running)?;
        let bytes = fs::read(&place).map_err(Error::system("read", &place))?;
        FileRecords::decode(&bytes).ok_or_else(|| {
            let damaged = std::io::Error::from(std::io::ErrorKind::InvalidData);
            Error::system("read", &place)(damaged)
        })
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a file in a private directory, read by nobody before it is whole"
)]
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).map_err(Error::system("write", path))
}

/// Returns the mode of what the tree says has another one, where it has a mode on the disk.
fn on_disk(kind: &Kind, mode: u32) -> Option<u32> {
    let kind = match kind {
        Kind::Directory(_) => FileType::Directory,
        Kind::File(_) => FileType::RegularFile,
        Kind::Fifo => FileType::Fifo,
        Kind::Symlink(_) | Kind::Device { .. } => return None,
    };
    owners::on_disk(kind, mode)
}

/// Returns what the tree says of files, by where they are now.
fn records_of(tree: &Tree, walk: &Walk) -> FileRecords {
    let mut records = FileRecords::default();
    let inodes: HashMap<&[u8], FileId> = walk.inodes().collect();
    let nodes = std::iter::once((Vec::new(), Tree::ROOT)).chain(tree.walk());
    for (path, id) in nodes {
        let node = tree.node(id);
        let Some(&inode) = inodes.get(path.as_slice()) else {
            continue;
        };
        let mode = on_disk(&node.kind, node.meta.mode);
        if let Some(record) = record(&node.meta, mode) {
            records.insert(inode, record);
        }
    }
    records
}

fn record(meta: &Meta, disk: Option<u32>) -> Option<FileRecord> {
    let is_of_users = |name: &[u8]| name.starts_with(b"user.");
    let xattrs = meta.xattrs().iter();
    let xattrs: Vec<_> = xattrs
        .filter(|(name, _)| !is_of_users(name))
        .cloned()
        .collect();
    let is_plain = (meta.uid, meta.gid) == (0, 0)
        && disk.is_none_or(|disk| disk == meta.mode)
        && xattrs.is_empty();
    (!is_plain).then_some(FileRecord {
        uid: meta.uid,
        gid: meta.gid,
        mode: meta.mode,
        xattrs,
        ..FileRecord::default()
    })
}

/// Returns where something with an owner of its own is put in place, and what is said of it.
fn owners_of<'a>(run: &'a RunStep, points: &'a [Point]) -> Vec<(&'a Path, FileRecord)> {
    let record = |uid, gid, mode| FileRecord {
        uid,
        gid,
        mode,
        ..FileRecord::default()
    };
    let of_point = |point: &'a Point| {
        let destination = point.mount.destination.as_path();
        if let MountKind::File { mode, uid, gid, .. } = point.mount.kind {
            return Some((destination, record(uid, gid, mode)));
        }
        let mut mounts = run.mounts.iter();
        let mount = mounts.find(|mount| Path::new(&mount.target) == destination)?;
        match &mount.kind {
            // Who is said to own what is in it is forgotten, but not who was to own it.
            RunMountKind::Cache {
                owner: Some(owner), ..
            } => Some((destination, record(owner.uid, owner.gid, owner.mode))),
            _ => None,
        }
    };
    points.iter().filter_map(of_point).collect()
}

/// Says of what was put in place what was asked for.
fn record_points(
    tree: &Tree,
    root: &Root,
    owned: &[(&Path, FileRecord)],
    records: &mut FileRecords,
) {
    for (destination, record) in owned {
        let destination = destination.as_os_str().as_bytes();
        let real = tree.real_path(destination).ok().flatten();
        let real = real.unwrap_or_else(|| destination.to_vec());
        let (directory, name) = path::split(&real);
        // What is not there was not asked for: another mount is over it.
        let found = root
            .directory(directory)
            .ok()
            .and_then(|parent| rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW).ok());
        if let Some(stat) = found {
            records.insert((stat.st_dev, stat.st_ino), record.clone());
        }
    }
}

/// Makes what was found what it is said to be.
fn restore(found: &mut Found, record: Option<&FileRecord>) {
    let meta = &found.meta;
    let mut xattrs: Vec<_> = meta.xattrs().to_vec();
    xattrs.retain(|(name, _)| name.starts_with(b"user."));
    let records = meta.records().to_vec();
    let (mut mode, mut uid, mut gid) = (meta.mode, 0, 0);
    if let Some(record) = record.cloned() {
        // It may have been written to after it got what a write takes.
        let record = record.settled(found.size, (meta.mtime.seconds, meta.mtime.nanoseconds));
        (mode, uid, gid) = (record.mode, record.uid, record.gid);
        xattrs.extend(record.xattrs);
        xattrs.sort_unstable();
        if let (Some(device), FoundKind::File) = (record.device, &found.kind) {
            found.kind = FoundKind::Device {
                block: device.block,
                major: device.major,
                minor: device.minor,
            };
        }
    }
    if matches!(found.kind, FoundKind::Symlink(_)) {
        mode = meta.mode;
    }
    found.meta = Meta::new(mode, uid, gid, meta.mtime).with_extended(xattrs, records);
    found.unreadable_xattrs.clear();
}
