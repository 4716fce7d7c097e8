//! Docker's `config.json` and containers' `auth.json`: credentials by registry.
//!
//! ```text
//! {
//!   "auths": { "ghcr.io": { "auth": base64("user:password"), "identitytoken": "…", "registrytoken": "…" },
//!              "quay.io/acme": { … },                        the longest prefix wins
//!              "https://index.docker.io/v1/": { … } },       Docker Hub's old name
//!   "credHelpers": { "gcr.io": "gcloud" },                   docker-credential-gcloud
//!   "credsStore": "pass"                                     for everything else
//! }
//! ```

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::credentials::{Credentials, Login, Lookup, Secret};
use crate::helper::Helper;
use crate::{Error, Result};

/// A file that may hold credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The file; `None` where the variable that would name it is unset.
    pub path: Option<PathBuf>,
    /// What messages call a file without a path, such as `$REGISTRY_AUTH_FILE`.
    pub origin: String,
}

/// Where credentials are looked for, in order. The caller names the files: this library reads
/// neither the environment nor the home directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialFiles {
    /// The files.
    pub candidates: Vec<Candidate>,
    /// The folder of the credential helpers; `None` for the process's search path.
    pub helper_folder: Option<PathBuf>,
    /// How long a credential helper may take.
    pub helper_limit: Duration,
}

impl Default for CredentialFiles {
    fn default() -> Self {
        Self {
            candidates: Vec::new(),
            helper_folder: None,
            helper_limit: Duration::from_secs(30),
        }
    }
}

impl CredentialFiles {
    /// Looks for the credentials of `repository` in the registry `host`.
    ///
    /// In a file, a helper for the host comes first, then the entry with the longest prefix of
    /// `host/repository`, then the store for everything. May run a helper.
    pub fn lookup(&self, host: &str, repository: &str) -> Result<Lookup> {
        let mut searched = Vec::new();
        for candidate in &self.candidates {
            let Some(path) = &candidate.path else {
                searched.push(format!("{} (unset)", candidate.origin));
                continue;
            };
            let Some(config) = read(path)? else {
                searched.push(format!("{} (absent)", path.display()));
                continue;
            };
            if let Some(credentials) = self.find(&config, path, host, repository)? {
                let login = Some(Login {
                    credentials,
                    origin: path.display().to_string(),
                });
                return Ok(Lookup { login, searched });
            }
            searched.push(format!("{} (no entry)", path.display()));
        }
        Ok(Lookup {
            login: None,
            searched,
        })
    }

    /// Keeps `credentials` for `host`: with the helper that the file names for it, else in the
    /// file. Returns the file's path.
    ///
    /// The file is the first that exists, else the first that has a path. Everything else in it
    /// stays; it is replaced as a whole, readable by its owner only.
    pub fn store(&self, host: &str, credentials: &Credentials) -> Result<PathBuf> {
        let path = self.writable()?;
        let mut config = read(path)?.unwrap_or_default();
        // Go writes an empty map as `null`.
        if config.get("auths").is_some_and(Value::is_null) {
            config.remove("auths");
        }
        if config.get("auths").is_some_and(|auths| !auths.is_object()) {
            return Err(Error::File {
                action: "write the credentials in",
                path: path.to_owned(),
                reason: "its `auths` is not an object".into(),
            });
        }
        if let Some(helper) = self.helper(&config, host) {
            helper.store(&server_name(host), credentials)?;
            // Docker marks what a helper keeps with an empty entry.
            set_entry(&mut config, host, Some(json!({})));
        } else {
            set_entry(&mut config, host, Some(entry(credentials)));
        }
        write(path, &config)?;
        Ok(path.to_owned())
    }

    /// Removes what is kept for `host` from every file. Returns the files that held something.
    pub fn erase(&self, host: &str) -> Result<Vec<PathBuf>> {
        let mut changed = Vec::new();
        for path in self
            .candidates
            .iter()
            .filter_map(|candidate| candidate.path.as_ref())
        {
            let Some(mut config) = read(path)? else {
                continue;
            };
            if !set_entry(&mut config, host, None) {
                continue;
            }
            if let Some(helper) = self.helper(&config, host) {
                helper.erase(&server_name(host))?;
            }
            write(path, &config)?;
            changed.push(path.clone());
        }
        Ok(changed)
    }

    fn writable(&self) -> Result<&Path> {
        let paths = || {
            self.candidates
                .iter()
                .filter_map(|candidate| candidate.path.as_deref())
        };
        paths()
            .find(|path| path.exists())
            .or_else(|| paths().next())
            .ok_or_else(|| Error::File {
                action: "write the credentials in",
                path: PathBuf::new(),
                reason: "no file is configured".into(),
            })
    }

    fn find(
        &self,
        config: &Map<String, Value>,
        path: &Path,
        host: &str,
        repository: &str,
    ) -> Result<Option<Credentials>> {
        if let Some(name) = helper_for(config, host) {
            return self.named(name).find(&server_name(host));
        }
        let best = entries(config)
            .filter(|(key, _)| covers(&normal(key), host, repository))
            .max_by_key(|(key, _)| normal(key).len());
        if let Some((key, entry)) = best {
            let found = decode(entry).map_err(|reason| Error::File {
                action: "read the credentials in",
                path: path.to_owned(),
                reason: format!("the entry for `{}` {reason}", normal(key)),
            })?;
            if found.is_some() {
                return Ok(found);
            }
        }
        match config.get("credsStore").and_then(Value::as_str) {
            Some(name) if !name.is_empty() => self.named(name).find(&server_name(host)),
            _ => Ok(None),
        }
    }

    fn helper<'a>(&'a self, config: &'a Map<String, Value>, host: &str) -> Option<Helper<'a>> {
        let store = config.get("credsStore").and_then(Value::as_str);
        let name = helper_for(config, host).or(store.filter(|name| !name.is_empty()))?;
        Some(self.named(name))
    }

    fn named<'a>(&'a self, name: &'a str) -> Helper<'a> {
        Helper {
            name,
            folder: self.helper_folder.as_deref(),
            limit: self.helper_limit,
        }
    }
}

/// Docker Hub has three names; files and helpers know it by the oldest.
fn server_name(host: &str) -> String {
    if host == "docker.io" {
        "https://index.docker.io/v1/".to_owned()
    } else {
        host.to_owned()
    }
}

/// Returns a key of the file as `host` or `host/path`.
fn normal(key: &str) -> String {
    let key = key
        .strip_prefix("https://")
        .or(key.strip_prefix("http://"))
        .unwrap_or(key)
        .trim_end_matches('/');
    let key = key
        .strip_suffix("/v1")
        .or(key.strip_suffix("/v2"))
        .unwrap_or(key);
    let (host, path) = match key.split_once('/') {
        Some((host, path)) => (host, Some(path)),
        None => (key, None),
    };
    let host = match host {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        _ => host,
    };
    path.map_or(host.to_owned(), |path| format!("{host}/{path}"))
}

fn covers(key: &str, host: &str, repository: &str) -> bool {
    let full = format!("{host}/{repository}");
    full.strip_prefix(key)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn helper_for<'a>(config: &'a Map<String, Value>, host: &str) -> Option<&'a str> {
    let helpers = config.get("credHelpers")?.as_object()?;
    helpers
        .iter()
        .find(|(key, _)| normal(key) == host)
        .and_then(|(_, name)| name.as_str())
}

fn entries(config: &Map<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
    config
        .get("auths")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
}

/// Sets or removes the entry for `host`; tells whether there was one.
fn set_entry(config: &mut Map<String, Value>, host: &str, entry: Option<Value>) -> bool {
    let auths = config.entry("auths").or_insert_with(|| json!({}));
    let Some(auths) = auths.as_object_mut() else {
        return false;
    };
    let n_before = auths.len();
    auths.retain(|key, _| normal(key) != host);
    let had = auths.len() < n_before;
    if let Some(entry) = entry {
        auths.insert(server_name(host), entry);
    }
    had
}

fn entry(credentials: &Credentials) -> Value {
    match credentials {
        Credentials::None => json!({}),
        Credentials::Basic { username, password } => {
            json!({ "auth": STANDARD.encode(format!("{username}:{}", password.expose())) })
        }
        // Docker reads a token's user from `auth`, and wants it to be there.
        Credentials::IdentityToken(token) => {
            json!({ "auth": STANDARD.encode("<token>:"), "identitytoken": token.expose() })
        }
        Credentials::RegistryToken(token) => json!({ "registrytoken": token.expose() }),
    }
}

/// Reads an entry of `auths`; the error says what is wrong without repeating any of it.
fn decode(entry: &Value) -> std::result::Result<Option<Credentials>, &'static str> {
    let text = |name: &str| {
        entry
            .get(name)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
    };
    if let Some(token) = text("registrytoken") {
        let token = Secret::new(token.to_owned());
        return Ok(Some(Credentials::RegistryToken(token)));
    }
    if let Some(token) = text("identitytoken") {
        return Ok(Some(Credentials::IdentityToken(Secret::new(
            token.to_owned(),
        ))));
    }
    let basic = |username: &str, password: &str| Credentials::Basic {
        username: username.to_owned(),
        password: Secret::new(password.to_owned()),
    };
    if let Some(auth) = text("auth") {
        let bytes = STANDARD
            .decode(auth.trim())
            .map_err(|_| "has an `auth` that is not base64")?;
        // Docker pads what it stores with zero bytes in old versions.
        let pair = String::from_utf8(bytes).map_err(|_| "has an `auth` that is not UTF-8")?;
        let (username, password) = pair
            .trim_end_matches('\0')
            .split_once(':')
            .ok_or("has an `auth` without a colon")?;
        return Ok(Some(basic(username, password)));
    }
    Ok(match (text("username"), text("password")) {
        (Some(username), Some(password)) => Some(basic(username, password)),
        _ => None,
    })
}

/// Reads the file; `None` if there is none. An empty file is an empty object, as for Docker.
fn read(path: &Path) -> Result<Option<Map<String, Value>>> {
    let failed = |reason: String| Error::File {
        action: "read the credentials in",
        path: path.to_owned(),
        reason,
    };
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error.to_string())),
    };
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Some(Map::new()));
    }
    // The parser's own message may quote the file.
    let config = serde_json::from_slice(&bytes)
        .map_err(|error| failed(format!("it is not a JSON object (line {})", error.line())))?;
    Ok(Some(config))
}

fn write(path: &Path, config: &Map<String, Value>) -> Result<()> {
    let mut bytes = serde_json::to_vec_pretty(config).expect("a JSON object can be serialised");
    bytes.push(b'\n');
    replace(path, &bytes).map_err(|error| Error::File {
        action: "write the credentials in",
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

/// Replaces the file at once, so that no reader, and no crash, ever meets half of it.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{:016x}", crate::retry::random()));
    let temporary = folder.join(name);
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        drop(fs::remove_file(&temporary));
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(path: &Path) -> CredentialFiles {
        CredentialFiles {
            candidates: vec![
                Candidate {
                    path: None,
                    origin: "$REGISTRY_AUTH_FILE".into(),
                },
                Candidate {
                    path: Some(path.to_owned()),
                    origin: "Docker's configuration".into(),
                },
            ],
            ..CredentialFiles::default()
        }
    }

    fn basic(username: &str, password: &str) -> Credentials {
        Credentials::Basic {
            username: username.into(),
            password: Secret::new(password.into()),
        }
    }

    #[test]
    fn whose_entry_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        let encoded = |pair: &str| STANDARD.encode(pair);
        let config = json!({ "auths": {
            "https://index.docker.io/v1/": { "auth": encoded("hub:h") },
            "ghcr.io": { "auth": encoded("all:a:b") },
            "ghcr.io/acme": { "auth": encoded("acme:x") },
            "ghcr.io/acme/app": { "username": "app", "password": "y" },
            "http://plain.example:5000/v2/": { "auth": encoded("plain:p") },
            "token.example": { "auth": encoded("<token>:"), "identitytoken": "t" },
            "empty.example": {},
            "bad.example": { "auth": "s3cret!" },
        }});
        replace(&path, config.to_string().as_bytes()).unwrap();
        let check = |host: &str, repository: &str, expected: Option<Credentials>| {
            let lookup = files(&path).lookup(host, repository).unwrap();
            let found = lookup.login.map(|login| login.credentials);
            assert_eq!(found, expected, "{host}/{repository}");
        };
        check("docker.io", "library/debian", Some(basic("hub", "h")));
        check("ghcr.io", "other", Some(basic("all", "a:b")));
        check("ghcr.io", "acme/lib", Some(basic("acme", "x")));
        check("ghcr.io", "acme/app", Some(basic("app", "y")));
        check("ghcr.io", "acme/application", Some(basic("acme", "x")));
        check("plain.example:5000", "a", Some(basic("plain", "p")));
        check(
            "token.example",
            "a",
            Some(Credentials::IdentityToken(Secret::new("t".into()))),
        );
        check("empty.example", "a", None);
        check("unknown.example", "a", None);
        let error = files(&path)
            .lookup("bad.example", "a")
            .unwrap_err()
            .to_string();
        assert!(error.contains("the entry for `bad.example` has an `auth` that is not base64"));
        assert!(!error.contains("s3cret"));
    }

    #[test]
    fn where_was_looked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        let searched = || files(&path).lookup("a.example", "b").unwrap().searched;
        let second = |what: &str| format!("{} ({what})", path.display());
        assert_eq!(
            searched(),
            ["$REGISTRY_AUTH_FILE (unset)".to_owned(), second("absent")]
        );
        replace(&path, b"\n").unwrap();
        assert_eq!(
            searched(),
            ["$REGISTRY_AUTH_FILE (unset)".to_owned(), second("no entry")]
        );
        replace(&path, b"{ s3cret").unwrap();
        let error = files(&path)
            .lookup("a.example", "b")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("line 1") && !error.contains("s3cret"),
            "{error}"
        );
    }

    #[test]
    fn storing_keeps_the_rest_of_the_file() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new").join("config.json");
        let files = files(&path);
        files.store("docker.io", &basic("me", "pw")).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        let mut config = read(&path).unwrap().unwrap();
        config.insert("psFormat".into(), json!("table"));
        write(&path, &config).unwrap();
        let token = Credentials::IdentityToken(Secret::new("t".into()));
        files.store("a.example", &token).unwrap();
        let find = |host: &str| {
            files
                .lookup(host, "x")
                .unwrap()
                .login
                .map(|login| login.credentials)
        };
        assert_eq!(find("docker.io"), Some(basic("me", "pw")));
        assert_eq!(find("a.example"), Some(token));
        assert_eq!(
            files.erase("docker.io").unwrap(),
            std::slice::from_ref(&path)
        );
        assert!(files.erase("docker.io").unwrap().is_empty());
        assert_eq!(find("docker.io"), None);
        assert_eq!(
            read(&path).unwrap().unwrap().get("psFormat"),
            Some(&json!("table"))
        );
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        // What cannot be kept is not said to be.
        replace(&path, br#"{"auths":[]}"#).unwrap();
        let error = files.store("a.example", &basic("me", "pw")).unwrap_err();
        assert!(error.to_string().contains("its `auths` is not an object"));
    }
}
