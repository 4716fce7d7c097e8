//! Rules about how a Dockerfile is written: names and keywords, FROM, comments, ports.

use super::check;

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
