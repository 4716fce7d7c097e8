//! The local store: import, images, tag, rm, gc, inspect, validate.

use crate::program::Program;

#[test]
fn import_makes_the_same_image_every_time() {
    let program = Program::with_base();
    let first = program.ok(&["import", "base.tar", "-t", "first", "--timestamp", "1000"]);
    let second = program.ok(&[
        "import",
        "base.tar",
        "-t",
        "second",
        "--timestamp",
        "1970-01-01T00:16:40Z",
    ]);
    assert_eq!(first, second);
    assert!(first.starts_with("sha256:"), "{first}");
}

#[test]
fn import_of_what_is_no_tar_fails() {
    let program = Program::new();
    program.write("x.tar", "this is no tar, however much of it there is");
    let ran = program.run(&["import", "x.tar", "-t", "x"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(
        ran.stderr
            .starts_with("error: cannot import `x.tar`\n  caused by: "),
        "{ran:?}"
    );
    program.run(&["import", "absent.tar", "-t", "x"]).is(
        1,
        "",
        "error: cannot import `absent.tar`
  caused by: cannot open `absent.tar`
  caused by: No such file or directory (os error 2)",
    );
}

#[test]
fn images_are_listed_tagged_and_removed() {
    let program = Program::with_base();
    program.ok(&["tag", "base", "r.example/acme/app:1"]);
    let ran = program.run(&["images"]);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines.len(), 3, "{ran:?}");
    assert!(lines[0].starts_with("NAME "), "{ran:?}");
    assert!(
        lines[1].starts_with("base:latest ") && lines[1].contains("1970-01-01T00:16:40"),
        "{ran:?}"
    );
    assert!(lines[2].starts_with("r.example/acme/app:1 "), "{ran:?}");

    let json: serde_json::Value =
        serde_json::from_str(&program.ok(&["images", "--format", "json"])).unwrap();
    assert_eq!(json[0]["name"], "docker.io/library/base:latest");
    assert_eq!(json[0]["digest"], json[1]["digest"]);
    assert_eq!(program.ok(&["images", "-q"]).lines().count(), 2);

    program
        .run(&["rm", "base", "r.example/acme/app:1"])
        .is(0, "", "");
    program.run(&["rm", "base"]).is(
        1,
        "",
        "error: cannot remove `docker.io/library/base:latest`
  caused by: `docker.io/library/base:latest` is not in the store `[DIR]/store`",
    );
}

#[test]
fn gc_removes_what_nothing_names() {
    let program = Program::with_base();
    let kept = program.ok(&["gc"]);
    assert!(
        kept.starts_with("removed 0 blobs (0 B), kept 3 ("),
        "{kept}"
    );
    program.ok(&["rm", "base"]);
    let json: serde_json::Value =
        serde_json::from_str(&program.ok(&["gc", "--format", "json"])).unwrap();
    assert_eq!(
        (&json["removedBlobs"], &json["keptBlobs"]),
        (&3.into(), &0.into())
    );
}

#[test]
fn inspect_shows_documents_byte_for_byte() {
    let program = Program::with_base();
    let raw = program.ok(&["inspect", "base", "--raw"]);
    let json: serde_json::Value =
        serde_json::from_str(&program.ok(&["inspect", "base", "--format", "json"])).unwrap();
    assert_eq!(
        json["manifest"],
        serde_json::from_str::<serde_json::Value>(&raw).unwrap()
    );
    assert_eq!(json["config"]["created"], "1970-01-01T00:16:40Z");
    assert_eq!(json["manifestDigest"], json["digest"]);
    let text = program.run(&["inspect", "base"]).stdout;
    assert!(
        text.starts_with("docker.io/library/base:latest\n  manifest    [DIGEST]\n"),
        "{text}"
    );

    program.run(&["inspect", "absent"]).is(
        1,
        "",
        "error: cannot inspect `docker.io/library/absent:latest`
  caused by: `docker.io/library/absent:latest` is not in the store `[DIR]/store`",
    );
}

#[test]
fn validate_ends_with_3_where_content_is_not_what_it_is_called() {
    let program = Program::with_base();
    program
        .run(&["validate", "base"])
        .is(0, "", "`docker.io/library/base:latest` is valid");
    program.ok(&["copy", "base", "oci:layout:v1"]);
    let json: serde_json::Value =
        serde_json::from_str(&program.ok(&["inspect", "base", "--format", "json"])).unwrap();
    let layer = json["manifest"]["layers"][0]["digest"]
        .as_str()
        .unwrap()
        .replace("sha256:", "");
    let path = program.path(&format!("layout/blobs/sha256/{layer}"));
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::remove_file(&path).unwrap();
    program.write(&format!("layout/blobs/sha256/{layer}"), "");
    let ran = program.run(&["validate", "oci:layout:v1"]);
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.stdout.starts_with("must "), "{ran:?}");
    assert_eq!(ran.stderr, "`oci:layout:v1` is not valid");

    // The same lie stops a copy, with the same exit code.
    std::fs::File::create(&path)
        .and_then(|mut file| std::io::Write::write_all(&mut file, &bytes))
        .unwrap();
    let ran = program.run(&["copy", "oci:layout:v1", "oci:other:v1"]);
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(
        ran.stderr
            .contains("  caused by: content does not match its digest\n    expected [DIGEST]"),
        "{ran:?}"
    );
}
