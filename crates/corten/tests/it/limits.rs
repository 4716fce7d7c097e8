//! What a layer may ask for, and the flag that changes it.

use std::fs::File;

use crate::program::Program;

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
