//! Trees to EROFS indexes, and as root to what the kernel shows of them.

use std::fs::{self, File};
use std::io::{Cursor, Write as _};
use std::os::fd::AsFd as _;
use std::path::Path;

use corten_layer::erofs::{Device, device_table, write_index};
use corten_layer::{Error, Kind, Tree};
use rustix::fs::CWD;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, UnmountFlags, fsconfig_create,
    fsconfig_set_string, fsmount, fsopen, move_mount, unmount,
};

use crate::generator::{Chain, layers as generate};
use crate::snapshot::{assert_same, of_directory, of_tree};

/// Random layers: the index of the tree over their bytes is the same each time, and the kernel shows the
/// tree.
pub(crate) fn erofs(data: &[u8]) {
    let Ok(layers) = generate(data) else {
        return;
    };
    let chain = Chain::new(layers);
    let tree = chain.last();
    let mut devices: Vec<Device> = chain.bytes.0.iter().map(device).collect();
    devices.sort_by(|one, other| one.diff_id.0.as_str().cmp(other.diff_id.0.as_str()));
    for devices in [&devices[..], &[]] {
        let Some(index) = index(&chain, tree, devices) else {
            return;
        };
        assert_eq!(
            index,
            self::index(&chain, tree, devices).expect("as before")
        );
        if rustix::process::geteuid().is_root() {
            // Not in memory: the kernel mounts no index that tmpfs holds.
            let scratch = tempfile::tempdir_in("/var/tmp").expect("there is room");
            put(&scratch.path().join("index"), &index);
            compare(&chain, tree, scratch.path());
        }
    }
}

fn device((diff_id, bytes): (&corten_spec::DiffId, &Vec<u8>)) -> Device {
    Device {
        diff_id: diff_id.clone(),
        size: bytes.len() as u64,
    }
}

/// Returns the index of `tree`; `None` if it has what overlayfs would take for a whiteout.
fn index(chain: &Chain, tree: &Tree, devices: &[Device]) -> Option<Vec<u8>> {
    let mut out = Cursor::new(Vec::new());
    match write_index(tree, devices, &chain.bytes, &mut out) {
        Ok(report) => {
            let index = out.into_inner();
            assert_eq!(report.size, index.len() as u64);
            Some(index)
        }
        Err(Error::Unindexable { .. }) => {
            let is_whiteout = |kind: &Kind| {
                matches!(
                    kind,
                    Kind::Device {
                        block: false,
                        major: 0,
                        minor: 0
                    }
                )
            };
            let refused = tree.walk().any(|(_, id)| is_whiteout(&tree.node(id).kind));
            assert!(refused, "refused without a reason");
            None
        }
        Err(error) => panic!("it cannot be written: {error}"),
    }
}

fn put(path: &Path, bytes: &[u8]) {
    let mut file = File::create_new(path).expect("there is room");
    file.write_all(bytes).expect("there is room");
}

/// Mounts `scratch/index`, and compares what is there with `tree`.
fn compare(chain: &Chain, tree: &Tree, scratch: &Path) {
    let (image, path) = (scratch.join("index"), scratch.join("mounted"));
    fs::create_dir(&path).expect("there is room");
    let context = fsopen("erofs", FsOpenFlags::FSOPEN_CLOEXEC).expect("the kernel has it");
    let context = context.as_fd();
    fsconfig_set_string(context, "source", image.as_path()).expect("it is a file");
    let mut opened = File::open(&image).expect("it is there");
    let table = device_table(&mut opened).expect("it is ours");
    for (number, slot) in table.iter().enumerate() {
        let found = chain
            .bytes
            .0
            .iter()
            .find(|(diff_id, _)| slot.is_of(diff_id));
        let (_, bytes) = found.expect("it is one of the layers");
        let tar = scratch.join(number.to_string());
        put(&tar, bytes);
        fsconfig_set_string(context, "device", tar.as_path()).expect("it is a file");
    }
    fsconfig_create(context).expect("the kernel takes what was written");
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY;
    let mount = fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).expect("it is created");
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    move_mount(mount.as_fd(), "", CWD, &path, flags).expect("the directory is empty");
    drop(mount);
    let shown = of_directory(&path);
    unmount(&path, UnmountFlags::DETACH).expect("nobody uses it");
    assert_same(&of_tree(tree, &chain.contents(tree)), &shown, "mounted");
}
