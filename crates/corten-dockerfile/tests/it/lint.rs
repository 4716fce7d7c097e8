//! BuildKit's rules: what each finds, in its words. The expected findings are those of BuildKit.

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
fn names_and_words() {
    check(
        "FROM scratch AS BadName\nFROM scratch as b\nfrom scratch AS c\nFrom scratch as d\n",
        &[
            "1 StageNameCasing: Stage name 'BadName' should be lowercase",
            "2 FromAsCasing: 'as' and 'FROM' keywords' casing do not match",
            "3 ConsistentInstructionCasing: Command 'from' should match the case of the command majority (uppercase)",
            "3 FromAsCasing: 'AS' and 'from' keywords' casing do not match",
            "4 ConsistentInstructionCasing: Command 'From' should match the case of the command majority (uppercase)",
        ],
    );
    check(
        "from scratch AS base\nfrom scratch as base2\n",
        &["1 FromAsCasing: 'AS' and 'from' keywords' casing do not match"],
    );
    check(
        "FROM scratch AS scratch\nFROM scratch AS context\nFROM scratch AS context\n",
        &[
            "1 ReservedStageName: Stage name should not use the same name as reserved stage \"scratch\"",
            "2 ReservedStageName: Stage name should not use the same name as reserved stage \"context\"",
            "3 DuplicateStageName: Duplicate stage name \"context\", stage names should be unique",
            "3 ReservedStageName: Stage name should not use the same name as reserved stage \"context\"",
        ],
    );
    check(
        "FROM scratch\ncopy a /a\nCOPY b /b\n",
        &[
            "2 ConsistentInstructionCasing: Command 'copy' should match the case of the command majority (uppercase)",
        ],
    );
    check(
        "from scratch\nCOPY a /a\n",
        &[
            "1 ConsistentInstructionCasing: Command 'from' should match the case of the command majority (uppercase)",
        ],
    );
    check(
        "From scratch\n",
        &[
            "1 ConsistentInstructionCasing: Command 'From' should match the case of the command majority (uppercase)",
        ],
    );
    check("from scratch\ncopy a /a\n", &[]);
    check(
        "FROM scratch\nCOPY a \\\n\n/\nCOPY a \\\n# note\n/\n",
        &["4 NoEmptyContinuation: Empty continuation line"],
    );
    check(
        "FROM scratch\nCMD a\nENTRYPOINT b\n",
        &[
            "2 JSONArgsRecommended: JSON arguments recommended for CMD to prevent unintended behavior related to OS signals",
            "3 JSONArgsRecommended: JSON arguments recommended for ENTRYPOINT to prevent unintended behavior related to OS signals",
        ],
    );
    check("FROM scratch\nSHELL [\"/x\"]\nCMD a\n", &[]);
    check(
        "FROM scratch AS a\nSHELL [\"/x\"]\nFROM a\nentrypoint b\n",
        &[
            "4 ConsistentInstructionCasing: Command 'entrypoint' should match the case of the command majority (uppercase)",
        ],
    );
    check(
        "FROM scratch\nCMD [\"a\"]\nCMD []\n",
        &[
            "2 MultipleInstructionsDisallowed: Multiple CMD instructions should not be used in the same stage because only the last one will be used",
        ],
    );
    check(
        "FROM scratch\n# check=skip=JSONArgsRecommended\nCMD a\nENTRYPOINT a\n",
        &[
            "4 JSONArgsRecommended: JSON arguments recommended for ENTRYPOINT to prevent unintended behavior related to OS signals",
        ],
    );
    check(
        "FROM scratch\nMAINTAINER me\n# check=skip=MaintainerDeprecated\nMAINTAINER me\n",
        &["2 MaintainerDeprecated: Maintainer instruction is deprecated in favor of using label"],
    );
}

#[test]
fn froms() {
    check(
        "FROM busybox:$TAG\n",
        &[
            "1 InvalidDefaultArgInFrom: Default value for ARG busybox:$TAG results in empty or invalid base image name",
            "1 UndefinedArgInFrom: FROM argument 'TAG' is not declared",
        ],
    );
    check("ARG base=scratch\nFROM $base\n", &[]);
    check("ARG DEBUG\nFROM scra${DEBUG:-tch}\n", &[]);
    check(
        "FROM --platform=$BULIDPLATFORM scratch\n",
        &[
            "1 UndefinedArgInFrom: FROM argument 'BULIDPLATFORM' is not declared (did you mean BUILDPLATFORM?)",
        ],
    );
    check(
        "ARG MY_OS=linux\nARG MY_ARCH=amd64\nFROM --platform=linux/${MYARCH} busybox\n",
        &["3 UndefinedArgInFrom: FROM argument 'MYARCH' is not declared (did you mean MY_ARCH?)"],
    );
    check(
        "ARG tag=latest\nFROM busybox:${tag}${version} AS b\nCOPY Dockerfile .\n",
        &["2 UndefinedArgInFrom: FROM argument 'version' is not declared"],
    );
    check(
        "ARG VERSION\nFROM busybox${VERSION:+:}$VERSION\nFROM busy$VERSION/\n",
        &[
            "3 InvalidDefaultArgInFrom: Default value for ARG busy$VERSION/ results in empty or invalid base image name",
        ],
    );
    check(
        "FROM --platform=$TARGETPLATFORM scratch\nFROM --platform=${TARGETPLATFORM} scratch\n# check=skip=RedundantTargetPlatform\nFROM --platform=$TARGETPLATFORM scratch\n",
        &[
            "1 RedundantTargetPlatform: Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior",
            "2 RedundantTargetPlatform: Setting platform to predefined ${TARGETPLATFORM} in FROM is redundant as this is the default behavior",
        ],
    );
    check(
        "FROM --platform=linux/amd64 scratch\nFROM --platform=linux/amd64 scratch AS my_amd64_stage\nFROM --platform=linux/arm64 scratch AS linux\n",
        &[
            "1 FromPlatformFlagConstDisallowed: FROM --platform flag should not use constant value \"linux/amd64\"",
        ],
    );
    check(
        "FROM busybox-s390x\n",
        &[
            "1 InvalidBaseImagePlatform: Base image busybox-s390x was pulled with platform \"linux/s390x\", expected \"linux/amd64\" for current build",
        ],
    );
}

#[test]
fn steps_of_stages() {
    check(
        "FROM scratch\nWORKDIR app/\nWORKDIR b\n",
        &[
            "2 WorkdirRelativePath: Relative workdir \"app/\" can have unexpected results if the base image changes",
        ],
    );
    check("FROM scratch AS a\nWORKDIR /app\nFROM a\nWORKDIR b\n", &[]);
    check("FROM scratch\nENV D=/x\nWORKDIR $D\n", &[]);
    check("FROM busybox\nARG foo\nCOPY a$foo .\n", &[]);
    check(
        "FROM busybox\nCOPY $foo .\nARG foo=bar\nRUN echo $foo\n",
        &["2 UndefinedVar: Usage of undefined variable '$foo'"],
    );
    check(
        "FROM busybox\nARG DIR_ASSETS=a\nCOPY $DIR_ASSET .\n",
        &["3 UndefinedVar: Usage of undefined variable '$DIR_ASSET' (did you mean $DIR_ASSETS?)"],
    );
    check(
        "FROM busybox\nENV PATH=$PAHT:/x BASE=$BASE\n",
        &["2 UndefinedVar: Usage of undefined variable '$PAHT' (did you mean $PATH?)"],
    );
    check("FROM busybox AS a\nARG foo=b\nFROM a\nCOPY $foo .\n", &[]);
    check(
        "FROM busybox\nARG a=$b b=$a\nARG c d=$c\n",
        &["2 UndefinedVar: Usage of undefined variable '$b'"],
    );
    check(
        "FROM busybox\nLABEL x=$y\nUSER $u\nVOLUME $v\nSTOPSIGNAL ${s:-TERM}\nEXPOSE $e 80\nCMD [\"$x\"]\nHEALTHCHECK CMD $y\nONBUILD COPY $z /\n",
        &[
            "2 UndefinedVar: Usage of undefined variable '$y'",
            "3 UndefinedVar: Usage of undefined variable '$u'",
        ],
    );
    check(
        "FROM busybox\nCOPY <<A <<'B' /x/\n$one\nA\n$two\nB\nCOPY --chown=$o --chmod=${m:-644} a b\n",
        &[
            "2 UndefinedVar: Usage of undefined variable '$one'",
            "7 UndefinedVar: Usage of undefined variable '$m'",
            "7 UndefinedVar: Usage of undefined variable '$o'",
        ],
    );
    check(
        "FROM scratch AS first\nCOPY $foo .\nFROM scratch AS second\nCOPY $bar .\n",
        &[
            "2 UndefinedVar: Usage of undefined variable '$foo'",
            "4 UndefinedVar: Usage of undefined variable '$bar'",
        ],
    );
    check(
        "FROM scratch AS a\nONBUILD WORKDIR x\nONBUILD ENV y=$z\nFROM a\n",
        &[
            "4 UndefinedVar: Usage of undefined variable '$z'",
            "4 WorkdirRelativePath: Relative workdir \"x\" can have unexpected results if the base image changes",
        ],
    );
    check(
        "FROM scratch\nENTRYPOINT [\"a\"]\nENTRYPOINT [\"b\"]\nCMD [\"a\"]\nCMD [\"b\"]\nHEALTHCHECK NONE\nhealthcheck CMD x\n",
        &[
            "2 MultipleInstructionsDisallowed: Multiple ENTRYPOINT instructions should not be used in the same stage because only the last one will be used",
            "4 MultipleInstructionsDisallowed: Multiple CMD instructions should not be used in the same stage because only the last one will be used",
            "6 MultipleInstructionsDisallowed: Multiple healthcheck instructions should not be used in the same stage because only the last one will be used",
            "7 ConsistentInstructionCasing: Command 'healthcheck' should match the case of the command majority (uppercase)",
        ],
    );
    check("FROM scratch AS a\nCMD [\"a\"]\nFROM a\nCMD [\"b\"]\n", &[]);
    check(
        "FROM scratch\nENV a b c\nLABEL a b\nenv a  b\nENV a=b\nLABEL a=b c=\"d e\"\n",
        &[
            "2 LegacyKeyValueFormat: \"ENV key=value\" should be used instead of legacy \"ENV key value\" format",
            "3 LegacyKeyValueFormat: \"LABEL key=value\" should be used instead of legacy \"LABEL key value\" format",
            "4 ConsistentInstructionCasing: Command 'env' should match the case of the command majority (uppercase)",
            "4 LegacyKeyValueFormat: \"env key=value\" should be used instead of legacy \"env key value\" format",
        ],
    );
    check(
        "FROM scratch\nARG SECRET_PASSPHRASE\nENV SUPER_Secret=foo\nENV password=bar secret=baz\nENV PUBLIC_KEY=\n# check=skip=all // only here\nENV password=bar\nARG password\n",
        &[
            "2 SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data (ARG \"SECRET_PASSPHRASE\")",
            "3 SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data (ENV \"SUPER_Secret\")",
            "4 SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data (ENV \"password\")",
            "4 SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data (ENV \"secret\")",
            "8 SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data (ARG \"password\")",
        ],
    );
    check(
        "ARG TOKEN\nFROM scratch\nARG my_token=1 other\n",
        &[
            "3 SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data (ARG \"my_token\")",
        ],
    );
}

#[test]
fn the_rest() {
    check(
        "# check=experimental=InvalidDefinitionDescription\n# bar this is the bar\nARG foo=bar\n# BasE this is the image\nFROM scratch AS base\n# bad\nARG version=latest\n# bad\nARG foo=baz bar=qux\n#\nARG x\n# y is y\n\nARG y\n  # z indented\nARG z\n",
        &[
            "3 InvalidDefinitionDescription: Comment for ARG should follow the format: `# foo <description>`",
            "5 InvalidDefinitionDescription: Comment for FROM should follow the format: `# base <description>`",
            "7 InvalidDefinitionDescription: Comment for ARG should follow the format: `# version <description>`",
            "9 InvalidDefinitionDescription: Comment for ARG should follow the format: `# <arg_key> <description>`",
            "16 InvalidDefinitionDescription: Comment for ARG should follow the format: `# z <description>`",
        ],
    );
    check(
        "# check=experimental=all;skip=all\n# bad\nFROM scratch AS base\nMAINTAINER me\n",
        &[
            "3 InvalidDefinitionDescription: Comment for FROM should follow the format: `# base <description>`",
        ],
    );
    check(
        "FROM scratch\nEXPOSE 80/TcP 8080/TCP 8080/udp\n",
        &[
            "2 ExposeProtoCasing: Defined protocol '80/TcP' in EXPOSE instruction should be lowercase",
            "2 ExposeProtoCasing: Defined protocol '8080/TCP' in EXPOSE instruction should be lowercase",
        ],
    );
    check(
        "FROM scratch\nEXPOSE 127.0.0.1:80:80 [::1]:8080:8080 5000:5000 8000 :81 8-9/UDP\n",
        &[
            "2 ExposeInvalidFormat: EXPOSE instruction should not define an IP address or host-port mapping, found '127.0.0.1:80:80'",
            "2 ExposeInvalidFormat: EXPOSE instruction should not define an IP address or host-port mapping, found '5000:5000'",
            "2 ExposeInvalidFormat: EXPOSE instruction should not define an IP address or host-port mapping, found '[::1]:8080:8080'",
            "2 ExposeProtoCasing: Defined protocol '8-9/UDP' in EXPOSE instruction should be lowercase",
        ],
    );
    check(
        "#check=skip=ConsistentInstructionCasing,FromAsCasing\nFROM scratch as base\ncopy a .\n",
        &[],
    );
    check(
        "#check=skip=ConsistentInstructionCasing, FromAsCasing\nFROM scratch as base\ncopy a .\n",
        &["2 FromAsCasing: 'as' and 'FROM' keywords' casing do not match"],
    );
    check("#check=skip=all\nFROM scratch as base\ncopy a .\n", &[]);
    check(
        "FROM scratch AS BadStageName\nMAINTAINER me@example.org\nBADCMD\nCMD x\n",
        &[
            "1 StageNameCasing: Stage name 'BadStageName' should be lowercase",
            "2 MaintainerDeprecated: Maintainer instruction is deprecated in favor of using label",
        ],
    );
    check(
        "FROM scratch AS A\nFROM $x AS b\nFROM scratch AS C\n",
        &[
            "1 StageNameCasing: Stage name 'A' should be lowercase",
            "2 InvalidDefaultArgInFrom: Default value for ARG $x results in empty or invalid base image name",
            "2 UndefinedArgInFrom: FROM argument 'x' is not declared",
            "3 StageNameCasing: Stage name 'C' should be lowercase",
        ],
    );
    check(
        "FROM scratch\nCMD x\nUSER ${a:?b}\nCMD y\n",
        &[
            "2 JSONArgsRecommended: JSON arguments recommended for CMD to prevent unintended behavior related to OS signals",
        ],
    );
}

#[test]
fn files_that_are_ignored() {
    #[track_caller]
    fn check(ignore: &str, line: &str, expected: &[&str]) {
        let with = With {
            ignore,
            ..With::default()
        };
        let text = format!("FROM scratch AS a\nCOPY x /\nFROM a\n{line}\n");
        let lint = found(&text, &with);
        let details: Vec<&str> = lint
            .findings
            .iter()
            .map(|one| one.detail.as_str())
            .collect();
        assert_eq!(details, expected, "{ignore:?} {line:?}");
    }

    let is = |verb: &str, path: &str| {
        format!("Attempting to {verb} file \"{path}\" that is excluded by .dockerignore")
    };
    check("", "COPY a /", &[]);
    check("a", "COPY ./a /", &[&is("Copy", "a")]);
    check("a", "ADD a/b/ c /", &[&is("Add", "a/b")]);
    check("a", "COPY --from=a a /", &[]);
    check("a", "ADD https://example.com/a /", &[]);
    check("a\n!a/b", "COPY a /", &[]);
    check("**\n!b", "COPY a /", &[]);
    check("*.c", "COPY [\"x y.c\", \"/\"]", &[&is("Copy", "x y.c")]);
    check(".*", "COPY . .", &[]);
    check("y*", "COPY . .", &[]);
    check("a", "COPY <<a /\nx\na", &[]);
    for all in ["*", "**", "**/*"] {
        let copied = is("Copy", "x");
        check(all, "COPY . .", &[&copied, &is("Copy", ".")]);
    }
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
fn findings_show_no_password() {
    let text = "FROM scratch\nMAINTAINER me\nADD https://u:p,q@h/x /y\n";
    let lint = found(text, &With::default());
    let drawn = lint.findings[0].render("Dockerfile", text);
    assert!(
        drawn.contains("| >>> MAINTAINER me\n   3 |     ADD https://xxxxx:xxxxx@h/x /y\n"),
        "{drawn}"
    );
}

#[test]
fn findings_are_drawn_with_their_lines() {
    let text = "FROM scratch\n\nMAINTAINER me\nCOPY a /a\nCOPY <<X /b\n1\nX\nENV a b\n";
    let lint = found(text, &With::default());
    assert_eq!(
        lint.findings[0].render("Dockerfile", text),
        "\
WARNING: MaintainerDeprecated - https://docs.docker.com/go/dockerfile/rule/maintainer-deprecated/
Maintainer instruction is deprecated in favor of using label
Dockerfile:3
--------------------
   1 |     FROM scratch
   2 |     
   3 | >>> MAINTAINER me
   4 |     COPY a /a
   5 |     COPY <<X /b
--------------------"
    );
    assert_eq!(
        lint.findings[0].line(),
        "MaintainerDeprecated: Maintainer instruction is deprecated in favor of using label (line \
         3)"
    );
    let with = With {
        ignore: "*",
        ..With::default()
    };
    let text = "FROM scratch\nCOPY a <<X /b/\n1\nX\n";
    let lint = found(text, &with);
    assert_eq!(
        (lint.findings[0].span.line, lint.findings[0].last_line),
        (2, 4)
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
