//! `corten build` of Dockerfiles that ADD from addresses: a server for files, and git's own.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt as _;
use std::sync::{Arc, Mutex};

use rustix::process::{Pid, Signal, kill_process};

use crate::contexts::repositories::{repository, serve_git};
use crate::program::{Program, Ran};

type Log = Arc<Mutex<Vec<String>>>;

/// Serves some files, and returns where, with the paths and answers to come.
fn serve_files() -> (String, Log) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = listener.local_addr().unwrap().to_string();
    let log = Log::default();
    let served = Arc::clone(&log);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let served = Arc::clone(&served);
            std::thread::spawn(move || while answer(stream.as_ref().unwrap(), &served) {});
        }
    });
    (place, log)
}

/// Answers one request; returns whether another may come.
fn answer(stream: &TcpStream, log: &Log) -> bool {
    let mut lines = BufReader::new(stream).lines();
    let Some(Ok(first)) = lines.next() else {
        return false;
    };
    let headers: Vec<String> = lines
        .map_while(Result::ok)
        .take_while(|line| !line.is_empty())
        .map(|line| line.to_ascii_lowercase())
        .collect();
    let path = first.split(' ').nth(1).unwrap_or_default();
    let has = |header: &str| headers.iter().any(|line| line == header);
    let file = "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
    let (status, more, body) = match path {
        "/a.txt" if has("if-none-match: \"1\"") => ("304 Not Modified", String::new(), ""),
        "/a.txt" => ("200 OK", format!("ETag: \"1\"\r\n{file}"), "hello\n"),
        "/moved" => ("302 Found", "Location: /a.txt\r\n".to_owned(), ""),
        "/loop" => ("302 Found", "Location: /loop\r\n".to_owned(), ""),
        // `user:p@ss` in Base64.
        "/secret" if has("authorization: basic dxnlcjpwqhnz") => {
            ("200 OK", file.to_owned(), "secret\n")
        }
        "/secret" => ("401 Unauthorized", String::new(), ""),
        _ => ("404 Not Found", String::new(), ""),
    };
    log.lock()
        .unwrap()
        .push(format!("{path} {}", status.split_at(3).0));
    let length = body.len();
    write!(
        &mut &*stream,
        "HTTP/1.1 {status}\r\n{more}Content-Length: {length}\r\n\r\n{body}"
    )
    .is_ok()
}

fn build(program: &Program, lines: &str) -> Ran {
    program.write("context/Dockerfile", &format!("FROM base\n{lines}\n"));
    let context = program.path("context");
    program.run(&["build", "-t", "app", context.to_str().unwrap()])
}

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
fn files() {
    let program = Program::with_base();
    std::fs::create_dir(program.path("context")).unwrap();
    let (place, log) = serve_files();
    let asked = || std::mem::take(&mut *log.lock().unwrap());
    let add = format!("ADD http://{place}/a.txt /srv/");
    check_done(&build(&program, &add));
    assert_eq!(program.ok(&["cat", "app", "/srv/a.txt"]), "hello");
    assert_eq!(asked(), ["/a.txt 200"]);
    let again = build(&program, &add);
    check_done(&again);
    assert!(again.stderr.contains("CACHED"), "{}", again.stderr);
    assert_eq!(asked(), ["/a.txt 304"]);
    check_done(&build(
        &program,
        &format!("ADD http://{place}/moved /srv/m"),
    ));
    assert_eq!(asked(), ["/moved 302", "/a.txt 200"]);
    check_done(&build(
        &program,
        &format!("ADD http://user:p%40ss@{place}/secret /s"),
    ));
    assert_eq!(program.ok(&["cat", "app", "/s"]), "secret");

    let wrong = format!(
        "ADD --checksum=sha256:{} http://{place}/a.txt /x",
        "0".repeat(64)
    );
    check_refused(&build(&program, &wrong), 3, "does not match its digest");
    let refused = build(
        &program,
        &format!("ADD http://user:hidden@{place}/secret /x"),
    );
    check_refused(&refused, 1, "the server answered with status 401");
    assert!(!refused.stderr.contains("hidden"), "{}", refused.stderr);
    let endless = build(&program, &format!("ADD http://{place}/loop /x"));
    check_refused(&endless, 1, "there are more than 10 redirects");
    let absent = build(&program, &format!("ADD http://{place}/none /x"));
    check_refused(&absent, 1, "the server answered with status 404");
}

/// Whatever ends the build ends git, which waits for a server that says nothing.
#[test]
fn a_stalled_clone_ends_with_the_build() {
    let program = Program::with_base();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = listener.local_addr().unwrap();
    let stalled = format!("ADD git://{place}/a.git /srv\n");
    // A stage fails, once git waits.
    let failing = TcpListener::bind("127.0.0.1:0").unwrap();
    let file = format!("ADD http://{}/a /a\n", failing.local_addr().unwrap());
    let last = "FROM base\nCOPY --from=a /a /a\nCOPY --from=b /srv /srv\n";
    program.write(
        "context/Dockerfile",
        &format!("FROM base AS a\n{file}FROM base AS b\n{stalled}{last}"),
    );
    let start = || {
        let mut command = program.command(&["build", "context"]);
        command
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap()
    };
    let child = start();
    let (waiting, _) = listener.accept().unwrap();
    drop(failing.accept().unwrap());
    drop(failing);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    check_end(&waiting);
    // A signal comes, to a build and to the fetching of its context.
    program.write("context/Dockerfile", &format!("FROM base\n{stalled}"));
    let context = format!("git://{place}/a.git");
    for context in ["context", &context] {
        let mut child = program.command(&["build", context]).spawn().unwrap();
        let (waiting, _) = listener.accept().unwrap();
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(15));
        check_end(&waiting);
    }
    let left: Vec<_> = std::fs::read_dir(program.path("")).unwrap().collect();
    assert!(left.iter().all(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        !name.to_string_lossy().starts_with(".tmp")
    }));
}

/// Fails unless whoever is at the other side is gone.
#[track_caller]
fn check_end(mut stream: &TcpStream) {
    let limit = std::time::Duration::from_secs(20);
    stream.set_read_timeout(Some(limit)).unwrap();
    let mut said = Vec::new();
    let read = stream.read_to_end(&mut said);
    assert!(read.is_ok(), "git is still there: {read:?}");
}

#[test]
fn git_repositories() {
    let program = Program::with_base();
    std::fs::create_dir(program.path("context")).unwrap();
    let first = repository(&program);
    let url = format!("{}/repo", serve_git(&program.path("")));
    let check = |line: &str, path: &str, expected: &str| {
        check_done(&build(&program, &line.replace("URL", &url)));
        assert_eq!(program.ok(&["cat", "app", path]), expected, "{line}");
    };
    check("ADD URL /srv", "/srv/hello", "two");
    check("ADD URL#other /srv/", "/srv/hello", "other");
    check("ADD URL#v1 /srv", "/srv/hello", "one");
    check(&format!("ADD URL#{first} /srv"), "/srv/hello", "one");
    check("ADD --keep-git-dir URL#v1 /srv", "/srv/.git/HEAD", &first);
    let start = first.get(..9).unwrap();
    check(
        &format!("ADD --checksum={start} URL#v1 /srv"),
        "/srv/hello",
        "one",
    );
    let wrong = build(&program, &format!("ADD --checksum=0000 {url} /srv"));
    check_refused(&wrong, 3, "has another commit");
    let absent = build(&program, &format!("ADD {url}#none /srv"));
    check_refused(&absent, 1, "it has no branch, tag or reference `none`");
}
