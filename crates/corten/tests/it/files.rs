//! Files of images: ls, cat, export, flatten, squash.

use std::os::unix::process::ExitStatusExt as _;

use crate::program::Program;

/// `base` and two layers more; what the second adds the third takes back.
fn program() -> Program {
    let program = Program::with_base();
    program.write(
        "context/Dockerfile",
        "FROM base\nCOPY gone /\nENV A=1\nCOPY motd /etc/motd\n",
    );
    program.write("context/gone", "");
    program.write("context/motd", "changed\n");
    program.ok(&["build", "-q", "-t", "app", "--timestamp", "1000", "context"]);
    program
}

#[test]
fn files_are_listed_and_read() {
    let program = program();
    assert_eq!(program.ok(&["ls", "app"]), "etc\ngone");
    assert_eq!(program.ok(&["ls", "-R", "app"]), "etc\netc/motd\ngone");
    assert_eq!(
        program.ok(&["ls", "-l", "base", "etc/motd"]),
        "-rw-r--r-- 1 0 0 6 1970-01-01T00:16:40Z motd"
    );
    assert_eq!(
        program.ok(&["cat", "app", "/etc/../etc/motd", "gone"]),
        "changed"
    );
    let json = program.ok(&["ls", "--format", "json", "app", "/etc/motd"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json[0]["path"], "etc/motd");
    assert_eq!(json[0]["size"], 8);
    assert_eq!(json[0]["layer"][0], 3);
}

#[test]
fn what_cannot_be_read_is_told_before_anything_is_printed() {
    let program = program();
    program.run(&["cat", "app", "etc/motd", "etc/mtd"]).is(
        1,
        "",
        "error: cannot read files of `docker.io/library/app:latest`
  caused by: `etc/mtd` is not in the image; the directory `etc` has `motd`",
    );
    program.run(&["cat", "app", "/etc"]).is(
        1,
        "",
        "error: cannot read files of `docker.io/library/app:latest`
  caused by: `etc` is a directory, not a file
hint: `corten ls` shows what is in a directory",
    );
}

#[test]
fn fewer_layers_hold_the_same_files() {
    let program = program();
    let exported = |name: &str| {
        program.ok(&["export", name, "-o", "out.tar"]);
        std::fs::read(program.path("out.tar")).unwrap()
    };
    let expected = exported("app");
    for (args, n_layers) in [
        (&["squash", "app", "made", "--from", "base"][..], 2),
        (&["squash", "app", "made", "--layers", "1"], 3),
        (&["flatten", "app", "made", "--compression", "zstd:3"], 1),
    ] {
        program.ok(args);
        assert!(exported("made") == expected, "{args:?}");
        let json = program.ok(&["inspect", "--format", "json", "made"]);
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        let layers = json["manifest"]["layers"].as_array().unwrap();
        assert_eq!(layers.len(), n_layers, "{args:?}");
        let is_zstd = layers[0]["mediaType"].as_str().unwrap().ends_with("+zstd");
        assert_eq!(is_zstd, n_layers == 1, "{args:?}");
        program.ok(&["validate", "made"]);
    }
    program.run(&["squash", "app", "made", "--layers", "4"]).is(
        2,
        "",
        "error: the image has 3 layers, so the topmost 4 cannot be squashed",
    );
    let ran = program.run(&["squash", "base", "made", "--from", "app"]);
    assert!(
        ran.code == 1
            && ran
                .stderr
                .contains("of its 3 layers, 1 are the image's first ones"),
        "{ran:?}"
    );
}

#[test]
fn what_is_no_regular_file_is_written_into() {
    use std::os::unix::fs::{FileTypeExt as _, symlink};

    let program = Program::with_base();
    let kind = |name: &str| {
        std::fs::symlink_metadata(program.path(name))
            .unwrap()
            .file_type()
    };
    let make = |args: &[&str]| {
        let mut command = std::process::Command::new("mknod");
        let status = command.current_dir(program.path("")).args(args).status();
        assert!(status.unwrap().success(), "mknod {args:?}");
    };
    program.ok(&["export", "base", "-o", "plain.tar"]);
    let expected = std::fs::read(program.path("plain.tar")).unwrap();

    make(&["null", "c", "1", "3"]);
    program.ok(&["export", "base", "-o", "null"]);
    assert!(kind("null").is_char_device());

    // What the file held before goes, whoever else has it by another name.
    program.write("target.tar", &"old".repeat(expected.len()));
    symlink("target.tar", program.path("link.tar")).unwrap();
    program.ok(&["export", "base", "-o", "link.tar"]);
    assert!(kind("link.tar").is_symlink());
    assert!(std::fs::read(program.path("target.tar")).unwrap() == expected);

    make(&["pipe", "p"]);
    // Held open at both ends, the pipe is not waited for, whatever the program does with it.
    let mut pipe = std::fs::File::options()
        .read(true)
        .write(true)
        .open(program.path("pipe"))
        .unwrap();
    program.ok(&["export", "base", "-o", "pipe"]);
    assert!(kind("pipe").is_fifo());
    let mut received = vec![0; expected.len()];
    std::io::Read::read_exact(&mut pipe, &mut received).unwrap();
    assert!(received == expected);
}

/// As for skopeo, buildah, podman and docker, whose shells tell 141.
#[test]
fn a_reader_may_stop() {
    #[track_caller]
    fn check(program: &Program, args: &[&str]) {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = program.command(args).stdout(writer).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.signal(), Some(13), "{args:?}: {stderr}");
        assert!(!stderr.contains("error"), "{args:?}: {stderr}");
    }
    let program = Program::with_base();
    program.write("Dockerfile", "FROM base\nENV A=1\n");
    for args in [
        &["--help"][..],
        &["images"],
        &["images", "--format", "json"],
        &["cat", "base", "/etc/motd"],
        &["completion", "bash"],
        &["export", "base"],
        &["save", "base", "-o", "-"],
        &["save", "base", "-o", "-", "--format", "docker-archive"],
        &["copy", "base", "oci-archive:-"],
        &["build", "--quiet", ".", "-o", "type=tar,dest=-"],
        &["build", "--quiet", "."],
    ] {
        check(&program, args);
    }
}
