//! Stages, bases, targets and arguments.

use std::collections::{BTreeMap, BTreeSet};

use corten_dockerfile::unsupported;
use corten_dockerfile::{
    Base, Diagnostic, Plan, PlanOptions, Platform, parse, plan, plan_targets, render,
};

fn make(text: &str, target: Option<&str>, args: &[(&str, &str)]) -> Result<Plan, Diagnostic> {
    let dockerfile = parse(text).unwrap();
    let build_args: BTreeMap<String, String> = args
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    plan(
        &dockerfile,
        &PlanOptions {
            target,
            build_args: &build_args,
            platform: &Platform::new("linux", "arm64", ""),
            build_platform: &Platform::new("linux", "amd64", ""),
            contexts: &BTreeSet::new(),
        },
    )
}

fn show(base: &Base) -> String {
    match base {
        Base::Scratch => "scratch".to_owned(),
        Base::Stage(index) => format!("stage {index}"),
        Base::Image { name, platform } => format!("{name} {platform}"),
    }
}

#[test]
fn bases() {
    #[track_caller]
    fn check(text: &str, args: &[(&str, &str)], expected: &[&str]) {
        let plan = make(text, None, args).unwrap();
        let found: Vec<String> = plan.stages.iter().map(|stage| show(&stage.base)).collect();
        assert_eq!(found, expected, "{text:?}");
    }

    check("FROM scratch", &[], &["scratch"]);
    check("FROM debian:12", &[], &["debian:12 linux/arm64"]);
    check("FROM a AS B\nFROM b", &[], &["a linux/arm64", "stage 0"]);
    check(
        "FROM a AS b\nFROM b AS b\nFROM b",
        &[],
        &["a linux/arm64", "stage 0", "stage 1"],
    );
    check(
        "FROM b\nFROM a AS b",
        &[],
        &["b linux/arm64", "a linux/arm64"],
    );
    check("ARG v=1\nFROM a:$v", &[], &["a:1 linux/arm64"]);
    check("ARG v=1\nFROM a:$v", &[("v", "2")], &["a:2 linux/arm64"]);
    check("ARG v\nFROM a:${v:-3}", &[], &["a:3 linux/arm64"]);
    check(
        "ARG x=1\nARG y=$x-2\nFROM a:$y",
        &[],
        &["a:1-2 linux/arm64"],
    );
    check("FROM --platform=$BUILDPLATFORM a", &[], &["a linux/amd64"]);
    check(
        "FROM --platform=linux/arm/v7 a AS b\nFROM b",
        &[],
        &["a linux/arm/v7", "stage 0"],
    );
    check("FROM a-$TARGETARCH", &[], &["a-arm64 linux/arm64"]);
    check(
        "FROM a-$TARGETARCH",
        &[("TARGETARCH", "x")],
        &["a-x linux/arm64"],
    );
}

#[test]
fn only_needed_stages() {
    const TEXT: &str = "FROM a AS base\nFROM base AS unused\nRUN false\nFROM x AS tool\n\
        FROM base AS final\nCOPY --from=TOOL a b\nCOPY --from=0 a b\nCOPY --from=alpine:3 a b\n";

    #[track_caller]
    fn check(target: Option<&str>, expected: &[usize]) {
        assert_eq!(
            make(TEXT, target, &[]).unwrap().needed,
            expected,
            "{target:?}"
        );
    }

    check(None, &[0, 2, 3]);
    check(Some("base"), &[0]);
    check(Some("UNUSED"), &[0, 1]);
    check(Some("tool"), &[2]);
    check(Some(""), &[0, 2, 3]);
}

#[test]
fn triggers_of_a_stage_run_in_the_next() {
    let text = "FROM a AS tool\nFROM b AS base\nONBUILD COPY --from=tool x y\nFROM base\n";
    let plan = make(text, None, &[]).unwrap();
    assert_eq!(plan.needed, [0, 1, 2]);
    assert_eq!(plan.stage_triggers(2).len(), 1);
    assert_eq!(plan.stage_triggers(1).len(), 0);
}

#[test]
fn plans_that_cannot_be_made() {
    #[track_caller]
    fn check(text: &str, target: Option<&str>, expected: &str) {
        let diagnostic = make(text, target, &[]).unwrap_err();
        assert_eq!(
            render(&diagnostic, "Dockerfile", text),
            expected,
            "{text:?}"
        );
    }

    check(
        "FROM $base",
        None,
        "\
error: `$base` is empty
 --> Dockerfile:1:6
  |
1 | FROM $base
  |      ^^^^^
hint: `base` needs an ARG with a value before the first FROM",
    );
    check(
        "FROM a AS build\nFROM b AS app",
        Some("biuld"),
        "\
error: there is no stage `biuld`
 --> Dockerfile:2:1
  |
2 | FROM b AS app
  | ^^^^^^^^^^^^^ did you mean `build`?
hint: the stages are `build`, `app`",
    );
    check(
        "FROM a AS one\nCOPY --from=two x y\nFROM b AS two\nCOPY --from=one x y\n",
        None,
        "\
error: the stage `two` comes after this one
 --> Dockerfile:2:6
  |
2 | COPY --from=two x y
  |      ^^^^^^^^^^ only earlier stages can be used",
    );
    check(
        "FROM a AS one\nCOPY --from=one x y\n",
        None,
        "\
error: a stage cannot copy from itself
 --> Dockerfile:2:6
  |
2 | COPY --from=one x y
  |      ^^^^^^^^^^",
    );
    check(
        "FROM a\nCOPY --from=7 x y\n",
        None,
        "\
error: there is no stage number 7
 --> Dockerfile:2:6
  |
2 | COPY --from=7 x y
  |      ^^^^^^^^ the stages are 0 to 0",
    );
    check(
        "FROM a\nCOPY --from=$x x y\n",
        None,
        "\
error: variables are not expanded in `--from`
 --> Dockerfile:2:6
  |
2 | COPY --from=$x x y
  |      ^^^^^^^^^
hint: name a stage with `FROM $VARIABLE AS name` and copy from that",
    );
    check(
        "FROM --platform=toaster a\n",
        None,
        "\
error: `toaster` is not a platform
 --> Dockerfile:1:6
  |
1 | FROM --platform=toaster a
  |      ^^^^^^^^^^^^^^^^^^",
    );
}

#[test]
fn build_arguments_nobody_takes() {
    #[track_caller]
    fn check(text: &str, args: &[&str], expected: &[&str]) {
        let args: Vec<_> = args.iter().map(|name| (*name, "1")).collect();
        assert_eq!(
            make(text, None, &args).unwrap().unconsumed,
            expected,
            "{text:?}"
        );
    }

    check("FROM a", &["x"], &["x"]);
    check("ARG x\nFROM a", &["x"], &[]);
    check("FROM a\nARG x", &["x", "y"], &["y"]);
    check("FROM a\nONBUILD ARG x", &["x"], &[]);
    check(
        "FROM a",
        &["HTTP_PROXY", "no_proxy", "BUILDKIT_X", "SOURCE_DATE_EPOCH"],
        &["BUILDKIT_X"],
    );
    check(
        "FROM a",
        &["TARGETARCH", "BUILDPLATFORM", "TARGETSTAGE", "TARGETX"],
        &["TARGETX"],
    );
}

#[test]
fn what_the_builder_cannot_do_is_found_in_needed_stages() {
    #[track_caller]
    fn check(line: &str, expected: &[&str]) {
        let text = format!("FROM a AS unused\nRUN --device=x y\nFROM b\n{line}\n");
        let found = unsupported(&make(&text, None, &[]).unwrap());
        let messages: Vec<&str> = found.iter().map(|d| d.message.as_str()).collect();
        assert_eq!(messages, expected, "{line:?}");
        assert!(found.iter().all(|d| d.span.line == 4), "{line:?}");
    }

    check("RUN x", &[]);
    check("RUN --network=none x", &[]);
    check("RUN --mount=type=bind,target=/x y", &[]);
    check("RUN --security=sandbox x", &[]);
    check("RUN --device=x y", &["RUN --device is not supported yet"]);
    check("ONBUILD RUN --device=x y", &[]);
}

#[test]
fn source_date_epoch() {
    let epoch =
        |text: &str, args: &[(&str, &str)]| make(text, None, args).unwrap().source_date_epoch;
    assert_eq!(epoch("FROM a", &[]), None);
    assert_eq!(
        epoch("FROM a", &[("SOURCE_DATE_EPOCH", "7")]).as_deref(),
        Some("7")
    );
    assert_eq!(
        epoch("ARG SOURCE_DATE_EPOCH=8\nFROM a", &[]).as_deref(),
        Some("8")
    );
    assert_eq!(epoch("FROM a\nARG SOURCE_DATE_EPOCH=8", &[]), None);
}

#[test]
fn grammars_and_settings() {
    #[track_caller]
    fn check(text: &str, args: &[(&str, &str)], expected: Option<&str>) {
        let found = make(text, None, args).err().map(|error| error.message);
        assert_eq!(found.as_deref(), expected, "{text:?} {args:?}");
    }

    let foreign = "# syntax=other/front:1\nFROM a";
    check("# syntax=docker/dockerfile:1-labs\nFROM a", &[], None);
    check(
        foreign,
        &[],
        Some("the Dockerfile syntax `other/front:1` is not supported"),
    );
    check(foreign, &[("BUILDKIT_SYNTAX", "dockerfile.v0")], None);
    check(
        "FROM a",
        &[("BUILDKIT_SYNTAX", "x/y:1 --option")],
        Some("the Dockerfile syntax `x/y:1` is not supported"),
    );
    check("FROM a", &[("BUILDKIT_DOCKERFILE_CHECK", "skip=all")], None);
    check("FROM a", &[("BUILDKIT_CONTEXT_KEEP_GIT_DIR", "1")], None);
    check("FROM a", &[("BUILDKIT_MULTI_PLATFORM", "0")], None);
    check("FROM a", &[("BUILDKIT_CACHE_MOUNT_NS", "ns")], None);
    let host = |name| check("FROM a", &[("BUILDKIT_SANDBOX_HOSTNAME", name)], None);
    host("a-1.example_x");
    host("");
    host(&"a".repeat(64));
    let refused = |name| {
        let message = "the build argument `BUILDKIT_SANDBOX_HOSTNAME` is no name of a host";
        let args = [("BUILDKIT_SANDBOX_HOSTNAME", name)];
        check("FROM a", &args, Some(message));
    };
    refused("a\n6.6.6.6 evil");
    refused("a b");
    refused(&"a".repeat(65));
    let message = "the build argument `BUILDKIT_MULTI_PLATFORM` is not supported";
    check("FROM a", &[("BUILDKIT_MULTI_PLATFORM", "1")], Some(message));
    let plan = make("FROM a", None, &[("BUILDKIT_INLINE_CACHE", "1")]).unwrap();
    assert_eq!(plan.unconsumed, ["BUILDKIT_INLINE_CACHE"]);
}

#[test]
fn several_targets() {
    #[track_caller]
    fn check(text: &str, targets: &[&str], expected: Result<(&[usize], &[usize]), &str>) {
        let platform = Platform::new("linux", "amd64", "");
        let options = PlanOptions {
            target: None,
            build_args: &BTreeMap::new(),
            platform: &platform,
            build_platform: &platform,
            contexts: &BTreeSet::new(),
        };
        let found = plan_targets(&parse(text).unwrap(), &options, targets);
        let found = found.map(|plan| {
            assert_eq!(plan.target, plan.targets[0]);
            (plan.targets, plan.needed)
        });
        let found = found.map_err(|error| error.message);
        let expected = expected.map(|(targets, needed)| (targets.to_vec(), needed.to_vec()));
        assert_eq!(
            found,
            expected.map_err(str::to_owned),
            "{text:?} {targets:?}"
        );
    }

    let text = "FROM a AS x\nFROM b AS y\nFROM c AS unused\nFROM y AS z\n";
    check(text, &[], Ok((&[3], &[1, 3])));
    check(text, &["z", "x"], Ok((&[3, 0], &[0, 1, 3])));
    check(text, &["X", "x"], Ok((&[0], &[0])));
    check(text, &["x", "q"], Err("there is no stage `q`"));
    let text = "FROM a AS x\nFROM a AS y\nARG TARGETSTAGE\n";
    check(text, &["x"], Ok((&[0], &[0])));
    check(
        text,
        &["x", "y"],
        Err("`TARGETSTAGE` cannot be several targets at once"),
    );
}

#[test]
fn contexts_take_the_place_of_stages() {
    let text = "FROM scratch AS a\nFROM e.com/x AS b\nONBUILD RUN x\nCOPY --from=a / /\n\
                FROM scratch AS context\nFROM b AS c\nCOPY --from=context / /\nCOPY --from=B / /\n";
    let platform = Platform::new("linux", "amd64", "");
    let plan_with = |contexts: &[&str]| {
        let options = PlanOptions {
            target: None,
            build_args: &BTreeMap::new(),
            platform: &platform,
            build_platform: &platform,
            contexts: &contexts.iter().map(|name| (*name).to_owned()).collect(),
        };
        plan(&parse(text).unwrap(), &options).unwrap()
    };
    assert_eq!(plan_with(&["docker.io/library/b"]).needed, [0, 1, 2, 3]);
    // Its own steps and what they need are no matter, but what it triggers is, as in BuildKit; what
    // BuildKit calls `context` is no stage's to give away.
    let found = plan_with(&["b", "context", "scratch"]);
    assert_eq!(found.needed, [1, 2, 3]);
    assert!(found.stages[1].is_context && !found.stages[2].is_context);
    assert!(found.stages[1].instructions.is_empty());
    assert_eq!(found.stage_triggers(3).len(), 1);
    let base = Base::Image {
        name: "b".to_owned(),
        platform: platform.clone(),
    };
    assert_eq!(found.stages[1].base, base);
}
