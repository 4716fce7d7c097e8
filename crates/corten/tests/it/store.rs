//! `fsck`, `df` and `gc`: what they print, and what they end with.

use std::fs;

use rustix::fs::{FlockOperation, flock};
use serde_json::Value;

use crate::program::Program;

#[test]
fn fsck_says_what_is_lost_and_takes_it_from_elsewhere() {
    let program = Program::with_base();
    let whole = program.run(&["fsck"]);
    assert_eq!((whole.code, whole.stdout.as_str()), (0, ""));
    let checked =
        "1 tars and header indexes, 0 build records; 0 directories were not compared with";
    assert!(whole.stderr.contains(checked), "{}", whole.stderr);
    program.ok(&["copy", "base", "oci:elsewhere:base"]);
    program.ok(&["tag", "base", "again"]);
    let text = program.ok(&["inspect", "--format", "json", "base"]);
    let inspected: Value = serde_json::from_str(&text).unwrap();
    let manifest = inspected["digest"].as_str().unwrap().replace(':', "/");
    let path = program.path(&format!("store/blobs/{manifest}"));
    let mut bytes = fs::read(&path).unwrap();
    bytes[10] ^= 1;
    fs::remove_file(&path).unwrap();
    std::io::Write::write_all(&mut fs::File::create(&path).unwrap(), &bytes).unwrap();

    let found = program.run(&["fsck", "-q"]);
    assert_eq!(found.code, 3);
    let mut lines = found.stdout.lines();
    let first = lines.next().unwrap();
    assert!(first.starts_with("damaged blob [DIGEST]: its "), "{first}");
    let platform = corten_spec::Platform::host();
    let needs = lines.collect::<Vec<_>>().join("\n");
    assert_eq!(
        needs,
        format!(
            "  needed by docker.io/library/base:latest ({platform})\n  \
             needed by docker.io/library/again:latest ({platform})"
        )
    );
    let hint = program.run(&["fsck"]).stderr;
    assert!(
        hint.contains("hint: `corten fsck --repair --refetch`"),
        "{hint}"
    );

    program.ok(&["fsck", "--repair", "--from", "oci:elsewhere"]);
    program.ok(&["validate", "base"]);
    program.ok(&["fsck"]);
}

#[test]
fn fsck_takes_nothing_from_elsewhere_without_being_told_to_repair() {
    let program = Program::with_base();
    assert_eq!(program.run(&["fsck", "--refetch"]).code, 2);
    assert_eq!(program.run(&["fsck", "--from", "base"]).code, 2);
    let none = program
        .command(&["--root", "nothing", "fsck"])
        .output()
        .unwrap();
    assert_eq!(none.status.code(), Some(1));
    assert!(!program.path("nothing").exists());
}

#[test]
fn fsck_says_that_names_are_lost() {
    let program = Program::with_base();
    program.ok(&["tag", "base", "again"]);
    let path = program.path("store/index.json");
    let bytes = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let text = std::str::from_utf8(&bytes).unwrap();
    program.write("store/index.json", text.split_at(text.len() - 100).0);
    let told = program.run(&["fsck", "--repair"]);
    assert_eq!(told.code, 0, "{told:?}");
    assert!(
        told.stderr
            .contains("1 entries are in a new index, 1 of them with a name; names are lost")
            && told.stderr.contains("store/index.json.damaged`"),
        "{told:?}"
    );
    assert_eq!(program.run(&["fsck"]).stdout, "");
}

#[test]
fn df_tells_what_gc_gives_back() {
    let program = Program::with_base();
    program.ok(&["tag", "base", "again"]);
    let measure =
        || -> Value { serde_json::from_str(&program.ok(&["df", "--format", "json"])).unwrap() };
    let before = measure();
    assert_eq!(before["images"].as_array().unwrap().len(), 1);
    assert_eq!(before["images"][0]["names"].as_array().unwrap().len(), 2);
    assert_eq!(before["images"][0]["size"], before["images"][0]["unique"]);
    assert_eq!(before["reclaimable"], 0);
    program.ok(&["rm", "base", "again"]);
    let after = measure();
    assert_eq!(after["images"].as_array().unwrap().len(), 0);
    // What was derived from its layer goes, too.
    assert_eq!(after["reclaimable"], before["size"]);
    program.ok(&["gc"]);
    assert_eq!(measure()["size"], 0);
    let table = program.run(&["df", "-q"]).stdout;
    let heading = table.lines().next().unwrap();
    assert_eq!(heading, "KIND               COUNT  SIZE  RECLAIMABLE");
}

#[test]
fn a_damaged_blob_is_told_as_such() {
    #[track_caller]
    fn check(compression: &str, change: impl Fn(&mut Vec<u8>)) {
        let program = Program::new();
        let content = "corten ".repeat(2000);
        program.write_tar("base.tar", &[("file", content.as_bytes(), 0o644)]);
        program.ok(&[
            "import",
            "base.tar",
            "-t",
            "base",
            "--compression",
            compression,
        ]);
        let text = program.ok(&["inspect", "--format", "json", "base"]);
        let inspected: Value = serde_json::from_str(&text).unwrap();
        let layer = inspected["manifest"]["layers"][0]["digest"].as_str();
        let path = format!("store/blobs/{}", layer.unwrap().replace(':', "/"));
        let path = program.path(&path);
        let mut bytes = fs::read(&path).unwrap();
        change(&mut bytes);
        fs::remove_file(&path).unwrap();
        std::io::Write::write_all(&mut fs::File::create(&path).unwrap(), &bytes).unwrap();
        for args in [
            &["cat", "base", "file"][..],
            &["export", "base", "-o", "out.tar"],
            &["flatten", "base", "made"],
        ] {
            let ran = program.run(args);
            assert_eq!(
                (ran.code, ran.stdout.as_str()),
                (3, ""),
                "{compression} {ran:?}"
            );
            let told = ran.stderr.contains("is damaged in the store");
            assert!(
                told && ran.stderr.contains("corten fsck --repair"),
                "{ran:?}"
            );
        }
    }
    check("none", |bytes| bytes[1000] ^= 1);
    check("none", |bytes| bytes.truncate(1000));
    check("gzip", |bytes| bytes.truncate(bytes.len() / 2));
    check("gzip", |bytes| bytes[30] ^= 1);
    check("zstd", Vec::clear);
    check("zstd", |bytes| *bytes = b"neither".to_vec());
}

/// A build that was killed leaves what it fetched, which may be all of a repository that is private.
#[test]
fn gc_takes_contexts_whose_build_is_gone() {
    let program = Program::with_base();
    program.write("store/contexts/abandoned/checkout/file", "private");
    program.write("store/contexts/used/file", "private");
    let used = fs::File::open(program.path("store/contexts/used")).unwrap();
    flock(&used, FlockOperation::LockExclusive).unwrap();
    program.ok(&["gc"]);
    assert!(!program.path("store/contexts/abandoned").exists());
    assert!(program.path("store/contexts/used/file").exists());
    program.ok(&["fsck"]);
}
