//! What is asked for, and what is made of the answers.

use std::error::Error as _;
use std::io::Read as _;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use corten_objects::{Error, Object, Place, Settings, open};

use crate::server::{Asked, Client, Reply, Server, header};

const SECRET: &str = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY";
const KEYS: &str = "AWS_ACCESS_KEY_ID=AKID AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY \
                    AWS_SESSION_TOKEN=SESSIONSECRET AWS_REGION=eu-central-1";

fn settings(variables: &str, home: Option<&Path>) -> Settings {
    let pairs = variables.split_whitespace().map(|pair| {
        let (name, value) = pair.split_once('=').unwrap();
        (name.to_owned(), value.to_owned())
    });
    let mut settings = Settings::new(pairs, home);
    settings.retries.limit = 2;
    settings.retries.pause = Duration::from_millis(1);
    settings
}

fn open_with(place: &str, settings: &Settings) -> Result<Object, Error> {
    open(&Place::parse(place)?.unwrap(), settings, Client::new())
}

fn open_at(place: &str, variables: &str) -> Result<Object, Error> {
    open_with(place, &settings(variables, None))
}

/// Returns an error and all its causes.
fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    assert!(
        !text.contains(SECRET) && !text.contains("SESSIONSECRET"),
        "{text}"
    );
    text
}

fn ok(body: &[u8]) -> Reply {
    Reply::Whole(200, META.to_owned(), body.to_vec())
}

const META: &str = "ETag: \"1\"\r\nLast-Modified: Mon, 02 Nov 2026 00:00:00 GMT\r\n";

fn xml(status: u16, code: &str, headers: &str) -> Reply {
    let body = format!(
        "<Error><Code>{code}</Code><Message>said</Message>\
         <CanonicalRequest>x-amz-security-token:SESSIONSECRET {SECRET}</CanonicalRequest></Error>"
    );
    Reply::Whole(status, headers.to_owned(), body.into_bytes())
}

#[track_caller]
fn whole(mut object: Object) -> Vec<u8> {
    let mut bytes = Vec::new();
    object.read_to_end(&mut bytes).unwrap();
    assert_eq!(object.size, bytes.len() as u64);
    bytes
}

#[test]
fn an_object_of_s3() {
    let server = Server::new(|_| ok(b"content"));
    let object = open_at(
        "s3://box/dir/a b.tar",
        &format!("{KEYS} S3_ENDPOINT={}", server.url()),
    );
    assert_eq!(whole(object.unwrap()), b"content");
    let asked = &server.asked()[0];
    assert_eq!(asked[0], "GET /box/dir/a%20b.tar HTTP/1.1");
    let signed = header(asked, "authorization").unwrap();
    assert!(
        signed.starts_with("AWS4-HMAC-SHA256 Credential=AKID/"),
        "{signed}"
    );
    assert!(signed.contains("/eu-central-1/s3/aws4_request"), "{signed}");
    assert_eq!(header(asked, "x-amz-security-token"), Some("SESSIONSECRET"));
}

#[test]
fn objects_of_emulators() {
    let server = Server::new(|_| ok(b"content"));
    let place = "gs://box/dir/a b.tar";
    let object = open_at(
        place,
        &format!("STORAGE_EMULATOR_HOST={}", server.authority),
    );
    assert_eq!(whole(object.unwrap()), b"content");
    let place = "https://devstoreaccount1.blob.core.windows.net/box/a.tar";
    let variables = format!(
        "AZURE_STORAGE_SERVICE_ENDPOINT={}/devstoreaccount1 AZURE_STORAGE_ACCESS_KEY=c2VjcmV0 \
         AZURE_STORAGE_ACCOUNT=devstoreaccount1",
        server.url()
    );
    assert_eq!(whole(open_at(place, &variables).unwrap()), b"content");
    let asked = server.asked();
    let lines: Vec<_> = asked.iter().map(|asked| asked[0].as_str()).collect();
    assert_eq!(
        lines,
        [
            "GET /box/dir%2Fa%20b%2Etar HTTP/1.1",
            "GET /devstoreaccount1/box/a.tar HTTP/1.1"
        ]
    );
    assert_eq!(
        header(&asked[0], "authorization")
            .unwrap_or("Bearer")
            .trim(),
        "Bearer"
    );
    let signed = header(&asked[1], "authorization").unwrap();
    assert!(
        signed.starts_with("SharedKey devstoreaccount1:"),
        "{signed}"
    );
}

#[test]
fn what_servers_refuse() {
    #[track_caller]
    fn check(status: u16, code: &'static str, expected: &str) {
        // The region is the one that was asked.
        let region = "x-amz-bucket-region: eu-central-1\r\n";
        let server = Server::new(move |_| xml(status, code, region));
        let variables = format!("{KEYS} S3_ENDPOINT={}", server.url());
        let error = open_at("s3://box/a.tar", &variables).unwrap_err();
        assert_eq!(told(&error), expected);
        assert_eq!(error.is_not_found(), status == 404);
        assert_eq!(error.is_about_credentials(), status == 403);
        // What may pass is tried again.
        assert_eq!(server.lines().len(), if status == 503 { 3 } else { 1 });
    }
    check(
        404,
        "NoSuchKey",
        "`s3://box/a.tar` is not there: status 404 NoSuchKey, \"said\"",
    );
    check(
        403,
        "SignatureDoesNotMatch",
        "`s3://box/a.tar` is refused: status 403 SignatureDoesNotMatch, \"said\"\n  \
         signed in with $AWS_ACCESS_KEY_ID",
    );
    check(
        503,
        "SlowDown",
        "`s3://box/a.tar` cannot be had: status 503 SlowDown, \"said\"",
    );
    check(
        301,
        "PermanentRedirect",
        "`s3://box/a.tar` cannot be had: status 301 PermanentRedirect, \"said\"",
    );
}

#[test]
fn what_servers_say_back_is_hidden() {
    let server = Server::new(|asked| {
        let said = format!("<Message>{} {asked:?}</Message>", asked[0]);
        Reply::Whole(403, String::new(), said.into_bytes())
    });
    let variables = format!(
        "AZURE_STORAGE_SERVICE_ENDPOINT={} AZURE_STORAGE_ACCOUNT=account \
         AZURE_STORAGE_SAS_TOKEN=sv=2024-01-01&sig=SECRET%2BTOKEN",
        server.url()
    );
    let error = open_at(
        "https://account.blob.core.windows.net/box/a.tar",
        &variables,
    );
    let told = told(&error.unwrap_err());
    assert!(
        told.contains("GET /box/a.tar?sv=2024-01-01&sig=***"),
        "{told}"
    );
    assert!(!told.contains("SECRET"), "{told}");
}

#[test]
fn a_bucket_of_another_region() {
    let server = Server::new(|asked| {
        let signed = header(asked, "authorization").unwrap();
        if signed.contains("/us-west-2/s3/") {
            ok(b"content")
        } else {
            xml(
                301,
                "PermanentRedirect",
                "x-amz-bucket-region: us-west-2\r\n",
            )
        }
    });
    let object = open_at(
        "s3://box/a.tar",
        &format!("{KEYS} S3_ENDPOINT={}", server.url()),
    );
    assert_eq!(whole(object.unwrap()), b"content");
    assert_eq!(server.lines().len(), 2);
    // A region becomes a part of a host.
    let server = Server::new(|_| {
        xml(
            301,
            "PermanentRedirect",
            "x-amz-bucket-region: evil.example/\r\n",
        )
    });
    let error = open_at(
        "s3://box/a.tar",
        &format!("{KEYS} S3_ENDPOINT={}", server.url()),
    );
    let expected = "`the region` cannot be used: `evil.example/` is none";
    assert_eq!(told(&error.unwrap_err()), expected);
}

#[test]
fn what_breaks_off_goes_on() {
    let content: Vec<u8> = (0..200_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let sent = content.clone();
    let server = Server::new(move |asked| match header(asked, "range") {
        None => Reply::Cut(META.to_owned(), sent.clone(), 70_000),
        Some(range) => {
            let start: usize = range
                .strip_prefix("bytes=")
                .and_then(|range| range.split('-').next())
                .unwrap()
                .parse()
                .unwrap();
            let headers = format!("{META}Content-Range: bytes {start}-199999/200000\r\n");
            Reply::Whole(206, headers, sent[start..].to_vec())
        }
    });
    let variables = format!("{KEYS} S3_ENDPOINT={}", server.url());
    assert_eq!(
        whole(open_at("s3://box/a.tar", &variables).unwrap()),
        content
    );
    assert_eq!(
        header(&server.asked()[1], "range"),
        Some("bytes=70000-199999")
    );
}

#[test]
fn what_broke_off_for_good() {
    #[track_caller]
    fn check(again: impl Fn() -> Reply + Send + Sync + 'static, expected: &str) {
        let n_asked = AtomicUsize::new(0);
        let server = Server::new(move |_| match n_asked.fetch_add(1, Ordering::SeqCst) {
            0 => Reply::Cut(META.to_owned(), vec![7; 9000], 4000),
            _ => again(),
        });
        let variables = format!("{KEYS} S3_ENDPOINT={}", server.url());
        let mut object = open_at("s3://box/a.tar", &variables).unwrap();
        let mut bytes = Vec::new();
        let error = object.read_to_end(&mut bytes).unwrap_err();
        let error = error.downcast::<Error>().unwrap();
        assert!(told(&error).starts_with(expected), "{}", told(&error));
        assert_eq!(bytes.len(), 4000);
    }
    check(|| Reply::Silence, "cannot fetch `s3://box/a.tar`: ");
    check(
        || xml(403, "ExpiredToken", ""),
        "`s3://box/a.tar` is refused: status 403 ExpiredToken",
    );
    // It became another object meanwhile.
    let other = || {
        let headers = format!(
            "{}Content-Range: bytes 4000-8999/9000\r\n",
            META.replace('1', "2")
        );
        Reply::Whole(206, headers, vec![8; 5000])
    };
    check(other, "cannot fetch `s3://box/a.tar`: ");
}

#[test]
fn who_says_nothing() {
    let server = Server::new(|_| Reply::Silence);
    let error = open_at(
        "s3://box/a.tar",
        &format!("{KEYS} S3_ENDPOINT={}", server.url()),
    );
    let told = told(&error.unwrap_err());
    assert!(
        told.starts_with("cannot fetch `s3://box/a.tar`: timeout"),
        "{told}"
    );
    assert_eq!(server.lines().len(), 3);
}

/// Answers for credentials as AWS does, and signs with them.
fn aws(asked: &Asked) -> Reply {
    let credentials = br#"{"AccessKeyId": "ROLE", "SecretAccessKey": "s", "Token": "t", "Code": "Success",
        "Type": "AWS-HMAC", "LastUpdated": "2026-11-01T00:00:00Z", "Expiration": "2999-01-01T00:00:00Z"}"#;
    let line = asked[0].as_str();
    match line.strip_suffix(" HTTP/1.1").unwrap() {
        "PUT /latest/api/token" => ok(b"metadata-token"),
        "GET /latest/meta-data/iam/security-credentials/" => ok(b"role"),
        "GET /latest/meta-data/iam/security-credentials/role" => ok(credentials),
        "GET /pod" if header(asked, "authorization") == Some("pod token") => ok(credentials),
        line if line.starts_with("POST /sts") || line.starts_with("POST /?") => {
            let id = "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>\
                      <AccessKeyId>ROLE</AccessKeyId><SecretAccessKey>s</SecretAccessKey>\
                      <SessionToken>t</SessionToken><Expiration>2999-01-01T00:00:00Z</Expiration>\
                      </Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>";
            ok(id.as_bytes())
        }
        _ => match header(asked, "authorization") {
            Some(signed) => ok(signed.as_bytes()),
            None => xml(403, "AccessDenied", ""),
        },
    }
}

#[test]
fn whose_credentials_are_taken() {
    let server = Server::new(aws);
    let home = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = home.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut file = std::fs::File::create(path).unwrap();
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    };
    let token = home.path().join("token");
    write("token", "pod token");
    let url = server.url();
    let here = format!("S3_ENDPOINT={url} AWS_EC2_METADATA_SERVICE_ENDPOINT={url}/");
    let check = |variables: &str, expected: &str| {
        let variables = format!("{here} {variables}");
        let object = open_with("s3://box/a", &settings(&variables, Some(home.path())));
        let found = match object {
            Ok(object) => String::from_utf8(whole(object)).unwrap(),
            Err(error) => told(&error),
        };
        assert!(found.contains(expected), "{variables}\n{found}");
    };
    // From the last to the first.
    check("", "Credential=ROLE/");
    let pod = format!(
        "AWS_CONTAINER_CREDENTIALS_FULL_URI={url}/pod AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE={}",
        token.display()
    );
    check(
        &format!("{pod} AWS_EC2_METADATA_DISABLED=true"),
        "Credential=ROLE/",
    );
    write(
        ".aws/credentials",
        "[default]\naws_access_key_id = USUAL\naws_secret_access_key = s\n[tool]\ncredential_process = x\n",
    );
    write(".aws/config", "[default]\nregion = ap-south-1\n");
    check(&pod, "Credential=USUAL/");
    check("", "/ap-south-1/s3/");
    let role = format!(
        "AWS_ROLE_ARN=arn AWS_WEB_IDENTITY_TOKEN_FILE={} AWS_ENDPOINT_URL_STS={url}",
        token.display()
    );
    check(&role, "Credential=ROLE/");
    check(&format!("{role} AWS_PROFILE=default"), "Credential=USUAL/");
    check(&format!("{role} {KEYS}"), "Credential=AKID/");
    check(
        "AWS_PROFILE=absent",
        "`AWS_PROFILE` cannot be used: no file has the profile `absent`",
    );
    check(
        "AWS_PROFILE=tool",
        "its credentials are by `credential_process`",
    );
    check(
        "AWS_ACCESS_KEY_ID=a",
        "it needs `AWS_SECRET_ACCESS_KEY`, which is unset",
    );
}

/// Some servers of objects give out credentials at their root.
#[test]
fn a_service_for_credentials_beside_the_object() {
    let server = Server::new(|_| xml(403, "AccessDenied", ""));
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    let mut file = std::fs::File::create(&token).unwrap();
    std::io::Write::write_all(&mut file, b"token").unwrap();
    let url = server.url();
    let variables = format!(
        "S3_ENDPOINT={url} AWS_ENDPOINT_URL_STS={url} AWS_ROLE_ARN=arn AWS_WEB_IDENTITY_TOKEN_FILE={}",
        token.display()
    );
    let error = open_at("s3://box/a", &variables).unwrap_err();
    let told = told(&error);
    assert!(told.starts_with("there are no credentials for"), "{told}");
    assert!(
        told.ends_with("status 403 AccessDenied, \"said\""),
        "{told}"
    );
    assert!(server.lines().iter().all(|line| line.starts_with("POST")));
}

#[test]
fn where_credentials_were_looked_for() {
    let server = Server::new(|_| Reply::Whole(404, String::new(), Vec::new()));
    let url = server.url();
    let here = format!("S3_ENDPOINT=http://127.0.0.1:1 AWS_EC2_METADATA_SERVICE_ENDPOINT={url}");
    let error = open_at("s3://box/a", &here).unwrap_err();
    assert_eq!(
        told(&error),
        "there are no credentials for `s3://box/a`\n  looked in: $AWS_ACCESS_KEY_ID (unset), the files \
         `credentials` and `config` of `~/.aws` (no profile), $AWS_WEB_IDENTITY_TOKEN_FILE (unset), \
         $AWS_CONTAINER_CREDENTIALS_RELATIVE_URI (unset), $AWS_CONTAINER_CREDENTIALS_FULL_URI (unset), \
         the instance's metadata: status 404"
    );
    assert!(error.is_about_credentials());
    let error = open_at("s3://box/a", "AWS_EC2_METADATA_DISABLED=true").unwrap_err();
    assert!(
        told(&error).ends_with("$AWS_EC2_METADATA_DISABLED (true)"),
        "{error}"
    );
}

/// Who asks Azure for a blob, and whom: `ACCOUNT.blob.core.windows.net` is a server here.
#[test]
fn who_asks_azure() {
    const KEY: &str = "AZURE_STORAGE_ACCESS_KEY=c2VjcmV0";
    const SAS: &str = "AZURE_STORAGE_SAS_TOKEN=sig=SESSIONSECRET";
    const IDENTITY: &str = "IDENTITY_ENDPOINT=http://identity/msi";
    let check = |variables: &str, expected: &str| {
        // Blobs of `open` are for everyone, others for whoever says a word.
        let server = Server::new(|asked| match asked[0].split(' ').nth(1).unwrap() {
            line if line.starts_with("/msi") => {
                ok(br#"{"access_token": "SESSIONSECRET", "expires_on": "32503680000"}"#)
            }
            "/open/a" => ok(b"open"),
            line if line.contains("sig=") => ok(b"by signature"),
            _ => match header(asked, "authorization") {
                Some(header) => ok(header.split(':').next().unwrap().as_bytes()),
                None => Reply::Whole(
                    404,
                    "x-ms-error-code: ResourceNotFound\r\n".to_owned(),
                    vec![],
                ),
            },
        });
        let found = ["open", "box"].map(|container| {
            let place = format!("https://acct.blob.core.windows.net/{container}/a");
            let place = Place::parse(&place).unwrap().unwrap();
            let client = Client::to(&server.authority);
            match open(&place, &settings(variables, None), client) {
                Ok(object) => String::from_utf8(whole(object)).unwrap(),
                Err(error) => told(&error),
            }
        });
        let found = found.join(" ").replace("SESSIONSECRET", "***");
        assert!(found.contains(expected), "{variables}\n{found}");
        let heard = server.asked().concat().join("\n");
        (found, heard)
    };
    let named = "AZURE_STORAGE_ACCOUNT=acct";
    check(&format!("{KEY} {named}"), "open SharedKey acct");
    check(&format!("{SAS} {named}"), "by signature by signature");
    check(&format!("{KEY} {IDENTITY} {named}"), "open SharedKey acct");
    let refused = "open there are no credentials for `https://acct.blob.core.windows.net/box/a`";
    check("", refused);
    for account in ["", "AZURE_STORAGE_ACCOUNT=other"] {
        let (found, heard) = check(&format!("{KEY} {SAS} {account}"), refused);
        assert!(found.contains("$AZURE_STORAGE_ACCESS_KEY (set)"), "{found}");
        assert!(
            found.contains("those are only used if it is acct"),
            "{found}"
        );
        assert!(found.ends_with("status 404 ResourceNotFound"), "{found}");
        assert!(!heard.contains("sig=") && !heard.contains("SharedKey"));
        let (_, heard) = check(&format!("{SAS} {IDENTITY} {account}"), "open Bearer ***");
        assert_eq!(heard.matches("Bearer").count(), 1, "{heard}");
        assert!(!heard.contains("sig="));
    }
    check(
        &format!("AZURE_STORAGE_ACCESS_KEY=! {named}"),
        "`AZURE_STORAGE_ACCESS_KEY` cannot be used",
    );
    let place = Place::parse("https://acct.blob.core.windows.net/box/a").unwrap();
    let settings = settings(KEY, None).for_account_of(&place.unwrap());
    assert!(format!("{settings:?}").contains("AZURE_STORAGE_ACCOUNT"));
}

/// The library would ask the environment of this process, which is for the caller to do.
#[test]
fn the_instances_metadata_is_where_the_settings_say() {
    let server = Server::new(|asked| {
        if asked[0].contains("/computeMetadata/") {
            ok(b"{\"access_token\":\"TOKEN\",\"expires_in\":3600,\"token_type\":\"Bearer\"}")
        } else {
            ok(b"content")
        }
    });
    // Everything but the metadata is elsewhere.
    let settings = settings(&format!("GCE_METADATA_HOST={}", server.authority), None);
    let place = Place::parse("gs://box/a").unwrap().unwrap();
    open(&place, &settings, Client::new()).unwrap_err();
    let asked = server.asked();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert!(
        asked[0][0].starts_with("GET /computeMetadata/v1/instance/service-accounts/default/token"),
        "{asked:?}"
    );
    assert_eq!(header(&asked[0], "metadata-flavor"), Some("Google"));
    // Of all hosts in one place, the object's is sent the token.
    let object = open(&place, &settings, Client::to(&server.authority)).unwrap();
    assert_eq!(whole(object), b"content");
    let asked = server.asked();
    let last = asked.last().unwrap();
    assert_eq!(header(last, "authorization"), Some("Bearer TOKEN"));
}

#[test]
fn files_of_google_credentials() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key.json");
    let variables = format!("GOOGLE_APPLICATION_CREDENTIALS={}", path.display());
    let error = open_at("gs://box/a", &variables).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("cannot read `{}`", path.display())
    );
    assert!(error.source().is_some());
    for (text, expected) in [
        (
            "{\"type\": \"external_account\"}",
            "unknown variant `external_account`",
        ),
        ("{", "EOF while parsing"),
    ] {
        let mut file = std::fs::File::create(&path).unwrap();
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
        let told = told(&open_at("gs://box/a", &variables).unwrap_err());
        assert!(told.contains(expected), "{told}");
    }
}

#[test]
fn settings_do_not_show_their_values() {
    let settings = settings(KEYS, None);
    let shown = format!("{settings:?}");
    assert!(
        !shown.contains(SECRET) && shown.contains("AWS_SECRET_ACCESS_KEY"),
        "{shown}"
    );
}
