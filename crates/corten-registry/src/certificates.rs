//! Certificates by host, as Docker and containers keep them.
//!
//! ```text
//! /etc/containers/certs.d/
//!   registry.example:5000/
//!     ca.crt                   authorities that are trusted for this host
//!     client.cert client.key   who we are to it; each pair has a name of its own
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey};

use crate::{Error, Result};

/// Where certificates of hosts are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Certificates {
    /// Directories with one for each host, with its port if it has one; the first that has one for a
    /// host counts.
    pub directories: Vec<PathBuf>,
    /// The directories of single hosts, which count before those.
    pub of: BTreeMap<String, PathBuf>,
}

/// What there is for a host.
pub(crate) struct Found {
    pub(crate) authorities: Vec<Certificate<'static>>,
    pub(crate) client: Option<ClientCert>,
}

impl Certificates {
    /// Returns the directory for `authority`, a host with its port if it has one.
    pub(crate) fn directory(&self, authority: &str) -> Option<PathBuf> {
        // Docker Hub's API has never been at the name that its images have.
        let name = match authority {
            "registry-1.docker.io" => "docker.io",
            _ => authority,
        };
        if let Some(directory) = self.of.get(name) {
            return Some(directory.clone());
        }
        // Redirects may name any host: none may lead out of the directory.
        if name.starts_with('.') || name.contains('/') {
            return None;
        }
        let below = self
            .directories
            .iter()
            .map(|directory| directory.join(name));
        below.into_iter().find(|directory| directory.is_dir())
    }
}

/// Reads what is in the directory of a host.
pub(crate) fn read(directory: &Path) -> Result<Found> {
    let failed = |error: std::io::Error| unusable(directory, error.to_string());
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        paths.push(entry.map_err(failed)?.path());
    }
    // Which pair is ours does not depend on how the file system lists them.
    paths.sort();
    let mut found = Found {
        authorities: Vec::new(),
        client: None,
    };
    for path in paths {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("crt") => found.authorities.extend(read_certificates(&path)?),
            Some("cert") if found.client.is_none() => {
                let key = read_key(&path.with_extension("key"))?;
                let chain = read_certificates(&path)?;
                found.client = Some(ClientCert::new_with_certs(&chain, key));
            }
            Some("key") if !path.with_extension("cert").exists() => {
                return Err(unusable(&path, "there is no certificate beside it".into()));
            }
            _ => {}
        }
    }
    Ok(found)
}

fn unusable(path: &Path, reason: String) -> Error {
    Error::File {
        action: "use the certificates in",
        path: path.to_owned(),
        reason,
    }
}

/// Reads a file of certificates, which holds nothing else.
pub(crate) fn read_certificates(path: &Path) -> Result<Vec<Certificate<'static>>> {
    let failed = |reason: String| unusable(path, reason);
    let pem = fs::read(path).map_err(|error| failed(error.to_string()))?;
    let mut certificates = Vec::new();
    for item in ureq::tls::parse_pem(&pem) {
        match item.map_err(|error| failed(error.to_string()))? {
            PemItem::Certificate(certificate) => certificates.push(certificate),
            _ => return Err(failed("it holds more than certificates".into())),
        }
    }
    if certificates.is_empty() {
        return Err(failed("there are none".into()));
    }
    Ok(certificates)
}

fn read_key(path: &Path) -> Result<PrivateKey<'static>> {
    let failed = |reason: String| Error::File {
        action: "use the key in",
        path: path.to_owned(),
        reason,
    };
    let pem = fs::read(path).map_err(|error| failed(error.to_string()))?;
    // What is wrong with a key is not told: the parser could quote it.
    PrivateKey::from_pem(&pem).map_err(|_| failed("it holds no private key in PEM".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_directory() {
        let root = tempfile::tempdir().unwrap();
        for name in [
            "a/r.example",
            "b/r.example",
            "b/r.example:5000",
            "b/docker.io",
        ] {
            fs::create_dir_all(root.path().join(name)).unwrap();
        }
        let certificates = Certificates {
            directories: vec![root.path().join("a"), root.path().join("b")],
            of: BTreeMap::from([("own.example".into(), "/own".into())]),
        };
        let check = |authority: &str, expected: Option<&str>| {
            let found = certificates.directory(authority);
            assert_eq!(
                found,
                expected.map(|expected| root.path().join(expected)),
                "{authority}"
            );
        };
        check("r.example", Some("a/r.example"));
        check("r.example:5000", Some("b/r.example:5000"));
        check("registry-1.docker.io", Some("b/docker.io"));
        check("other.example", None);
        check("..", None);
        check("own.example", Some("/own"));
    }

    #[test]
    fn what_is_no_certificate() {
        #[track_caller]
        fn check(files: &[(&str, &str)], expected: &str) {
            let root = tempfile::tempdir().unwrap();
            for (name, text) in files {
                let mut file = fs::File::create(root.path().join(name)).unwrap();
                std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
            }
            let error = read(root.path()).err().map(|error| error.to_string());
            assert!(
                error.is_some_and(|error| error.contains(expected)),
                "{files:?}"
            );
        }
        check(&[("ca.crt", "junk")], "there are none");
        check(&[("c.cert", "junk")], "cannot use the key in");
        check(&[("c.cert", "junk"), ("c.key", "s3cret")], "no private key");
        check(&[("c.key", "s3cret")], "no certificate beside it");
    }
}
