//! Rules about what the steps of a stage do: directories, variables, secrets, files that are ignored.

use super::{With, check, found};

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
