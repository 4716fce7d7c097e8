//! Contexts in buckets: a server on this machine takes S3's place.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use crate::program::{Program, Ran};

const SECRET: &str = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY";

/// Serves the file `tar` as `/box/dir/my context.tar`, redirects `/moved/…` to `elsewhere`, and refuses
/// what is not signed. Returns the URL and what was asked.
fn serve(tar: Vec<u8>, elsewhere: String) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            let request = read(&stream);
            let (status, headers, body) = answer(&request, &tar, &elsewhere);
            noted.lock().unwrap().push(request);
            let length = body.len();
            let head = format!(
                "HTTP/1.1 {status} x\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
            );
            (&stream).write_all(&[head.as_bytes(), body].concat()).ok();
        }
    });
    (url, asked)
}

fn read(stream: &TcpStream) -> String {
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    lines
        .take_while(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join("\n")
}

fn answer<'a>(request: &str, tar: &'a [u8], elsewhere: &str) -> (u16, String, &'a [u8]) {
    let path = request.split(' ').nth(1).unwrap();
    let is_signed = request
        .to_lowercase()
        .contains("authorization: aws4-hmac-sha256");
    if let Some(path) = path.strip_prefix("/moved") {
        let headers = format!("Location: {elsewhere}/box{path}\r\n");
        return (307, headers, b"");
    }
    match path {
        "/box/dir/my%20context.tar" if is_signed || elsewhere.is_empty() => {
            let time = "Mon, 02 Nov 2026 00:00:00 GMT";
            (
                200,
                format!("ETag: \"1\"\r\nLast-Modified: {time}\r\n"),
                tar,
            )
        }
        "/box/dir/my%20context.tar" => (403, String::new(), b"<Code>AccessDenied</Code>"),
        _ => (
            404,
            String::new(),
            b"<Code>NoSuchKey</Code><Message>no</Message>",
        ),
    }
}

fn program() -> (Program, Vec<u8>) {
    let program = Program::with_base();
    program.write_tar(
        "context.tar",
        &[
            ("Dockerfile", b"FROM base\nCOPY packed /\n", 0o644),
            ("packed", b"packed\n", 0o644),
        ],
    );
    let tar = fs::read(program.path("context.tar")).unwrap();
    (program, tar)
}

fn run(program: &Program, url: &str, args: &[&str]) -> Ran {
    let mut command = program.command(args);
    command
        .env("S3_ENDPOINT", url)
        .env("S3_FORCE_PATH_STYLE", "true")
        .env("AWS_ACCESS_KEY_ID", "AKID")
        .env("AWS_SECRET_ACCESS_KEY", SECRET)
        .env("AWS_SESSION_TOKEN", "SESSIONSECRET")
        .env("AWS_REGION", "eu-central-1");
    let ran = program.finish(&command.output().unwrap());
    assert!(
        !ran.stderr.contains("SECRET") && !ran.stderr.contains(SECRET),
        "{}",
        ran.stderr
    );
    ran
}

#[test]
fn contexts_in_buckets() {
    let (program, tar) = program();
    let (url, asked) = serve(tar, "x".to_owned());
    for args in [
        &["build", "s3://box/dir/my context.tar", "-t", "made"][..],
        &[
            "kaniko",
            "--no-push",
            "-d",
            "made",
            "--context",
            "s3://box/dir/my%20context.tar",
        ],
        &[
            "kaniko",
            "--no-push",
            "-d",
            "made",
            "--bucket",
            "s3://box/dir/my%20context.tar",
        ],
    ] {
        let ran = run(&program, &url, args);
        assert_eq!(ran.code, 0, "{args:?}\n{}", ran.stderr);
        program.ok(&["cat", "made", "/packed"]);
        program.ok(&["rm", "made"]);
    }
    assert_eq!(asked.lock().unwrap().len(), 3);
    program.write(
        "policy",
        r#"{"rules": [{"action": "DENY", "selector": {"identifier": "s3://box/*"}}]}"#,
    );
    let args = [
        "build",
        "--source-policy",
        "policy",
        "s3://box/dir/my context.tar",
        "-t",
        "made",
    ];
    let denied = run(&program, &url, &args);
    assert_eq!(denied.code, 1, "{}", denied.stderr);
    assert!(
        denied.stderr.contains("s3://box/dir/my context.tar"),
        "{}",
        denied.stderr
    );
    // No file of the store has a secret.
    let found = std::process::Command::new("grep")
        .args(["-rlE", &format!("{SECRET}|SESSIONSECRET")])
        .arg(program.path(""))
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout), "");
}

#[test]
fn where_a_bucket_leads_gets_no_credentials() {
    let (program, tar) = program();
    let (elsewhere, asked) = serve(tar.clone(), String::new());
    let (url, _) = serve(tar, elsewhere);
    let ran = run(
        &program,
        &url,
        &["build", "s3://moved/dir/my context.tar", "-t", "made"],
    );
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let asked = asked.lock().unwrap().join("\n").to_lowercase();
    assert!(
        asked.starts_with("get /box/dir/my%20context.tar"),
        "{asked}"
    );
    assert!(
        !asked.contains("authorization") && !asked.contains("sessionsecret"),
        "{asked}"
    );
}

/// Azure is asked for a token with the secret in the body, which goes wherever a redirect is followed to.
#[test]
fn a_request_for_credentials_is_not_sent_elsewhere() {
    let (program, tar) = program();
    let (elsewhere, asked_elsewhere) = serve(tar.clone(), String::new());
    let (url, asked) = serve(tar, elsewhere);
    let mut command = program.command(&["build", "https://acct.blob.core.windows.net/c/x.tar"]);
    command
        .env("AZURE_STORAGE_ACCOUNT", "acct")
        .env("AZURE_STORAGE_SERVICE_ENDPOINT", &url)
        .env("AZURE_AUTHORITY_HOST", &url)
        .env("AZURE_TENANT_ID", "moved")
        .env("AZURE_CLIENT_ID", "id")
        .env("AZURE_CLIENT_SECRET", SECRET);
    let ran = program.finish(&command.output().unwrap());
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    let asked = asked.lock().unwrap().join("\n");
    assert!(asked.contains("POST /moved/"), "{asked}\n{}", ran.stderr);
    assert_eq!(*asked_elsewhere.lock().unwrap(), [""; 0]);
}

#[test]
fn what_a_bucket_does_not_have() {
    let (program, tar) = program();
    let (url, _) = serve(tar, "x".to_owned());
    run(&program, &url, &["build", "s3://box/absent", "-t", "made"]).is(
        1,
        "",
        "error: cannot get `s3://box/absent`\n  \
         caused by: `s3://box/absent` is not there: status 404 NoSuchKey, \"no\"",
    );
    run(&program, &url, &["build", "s3://box/dir/", "-t", "made"]).is(
        2,
        "",
        "error: `s3://box/dir/` names no object: it names a directory, and a context in a bucket is one tar",
    );
}

/// kaniko's variables name a key of Azure and no account: it is that of the context.
#[test]
fn a_context_of_azure() {
    let (program, tar) = program();
    let (url, asked) = serve(tar, String::new());
    let context = "https://acct.blob.core.windows.net/box/dir/my%20context.tar";
    let signed = |args: &[&str], account: &str| {
        let mut command = program.command(args);
        command
            .env("AZURE_STORAGE_ACCESS_KEY", "c2VjcmV0")
            .env("AZURE_STORAGE_SERVICE_ENDPOINT", &url)
            .env("AZURE_STORAGE_ACCOUNT", account);
        let ran = program.finish(&command.output().unwrap());
        assert_eq!(ran.code, 0, "{args:?}\n{}", ran.stderr);
        let asked = std::mem::take(&mut *asked.lock().unwrap()).concat();
        asked.to_lowercase().contains("sharedkey acct:")
    };
    assert!(signed(
        &["kaniko", "--no-push", "-d", "made", "-c", context],
        ""
    ));
    assert!(signed(&["build", context], "acct"));
}
