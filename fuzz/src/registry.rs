//! What registries and credential files say, without a socket.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::time::Duration;

use corten_registry::challenge::Challenge;
use corten_registry::transport::Method;
use corten_registry::{
    Candidate, CredentialFiles, Credentials, Secret, Url, header, redirect, refusal, token,
};

/// The longest that a message of a registry may become.
const SHOWN: usize = 200;

/// The values of `WWW-Authenticate`, one a line.
pub(crate) fn challenge(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let all = Challenge::parse(text);
    // Each challenge has at least a scheme.
    assert!(all.len() <= text.len());
    let chosen = Challenge::choose(text.lines());
    if let Some(Challenge::Bearer {
        realm,
        service,
        scope,
    }) = chosen
    {
        let scopes = token::merge_scopes(&["repository:a:pull".to_owned()], scope.as_deref());
        for credentials in [
            Credentials::None,
            Credentials::Basic {
                username: "u".into(),
                password: Secret::new("p".into()),
            },
            Credentials::IdentityToken(Secret::new("t".into())),
        ] {
            drop(token::request(
                &realm,
                service.as_deref(),
                &scopes,
                &credentials,
            ));
        }
    }
}

/// `Link`, `Range`, `Content-Range`, `Retry-After`, `Warning`.
pub(crate) fn headers(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    if let Some(next) = header::next_link(text) {
        assert!(text.contains(next));
    }
    let _: [Option<u64>; 2] = [header::received(text), header::content_range_start(text)];
    let _: Option<Duration> = header::retry_after(text, Some(text));
    let _: Option<String> = header::warning(text);
}

/// Answers of token servers, and bodies of errors, which are shown to people.
pub(crate) fn registry_answers(data: &[u8]) {
    if let Some(token) = token::parse(data) {
        assert!(
            token
                .value
                .expose()
                .bytes()
                .all(|byte| byte.is_ascii_graphic())
        );
        assert!(token.lifetime <= Duration::from_hours(24));
    }
    let (_, message) = refusal::parse_body(data);
    assert_printable(&message);
    let shown = refusal::printable(data, SHOWN);
    assert!(
        shown.chars().count() <= SHOWN + 1,
        "{} characters",
        shown.chars().count()
    );
    assert_printable(&shown);
}

/// Nothing that moves the cursor or colours the terminal.
fn assert_printable(text: &str) {
    assert!(!text.chars().any(char::is_control), "{text:?}");
}

/// A URL on the first line, and where it redirects to on the second.
pub(crate) fn url(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let (from, location) = text.split_once('\n').unwrap_or((text, "/v2"));
    let Ok(from) = Url::parse(from) else {
        return;
    };
    let again = Url::parse(&from.to_wire()).expect("what is sent is a URL");
    assert!(again.has_origin_of(&from), "{from:?}");
    assert_eq!(again.to_wire(), from.to_wire());
    assert_one_line(&from);
    if let Ok(joined) = from.join(location) {
        assert_one_line(&joined);
        assert_eq!(
            Url::parse(&joined.to_wire())
                .expect("it is a URL")
                .authority(),
            joined.authority()
        );
    }
    for status in [301, 303, 307] {
        if let Ok(Some(next)) = redirect::follow(Method::Get, &from, status, Some(location)) {
            assert!(next.url.is_secure() || !from.is_secure());
            assert_eq!(next.keeps_authorization, next.url.has_origin_of(&from));
        }
    }
    assert_one_line(&from.with("q", location).below("x"));
}

/// A URL that held a line break could begin a header of its own.
fn assert_one_line(url: &Url) {
    let wire = url.to_wire();
    assert!(wire.bytes().all(|byte| byte.is_ascii_graphic()), "{wire:?}");
    assert!(!url.host().is_empty(), "{wire:?}");
}

/// A `config.json` or `auth.json`: looked up, written and erased.
pub(crate) fn credential_files(data: &[u8]) {
    let directory = tempfile::tempdir().expect("there is room");
    let path = directory.path().join("auth.json");
    let create = OpenOptions::new().write(true).create_new(true).open(&path);
    create
        .and_then(|mut file| file.write_all(data))
        .expect("it can be written");
    let files = CredentialFiles {
        candidates: vec![Candidate {
            path: Some(path.clone()),
            origin: "test".into(),
        }],
        // A folder without helpers: none is run.
        helper_folder: Some(directory.path().to_owned()),
        helper_limit: Duration::from_secs(1),
    };
    for (host, repository) in [
        ("registry.example", "acme/app"),
        ("docker.io", "library/a"),
        ("h:5000", ""),
    ] {
        drop(files.lookup(host, repository));
    }
    let login = Credentials::Basic {
        username: "u".into(),
        password: Secret::new("p:w".into()),
    };
    if files.store("registry.example", &login).is_ok() {
        let found = files
            .lookup("registry.example", "")
            .expect("it was written")
            .login;
        assert_eq!(found.map(|login| login.credentials), Some(login));
        files.erase("registry.example").expect("it can be written");
    }
    assert_eq!(
        fs::read_dir(directory.path()).expect("it is there").count(),
        1
    );
}
