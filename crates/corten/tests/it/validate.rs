//! `corten validate`: what it prints, what it ends with, and how much memory it takes.

use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::process::Command;

use corten_spec::{Algorithm, Digest, Hasher};
use corten_tar::{END, Entry, EntryKind, write_header};
use serde_json::{Value, json};

use crate::program::Program;

/// Writes a blob of the layout `layout`, and returns its descriptor.
fn add(program: &Program, media_type: &str, bytes: &[u8]) -> Value {
    let digest = Digest::sha256(bytes);
    let path = format!("layout/blobs/sha256/{}", digest.encoded());
    program.write(&path, std::str::from_utf8(bytes).unwrap());
    json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
}

/// Makes a layout of one image.
fn layout(program: &Program, layer: &Value, diff_id: &Digest, change: impl FnOnce(&mut Value)) {
    let mut config = json!({
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
    });
    change(&mut config);
    let config = add(
        program,
        "application/vnd.oci.image.config.v1+json",
        config.to_string().as_bytes(),
    );
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({
        "schemaVersion": 2, "mediaType": media_type, "config": config, "layers": [layer],
    });
    let mut manifest = add(program, media_type, manifest.to_string().as_bytes());
    manifest["platform"] = json!({"os": "linux", "architecture": "amd64"});
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [manifest],
    });
    program.write("layout/index.json", &index.to_string());
    program.write("layout/oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#);
}

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// Makes a layout of an image whose layer is empty.
fn small(change: impl FnOnce(&mut Value)) -> Program {
    let program = Program::new();
    let layer = add(&program, LAYER, &END);
    layout(&program, &layer, &Digest::sha256(&END), change);
    program
}

#[test]
fn findings_as_json() {
    let program = small(|config| drop(config.as_object_mut().unwrap().remove("architecture")));
    let ran = program.run(&["validate", "oci:layout", "--format", "json"]);
    assert_eq!(ran.code, 3, "{ran:?}");
    let mut report: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert!(report["findings"][0]["where"]["digest"].is_string());
    report["findings"][0]["where"]["digest"] = Value::Null;
    let expected = json!({
        "place": "oci:layout",
        "valid": false,
        "counts": {"must": 1, "should": 0, "note": 0},
        "findings": [{
            "level": "must",
            "requirement": "CFG-10",
            "statement": "a config names its processor architecture, in Go's names",
            "where": {
                "digest": null, "file": null, "pointer": "/architecture", "entry": null,
                "offset": null,
            },
            "message": "it is not there",
            "expected": "a name of Go's, such as `amd64` or `linux`",
            "received": null,
            "advice": "name the architecture, such as `amd64` or `arm64`",
            "more": 0,
        }],
    });
    assert_eq!(report, expected);
}

#[test]
fn warnings_are_errors_where_that_is_asked_for() {
    let program = small(|config| config["config"] = json!({"WorkingDir": "app"}));
    let ran = program.run(&["validate", "oci:layout"]);
    assert!(ran.stdout.starts_with("should CFG-23 "), "{ran:?}");
    assert_eq!(ran.stderr, "`oci:layout` is valid; 1 warning");
    assert_eq!(ran.code, 0);
    let ran = program.run(&["validate", "oci:layout", "--strict"]);
    assert_eq!(ran.stderr, "`oci:layout` is not valid; 1 warning");
    assert_eq!(ran.code, 3);
    // What is merely worth knowing is no error to anybody.
    let program = small(|config| config["config"] = json!({"ArgsEscaped": true}));
    let ran = program.run(&["validate", "oci:layout", "--strict"]);
    assert!(ran.stdout.starts_with("note CFG-26 "), "{ran:?}");
    assert_eq!(ran.code, 0);
}

#[test]
fn an_archive_without_a_name_is_checked_with_all_its_images() {
    let program = Program::with_base();
    program.ok(&[
        "save",
        "base",
        "-o",
        "base.tar",
        "--format",
        "docker-archive",
    ]);
    program.run(&["validate", "docker-archive:base.tar"]).is(
        0,
        "",
        "`docker-archive:base.tar` is valid",
    );
}

/// A layer of 512 MiB is checked with 64 MiB of memory, all of the program counted.
#[test]
fn memory_does_not_grow_with_a_layer() {
    const SIZE: u64 = 512 << 20;
    let program = Program::new();
    let mut entry = Entry::new(EntryKind::File, "zeros");
    entry.size = SIZE;
    let mut head = Vec::new();
    write_header(&entry, &mut head).unwrap();
    let mut hasher = Hasher::new(Algorithm::Sha256);
    hasher.update(&head);
    let zeros = vec![0; 1 << 20];
    (0..SIZE >> 20).for_each(|_| hasher.update(&zeros));
    hasher.update(&END);
    let digest = hasher.finish();

    let blob = format!("layout/blobs/sha256/{}", digest.encoded());
    program.write(&blob, "");
    let mut file = File::create(program.path(&blob)).unwrap();
    file.write_all(&head).unwrap();
    let size = file
        .seek(SeekFrom::Current((SIZE + 1024).cast_signed()))
        .unwrap();
    file.set_len(size).unwrap();
    let layer = json!({"mediaType": LAYER, "digest": digest, "size": size});
    layout(&program, &layer, &digest, |_| ());

    let limited = |kib: u64| {
        let command = program.command(&["validate", "oci:layout"]);
        let mut shell = Command::new("sh");
        shell
            .args([
                "-c",
                "ulimit -d \"$1\" && shift && exec \"$@\"",
                "sh",
                &kib.to_string(),
            ])
            .arg(command.get_program())
            .args(command.get_args())
            .current_dir(command.get_current_dir().unwrap())
            .output()
            .unwrap()
    };
    let output = limited(64 << 10);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert_eq!(stderr.trim_end(), "`oci:layout` is valid");
    // The limit is one that stops a program.
    assert!(!limited(64).status.success());
}

#[test]
fn a_limit_is_no_fault_of_the_layer() {
    let program = Program::new();
    program.write_tar("two.tar", &[("a", b"", 0o644), ("b", b"", 0o644)]);
    program.ok(&["import", "two.tar", "-t", "two"]);
    let ran = program.run(&["validate", "two", "--limit", "entries=1"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{ran:?}");
    let hint = "hint: pass `--limit entries=VALUE` to allow more";
    assert!(ran.stderr.contains(hint), "{ran:?}");
}

#[test]
fn what_follows_from_a_broken_document_is_not_told() {
    #[track_caller]
    fn check(break_it: impl FnOnce(&Program), expected: &[&str], absent: &str) {
        let program = small(|_| ());
        break_it(&program);
        let ran = program.run(&["validate", "oci:layout"]);
        assert_eq!(ran.code, 3, "{ran:?}");
        for text in expected {
            assert!(ran.stdout.contains(text), "{text}: {}", ran.stdout);
        }
        assert!(!ran.stdout.contains(absent), "{}", ran.stdout);
    }
    check(
        |program| program.write("layout/index.json", "{"),
        &[
            "must CNS-04",
            "nothing refers to the blob; it may belong to a document that is broken or missing",
        ],
        "remove it",
    );
    check(
        |program| {
            let twice = add(
                program,
                "application/vnd.oci.image.config.v1+json",
                br#"{"os":"linux","os":"linux"}"#,
            );
            let manifest = json!({
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": twice,
                "layers": [add(program, LAYER, &END)],
            });
            let media_type = "application/vnd.oci.image.manifest.v1+json";
            let manifest = add(program, media_type, manifest.to_string().as_bytes());
            let index = json!({"schemaVersion": 2, "manifests": [manifest]});
            program.write("layout/index.json", &index.to_string());
        },
        &["must CNS-07"],
        "CFG-33",
    );
    check(
        |program| {
            let path = program.path("layout/index.json");
            let index = std::fs::read_to_string(path).unwrap();
            let mut index: Value = serde_json::from_str(&index).unwrap();
            index["manifests"][0]["size"] = json!(0);
            let index = index
                .to_string()
                .replace("\"size\":0", "\"size\":99999999999999999999");
            program.write("layout/index.json", &index);
        },
        &["must DSC-05", "expected at most 2^63-1"],
        "whole number",
    );
}
