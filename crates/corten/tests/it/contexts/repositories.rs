//! Git repositories, and who serves them.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use super::DOCKERFILE;
use crate::program::Program;

/// Runs git in `directory`.
pub(super) fn git(directory: &Path, args: &[&str]) -> String {
    let mut command = Command::new("git");
    command.args(["-c", "user.name=a", "-c", "user.email=a@example"]);
    command.args([
        "-c",
        "init.defaultBranch=main",
        "-c",
        "protocol.file.allow=always",
    ]);
    command.args(args).current_dir(directory);
    command.env("GIT_CONFIG_GLOBAL", "/dev/null");
    command.env("GIT_COMMITTER_DATE", "2001-02-03T04:05:06Z");
    let output = command.output().expect("git is installed");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "git {args:?}: {said}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Makes a repository `repo` with the tag `v1`, the branches `main` and `other`, and a directory that
/// is a context as well.
pub(crate) fn repository(program: &Program) -> String {
    let path = program.path("repo");
    program.write("repo/Dockerfile", DOCKERFILE);
    program.write("repo/hello", "one\n");
    program.write("repo/sub/Dockerfile", DOCKERFILE);
    program.write("repo/sub/hello", "sub\n");
    std::os::unix::fs::symlink("/etc", path.join("link")).unwrap();
    git(&path, &["init", "-q"]);
    git(&path, &["add", "."]);
    git(&path, &["commit", "-q", "-m", "one"]);
    git(&path, &["tag", "-a", "v1", "-m", "v1"]);
    let first = git(&path, &["rev-parse", "HEAD"]);
    program.write("repo/hello", "two\n");
    git(&path, &["commit", "-q", "-a", "-m", "two"]);
    git(&path, &["checkout", "-q", "-b", "other"]);
    program.write("repo/hello", "other\n");
    git(&path, &["commit", "-q", "-a", "-m", "other"]);
    git(&path, &["checkout", "-q", "main"]);
    first
}

/// Makes a repository `outer` with the submodule `inner`, which is `../repo`.
pub(super) fn repository_with_submodule(program: &Program) {
    repository(program);
    let path = program.path("outer");
    program.write("outer/Dockerfile", "FROM base\nCOPY . /srv/\n");
    program.write(
        "outer/.gitmodules",
        "[submodule \"inner\"]\n\tpath = inner\n\turl = ../repo\n",
    );
    git(&path, &["init", "-q"]);
    let commit = git(&program.path("repo"), &["rev-parse", "main"]);
    let entry = format!("160000,{commit},inner");
    git(&path, &["add", "."]);
    git(&path, &["update-index", "--add", "--cacheinfo", &entry]);
    git(&path, &["commit", "-q", "-m", "one"]);
}

/// Makes `to`, a clone of the repository `from` that whoever serves files can serve.
pub(crate) fn clone_bare(program: &Program, from: &str, to: &str) {
    git(&program.path(""), &["clone", "-q", "--bare", from, to]);
    git(&program.path(to), &["update-server-info"]);
}

/// Serves the repositories below `root` by git's own protocol, and returns the URL.
pub(crate) fn serve_git(root: &Path) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("git://{}", listener.local_addr().unwrap());
    let root = root.to_owned();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            let output: std::os::fd::OwnedFd = stream.try_clone().unwrap().into();
            let input: std::os::fd::OwnedFd = stream.into();
            let mut daemon = Command::new("git");
            daemon.args(["daemon", "--inetd", "--export-all"]);
            daemon.arg(format!("--base-path={}", root.display()));
            // Repositories of root are served by root.
            daemon.env("GIT_CONFIG_COUNT", "1");
            daemon.env("GIT_CONFIG_KEY_0", "safe.directory");
            daemon.env("GIT_CONFIG_VALUE_0", "*");
            daemon.stdin(Stdio::from(input)).stdout(Stdio::from(output));
            daemon.stderr(Stdio::null()).status().unwrap();
        }
    });
    url
}
