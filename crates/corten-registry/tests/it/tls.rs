//! Whom we believe to be who they say, against `OpenSSL`.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use corten_registry::transport::{Body, Headers, Method, Request, Transport};
use corten_registry::{Client, Settings, Url, Wire};

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

/// Makes `NAME-cert.pem` and `NAME-key.pem`; `None` where there is no `openssl`.
fn make(folder: &Path, name: &str) -> Option<()> {
    let (certificate, key) = (format!("{name}-cert.pem"), format!("{name}-key.pem"));
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
            &key,
            "-out",
            &certificate,
        ])
        .args(["-addext", "subjectAltName=DNS:localhost"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .stdout(Stdio::null())
        .status();
    assert!(made.ok()?.success(), "openssl made no certificate");
    Some(())
}

/// Starts a server that answers everything with 200; `None` where there is no `openssl`.
fn start(folder: &Path, more: &[&str]) -> Option<Server> {
    make(folder, "server")?;
    let mut child = openssl(folder)
        .args([
            "s_server",
            "-www",
            "-accept",
            "127.0.0.1:0",
            "-key",
            "server-key.pem",
            "-cert",
            "server-cert.pem",
        ])
        .args(more)
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
        certificate: folder.join("server-cert.pem"),
    })
}

#[test]
fn certificates() {
    let folder = tempfile::tempdir().unwrap();
    let Some(server) = start(folder.path(), &[]) else {
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
    for name in ["server-key.pem", "absent.pem"] {
        let mut wrong = settings();
        wrong.ca_file = Some(folder.path().join(name));
        assert!(
            ask(wrong)
                .unwrap_err()
                .starts_with("cannot use the certificates in `")
        );
    }
}

#[test]
fn a_host_that_wants_to_know_us_gets_our_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let made = make(folder.path(), "client");
    let asks = [
        "-Verify",
        "1",
        "-verify_return_error",
        "-CAfile",
        "client-cert.pem",
    ];
    let Some(server) = made.and_then(|()| start(folder.path(), &asks)) else {
        println!("not run: a_host_that_wants_to_know_us_gets_our_certificate: there is no openssl");
        return;
    };
    let directory = folder.path().join("certs.d").join(&server.host);
    std::fs::create_dir_all(&directory).unwrap();
    let copy = |from: &str, to: &str| {
        std::fs::copy(folder.path().join(from), directory.join(to)).unwrap();
    };
    let ask = || {
        let mut settings = settings();
        settings.certificates.directories = vec![folder.path().join("certs.d")];
        let client = Client::new(settings).map_err(|error| chain(&error))?;
        // Loopback as it is, the host has certificates: it is spoken to with TLS.
        client.ping(&server.host).map_err(|error| chain(&error))
    };
    copy("server-cert.pem", "ca.crt");
    let refused = ask().unwrap_err();
    assert!(refused.contains(&server.host), "{refused}");
    copy("client-cert.pem", "client.cert");
    let lacking = ask().unwrap_err();
    assert!(lacking.starts_with("cannot use the key in `"), "{lacking}");
    copy("client-key.pem", "client.key");
    assert_eq!(ask(), Ok(()));
    // A certificate that is nobody's there is as good as none.
    copy("server-cert.pem", "client.cert");
    copy("server-key.pem", "client.key");
    assert!(ask().is_err());
}
