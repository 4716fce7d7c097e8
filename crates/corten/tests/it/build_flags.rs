//! The flags of `corten build`: those of other builders, against the page that lists them, and what
//! they do.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use crate::program::Program;

const PAGE: &str = include_str!("../../../../docs/reference/build-flags.md");

/// Flags that are a matter of cache, isolation, secrets and rules, which have tests of their own where
/// they are done.
const ELSEWHERE: [&str; 8] = [
    "--cache-from",
    "--cache-to",
    "--check",
    "--isolation",
    "--memory",
    "--network",
    "--secret",
    "--ssh",
];

/// Returns the rows of flags: flag, whether it is done, and what is said about it.
fn rows() -> BTreeMap<(&'static str, bool), &'static str> {
    let mut rows = BTreeMap::new();
    // The executor's are those of another command, whose own table is compared with the page.
    let (page, _) = PAGE.split_once("\n## kaniko's executor").unwrap();
    for line in page.lines() {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let ["", flags, state @ ("done" | "refused"), text, ""] = cells[..] else {
            continue;
        };
        for flag in flags.split(", ") {
            rows.insert((flag.trim_matches('`'), state == "done"), text);
        }
    }
    rows
}

#[test]
fn every_flag_is_done_or_refused_as_the_page_says() {
    let program = Program::new();
    let rows = rows();
    assert!(rows.len() > 130, "{} rows", rows.len());
    for ((flag, is_done), text) in rows {
        let long = flag.starts_with("--");
        let is_refused = program.run(&["build", "absent", flag]).stderr;
        let is_unknown = is_refused.contains("unexpected argument");
        if is_done {
            let is_elsewhere = ELSEWHERE.contains(&flag) || flag == "-m";
            assert!(is_elsewhere || !is_unknown, "{flag}: {is_refused}");
            assert!(!is_refused.contains("is not done"), "{flag}: {is_refused}");
            continue;
        }
        let (reason, instead) = text.split_once("; ").unwrap();
        let expected = format!("error: `{flag}` is not done: {reason}\nhint: {instead}");
        assert_eq!(is_refused, expected, "{flag}");
        if long {
            let with_value = program.run(&["build", "absent", &format!("{flag}=x")]);
            assert_eq!(
                (with_value.stderr, with_value.code),
                (expected, 2),
                "{flag}"
            );
        }
    }
}

#[test]
fn flags_of_others_are_only_explained_for_a_build() {
    let ran = Program::new().run(&["images", "--squash-all"]);
    assert!(ran.stderr.contains("unexpected argument"), "{}", ran.stderr);
}

fn program() -> Program {
    let program = Program::with_base();
    program.write("dir/Dockerfile", "FROM base\nCOPY . /srv/\n");
    program.write("dir/hello", "hello\n");
    program
}

fn json(program: &Program, path: &str) -> Value {
    serde_json::from_slice(&fs::read(program.path(path)).unwrap()).unwrap()
}

#[test]
fn what_is_always_so_may_be_asked_for() {
    let program = program();
    let scripted = "--rm --force-rm=true --load --compress --layers=true --pull=missing \
                    --disable-content-trust --skip-unused-stages --tls-verify --rewrite-timestamp \
                    --source-date-epoch 1000 --progress none -t app";
    let args: Vec<_> = ["build", "dir"]
        .into_iter()
        .chain(scripted.split_whitespace())
        .collect();
    program.ok(&args);
    for flag in ["--rm=false", "--layers=false", "--rewrite-timestamp=0"] {
        let ran = program.run(&["build", "dir", flag]);
        assert_eq!(ran.code, 2, "{flag}: {}", ran.stderr);
    }
}

#[test]
fn metadata_is_that_of_buildx() {
    let program = program();
    program.ok(&[
        "build",
        "dir",
        "-t",
        "a:1",
        "-t",
        "b",
        "--metadata-file",
        "m",
        "--iidfile",
        "id",
    ]);
    let metadata = json(&program, "m");
    let digest = program.ok(&["images", "--format", "json"]);
    let id = fs::read_to_string(program.path("id")).unwrap();
    assert_eq!(metadata["containerimage.config.digest"], id);
    let manifest = metadata["containerimage.digest"].as_str().unwrap();
    assert!(digest.contains(manifest), "{digest}");
    assert_eq!(metadata["containerimage.descriptor"]["digest"], manifest);
    let names = "docker.io/library/a:1,docker.io/library/b:latest";
    assert_eq!(metadata["image.name"], names);
    let recorded = &metadata["buildx.build.provenance"];
    assert_eq!(recorded["buildType"], "https://mobyproject.org/buildkit@v1");
    let source = &recorded["invocation"]["configSource"];
    assert_eq!(source["entryPoint"], "Dockerfile", "{recorded}");
    assert_eq!(recorded["metadata"], Value::Null, "{recorded}");
    let with = |name: &str| {
        let mut command = program.command(&["build", "dir", "--metadata-file", "m"]);
        let output = command.env("BUILDX_METADATA_PROVENANCE", name).output();
        (output.unwrap().status.success(), json(&program, "m"))
    };
    let (_, long) = with("max");
    let completeness = &long["buildx.build.provenance"]["metadata"]["completeness"];
    assert_eq!(completeness["parameters"], true, "{long}");
    let (_, none) = with("disabled");
    assert_eq!(none["buildx.build.provenance"], Value::Null);
    // Before anything is built.
    let mut command = program.command(&["build", "dir", "-t", "unbuilt", "--metadata-file", "m"]);
    let output = command.env("BUILDX_METADATA_PROVENANCE", "some").output();
    assert_eq!(output.unwrap().status.code(), Some(2));
    assert!(!program.ok(&["images"]).contains("unbuilt"));
}

#[test]
fn a_provenance_is_a_referrer_of_its_image() {
    let program = program();
    let tree = |args: &[&str]| {
        program.ok(&[&["build", "dir", "-t", "a", "--provenance"], args].concat());
        program.ok(&["inspect", "--tree", "a"])
    };
    let text = tree(&[]);
    assert!(
        text.contains("application/vnd.docker.attestation.manifest.v1+json"),
        "{text}"
    );
    let text = tree(&["-o", "type=oci-layout,dest=out,oci-artifact=false"]);
    assert!(!text.contains("vnd.docker.attestation.manifest"), "{text}");
    let both = [
        "-o",
        "type=oci,dest=a.tar,oci-artifact=false",
        "-o",
        "type=oci,dest=b.tar,oci-artifact=true",
    ];
    let args = [&["build", "dir", "--provenance"], &both[..]].concat();
    let refused = program.run(&args);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
}

#[test]
fn a_manifest_is_annotated() {
    let program = program();
    let output = "type=oci-layout,dest=out,annotation.c=3";
    program.ok(&[
        "build",
        "dir",
        "--annotation",
        "a=1",
        "--annotation",
        "manifest:b=x=y",
        "-o",
        output,
        "--metadata-file",
        "m",
    ]);
    let digest = json(&program, "m")["containerimage.digest"]
        .as_str()
        .unwrap()
        .to_owned();
    let manifest = json(&program, &format!("out/blobs/{}", digest.replace(':', "/")));
    let annotations = &manifest["annotations"];
    assert_eq!(
        (&annotations["a"], &annotations["b"]),
        (&Value::from("1"), &Value::from("x=y"))
    );
    assert_eq!(annotations["c"], "3");
    for (text, reason) in [
        ("index:a=1", "there is no index"),
        ("manifest-descriptor:a=1", "there is no index"),
        ("layer:a=1", "`layer` is no document that can be annotated"),
        ("a", "expected `KEY=VALUE`"),
    ] {
        let ran = program.run(&["build", "dir", "--annotation", text]);
        assert!(
            ran.code == 2 && ran.stderr.contains(reason),
            "{text}: {}",
            ran.stderr
        );
    }
}

#[test]
fn outputs_have_names_and_formats_of_their_own() {
    let program = program();
    program.ok(&[
        "build",
        "dir",
        "-t",
        "app",
        "-o",
        "type=oci-layout,dest=docker,oci-mediatypes=false",
        "-o",
        "type=oci,tar=false,dest=oci,name=other:2",
        "-o",
        "type=image,name=third",
        "-o",
        "type=docker,dest=d.tar,name=fourth",
    ]);
    let type_of = |layout: &str| {
        let index = json(&program, &format!("{layout}/index.json"));
        index["manifests"][0]["mediaType"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(
        type_of("docker"),
        "application/vnd.docker.distribution.manifest.v2+json"
    );
    assert_eq!(type_of("oci"), "application/vnd.oci.image.manifest.v1+json");
    let index = json(&program, "oci/index.json").to_string();
    assert!(index.contains("other:2"), "{index}");
    program.ok(&["inspect", "third"]);
    program.ok(&["inspect", "docker-archive:d.tar:fourth"]);
}

#[test]
fn an_ignore_file_of_ones_own() {
    let program = program();
    program.write("mine", "hello\n");
    program.ok(&["build", "dir", "--ignorefile", "mine", "-t", "app"]);
    assert_eq!(program.run(&["cat", "app", "/srv/hello"]).code, 1);
    let ran = program.run(&["build", "dir", "--ignorefile", "absent"]);
    assert!(
        ran.stderr
            .contains("the ignore file `absent` does not exist"),
        "{}",
        ran.stderr
    );
}
