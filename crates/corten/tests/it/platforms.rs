//! `--platform`, where there is nothing to choose from and where there is.

use crate::program::Program;

/// `foreign` in the store, for ppc64le alone, and the same in the layout `layout`.
fn program() -> Program {
    let program = Program::new();
    program.write_tar("base.tar", &[("etc/motd", b"hello\n", 0o644)]);
    program.ok(&[
        "import",
        "base.tar",
        "-t",
        "foreign",
        "--platform",
        "linux/ppc64le",
    ]);
    program.ok(&["copy", "--all", "foreign", "oci:layout"]);
    program
}

#[test]
fn an_image_for_another_platform_is_refused() {
    let program = program();
    let check = |args: &[&str]| {
        let (verb, rest) = args.split_first().unwrap();
        let ran = program.run(&[&[*verb, "--platform", "linux/s390x"], rest].concat());
        let expected = "no image for linux/s390x in `";
        assert!(
            ran.code == 1
                && ran.stdout.is_empty()
                && ran.stderr.contains(expected)
                && ran.stderr.contains("`; there is: linux/ppc64le\n"),
            "{args:?}: {ran:?}"
        );
    };
    for args in [
        &["ls", "oci:layout"][..],
        &["cat", "oci:layout", "etc/motd"],
        &["export", "oci:layout"],
        &["mount", "oci:layout", "mounted"],
        &["unpack", "oci:layout", "bundle"],
        &["inspect", "oci:layout"],
        &["inspect", "--raw", "oci:layout"],
        &["inspect", "--tree", "oci:layout"],
        &["copy", "oci:layout", "oci:other"],
        &["convert", "--format", "docker", "oci:layout", "oci:other"],
        &["flatten", "oci:layout", "other"],
        &["squash", "--layers", "1", "oci:layout", "other"],
        &["save", "foreign", "-o", "saved.tar"],
        &["inspect", "--tree", "foreign"],
        &["run", "--pull", "never", "foreign"],
    ] {
        check(args);
    }
    // Whoever gives a digest has chosen, unless a platform is named, too.
    let digest = program.ok(&["inspect", "--raw", "foreign"]);
    let digest = corten_spec::Digest::sha256(digest.as_bytes());
    check(&["ls", digest.as_str()]);
    assert_eq!(program.ok(&["ls", digest.as_str()]), "etc");
}

#[test]
fn the_platform_it_has_is_found_however_it_is_spelt() {
    let program = program();
    for platform in ["linux/ppc64le", "Linux/PPC64LE"] {
        for place in ["oci:layout", "foreign"] {
            assert_eq!(program.ok(&["ls", place, "--platform", platform]), "etc");
        }
    }
    // Nobody asked for another, and there is nothing to choose.
    assert_eq!(program.ok(&["ls", "oci:layout"]), "etc");
}

#[test]
fn a_pull_that_fails_says_what_the_store_has() {
    let program = program();
    program.ok(&["tag", "foreign", "127.0.0.1:1/foreign"]);
    for args in [&["--platform", "linux/s390x"][..], &[]] {
        let ran = program.run(&[&["ls", "127.0.0.1:1/foreign"], args].concat());
        assert!(
            ran.code == 1
                && ran
                    .stderr
                    .contains("; in the local store it is for linux/ppc64le\n"),
            "{ran:?}"
        );
    }
}

#[test]
fn all_of_an_image_is_all_its_platforms() {
    let program = Program::new();
    for (tar, platform) in [("a.tar", "linux/s390x"), ("b.tar", "linux/ppc64le")] {
        program.write_tar(tar, &[("etc/motd", tar.as_bytes(), 0o644)]);
        program.ok(&["import", tar, "-t", "one", "--platform", platform]);
        program.ok(&["copy", "--all", "one", "oci:layout"]);
    }
    // The layout lists them itself, and what others get is an index.
    let index = program.path("layout/index.json");
    let text = std::fs::read_to_string(&index).unwrap();
    let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
    for entry in json["manifests"].as_array_mut().unwrap() {
        let digest = entry["digest"].as_str().unwrap().replace(':', "/");
        let blob = std::fs::read(program.path("layout/blobs").join(digest)).unwrap();
        let manifest: serde_json::Value = serde_json::from_slice(&blob).unwrap();
        let config = manifest["config"]["digest"].as_str().unwrap();
        let config = program.path("layout/blobs").join(config.replace(':', "/"));
        let config: serde_json::Value =
            serde_json::from_slice(&std::fs::read(config).unwrap()).unwrap();
        let architecture = config["architecture"].clone();
        entry["platform"] = serde_json::json!({"os": "linux", "architecture": architecture});
    }
    program.write("layout/index.json", &json.to_string());
    let both = "linux/s390x, linux/ppc64le";
    for args in [
        &["copy", "--all", "oci:layout", "copied"][..],
        &["convert", "--format", "docker", "oci:layout", "converted"],
        &["flatten", "--all", "oci:layout", "flat"],
        &["squash", "--all", "--layers", "1", "oci:layout", "squashed"],
    ] {
        program.ok(args);
        let made = args.last().unwrap();
        let text = program.ok(&["inspect", made, "--platform", "linux/s390x"]);
        assert!(text.contains(both), "{args:?}: {text}");
        program.ok(&["validate", made]);
    }
    let ran = program.run(&["ls", "oci:layout"]);
    let expected = format!("in `oci:layout`; there is: {both}\n");
    assert!(ran.code == 1 && ran.stderr.contains(&expected), "{ran:?}");
}

#[test]
fn a_pull_of_what_the_store_lacks_says_so() {
    let ran = Program::new().run(&["ls", "127.0.0.1:1/nope"]);
    let expected = "cannot pull `127.0.0.1:1/nope:latest`, which is not in the local store\n";
    assert!(ran.code == 1 && ran.stderr.contains(expected), "{ran:?}");
}
