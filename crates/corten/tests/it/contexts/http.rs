//! Contexts by HTTP.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;

use super::{check_done, check_file, check_nothing_is_left, check_refused, tar};
use crate::program::Program;

/// Serves the files below `root` by HTTP, and returns the URL; `/moved/PATH` redirects to `/PATH`.
pub(super) fn serve(root: &Path) -> String {
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
