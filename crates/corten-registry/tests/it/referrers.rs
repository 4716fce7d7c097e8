//! Referrers, from the registry's list or from the fallback tag.

use corten_content::Source;
use corten_spec::{Descriptor, Digest, Index, document, media_type};
use serde_json::{Value, json};

use crate::fake::{Fake, Quirks};
use crate::pull::INDEX;
use crate::{chain, push, repository};

/// Pushes a manifest about `INDEX` and returns its digest.
fn push_about(fake: &Fake, artifact_type: &str) -> corten_content::Result<Digest> {
    let subject = Descriptor::of(media_type::OCI_INDEX, INDEX);
    let mut index = Index::oci(Vec::new());
    index.artifact_type = Some(artifact_type.into());
    index.subject = Some(subject);
    index.annotations.insert("k".into(), "v".into());
    let bytes = document::to_bytes(&index);
    let content = Descriptor::of(media_type::OCI_INDEX, &bytes);
    push(&repository(fake), &content, &bytes)?;
    Ok(content.digest)
}

fn fallback_tag() -> String {
    Digest::sha256(INDEX).to_string().replace(':', "-")
}

#[test]
fn lists_of_registries() {
    #[track_caller]
    fn check(quirks: Quirks) {
        let name = format!("{quirks:?}");
        let fake = Fake::start(quirks);
        let subject = Digest::sha256(INDEX);
        assert_eq!(repository(&fake).referrers(&subject).unwrap(), [], "{name}");
        let mut pushed: Vec<Digest> = ["a/x", "a/y", "a/z"]
            .map(|kind| push_about(&fake, kind).unwrap())
            .into();
        pushed.sort();
        let mut found = repository(&fake).referrers(&subject).unwrap();
        found.sort_by(|a, b| a.digest.cmp(&b.digest));
        let digests: Vec<Digest> = found.iter().map(|found| found.digest.clone()).collect();
        assert_eq!(digests, pushed, "{name}");
        let filtered = repository(&fake)
            .referrers_of_type(&subject, Some("a/y"))
            .unwrap();
        assert_eq!(filtered.len(), 1, "{name}");
        assert_eq!(filtered[0].artifact_type.as_deref(), Some("a/y"));
    }
    check(Quirks::default());
    check(Quirks {
        page: Some(1),
        ..Quirks::default()
    });
    check(Quirks {
        no_referrers: true,
        ..Quirks::default()
    });
}

#[test]
fn the_fallback_tag_is_kept() {
    let fake = Fake::start(Quirks {
        no_referrers: true,
        ..Quirks::default()
    });
    let tag = fallback_tag();
    // Somebody else's index, with a field that is not ours to lose.
    let first = json!({ "schemaVersion": 2, "manifests": [], "x-other": 1 }).to_string();
    fake.put_manifest("acme/app", &tag, media_type::OCI_INDEX, first.as_bytes());
    let one = push_about(&fake, "a/x").unwrap();
    let two = push_about(&fake, "a/y").unwrap();
    push_about(&fake, "a/x").unwrap();
    let index =
        || -> Value { serde_json::from_slice(&fake.manifest("acme/app", &tag).unwrap()).unwrap() };
    let entry = |digest: &Digest, kind: &str| {
        let size = fake.manifest("acme/app", digest.as_str()).unwrap().len();
        json!({ "mediaType": media_type::OCI_INDEX, "digest": digest, "size": size,
            "artifactType": kind, "annotations": { "k": "v" } })
    };
    let expected = json!({ "schemaVersion": 2, "x-other": 1,
        "manifests": [entry(&one, "a/x"), entry(&two, "a/y")] });
    assert_eq!(index(), expected);
    repository(&fake).delete_manifest(&one).unwrap();
    assert_eq!(index()["manifests"].as_array().unwrap().len(), 1);
}

/// distribution-spec, Pushing Manifests with Subject: conditional requests keep what others add meanwhile.
#[test]
fn what_others_add_to_the_fallback_tag_meanwhile_stays() {
    #[track_caller]
    fn check(others_write: usize, expected: Option<usize>) {
        let fake = Fake::start(Quirks {
            no_referrers: true,
            others_write,
            ..Quirks::default()
        });
        push_about(&fake, "a/x").unwrap();
        let pushed = push_about(&fake, "a/y");
        assert_eq!(pushed.is_ok(), expected.is_some(), "{others_write}");
        let Some(expected) = expected else {
            return;
        };
        let index = fake.manifest("acme/app", &fallback_tag()).unwrap();
        let index: Value = serde_json::from_slice(&index).unwrap();
        let n_entries = index["manifests"].as_array().unwrap().len();
        assert_eq!(n_entries, expected, "{others_write}: {index}");
    }
    check(0, Some(2));
    check(3, Some(5));
    // Whoever is always quicker has the tag.
    check(usize::MAX, None);
}

#[test]
fn a_fallback_tag_that_is_something_else_is_left_alone() {
    let fake = Fake::start(Quirks {
        no_referrers: true,
        ..Quirks::default()
    });
    let manifest = br#"{"schemaVersion":2,"config":{},"layers":[]}"#;
    fake.put_manifest(
        "acme/app",
        &fallback_tag(),
        media_type::OCI_MANIFEST,
        manifest,
    );
    let error = push_about(&fake, "a/x").unwrap_err();
    assert!(
        chain(&error).contains("which should list referrers"),
        "{}",
        chain(&error)
    );
    assert_eq!(
        fake.manifest("acme/app", &fallback_tag()).unwrap(),
        manifest
    );
    assert_eq!(
        repository(&fake).referrers(&Digest::sha256(INDEX)).unwrap(),
        []
    );
}

#[test]
fn a_web_page_instead_of_a_list() {
    let fake = Fake::start(Quirks {
        html_referrers: true,
        ..Quirks::default()
    });
    assert_eq!(
        repository(&fake).referrers(&Digest::sha256(INDEX)).unwrap(),
        []
    );
}

#[test]
fn who_writes_the_fallback_tag_at_once_loses_nothing() {
    const WRITERS: usize = 12;
    let fake = Fake::start(Quirks {
        no_referrers: true,
        ..Quirks::default()
    });
    // Each is a client of its own, as in another process: no lock of ours keeps them apart.
    let mut pushed: Vec<Digest> = std::thread::scope(|scope| {
        let fake = &fake;
        let writers: Vec<_> = (0..WRITERS)
            .map(|number| scope.spawn(move || push_about(fake, &format!("a/{number}")).unwrap()))
            .collect();
        writers
            .into_iter()
            .map(|writer| writer.join().unwrap())
            .collect()
    });
    let found = repository(&fake).referrers(&Digest::sha256(INDEX)).unwrap();
    let mut found: Vec<Digest> = found.into_iter().map(|entry| entry.digest).collect();
    pushed.sort();
    found.sort();
    assert_eq!(found, pushed);
    let log = fake.log();
    let has = |name: &str| log.iter().any(|request| request.header(name).is_some());
    assert!(has("if-none-match") && has("if-match"));
}

#[test]
fn a_registry_without_conditions_gets_none() {
    let fake = Fake::start(Quirks {
        no_referrers: true,
        ..Quirks::default()
    });
    fake.change(|options| options.conditions = false);
    push_about(&fake, "a/x").unwrap();
    push_about(&fake, "a/y").unwrap();
    let log = fake.log().clone();
    assert!(
        log.iter()
            .all(|request| request.header("if-match").is_none())
    );
    assert_eq!(
        repository(&fake)
            .referrers(&Digest::sha256(INDEX))
            .unwrap()
            .len(),
        2
    );
}
