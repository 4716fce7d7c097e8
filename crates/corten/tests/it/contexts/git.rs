//! Contexts from git.

use std::fs;
use std::path::Path;

use super::http::serve;
use super::repositories::{clone_bare, git, repository, repository_with_submodule, serve_git};
use super::{check_done, check_file, check_nothing_is_left, check_refused};
use crate::program::Program;

#[test]
fn git_repositories() {
    let program = Program::with_base();
    let first = repository(&program);
    let url = format!("{}/repo", serve_git(&program.path("")));
    let check = |rest: &str, expected: &str| {
        check_done(&program.run(&["build", &format!("{url}{rest}"), "-t", "app"]));
        let found = program.ok(&["cat", "app", "/srv/hello"]);
        assert_eq!(found, expected.trim_end(), "{rest}");
        check_nothing_is_left(&program);
    };
    check("", "two\n");
    check("#other", "other\n");
    check("#v1", "one\n");
    check("#refs/tags/v1", "one\n");
    check(&format!("#{first}"), "one\n");
    check("#:sub", "sub\n");
    check("?branch=other&subdir=sub", "sub\n");
    check(
        &format!("?tag=v1&checksum={}", first.get(..12).unwrap()),
        "one\n",
    );
    check(
        &format!("?fetch-by-commit=1&ref=main&checksum={first}"),
        "one\n",
    );
    // Whether it is a branch or a tag is not asked.
    check(
        &format!("?fetch-by-commit=1&ref=v1&checksum={first}"),
        "one\n",
    );
    let refused = |rest: &str, code: i32, text: &str| {
        check_refused(
            &program.run(&["build", &format!("{url}{rest}")]),
            code,
            text,
        );
        check_nothing_is_left(&program);
    };
    refused("#none", 1, "it has no branch, tag or reference `none`");
    refused("#:link", 1, "`link` is not a directory of the repository");
    refused("#:none", 1, "`none` is not a directory of the repository");
    refused(
        "?ref=other&checksum=abcd",
        3,
        "the commit is not the one that was asked for",
    );
    refused(
        "#--upload-pack=touch${IFS}x",
        2,
        "a reference cannot begin with `-`",
    );
    refused(&format!("#{}", "1".repeat(40)), 1, "it has no commit");
}

#[test]
fn git_directories_stay_where_that_is_asked_for() {
    let program = Program::with_base();
    repository(&program);
    let url = format!("{}/repo", serve_git(&program.path("")));
    program.write("all", "FROM base\nCOPY . /srv/\n");
    let all = program.path("all");
    let build = |rest: &str, args: &[&str]| {
        let context = format!("{url}{rest}");
        let fixed = ["build", &context, "-t", "app", "-f", all.to_str().unwrap()];
        check_done(&program.run(&[&fixed[..], args].concat()));
        program.run(&["cat", "app", "/srv/.git/config"])
    };
    assert_eq!(build("", &[]).code, 1);
    let kept = build("?keep-git-dir=true", &[]);
    assert_eq!(kept.code, 0);
    assert!(!kept.stdout.contains("contexts"), "{}", kept.stdout);
    assert_eq!(
        build("", &["--build-arg", "BUILDKIT_CONTEXT_KEEP_GIT_DIR=1"]).code,
        0
    );
}

#[test]
fn git_submodules_come_along() {
    let program = Program::with_base();
    repository(&program);
    let url = serve_git(&program.path(""));
    let path = program.path("outer");
    program.write("outer/Dockerfile", "FROM base\nCOPY . /srv/\n");
    git(&path, &["init", "-q"]);
    git(
        &path,
        &["submodule", "add", "-q", &format!("{url}/repo"), "inner"],
    );
    git(&path, &["add", "."]);
    git(&path, &["commit", "-q", "-m", "one"]);
    check_done(&program.run(&["build", &format!("{url}/outer"), "-t", "app"]));
    check_file(&program, "/srv/inner/hello", "two\n");
    assert_eq!(program.run(&["cat", "app", "/srv/inner/.git"]).code, 1);
    let without = format!("{url}/outer?submodules=false");
    check_done(&program.run(&["build", &without, "-t", "app"]));
    assert_eq!(program.run(&["cat", "app", "/srv/inner/hello"]).code, 1);
}

#[test]
fn git_submodules_may_be_relative() {
    let program = Program::with_base();
    repository_with_submodule(&program);
    let url = format!("{}/outer", serve_git(&program.path("")));
    check_done(&program.run(&["build", &url, "-t", "app"]));
    check_file(&program, "/srv/inner/hello", "two\n");
}

/// A git directory that is kept tells nothing of the machine: no password, no reflog.
#[test]
fn git_directories_that_stay_tell_nothing() {
    let program = Program::with_base();
    repository_with_submodule(&program);
    for (from, to) in [("repo", "served/repo"), ("outer", "served/outer.git")] {
        clone_bare(&program, from, to);
    }
    let url = serve(&program.path("served")).replace("http://", "http://user:secret@");
    let context = format!("{url}/outer.git?keep-git-dir=true");
    let ran = program.run(&["build", &context, "-t", "app"]);
    check_done(&ran);
    check_file(&program, "/srv/inner/hello", "two\n");
    let listed = program.ok(&["ls", "--recursive", "app", "/srv/.git"]);
    assert!(listed.contains("modules/inner/config"), "{listed}");
    assert!(!listed.contains("logs"), "{listed}");
    assert!(!listed.contains("FETCH_HEAD"), "{listed}");
    for config in ["config", "modules/inner/config"] {
        let text = program.ok(&["cat", "app", &format!("/srv/.git/{config}")]);
        assert!(text.contains("/repo"), "{config}: {text}");
        assert!(!text.contains("secret"), "{config}: {text}");
    }
}

#[test]
fn git_has_no_settings_of_the_machine() {
    use std::os::unix::fs::PermissionsExt as _;
    let program = Program::with_base();
    let script = "#!/bin/sh\n{ echo \"$@\"; env; } >ssh.log\nexit 1\n";
    let log = program.path("ssh.log");
    program.write("bin/ssh", &script.replace("ssh.log", log.to_str().unwrap()));
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(program.path("bin/ssh"), mode).unwrap();
    let path = format!("{}:/usr/bin:/bin", program.path("bin").display());
    let mut command = program.command(&["build", "ssh://git@h.invalid/a.git"]);
    let output = command.env("PATH", path).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = fs::read_to_string(log).unwrap();
    assert!(told.starts_with("-F /dev/null "), "{told}");
    for name in ["GIT_ATTR_NOSYSTEM=1", "GIT_CONFIG_NOSYSTEM=1"] {
        assert!(told.lines().any(|line| line == name), "{name}: {told}");
    }
}

#[test]
fn git_by_plain_http_and_as_a_named_context() {
    let program = Program::with_base();
    repository(&program);
    clone_bare(&program, "repo", "bare.git");
    let url = serve(&program.path("")).replace("http://", "http://user:secret@");
    program.write("dir/Dockerfile", "FROM base\nCOPY --from=r hello /srv/\n");
    let named = format!("r={url}/bare.git#other");
    let mut command = program.command(&["build", "dir", "--build-context", &named, "-t", "app"]);
    // What the user's environment says about git is not for this.
    command
        .env("GIT_DIR", "/nonexistent")
        .env("GIT_SSH_COMMAND", "false");
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(!said.contains("secret"), "{said}");
    check_file(&program, "/srv/hello", "other\n");
    let absent = program.run(&["build", &format!("{url}/absent.git")]);
    check_refused(&absent, 1, "cannot check out the git repository");
    assert!(!absent.stderr.contains("secret"), "{}", absent.stderr);
}

#[test]
fn a_missing_git_is_told() {
    let program = Program::with_base();
    let mut command = program.command(&["build", "https://example.invalid/a.git"]);
    let shell = Path::new("/bin/sh");
    let directory = program.path("bin");
    fs::create_dir(&directory).unwrap();
    std::os::unix::fs::symlink(shell, directory.join("sh")).unwrap();
    let output = command.env("PATH", &directory).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("the program `git` is not there"), "{said}");
    assert!(said.contains("hint: install git"), "{said}");
}
