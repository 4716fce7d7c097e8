//! Whom we believe to be who they say, against `OpenSSL`.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use corten_registry::transport::{Body, Headers, Method, Request, Transport};
use corten_registry::{Settings, Url, Wire};

use crate::{chain, settings};

struct Server {
    child: Child,
    host: String,
    certificate: PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn openssl(folder: &Path) -> Command {
    let mut command = Command::new("openssl");
    command
        .current_dir(folder)
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// Starts a server that answers everything with 200; `None` where there is no `openssl`.
fn start(folder: &Path) -> Option<Server> {
    let made = openssl(folder)
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
        ])
        .args([
            "-nodes",
            "-subj",
            "/CN=localhost",
            "-keyout",
            "key.pem",
            "-out",
            "cert.pem",
        ])
        .args(["-addext", "subjectAltName=DNS:localhost"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .stdout(Stdio::null())
        .status();
    assert!(made.ok()?.success(), "openssl made no certificate");
    let mut child = openssl(folder)
        .args([
            "s_server",
            "-www",
            "-accept",
            "127.0.0.1:0",
            "-key",
            "key.pem",
            "-cert",
            "cert.pem",
        ])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let port = lines.find_map(|line| {
        let line = line.unwrap();
        line.strip_prefix("ACCEPT 127.0.0.1:").map(str::to_owned)
    });
    // Or it would stop when the pipe is full.
    std::thread::spawn(move || lines.for_each(drop));
    Some(Server {
        child,
        host: format!("localhost:{}", port.unwrap()),
        certificate: folder.join("cert.pem"),
    })
}

#[test]
fn certificates() {
    let folder = tempfile::tempdir().unwrap();
    let Some(server) = start(folder.path()) else {
        println!("not run: certificates: openssl is not installed");
        return;
    };
    let ask = |settings: Settings| {
        let wire = Wire::new(&settings).map_err(|error| chain(&error))?;
        let request = Request {
            method: Method::Get,
            url: Url::parse(&format!("https://{}/v2/", server.host)).unwrap(),
            headers: Headers::new(),
            body: Body::Empty,
        };
        let answer = wire.send(request).map_err(|error| chain(&error))?;
        Ok::<u16, String>(answer.status)
    };
    let untrusted = ask(settings()).unwrap_err();
    let expected = format!("cannot make a secure connection to {}: ", server.host);
    assert!(untrusted.starts_with(&expected), "{untrusted}");
    let mut trusting = settings();
    trusting.ca_file = Some(server.certificate.clone());
    assert_eq!(ask(trusting), Ok(200));
    let mut insecure = settings();
    insecure.insecure = vec![server.host.clone()];
    assert_eq!(ask(insecure), Ok(200));
    let mut other = settings();
    other.insecure = vec!["other.example".into()];
    assert!(ask(other).is_err());
    for name in ["key.pem", "absent.pem"] {
        let mut wrong = settings();
        wrong.ca_file = Some(folder.path().join(name));
        assert!(
            ask(wrong)
                .unwrap_err()
                .starts_with("cannot use the certificates in `")
        );
    }
}
