//! Instructions to steps, and the history they leave.

use std::collections::{BTreeMap, BTreeSet};

use corten_dockerfile::{
    Address, Base, BaseConfig, Chmod, CopyStep, Diagnostic, HttpSource, PlanOptions, Platform,
    Resolved, RunStep, Source, Span, Step, parse, plan, resolve, triggers,
};

/// Resolves the only stage of `text` with build arguments; returns its steps.
fn steps(
    text: &str,
    args: &[(&str, &str)],
    config: &BaseConfig,
) -> Result<Vec<Resolved>, Diagnostic> {
    let dockerfile = parse(text).unwrap();
    let build_args: BTreeMap<String, String> = args
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    let platform = Platform::new("linux", "amd64", "");
    let options = PlanOptions {
        target: None,
        build_args: &build_args,
        platform: &platform,
        build_platform: &platform,
        contexts: &BTreeSet::new(),
    };
    let plan = plan(&dockerfile, &options)?;
    let mut state = plan.begin(plan.target, config);
    plan.stages[plan.target]
        .instructions
        .iter()
        .map(|i| resolve(i, &mut state))
        .collect()
}

fn history(text: &str, args: &[(&str, &str)]) -> Vec<String> {
    let steps = steps(text, args, &BaseConfig::default()).unwrap();
    steps
        .into_iter()
        .filter_map(|step| step.created_by)
        .collect()
}

#[track_caller]
fn check(lines: &str, expected: &[&str]) {
    assert_eq!(
        history(&format!("FROM a\n{lines}\n"), &[]),
        expected,
        "{lines:?}"
    );
}

#[test]
fn history_as_buildkit_writes_it() {
    check(
        "RUN apt-get update",
        &["RUN /bin/sh -c apt-get update # buildkit"],
    );
    check("RUN [\"a\", \"b c\"]", &["RUN a b c # buildkit"]);
    check(
        "SHELL [\"bash\", \"-c\"]\nRUN x",
        &["SHELL [bash -c]", "RUN bash -c x # buildkit"],
    );
    check("COPY file /dst", &["COPY file /dst # buildkit"]);
    check(
        "COPY --chown=1:2 --chmod=755 a b /d/",
        &["COPY --chown=1:2 --chmod=755 a b /d/ # buildkit"],
    );
    check("ADD a.tar b", &["ADD a.tar b # buildkit"]);
    check("COPY <<x y /d/\n1\nx", &["COPY y <<x /d/ # buildkit"]);
    check("ENV A=b \"C D\"='e f'", &["ENV A=b C D=e f"]);
    check("ENV A b  c", &["ENV A=b  c"]);
    check("LABEL a=b c=\"d e\"", &["LABEL a=b c=d e"]);
    check("ARG a\nARG b=1 c", &["ARG a", "ARG b=1 c"]);
    check(
        "WORKDIR /a\nWORKDIR b/../c\nWORKDIR ..",
        &["WORKDIR /a", "WORKDIR /a/c", "WORKDIR /a"],
    );
    check("WORKDIR a/", &["WORKDIR /a"]);
    // An absolute path is kept as it is written.
    check("WORKDIR /a/../b/", &["WORKDIR /a/../b/"]);
    check("USER 1:2", &["USER 1:2"]);
    check("CMD [\"a\", \"b\\\"c\"]", &[r#"CMD ["a" "b\"c"]"#]);
    check("CMD a b", &[r#"CMD ["/bin/sh" "-c" "a b"]"#]);
    check("ENTRYPOINT []", &["ENTRYPOINT []"]);
    check(
        "EXPOSE 8000-8002 80 53/UDP",
        &["EXPOSE [53/udp 80/tcp 8000/tcp 8001/tcp 8002/tcp]"],
    );
    check("VOLUME /a /b", &["VOLUME [/a /b]"]);
    check("STOPSIGNAL SIGINT", &["STOPSIGNAL SIGINT"]);
    check("MAINTAINER a b <c>", &["MAINTAINER a b <c>"]);
    check(
        "HEALTHCHECK NONE",
        &[
            "HEALTHCHECK {Test:[NONE] Interval:0s Timeout:0s StartPeriod:0s StartInterval:0s Retries:0}",
        ],
    );
    check(
        "HEALTHCHECK --interval=90s --retries=3 CMD curl x",
        &[
            "HEALTHCHECK {Test:[CMD-SHELL curl x] Interval:1m30s Timeout:0s StartPeriod:0s StartInterval:0s Retries:3}",
        ],
    );
    check("ONBUILD RUN x", &[]);
}

#[test]
fn variables_take_effect_from_the_next_line() {
    check(
        "ENV a=1\nENV a=2 b=$a\nENV c=$b",
        &["ENV a=1", "ENV a=2 b=1", "ENV c=1"],
    );
    check("ARG a=1 b=$a", &["ARG a=1 b=1"]);
    check(
        "ENV d=/x\nWORKDIR $d/y\nCOPY $d ${d}z .\nUSER $d\nVOLUME $d\nEXPOSE ${p:-80}",
        &[
            "ENV d=/x",
            "WORKDIR /x/y",
            "COPY /x /xz . # buildkit",
            "USER /x",
            "VOLUME [/x]",
            "EXPOSE [80/tcp]",
        ],
    );
    check(
        "ENV a=1\nCMD $a\nRUN $a",
        &[
            "ENV a=1",
            r#"CMD ["/bin/sh" "-c" "$a"]"#,
            "RUN /bin/sh -c $a # buildkit",
        ],
    );
    check("ENV a=\\$b 'c'='$a'", &["ENV a=$b c=$a"]);
}

#[test]
fn build_arguments_in_use() {
    #[track_caller]
    fn check(text: &str, args: &[(&str, &str)], expected: &str) {
        assert_eq!(
            history(text, args).last().map(String::as_str),
            Some(expected),
            "{text:?}"
        );
    }

    check(
        "FROM a\nARG x=1\nRUN y",
        &[],
        "RUN |1 x=1 /bin/sh -c y # buildkit",
    );
    check(
        "FROM a\nARG x=1\nRUN y",
        &[("x", "2")],
        "RUN |1 x=2 /bin/sh -c y # buildkit",
    );
    check(
        "FROM a\nARG x\nRUN y",
        &[],
        "RUN |1 x= /bin/sh -c y # buildkit",
    );
    check("ARG x=1\nFROM a\nRUN y", &[], "RUN /bin/sh -c y # buildkit");
    check(
        "ARG x=1\nFROM a\nARG x\nRUN y",
        &[],
        "RUN |1 x=1 /bin/sh -c y # buildkit",
    );
    check(
        "ARG x=1\nFROM a\nARG x=2\nRUN y",
        &[],
        "RUN |1 x=2 /bin/sh -c y # buildkit",
    );
    check(
        "FROM a\nARG x=1\nENV x=3\nRUN y",
        &[],
        "RUN |1 x=3 /bin/sh -c y # buildkit",
    );
    check(
        "FROM a\nARG x=1\nARG z=1\nARG x=2\nRUN y",
        &[],
        "RUN |2 x=2 z=1 /bin/sh -c y # buildkit",
    );
    check(
        "FROM a\nARG TARGETARCH\nRUN y",
        &[],
        "RUN |1 TARGETARCH=amd64 /bin/sh -c y # buildkit",
    );
    check(
        "FROM a\nRUN y",
        &[("HTTP_PROXY", "p")],
        "RUN /bin/sh -c y # buildkit",
    );
}

fn run(text: &str, args: &[(&str, &str)]) -> RunStep {
    let found = steps(text, args, &BaseConfig::default())
        .unwrap()
        .pop()
        .unwrap()
        .step;
    let Step::Run(run) = found else {
        panic!("{found:?}")
    };
    *run
}

#[test]
fn environment_of_a_command() {
    let step = run(
        "FROM a\nARG b=2\nENV c=3\nUSER u\nWORKDIR w\nRUN x",
        &[("http_proxy", "p")],
    );
    let names: Vec<&str> = step.env.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["PATH", "b", "c"]);
    assert_eq!((step.user.as_str(), step.workdir.as_str()), ("u", "/w"));
    let proxies: Vec<&str> = step
        .proxy_env
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(proxies, ["HTTP_PROXY", "http_proxy"]);
}

#[test]
fn here_documents_of_a_command() {
    #[track_caller]
    fn check(line: &str, command: &str, script: Option<(&str, &str)>) {
        let step = run(&format!("FROM a\nARG a=1\n{line}\n"), &[]);
        assert_eq!(
            step.command.last().map(String::as_str),
            Some(command),
            "{line:?}"
        );
        let found = step
            .script
            .as_ref()
            .map(|s| (s.path.as_str(), s.content.as_str()));
        assert_eq!(found, script, "{line:?}");
    }

    check("RUN <<EOF\necho $a\nEOF", "echo $a\n", None);
    check("RUN <<-EOF\n\techo\n\tEOF", "echo\n", None);
    check(
        "RUN python3 <<EOF\nprint(1)\nEOF",
        "python3 <<EOF\nprint(1)\nEOF",
        None,
    );
    check(
        "RUN cat <<A <<-B\n1\nA\n\t2\nB",
        "cat <<A <<-B\n1\nA\n\t2\nB",
        None,
    );
    check(
        "RUN <<EOF\n#!/bin/x\n1\nEOF",
        "/dev/pipes/EOF",
        Some(("/dev/pipes/EOF", "#!/bin/x\n1\n")),
    );
}

fn copy(lines: &str) -> Result<CopyStep, Diagnostic> {
    let text = format!("FROM b AS first\nFROM a\nENV v=1\nWORKDIR /w\n{lines}\n");
    let found = steps(&text, &[], &BaseConfig::default())?
        .pop()
        .unwrap()
        .step;
    let Step::Copy(copy) = found else {
        panic!("{found:?}")
    };
    Ok(*copy)
}

#[test]
fn copies() {
    let step = copy("COPY --from=FIRST --chmod=4755 --chown=$v ./a/ ../b d/").unwrap();
    assert_eq!(step.from, Some(Base::Stage(0)));
    assert_eq!(step.chmod, Some(Chmod::Octal(0o4755)));
    assert_eq!(step.chown.as_deref(), Some("1"));
    assert_eq!(
        step.sources,
        [Source::Path("/a".to_owned()), Source::Path("/b".to_owned())]
    );
    assert_eq!(step.dest, "/w/d/");
    let step = copy("COPY --chmod=u=rwX,go-w <<f <<'g' /\n\"$v\" \\$v\nf\n$v\ng").unwrap();
    assert_eq!(step.chmod, Some(Chmod::Symbolic("u=rwX,go-w".to_owned())));
    let inline = |name: &str, content: &str| Source::Inline {
        name: name.to_owned(),
        content: content.to_owned(),
    };
    assert_eq!(
        step.sources,
        [inline("f", "\"1\" $v\n"), inline("g", "$v\n")]
    );
}

#[test]
fn flags_of_copies() {
    let step = copy("COPY --link --exclude=a$v --exclude=!b x y").unwrap();
    assert!(step.link && !step.unpack_paths && !step.unpack_addresses);
    assert_eq!(step.excludes, ["a1", "!b"]);
    // BuildKit links only what keeps its modes.
    assert!(!copy("COPY --link --chmod=1 x y").unwrap().link);
    assert!(copy("COPY --link --chown=1:$v x y").unwrap().link);
    assert!(!copy("COPY --link=false --parents=false x y").unwrap().link);
    let unpacks = |line: &str| {
        let step = copy(line).unwrap();
        (step.unpack_paths, step.unpack_addresses)
    };
    assert_eq!(unpacks("ADD x y"), (true, false));
    assert_eq!(unpacks("ADD --unpack x y"), (true, true));
    assert_eq!(unpacks("ADD --unpack=false x y"), (false, false));
}

#[test]
fn sources_of_copies() {
    #[track_caller]
    fn check(line: &str, expected: &Source) {
        assert_eq!(
            copy(line).unwrap().sources,
            std::slice::from_ref(expected),
            "{line}"
        );
    }
    let parents = |pivot: &str, pattern: &str, required: bool| Source::Parents {
        pivot: pivot.to_owned(),
        pattern: pattern.to_owned(),
        required,
    };
    check("COPY --parents a/b c", &parents("/", "a/b", true));
    check("COPY --parents /a/../b/ c", &parents("/", "b", true));
    check("COPY --parents a/./b/c d", &parents("/a", "b/c", true));
    check("COPY --parents ./a/./b/./c d", &parents("/a", "b/c", true));
    check("COPY --parents a*/./b d", &parents("/a*", "b", false));
    check("COPY --parents a/**/x d", &parents("/", "a/**/x", false));
    check("COPY --parents . d", &parents("/", "", true));
    let http = |url: &str, name: &str, checksum: Option<&str>| {
        Source::Http(Box::new(HttpSource {
            url: Address::new(url),
            name: name.to_owned(),
            checksum: checksum.map(str::to_owned),
        }))
    };
    check("ADD http://h/a$v /", &http("http://h/a1", "a1", None));
    check(
        "ADD --checksum= http://h /",
        &http("http://h", "__unnamed__", None),
    );
    let sha = "a".repeat(64);
    check(
        &format!("ADD --checksum=sha256:{sha} https://h/x?y=z /"),
        &http("https://h/x?y=z", "x", Some(&sha)),
    );
    let git = |line: &str| {
        let step = copy(line).unwrap();
        let [Source::Git(source)] = step.sources.as_slice() else {
            panic!("{step:?}");
        };
        source.url.clone()
    };
    let url = git("ADD --checksum=ABC https://h/a.git?checksum=aBc /");
    assert_eq!(url.checksum.as_deref(), Some("abc"));
    let url = git("ADD https://h/a.git?checksum=ABC /");
    assert_eq!(url.checksum.as_deref(), Some("abc"));
    let url = git("ADD --keep-git-dir --checksum=abc https://h/a.git#r:d /");
    assert_eq!(url.remote, "https://h/a.git");
    assert_eq!(
        (url.keep_git_dir, url.checksum.as_deref()),
        (Some(true), Some("abc"))
    );
    assert_eq!(
        (url.reference.as_deref(), url.subdir.as_str()),
        (Some("r"), "d")
    );
    let url = git("ADD git@h:a?keep-git-dir=true&commit=abc /");
    assert_eq!(
        (url.keep_git_dir, url.checksum.as_deref()),
        (Some(true), Some("abc"))
    );
    // What only looks like one is a path.
    check(
        "ADD github.com/a/b /",
        &Source::Path("/github.com/a/b".to_owned()),
    );
    check("ADD a@b /", &Source::Path("/a@b".to_owned()));
}

#[test]
fn passwords_are_not_in_the_history() {
    let text = "FROM a\nARG p=secret\nADD https://u:$p@h/x https://$p@h/y.git /z/\n";
    let found = steps(text, &[], &BaseConfig::default())
        .unwrap()
        .pop()
        .unwrap();
    assert_eq!(
        found.created_by.as_deref(),
        Some("ADD https://xxxxx:xxxxx@h/x https://xxxxx@h/y.git /z/ # buildkit")
    );
    assert!(
        !format!("{:?}", found.step).contains("secret"),
        "{:?}",
        found.step
    );
}

#[test]
fn steps_that_cannot_be_resolved() {
    #[track_caller]
    fn check(lines: &str, expected: &str) {
        let text = format!("FROM a\n{lines}\n");
        let diagnostic = steps(&text, &[], &BaseConfig::default()).unwrap_err();
        assert_eq!(diagnostic.message, expected, "{lines:?}");
        assert_eq!(diagnostic.span.line, 2, "{lines:?}");
    }

    check("ENV a=${b:?wanted}", "b: wanted");
    check("ENV a=${b", "missing `}`");
    check(
        "COPY --chmod=999 a b",
        "`999` is not an octal mode up to 7777",
    );
    check(
        "COPY --chmod=10000 a b",
        "`10000` is not an octal mode up to 7777",
    );
    check("COPY --chmod=u+q a b", "`u+q` is not a mode");
    check("COPY https://a/b c", "COPY cannot fetch an address");
    check("COPY git@a:b c", "COPY cannot fetch an address");
    check("COPY ssh://a/b c", "COPY cannot fetch an address");
    check(
        "COPY --link --chown=app a b",
        "`--chown=app` names a user, and `--link` knows no users",
    );
    check("COPY --exclude=[ a b", "`[` is not a valid pattern");
    check("COPY --exclude=! a b", "`!` is not a valid pattern");
    let sha = "0".repeat(64);
    check(
        &format!("ADD --checksum=sha256:{sha} a b"),
        "`--checksum` is for files that are fetched over HTTP or with git",
    );
    check(
        &format!("ADD --checksum=sha256:{sha} http://a/b http://a/c d/"),
        "`--checksum` needs exactly one source",
    );
    check(
        &format!("ADD --checksum=sha256:{sha} http://a/b <<f d/\nf"),
        "`--checksum` needs exactly one source",
    );
    for checksum in ["sha512:00", "sha256:0", "md5:0", "00", "$x:y"] {
        let shown = checksum.trim_start_matches("$x");
        check(
            &format!("ADD --checksum={checksum} http://a/b c"),
            &format!("`{shown}` is not a checksum"),
        );
    }
    check("ADD --checksum=xyz git@a:b c", "`xyz` is not a commit");
    check(
        "ADD --checksum=ab git@a:b?checksum=cd c",
        "`--checksum` and the address name different commits",
    );
    check(
        "ADD --keep-git-dir git@a:b?keep-git-dir=0 c",
        "`--keep-git-dir` and the address do not agree",
    );
    check(
        "ADD https://u:secret@a/b.git?x=y c",
        "`https://a/b.git` is not a place in a git repository: `x` is not known in its query",
    );
    check("EXPOSE 80/foo", "`80/foo` is not a port");
    check("STOPSIGNAL SIGFOO", "`SIGFOO` is not a signal");
    check("VOLUME $no", "`$no` is empty");
}

#[test]
fn an_error_leaves_the_state_alone() {
    let dockerfile = parse("FROM a\nARG x=1 y=${z:?}\n").unwrap();
    let platform = Platform::new("linux", "amd64", "");
    let build_args = BTreeMap::new();
    let options = PlanOptions {
        target: None,
        build_args: &build_args,
        platform: &platform,
        build_platform: &platform,
        contexts: &BTreeSet::new(),
    };
    let plan = plan(&dockerfile, &options).unwrap();
    let mut state = plan.begin(0, &BaseConfig::default());
    let before = state.clone();
    resolve(&plan.stages[0].instructions[0], &mut state).unwrap_err();
    assert_eq!(state, before);
}

#[test]
fn a_stage_on_a_stage_keeps_its_state() {
    let dockerfile =
        parse("FROM a AS b\nENV x=1\nARG x=2 y=3\nCMD c\nFROM b\nENTRYPOINT e\n").unwrap();
    let platform = Platform::new("linux", "amd64", "");
    let build_args = BTreeMap::new();
    let options = PlanOptions {
        target: None,
        build_args: &build_args,
        platform: &platform,
        build_platform: &platform,
        contexts: &BTreeSet::new(),
    };
    let plan = plan(&dockerfile, &options).unwrap();
    let mut first = plan.begin(0, &BaseConfig::default());
    for instruction in &plan.stages[0].instructions {
        resolve(instruction, &mut first).unwrap();
    }
    let value = |state: &corten_dockerfile::StageState, name: &str| {
        state
            .env
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.clone())
    };
    assert_eq!(value(&first, "x").as_deref(), Some("2"));
    let mut second = plan.begin_on(1, &first);
    // ENV of the base wins again over its ARG.
    assert_eq!(value(&second, "x").as_deref(), Some("1"));
    assert_eq!(value(&second, "y").as_deref(), Some("3"));
    let step = resolve(&plan.stages[1].instructions[0], &mut second)
        .unwrap()
        .step;
    assert!(
        matches!(
            step,
            Step::Entrypoint {
                clear_cmd: true,
                ..
            }
        ),
        "{step:?}"
    );
}

#[test]
fn variables_are_reported() {
    let step = steps("FROM a\nENV a=$PATH b=$no", &[], &BaseConfig::default())
        .unwrap()
        .remove(0);
    assert_eq!(step.used.into_iter().collect::<Vec<_>>(), ["PATH"]);
    assert_eq!(step.unset.into_iter().collect::<Vec<_>>(), ["no"]);
}

#[test]
fn triggers_of_a_base_image() {
    let from = Span {
        line: 3,
        column: 1,
        start: 20,
        end: 26,
    };
    let found = triggers(&["RUN x".to_owned(), "COPY <<f /\n1\nf".to_owned()], from).unwrap();
    assert_eq!(
        found.iter().map(|i| i.name).collect::<Vec<_>>(),
        ["RUN", "COPY"]
    );
    assert!(found.iter().all(|i| i.span == from));
    for bad in [
        "FROM a",
        "MAINTAINER m",
        "ONBUILD RUN x",
        "RUN x\nRUN y",
        "",
        "RNU x",
    ] {
        let diagnostic = triggers(&[bad.to_owned()], from).unwrap_err();
        assert_eq!(diagnostic.span, from);
        let label = diagnostic.label.unwrap();
        assert!(
            label.starts_with("from ONBUILD of the base image: `"),
            "{bad:?}: {label}"
        );
    }
}

#[test]
fn on_build_keeps_its_text() {
    let step = |text: &str| {
        let text = format!("FROM a\n{text}\n");
        match steps(&text, &[], &BaseConfig::default())
            .unwrap()
            .pop()
            .unwrap()
            .step
        {
            Step::OnBuild(text) => text,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(step("ONBUILD RUN a \\\n  b"), "RUN a   b");
    assert_eq!(step("onbuild COPY <<f $x\n1\nf"), "COPY <<f $x\n1\nf");
}
