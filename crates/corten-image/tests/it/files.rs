//! Files of images, found and read without unpacking.

use std::fs;
use std::io::Read;

use corten_image::{Error, Files, Found, Links};
use corten_layer::bytes::TreeContents;
use corten_layer::{Contents, Directory, Kind, Node, NodeId, Tree};
use corten_snapshot::{Bytes, LayerRef};
use corten_tar::{Compression, Entry, EntryKind, Writer};
use proptest::prelude::*;

use crate::archive::{Item, directory, file, link, tar};
use crate::world::{World, layers, spelt};

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// A node as a table has it: what is in a directory is elsewhere.
fn bare(tree: &Tree, id: NodeId) -> Node {
    let mut node = tree.node(id).clone();
    if let Kind::Directory(_) = node.kind {
        node.kind = Kind::Directory(Directory::default());
    }
    node
}

fn content(files: &Files<'_>, found: &Found) -> Vec<u8> {
    let mut content = Vec::new();
    files
        .read(found)
        .unwrap()
        .read_to_end(&mut content)
        .unwrap();
    content
}

proptest! {
    #![proptest_config(config(150))]

    /// The table and the tree agree on every path, whatever links it leads through.
    #[test]
    fn a_path_leads_where_it_leads_in_the_tree(
        tars in layers(),
        paths in proptest::collection::vec(spelt(), 1..20),
    ) {
        let world = World::new();
        let layers: Vec<LayerRef> =
            tars.iter().map(|tar| world.layer(tar, Compression::Gzip)).collect();
        let snapshots = world.snapshots();
        let tree = snapshots.tree(&layers).unwrap();
        let bytes = Bytes::new(snapshots.clone(), &layers);
        let contents = TreeContents { tree: &tree, bytes: &bytes };
        let files = Files::open(&snapshots, &layers).unwrap();
        // Those somebody may write, and all there are, so that every link is followed.
        let all = tree.walk().map(|(path, _)| String::from_utf8(path).unwrap());
        for path in &paths.into_iter().chain(all).collect::<Vec<_>>() {
            for (links, expected) in [
                (Links::Keep, tree.lookup(path.as_bytes())),
                (Links::Follow, tree.follow(path.as_bytes())),
            ] {
                match (files.find(path.as_bytes(), links), expected) {
                    (Ok(found), Ok(Some(id))) => {
                        prop_assert_eq!(&found.node, &bare(&tree, id), "{}", path);
                        prop_assert_eq!(tree.exact(&found.path), Some(id), "{}", path);
                        if let Kind::File(file) = &tree.node(id).kind {
                            let mut expected = Vec::new();
                            contents.open(file).unwrap().read_to_end(&mut expected).unwrap();
                            prop_assert_eq!(content(&files, &found), expected);
                        }
                    }
                    (Err(_), Ok(None) | Err(_)) => {}
                    (found, expected) => prop_assert!(false, "{path}: {found:?}, {expected:?}"),
                }
            }
        }
        let mut walked = Vec::new();
        let root = files.find(b"/", Links::Keep).unwrap();
        files.walk(&root, &mut |found| {
            walked.push((found.path.clone(), found.node.clone()));
            Ok::<(), Error>(())
        }).unwrap();
        let expected: Vec<_> = tree.walk().map(|(path, id)| (path, bare(&tree, id))).collect();
        prop_assert_eq!(walked, expected);
    }
}

fn many(n_files: usize, n_layers: usize) -> Vec<Vec<u8>> {
    let layer = |number: usize| {
        let mut writer = Writer::new(Vec::new());
        for file in (0..n_files).filter(|file| file % n_layers == number) {
            let path = format!("usr/share/doc/package-{}/file-{file}", file / 50);
            let mut entry = Entry::new(EntryKind::File, path);
            entry.size = 7;
            writer.entry(&entry, &mut &b"content"[..]).unwrap();
        }
        writer.finish().unwrap()
    };
    (0..n_layers).map(layer).collect()
}

/// A lookup reads a block for each level of the table and each name of the path: fifty times the
/// files are one level more.
#[test]
fn a_lookup_does_not_grow_with_the_image() {
    let cost = |n_files: usize| {
        let world = World::new();
        let tars = many(n_files, 12);
        let layers = tars.iter().map(|tar| world.layer(tar, Compression::Zstd));
        let layers: Vec<LayerRef> = layers.collect();
        drop(Files::open(&world.snapshots(), &layers).unwrap());
        let files = Files::open(&world.snapshots(), &layers).unwrap();
        files
            .find(b"usr/share/doc/package-3/file-170", Links::Follow)
            .unwrap();
        let directory = files
            .find(b"usr/share/doc/package-5", Links::Follow)
            .unwrap();
        assert_eq!(files.list(&directory).unwrap().len(), 50);
        files.cost().0
    };
    let (few, lots) = (cost(600), cost(30_000));
    assert!(lots < few * 2, "{few} and {lots} bytes");
    assert!(lots < 384 << 10, "{lots} bytes");
}

/// Bytes that do not compress, so that members are as large as they get.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    (0..len).map(|_| next()).collect()
}

fn large() -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    let noise = noise(12 << 20);
    for (path, content) in [("large", &noise[..]), ("small", b"few bytes")] {
        let mut entry = Entry::new(EntryKind::File, path);
        entry.size = content.len() as u64;
        writer.entry(&entry, &mut { content }).unwrap();
    }
    writer.finish().unwrap()
}

#[test]
fn a_small_file_of_a_large_layer_inflates_one_member() {
    #[track_caller]
    fn check(compression: Compression, most: u64, n_tars: usize) {
        let world = World::new();
        let layers = [world.layer(&large(), compression)];
        let files = Files::open(&world.snapshots(), &layers).unwrap();
        let small = files.find(b"small", Links::Follow).unwrap();
        assert_eq!(content(&files, &small), b"few bytes");
        let (_, inflated) = files.cost();
        assert!(inflated <= most, "{compression:?}: {inflated} bytes");
        assert_eq!(world.derived("tar").len(), n_tars, "{compression:?}");
        // A large file is read from one member to the next.
        let large = files.find(b"large", Links::Follow).unwrap();
        assert!(content(&files, &large) == noise(12 << 20));
        assert_eq!(world.derived("tar").len(), n_tars, "{compression:?}");
    }
    check(Compression::Gzip, 1 << 20, 0);
    // The blob is the tar.
    check(Compression::None, 0, 0);
    // One frame has to be read from its start: the tar is made, once.
    check(Compression::Zstd, 0, 1);
}

/// A layer may come in another compression later: places in one blob are none in the other.
#[test]
fn places_of_one_blob_are_not_used_for_another() {
    let world = World::new();
    let gzip = world.layer(&large(), Compression::Gzip);
    let zstd = world.layer(&large(), Compression::Zstd);
    assert_eq!(gzip.diff_id, zstd.diff_id);
    assert_eq!(world.derived("seek").len(), 1);
    for layers in [[zstd], [gzip]] {
        let files = Files::open(&world.snapshots(), &layers).unwrap();
        let small = files.find(b"small", Links::Follow).unwrap();
        assert_eq!(content(&files, &small), b"few bytes");
    }
}

fn items() -> Vec<Item> {
    vec![
        directory("etc"),
        file("etc/passwd", "root\n"),
        file("etc/group", "staff\n"),
        link(EntryKind::Symlink, "loop", "loop"),
        link(EntryKind::Symlink, "out", "../../etc/passwd"),
        link(EntryKind::Symlink, "dangling", "/not/there"),
        link(EntryKind::Fifo, "fifo", ""),
    ]
}

fn content_of(files: &Files<'_>, found: &Found) -> Result<Vec<u8>, Error> {
    let mut content = Vec::new();
    files.read(found)?.read_to_end(&mut content).unwrap();
    Ok(content)
}

#[test]
fn what_is_not_there_is_said() {
    let world = World::new();
    let layers = [world.layer(&tar(&items()), Compression::Gzip)];
    let snapshots = world.snapshots();
    let files = Files::open(&snapshots, &layers).unwrap();
    let check = |path: &str, expected: &str| {
        let read = files
            .find(path.as_bytes(), Links::Follow)
            .and_then(|found| Ok(String::from_utf8(content_of(&files, &found)?).unwrap()));
        let text = read.unwrap_or_else(|error| error.to_string());
        assert_eq!(text, expected, "{path}");
    };
    check("/etc/passwd", "root\n");
    check("/etc/../../etc//./passwd", "root\n");
    check("out", "root\n");
    check(
        "etc/pasword",
        "`etc/pasword` is not in the image; the directory `etc` has `passwd`",
    );
    check(
        "etc/hosts/x",
        "`etc/hosts` is not in the image; the path leads as far as the directory `etc`",
    );
    check(
        "dangling",
        "`not` is not in the image; the path leads as far as the directory `/`",
    );
    check("etc/passwd/x", "`etc/passwd` is not a directory");
    check("etc", "`etc` is a directory, not a file");
    check("fifo", "`fifo` is a FIFO, not a file");
    check("loop", "the layers cannot be used");
}

#[test]
fn a_damaged_table_is_made_again() {
    let world = World::new();
    let layers = [world.layer(&tar(&items()), Compression::Gzip)];
    let snapshots = world.snapshots();
    let find = || Files::open(&snapshots, &layers)?.find(b"etc/passwd", Links::Follow);
    find().unwrap();
    let [path] = &world.derived("files")[..] else {
        panic!("there is one table")
    };
    let intact = fs::read(path).unwrap();
    for at in [0, 20, intact.len() / 2, intact.len() - 1] {
        let mut damaged = intact.clone();
        damaged[at] ^= 1;
        fs::remove_file(path).unwrap();
        std::io::Write::write_all(&mut fs::File::create(path).unwrap(), &damaged).unwrap();
        let result = find();
        assert!(
            matches!(
                &result,
                Ok(_)
                    | Err(Error::Snapshot {
                        source: corten_snapshot::Error::DamagedTable { .. }
                    })
            ),
            "byte {at}: {result:?}"
        );
        find().unwrap();
        assert_eq!(fs::read(path).unwrap(), intact, "byte {at}");
    }
}

#[test]
fn an_image_of_no_layers_has_a_root() {
    let world = World::new();
    let snapshots = world.snapshots();
    let files = Files::open(&snapshots, &[]).unwrap();
    let root = files.find(b"/", Links::Follow).unwrap();
    assert_eq!(files.list(&root).unwrap(), []);
}
