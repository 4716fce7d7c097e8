//! Secrets by which a build signs in to servers of files and git repositories: they go to these and
//! nowhere else.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::contexts::repositories::{clone_bare, repository};
use crate::program::Program;

/// The path of a request, and its `Authorization`.
type Asked = (String, Option<String>);

/// A server that gives files to who has the right header, redirects what is below `/moved`, and
/// answers below `/echo` with what it was sent.
#[derive(Clone)]
struct Server {
    root: PathBuf,
    wanted: String,
    /// Where what is below `/moved` is.
    other: String,
    log: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    /// Starts it, and returns it with its place.
    fn start(root: &Path, wanted: &str, other: &str) -> (Self, String) {
        let server = Self {
            root: root.to_owned(),
            wanted: wanted.to_owned(),
            other: other.to_owned(),
            log: Arc::default(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let place = listener.local_addr().unwrap().to_string();
        let serving = server.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let serving = serving.clone();
                std::thread::spawn(move || while serving.answer(stream.as_ref().unwrap()) {});
            }
        });
        (server, place)
    }

    fn answer(&self, stream: &TcpStream) -> bool {
        let mut lines = BufReader::new(stream).lines();
        let Some(Ok(first)) = lines.next() else {
            return false;
        };
        let headers = lines.map_while(Result::ok);
        let sent = headers
            .take_while(|line| !line.is_empty())
            .filter_map(|line| {
                let (name, value) = line.split_once(": ")?;
                let is_it = name.eq_ignore_ascii_case("authorization");
                is_it.then(|| value.to_owned())
            })
            .last();
        let path = first.split([' ', '?']).nth(1).unwrap_or_default();
        self.log
            .lock()
            .unwrap()
            .push((path.to_owned(), sent.clone()));
        let file = self.root.join(path.trim_start_matches('/'));
        let (status, more, body) = if let Some(rest) = path.strip_prefix("/renamed") {
            (
                "301 Moved Permanently",
                format!("Location: {rest}\r\n"),
                Vec::new(),
            )
        } else if let Some(rest) = path.strip_prefix("/moved") {
            (
                "302 Found",
                format!("Location: {}{rest}\r\n", self.other),
                Vec::new(),
            )
        } else if path.starts_with("/echo") {
            let sent = sent.unwrap_or_default();
            let pair = sent
                .strip_prefix("basic ")
                .map(|pair| STANDARD.decode(pair));
            let pair = pair.map(Result::unwrap).unwrap_or_default();
            let pair = String::from_utf8(pair).unwrap();
            (
                "403 Forbidden",
                "Content-Type: text/plain\r\n".into(),
                format!("denied for {sent}\nthat is {pair}\n").into_bytes(),
            )
        } else if sent.as_deref() != Some(&self.wanted) && !self.wanted.is_empty() {
            (
                "401 Unauthorized",
                "WWW-Authenticate: Basic realm=x\r\n".into(),
                Vec::new(),
            )
        } else if let Ok(bytes) = fs::read(file) {
            ("200 OK", String::new(), bytes)
        } else {
            ("404 Not Found", String::new(), Vec::new())
        };
        let length = body.len();
        let head = format!("HTTP/1.1 {status}\r\n{more}Content-Length: {length}\r\n\r\n");
        (&mut &*stream)
            .write_all(&[head.as_bytes(), &body].concat())
            .is_ok()
    }

    /// Returns what was sent to it by whom it was not to be.
    fn leaked(&self) -> Vec<Asked> {
        let log = self.log.lock().unwrap();
        log.iter()
            .filter(|(_, sent)| sent.is_some())
            .cloned()
            .collect()
    }
}

const TOKEN: &str = "7be1d0-token-of-a-server";

/// Fails if the token, in any of the forms in which it is sent, is in a file of the store.
fn check_secret(program: &Program, said: &str) {
    let pair = format!("x-access-token:{TOKEN}");
    let pair = STANDARD.encode(pair);
    let mut found = vec![said.as_bytes().to_vec()];
    crate::runs::secrets::contents(&program.path("store"), &mut found);
    assert!(found.len() > 10, "the store was searched");
    for secret in [TOKEN, &pair] {
        let is_in = |bytes: &Vec<u8>| {
            bytes
                .windows(secret.len())
                .any(|part| part == secret.as_bytes())
        };
        assert!(!found.iter().any(is_in), "{secret} is somewhere\n{said}");
    }
}

fn build(program: &Program, lines: &str, args: &[&str]) -> (i32, String) {
    program.write("context/Dockerfile", &format!("FROM base\n{lines}\n"));
    let context = program.path("context").display().to_string();
    let mut command =
        program.command(&[&["build", &context, "-t", "app", "--verbose"], args].concat());
    let output = command.env("TOKEN", TOKEN).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().unwrap(), said)
}

/// Fails unless the build of `add` needs `secret` and tells it nowhere.
#[track_caller]
fn check_needed(program: &Program, add: &str, secret: &[&str]) {
    let (code, said) = build(program, add, &[]);
    assert_eq!(code, 1, "{said}");
    let provenance = [secret, &["--provenance=mode=max"]].concat();
    let (code, said) = build(program, add, &provenance);
    assert_eq!(code, 0, "{said}");
    check_secret(program, &said);
}

#[test]
fn files_are_got_with_secrets() {
    let program = Program::with_base();
    program.write("files/a", "private\n");
    let (other, elsewhere) = Server::start(&program.path("files"), "", "");
    let (_, place) = Server::start(
        &program.path("files"),
        &format!("Bearer {TOKEN}"),
        &format!("http://{elsewhere}"),
    );
    let add = format!("ADD http://{place}/a /srv/a");
    let secret = ["--secret", "id=HTTP_AUTH_TOKEN_127.0.0.1,env=TOKEN"];
    check_needed(&program, &add, &secret);
    assert_eq!(program.ok(&["cat", "app", "/srv/a"]), "private");
    // As a header, and for a context.
    program.write("header", &format!("Bearer {TOKEN}\n"));
    let header = format!(
        "id=HTTP_AUTH_HEADER_127.0.0.1,src={}",
        program.path("header").display()
    );
    let named = format!("named=http://{place}/a");
    let args = ["--secret", &header, "--build-context", &named];
    let (code, said) = build(&program, "COPY --from=named context /srv/", &args);
    assert_eq!(code, 0, "{said}");
    check_secret(&program, &said);
    // Another server is sent nothing, whether it is redirected to or named.
    let (code, said) = build(
        &program,
        &format!("ADD http://{place}/moved/a /srv/a"),
        &secret,
    );
    assert_eq!(code, 0, "{said}");
    let wrong = ["--secret", "id=HTTP_AUTH_TOKEN_localhost,env=TOKEN"];
    let (code, said) = build(
        &program,
        &format!("ADD http://{elsewhere}/a /srv/b"),
        &wrong,
    );
    assert_eq!(code, 0, "{said}");
    assert_eq!(other.leaked(), []);
    assert!(other.log.lock().unwrap().len() >= 2);
}

#[test]
fn what_a_server_of_repositories_echoes_is_hidden() {
    #[track_caller]
    fn check(id: &str) {
        let program = Program::with_base();
        let (server, place) = Server::start(&program.path("served"), "", "");
        let secret = format!("id={id},env=TOKEN");
        let add = format!("ADD http://{place}/echo/r.git#main /srv/r");
        let (code, said) = build(&program, &add, &["--secret", &secret]);
        assert_eq!(code, 1, "{said}");
        assert!(said.contains("denied for ***"), "{said}");
        assert!(!server.leaked().is_empty(), "it was sent the secret");
        check_secret(&program, &said);
    }
    check("GIT_AUTH_TOKEN");
    check("GIT_AUTH_HEADER");
}

#[test]
fn repositories_are_got_with_secrets() {
    let program = Program::with_base();
    repository(&program);
    clone_bare(&program, "repo", "served/r.git");
    let pair = format!("x-access-token:{TOKEN}");
    let pair = STANDARD.encode(pair);
    let (other, elsewhere) = Server::start(&program.path("served"), "", "");
    let (_, place) = Server::start(
        &program.path("served"),
        &format!("basic {pair}"),
        &format!("http://{elsewhere}"),
    );
    let add = format!("ADD --keep-git-dir http://{place}/r.git#main /srv/r");
    let secret = ["--secret", "id=GIT_AUTH_TOKEN,env=TOKEN"];
    check_needed(&program, &add, &secret);
    assert_eq!(program.ok(&["cat", "app", "/srv/r/hello"]), "two");
    // A context, with a secret for its host alone.
    let of_host = format!("id=GIT_AUTH_TOKEN.{place},env=TOKEN");
    let context = format!("http://{place}/r.git#v1");
    let mut command = program.command(&["build", &context, "-t", "app", "--secret", &of_host]);
    let output = command.env("TOKEN", TOKEN).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert_eq!(program.ok(&["cat", "app", "/srv/hello"]), "one");
    check_secret(&program, &said);
    // A redirect is followed on the same server, however often.
    for add in [
        format!("ADD --keep-git-dir http://{place}/renamed/r.git#main /srv/n"),
        format!("ADD http://{place}/renamed/renamed/r.git#v1 /srv/n"),
    ] {
        let (code, said) = build(&program, &add, &secret);
        assert_eq!(code, 0, "{said}");
        check_secret(&program, &said);
    }
    assert_eq!(program.ok(&["cat", "app", "/srv/n/hello"]), "one");
    let context = format!("http://{place}/renamed/r.git#main");
    let mut command = program.command(&["build", &context, "-t", "app", "--secret", &of_host]);
    let output = command.env("TOKEN", TOKEN).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    // It leads nowhere else with it, and another host is sent nothing.
    let (code, said) = build(
        &program,
        &format!("ADD http://{place}/moved/r.git /srv/m"),
        &secret,
    );
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("it redirects to another server") && said.contains(&elsewhere),
        "{said}"
    );
    let twice = format!("ADD http://{place}/renamed/moved/r.git /srv/m");
    let (code, said) = build(&program, &twice, &secret);
    assert!(code == 1 && said.contains("another server"), "{said}");
    let args = ["--secret", &of_host];
    let (code, said) = build(
        &program,
        &format!("ADD http://{elsewhere}/r.git#v1 /srv/o"),
        &args,
    );
    assert_eq!(code, 0, "{said}");
    assert_eq!(other.leaked(), []);
    assert!(!other.log.lock().unwrap().is_empty());
}
