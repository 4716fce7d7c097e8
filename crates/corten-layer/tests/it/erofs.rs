//! EROFS indexes, seen through the kernel.

mod refused;

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::PathBuf;

use corten_layer::bytes::MemoryLayers;
use corten_layer::erofs::{Device, IndexReport, device_table, write_index};
use corten_layer::{Resolver, Tree};
use corten_tar::{Entry, EntryKind, Limits, Located, Reader, Segment};
use proptest::prelude::*;
use rustix::fs::CWD;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, UnmountFlags, fsconfig_create,
    fsconfig_set_string, fsmount, fsopen, move_mount, unmount,
};
use tempfile::TempDir;

use crate::host::{is_root, sparse_file};
use crate::random::{Chain, For, diff_id, layers, tar_of};
use crate::roundtrip::config;
use crate::sketch;
use crate::snapshot::{assert_same, of_directory, of_tree};

/// An index with its tars, mounted until it is dropped.
pub(crate) struct Mounted {
    _scratch: TempDir,
    pub(crate) path: PathBuf,
    report: IndexReport,
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Another test that is about to start a program may hold a file of it for a moment.
        unmount(&self.path, UnmountFlags::DETACH).unwrap();
    }
}

pub(crate) fn devices(bytes: &MemoryLayers) -> Vec<Device> {
    let devices = bytes.0.iter().map(|(diff_id, tar)| Device {
        diff_id: diff_id.clone(),
        size: tar.len() as u64,
    });
    devices.collect()
}

pub(crate) fn mount(tree: &Tree, bytes: &MemoryLayers, devices: &[Device]) -> Mounted {
    let scratch = tempfile::tempdir().unwrap();
    let image = scratch.path().join("index");
    let out = File::create_new(&image).unwrap();
    let report = write_index(tree, devices, bytes, out).unwrap();
    assert_eq!(report.size, fs::metadata(&image).unwrap().len());
    let path = scratch.path().join("mounted");
    fs::create_dir(&path).unwrap();
    let context = fsopen("erofs", FsOpenFlags::FSOPEN_CLOEXEC).unwrap();
    let context = context.as_fd();
    fsconfig_set_string(context, "source", image.as_path()).unwrap();
    let table = device_table(&mut File::open(&image).unwrap()).unwrap();
    assert_eq!(table.len(), report.devices.len());
    for (number, (diff_id, slot)) in report.devices.iter().zip(&table).enumerate() {
        assert!(slot.is_of(diff_id));
        let tar = scratch.path().join(number.to_string());
        fs::write(&tar, &bytes.0[diff_id]).unwrap();
        fsconfig_set_string(context, "device", tar.as_path()).unwrap();
    }
    fsconfig_create(context).unwrap();
    let flags = (FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty());
    let mount = fsmount(context, flags.0, flags.1).unwrap();
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    move_mount(mount.as_fd(), "", CWD, &path, flags).unwrap();
    Mounted {
        _scratch: scratch,
        path,
        report,
    }
}

/// Asserts that the kernel shows `tree`, names of hard links counted.
#[track_caller]
fn check(tree: &Tree, bytes: &MemoryLayers, devices: &[Device]) -> IndexReport {
    let mounted = mount(tree, bytes, devices);
    let contents = corten_layer::bytes::TreeContents { tree, bytes };
    let expected = of_tree(tree, &contents);
    assert_same(&expected, &of_directory(&mounted.path), "mounted");
    for (path, id) in tree.walk().chain([(Vec::new(), Tree::ROOT)]) {
        if path.len() > 4000 {
            continue;
        }
        let subdirectories = tree
            .children(id)
            .filter(|(_, child)| matches!(tree.node(*child).kind, corten_layer::Kind::Directory(_)))
            .count();
        let n_links = match tree.node(id).kind {
            corten_layer::Kind::Directory(_) => 2 + subdirectories as u64,
            _ => tree.node(id).n_links.into(),
        };
        let found = mounted.path.join(std::ffi::OsStr::from_bytes(&path));
        assert_eq!(
            fs::symlink_metadata(&found).unwrap().nlink(),
            n_links,
            "{}",
            path.escape_ascii()
        );
    }
    mounted.report.clone()
}

proptest! {
    #![proptest_config(config(60))]

    #[test]
    fn the_kernel_shows_the_tree_of_an_index(layers in layers(For::Disks, 4), kept in any::<u8>()) {
        if !is_root("the_kernel_shows_the_tree_of_an_index") {
            return Ok(());
        }
        let chain = Chain::new(&layers);
        let mut kept_tars = devices(&chain.bytes);
        kept_tars.sort_by(|left, right| left.diff_id.0.as_str().cmp(right.diff_id.0.as_str()));
        let mut number = 0;
        kept_tars.retain(|_| {
            number += 1;
            kept >> number & 1 == 0
        });
        check(chain.last(), &chain.bytes, &kept_tars);
        check(chain.last(), &chain.bytes, &[]);
    }

    #[test]
    fn damaged_layers_never_make_the_writer_panic(
        layers in layers(For::Tars, 2),
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<proptest::sample::Index>(),
    ) {
        let mut bytes = MemoryLayers::default();
        let mut tree = Tree::new();
        for pieces in &layers {
            let mut tar = tar_of(pieces);
            for (place, byte) in &damage {
                let place = place.index(tar.len());
                tar[place] = *byte;
            }
            if cut.index(4) == 0 {
                tar.truncate(cut.index(tar.len()));
            }
            let id = diff_id(&tar);
            let mut resolver = Resolver::new(tree, id.clone());
            for located in entries(&tar) {
                resolver.apply(&located).ok();
            }
            tree = resolver.finish().0;
            bytes.0.insert(id, tar);
        }
        for devices in [devices(&bytes), Vec::new()] {
            let first = write_index(&tree, &devices, &bytes, Nowhere(0)).map_err(|error| error.to_string());
            let second = write_index(&tree, &devices, &bytes, Nowhere(0)).map_err(|error| error.to_string());
            assert_eq!(first, second);
        }
    }
}

/// Returns what a reader finds before it gives up.
fn entries(tar: &[u8]) -> Vec<Located> {
    let mut reader = Reader::new(tar, Limits::default());
    std::iter::from_fn(|| reader.next_entry().ok().flatten()).collect()
}

/// Takes everything, however long, and keeps nothing.
struct Nowhere(u64);

impl Write for Nowhere {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        self.0 += buf.len() as u64;
        Ok(buf.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Seek for Nowhere {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        if let SeekFrom::Start(position) = to {
            self.0 = position;
        }
        Ok(self.0)
    }
}

/// Returns the tree of one layer of `entries`, without content.
fn tree_of(entries: &[Entry]) -> Tree {
    let located: Vec<Located> = entries
        .iter()
        .map(|entry| Located {
            entry: entry.clone(),
            offset: 0,
            stored_size: 0,
        })
        .collect();
    Tree::new().apply(&sketch::diff_id(0), &located).unwrap().0
}

fn symlink(path: &str, target: &[u8]) -> Entry {
    let mut entry = Entry::new(EntryKind::Symlink, path);
    entry.link = target.to_vec();
    entry
}

fn with_xattrs(xattrs: &[(&str, &[u8])]) -> Entry {
    let mut entry = Entry::new(EntryKind::File, "f");
    entry.xattrs = xattrs
        .iter()
        .map(|(name, value)| (name.as_bytes().to_vec(), value.to_vec()))
        .collect();
    entry.xattrs.sort();
    entry
}

#[test]
fn whatever_the_shape() {
    if !is_root("whatever_the_shape") {
        return;
    }
    let file = |path: String| Entry::new(EntryKind::File, path);
    let none = MemoryLayers::default();
    let shown = |entries: &[Entry]| check(&tree_of(entries), &none, &[]);

    assert_eq!(check(&Tree::new(), &none, &[]).n_inodes, 1);
    // A directory of many blocks, with names before, between and after the dots.
    let names = (0..10_000).map(|number| file(format!("d/{number}")));
    let odd = [
        "!", "-", ".a", "..a", "...", "/.\u{1}", ".-", "\u{7f}", "\u{ff}",
    ];
    let mut many: Vec<Entry> = names
        .chain(odd.map(|name| file(format!("d/{name}"))))
        .collect();
    many.push(Entry::new(EntryKind::File, b"d/\xff\xfe".to_vec()));
    shown(&many);
    // Names of which one fills more than half of a block; inline and not.
    for length in [1, 100, 217, 218, 219, 230, 254] {
        let name = |number: u32| {
            [
                b"d/",
                number.to_string().as_bytes(),
                &vec![b'x'; length - 1],
            ]
            .concat()
        };
        let names: Vec<Entry> = (10..50)
            .map(|number| Entry::new(EntryKind::File, name(number)))
            .collect();
        shown(&names[..1]);
        shown(&names);
    }
    let nested: Vec<Entry> = (1..3000)
        .map(|depth| Entry::new(EntryKind::Directory, vec!["d"; depth].join("/")))
        .collect();
    check_deep(&tree_of(&nested), 2999);
    for length in [1, 59, 383, 384, 447, 448, 449, 511, 512, 513, 4095] {
        shown(&[
            file("before".into()),
            symlink("s", &vec![b't'; length]),
            file("z".into()),
        ]);
    }
    for length in [0, 1, 300, 431, 432, 433, 511, 5000, 65_535] {
        let mut entry = with_xattrs(&[("trusted.a", &vec![b'v'; length]), ("user.b", b"w")]);
        let mut link = symlink("s", &[b't'; 40]);
        link.xattrs = vec![(b"trusted.x".to_vec(), vec![b'v'; length.min(5000)])];
        if length > 60_000 {
            entry.xattrs.pop();
        }
        shown(&[entry, link]);
    }
    let mut ids = file("ids".into());
    (ids.uid, ids.gid, ids.mode) = (u32::MAX - 1, 70_000, 0o7777);
    ids.mtime = corten_tar::Timestamp {
        seconds: i64::from(i32::MIN) * 3,
        nanoseconds: 999_999_999,
    };
    let mut device = Entry::new(EntryKind::BlockDevice, "sd");
    device.device = (4095, (1 << 20) - 1);
    shown(&[ids, device, Entry::new(EntryKind::Fifo, "p")]);
}

/// Walks down by handles, for the path is longer than the kernel takes.
fn check_deep(tree: &Tree, depth: usize) {
    let mounted = mount(tree, &MemoryLayers::default(), &[]);
    let root = corten_layer::beneath::Root::open(&mounted.path).unwrap();
    let mut n_found = 0;
    corten_layer::scan::scan(&root, b"", corten_layer::scan::Xattrs::Read, &mut |_, _| {
        n_found += 1;
        Ok(corten_layer::scan::Descend::Into)
    })
    .unwrap();
    assert_eq!(n_found, depth);
}

#[test]
fn seventy_thousand_names_of_one_file() {
    if !is_root("seventy_thousand_names_of_one_file") {
        return;
    }
    let mut entries = vec![Entry::new(EntryKind::File, "f")];
    for number in 0..70_000 {
        let mut link = Entry::new(EntryKind::HardLink, format!("d/{number}"));
        link.link = b"f".to_vec();
        entries.push(link);
    }
    let mounted = mount(&tree_of(&entries), &MemoryLayers::default(), &[]);
    let first = fs::metadata(mounted.path.join("f")).unwrap();
    assert_eq!(first.nlink(), 70_001);
    let last = fs::metadata(mounted.path.join("d/69999")).unwrap();
    assert_eq!(first.ino(), last.ino());
    assert_eq!(
        fs::read_dir(mounted.path.join("d")).unwrap().count(),
        70_000
    );
}

#[test]
fn sparse_files_have_holes() {
    #[track_caller]
    fn check(size: u64, segments: &[Segment], max_copied: u64) {
        let chain = sparse_file(size, segments);
        // The layer as it is, with the data at another place, or not at all.
        for kept in [true, false] {
            let tree = chain.last();
            let all = devices(&chain.bytes);
            let kept_tars = if kept { all.as_slice() } else { &[] };
            let mounted = mount(tree, &chain.bytes, kept_tars);
            if kept {
                assert!(
                    mounted.report.copied_bytes <= max_copied,
                    "{} copied",
                    mounted.report.copied_bytes
                );
            }
            assert!(mounted.report.size <= 1 << 42);
            let file = File::open(mounted.path.join("sparse")).unwrap();
            assert_eq!(file.metadata().unwrap().len(), size);
            let mut stored = 0;
            let mut buf = vec![0; 5000];
            for segment in segments {
                for at in [segment.offset, segment.offset + segment.length - 1] {
                    file.read_exact_at(&mut buf[..1], at).unwrap();
                    let expected = ((stored + at - segment.offset) % 251) as u8 | 1;
                    assert_eq!(buf[0], expected, "at {at}");
                }
                if segment.offset > 0 {
                    file.read_exact_at(&mut buf[..1], segment.offset - 1)
                        .unwrap();
                    assert_eq!(buf[0], 0, "before {}", segment.offset);
                }
                stored += segment.length;
            }
            let n_read = file.read_at(&mut buf, size - 1).unwrap();
            assert_eq!(n_read, 1, "the last byte");
            let data = rustix::fs::seek(&file, rustix::fs::SeekFrom::Data(0));
            match segments.first() {
                Some(segment) => assert!(data.unwrap() <= segment.offset),
                None => assert_eq!(data.unwrap_err(), rustix::io::Errno::NXIO),
            }
            if let Some(first) = segments.first().filter(|first| first.offset > 1 << 30) {
                let hole = rustix::fs::seek(&file, rustix::fs::SeekFrom::Hole(0)).unwrap();
                assert_eq!(hole, 0, "hole before {}", first.offset);
            }
        }
    }
    if !is_root("sparse_files_have_holes") {
        return;
    }
    let segment = |offset, length| Segment { offset, length };
    check(
        64 << 20,
        &[segment(8192, 100), segment((40 << 20) + 5, 5000)],
        5100,
    );
    check(64 << 20, &[segment(8192, 4096), segment(40 << 20, 8192)], 0);
    check(
        256 << 10,
        &[segment(0, 1), segment(64 << 10, 1), segment(200 << 10, 1)],
        3,
    );
    check(1 << 20, &[], 0);
    check(
        (6 << 30) + 7,
        &[segment(5 << 30, 512), segment(6 << 30, 7)],
        519,
    );
    check(1 << 40, &[segment((1 << 40) - 1, 1)], 1);
}

#[test]
fn the_end_of_a_tar_that_is_no_whole_block_is_copied() {
    if !is_root("the_end_of_a_tar_that_is_no_whole_block_is_copied") {
        return;
    }
    let mut tar = tar_of(&[
        crate::random::Piece::of("f first"),
        crate::random::Piece::of("f last"),
    ]);
    // Without padding and end marker: our reader takes none of it, but a tree may be of anything.
    let entries = entries(&tar);
    tar.truncate(3 * 512 + 4);
    let id = diff_id(&tar);
    let (tree, _) = Tree::new().apply(&id, &entries).unwrap();
    let mut bytes = MemoryLayers::default();
    bytes.0.insert(id, tar);
    let report = check(&tree, &bytes, &devices(&bytes));
    assert_eq!(report.copied_bytes, 4);
    assert_eq!(report.devices.len(), 1);
}

#[test]
fn equal_inputs_give_equal_bytes() {
    let (tree, _) =
        sketch::apply(Tree::new(), 0, &["f a/b", "l c -> d", "p e xattr=user.k"]).unwrap();
    let written = || {
        let mut out = std::io::Cursor::new(Vec::new());
        write_index(&tree, &[], &MemoryLayers::default(), &mut out).unwrap();
        out.into_inner()
    };
    assert_eq!(written(), written());
    assert!(device_table(&mut &written()[..]).unwrap().is_empty());
    assert!(device_table(&mut &written()[..1100]).is_err());
    assert!(device_table(&mut &[0; 4096][..]).is_err());
}
