//! What GNU tar and Python make of the archives that we write.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use corten_layer::emit;
use proptest::prelude::*;

use crate::host::{is_root, target};
use crate::random::{Chain, For, layers};
use crate::roundtrip::config;
use crate::snapshot::{assert_same, of_directory, of_tree};

/// Tells whether `tool` is here; says so if not.
fn has(test: &str, tool: &str) -> bool {
    let found = Command::new(tool)
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !found {
        println!("not run: {test}: there is no {tool}");
    }
    found
}

const LIST: &str = r#"
import sys, tarfile
types = {b"0": "file", b"1": "link", b"2": "symlink", b"3": "char", b"4": "block", b"5": "dir", b"6": "fifo"}
archive = tarfile.open(fileobj=sys.stdin.buffer, mode="r|", errors="surrogateescape")
for it in archive:
    content = len(archive.extractfile(it).read()) if it.type == b"0" else 0
    path = it.name.encode("utf-8", "surrogateescape").hex()
    link = it.linkname.encode("utf-8", "surrogateescape").hex()
    print(types[it.type], path, link or "-", oct(it.mode), it.uid, it.gid, int(it.mtime // 1), content)
"#;

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

proptest! {
    #![proptest_config(config(25))]

    #[test]
    fn tar_unpacks_what_we_write(layers in layers(For::Disks, 3)) {
        let test = "tar_unpacks_what_we_write";
        if !is_root(test) || !has(test, "tar") {
            return Ok(());
        }
        let chain = Chain::new(&layers);
        let tree = chain.last();
        let mut archive = tempfile::NamedTempFile::new().unwrap();
        emit::write_tree(tree, &chain.contents(tree), &mut archive).unwrap();
        let (_scratch, root) = target();
        let status = Command::new("tar")
            .args(["-xpf", archive.path().to_str().unwrap(), "--numeric-owner"])
            .args(["--xattrs", "--xattrs-include=*", "--warning=no-timestamp", "-C"])
            .arg(root.path())
            .status()
            .unwrap();
        assert!(status.success());
        let mut expected = of_tree(tree, &chain.contents(tree));
        let mut found = of_directory(root.path());
        // The archive says nothing about a root that is as usual, and the host's is not.
        for snapshot in [&mut expected, &mut found] {
            snapshot.remove("/");
        }
        assert_same(&expected, &found, "unpacked by tar");
    }

    #[test]
    fn python_lists_what_we_write(layers in layers(For::Tars, 3)) {
        let test = "python_lists_what_we_write";
        if !has(test, "python3") {
            return Ok(());
        }
        let chain = Chain::new(&layers);
        let tree = chain.last();
        let mut archive = Vec::new();
        let written = emit::write_tree(tree, &chain.contents(tree), &mut archive).unwrap();
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("layer.tar");
        fs::File::create(&path).unwrap().write_all(&archive).unwrap();
        let output = Command::new("python3")
            .args(["-c", LIST])
            .stdin(fs::File::open(&path).unwrap())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", output.stderr.escape_ascii());
        let listed = String::from_utf8(output.stdout).unwrap();
        let expected: Vec<String> = written.iter().map(|located| {
            use corten_tar::EntryKind as Kind;
            let entry = &located.entry;
            let kind = match entry.kind {
                Kind::File => "file",
                Kind::HardLink => "link",
                Kind::Symlink => "symlink",
                Kind::CharDevice => "char",
                Kind::BlockDevice => "block",
                Kind::Directory => "dir",
                Kind::Fifo => "fifo",
            };
            let path = hex(entry.path.strip_suffix(b"/").unwrap_or(&entry.path));
            let link = if entry.link.is_empty() { "-".into() } else { hex(&entry.link) };
            let (uid, gid, mtime) = (entry.uid, entry.gid, entry.mtime.seconds);
            format!("{kind} {path} {link} 0o{:o} {uid} {gid} {mtime} {}", entry.mode, entry.size)
        }).collect();
        let listed: Vec<&str> = listed.lines().collect();
        assert_eq!(listed, expected);
    }
}
