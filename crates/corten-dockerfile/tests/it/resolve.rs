//! Instructions to steps, and the history they leave.

mod commands;
mod copies;
mod refused;
mod stages;

use std::collections::{BTreeMap, BTreeSet};

use corten_dockerfile::{
    BaseConfig, Diagnostic, Plan, PlanOptions, Platform, Resolved, parse, plan, resolve,
};

/// Plans `text` with build arguments for its last stage.
fn planned(text: &str, args: &[(&str, &str)]) -> Result<Plan, Diagnostic> {
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
    plan(&dockerfile, &options)
}

/// Resolves the last stage of `text` with build arguments; returns its steps.
fn steps(
    text: &str,
    args: &[(&str, &str)],
    config: &BaseConfig,
) -> Result<Vec<Resolved>, Diagnostic> {
    let plan = planned(text, args)?;
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

#[test]
fn variables_are_reported() {
    let step = steps("FROM a\nENV a=$PATH b=$no", &[], &BaseConfig::default())
        .unwrap()
        .remove(0);
    assert_eq!(step.used.into_iter().collect::<Vec<_>>(), ["PATH"]);
    assert_eq!(step.unset.into_iter().collect::<Vec<_>>(), ["no"]);
}
