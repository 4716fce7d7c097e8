//! What is asked of registries directly: lists, referrers, manifests, blobs, and deleting them.

use corten_spec::{Descriptor, Digest, Index, Manifest, document, media_type};
use corten_testing::Registry;
use corten_testing::registry::{Interposer, Request, Response};
use serde_json::{Value, json};

use crate::program::{Program, Ran};

const INDEX: &[u8] = br#"{"schemaVersion":2,"manifests":[]}"#;

/// A registry with `acme/app`, of which two tags are the same.
fn registry() -> Registry {
    let registry = Registry::start();
    for tag in ["1", "1.2", "latest"] {
        registry.put_manifest("acme/app", tag, media_type::OCI_INDEX, INDEX);
    }
    registry.put_manifest("acme/other", "1", media_type::OCI_INDEX, INDEX);
    registry
}

fn name(registry: &Registry, tail: &str) -> String {
    format!("{}/acme/app{tail}", registry.host())
}

/// Runs the program, and returns what it printed without the registry's port.
fn run(program: &Program, registry: &Registry, args: &[&str]) -> Ran {
    let output = program.command(args).output().unwrap();
    let text = |bytes| {
        String::from_utf8(bytes)
            .unwrap()
            .replace(registry.host(), "HOST")
    };
    Ran {
        stdout: text(output.stdout),
        stderr: text(output.stderr),
        code: output.status.code().unwrap(),
    }
}

#[track_caller]
fn check(ran: &Ran, code: i32, stdout: &str, stderr: &str) {
    assert_eq!(
        (ran.code, ran.stdout.as_str(), ran.stderr.as_str()),
        (code, stdout, stderr)
    );
}

#[test]
fn tags_and_repositories() {
    let (program, registry) = (Program::new(), registry());
    let app = name(&registry, "");
    let ask = |args: &[&str]| run(&program, &registry, args);
    check(&ask(&["tags", &app]), 0, "1\n1.2\nlatest\n", "");
    check(
        &ask(&["tags", &app, "--after", "1", "--first", "1"]),
        0,
        "1.2\n",
        "",
    );
    check(
        &ask(&["catalog", registry.host()]),
        0,
        "acme/app\nacme/other\n",
        "",
    );
    let tags: Value =
        serde_json::from_str(&ask(&["tags", &app, "--format", "json"]).stdout).unwrap();
    assert_eq!(
        tags,
        json!({ "repository": "HOST/acme/app", "tags": ["1", "1.2", "latest"] })
    );
    let list = ask(&["catalog", registry.host(), "--format", "json"]).stdout;
    let list: Value = serde_json::from_str(&list).unwrap();
    assert_eq!(
        list,
        json!({ "registry": "HOST", "repositories": ["acme/app", "acme/other"] })
    );
    let absent = format!("{}/acme/none", registry.host());
    let error = "error: cannot list the tags of `HOST/acme/none`\n  \
        caused by: `tags` is not in HOST/acme/none\n";
    check(&ask(&["tags", &absent]), 1, "", error);
}

/// Warns of something on every answer.
struct Warning;

impl Interposer for Warning {
    fn after(&mut self, _: &Request, response: &mut Response) {
        response.set("Warning", "299 - \"this registry moves\"");
    }
}

#[test]
fn warnings_are_shown_once() {
    let (program, registry) = (Program::new(), registry());
    registry.change(|options| options.page = 1);
    registry.interpose(Warning);
    let ran = run(&program, &registry, &["tags", &name(&registry, "")]);
    check(
        &ran,
        0,
        "1\n1.2\nlatest\n",
        "warning: HOST: this registry moves\n",
    );
}

#[test]
fn deleting_says_what_goes() {
    let (program, registry) = (Program::new(), registry());
    let ask = |args: &[&str]| run(&program, &registry, args);
    let digest = Digest::sha256(INDEX);
    let by_digest = name(&registry, &format!("@{digest}"));
    let ran = ask(&["delete", &name(&registry, ":1.2"), "--dry-run"]);
    let line = format!("would be deleted: tag `HOST/acme/app:1.2`, which named `{digest}`\n");
    check(&ran, 0, &line, "");
    assert!(registry.manifest("acme/app", "1.2").is_some());
    let ran = ask(&["delete", &name(&registry, ":1.2")]);
    let line = format!("deleted: tag `HOST/acme/app:1.2`, which named `{digest}`\n");
    check(&ran, 0, &line, "");
    assert!(registry.manifest("acme/app", "1.2").is_none());
    let ran = ask(&["delete", &by_digest]);
    let error = format!(
        "error: cannot delete `HOST/acme/app@{digest}`\n  \
         caused by: tags name it, which would go with it: 1, latest\n\
         hint: `--with-tags` deletes them, too\n"
    );
    check(&ran, 1, "", &error);
    let ran = ask(&["delete", &by_digest, "--with-tags", "--format", "json"]);
    let deleted: Value = serde_json::from_str(&ran.stdout).unwrap();
    let expected = json!([{ "name": format!("HOST/acme/app@{digest}"), "kind": "manifest",
        "digest": digest, "tags": ["1", "latest"], "dryRun": false }]);
    assert_eq!(deleted, expected);
    assert!(registry.manifest("acme/app", "latest").is_none());
    let ran = ask(&["delete", &name(&registry, "")]);
    assert_eq!(ran.code, 2, "{ran:?}");
}

#[test]
fn a_registry_that_deletes_nothing_loses_nothing() {
    let (program, registry) = (Program::new(), registry());
    registry.change(|options| (options.deletes, options.tag_deletes) = (false, false));
    let ran = run(&program, &registry, &["delete", &name(&registry, ":1")]);
    let digest = Digest::sha256(INDEX);
    let error = format!(
        "error: cannot delete `HOST/acme/app:1`\n  caused by: HOST deletes no tags\n    \
         its manifest is `{digest}`, with which would go: 1, 1.2, latest\n\
         hint: if the registry deletes manifests, `corten delete --with-tags HOST/acme/app@{digest}` \
         deletes all of them\n"
    );
    check(&ran, 1, "", &error);
    assert_eq!(registry.manifest("acme/app", "1").unwrap(), INDEX);
}

#[test]
fn blobs_and_manifests_as_they_are() {
    let (program, registry) = (Program::new(), registry());
    let ask = |args: &[&str]| run(&program, &registry, args);
    let app = name(&registry, "");
    program.write("layer", "hello");
    let digest = Digest::sha256(b"hello");
    let blob = name(&registry, &format!("@{digest}"));
    let line = format!("{digest}\n");
    check(
        &ask(&["blob", "put", &app, "layer", "--dry-run"]),
        0,
        &line,
        "it is not there\n",
    );
    assert_eq!(registry.blob("acme/app", &digest), None);
    check(&ask(&["blob", "put", &app, "layer"]), 0, &line, "");
    check(&ask(&["blob", "get", &blob]), 0, "hello", "");
    check(
        &ask(&["blob", "head", &blob]),
        0,
        &format!("{digest} 5\n"),
        "",
    );
    let ran = program.run_with_input(&["blob", "put", &app, "-"], b"piped");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(
        registry
            .blob("acme/app", &Digest::sha256(b"piped"))
            .is_some()
    );
    check(
        &ask(&["delete", "--blob", &blob]),
        0,
        &format!("deleted: blob `HOST/acme/app@{digest}`\n"),
        "",
    );
    assert_eq!(ask(&["blob", "get", &blob]).code, 1);

    let place = format!("docker://{}", name(&registry, ":1"));
    check(
        &ask(&["manifest", "get", &place]),
        0,
        std::str::from_utf8(INDEX).unwrap(),
        "",
    );
    let other = r#"{"schemaVersion":2,"manifests":[],"annotations":{"a/b":"c"}}"#;
    program.write("index.json", other);
    let line = format!("{}\n", Digest::sha256(other.as_bytes()));
    let next = name(&registry, ":next");
    check(
        &ask(&["manifest", "put", &next, "index.json", "--dry-run"]),
        0,
        &line,
        "",
    );
    assert_eq!(registry.manifest("acme/app", "next"), None);
    check(
        &ask(&["manifest", "put", &next, "index.json"]),
        0,
        &line,
        "",
    );
    assert_eq!(
        registry.manifest("acme/app", "next").unwrap(),
        other.as_bytes()
    );
    let diff = ["manifest", "diff", &place, &format!("docker://{next}")];
    check(&ask(&diff), 0, "+ /annotations: {\"a/b\":\"c\"}\n", "");
    let ran = ask(&[&diff[..], &["--exit-code", "--format", "json"]].concat());
    let found: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(
        found,
        json!([{ "path": "/annotations", "after": { "a/b": "c" } }])
    );
    assert_eq!(ran.code, 1);
    // What is not under the digest that it was to be put under is not put.
    let wrong = name(&registry, &format!("@{}", Digest::sha256(b"other")));
    assert_eq!(ask(&["manifest", "put", &wrong, "index.json"]).code, 3);
}

#[test]
fn referrers_are_a_tree() {
    #[track_caller]
    fn check_with(has_api: bool) {
        let (program, registry) = (Program::new(), registry());
        registry.change(|options| options.referrers = has_api);
        let put = |program: &Program, subject: &Descriptor, kind: &str| {
            let mut index = Index::oci(Vec::new());
            index.artifact_type = Some(kind.to_owned());
            index.subject = Some(subject.clone());
            let bytes = document::to_bytes(&index);
            program.write("referrer.json", std::str::from_utf8(&bytes).unwrap());
            let content = Descriptor::of(media_type::OCI_INDEX, &bytes);
            let name = name(&registry, &format!("@{}", content.digest));
            program.ok(&["manifest", "put", &name, "referrer.json"]);
            content
        };
        let image = Descriptor::of(media_type::OCI_INDEX, INDEX);
        let sbom = put(&program, &image, "a/sbom");
        let signature = put(&program, &sbom, "a/signature");
        let place = format!("docker://{}", name(&registry, ":1"));
        let ran = run(&program, &registry, &["referrers", &place]);
        let expected = format!(
            "docker://HOST/acme/app:1  {}\n└── {}  a/sbom\n    └── {}  a/signature\n",
            image.digest, sbom.digest, signature.digest
        );
        check(&ran, 0, &expected, "");
        let ran = run(
            &program,
            &registry,
            &["referrers", &place, "--format", "json", "--depth", "1"],
        );
        let found: Value = serde_json::from_str(&ran.stdout).unwrap();
        let expected = json!({ "place": "docker://HOST/acme/app:1", "digest": image.digest,
            "referrers": [{ "mediaType": media_type::OCI_INDEX, "digest": sbom.digest,
                "size": sbom.size, "artifactType": "a/sbom", "referrers": [] }] });
        assert_eq!(found, expected);
        let ran = run(
            &program,
            &registry,
            &["referrers", &place, "--artifact-type", "a/other"],
        );
        assert_eq!(ran.stdout.lines().count(), 1);
    }
    check_with(true);
    check_with(false);
}

#[test]
fn a_manifest_whose_blobs_are_not_there_is_refused_by_name() {
    let (program, registry) = (Program::new(), registry());
    let config = Descriptor::of(media_type::OCI_EMPTY, b"{}");
    let manifest = document::to_bytes(&Manifest::oci(config.clone(), Vec::new()));
    program.write("manifest.json", std::str::from_utf8(&manifest).unwrap());
    let ran = run(
        &program,
        &registry,
        &["manifest", "put", &name(&registry, ":x"), "manifest.json"],
    );
    let expected = format!(
        "refused: 404 MANIFEST_BLOB_UNKNOWN, \"`{}` is not",
        config.digest
    );
    assert!(ran.stderr.contains(&expected), "{}", ran.stderr);
}

#[test]
fn configuration_of_registries_is_heeded() {
    let (program, registry) = (Program::new(), registry());
    let conf = format!(
        "[[registry]]\nprefix = \"example.com\"\nlocation = \"{}\"\n\
         [[registry]]\nlocation = \"example.com/secret\"\nblocked = true\n",
        registry.host()
    );
    program.write("home/.config/containers/registries.conf", &conf);
    let ask = |args: &[&str]| run(&program, &registry, args);
    check(
        &ask(&["tags", "example.com/acme/app", "--first", "1"]),
        0,
        "1\n",
        "",
    );
    let ran = ask(&["tags", "example.com/secret/app"]);
    assert!(
        ran.stderr.contains("`example.com/secret/app` is blocked"),
        "{}",
        ran.stderr
    );
    program.write("home/.config/containers/registries.conf", "[[registry]]");
    let ran = ask(&["tags", "example.com/acme/app"]);
    let expected = "registries.conf`: a `[[registry]]` has neither `prefix` nor `location`";
    assert!(ran.stderr.contains(expected), "{}", ran.stderr);
}
