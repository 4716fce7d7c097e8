//! Images from place to place: copy, save, load, unpack, and registries that are not there.

use crate::program::Program;

#[test]
fn an_image_keeps_its_digest_wherever_it_goes() {
    let program = Program::with_base();
    let digest = program.ok(&["images", "-q"]);
    let legs = [
        ("base", "oci:layout:v1"),
        ("oci:layout:v1", "oci-archive:a.tar:r.example/a:1"),
        ("oci-archive:a.tar", "docker-archive:d.tar:r.example/d:1"),
        ("docker-archive:d.tar:r.example/d:1", "back:1"),
    ];
    for (source, destination) in legs {
        assert_eq!(
            program.ok(&["copy", source, destination]),
            digest,
            "{source} to {destination}"
        );
    }
    assert_eq!(
        program.ok(&["inspect", "back:1", "--raw"]),
        program.ok(&["inspect", "base", "--raw"])
    );
}

#[test]
fn what_is_saved_can_be_loaded() {
    #[track_caller]
    fn check(format: &str) {
        let (here, there) = (Program::with_base(), Program::new());
        let file = there.path("saved.tar").display().to_string();
        here.ok(&["save", "base", "-o", &file, "--format", format]);
        assert_eq!(
            there.ok(&["load", "-i", "saved.tar"]),
            "docker.io/library/base:latest",
            "{format}"
        );
        assert_eq!(
            there.ok(&["images", "-q"]),
            here.ok(&["images", "-q"]),
            "{format}"
        );
        let bytes = std::fs::read(&file).unwrap();
        let ran = there.run_with_input(&["-q", "load", "-t", "other:2"], &bytes);
        ran.is(0, "docker.io/library/other:2", "");
    }
    check("oci-archive");
    check("docker-archive");
}

#[test]
fn saved_bytes_are_the_same_on_standard_output() {
    let program = Program::with_base();
    program.ok(&["save", "base", "-o", "saved.tar"]);
    // Names in a directory for temporary files are for anybody to take.
    for taken in ["corten-archive.tar", "corten-saved.tar"] {
        std::fs::create_dir(program.path(taken)).unwrap();
    }
    let output = program
        .command(&["save", "base", "-o", "-"])
        .output()
        .unwrap();
    assert_eq!(
        output.stdout,
        std::fs::read(program.path("saved.tar")).unwrap()
    );
    let copy = program.command(&["copy", "base", "oci-archive:-"]).output();
    assert!(copy.unwrap().stdout.ends_with(&[0; 1024]));
}

#[test]
fn transfers_are_told_line_by_line() {
    let program = Program::with_base();
    let ran = program.run(&["copy", "base", "oci:layout:v1"]);
    assert_eq!(ran.stdout, "[DIGEST]");
    assert_eq!(ran.stderr.lines().count(), 3, "{ran:?}");
    assert!(
        ran.stderr
            .lines()
            .all(|line| line.starts_with("[DIGEST] copied ")),
        "{ran:?}"
    );
    program
        .run(&["-q", "copy", "base", "oci:layout:v2"])
        .is(0, "[DIGEST]", "");
}

#[test]
fn a_bundle_needs_no_privilege() {
    let program = Program::new();
    program.write("context/hello", "hello\n");
    program.write(
        "context/Dockerfile",
        "FROM scratch\nCOPY hello /\nCMD [\"/hello\"]\n",
    );
    program.ok(&["build", "context", "-t", "app"]);
    program
        .run(&["unpack", "--rootless", "app", "bundle"])
        .is(0, "", "");
    assert_eq!(
        std::fs::read_to_string(program.path("bundle/rootfs/hello")).unwrap(),
        "hello\n"
    );
    let config = std::fs::read(program.path("bundle/config.json")).unwrap();
    let config: serde_json::Value = serde_json::from_slice(&config).unwrap();
    assert_eq!(config["process"]["args"][0], "/hello");
    program.run(&["unpack", "--rootless", "app", "bundle"]).is(
        1,
        "",
        "error: cannot unpack `docker.io/library/app:latest` to `bundle`
  caused by: `bundle` is there already and is not an empty directory",
    );
}

#[test]
fn a_registry_that_is_not_there() {
    let program = Program::with_base();
    // No service has the port, which only root may listen on.
    let ran = program.run(&["push", "base", "docker://127.0.0.1:1/a"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(
        ran.stderr
            .starts_with("error: cannot push `127.0.0.1:1/a:latest`\n"),
        "{ran:?}"
    );
    let end =
        "caused by: cannot connect to 127.0.0.1:1\n  caused by: Connection refused (os error 111)";
    assert!(ran.stderr.ends_with(end), "{ran:?}");
}

#[test]
fn an_image_in_another_format() {
    let program = Program::with_base();
    let digest = program.ok(&["images", "-q"]);
    let id = |name: &str| {
        let json: serde_json::Value =
            serde_json::from_str(&program.ok(&["inspect", name, "--format", "json"])).unwrap();
        (json["imageId"].to_string(), json["mediaType"].to_string())
    };
    let docker = program.ok(&["convert", "base", "base:docker", "--format", "docker"]);
    assert_ne!(docker, digest);
    let (base_id, _) = id("base");
    let docker_type = "\"application/vnd.docker.distribution.manifest.v2+json\"";
    assert_eq!(id("base:docker"), (base_id, docker_type.to_owned()));
    let back = program.ok(&["copy", "base:docker", "oci:back:v1", "--format", "oci"]);
    assert_eq!(back, digest);
    let ran = program.run(&["copy", "base", "oci:back:v2", "--lossy"]);
    assert_eq!(ran.code, 2, "{ran:?}");
}

#[test]
fn what_another_format_has_no_place_for() {
    let program = Program::with_base();
    program.write("context/Dockerfile", "FROM base\nCOPY Dockerfile /\n");
    program.ok(&["build", "-q", "-t", "a", "context"]);
    program
        .run(&["convert", "a", "b", "--format", "docker"])
        .is(
            1,
            "",
            "error: cannot convert `docker.io/library/a:latest` to `docker.io/library/b:latest`\n  \
             caused by: Docker's format has no place for `/annotations` of [DIGEST] \
             (org.opencontainers.image.base.digest, org.opencontainers.image.base.name)\n\
             hint: `--lossy` leaves these out",
        );
    let ran = program.run(&["-q", "convert", "a", "b", "--format", "docker", "--lossy"]);
    ran.is(
        0,
        "[DIGEST]",
        "warning: left out: `/annotations` of [DIGEST] \
         (org.opencontainers.image.base.digest, org.opencontainers.image.base.name)",
    );
}

#[test]
fn a_tree_of_all_that_an_image_is() {
    let program = Program::with_base();
    let shown = program.run(&["inspect", "--tree", "base"]);
    assert_eq!(shown.code, 0, "{shown:?}");
    let words = |line: &str| {
        let kept = line
            .split_whitespace()
            .filter(|word| !word.starts_with('/'));
        kept.collect::<Vec<_>>().join(" ")
    };
    let lines: Vec<String> = shown.stdout.lines().map(words).collect();
    assert_eq!(
        lines,
        [
            "docker.io/library/base:latest",
            "manifest [DIGEST]",
            "│ type application/vnd.oci.image.manifest.v1+json, 401 B",
            "│ platform linux/amd64",
            "│ containerd",
            "├─ config [DIGEST]",
            "│ type application/vnd.oci.image.config.v1+json, 260 B",
            "│ platform linux/amd64",
            "│ image id [DIGEST]",
            "│ docker",
            "│ containerd",
            "└─ layer 1 [DIGEST]",
            "type application/vnd.oci.image.layer.v1.tar+gzip, 145 B",
            "diff id [DIGEST]",
            "chain id [DIGEST]",
            "docker",
            "files in cache-id>/diff",
            "containerd",
            "snapshot [DIGEST]",
        ],
        "{}",
        shown.stdout
    );

    let json = program.ok(&["inspect", "--tree", "base", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let root = &json["roots"][0];
    assert_eq!(root["role"], "manifest");
    assert_eq!(root["digest"], program.ok(&["images", "-q"]).as_str());
    let layer = &root["children"][1];
    assert_eq!(layer["diffId"], layer["chainId"]);
    assert_eq!(layer["onDisk"]["containerdSnapshot"], layer["chainId"]);
    // A layout is shown whole, with the same as an archive.
    program.ok(&["copy", "base", "oci:layout:one"]);
    program.ok(&["copy", "base", "oci:layout:two"]);
    let layout = program.ok(&["inspect", "--tree", "oci:layout", "--format", "json"]);
    let layout: serde_json::Value = serde_json::from_str(&layout).unwrap();
    assert_eq!(layout["roots"].as_array().unwrap().len(), 2);
    assert_eq!(layout["roots"][1]["children"], root["children"]);
}
