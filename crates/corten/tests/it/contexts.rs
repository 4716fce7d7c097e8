//! `corten build` with contexts that are no directory.

mod git;
mod http;
pub(crate) mod repositories;

use std::fs;
use std::process::Command;

use crate::program::{Program, Ran};

const DOCKERFILE: &str = "FROM base\nCOPY hello /srv/\n";

/// Returns a tar of a Dockerfile, another, and a file.
fn tar(program: &Program) -> Vec<u8> {
    program.write_tar(
        "context.tar",
        &[
            ("Dockerfile", DOCKERFILE.as_bytes(), 0o644),
            ("sub/other", b"FROM base\nCOPY hello /other/\n", 0o644),
            ("hello", b"hello\n", 0o640),
            (".dockerignore", b"hello\n", 0o644),
        ],
    );
    fs::read(program.path("context.tar")).unwrap()
}

/// Fails unless the image `app` has `text` at `path`.
#[track_caller]
fn check_file(program: &Program, path: &str, text: &str) {
    assert_eq!(program.ok(&["cat", "app", path]), text.trim_end());
}

/// Fails unless nothing that was fetched is left.
#[track_caller]
fn check_nothing_is_left(program: &Program) {
    let left: Vec<_> = match fs::read_dir(program.path("store/contexts")) {
        Ok(entries) => entries.map(|entry| entry.unwrap().file_name()).collect(),
        Err(_) => Vec::new(),
    };
    assert!(left.iter().all(|name| name == "lock"), "{left:?}");
}

const NOT_IGNORED: &str = "warning: the `.dockerignore` of the context is not used";

#[track_caller]
fn check_done(ran: &Ran) {
    assert_eq!(ran.code, 0, "{}", ran.stderr);
}

#[track_caller]
fn check_refused(ran: &Ran, code: i32, text: &str) {
    assert_eq!(ran.code, code, "{}", ran.stderr);
    assert!(ran.stderr.contains(text), "{}", ran.stderr);
}

#[test]
fn a_tar_on_standard_input_whatever_compresses_it() {
    for compressor in ["cat", "gzip", "bzip2", "xz", "zstd"] {
        let program = Program::with_base();
        let mut tar = tar(&program);
        if compressor != "cat" {
            let input = fs::File::open(program.path("context.tar")).unwrap();
            let output = Command::new(compressor).arg("-c").stdin(input).output();
            let output = output.unwrap_or_else(|error| panic!("{compressor}: {error}"));
            assert!(output.status.success(), "{compressor}");
            tar = output.stdout;
        }
        let ran = program.run_with_input(&["build", "-", "-t", "app"], &tar);
        check_done(&ran);
        assert!(ran.stderr.contains(NOT_IGNORED), "{}", ran.stderr);
        check_file(&program, "/srv/hello", "hello\n");
        check_nothing_is_left(&program);
    }
}

#[test]
fn a_tar_is_a_file_and_the_dockerfile_is_one_in_it() {
    let program = Program::with_base();
    tar(&program);
    check_done(&program.run(&["build", "context.tar", "-f", "sub/other", "-t", "app"]));
    check_file(&program, "/other/hello", "hello\n");
    check_refused(
        &program.run(&["build", "context.tar", "-f", "none"]),
        1,
        "`none` is not in the build context",
    );
    program.write("no.tar", "text");
    check_refused(
        &program.run(&["build", "no.tar"]),
        1,
        "cannot use the build context `no.tar`",
    );
}

#[test]
fn a_dockerfile_on_standard_input_has_an_empty_context() {
    let program = Program::with_base();
    let input = b"FROM base\nCOPY <<E /srv/hello\nhello\nE\n";
    check_done(&program.run_with_input(&["build", "-", "-t", "app"], input));
    check_file(&program, "/srv/hello", "hello\n");
    let input = DOCKERFILE.as_bytes();
    check_refused(
        &program.run_with_input(&["build", "-"], input),
        1,
        "`hello` is not in the build context",
    );
    check_refused(
        &program.run_with_input(&["build", "-", "-f", "x"], input),
        2,
        "there are two Dockerfiles",
    );
    check_refused(
        &program.run_with_input(&["build", "-", "-f", "-"], input),
        2,
        "standard input cannot be both",
    );
    check_refused(
        &program.run_with_input(&["build", "-"], b""),
        2,
        "standard input is empty",
    );
    // With a directory, only the Dockerfile comes from standard input.
    program.write("dir/hello", "hi\n");
    check_done(&program.run_with_input(&["build", "dir", "-f", "-", "-t", "app"], input));
    check_file(&program, "/srv/hello", "hi\n");
    check_nothing_is_left(&program);
}

#[test]
fn owners_of_a_tar_are_kept_as_buildkit_keeps_them() {
    let program = Program::with_base();
    program.write("dir/Dockerfile", DOCKERFILE);
    program.write("dir/hello", "hello\n");
    let packed = Command::new("tar")
        .args(["--owner=7", "--group=8", "-cf", "o.tar", "-C", "dir", "."])
        .current_dir(program.path(""))
        .status();
    assert!(packed.unwrap().success());
    check_done(&program.run(&["build", "o.tar", "-t", "app"]));
    let listed = program.ok(&["ls", "--format", "json", "app", "/srv/hello"]);
    assert!(listed.contains("\"uid\": 7"), "{listed}");
    assert!(listed.contains("\"gid\": 8"), "{listed}");
}

#[test]
fn the_ignore_file_beside_the_dockerfile_wins() {
    let program = Program::with_base();
    program.write("dir/.dockerignore", "hello\n");
    program.write("dir/hello", "hello\n");
    program.write("dir/secret", "s\n");
    program.write("files/my", "FROM base\nCOPY . /srv/\n");
    program.write("files/my.dockerignore", "secret\nDockerfile\n");
    check_done(&program.run(&["build", "dir", "-f", "files/my", "-t", "app"]));
    check_file(&program, "/srv/hello", "hello\n");
    check_refused(&program.run(&["cat", "app", "/srv/secret"]), 1, "secret");
    // A Dockerfile without one leaves it to the context; `dockerfile` will do, too.
    program.write("dir/dockerfile", "FROM base\nCOPY . /srv/\n");
    check_done(&program.run(&["build", "dir", "-t", "app"]));
    check_file(&program, "/srv/secret", "s\n");
    check_refused(&program.run(&["cat", "app", "/srv/hello"]), 1, "hello");
}

#[test]
fn the_ignore_file_of_a_named_directory_counts() {
    let program = Program::with_base();
    program.write("dir/Dockerfile", "FROM base\nCOPY --from=more . /srv/\n");
    program.write("more/.dockerignore", "secret\n");
    program.write("more/hello", "hello\n");
    program.write("more/secret", "s\n");
    check_done(&program.run(&["build", "dir", "--build-context", "more=more", "-t", "app"]));
    check_file(&program, "/srv/hello", "hello\n");
    check_refused(&program.run(&["cat", "app", "/srv/secret"]), 1, "secret");
}
