//! What a layer may ask for, and the flag that changes it.

use std::fs::File;

use crate::program::Program;

/// A hole takes no time, as nothing of it is read: 1 TiB would be minutes.
#[test]
fn a_file_that_no_layer_has_room_for_is_not_read() {
    let program = Program::new();
    program.write("context/Dockerfile", "FROM scratch\nCOPY hole small /\n");
    program.write("context/small", "");
    program.write("context/hole", "");
    let hole = File::options()
        .write(true)
        .open(program.path("context/hole"));
    hole.unwrap().set_len(1 << 40).unwrap();
    let ran = program.run(&["build", "context"]);
    assert_eq!(ran.code, 1);
    for part in [
        "`hole`",
        "the limit `total_bytes`",
        "pass `--limit total_bytes=VALUE`",
    ] {
        assert!(ran.stderr.contains(part), "{}", ran.stderr);
    }
}

/// A sparse file in the context costs nothing there, and all of it in a layer.
#[test]
fn a_layer_that_grows_too_large_names_its_limit() {
    let program = Program::new();
    program.write("context/Dockerfile", "FROM scratch\nCOPY large /\n");
    program.write("context/large", "");
    let large = File::options()
        .write(true)
        .open(program.path("context/large"));
    large.unwrap().set_len(8 << 20).unwrap();
    let refused = "the limit `total_bytes` of 4194304 is exceeded";
    let ran = program.run(&[
        "build",
        "context",
        "-t",
        "app",
        "--limit",
        "total_bytes=4MiB",
    ]);
    let hint = "hint: pass `--limit total_bytes=VALUE` to allow more, if you trust what is read";
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains(refused), "{}", ran.stderr);
    assert!(ran.stderr.contains(hint), "{}", ran.stderr);
    program.ok(&[
        "build",
        "context",
        "-t",
        "app",
        "--limit",
        "total_bytes=16m",
    ]);
}

#[test]
fn what_is_read_meets_the_limits() {
    let program = Program::new();
    program.write(
        "context/Dockerfile",
        "FROM scratch\nCOPY a b c /d/\nCMD [\"/d/a\"]\n",
    );
    for name in ["a", "b", "c"] {
        program.write(&format!("context/{name}"), name);
    }
    program.ok(&["build", "context", "-t", "app"]);
    program.ok(&["save", "app", "-o", "app.tar"]);
    let other = [
        "--root",
        "other",
        "unpack",
        "--rootless",
        "oci-archive:app.tar",
        "bundle",
    ];
    let check = |limit: &str, part: &str| {
        let ran = program.run(&[&other[..], &["--limit", limit]].concat());
        assert_eq!(ran.code, 1, "{limit}");
        assert!(ran.stderr.contains(part), "{limit}: {}", ran.stderr);
        assert!(!program.path("bundle").exists());
    };
    check("entries=3", "the limit `entries` of 3 is exceeded");
    check("path_bytes=2", "the limit `path_bytes` of 2 is exceeded");
    let ran = program.run(&[&other[..], &["--limit", "colour=3"]].concat());
    assert_eq!(ran.code, 2);
    assert!(
        ran.stderr.contains("there is no limit `colour`"),
        "{}",
        ran.stderr
    );
    program.ok(&[&other[..], &["--limit", "entries=1000"]].concat());
}

/// Wherever a document comes from, its limit is the one that the command line gives.
#[test]
fn documents_meet_their_limits_in_every_place() {
    let program = Program::with_base();
    program.ok(&["copy", "base", "oci:layout:v1"]);
    program.ok(&["save", "base", "-o", "oci.tar"]);
    program.ok(&["copy", "base", "docker-archive:docker.tar:base"]);
    let places = ["base", "oci:layout:v1", "oci-archive:oci.tar"];
    for place in places {
        for name in ["manifest_bytes", "config_bytes"] {
            refused(&program, &["inspect", place], name);
        }
        refused(&program, &["inspect", "--raw", place], "index_bytes");
        program.ok(&["inspect", place, "--limit", "manifest_bytes=1MiB"]);
    }
    let docker = "docker-archive:docker.tar:base";
    refused(&program, &["inspect", docker], "config_bytes");
    refused(&program, &["copy", "base", "oci:other"], "manifest_bytes");
    let validated = ["validate", "oci:layout", "--limit", "manifest_bytes=3"];
    let ran = program.run(&validated);
    assert_eq!(ran.code, 3);
    assert!(ran.stdout.contains("CNS-09"), "{}", ran.stdout);
}

/// Runs `args` with the limit `name` too low, and expects an error that names it.
#[track_caller]
fn refused(program: &Program, args: &[&str], name: &str) {
    let limit = format!("{name}=3");
    // What may be a manifest or an index has the larger of the two limits.
    let both = ["--limit", "manifest_bytes=3", "--limit", &limit];
    let more = if name == "index_bytes" {
        &both[..]
    } else {
        &both[2..]
    };
    let ran = program.run(&[args, more].concat());
    assert_eq!(ran.code, 1, "{args:?}: {}", ran.stderr);
    let hint = format!("hint: pass `--limit {name}=VALUE`");
    assert!(ran.stderr.contains(&hint), "{args:?}: {}", ran.stderr);
    assert!(
        ran.stderr.contains("the limit is 3"),
        "{args:?}: {}",
        ran.stderr
    );
}

/// The list that a wrong name gets, and the page, have every limit.
#[test]
fn every_limit_is_told_and_documented() {
    let program = Program::new();
    let ran = program.run(&["df", "--limit", "colour=3"]);
    let (_, list) = ran.stderr.split_once("there are ").unwrap();
    let mut told: Vec<&str> = list.lines().next().unwrap().split(", ").collect();
    let page = include_str!("../../../../docs/reference/limits.md");
    let row = |line: &'static str| line.strip_prefix("| `")?.split_once('`');
    let mut documented: Vec<&str> = page.lines().filter_map(row).map(|(name, _)| name).collect();
    told.sort_unstable();
    documented.sort_unstable();
    assert_eq!(told, documented);
}
