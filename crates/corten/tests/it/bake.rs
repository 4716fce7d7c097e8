//! `corten bake`.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};

use serde_json::Value;

use crate::program::Program;

const FILE: &str = r#"
variable "TAG" { default = "1" }
group "default" { targets = ["app"] }
target "base" {
  context = "context"
  dockerfile-inline = "FROM scratch\nCOPY hello /\n"
}
target "app" {
  context = "context"
  contexts = { start = "target:base" }
  dockerfile = "Containerfile"
  tags = ["app:${TAG}"]
  platforms = ["linux/amd64"]
}
"#;

fn program() -> Program {
    let program = Program::new();
    program.write("docker-bake.hcl", FILE);
    program.write("context/hello", "hello\n");
    program.write("context/Containerfile", "FROM start\nCOPY hello /again\n");
    program
}

#[test]
fn targets_are_built_in_the_order_of_their_needs() {
    let program = program();
    let printed = program.ok(&["bake", "--metadata-file", "meta", "--var", "TAG=2"]);
    assert_eq!(program.ok(&["ls", "app:2"]), "again\nhello");
    let meta: Value =
        serde_json::from_str(&fs::read_to_string(program.path("meta")).unwrap()).unwrap();
    // What is printed is filtered: there is one digest, that of what was asked for.
    assert_eq!(printed.lines().count(), 1);
    let digest = corten_spec::Digest::sha256(program.ok(&["inspect", "--raw", "app:2"]).as_bytes());
    assert_eq!(meta["app"]["containerimage.digest"], digest.to_string());
    assert!(meta["base"]["containerimage.digest"].is_string());
}

/// Once a context is asked for, takes away what nothing holds, and then serves the context.
fn serve_after_gc(program: &Program, listener: &TcpListener, tar: &[u8]) {
    let (mut stream, _) = listener.accept().unwrap();
    let lines = BufReader::new(&stream).lines().map_while(Result::ok);
    if lines.take_while(|line| !line.is_empty()).count() == 0 {
        return;
    }
    program.ok(&["gc"]);
    let length = tar.len();
    let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(tar).unwrap();
}

#[test]
fn gc_leaves_what_waits_for_those_who_need_it() {
    let program = program();
    let dockerfile: &[u8] = b"FROM start\nCOPY hello /again\n";
    let files = [
        ("Dockerfile", dockerfile, 0o644),
        ("hello", b"hello\n", 0o644),
    ];
    program.write_tar("context.tar", &files);
    let tar = fs::read(program.path("context.tar")).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = listener.local_addr().unwrap();
    let ran = std::thread::scope(|scope| {
        let server = scope.spawn(|| serve_after_gc(&program, &listener, &tar));
        let context = format!("app.context=http://{place}/context.tar");
        let args = ["--set", &context, "--set", "app.dockerfile=Dockerfile"];
        let ran = program.run(&[&["bake"], &args[..]].concat());
        // It waits still if it was never asked.
        TcpStream::connect(place).ok();
        let served = server.join();
        assert!(served.is_ok(), "{ran:?}");
        ran
    });
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(program.ok(&["ls", "app:1"]), "again\nhello");
}

#[test]
fn what_would_be_built_is_printed() {
    let program = program();
    let printed = program.ok(&["bake", "--print", "--set", "app.tags=x"]);
    let printed: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(
        printed["group"]["default"]["targets"],
        serde_json::json!(["app"])
    );
    assert_eq!(printed["target"]["app"]["tags"], serde_json::json!(["x"]));
    assert_eq!(program.ok(&["images", "-q"]), "");
}

#[test]
fn what_is_beyond_the_working_directory_has_to_be_allowed() {
    #[track_caller]
    fn check(set: &[&str], allowed: &[&str], expected: Option<&str>) {
        let program = program();
        program.write("other/hello", "hello\n");
        std::os::unix::fs::symlink("../other", program.path("context/out")).unwrap();
        fs::create_dir(program.path("here")).unwrap();
        for name in ["docker-bake.hcl", "context"] {
            fs::rename(program.path(name), program.path("here").join(name)).unwrap();
        }
        std::os::unix::fs::symlink("../other", program.path("here/link")).unwrap();
        let set = set.iter().flat_map(|set| ["--set", set]);
        let allowed = allowed.iter().flat_map(|one| ["--allow", one]);
        let args: Vec<_> = ["bake", "base"]
            .into_iter()
            .chain(set)
            .chain(allowed)
            .collect();
        let mut command = program.command(&args);
        let output = command.current_dir(program.path("here")).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            output.status.success(),
            expected.is_none(),
            "{args:?}: {said}"
        );
        if let Some(expected) = expected {
            assert!(
                said.contains(expected) && !said.contains("#1"),
                "{args:?}: {said}"
            );
        }
    }
    check(&[], &[], None);
    for outside in ["../other", "link", "link/../other"] {
        let context = format!("base.context={outside}");
        let expected = format!("hint: pass `--allow fs.read={outside}` if you trust the files");
        check(&[&context], &[], Some(&expected));
        check(&[&context], &["fs.write=.."], Some(&expected));
        check(&[&context], &["fs.read=../oth"], Some(&expected));
        for allowed in ["fs.read=../other", "fs=..", "fs.read=*"] {
            check(&[&context], &[allowed], None);
        }
    }
    let output = "base.output=type=local,dest=../made/new";
    check(&[output], &["fs.read=*"], Some("fs.write=../made/new"));
    check(&[output], &["fs.write=../made"], None);
    let network = "base.network=host";
    check(&[network], &[], Some("--allow network.host"));
    check(&[network], &["network.host"], None);
    check(&["base.ssh=default"], &[], Some("--allow ssh"));
    check(
        &["base.secret=id=a,src=/etc/hostname"],
        &[],
        Some("fs.read=/etc/hostname"),
    );
}

/// As buildx 0.38.2 lists it.
#[test]
fn what_could_be_built_is_listed() {
    let program = program();
    let targets = program.ok(&["bake", "--list", "type=targets,format=json"]);
    let targets: Value = serde_json::from_str(&targets).unwrap();
    let expected = serde_json::json!([
        { "name": "app" },
        { "name": "base" },
        { "name": "default", "description": "app", "group": true },
    ]);
    assert_eq!(targets, expected);
    let variables = program.ok(&["bake", "--list=variables", "--var", "TAG=7"]);
    let cells: Vec<_> = variables.split_whitespace().collect();
    assert_eq!(
        cells,
        ["VARIABLE", "TYPE", "VALUE", "DESCRIPTION", "TAG", "7"]
    );
    let ran = program.run(&["bake", "--sbom", "true"]);
    assert!(
        ran.code == 2 && ran.stderr.contains("bills of materials"),
        "{ran:?}"
    );
    let printed = program.ok(&[
        "bake",
        "--print",
        "--provenance",
        "mode=max",
        "--sbom=false",
    ]);
    let printed: Value = serde_json::from_str(&printed).unwrap();
    let expected = serde_json::json!([{ "type": "provenance", "mode": "max" }]);
    assert_eq!(printed["target"]["app"]["attest"], expected);
}

#[test]
fn nothing_is_built_where_one_target_cannot_be() {
    let program = program();
    let ran = program.run(&["bake", "--set", "app.platform=no/such/thing/x"]);
    let expected = "the target `app` cannot be built: invalid value 'no/such/thing/x'";
    assert!(
        ran.code == 2 && ran.stderr.contains(expected) && !ran.stderr.contains("#1"),
        "{ran:?}"
    );
    let ran = program.run(&["bake", "nothing"]);
    assert!(
        ran.code == 1 && ran.stderr.contains("there is no target or group `nothing`"),
        "{ran:?}"
    );
}

#[test]
fn wrong_use_is_said_before_anything_is_built() {
    #[track_caller]
    fn check(args: &[&str], code: i32, expected: &str) {
        let program = program();
        let ran = program.run(&[&["bake"], args].concat());
        assert!(
            ran.code == code && ran.stderr.contains(expected) && !ran.stderr.contains("#1"),
            "{args:?}: {ran:?}"
        );
    }
    check(&["--var", "TAG"], 2, "expected `NAME=VALUE`");
    check(
        &["https://example.org/a.git"],
        2,
        "bake files are not fetched",
    );
    check(&["--var", "=1"], 2, "expected `NAME=VALUE`");
    check(&["--set", "app.tag"], 2, "expected `TARGET.KEY=VALUE`");
    check(
        &["--set", "nothing.tags=x"],
        1,
        "there is no target or group `nothing`",
    );
    check(
        &["--set", "app.attest=type=sbom"],
        2,
        "bills of materials are not made",
    );
    check(
        &["--set", "app.network=bridge"],
        2,
        "invalid value 'bridge'",
    );
    check(&["-f", "nothing.hcl"], 1, "cannot read `nothing.hcl`");
    check(
        &["base", "--push"],
        2,
        "an image without a name cannot be pushed",
    );
}

#[test]
fn targets_of_several_platforms_are_built_on_each_other() {
    let program = program();
    let text = r#"
target "default" {
  name = "app-${v}"
  matrix = { v = ["1", "2"] }
  contexts = { start = "target:base" }
  context = "context"
  dockerfile = "Containerfile"
  tags = ["app:${v}"]
  args = { V = v }
  platforms = ["linux/amd64", "linux/s390x"]
  attest = ["type=provenance"]
}
target "base" {
  context = "context"
  dockerfile-inline = "FROM scratch\nARG TARGETARCH\nCOPY hello /$TARGETARCH\n"
  platforms = ["linux/amd64", "linux/s390x"]
  tags = ["base"]
}
"#;
    program.write("docker-bake.hcl", text);
    assert_eq!(program.ok(&["bake"]).lines().count(), 2);
    for (name, platform) in [("app:1", "amd64"), ("app:2", "s390x")] {
        let files = program.ok(&["ls", name, "--platform", &format!("linux/{platform}")]);
        assert_eq!(
            files,
            format!("again\nhello\n{platform}").replace("\nhello", "")
        );
        let index = program.ok(&["inspect", "--raw", name]);
        assert!(index.contains("attestation-manifest"), "{index}");
    }
    // What is only needed by others has no name.
    assert_ne!(program.run(&["ls", "base"]).code, 0);
}

#[test]
fn compose_files_take_variables_of_a_file() {
    let program = program();
    program.write(".env", "TAG=3\n");
    program.write(
        "compose.yaml",
        "services:\n  web:\n    image: web:${TAG}\n    build:\n      context: context\n      \
         dockerfile_inline: |\n        FROM scratch\n        COPY hello /\n",
    );
    program.ok(&["bake", "-f", "compose.yaml"]);
    assert_eq!(program.ok(&["ls", "web:3"]), "hello");
}
