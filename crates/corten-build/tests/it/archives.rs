//! ADD: archives are unpacked, everything else is copied.

use std::io::{Read, Write};

use corten_layer::{Tree, emit};
use corten_tar::{Compression, Encoder, Entry, EntryKind, Timestamp};

use crate::site::{Site, check, check_in};
use crate::sketch;

/// Returns a tar of what `text` says, after an entry for the directory that it is of.
fn tar(text: &str) -> Vec<u8> {
    let mut tar = Vec::new();
    let mut root = Entry::new(EntryKind::Directory, "./");
    (root.mode, root.uid) = (0o700, 3);
    corten_tar::write_header(&root, &mut tar).unwrap();
    let (changes, texts) = sketch::changes(text);
    emit::write_changeset(&Tree::new(), &changes, &texts, &mut tar).unwrap();
    tar
}

fn encode(tar: &[u8], compression: Compression) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new(), compression, None, 1).unwrap();
    encoder.write_all(tar).unwrap();
    encoder.finish().unwrap()
}

fn read(mut reader: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).unwrap();
    bytes
}

const FILES: &str = "
    file 4755 5:6 bin/tool T
    hard bin/twin bin/tool
    link 5:6 current bin
    dir 700 8:9 private
";

fn site_with(name: &str, content: &[u8]) -> Site {
    let site = Site::new("file 644 other O");
    sketch::write(&site.path(name), content);
    site
}

#[test]
fn every_compression() {
    let tar = tar(FILES);
    let cases = [
        ("a.tar", tar.clone()),
        ("a.tar.gz", encode(&tar, Compression::Gzip)),
        ("a.tar.zst", encode(&tar, Compression::Zstd)),
        (
            "a.tbz",
            read(bzip2::read::BzEncoder::new(
                &*tar,
                bzip2::Compression::fast(),
            )),
        ),
        ("a.tar.xz", read(liblzma::read::XzEncoder::new(&*tar, 1))),
        // The content counts, not the name.
        ("a.txt", tar.clone()),
    ];
    for (name, content) in cases {
        let site = site_with(name, &content);
        check_in(
            &site,
            &format!("ADD {name} /x"),
            "
            dir 755 x
            dir 755 x/bin
            file 4755 5:6 x/bin/tool T
            hard x/bin/twin x/bin/tool
            link 5:6 x/current bin
            dir 700 8:9 x/private
            ",
        );
        let built = site.build(&format!("FROM scratch\nCOPY {name} /\n"));
        assert_eq!(
            site.show(&site.layers(&built)).len(),
            1,
            "COPY leaves {name} as it is"
        );
    }
}

#[test]
fn where_it_is_unpacked() {
    let site = site_with("a.tar", &tar("file 644 f F\nfile 755 lib/new N"));
    // The destination stays as it is, even where the archive has an entry for it.
    check_in(
        &site,
        "ADD a.tar /home/app/",
        "file 644 home/app/f F\ndir 755 home/app/lib\nfile 755 home/app/lib/new N",
    );
    // An entry replaces what is of another kind, also a link to a directory, as tar and BuildKit do.
    check_in(
        &site,
        "ADD a.tar /",
        "file 644 f F\ndir 755 lib\nfile 755 lib/new N",
    );
    check_in(
        &site,
        "ADD --chown=app a.tar /x/",
        "
        dir 755 1000:1001 x
        file 644 1000:1001 x/f F
        dir 755 1000:1001 x/lib
        file 755 1000:1001 x/lib/new N
        ",
    );
    check_in(
        &site,
        "ADD a.tar other /x/",
        "dir 755 x\nfile 644 x/f F\ndir 755 x/lib\nfile 755 x/lib/new N\nfile 644 x/other O",
    );
}

#[test]
fn what_entries_meet() {
    // A directory without an entry goes where a link leads; a file may replace a directory.
    let mut bytes = Vec::new();
    for (path, kind) in [
        ("lib/new", EntryKind::File),
        ("new/deep/f", EntryKind::File),
        ("home", EntryKind::File),
        ("tmp/", EntryKind::Directory),
    ] {
        let mut entry = Entry::new(kind, path);
        entry.mode = 0o700;
        corten_tar::write_header(&entry, &mut bytes).unwrap();
    }
    bytes.extend([0; 1024]);
    let site = site_with("a.tar", &bytes);
    check_in(
        &site,
        "ADD a.tar /",
        "
        file 700 home
        gone home/app
        dir 755 new
        dir 755 new/deep
        file 700 new/deep/f
        dir 700 tmp
        file 700 usr/lib/new
        ",
    );
}

#[test]
fn what_begins_with_records_about_the_first_file() {
    let mut named = Entry::new(EntryKind::File, format!("{0}/{0}/{0}", "n".repeat(90)));
    named.mode = 0o600;
    let mut timed = Entry::new(EntryKind::File, "f");
    (timed.mode, timed.mtime) = (
        0o600,
        Timestamp {
            seconds: 1,
            nanoseconds: 500_000_000,
        },
    );
    for entry in [named, timed] {
        let mut writer = corten_tar::Writer::new(Vec::new());
        writer.entry(&entry, &mut std::io::empty()).unwrap();
        let bytes = writer.finish().unwrap();
        assert!(b"xL".contains(&bytes[156]));
        let site = site_with("a.tar", &bytes);
        let name = String::from_utf8(entry.path).unwrap();
        let mut expected: Vec<_> = name
            .match_indices('/')
            .map(|(at, _)| format!("dir 755 {}\n", name.split_at(at).0))
            .collect();
        expected.push(format!("file 600 {name}"));
        check_in(&site, "ADD a.tar /", &expected.concat());
    }
}

#[test]
fn ways_through_links_stay_in_the_destination() {
    let mut writer = corten_tar::Writer::new(Vec::new());
    let mut link = Entry::new(EntryKind::Symlink, "up");
    link.link = b"..".to_vec();
    let mut absolute = Entry::new(EntryKind::Symlink, "abs");
    absolute.link = b"/in".to_vec();
    let (mut one, mut two) = (
        Entry::new(EntryKind::File, "up/d/one"),
        Entry::new(EntryKind::File, "abs/two"),
    );
    (one.mode, two.mode) = (0o600, 0o600);
    for entry in [link, absolute, one, two] {
        writer.entry(&entry, &mut std::io::empty()).unwrap();
    }
    let site = site_with("a.tar", &writer.finish().unwrap());
    check_in(
        &site,
        "ADD a.tar /home/app",
        "
        link home/app/abs /in
        dir 755 home/app/d
        file 600 home/app/d/one
        dir 755 home/app/in
        file 600 home/app/in/two
        link home/app/up ..
        ",
    );
}

#[test]
fn a_file_without_a_name_is_left_out() {
    let mut writer = corten_tar::Writer::new(Vec::new());
    for name in ["0", "f"] {
        let mut entry = Entry::new(EntryKind::File, name);
        entry.mode = 0o600;
        writer.entry(&entry, &mut std::io::empty()).unwrap();
    }
    let mut bytes = writer.finish().unwrap();
    bytes[0] = 0;
    bytes[148..156].fill(b' ');
    let sum: u32 = bytes[..512].iter().map(|&byte| u32::from(byte)).sum();
    bytes[148..154].copy_from_slice(format!("{sum:06o}").as_bytes());
    check_in(
        &site_with("a.tar", &bytes),
        "ADD a.tar /home/app",
        "file 600 home/app/f",
    );
}

#[test]
fn a_directory_without_an_entry_is_of_root() {
    let mut writer = corten_tar::Writer::new(Vec::new());
    let mut entry = Entry::new(EntryKind::File, "d/f");
    entry.mode = 0o600;
    writer.entry(&entry, &mut std::io::empty()).unwrap();
    check_in(
        &site_with("a.tar", &writer.finish().unwrap()),
        "ADD --chown=7:8 a.tar /x",
        "dir 755 7:8 x\ndir 755 x/d\nfile 600 7:8 x/d/f",
    );
}

#[test]
fn links_of_files_and_archives_do_not_mix() {
    let site = site_with("z.tar", &tar("file 644 1/a A\nhard 1/b 1/a"));
    site.add("file 644 f F\nhard g f");
    check_in(
        &site,
        "ADD f g z.tar /x/",
        "
        dir 755 x
        dir 755 x/1
        file 644 x/1/a A
        hard x/1/b x/1/a
        file 644 x/f F
        file 644 x/g F
        ",
    );
}

#[test]
fn what_is_no_archive() {
    check("ADD f /x", "file 640 f text", "file 640 x text");
    check("ADD f /x", "file 640 f", "file 640 x");
    check(
        "ADD d /x",
        "file 640 d/f text",
        "dir 755 x\nfile 640 x/f text",
    );
    for content in [
        encode(b"just text", Compression::Gzip),
        vec![0; 2048],
        b"\x1f\x8b broken".to_vec(),
        b"BZh".to_vec(),
    ] {
        let site = site_with("f", &content);
        let built = site.build("FROM scratch\nADD f /x/\n");
        let names: Vec<_> = site.show(&site.layers(&built)).into_keys().collect();
        assert_eq!(names, ["x", "x\0f"], "{content:?}");
    }
    // An archive inside a directory is a file.
    let site = Site::new("dir 755 d");
    sketch::write(&site.path("d/a.tar"), &tar("file 644 f F"));
    let built = site.build("FROM scratch\nADD d /\n");
    assert_eq!(
        site.show(&site.layers(&built))
            .into_keys()
            .collect::<Vec<_>>(),
        ["a.tar"]
    );
}

#[test]
fn a_broken_archive_is_an_error() {
    let mut broken = tar(FILES);
    broken.truncate(broken.len() - 1024 - 512);
    broken.extend([b'x'; 512]);
    let site = site_with("a.tar", &broken);
    crate::site::check_error_in(
        &site,
        "ADD a.tar /",
        "
        Dockerfile:2: `ADD a.tar /` failed
        cannot unpack the archive `a.tar`
        the header at byte 3072 is malformed: a numeric field is not octal
        ",
    );
}

/// BuildKit extracts a file of that name, which the layer then turns into a deletion.
#[test]
fn a_name_that_would_delete_in_a_layer_is_refused() {
    for name in ["d/.wh.a", ".wh..wh..opq", ".wh.d/x"] {
        let mut writer = corten_tar::Writer::new(Vec::new());
        let entry = Entry::new(EntryKind::File, name);
        writer.entry(&entry, &mut std::io::empty()).unwrap();
        let site = site_with("a.tar", &writer.finish().unwrap());
        crate::site::check_error_in(
            &site,
            "ADD a.tar /",
            &format!(
                "
        Dockerfile:2: `ADD a.tar /` failed
        cannot unpack the archive `a.tar`
        `{name}` cannot be put into a layer: a name that begins with `.wh.` means a deletion in every layer
        "
            ),
        );
    }
}
