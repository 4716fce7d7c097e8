//! Bundles that are changed on the disk and packed again.

/// Lists the tests of a module, all of which need root.
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        pub(crate) const TESTS: &[corten_testing::harness::Test] = &[$((stringify!($name), || {
            crate::world::require_root()?;
            $name();
            Ok(())
        })),*];
    };
}

pub(crate) mod changes;
pub(crate) mod hostile;
pub(crate) mod masks;
pub(crate) mod owners;
pub(crate) mod random;
pub(crate) mod refreshing;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use corten_bundle::config::ConfigOptions;
use corten_bundle::{RepackOptions, Repacked, UnpackOptions, repack, unpack};
use corten_content::{ImageDocuments, load_image};
use corten_layer::beneath::Root;
use corten_layer::directory::{Devices, Owners};
use corten_layer::scan::{Descend, Xattrs, inspect_root, scan};
use corten_snapshot::Snapshots;
use corten_spec::{Descriptor, Platform};
use corten_tar::EntryKind;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};

use crate::unpacking::chain;
use crate::world::{Item, World, directory, file, symlink, words};

fn options(config: ConfigOptions, owners: Owners) -> UnpackOptions {
    UnpackOptions {
        owners,
        devices: Devices::Make,
        user: None,
        config,
    }
}

fn as_root() -> UnpackOptions {
    options(ConfigOptions::default(), Owners::Set)
}

/// A bundle of an image in a world of its own.
struct Bundle {
    world: World,
    image: ImageDocuments,
    how: UnpackOptions,
}

impl Bundle {
    fn new(layers: &[Vec<Item>]) -> Self {
        Self::with(layers, as_root())
    }

    fn with(layers: &[Vec<Item>], how: UnpackOptions) -> Self {
        let world = World::new();
        let image = world.image(layers, |config| {
            config.config.cmd = Some(words("/x"));
            config.history = vec![corten_spec::History::default(); layers.len()];
        });
        Self::of(world, image, how)
    }

    fn of(world: World, image: ImageDocuments, how: UnpackOptions) -> Self {
        let bundle = Self { world, image, how };
        bundle.unpack(&bundle.image, "bundle").unwrap();
        bundle
    }

    fn unpack(&self, image: &ImageDocuments, name: &str) -> Result<PathBuf, String> {
        let place = self.world.path(name);
        unpack(&Snapshots::new(&self.world.store), image, &place, &self.how)
            .map_err(|error| chain(&error))?;
        Ok(place)
    }

    fn dir(&self) -> PathBuf {
        self.world.path("bundle")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.world.path("bundle/rootfs").join(name)
    }

    fn repack(&self, options: &RepackOptions) -> Result<Repacked, String> {
        repack(
            &Snapshots::new(&self.world.store),
            &self.image,
            &self.dir(),
            options,
        )
        .map_err(|error| chain(&error))
    }

    fn names(&self) -> Vec<String> {
        let names = fs::read_dir(self.dir()).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort_unstable();
        names
    }

    fn load(&self, manifest: &Descriptor) -> ImageDocuments {
        load_image(&self.world.store, manifest, &Platform::host()).unwrap()
    }

    /// Returns what the last layer of `repacked` holds, in order.
    fn entries(&self, repacked: &Repacked) -> Vec<String> {
        let layer = repacked.layer.as_ref().unwrap();
        let entries = Snapshots::new(&self.world.store).entries(layer).unwrap();
        let shown = entries.iter().map(|located| {
            let entry = &located.entry;
            let path = String::from_utf8_lossy(&entry.path);
            match entry.kind {
                EntryKind::HardLink => format!("{path} = {}", String::from_utf8_lossy(&entry.link)),
                EntryKind::Symlink => format!("{path} -> {}", String::from_utf8_lossy(&entry.link)),
                _ => format!("{path} {:o} {}:{}", entry.mode, entry.uid, entry.gid),
            }
        });
        shown.collect()
    }

    #[track_caller]
    fn check(&self, options: &RepackOptions, expected: &[&str]) -> Repacked {
        let repacked = self.repack(options).unwrap();
        assert_eq!(self.entries(&repacked), expected);
        repacked
    }
}

/// Lists everything in a root, with all that an image says about it.
fn listing(root: &Path) -> Vec<String> {
    let root = Root::open(root).unwrap();
    let mut lines = Vec::new();
    let mut inodes = Vec::new();
    let mut add = |path: &[u8], found: &corten_layer::scan::Found| {
        inodes.push(found.inode);
        let first = inodes
            .iter()
            .position(|inode| *inode == found.inode)
            .unwrap();
        let content = match found.kind {
            corten_layer::scan::FoundKind::File => fs::read(root.shown(path)).unwrap(),
            _ => Vec::new(),
        };
        lines.push(format!(
            "{} {:?} {:?} {first} {content:?}",
            String::from_utf8_lossy(path),
            found.kind,
            found.meta
        ));
    };
    add(b"", &inspect_root(&root, Xattrs::Read).unwrap());
    scan(&root, b"", Xattrs::Read, &mut |path, found| {
        add(path, &found);
        Ok(Descend::Into)
    })
    .unwrap();
    lines
}

fn write(path: &Path, content: &[u8]) {
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)
        .unwrap();
    std::io::Write::write_all(&mut file, content).unwrap();
}

fn set_time(path: &Path, seconds: i64, nanoseconds: i64) {
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

fn base() -> Vec<Item> {
    vec![
        directory("etc"),
        file("etc/motd", b"hello").owned(1000, 100, 0o640),
        file("etc/gone", b"1"),
        directory("old"),
        file("old/a", b"1"),
        directory("old/deep"),
        file("old/deep/b", b"1"),
        directory("usr"),
        file("usr/tool", b"tool").owned(0, 0, 0o4755),
        symlink("bin", "usr"),
        symlink("turn", "/etc"),
    ]
}

fn with_volume() -> Bundle {
    let world = World::new();
    let layer = vec![
        directory("dev"),
        file("dev/kept", b"1"),
        directory("data"),
        file("data/kept", b"1"),
        directory("cache"),
        file("cache/kept", b"1"),
    ];
    let image = world.image(&[layer], |config| {
        config.config.cmd = Some(words("/x"));
        config.config.volumes.0 = ["/data".to_owned()].into();
    });
    Bundle::of(world, image, as_root())
}

fn set_mode(path: &Path, mode: u16) {
    if path
        .symlink_metadata()
        .is_ok_and(|found| !found.is_symlink())
    {
        fs::set_permissions(path, fs::Permissions::from_mode(mode.into())).unwrap();
    }
}
