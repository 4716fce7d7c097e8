//! EROFS indexes over the tars of an image, and mounting them.

use std::fs::{self, File};
use std::io::{self, Seek as _};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use corten_layer::bytes::MemoryLayers;
use corten_layer::erofs::{Device, DeviceSlot, VERSION, device_table, write_index};
use corten_layer::{RULES, Tree};
use corten_spec::{DiffId, Digest};
use corten_tar::{Entry, EntryKind, Located};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount,
    fsopen,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::bytes::Bytes;
use crate::snapshots::{Shelf, boot, remove};
use crate::{Error, LayerRef, Result, Snapshots};

/// An index, and the tars that the kernel is given with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErofsRoot {
    /// The EROFS image.
    pub index: PathBuf,
    /// Its extra devices, in order.
    pub devices: Vec<PathBuf>,
}

/// The longest value fsconfig(2) takes.
const MAX_FSCONFIG_VALUE: usize = 255;

impl Snapshots<'_> {
    /// Returns the index of `layers` with their tars; what is missing is made.
    ///
    /// The kernel looks neither at names nor at lengths of the tars, so that is done here.
    pub fn erofs(&self, layers: &[LayerRef]) -> Result<ErofsRoot> {
        let stack: Vec<DiffId> = layers.iter().map(|layer| layer.diff_id.clone()).collect();
        let index = self.place(Shelf::Erofs, &name_of(&stack))?;
        if let Some(table) = stored_table(&index)?
            && let Some(devices) = self.devices(&table, layers)?
        {
            return Ok(ErofsRoot { index, devices });
        }
        let table = self.write_erofs(&index, layers)?;
        match self.devices(&table, layers)? {
            Some(devices) => Ok(ErofsRoot { index, devices }),
            None => Err(corten_layer::Error::DamagedIndex.into()),
        }
    }

    fn write_erofs(&self, index: &Path, layers: &[LayerRef]) -> Result<Vec<DeviceSlot>> {
        let mut devices: Vec<Device> = Vec::new();
        for (layer_idx, layer) in layers.iter().enumerate() {
            if devices.iter().all(|device| device.diff_id != layer.diff_id) {
                // With the tar comes the header index that the tree is made from.
                let tar = self
                    .tar(layer)
                    .map_err(|source| crate::snapshots::of_image(layers, layer_idx, source))?;
                devices.push(Device {
                    diff_id: layer.diff_id.clone(),
                    size: len(&tar)?,
                });
            }
        }
        let tree = self.tree(layers)?;
        let bytes = Bytes::new(self.clone(), layers);
        let temporary = self.unfinished()?;
        let mut file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&*temporary)
            .map_err(Error::system("create", &*temporary))?;
        write_index(&tree, &devices, &bytes, &file)?;
        // An index whose table cannot be read would be mounted without tars, and every file fail.
        file.rewind().map_err(Error::system("read", &*temporary))?;
        let table = device_table(&mut file)?;
        fs::set_permissions(&*temporary, fs::Permissions::from_mode(0o444))
            .map_err(Error::system("set the mode of", &*temporary))?;
        temporary.rename(index)?;
        self.mark(index)?;
        Ok(table)
    }

    /// Returns the tars that a device table means; `None` if one is not of these layers or too short.
    fn devices(&self, table: &[DeviceSlot], layers: &[LayerRef]) -> Result<Option<Vec<PathBuf>>> {
        let mut devices = Vec::new();
        for slot in table {
            let Some(layer) = layers.iter().find(|layer| slot.is_of(&layer.diff_id)) else {
                return Ok(None);
            };
            let tar = self.tar(layer)?;
            if len(&tar)? / 512 != u64::from(slot.blocks) {
                return Ok(None);
            }
            devices.push(tar);
        }
        Ok(Some(devices))
    }
}

/// Returns what the index of a stack of layers is called: all DiffIDs count, and by which
/// rules it is made and written.
pub(crate) fn name_of(stack: &[DiffId]) -> Digest {
    let mut text = format!("erofs {RULES} {VERSION}\n");
    for diff_id in stack {
        text += diff_id.0.as_str();
        text += "\n";
    }
    Digest::sha256(text.as_bytes())
}

/// Returns the device table of a stored index; `None` if it is to be made again. Unlike a tar it is not
/// worth checking after a restart of the machine.
fn stored_table(index: &Path) -> Result<Option<Vec<DeviceSlot>>> {
    if !fs::read(index.with_extension("boot")).is_ok_and(|made| made == boot()) {
        return Ok(None);
    }
    match File::open(index) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::system("open", index)(error)),
        Ok(mut file) => Ok(device_table(&mut file).ok()),
    }
}

fn len(path: &Path) -> Result<u64> {
    let metadata = fs::metadata(path).map_err(Error::system("read", path))?;
    Ok(metadata.len())
}

/// Mounts an index, attached to nothing yet. Returns what mountinfo says that it was mounted from, too.
pub(crate) fn mount(root: &ErofsRoot, attributes: MountAttrFlags) -> Result<(OwnedFd, PathBuf)> {
    // By descriptor, for a path may be longer than the kernel takes; the index by its path where that
    // fits, since people see it.
    let opened = |path: &PathBuf| open_one_more(path).map_err(Error::system("open", path));
    let devices = root
        .devices
        .iter()
        .map(opened)
        .collect::<Result<Vec<_>>>()?;
    let index = opened(&root.index)?;
    let by_descriptor = |file: &File| PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    let source = if root.index.as_os_str().len() <= MAX_FSCONFIG_VALUE {
        root.index.clone()
    } else {
        by_descriptor(&index)
    };
    let mount = || {
        let context = fsopen("erofs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        let context = context.as_fd();
        fsconfig_set_string(context, "source", &source)?;
        for device in &devices {
            fsconfig_set_string(context, "device", by_descriptor(device))?;
        }
        fsconfig_create(context)?;
        fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
    };
    match mount() {
        Ok(mount) => Ok((mount, source)),
        Err(errno) => Err(Error::system("mount", &root.index)(errno.into())),
    }
}

/// Opens a file. An image may have more layers than a process may have open files, unless it asks for
/// more; it is not asked for before it is needed, since programs that are started inherit it.
fn open_one_more(path: &Path) -> io::Result<File> {
    match File::open(path) {
        Err(error) if error.raw_os_error() == Some(Errno::MFILE.raw_os_error()) => {
            let limits = getrlimit(Resource::Nofile);
            let raised = Rlimit {
                current: limits.maximum,
                ..limits
            };
            setrlimit(Resource::Nofile, raised)?;
            File::open(path)
        }
        result => result,
    }
}

/// Tries whether this process may mount an EROFS index over another file, and whether the kernel can:
/// Linux 6.12 or newer, and root of the machine. `scratch` is not there; it is made and removed.
pub fn try_erofs(scratch: &Path) -> Result<()> {
    fs::create_dir(scratch).map_err(Error::system("create", scratch))?;
    let result = mount_and_read(scratch);
    remove(scratch)?;
    result
}

/// Mounts an index of one file over a tar in `scratch`, and reads the file.
fn mount_and_read(scratch: &Path) -> Result<()> {
    const CONTENT: &[u8] = b"corten";
    let (index, tar) = (scratch.join("index"), scratch.join("tar"));
    let mut padded = CONTENT.to_vec();
    padded.resize(512, 0);
    let diff_id = DiffId(Digest::sha256(&padded));
    let mut entry = Entry::new(EntryKind::File, "file");
    entry.size = CONTENT.len() as u64;
    let located = Located {
        entry,
        offset: 0,
        stored_size: CONTENT.len() as u64,
    };
    let (tree, _) = Tree::new().apply(&diff_id, &[located])?;
    #[expect(
        clippy::disallowed_methods,
        reason = "nobody but this function knows the file"
    )]
    fs::write(&tar, &padded).map_err(Error::system("write", &tar))?;
    let device = Device { diff_id, size: 512 };
    let file = File::create_new(&index).map_err(Error::system("create", &index))?;
    write_index(&tree, &[device], &MemoryLayers::default(), file)?;
    let root = ErofsRoot {
        index: index.clone(),
        devices: vec![tar],
    };
    let (mounted, _) = mount(&root, MountAttrFlags::MOUNT_ATTR_RDONLY)?;
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC;
    let read = rustix::fs::openat(&mounted, "file", flags, rustix::fs::Mode::empty())
        .map_err(io::Error::from)
        .and_then(|file| io::read_to_string(File::from(file)));
    match read.map_err(Error::system("read from", &index))? {
        content if content.as_bytes() == CONTENT => Ok(()),
        _ => Err(Error::system("read from", &index)(
            io::ErrorKind::InvalidData.into(),
        )),
    }
}
