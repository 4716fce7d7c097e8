//! `corten build`, without RUN.

use std::fs;

use crate::program::Program;

fn program() -> Program {
    let program = Program::with_base();
    program.write(
        "context/Dockerfile",
        "FROM base\nARG who=you\nCOPY hello /srv/\nLABEL who=$who\n",
    );
    program.write("context/hello", "hello\n");
    program
}

#[test]
fn a_build_is_told_line_by_line_and_cached() {
    let program = program();
    let steps = |cached: &str| {
        format!(
            "#1 [stage-0 1/3] ARG who=you
#1 DONE
#2 [stage-0 2/3] COPY hello /srv/
#2 {cached}
#3 [stage-0 3/3] LABEL who=$who
#3 DONE"
        )
    };
    let args = [
        "build",
        "context",
        "-t",
        "app",
        "-t",
        "r.example/app:2",
        "--timestamp",
        "2000",
    ];
    program.run(&args).is(0, "[DIGEST]", &steps("DONE"));
    program.run(&args).is(0, "[DIGEST]", &steps("CACHED"));
    assert_eq!(program.ok(&["images", "-q"]).lines().count(), 3);
}

#[test]
fn a_build_with_a_timestamp_repeats_bit_for_bit() {
    let build = |epoch: Option<&str>, args: &[&str]| {
        let program = program();
        let mut command =
            program.command(&[&["-q", "build", "context", "--iidfile", "id"], args].concat());
        if let Some(epoch) = epoch {
            command.env("SOURCE_DATE_EPOCH", epoch);
        }
        let output = command.output().unwrap();
        assert!(
            output.stderr.is_empty(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let id = fs::read_to_string(program.path("id")).unwrap();
        assert!(id.starts_with("sha256:") && !id.ends_with('\n'), "{id:?}");
        (String::from_utf8(output.stdout).unwrap(), id)
    };
    let expected = build(None, &["--timestamp", "2000"]);
    assert_eq!(build(Some("2000"), &[]), expected);
    assert_eq!(
        build(Some("1"), &["--timestamp", "1970-01-01T00:33:20Z"]),
        expected
    );
    assert_eq!(
        build(Some("1"), &["--build-arg", "SOURCE_DATE_EPOCH=2000"]),
        expected
    );
}

#[test]
fn results_go_where_outputs_say() {
    let program = program();
    program.ok(&[
        "build",
        "context",
        "-t",
        "app",
        "--build-arg",
        "who=me",
        "-o",
        "type=oci,dest=oci.tar",
        "-o",
        "type=docker,dest=docker.tar",
        "-o",
        "type=local,dest=root",
        "-o",
        "type=tar,dest=root.tar",
        "-o",
        "oci-layout,dest=layout",
    ]);
    assert_eq!(
        fs::read_to_string(program.path("root/srv/hello")).unwrap(),
        "hello\n"
    );
    assert_eq!(
        fs::read_to_string(program.path("root/etc/motd")).unwrap(),
        "hello\n"
    );
    assert!(program.path("root.tar").exists());
    let raw = program.ok(&["inspect", "app", "--raw"]);
    for place in [
        "oci-archive:oci.tar:app",
        "docker-archive:docker.tar:app",
        "oci:layout:app",
    ] {
        assert_eq!(program.ok(&["inspect", place, "--raw"]), raw, "{place}");
    }
    assert!(
        program
            .ok(&["inspect", "app"])
            .contains("label       who=me")
    );
    program
        .run(&["validate", "app"])
        .is(0, "", "`docker.io/library/app:latest` is valid");
}

#[test]
fn messages_about_the_dockerfile_are_drawn() {
    let program = program();
    program
        .run_with_input(&["build", "-f", "-", "context"], b"FROM base\nRNU x\n")
        .is(
            1,
            "",
            "error: unknown instruction `RNU`
 --> <stdin>:2:1
  |
2 | RNU x
  | ^^^ did you mean `RUN`?",
        );
    program.write("context/other.dockerfile", "FROM base\nCOPY absent /\n");
    program
        .run(&["-q", "build", "-f", "context/other.dockerfile", "context"])
        .is(
            1,
            "",
            "error: `absent` is not in the build context
 --> context/other.dockerfile:2:6
  |
2 | COPY absent /
  |      ^^^^^^",
        );
}

#[test]
fn the_ignore_file_beside_the_dockerfile_wins() {
    let program = program();
    program.write("context/.dockerignore", "nothing\n");
    program.write("context/Dockerfile.dockerignore", "# comment\nhel*\n");
    let ran = program.run(&["-q", "build", "context"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(
        ran.stderr
            .contains("`Dockerfile.dockerignore` line 2, `hel*`"),
        "{ran:?}"
    );
}

#[test]
fn named_contexts_come_before_everything_else() {
    let program = program();
    program.write("other/hello", "from elsewhere\n");
    program.write(
        "context/Dockerfile",
        "FROM nowhere.example/other AS other\nRUN false\nFROM nowhere.example/base\nCOPY --from=other hello /\n",
    );
    program.ok(&[
        "build",
        "context",
        "-o",
        "out/",
        "--build-context",
        "other=other",
        "--build-context",
        "nowhere.example/base=docker-image://base",
        "-o",
        "type=local,dest=out2",
    ]
    .map(|arg| if arg == "out/" { "./out" } else { arg }));
    assert_eq!(
        fs::read_to_string(program.path("out/hello")).unwrap(),
        "from elsewhere\n"
    );
    assert_eq!(
        fs::read_to_string(program.path("out2/etc/motd")).unwrap(),
        "hello\n"
    );
}

#[test]
fn what_is_not_here_is_not_pulled_when_told_so() {
    let program = program();
    program.write("context/Dockerfile", "FROM absent\n");
    program.run(&["build", "--pull=never", "context"]).is(
        1,
        "",
        "error: cannot get the image `absent`
  caused by: `docker.io/library/absent:latest` is not in the store `[DIR]/store`",
    );
    program
        .run(&["build", "absent"])
        .is(1, "", "error: the build context `absent` does not exist");
}

#[test]
fn a_check_builds_nothing_and_fails_on_findings() {
    let program = program();
    program.write("context/Dockerfile", "FROM base AS Base\nENV a b\n");
    program.run(&["build", "--check", "context"]).is(
        1,
        "Check complete, 2 warnings have been found!

WARNING: StageNameCasing - https://docs.docker.com/go/dockerfile/rule/stage-name-casing/
Stage name 'Base' should be lowercase
Dockerfile:1
--------------------
   1 | >>> FROM base AS Base
   2 |     ENV a b
   3 |     \n--------------------

WARNING: LegacyKeyValueFormat - https://docs.docker.com/go/dockerfile/rule/legacy-key-value-format/
\"ENV key=value\" should be used instead of legacy \"ENV key value\" format
Dockerfile:2
--------------------
   1 |     FROM base AS Base
   2 | >>> ENV a b
   3 |     \n--------------------",
        "",
    );
    let none = "Check complete, no warnings found.";
    program
        .run(&["build", "--check=skip=all", "context"])
        .is(0, none, "");
    let json = program.run(&["build", "--check", "--check-format", "json", "context"]);
    assert!(
        json.stdout
            .contains("\"ruleName\": \"LegacyKeyValueFormat\"")
    );
}

#[test]
fn a_finding_that_is_an_error_stops_the_build() {
    let program = program();
    program.write("context/Dockerfile", "FROM base AS Base\nCOPY hello /\n");
    let strict = "BUILDKIT_DOCKERFILE_CHECK=error=true";
    program
        .run(&["build", "--build-arg", strict, "context"])
        .is(
            1,
            "",
            "error: StageNameCasing: Stage name 'Base' should be lowercase
 --> Dockerfile:1:1
  |
1 | FROM base AS Base
  | ^^^^^^^^^^^^^^^^^
hint: the check option `error=true` makes this an error; see https://docs.docker.com/go/dockerfile/rule/stage-name-casing/",
        );
}

#[test]
fn a_plan_is_printed_without_looking_for_images() {
    let program = program();
    program.write(
        "context/Dockerfile",
        "FROM nowhere.example/x AS a\nFROM scratch\nCOPY hello /\n",
    );
    program
        .run(&[
            "build",
            "--print-plan",
            "--platform",
            "linux/amd64",
            "context",
        ])
        .is(
            0,
            "1: a (skipped) from nowhere.example/x for linux/amd64
2: stage-1 (target) from scratch for linux/amd64
     3  COPY hello /",
            "",
        );
}
