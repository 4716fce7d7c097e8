//! `corten kaniko`, and the program called `executor`.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use serde_json::Value;

use crate::program::Program;

const BASE: &str = "FROM base\nARG WHO\nCOPY . /srv/\nLABEL who=$WHO\n";

fn program() -> Program {
    let program = Program::with_base();
    program.write("dir/Dockerfile", BASE);
    program.write("dir/hello", "hello\n");
    program.write("dir/sub/Dockerfile", "FROM base\nCOPY deep /\n");
    program.write("dir/sub/deep", "deep\n");
    program
}

/// Runs the program by the name that kaniko's images have for it.
fn executor(program: &Program, args: &[&str]) -> Command {
    let mut command = program.command(args);
    command.arg0("/kaniko/executor");
    command
}

fn text(program: &Program, path: &str) -> String {
    fs::read_to_string(program.path(path)).unwrap()
}

#[test]
fn an_executor_builds_and_tells_what() {
    let program = program();
    let line = "--context dir --destination e.com/a:1 --no-push --tar-path=out/../a.tar --digest-file \
                made/digest --image-name-with-digest-file names --image-name-tag-with-digest-file tags \
                --build-arg WHO --label k=v --oci-layout-path layout --reproducible --cache=false";
    fs::create_dir(program.path("out")).unwrap();
    let args: Vec<_> = line.split_whitespace().collect();
    let output = executor(&program, &args).env("WHO", "me").output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let digest = text(&program, "made/digest");
    assert!(
        digest.starts_with("sha256:") && digest.len() == 71,
        "{digest}"
    );
    assert_eq!(text(&program, "names"), format!("e.com/a@{digest}\n"));
    assert_eq!(text(&program, "tags"), format!("e.com/a:1@{digest}\n"));
    let index = text(&program, "layout/index.json");
    assert!(index.contains(&digest), "{index}");
    let image: Value =
        serde_json::from_str(&program.ok(&["inspect", "--format", "json", "e.com/a:1"])).unwrap();
    let labels = &image["config"]["config"]["Labels"];
    assert_eq!(
        (&labels["who"], &labels["k"]),
        (&"me".into(), &"v".into()),
        "{image}"
    );
    assert_eq!(image["config"]["created"], "1970-01-01T00:00:00Z");
    program.ok(&["inspect", "docker-archive:a.tar:e.com/a:1"]);
    assert_eq!(program.ok(&["cat", "e.com/a:1", "/srv/hello"]), "hello");
}

#[test]
fn contexts_and_their_dockerfiles() {
    #[track_caller]
    fn check(program: &Program, args: &str, file: &str) {
        let line = format!("kaniko --no-push -d made {args}");
        program.ok(&line.split_whitespace().collect::<Vec<_>>());
        program.ok(&["cat", "made", file]);
    }
    let program = program();
    program.write_tar(
        "context.tar",
        &[
            ("Dockerfile", b"FROM base\nCOPY packed /\n", 0o644),
            ("packed", b"packed\n", 0o644),
        ],
    );
    program.write("Other", "FROM base\nCOPY hello /other\n");
    program.write("dir/.dockerignore", "sub\n");
    check(&program, "-c dir", "/srv/hello");
    assert_eq!(program.run(&["cat", "made", "/srv/sub/deep"]).code, 1);
    check(&program, "-c dir://dir --context-sub-path sub", "/deep");
    check(&program, "-c dir/sub -f dir/sub/Dockerfile", "/deep");
    check(&program, "-c dir -f Other", "/other");
    check(&program, "-c tar://context.tar", "/packed");
    let tar = fs::read(program.path("context.tar")).unwrap();
    let args = ["kaniko", "--no-push", "-d", "made", "-c", "tar://stdin"];
    let ran = program.run_with_input(&args, &tar);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
}

#[test]
fn what_has_no_effect_is_said_and_what_cannot_be_done_is_refused() {
    let program = program();
    let line = "kaniko -c dir --no-push --force --snapshot-mode=redo --use-new-run=false --cleanup \
                --single-snapshot=false --skip-unused-stages";
    let ran = program.run(&line.split_whitespace().collect::<Vec<_>>());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    for flag in ["--force", "--snapshot-mode", "--use-new-run", "--cleanup"] {
        let said = format!("`{flag}` is without effect: ");
        assert_eq!(
            ran.stderr.matches(&said).count(),
            1,
            "{flag}: {}",
            ran.stderr
        );
    }
    assert!(!ran.stderr.contains("single-snapshot"), "{}", ran.stderr);
    let refused = program.run(&["kaniko", "-c", "dir", "--no-push", "--single-snapshot"]);
    refused.is(
        2,
        "",
        "error: `--single-snapshot` is not done: each step that changes files makes its own layer\n\
         hint: use `corten squash --from BASE NAME` after the build",
    );
    let refused = program.run(&[
        "kaniko",
        "-c",
        "dir",
        "--no-push",
        "--skip-unused-stages=false",
    ]);
    refused.is(
        2,
        "",
        "error: `--skip-unused-stages=false` cannot be done: only what is needed is built",
    );
    let refused = program.run(&["kaniko", "-c", "dir", "--no-push", "--no-such-flag"]);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    let refused = program.run(&["kaniko", "-c", "dir", "--no-push", "--custom-platform", "x"]);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(refused.stderr.contains("--platform"), "{}", refused.stderr);
}

#[test]
fn the_directory_of_kaniko_has_images_and_credentials() {
    let program = program();
    program.write("scratch/Dockerfile", "FROM scratch\nCOPY file /\n");
    program.write("scratch/file", "");
    let own = program.path("own").display().to_string();
    let status = executor(&program, &["-c", "scratch", "--no-push"])
        .env("KANIKO_DIR", &own)
        .status();
    assert!(status.unwrap().success());
    assert!(program.path("own/corten/oci-layout").exists());
}
