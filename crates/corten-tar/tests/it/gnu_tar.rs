//! GNU tar and this crate say the same about one tree.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use corten_tar::{Entry, EntryKind, Expand, Limits, Reader, Writer};

/// Runs tar; `None`, and a line that says so, if it is not there or does not know an argument.
fn tar(args: &[&str], tree: &Path) -> Option<Vec<u8>> {
    let output = Command::new("tar")
        .args(args)
        .arg("-C")
        .arg(tree)
        .args(["-cf", "-", "."])
        .output();
    match output {
        Ok(output) if output.status.success() => Some(output.stdout),
        Ok(output) => {
            let reason = String::from_utf8_lossy(&output.stderr);
            println!("not run: corten-tar gnu_tar {args:?}: {reason}");
            None
        }
        Err(error) => {
            println!("not run: corten-tar gnu_tar {args:?}: {error}");
            None
        }
    }
}

/// Makes files that are unusual in one way each.
fn plant(tree: &Path, long_names: bool) {
    let create = |name: &str, bytes: &[u8]| {
        File::create_new(tree.join(name))
            .unwrap()
            .write_all(bytes)
            .unwrap();
    };
    create("empty", b"");
    create("file", b"content");
    create("block", &[7; 512]);
    create("line\nbreak \\ \u{fc}", b"odd");
    create("setuid", b"#!");
    fs::set_permissions(tree.join("setuid"), fs::Permissions::from_mode(0o4711)).unwrap();
    fs::create_dir(tree.join("directory")).unwrap();
    fs::set_permissions(tree.join("directory"), fs::Permissions::from_mode(0o1777)).unwrap();
    create("directory/large", &vec![3; 300_000]);
    fs::hard_link(tree.join("file"), tree.join("directory/link")).unwrap();
    symlink("../file", tree.join("directory/symlink")).unwrap();
    if long_names {
        let long = "l".repeat(120);
        fs::create_dir(tree.join(&long)).unwrap();
        create(&format!("{long}/{}", "f".repeat(200)), b"far");
        symlink("t".repeat(220), tree.join("long-symlink")).unwrap();
    }
}

/// Reads an archive: entries by name, with the logical content.
fn read(archive: &[u8]) -> BTreeMap<Vec<u8>, (Entry, Vec<u8>)> {
    let mut reader = Reader::new(archive, Limits::default());
    let mut entries = BTreeMap::new();
    while let Some(located) = reader.next_entry().unwrap() {
        let Entry { sparse, size, .. } = &located.entry;
        let mut content = Vec::new();
        match sparse {
            None => reader.read_body().read_to_end(&mut content).unwrap(),
            Some(segments) => Expand::new(reader.read_body(), segments, *size)
                .read_to_end(&mut content)
                .unwrap(),
        };
        entries.insert(located.entry.path.clone(), (located.entry, content));
    }
    reader.finish().unwrap();
    entries
}

#[track_caller]
fn check(tree: &Path, entries: &BTreeMap<Vec<u8>, (Entry, Vec<u8>)>, nanoseconds: bool) {
    let mut names: Vec<_> = walk(tree, tree);
    names.sort();
    assert_eq!(names.len(), entries.len(), "{:?}", entries.keys());
    for name in names {
        let path = tree.join(&name);
        let metadata = fs::symlink_metadata(&path).unwrap();
        let mut key = format!("./{name}").into_bytes();
        if metadata.is_dir() && !name.is_empty() {
            key.push(b'/');
        }
        let (entry, content) = entries.get(&key).unwrap_or_else(|| panic!("no {name:?}"));
        assert_eq!(
            (entry.uid, entry.gid),
            (metadata.uid(), metadata.gid()),
            "{name}"
        );
        assert_eq!(entry.mode, metadata.mode() & 0o7777, "{name}");
        assert_eq!(entry.mtime.seconds, metadata.mtime(), "{name}");
        if nanoseconds {
            assert_eq!(
                i64::from(entry.mtime.nanoseconds),
                metadata.mtime_nsec(),
                "{name}"
            );
        }
        match entry.kind {
            EntryKind::File => {
                assert_eq!(entry.size, metadata.len(), "{name}");
                assert!(*content == fs::read(&path).unwrap(), "{name}");
            }
            EntryKind::HardLink => {
                let target = tree.join(str::from_utf8(&entry.link).unwrap());
                assert_eq!(
                    fs::metadata(target).unwrap().ino(),
                    metadata.ino(),
                    "{name}"
                );
            }
            EntryKind::Symlink => {
                let target = fs::read_link(&path).unwrap();
                assert_eq!(entry.link, target.as_os_str().as_encoded_bytes(), "{name}");
            }
            EntryKind::Directory => assert!(metadata.is_dir(), "{name}"),
            EntryKind::CharDevice | EntryKind::BlockDevice | EntryKind::Fifo => {
                panic!("{name} is a {:?}", entry.kind);
            }
        }
    }
}

/// Returns the names below `root`, relative to it, with the empty one.
fn walk(root: &Path, directory: &Path) -> Vec<String> {
    let relative = directory.strip_prefix(root).unwrap();
    let mut names = vec![relative.to_str().unwrap().to_owned()];
    for child in fs::read_dir(directory).unwrap() {
        let child = child.unwrap();
        if child.file_type().unwrap().is_dir() {
            names.extend(walk(root, &child.path()));
        } else {
            names.push(
                child
                    .path()
                    .strip_prefix(root)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned(),
            );
        }
    }
    names
}

#[test]
fn every_format() {
    for (format, long_names) in [
        ("v7", false),
        ("ustar", false),
        ("gnu", true),
        ("pax", true),
    ] {
        let tree = tempfile::tempdir().unwrap();
        plant(tree.path(), long_names);
        let Some(archive) = tar(&[&format!("--format={format}")], tree.path()) else {
            continue;
        };
        check(tree.path(), &read(&archive), format == "pax");
    }
}

#[test]
fn every_kind_of_sparse_file() {
    let tree = tempfile::tempdir().unwrap();
    for (name, segments) in [("ends-in-hole", 3_u64), ("many", 40), ("only-hole", 0)] {
        let mut file = File::create_new(tree.path().join(name)).unwrap();
        for number in 0..segments {
            file.seek(SeekFrom::Start(number * 65536 + 32768)).unwrap();
            file.write_all(&[b'd'; 4096]).unwrap();
        }
        file.set_len(segments * 65536 + 100_000).unwrap();
    }
    let mut file = File::create_new(tree.path().join("ends-in-data")).unwrap();
    file.seek(SeekFrom::Start(100_000)).unwrap();
    file.write_all(b"the end").unwrap();
    for args in [
        &["--format=gnu"][..],
        &["--format=pax", "--sparse-version=0.0"],
        &["--format=pax", "--sparse-version=0.1"],
        &["--format=pax", "--sparse-version=1.0"],
    ] {
        let args = [args, &["--sparse", "--hole-detection=raw"]].concat();
        let Some(archive) = tar(&args, tree.path()) else {
            continue;
        };
        let entries = read(&archive);
        check(tree.path(), &entries, args[0] == "--format=pax");
        let (many, _) = &entries[&b"./many"[..]];
        assert!(
            many.sparse
                .as_ref()
                .is_some_and(|segments| segments.len() >= 40),
            "{args:?}"
        );
    }
}

#[test]
fn extended_attributes() {
    let tree = tempfile::tempdir().unwrap();
    let path = tree.path().join("file");
    File::create_new(&path).unwrap();
    let set = |name: &str, value: &str| {
        Command::new("setfattr")
            .args(["-n", name, "-v", value])
            .arg(&path)
            .status()
    };
    if !set("user.binary", "0x003d0aff").is_ok_and(|status| status.success()) {
        println!("not run: corten-tar gnu_tar extended_attributes: no setfattr, or no attributes");
        return;
    }
    assert!(set("user.another", "text").unwrap().success());
    let Some(archive) = tar(&["--format=pax", "--xattrs"], tree.path()) else {
        return;
    };
    let (entry, _) = &read(&archive)[&b"./file"[..]];
    let pair = |name: &str, value: &[u8]| (name.as_bytes().to_vec(), value.to_vec());
    assert_eq!(
        entry.xattrs,
        [
            pair("user.another", b"text"),
            pair("user.binary", b"\0=\n\xff")
        ]
    );
}

#[test]
fn what_is_written_is_unpacked_by_gnu_tar() {
    let tree = tempfile::tempdir().unwrap();
    plant(tree.path(), true);
    let Some(archive) = tar(&["--format=pax"], tree.path()) else {
        return;
    };
    let mut writer = Writer::new(Vec::new());
    let mut reader = Reader::new(&archive[..], Limits::default());
    while let Some(located) = reader.next_entry().unwrap() {
        writer
            .entry(&located.entry, &mut reader.read_body())
            .unwrap();
    }
    let written = writer.finish().unwrap();
    let copy = tempfile::tempdir().unwrap();
    let file = copy.path().join("archive.tar");
    File::create_new(&file)
        .unwrap()
        .write_all(&written)
        .unwrap();
    let root = copy.path().join("root");
    fs::create_dir(&root).unwrap();
    let output = Command::new("tar")
        .args(["--numeric-owner", "--warning=all", "-xpf"])
        .arg(&file)
        .arg("-C")
        .arg(&root)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let again = tar(&["--format=pax"], &root).unwrap();
    let (expected, found) = (read(&archive), read(&again));
    assert_eq!(
        expected.keys().collect::<Vec<_>>(),
        found.keys().collect::<Vec<_>>()
    );
    // Which of two names is the file and which the link depends on the order of the directory.
    for (name, (entry, content)) in expected
        .iter()
        .filter(|(_, (entry, _))| entry.kind != EntryKind::HardLink && entry.path != b"./file")
    {
        let (mut unpacked, copy) = found[name].clone();
        if unpacked.kind == EntryKind::HardLink {
            continue;
        }
        if name == b"./" {
            unpacked.mode = entry.mode;
        }
        assert_eq!(&unpacked, entry);
        assert_eq!(&copy, content);
    }
}
