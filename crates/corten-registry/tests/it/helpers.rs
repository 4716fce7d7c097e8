//! Credentials that a helper program keeps.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use corten_registry::{Candidate, CredentialFiles, Credentials, Secret};

use crate::{chain, password};

/// Credential files with `config`, and the helper programs of this folder.
fn files(folder: &Path, config: &str) -> CredentialFiles {
    let path = folder.join("config.json");
    std::io::Write::write_all(
        &mut std::fs::File::create(&path).unwrap(),
        config.as_bytes(),
    )
    .unwrap();
    for name in ["docker-credential-fake", "docker-credential-slow"] {
        let program = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/it")
            .join(name);
        symlink(program, folder.join(name)).unwrap();
    }
    CredentialFiles {
        candidates: vec![Candidate {
            path: Some(path),
            origin: "config.json".into(),
        }],
        helper_folder: Some(folder.to_owned()),
        helper_limit: Duration::from_secs(20),
    }
}

#[test]
fn a_helper_keeps_what_it_is_given() {
    #[track_caller]
    fn check(config: &str, credentials: &Credentials) {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path(), config);
        let find = || {
            files
                .lookup("a.example", "x")
                .unwrap()
                .login
                .map(|login| login.credentials)
        };
        assert_eq!(find(), None);
        files.store("a.example", credentials).unwrap();
        assert_eq!(find().as_ref(), Some(credentials));
        let text = std::fs::read_to_string(folder.path().join("config.json")).unwrap();
        assert!(!text.contains("s3cret"), "{text}");
        assert_eq!(files.erase("a.example").unwrap().len(), 1);
        assert_eq!(find(), None);
    }
    let token = Credentials::IdentityToken(Secret::new("s3cret".into()));
    check(r#"{"credsStore":"fake"}"#, &password("s3cret"));
    check(r#"{"credHelpers":{"https://a.example/":"fake"}}"#, &token);
}

#[test]
fn helpers_that_do_not_help() {
    #[track_caller]
    fn check(name: &str, part: &str) {
        let folder = tempfile::tempdir().unwrap();
        let mut files = files(folder.path(), &format!(r#"{{"credsStore":"{name}"}}"#));
        files.helper_limit = Duration::from_millis(100);
        let error = files.lookup("a.example", "x").unwrap_err();
        assert!(chain(&error).contains(part), "{}", chain(&error));
    }
    check(
        "slow",
        "`docker-credential-slow` failed: `get` took longer than 0.1 s",
    );
    check(
        "absent",
        "`docker-credential-absent` failed: it cannot be run",
    );
    check("../fake", "its name is not that of a program");
}
