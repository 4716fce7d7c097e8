//! Help, usage errors and what needs no store.

use crate::program::Program;

#[test]
fn version_is_printed_for_people_and_programs() {
    let program = Program::new();
    let text = program.ok(&["version"]);
    assert!(
        text.starts_with(concat!("corten ", env!("CARGO_PKG_VERSION"), " (linux/")),
        "{text}"
    );
    let json: serde_json::Value =
        serde_json::from_str(&program.ok(&["version", "--format", "json"])).unwrap();
    assert_eq!(json["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn every_command_has_help() {
    let program = Program::new();
    let help = program.ok(&["--help"]);
    for verb in [
        "build",
        "run",
        "pull",
        "push",
        "copy",
        "save",
        "load",
        "import",
        "images",
        "tag",
        "rm",
        "gc",
        "inspect",
        "validate",
        "unpack",
        "repack",
        "login",
        "logout",
        "doctor",
        "completion",
        "version",
    ] {
        assert!(help.contains(&format!("\n  {verb} ")), "{verb}: {help}");
        let own = program.ok(&[verb, "--help"]);
        assert!(own.contains("Usage: corten"), "{own}");
    }
}

#[test]
fn wrong_usage_ends_with_2() {
    #[track_caller]
    fn check(args: &[&str], expected: &str) {
        let ran = Program::new().run(args);
        assert_eq!(ran.code, 2, "{args:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(expected), "{args:?}: {}", ran.stderr);
    }
    check(&["bild"], "a similar subcommand exists: 'build'");
    check(&["copy", "dir:x", "oci:y"], "`dir:` is not supported yet");
    let other = "`oci:` begins another place than the local store";
    check(&["tag", "a", "oci:out"], other);
    check(&["flatten", "a", "oci:out"], other);
    check(&["squash", "--layers", "1", "a", "oci:out"], other);
    check(&["import", "a.tar", "--tag", "oci:out"], other);
    check(&["repack", "bundle", "oci:out"], other);
    check(&["build", ".", "-t", "oci:out"], other);
    check(&["load", "-t", "oci:out"], other);
    check(&["save", "oci:out"], other);
    check(&["push", "oci:out"], other);
    check(&["rm", "oci:out"], other);
    check(&["tag", "oci:out", "a"], other);
    let name = "the local store; `docker.io/library/docker-archive:x` is a name";
    check(&["build", ".", "-t", "docker-archive:x"], name);
    check(
        &["tag", "a", "docker://x"],
        "`docker:` begins another place than the local store\n",
    );
    let ran = Program::new().run(&["tag", "a", "docker.io/library/oci:out"]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    check(&["inspect", "Debian"], "is not an image reference");
    check(&["build", "-"], "standard input is empty");
    check(
        &["build", "https://x.example/a.git?x=1"],
        "cannot use the git repository `https://x.example/a.git`: `x` is not known",
    );
    check(
        &["build", ".", "-o", "type=nix"],
        "`nix` is not a kind of output; known are `image`",
    );
    check(
        &["build", ".", "--build-context", "a"],
        "expected `NAME=PLACE`",
    );
    check(
        &["login", "ghcr.io", "-u", "me", "--password-stdin"],
        "there is no password on standard input",
    );
    check(
        &["pull", "oci:x"],
        "hint: `corten copy` takes images from anywhere",
    );
    check(
        &["copy", "--all", "oci:x", "docker-archive:y"],
        "has one platform",
    );
    check(&["-q", "--verbose", "images"], "cannot be used with");
}

#[test]
fn completion_is_a_script() {
    assert!(
        Program::new()
            .ok(&["completion", "bash"])
            .contains("complete -F _corten")
    );
}

#[test]
fn doctor_names_the_store_and_the_tier() {
    let ran = Program::new().run(&["doctor"]);
    assert!(
        ran.stdout
            .starts_with("store: [DIR]/store\nprocesses are isolated: "),
        "{ran:?}"
    );
}

#[test]
fn credentials_are_kept_and_forgotten() {
    let program = Program::new();
    program.write(
        "home/.docker/config.json",
        r#"{"auths":{"r.example":{"auth":"bWU6aHVudGVyMg=="}}}"#,
    );
    program.run(&["logout", "r.example"]).is(
        0,
        "",
        "removed the credentials for `r.example` from `[DIR]/home/.docker/config.json`",
    );
    program
        .run(&["logout", "r.example"])
        .is(0, "", "there were no credentials for `r.example`");
}
