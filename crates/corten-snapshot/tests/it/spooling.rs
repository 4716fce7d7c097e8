//! Packing by another thread: the same layer, and nobody waits for it.

use std::io::Write as _;
use std::sync::Arc;

use corten_content::Store;
use corten_snapshot::{Room, Snapshots, spooled};
use corten_tar::Compression;
use proptest::prelude::*;

use crate::receiving::{SmallDisk, noise};
use crate::{Place, options, tar};

/// The tar is whole before anything of it is packed, whatever there is room for.
fn check(content: &str, room: usize, compression: Compression) {
    let place = Place::new();
    let tar = tar(&[("a", content), ("b", "b")]);
    let expected = {
        let options = options(compression);
        let mut packer = corten_snapshot::Packer::new(&place.store, &options).unwrap();
        packer.write_all(&tar).unwrap();
        packer.finish().unwrap()
    };

    let place = Place::new();
    let snapshots = Snapshots::new(&place.store);
    let room = Arc::new(Room::new(room, 0));
    let (mut spool, pack) = spooled(&snapshots, &options(compression), &room).unwrap();
    spool.write_all(&tar).unwrap();
    let diff_id = spool.finish().unwrap();
    assert_eq!(diff_id, expected.diff_id);
    assert!(place.store.blobs().unwrap_or_default().is_empty());
    let layer = pack.pack(&place.store, &|| false).unwrap();
    assert_eq!(layer, Some(expected));
    assert_eq!(place.derived("tmp"), [""; 0].map(std::path::PathBuf::from));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn layers_are_those_of_a_packer(
        length in 0_usize..3_000_000,
        room in prop_oneof![Just(0), 0_usize..4_000_000],
        compression in prop_oneof![
            Just(Compression::None),
            Just(Compression::Gzip),
            Just(Compression::Zstd)
        ],
    ) {
        let letters = (0..length).map(|number| ["a", "b", "c", "d", "e"][number * number % 5]);
        check(&letters.collect::<String>(), room, compression);
    }
}

#[test]
fn what_is_not_finished_leaves_nothing() {
    let place = Place::new();
    let snapshots = Snapshots::new(&place.store);
    let room = Arc::new(Room::new(0, 0));
    let start = || spooled(&snapshots, &options(Compression::Gzip), &room).unwrap();
    let content = "x".repeat(1 << 20);

    let (mut spool, pack) = start();
    spool.write_all(&tar(&[("a", &content)])).unwrap();
    drop(spool);
    assert_eq!(pack.pack(&place.store, &|| false).unwrap(), None);

    let (mut spool, pack) = start();
    spool.write_all(&tar(&[("a", &content)])).unwrap();
    spool.finish().unwrap();
    assert_eq!(pack.pack(&place.store, &|| true).unwrap(), None);

    assert!(place.store.blobs().unwrap_or_default().is_empty());
    for directory in ["ingest", "layers/tmp"] {
        let left = std::fs::read_dir(place.root.path().join(directory)).unwrap();
        assert_eq!(left.count(), 0, "{directory}");
    }
}

/// What waits must not take the space that the blob needs.
#[test]
fn a_layer_is_packed_on_a_disk_too_small_for_its_tar() {
    let disk = SmallDisk::new(c"size=3500k");
    let store = Store::open(disk.0.path()).unwrap();
    let snapshots = Snapshots::new(&store);
    let room = Arc::new(Room::new(0, 256 << 20));
    let tar = tar(&[("noise", &noise().repeat(2))]);
    let (mut spool, pack) = spooled(&snapshots, &options(Compression::Gzip), &room).unwrap();
    let free = || rustix::fs::statvfs(disk.0.path()).unwrap().f_bfree;
    let free_before = free();
    let (start, rest) = tar.split_at(300 << 10);
    spool.write_all(start).unwrap();
    assert_eq!(free(), free_before);
    let layer = std::thread::scope(|scope| {
        scope.spawn(move || {
            spool.write_all(rest).unwrap();
            spool.finish().unwrap();
        });
        pack.pack(&store, &|| false).unwrap().unwrap()
    });
    assert!(layer.blob.size > 3_000_000);
}
