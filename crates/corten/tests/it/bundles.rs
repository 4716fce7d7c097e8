//! Bundles: unpack, repack.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use crate::program::Program;

/// A program with an image `app` and a bundle of it.
fn with_bundle() -> Program {
    let program = Program::with_base();
    program.write("context/Dockerfile", "FROM base\nCMD [\"/hello\"]\n");
    program.ok(&["build", "context", "-t", "app"]);
    program.ok(&["unpack", "--rootless", "app", "bundle"]);
    program
}

#[test]
fn what_was_changed_becomes_a_layer() {
    let program = with_bundle();
    program.write("bundle/rootfs/etc/motd", "changed\n");
    let json = program.ok(&["repack", "bundle", "mine", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["name"], "docker.io/library/mine:latest");
    assert_eq!(json["changes"], 1);
    let digest = program.ok(&["repack", "bundle", "again"]);
    assert_eq!(json["digest"].as_str(), Some(digest.as_str()));
    program.ok(&["unpack", "--rootless", "mine", "other"]);
    let motd = fs::read_to_string(program.path("other/rootfs/etc/motd")).unwrap();
    assert_eq!(motd, "changed\n");
    program.ok(&["validate", "mine"]);
}

#[test]
fn nothing_was_changed() {
    let program = with_bundle();
    program.run(&["repack", "bundle", "same"]).is(
        0,
        "[DIGEST]",
        "nothing was changed; the image is the one that was unpacked",
    );
}

#[test]
fn an_image_that_is_gone_is_asked_for() {
    let program = with_bundle();
    program.ok(&["save", "app", "-o", "app.tar"]);
    program.ok(&["rm", "app", "base"]);
    program.ok(&["gc", "--cache"]);
    program.write("bundle/rootfs/new", "1");
    let ran = program.run(&["repack", "bundle", "mine"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    let hint = "hint: say where it is with `--from PLACE`";
    assert!(ran.stderr.ends_with(hint), "{ran:?}");
    program.ok(&["import", "base.tar", "-t", "other", "--timestamp", "1000"]);
    let ran = program.run(&["repack", "bundle", "mine", "--from", "other"]);
    assert!(
        ran.stderr
            .contains("the bundle was made from another image"),
        "{ran:?}"
    );
    program.ok(&["repack", "bundle", "mine", "--from", "oci-archive:app.tar"]);
}

#[test]
fn what_cannot_be_packed() {
    let program = with_bundle();
    fs::create_dir(program.path("plain")).unwrap();
    program.run(&["repack", "plain", "mine"]).is(
        1,
        "",
        "error: cannot repack `plain`
  caused by: `plain` is no bundle of ours: it has no file `corten-record`, which `corten unpack` writes",
    );
    program.write("bundle/corten-record", "CTNUNPK1");
    program.run(&["repack", "bundle", "mine"]).is(
        3,
        "",
        "error: cannot repack `bundle`
  caused by: `bundle/corten-record` is damaged, so what was changed cannot be told",
    );
}

#[test]
fn maps_come_in_pairs() {
    let program = with_bundle();
    let ran = program.run(&["unpack", "app", "x", "--uid-map", "0:1:1"]);
    assert_eq!(ran.code, 2, "{ran:?}");
    let twice = ["0:1:2", "1:5:1"];
    let ran = program.run(&[
        "unpack",
        "app",
        "x",
        "--gid-map",
        "0:1:1",
        "--uid-map",
        twice[0],
        "--uid-map",
        twice[1],
    ]);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(
        ran.stderr.contains("`1:5:1` is not a map of ids"),
        "{ran:?}"
    );
}

#[test]
fn a_config_alone() {
    let program = with_bundle();
    program.ok(&["unpack", "--config-only", "app", "only"]);
    let names: Vec<_> = fs::read_dir(program.path("only")).unwrap().collect();
    assert_eq!(names.len(), 1);
    assert_eq!(
        program
            .run(&["unpack", "--config-only", "app", "only"])
            .code,
        1
    );
}

const MAPS: [&str; 4] = ["--uid-map", "0:300000:65536", "--gid-map", "0:300000:65536"];

#[test]
fn the_root_of_a_map_reaches_its_files_and_others_do_not() {
    let program = Program::with_base();
    program.ok(&[&["unpack"][..], &MAPS, &["base", "bundle", "--", "/hello"]].concat());
    // The directory of the test is closed to others, which is not the bundle's matter.
    fs::set_permissions(program.path("."), Permissions::from_mode(0o711)).unwrap();
    let rootfs = fs::metadata(program.path("bundle/rootfs")).unwrap();
    assert_eq!((rootfs.uid(), rootfs.gid()), (300_000, 300_000));
    for (id, can_read) in [(300_000, true), (300_001, false)] {
        let output = Command::new("/bin/cat")
            .arg(program.path("bundle/rootfs/etc/motd"))
            .uid(id)
            .gid(id)
            .output()
            .unwrap();
        assert_eq!(output.status.success(), can_read, "{id}: {output:?}");
    }
}

#[test]
fn files_cannot_be_the_callers_and_a_maps() {
    let program = Program::with_base();
    let ran = program.run(&[&["unpack", "--rootless"][..], &MAPS, &["base", "bundle"]].concat());
    assert!(
        ran.code == 2 && ran.stderr.contains("cannot be used with"),
        "{ran:?}"
    );
}
