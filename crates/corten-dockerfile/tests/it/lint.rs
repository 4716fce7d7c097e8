//! BuildKit's rules: what each finds, in its words. The expected findings are those of BuildKit.

mod drawn;
mod steps;
mod wording;

use std::collections::BTreeSet;

use corten_dockerfile::{
    BaseConfig, Check, Ignore, Lint, LintBase, LintOptions, LintScope, PlanOptions, Platform, Rule,
    lint,
};

/// What each test changes of the usual options.
#[derive(Default)]
struct With<'a> {
    target: Option<&'a str>,
    check: Option<&'a str>,
    arg: Option<&'a str>,
    ignore: &'a str,
    only_needed: bool,
    base: Option<LintBase>,
}

fn found(text: &str, with: &With<'_>) -> Lint {
    let platform = Platform::new("linux", "amd64", "");
    // Every stage number has a base; only stages that begin with an image use theirs.
    let bases = with
        .base
        .iter()
        .flat_map(|base| (0..9).map(|i| (i, base.clone())));
    let arg = with.arg.iter().map(|value| {
        let name = "BUILDKIT_DOCKERFILE_CHECK".to_owned();
        (name, (*value).to_owned())
    });
    let check = with.check.map(|text| Check::parse(text).unwrap());
    lint(
        text,
        &LintOptions {
            plan: PlanOptions {
                target: with.target,
                build_args: &arg.collect(),
                platform: &platform,
                build_platform: &platform,
                contexts: &BTreeSet::new(),
            },
            check: check.as_ref(),
            ignore: &Ignore::parse(with.ignore.as_bytes()).unwrap(),
            bases: &bases.collect(),
            scope: if with.only_needed {
                LintScope::Needed
            } else {
                LintScope::All
            },
        },
    )
}

/// Returns `line Rule: detail` of each finding, sorted.
fn shown(lint: &Lint) -> Vec<String> {
    let mut lines: Vec<(usize, String)> = lint
        .findings
        .iter()
        .map(|one| {
            (
                one.span.line,
                format!("{}: {}", one.rule.name(), one.detail),
            )
        })
        .collect();
    lines.sort();
    lines
        .into_iter()
        .map(|(line, text)| format!("{line} {text}"))
        .collect()
}

/// A base image that sets `PATH` and `BASE`; `busybox-s390x` has its name for another reason.
fn base(architecture: &str) -> LintBase {
    let env = [("PATH", "/bin"), ("BASE", "base")];
    LintBase {
        config: BaseConfig {
            env: env.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
            ..BaseConfig::default()
        },
        platform: Some(Platform::new("linux", architecture, "")),
        on_build: Vec::new(),
    }
}

#[track_caller]
fn check(text: &str, expected: &[&str]) {
    let architecture = if text.contains("s390x") {
        "s390x"
    } else {
        "amd64"
    };
    let with = With {
        base: Some(base(architecture)),
        ..With::default()
    };
    assert_eq!(shown(&found(text, &with)), expected, "{text}");
}

#[test]
fn options() {
    #[track_caller]
    fn check(text: &str, with: &With<'_>, expected: &[&str], is_error: bool) {
        let lint = found(text, with);
        let names: Vec<&str> = lint.findings.iter().map(|one| one.rule.name()).collect();
        assert_eq!(names, expected, "{text:?}");
        assert_eq!(lint.is_error(), is_error, "{text:?}");
    }

    let text = "#check=skip=StageNameCasing;error=true\nFROM scratch AS A\nMAINTAINER x\n";
    let plain = With::default();
    check(text, &plain, &["MaintainerDeprecated"], true);
    let given = |check| With {
        check: Some(check),
        ..With::default()
    };
    let both = ["StageNameCasing", "MaintainerDeprecated"];
    check(text, &given(""), &both, false);
    check(text, &given("skip=all;error=true"), &[], false);
    check(text, &given("error=true"), &both, true);
    let arg = |arg| With {
        arg: Some(arg),
        ..With::default()
    };
    check(text, &arg("skip=MaintainerDeprecated"), &both[..1], false);
    let wrong = found(text, &arg("nonsense")).error.unwrap();
    assert_eq!(wrong.message, "the check option `nonsense` has no value");
}

#[test]
fn stages_that_are_looked_at() {
    #[track_caller]
    fn check(target: Option<&str>, only_needed: bool, expected: &[usize]) {
        let text = "FROM scratch AS a\nCMD x\nFROM a AS b\nCMD x\nFROM a\nCMD x\n";
        let with = With {
            target,
            only_needed,
            ..With::default()
        };
        let lint = found(text, &with);
        let lines: Vec<usize> = lint.findings.iter().map(|one| one.span.line).collect();
        assert_eq!(lines, expected, "{target:?} {only_needed}");
    }

    check(None, false, &[2, 4, 6]);
    check(None, true, &[2, 6]);
    check(Some("a"), false, &[2]);
    check(Some("b"), true, &[2, 4]);
}

#[test]
fn what_an_unknown_image_sets_is_not_guessed() {
    let text = "FROM debian\nCOPY $x /\n";
    assert_eq!(shown(&found(text, &With::default())), [""; 0]);
    let mut known = base("amd64");
    known.on_build = vec!["ENV key=$y".to_owned()];
    let with = With {
        base: Some(known),
        ..With::default()
    };
    assert_eq!(
        shown(&found(text, &with)),
        [
            "1 SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data (ENV \
             \"key\")",
            "1 UndefinedVar: Usage of undefined variable '$y'",
            "2 UndefinedVar: Usage of undefined variable '$x'",
        ]
    );
}

#[test]
fn rules_by_name() {
    assert_eq!(Rule::ALL.len(), 22);
    for rule in Rule::ALL {
        let name: String = format!("{rule:?}").replace("Json", "JSON");
        assert_eq!(rule.name(), name);
        // `InvalidBaseImagePlatform` has no page.
        assert_eq!(rule.url().is_none(), rule == Rule::InvalidBaseImagePlatform);
        let page = rule.url().unwrap_or_default();
        let words = page.trim_end_matches('/').rsplit('/').next().unwrap();
        let joined = words.replace('-', "");
        assert!(joined.is_empty() || joined.eq_ignore_ascii_case(rule.name()));
    }
}
