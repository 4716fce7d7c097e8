//! `corten build` with contexts that are no directory.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

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

/// Serves the files below `root` by HTTP, and returns the URL; `/moved/PATH` redirects to `/PATH`.
fn serve(root: &Path) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let root = root.to_owned();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            answer(stream.unwrap(), &root);
        }
    });
    url
}

fn answer(mut stream: TcpStream, root: &Path) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).unwrap_or(0) == 0 {
            return;
        }
        request.push(byte[0]);
    }
    let request = String::from_utf8(request).unwrap();
    let path = request.split(' ').nth(1).unwrap();
    let path = path.split('?').next().unwrap().trim_start_matches('/');
    // `user:secret` in Base64.
    let is_known = request.contains("Basic dXNlcjpzZWNyZXQ=");
    let answer = if path.starts_with("private/") && !is_known {
        b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n".to_vec()
    } else if let Some(to) = path.strip_prefix("moved/") {
        format!("HTTP/1.1 302 Found\r\nLocation: /{to}\r\nContent-Length: 0\r\n").into_bytes()
    } else if let Ok(file) = fs::read(root.join(path)) {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n", file.len());
        [head.as_bytes(), b"Connection: close\r\n\r\n", &file].concat()
    } else {
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n".to_vec()
    };
    let has_body = answer.starts_with(b"HTTP/1.1 200");
    let end: &[u8] = if has_body {
        b""
    } else {
        b"Connection: close\r\n\r\n"
    };
    // The client may have had enough.
    stream.write_all(&[&answer, end].concat()).ok();
}

#[test]
fn contexts_by_http() {
    let program = Program::with_base();
    tar(&program);
    program.write("alone", "FROM base\nCOPY context /srv/\n");
    let url = serve(&program.path(""));
    check_done(&program.run(&["build", &format!("{url}/moved/context.tar"), "-t", "app"]));
    check_file(&program, "/srv/hello", "hello\n");
    // What is no tar is a Dockerfile, and the only file of its context.
    check_done(&program.run(&["build", &format!("{url}/alone"), "-t", "app"]));
    check_file(&program, "/srv/context", "FROM base\nCOPY context /srv/\n");
    // A Dockerfile alone may be fetched as well, and so may a named context.
    program.write("dir/hello", "hi\n");
    program.write(
        "named",
        "FROM base\nCOPY --from=n context /srv/named\nCOPY hello /srv/\n",
    );
    let file = format!("{url}/named?token=secret");
    let named = format!("n={url}/alone");
    check_done(&program.run(&[
        "build",
        "dir",
        "-f",
        &file,
        "--build-context",
        &named,
        "-t",
        "app",
    ]));
    check_file(&program, "/srv/named", "FROM base\nCOPY context /srv/\n");
    check_file(&program, "/srv/hello", "hi\n");
    let absent = program.run(&["build", &format!("{url}/absent?token=secret")]);
    check_refused(&absent, 1, "the server answered with status 404");
    assert!(!absent.stderr.contains("secret"), "{}", absent.stderr);
    check_nothing_is_left(&program);
}

#[test]
fn contexts_by_http_with_a_password() {
    let program = Program::with_base();
    let tar = tar(&program);
    fs::create_dir(program.path("private")).unwrap();
    fs::File::create(program.path("private/tar"))
        .unwrap()
        .write_all(&tar)
        .unwrap();
    program.write("private/file", "FROM base\nCOPY --from=n context /srv/\n");
    let url = serve(&program.path(""));
    let known = url.replace("http://", "http://user:secret@");
    check_done(&program.run(&["build", &format!("{known}/private/tar"), "-t", "app"]));
    check_file(&program, "/srv/hello", "hello\n");
    program.write("dir/hello", "hi\n");
    let file = format!("{known}/moved/private/file");
    let named = format!("n={known}/private/file");
    let place = ["build", "dir", "-t", "app"];
    check_done(&program.run(&[&place[..], &["-f", &file, "--build-context", &named]].concat()));
    let absent = format!("{}/private/tar", known.replace("secret", "hidden"));
    let refused = program.run(&["build", &absent]);
    check_refused(&refused, 1, "the server answered with status 401");
    assert!(!refused.stderr.contains("hidden"), "{}", refused.stderr);
}

/// Runs git in `directory`.
pub(crate) fn git(directory: &Path, args: &[&str]) -> String {
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

/// Makes a repository `outer` with the submodule `inner`, which is `../repo`.
fn repository_with_submodule(program: &Program) {
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
        git(&program.path(""), &["clone", "-q", "--bare", from, to]);
        git(&program.path(to), &["update-server-info"]);
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
    git(
        &program.path(""),
        &["clone", "-q", "--bare", "repo", "bare.git"],
    );
    git(&program.path("bare.git"), &["update-server-info"]);
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
