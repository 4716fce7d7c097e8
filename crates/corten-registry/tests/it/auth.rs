//! Signing in, and what happens to those who do not.

use std::sync::{Arc, Mutex};

use corten_content::{Sink, Source};
use corten_registry::transport::{Headers, Request, Response, Transport};
use corten_registry::{Candidate, Client, Credentials, Repository, Secret};
use corten_spec::{Descriptor, media_type};

use crate::fake::{Auth, Fake, Quirks};
use crate::pull::INDEX;
use crate::{chain, login, password, push, repository_with};

fn fake(auth: Auth) -> Fake {
    let fake = Fake::start(Quirks {
        auth,
        ..Quirks::default()
    });
    fake.put_manifest("acme/app", "1", media_type::OCI_INDEX, INDEX);
    fake
}

#[test]
fn who_may_pull_and_push() {
    #[track_caller]
    fn check(auth: Auth, credentials: Credentials, pulls: bool, pushes: bool) {
        let name = format!("{auth:?} {credentials:?}");
        let fake = fake(auth);
        let mut settings = crate::settings();
        settings
            .logins
            .insert(fake.host.clone(), login(credentials));
        let repository = repository_with(settings, &fake.host, "acme/app");
        let pulled = repository.resolve("1");
        assert_eq!(pulled.is_ok(), pulls, "{name}: {pulled:?}");
        let pushed = push(&repository, &Descriptor::of("a/b", b"x"), b"x");
        assert_eq!(pushed.is_ok(), pushes, "{name}: {pushed:?}");
        for error in [pulled.err(), pushed.err()].into_iter().flatten() {
            let text = format!("{} {error:?}", chain(&error));
            assert!(!text.contains("s3cret") && !text.contains("t-"), "{text}");
        }
    }
    let token = |token: &str| Credentials::IdentityToken(Secret::new(token.into()));
    check(Auth::Open, Credentials::None, true, true);
    check(Auth::Basic, password("s3cret"), true, true);
    check(Auth::Basic, password("s3cret wrong"), false, false);
    check(Auth::Basic, Credentials::None, false, false);
    check(Auth::Bearer, Credentials::None, true, false);
    check(Auth::Bearer, password("s3cret"), true, true);
    check(Auth::Closed, password("s3cret wrong"), false, false);
    check(Auth::Identity, token("id-t0ken"), true, true);
    check(Auth::Identity, token("s3cret"), false, false);
    let token = |token: &str| Credentials::RegistryToken(Secret::new(token.into()));
    check(Auth::Bearer, token("t-me"), true, true);
    check(Auth::Closed, token("s3cret"), false, false);
}

#[test]
fn tokens_are_asked_for_once() {
    let fake = fake(Auth::Bearer);
    let mut settings = crate::settings();
    settings
        .logins
        .insert(fake.host.clone(), login(password("s3cret")));
    let repository = repository_with(settings, &fake.host, "acme/app");
    for bytes in [b"x", b"y", b"z"] {
        let content = Descriptor::of("a/b", bytes);
        assert!(!repository.contains(&content).unwrap());
        push(&repository, &content, bytes).unwrap();
    }
    let tokens: Vec<String> = fake
        .lines()
        .into_iter()
        .filter(|line| line.contains("/token"))
        .collect();
    assert_eq!(
        tokens,
        ["GET /token?service=fake&scope=repository:acme/app:pull,push&account=me"]
    );
}

#[test]
fn what_users_are_told() {
    let closed = fake(Auth::Closed);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    let mut settings = crate::settings();
    settings.credentials.candidates = vec![
        Candidate {
            path: None,
            origin: "$REGISTRY_AUTH_FILE".into(),
        },
        Candidate {
            path: Some(path.clone()),
            origin: "Docker's configuration".into(),
        },
    ];
    let error = repository_with(settings.clone(), &closed.host, "acme/app")
        .resolve("1")
        .unwrap_err();
    assert_eq!(
        chain(&error),
        format!(
            "{host}/acme/app failed: {host} asks for credentials and there are none\n  \
             looked in: $REGISTRY_AUTH_FILE (unset), {} (absent)",
            path.display(),
            host = closed.host,
        )
    );
    let bearer = fake(Auth::Bearer);
    settings
        .logins
        .insert(bearer.host.clone(), login(password("wrong")));
    let repository = repository_with(settings, &bearer.host, "acme/app");
    let error = push(&repository, &Descriptor::of("a/b", b"x"), b"x").unwrap_err();
    assert_eq!(
        chain(&error),
        format!(
            "{host}/acme/app failed: {host} refused: 401 UNAUTHORIZED, \"the fake says no\"\n  \
             signed in as `me`, with the credentials in `/home/ci/.docker/config.json`",
            host = bearer.host,
        )
    );
}

#[test]
fn a_login_is_checked_before_it_is_kept() {
    for auth in [Auth::Basic, Auth::Closed] {
        let fake = fake(auth);
        let client = Client::new(crate::settings()).unwrap();
        client.check_login(&fake.host, &password("s3cret")).unwrap();
        assert!(
            client
                .check_login(&fake.host, &password("wrong"))
                .unwrap_err()
                .is_unauthorized()
        );
        assert!(client.ping(&fake.host).unwrap_err().is_unauthorized());
    }
}

#[test]
fn authorization_stays_with_its_host() {
    let (store, fake) = (Fake::start(Quirks::default()), fake(Auth::Basic));
    store.put_blob("acme/app", b"elsewhere");
    fake.quirks().redirect_blobs = Some(format!("http://{}", store.host));
    let mut settings = crate::settings();
    settings
        .logins
        .insert(fake.host.clone(), login(password("s3cret")));
    let source = repository_with(settings, &fake.host, "acme/app");
    let content = Descriptor::of("a/b", b"elsewhere");
    assert_eq!(
        corten_content::read(&source, &content, 100).unwrap(),
        b"elsewhere"
    );
    let seen = store.log().clone();
    assert_eq!(seen.len(), 1);
    assert!(seen[0].target.ends_with("?sig=s3cret"));
    assert!(!seen[0].headers.contains_key("authorization"), "{seen:?}");
    // The signature in the URL is in no message.
    store.quirks().auth = Auth::Basic;
    let error = corten_content::read(&source, &content, 100).unwrap_err();
    assert!(
        !format!("{} {error:?}", chain(&error)).contains("s3cret"),
        "{error:?}"
    );
}

#[test]
fn an_upload_elsewhere_gets_no_credentials() {
    for elsewhere in [Auth::Open, Auth::Basic, Auth::Closed] {
        let store = Fake::start(Quirks {
            auth: elsewhere,
            ..Quirks::default()
        });
        let fake = fake(Auth::Basic);
        fake.change(|options| options.single_post = false);
        fake.quirks().upload_base = Some(format!("http://{}", store.host));
        let mut settings = crate::settings();
        settings
            .logins
            .insert(fake.host.clone(), login(password("s3cret")));
        let repository = repository_with(settings, &fake.host, "acme/app");
        push(&repository, &Descriptor::of("a/b", b"x"), b"x").unwrap_err();
        let seen = store.log().clone();
        assert!(!seen.is_empty());
        for request in seen {
            assert!(
                !request.headers.contains_key("authorization"),
                "{request:?}"
            );
            assert!(!request.target.starts_with("/token"), "{request:?}");
        }
    }
}

/// Opens uploads at an address without TLS, as a registry does behind a proxy that does not tell
/// it how it is spoken to.
#[derive(Default)]
struct Downgrade(Mutex<Vec<String>>);

impl Transport for Downgrade {
    fn send(&self, request: Request) -> corten_registry::Result<Response> {
        self.0.lock().unwrap().push(request.url.to_string());
        Ok(Response {
            status: 202,
            headers: Headers::new().with("Location", "http://registry.example/u"),
            body: Box::new(std::io::empty()),
        })
    }
}

#[test]
fn an_upload_does_not_leave_tls() {
    let transport = Arc::new(Downgrade::default());
    let client = Client::over(
        crate::settings(),
        Arc::clone(&transport) as Arc<dyn Transport>,
    );
    let reference = "registry.example/acme/app".parse().unwrap();
    let repository = Repository::new(&client, &reference).unwrap();
    let error = push(&repository, &Descriptor::of("a/b", b"x"), b"x").unwrap_err();
    assert!(
        chain(&error).contains("from `https` to `http`")
            && chain(&error).contains("X-Forwarded-Proto"),
        "{}",
        chain(&error)
    );
    let asked = transport.0.lock().unwrap();
    assert!(
        asked.iter().all(|url| url.starts_with("https://")),
        "{asked:?}"
    );
}

#[test]
fn an_identity_token_stays_with_its_server() {
    let (other, fake) = (Fake::start(Quirks::default()), fake(Auth::Identity));
    fake.quirks().redirect_token = Some(format!("http://{}", other.host));
    let mut settings = crate::settings();
    let token = Credentials::IdentityToken(Secret::new("id-t0ken".into()));
    settings.logins.insert(fake.host.clone(), login(token));
    let repository = repository_with(settings, &fake.host, "acme/app");
    let error = repository.resolve("1").unwrap_err();
    assert!(
        chain(&error).contains("holds credentials"),
        "{}",
        chain(&error)
    );
    assert!(other.lines().is_empty(), "{:?}", other.lines());
}

#[test]
fn a_token_server_that_is_not_there_is_no_missing_image() {
    let fake = fake(Auth::Closed);
    fake.quirks().token_status = Some(404);
    let mut settings = crate::settings();
    settings
        .logins
        .insert(fake.host.clone(), login(password("s3cret")));
    let repository = repository_with(settings, &fake.host, "acme/app");
    let error = repository.resolve("1").unwrap_err();
    assert!(!error.is_not_found(), "{error:?}");
    let expected = format!(
        "the answer of `http://{}/token` breaks the protocol: the token server refused: 404 \
         UNSUPPORTED, \"the fake says no\"",
        fake.host
    );
    assert!(chain(&error).contains(&expected), "{}", chain(&error));
}
