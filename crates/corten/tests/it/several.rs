//! Several platforms and several targets in one `corten build`.

use std::fs;
use std::path::Path;

use corten_spec::Platform;
use serde_json::Value;

use crate::program::{Program, not_run};

const DOCKERFILE: &str = "FROM --platform=$BUILDPLATFORM scratch AS tools
COPY tool /
FROM scratch AS app
ARG TARGETARCH
COPY --from=tools tool /tool-$TARGETARCH
LABEL arch=$TARGETARCH
FROM app AS extra
LABEL extra=1
";

fn program() -> Program {
    let program = Program::new();
    program.write("context/Dockerfile", DOCKERFILE);
    program.write("context/tool", "tool\n");
    program
}

fn json(program: &Program, args: &[&str]) -> Value {
    serde_json::from_str(&program.ok(args)).unwrap()
}

#[test]
fn several_platforms_are_one_index_in_their_order() {
    let program = program();
    let args = "build context -t app --target app --platform linux/s390x,linux/arm64/v8 \
                --platform linux/amd64 --annotation index:a=1 --annotation manifest-descriptor:b=2 \
                --annotation manifest[linux/arm64]:c=3 \
                --metadata-file meta --iidfile id --digest-file digest -o type=local,dest=out \
                -o type=oci,dest=app.tar";
    let args: Vec<_> = args.split_whitespace().collect();
    let ran = program.run(&args);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    // What is for the build's own platform is made once.
    let made = "COPY tool /\n#";
    assert_eq!(ran.stderr.matches(made).count(), 3, "{}", ran.stderr);
    assert_eq!(ran.stderr.matches("#1 CACHED").count(), 2, "{}", ran.stderr);

    let index = json(&program, &["inspect", "--raw", "app"]);
    let entries = index["manifests"].as_array().unwrap();
    let architectures: Vec<_> = entries
        .iter()
        .map(|entry| entry["platform"]["architecture"].as_str().unwrap())
        .collect();
    assert_eq!(architectures, ["s390x", "arm64", "amd64"]);
    assert_eq!(index["annotations"]["a"], "1");
    assert!(entries.iter().all(|entry| entry["annotations"]["b"] == "2"));
    for architecture in architectures {
        let platform = format!("linux/{architecture}");
        let of_it = |entry: &&Value| entry["platform"]["architecture"] == architecture;
        let digest = entries.iter().find(of_it).unwrap()["digest"].as_str();
        let manifest = json(&program, &["inspect", "--raw", digest.unwrap()]);
        let c = &manifest["annotations"]["c"];
        assert_eq!(*c == "3", architecture == "arm64", "{architecture}: {c}");
        let files = program.ok(&["ls", "app", "--platform", &platform]);
        assert_eq!(files, format!("tool-{architecture}"));
        let saved = ["ls", "oci-archive:app.tar", "--platform", &platform];
        assert_eq!(program.ok(&saved), files);
    }
    for directory in ["linux_s390x", "linux_amd64"] {
        let name = directory.replace("linux_", "tool-");
        assert!(program.path("out").join(directory).join(name).exists());
    }
    let written = |name: &str| fs::read_to_string(program.path(name)).unwrap();
    let meta: Value = serde_json::from_str(&written("meta")).unwrap();
    let expected = Value::String(written("digest"));
    assert_eq!(meta["containerimage.digest"], expected);
    assert_eq!(meta.get("containerimage.config.digest"), None);
    assert_eq!(written("id"), written("digest"));
}

#[test]
fn several_targets_share_what_they_need() {
    let program = program();
    let args =
        "build context --target extra=x.example/extra:1 --target app=app --metadata-file meta";
    let args: Vec<_> = args.split_whitespace().collect();
    let ran = program.run(&args);
    assert_eq!((ran.code, ran.stdout.lines().count()), (0, 2), "{ran:?}");
    assert_eq!(ran.stderr.matches("COPY tool").count(), 1, "{ran:?}");
    let meta = fs::read_to_string(program.path("meta")).unwrap();
    let meta: Value = serde_json::from_str(&meta).unwrap();
    assert_eq!(meta["extra"]["image.name"], "x.example/extra:1");
    for (stage, name) in [("extra", "x.example/extra:1"), ("app", "app")] {
        let digest =
            corten_spec::Digest::sha256(program.ok(&["inspect", "--raw", name]).as_bytes());
        assert_eq!(meta[stage]["containerimage.digest"], digest.to_string());
    }
}

/// Returns where each of the manifests of an index is from, for platforms and for what is stated of them.
fn entries(index: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let entries = index["manifests"].as_array().unwrap().iter();
    let entries = entries.map(|entry| {
        let platform = &entry["platform"];
        let subject = &entry["annotations"]["vnd.docker.reference.digest"];
        let name = format!(
            "{}/{}",
            text(&platform["os"]),
            text(&platform["architecture"])
        );
        (name, text(&entry["digest"]), text(subject))
    });
    let entries: Vec<_> = entries.collect();
    let of_subject = |subject: &str| {
        let of = entries.iter().find(|(_, digest, _)| digest == subject);
        of.map_or_else(String::new, |(name, ..)| format!(" of {name}"))
    };
    let lines = entries.iter();
    lines
        .map(|(name, _, subject)| format!("{name}{}", of_subject(subject)))
        .collect()
}

#[test]
fn each_platform_has_a_provenance_after_all_images() {
    let program = program();
    let args = "build context -t app --target app --platform linux/s390x,linux/amd64 --provenance \
                --annotation index:a=1";
    program.ok(&args.split_whitespace().collect::<Vec<_>>());
    let index = json(&program, &["inspect", "--raw", "app"]);
    let expected = [
        "linux/s390x",
        "linux/amd64",
        "unknown/unknown of linux/s390x",
        "unknown/unknown of linux/amd64",
    ];
    assert_eq!(entries(&index), expected);
    assert_eq!(index["annotations"]["a"], "1");
    assert_eq!(
        program.ok(&["ls", "app", "--platform", "linux/s390x"]),
        "tool-s390x"
    );
}

#[test]
fn caches_and_locks_are_of_all_platforms() {
    let program = program();
    let text = DOCKERFILE
        .replace("FROM scratch AS app", "FROM base-$TARGETARCH AS app")
        .replace("FROM --platform", "ARG TARGETARCH\nFROM --platform");
    program.write("context/Dockerfile", &text);
    program.write_tar("base.tar", &[("etc/motd", b"hello\n", 0o644)]);
    for root in ["store", "elsewhere"] {
        for architecture in ["s390x", "amd64"] {
            let (name, platform) = (
                format!("base-{architecture}"),
                format!("linux/{architecture}"),
            );
            let args = ["import", "base.tar", "-t", &name, "--platform", &platform];
            program.ok(&[&["--root", root], args.as_slice()].concat());
        }
    }
    let build = |args: &str| {
        let both = "build context --target app --platform linux/s390x,linux/amd64 --lock";
        let all = both.split(' ').chain(args.split_whitespace());
        let ran = program.run(&all.collect::<Vec<_>>());
        assert_eq!(ran.code, 0, "{ran:?}");
        ran
    };
    build("--cache-to type=local,dest=cache,mode=max");
    let lock = fs::read_to_string(program.path("context/Dockerfile.lock.json")).unwrap();
    let lock: Value = serde_json::from_str(&lock).unwrap();
    let images: Vec<_> = lock["images"].as_object().unwrap().keys().collect();
    let expected = ["amd64", "s390x"]
        .map(|architecture| format!("docker.io/library/base-{architecture}:latest"));
    assert_eq!(images, expected.each_ref());
    let second = build("--cache-from type=local,src=cache --root elsewhere");
    assert_eq!(second.stderr.matches(" CACHED").count(), 4, "{second:?}");
}

#[track_caller]
fn check_refused(program: &Program, args: &str, expected: &str) {
    let mut all = vec!["build", "context"];
    all.extend(args.split_whitespace());
    let ran = program.run(&all);
    let has = ran.stderr.contains(expected);
    assert!(
        ran.code == 2 && has && !ran.stderr.contains("#1"),
        "{args}: {ran:?}"
    );
}

#[test]
fn what_several_results_cannot_be_is_refused_before_anything_is_built() {
    let program = program();
    let both = "--platform linux/amd64,linux/arm64";
    let check = |args: &str, expected: &str| check_refused(&program, args, expected);
    check(
        &format!("{both} -o type=docker,dest=x"),
        "`type=docker` has no place for images of several platforms",
    );
    check(
        &format!("{both} -o type=tar,dest=x"),
        "`type=tar` has no place for images of several platforms",
    );
    let targets = "--target app --target extra";
    check(&format!("{targets} -t x"), "use `--target STAGE=NAME`");
    check(&format!("{targets} --iidfile x"), "use `--metadata-file`");
    check(
        &format!("{targets} -o ./out"),
        "an output with a place or a name of its own is for one image, and there are 2",
    );
    check(
        "--target app=x.example/n --target extra=x.example/n:latest",
        "`x.example/n:latest` cannot be the name of two targets",
    );
    check(
        "-o type=oci,dest=- -o type=docker,dest=-",
        "standard output has a place for one output",
    );
    for pushed in ["--push", "-o type=registry", "-o type=image,push=true"] {
        for targets in ["", "--target app=x.example/n --target extra"] {
            check(
                &format!("{targets} {pushed}"),
                "an image without a name cannot be pushed",
            );
        }
    }
    check("--annotation index:a=b", "there is no index to annotate");
    check(
        "--annotation manifest[linux/s390x]:a=b",
        "nothing is built for linux/s390x",
    );
    check(
        "--squash --cache-to type=inline",
        "a squashed image has none of the layers",
    );
    check(
        &format!("{both} --print-plan"),
        "a plan is of the build for one platform",
    );
    for several in [both, targets] {
        check(
            &format!("{several} --verify-reproducible"),
            "`--verify-reproducible` compares the builds of one image",
        );
    }
    let verify = "--verify-reproducible";
    for stated in ["--provenance", "--attest type=provenance,mode=max"] {
        check(
            &format!("{verify} {stated}"),
            "and not what is stated about them",
        );
    }
    for lock in ["--lock", "--lock=update", "--lock=other"] {
        check(&format!("{verify} {lock}"), "there is a lock file to write");
    }
    check(
        &format!("{targets} --provenance"),
        "a provenance is of one target",
    );
}

#[test]
fn one_file_can_be_standard_output() {
    let program = program();
    let platforms = "linux/s390x,linux/amd64";
    let build = |output: &str, platform: &str, place: &str| {
        let args = ["build", "context", "--target=app", "-o", output];
        let args = [&args, ["--platform", platform].as_slice()].concat();
        let written = program.command(&args).output().unwrap();
        assert!(written.status.success(), "{written:?}");
        // Nothing is beside the archive, which ends with two blocks of zeros.
        assert!(written.stdout.ends_with(&[0; 1024]), "{output}");
        assert!(String::from_utf8_lossy(&written.stderr).contains("sha256:"));
        assert!(!program.path("-").exists());
        let read =
            program.run_with_input(&["ls", place, "--platform=linux/amd64"], &written.stdout);
        assert_eq!(read.stdout.trim_end(), "tool-amd64", "{output}: {read:?}");
    };
    build("type=oci,dest=-", platforms, "oci-archive:-");
    build("type=docker,dest=-", "linux/amd64", "docker-archive:-");

    program.ok(&[
        "build",
        "context",
        "--target=app",
        "--platform=linux/amd64",
        "-t",
        "app",
    ]);
    let copied = program
        .command(&["copy", "app", "oci-archive:-"])
        .output()
        .unwrap();
    assert!(copied.stdout.ends_with(&[0; 1024]) && !program.path("-").exists());
    let tar = ["build", "context", "--target=app", "-o", "-"];
    let tar = program.command(&tar).output().unwrap();
    assert!(tar.stdout.ends_with(&[0; 1024]), "{tar:?}");
}

#[test]
fn a_check_is_of_all_platforms() {
    let program = program();
    // What is found is of one of the platforms alone, of the other, or of both.
    let text = "FROM scratch AS of-amd64\nCOPY tool $AMD /\nFROM scratch AS of-s390x\n\
                COPY tool $IBM /\nFROM of-$TARGETARCH AS last\nCOPY tool $BOTH /\n";
    let text = format!("ARG TARGETARCH\n{text}");
    program.write("context/Dockerfile", &text);
    let check = |platforms: &str, expected: &[&str]| {
        let args = ["--check", "--target", "last", "--platform", platforms];
        let ran = program.run(&[&["build", "context"], args.as_slice()].concat());
        let variables = ["$AMD", "$IBM", "$BOTH"].into_iter();
        let found = variables.filter(|name| {
            let finding = format!("variable '{name}'");
            assert!(ran.stdout.matches(&finding).count() < 2, "{ran:?}");
            ran.stdout.contains(&finding)
        });
        assert_eq!(found.collect::<Vec<_>>(), expected, "{ran:?}");
        assert_eq!(ran.code, 1, "{ran:?}");
    };
    check("linux/amd64", &["$AMD", "$BOTH"]);
    check("linux/s390x", &["$IBM", "$BOTH"]);
    check("linux/amd64,linux/s390x", &["$AMD", "$IBM", "$BOTH"]);
}

#[test]
fn commands_for_another_processor_need_an_emulator() {
    let test = "several::commands_for_another_processor_need_an_emulator";
    if Path::new("/proc/sys/fs/binfmt_misc/qemu-s390x").exists() {
        return not_run(test, "an emulator for s390x is registered");
    }
    let program = program();
    let text = "FROM scratch AS one\nCOPY tool /\nFROM one\nRUN [\"/tool\"]\n";
    program.write("context/Dockerfile", text);
    let args = "build context --platform linux/s390x";
    let args: Vec<_> = args.split(' ').collect();
    let ran = program.run(&args);
    let has = |text: &str| ran.stderr.contains(text);
    assert!(
        ran.code == 1
            && has("there is a RUN for linux/s390x, which does not run on this machine, linux/")
            && has(": no emulator is registered for it\n  install `qemu-user-static`")
            // Nothing was done before.
            && !has("#1"),
        "{ran:?}"
    );
    // What runs nothing is built for any.
    program.ok(&[args.as_slice(), &["--target", "one"]].concat());
}

#[test]
fn every_platform_is_checked_before_the_first_is_built() {
    #[track_caller]
    fn check(dockerfile: &str, platforms: &str, expected: &str) {
        let program = program();
        program.write("context/Dockerfile", dockerfile);
        let ran = program.run(&["build", "context", "--platform", platforms]);
        let has = |text: &str| ran.stderr.contains(text);
        assert!(
            ran.code == 1 && has(expected) && !has("#1") && !has("building for"),
            "{ran:?}"
        );
    }
    let host = Platform::host().to_string();
    let run = "FROM scratch\nCOPY tool /\nRUN [\"/tool\"]\n";
    for other in ["windows/amd64", "freebsd/amd64"] {
        let expected = format!("there is a RUN for {other}, which does not run on this machine, ");
        for platforms in [other.to_owned(), format!("{host},{other}")] {
            check(run, &platforms, &expected);
        }
    }
    // No emulator is called so.
    let expected = "there is a RUN for linux/wasm, which";
    check(run, &format!("{host},linux/wasm"), expected);
    let text = "FROM scratch AS stage\nCOPY tool /\nFROM ${TARGETVARIANT:+stage}\n";
    check(text, "linux/arm/v7,linux/s390x", "Dockerfile:3");
    // What is no stage for a platform is an image, which is asked for before anything is built.
    let text = "FROM scratch AS to-arm64\nCOPY tool /\nFROM 127.0.0.1:1/x AS to-s390x\n\
        FROM to-${TARGETARCH}\nCOPY tool /\n";
    check(text, "linux/arm64,linux/s390x", "`127.0.0.1:1/x`");
    let program = program();
    program.write("context/Dockerfile", text);
    program.ok(&["build", "context", "--platform", "linux/arm64"]);
}

#[test]
fn what_a_cache_may_know_is_refused_where_it_would_be_run() {
    let program = program();
    let text = "FROM scratch\nCOPY tool /\nRUN [\"/tool\"]\n";
    program.write("context/Dockerfile", "FROM scratch\nCOPY tool /\n");
    let build = |args: &str| {
        let all = "build context --platform linux/wasm".split(' ');
        program.run(&all.chain(args.split_whitespace()).collect::<Vec<_>>())
    };
    let ran = build("--cache-to type=local,dest=cache,mode=max");
    assert_eq!(ran.code, 0, "{ran:?}");
    program.write("context/Dockerfile", text);
    let check = |args: &str, is_begun: bool| {
        let ran = build(args);
        let is_refused = ran.stderr.contains("there is a RUN for linux/wasm, which");
        assert!(
            ran.code == 1 && is_refused && ran.stderr.contains("#1") == is_begun,
            "{args}: {ran:?}"
        );
    };
    check("", false);
    check("--cache-from type=local,src=nothing", false);
    check("--cache-from type=local,src=cache --no-cache", false);
    check("--cache-from type=local,src=cache", true);
}

#[test]
fn layers_above_the_base_are_squashed_into_one() {
    let program = Program::with_base();
    let text = "FROM base\nCOPY one /\nENV a=b\nFROM 0\nCOPY two /\nCOPY two /one\n";
    let text = text
        .replace("FROM base", "FROM base AS first")
        .replace("FROM 0", "FROM first");
    program.write("context/Dockerfile", &text);
    program.write("context/one", "one\n");
    program.write("context/two", "two\n");
    program.ok(&["build", "context", "-t", "plain"]);
    program.ok(&["build", "context", "-t", "squashed", "--squash"]);
    let layers = |name: &str| json(&program, &["inspect", "--raw", name])["layers"].clone();
    let (plain, squashed) = (layers("plain"), layers("squashed"));
    assert_eq!(plain.as_array().unwrap().len(), 4);
    assert_eq!(squashed.as_array().unwrap().len(), 2);
    assert_eq!(squashed[0]["digest"], plain[0]["digest"]);
    assert_eq!(
        program.ok(&["ls", "squashed"]),
        program.ok(&["ls", "plain"])
    );
    assert_eq!(program.ok(&["cat", "squashed", "one"]), "two");

    let verify = |more: &[&str]| {
        let args = ["build", "context", "--verify-reproducible", "--timestamp=0"];
        program.ok(&[&args, more].concat())
    };
    let args = ["build", "context", "--timestamp=0", "--squash"];
    assert_eq!(verify(&["--squash"]), program.ok(&args));
    assert_ne!(verify(&[]), verify(&["--squash"]));
}

#[test]
fn a_provenance_of_a_squashed_image_names_no_other_layers() {
    let program = program();
    let text = "FROM scratch\nCOPY tool /\nCOPY tool /two\n";
    program.write("context/Dockerfile", text);
    // Returns what was recorded of squashing, and of the layers of steps.
    let recorded = |more: &[&str]| {
        let args = ["build", "context", "-t", "app", "--provenance=mode=max"];
        program.ok(&[&args, more].concat());
        let index = json(&program, &["inspect", "--raw", "app"]);
        let blob = |digest: &Value| {
            let digest = digest.as_str().unwrap().replacen(':', "/", 1);
            let path = program.path("store/blobs").join(digest);
            serde_json::from_slice::<Value>(&fs::read(path).unwrap()).unwrap()
        };
        let statement = blob(&blob(&index["manifests"][1]["digest"])["layers"][0]["digest"]);
        let predicate = &statement["predicate"];
        let request = &predicate["buildDefinition"]["externalParameters"]["request"];
        let layers = &predicate["runDetails"]["metadata"]["buildkit_metadata"]["layers"];
        (
            request["args"]["squash"].clone(),
            layers.as_object().map(serde_json::Map::len),
        )
    };
    assert_eq!(recorded(&[]), (Value::Null, Some(2)));
    assert_eq!(recorded(&["--squash"]), ("true".into(), None));
}

#[test]
fn steps_of_a_stage_are_done_again_alone() {
    let program = program();
    program.ok(&["build", "context"]);
    let run = |stage: &str| program.run(&["build", "context", "--no-cache-filter", stage]);
    let again = run("TOOLS").stderr;
    let line = |text: &str, end: &str| {
        let start = again.lines().find(|line| line.contains(text)).unwrap();
        let number = start.split(' ').next().unwrap();
        assert!(
            again.contains(&format!("{number} {end}")),
            "{text}: {again}"
        );
    };
    line("COPY tool /", "DONE");
    line("COPY --from=tools", "CACHED");
    let ran = run("tool");
    let expected = "there is no stage `tool` whose cache could be ignored";
    assert!(
        ran.code == 2 && ran.stderr.contains(expected) && !ran.stderr.contains("Dockerfile:"),
        "{ran:?}"
    );
}
