//! Stages: what they are built on, which are built, and what is copied between them.

use std::sync::Barrier;

use corten_build::{BuildRequest, Event, Named};

use crate::site::{Site, chain, check_in, lines};

#[test]
fn copying_between_stages() {
    let dockerfile = |last: &str| {
        format!(
            "FROM base AS first
FROM scratch AS files
COPY --chown=7:8 d /out/
COPY f /out/deep/
FROM files AS more
COPY f /f
FROM base
{}",
            lines(last)
        )
    };
    let context = "file 644 f F\nfile 4755 d/a A\nhard d/b d/a\nlink d/l a\nxattr d/a user.x y";
    let mut site = Site::new(context);
    site.image(
        "other",
        &["file 600 1:2 etc/secret S\nlink out etc"],
        |_| {},
    );
    site.directory("named", "file 644 n N\ndir 700 sub\nfile 644 sub/x X");
    let check = |last: &str, expected: &str| {
        let built = site.build(&dockerfile(last));
        assert_eq!(
            site.listing(&built),
            crate::sketch::trimmed(expected),
            "{last}"
        );
    };
    // Owners are kept, by name and by number, and so are links and attributes.
    let out = "
        dir 755 x
        file 4755 7:8 x/a A
        xattr x/a user.x y
        hard x/b x/a
        dir 755 x/deep
        file 644 x/deep/f F
        link 7:8 x/l a
    ";
    check("COPY --from=files /out /x", out);
    check("COPY --from=FILES out/ x/", out);
    check("COPY --from=1 /out/ /x", out);
    check(
        "COPY --from=more f /out/deep/* /x/",
        "dir 755 x\nfile 644 x/f F",
    );
    check(
        "COPY --from=files --chown=app /out/a /x",
        "file 4755 1000:1001 x A\nxattr x user.x y",
    );
    check("COPY --from=first /lib/libc.so /x", "file 644 x libc");
    // Images and directories.
    check("COPY --from=other /etc/secret /x", "file 600 1:2 x S");
    check(
        "COPY --from=other /out/ /x",
        "dir 755 x\nfile 600 1:2 x/secret S",
    );
    check(
        "COPY --from=named . /x",
        "dir 755 x\nfile 644 x/n N\ndir 700 x/sub\nfile 644 x/sub/x X",
    );
    check(
        "COPY --from=named n /x\nCOPY --from=named sub/x /y",
        "file 644 x N\nfile 644 y X",
    );
}

#[test]
fn what_is_built() {
    let dockerfile = "
        FROM base AS broken
        COPY not-there /
        FROM base AS one
        COPY f /one
        FROM one AS two
        COPY f /two
        FROM missing-image AS three
        COPY f /three
        FROM one
        COPY --from=two /two /three
    ";
    let site = Site::new("file 644 f F").clamp(5);
    let built = site.build(dockerfile);
    assert_eq!(site.listing(&built), "file 644 one F\nfile 644 three F");
    assert_eq!(
        site.events(),
        ["COPY f /one", "COPY f /two", "COPY --from=two /two /three"],
    );
    let site = site.target("two");
    let built = site.build(dockerfile);
    assert_eq!(site.listing(&built), "file 644 one F\nfile 644 two F");
    assert_eq!(site.events(), ["COPY f /one CACHED", "COPY f /two CACHED"]);
    let site = site.target("TWO");
    assert_eq!(site.build(dockerfile), built);
}

#[test]
fn build_arguments() {
    let dockerfile = "
        ARG base=nothing
        ARG global=from-global
        FROM $base AS one
        ARG mine=default
        ARG global
        COPY <<EOF /one
        $base|$mine|$global|$TARGETARCH
        EOF
        FROM base
        ARG TARGETARCH
        ARG TARGETPLATFORM
        ARG global=other
        COPY --from=one /one /
        COPY <<EOF /two
        $mine|$global|$TARGETARCH|$TARGETPLATFORM
        EOF
    ";
    let site = Site::new("").arg("base", "base");
    let built = site.build(dockerfile);
    assert_eq!(
        site.listing(&built),
        "file 644 one |default|from-global|\\n\nfile 644 two |other|amd64|linux/amd64\\n"
    );
    let site = site
        .arg("mine", "given")
        .arg("global", "too")
        .arg("unknown", "x");
    let built = site.build(dockerfile);
    assert_eq!(
        site.listing(&built),
        "file 644 one |given|too|\\n\nfile 644 two |too|amd64|linux/amd64\\n"
    );
    let warnings = site.events();
    let warnings: Vec<_> = warnings
        .iter()
        .filter(|text| text.starts_with("warning"))
        .collect();
    assert_eq!(
        warnings,
        [
            "warning: no ARG takes the build argument `unknown`",
            "warning: UndefinedVar: Usage of undefined variable '$TARGETARCH' (line 6)",
            "warning: UndefinedVar: Usage of undefined variable '$base' (line 6)",
            "warning: UndefinedVar: Usage of undefined variable '$mine' (line 14)",
        ]
    );
}

#[test]
fn platforms() {
    let host = corten_spec::Platform::host();
    let site = Site::new("");
    let dockerfile = "
        FROM --platform=$BUILDPLATFORM base
        ARG BUILDARCH
        ARG BUILDOS
        ARG TARGETOS
        COPY <<EOF /x
        $BUILDOS $BUILDARCH $TARGETOS
        EOF
    ";
    let built = site.build(dockerfile);
    let expected = format!("file 644 x {} {} linux\\n", host.os, host.architecture);
    assert_eq!(site.listing(&built), expected);
}

#[test]
fn triggers() {
    let mut site = Site::new("file 644 f F");
    site.image("triggering", &["file 644 b B"], |config| {
        config.config.on_build = vec!["COPY f /trigger".to_owned(), "ENV A=b".to_owned()];
    });
    let built = site.build("FROM triggering\nCOPY f /own\n");
    assert_eq!(
        site.listing(&built),
        "file 644 b B\nfile 644 own F\nfile 644 trigger F"
    );
    let config = site.config(&built);
    assert_eq!(config["config"]["OnBuild"], serde_json::Value::Null);
    assert_eq!(config["config"]["Env"][1], "A=b");
    assert_eq!(site.events(), ["COPY f /trigger", "ENV A=b", "COPY f /own"]);
    // A stage's triggers are for the stages built on it; they need other stages, too.
    let built = site.build(
        "
        FROM base AS files
        COPY f /file
        FROM base AS parent
        ONBUILD COPY --from=files /file /copied
        FROM parent
        COPY f /own
        ",
    );
    assert_eq!(site.listing(&built), "file 644 copied F\nfile 644 own F");
    assert_eq!(
        site.config(&built)["config"]["OnBuild"],
        serde_json::Value::Null
    );
    let built = site.build("FROM base\nONBUILD COPY f /x\nONBUILD USER 5\n");
    assert_eq!(
        site.config(&built)["config"]["OnBuild"],
        serde_json::json!(["COPY f /x", "USER 5"])
    );
    assert_eq!(site.listing(&built), "");
}

#[test]
fn names_of_bases() {
    let mut site = Site::new("file 644 f F");
    let annotations = |site: &Site, dockerfile: &str| {
        let built = site.build(dockerfile);
        site.document(&built.manifest.digest)["annotations"].clone()
    };
    // Only what others can find is named.
    assert_eq!(
        annotations(&site, "FROM base\nCOPY f /\n"),
        serde_json::Value::Null
    );
    assert_eq!(
        annotations(&site, "FROM scratch\nCOPY f /\n"),
        serde_json::Value::Null
    );
    let digest = site.name_in_registry("base", "registry.example/base:1");
    let expected = serde_json::json!({
        "org.opencontainers.image.base.digest": digest,
        "org.opencontainers.image.base.name": "registry.example/base:1",
    });
    assert_eq!(annotations(&site, "FROM base\nCOPY f /\n"), expected);
    assert_eq!(
        annotations(&site, "FROM base AS a\nCOPY f /\nFROM a\n"),
        expected
    );
    // An image that is only copied from is none.
    let dockerfile = "FROM scratch\nCOPY --from=base /etc/old /\n";
    assert_eq!(annotations(&site, dockerfile), serde_json::Value::Null);
}

#[test]
fn nothing_but_a_base() {
    let site = Site::new("");
    check_in(&site, "", "");
    let built = site.build("FROM scratch\n");
    assert_eq!(site.listing(&built), "");
    assert_eq!(site.layers(&built), []);
    assert!(site.asked().is_empty());
}

#[test]
fn stages_are_built_side_by_side() {
    let site = Site::new("file 644 f F");
    // Each of the two waits until the other has begun, so one after the other would not end.
    let both = Barrier::new(2);
    let listener = |event: Event<'_>| {
        if let Event::Step {
            stage: "a" | "b", ..
        } = event
        {
            both.wait();
        }
    };
    let request = BuildRequest {
        text: lines(
            "
            FROM base AS a
            COPY f /a
            FROM base AS b
            COPY f /b
            FROM base
            COPY --from=a /a /
            COPY --from=b /b /
            ",
        ),
        ..site.request.clone()
    };
    let built = corten_build::build(&site.store, &request, &site, &listener).unwrap();
    assert_eq!(site.listing(&built), "file 644 a F\nfile 644 b F");
}

#[test]
fn the_same_step_of_two_stages_is_done_once() {
    let site = Site::new("file 644 f F");
    let built = site.build(
        "
        FROM base AS a
        COPY f /same
        FROM base AS b
        COPY f /same
        FROM base
        COPY --from=a /same /a
        COPY --from=b /same /b
        ",
    );
    assert_eq!(site.listing(&built), "file 644 a F\nfile 644 b F");
    let cached = |event: &String| event == "COPY f /same CACHED";
    assert_eq!(
        site.events().iter().filter(|event| cached(event)).count(),
        1
    );
}

#[test]
fn what_needs_a_failed_stage_is_not_built() {
    let site = Site::new("file 644 f F");
    let failed = site.try_build(
        "
        FROM base AS a
        COPY gone /
        FROM base AS b
        COPY --from=a / /
        COPY f /b
        FROM b
        COPY --from=a / /
        ",
    );
    let found = chain(&failed.unwrap_err());
    assert!(
        found.contains("`gone` is not in the build context"),
        "{found}"
    );
    assert!(!site.events().contains(&"COPY f /b".to_owned()));
}

#[test]
fn an_image_is_asked_for_once() {
    let site = Site::new("");
    site.build("FROM base AS a\nFROM base AS b\nFROM a\nCOPY --from=b / /\nCOPY --from=base / /");
    assert_eq!(site.asked(), ["base"]);
    let failed = site.try_build("FROM gone AS a\nFROM gone AS b\nFROM a\nCOPY --from=b / /");
    assert!(chain(&failed.unwrap_err()).ends_with("there is no image `gone`"));
    assert_eq!(site.asked(), ["gone"]);
}

#[test]
fn a_context_takes_the_place_of_a_stage() {
    let dockerfile = "
        FROM scratch AS dep
        COPY f /never
        FROM scratch AS base
        ONBUILD COPY f /onbuild
        ENV A=1
        COPY --from=dep never /never
        COPY not-there /
        FROM base AS last
        COPY f /last
    ";
    let mut site = Site::new("file 644 f F").clamp(5);
    site.image("image", &["file 644 own O"], |config| {
        config.config.env = vec!["B=2".to_owned()];
        config.config.on_build = vec!["COPY not-there /".to_owned()];
    });
    let image = site.named("image");
    site.directory("files", "file 644 own D\ndir 750 sub\nfile 600 sub/x X");
    let files = site.named("files");
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let cases = [
        (
            image,
            "file 644 last F\nfile 644 onbuild F\nfile 644 own O",
            "B=2",
        ),
        (
            files,
            "file 644 last F\nfile 644 onbuild F\nfile 644 own D\ndir 750 sub\nfile 600 sub/x X",
            "",
        ),
        (Named::Scratch, "file 644 last F\nfile 644 onbuild F", ""),
    ];
    for (context, expected, env) in cases {
        site.name("base", context);
        site.request.contexts = ["base".to_owned()].into();
        site.request.target = None;
        let built = site.build(dockerfile);
        assert_eq!(site.whole(&built), expected);
        // As for BuildKit, the text's ONBUILD counts, and the image's does not.
        assert_eq!(site.events(), ["ONBUILD COPY f /onbuild", "COPY f /last"]);
        let expected: Vec<_> = [env, path]
            .into_iter()
            .filter(|one| !one.is_empty())
            .collect();
        assert_eq!(
            site.config(&built)["config"]["Env"],
            serde_json::json!(expected)
        );
        site.request.target = Some("base".to_owned());
        let built = site.build(dockerfile);
        assert!(site.events().is_empty());
        let found = &site.config(&built)["config"]["Env"];
        assert_eq!(found.get(0).and_then(|one| one.as_str()).unwrap_or(""), env);
        assert!(site.config(&built)["config"].get("OnBuild").is_none());
    }
}

#[test]
fn an_image_that_is_a_directory() {
    let mut site = Site::new("file 644 f F").clamp(5);
    site.directory("files", "file 4755 own D\ndir 750 sub\nlink to own");
    let dockerfile = "
        FROM files
        COPY f /f
        COPY --from=files own /copy
    ";
    let built = site.build(dockerfile);
    assert_eq!(
        site.whole(&built),
        "file 4755 copy D\nfile 644 f F\nfile 4755 own D\ndir 750 sub\nlink to own"
    );
    let history = &site.config(&built)["history"];
    assert_eq!(history[0]["created_by"], "FROM files");
    assert_eq!(history.as_array().unwrap().len(), 3);
    assert_eq!(site.build(dockerfile), built);
    // What changes in it is seen.
    let path = site.dir.path().join("files/own");
    std::fs::remove_file(path).unwrap();
    assert!(site.try_build(dockerfile).is_err());
}
